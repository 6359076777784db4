"""Exercises of the chapter on the adversarial denoising autoencoder."""

import torch
import torch.nn.functional as F

from facelib.check.checker import every, exercise, function, near, parts, random


@exercise("denoising-weights", "160x128 pixels of three colours, in blocks of 4x4; without pooling every value is a term of "
          "the sum, so that each X must shrink by as much as the sum grew")
def _(answer):
    colours = "Each of the three colours has its own errors."
    return parts(answer, ("the number with pooling", 40 * 32 * 3, {40 * 32: colours, 160 * 128 * 3 / 4: "4x4 are sixteen."}),
                 ("the number without", 160 * 128 * 3, {160 * 128: colours}),
                 ("X", 1 / 16, {16: "Without pooling the sum is the larger one: must X grow or shrink?",
                                1 / 4: "4x4 are sixteen.", 1 / 256: "The sum grew once, by the number of pixels in a block."}),
                 rel=1e-6)


@exercise("denoising-dynamic-x", "compare the mean of a window with that of the window before it; after X fell there is no "
          "window before: the next one only sets the mark")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    runs = {"fall all the time": [10 * 0.95 ** i for i in range(24)], "stand still": [7.0] * 30,
            "rise after X fell, and then fall": [5.0] * 8 + [9.0] * 4 + [8.0] * 4 + [7.0] * 4,
            "fall under noise": [9 - i // 4 + (-1) ** i for i in range(24)], "end in half a window": [1.0] * 7}
    for name, costs in runs.items():
        verdict = near(answer(costs, 4, 0.05, 0.5), dynamic_x(costs, 4, 0.05, 0.5), rel=1e-6)
        if verdict is not True:
            return verdict or f"Wrong where the costs {name}."
    return True


def dynamic_x(costs, window, tolerance, factor):
    """X at the end of a run with these costs, begun at 1: lowered when a window's mean is hardly below the one before."""
    x, before = 1.0, None
    for end in range(window, len(costs) + 1, window):
        mean = sum(costs[end - window:end]) / window
        if before is not None and mean > (1 - tolerance) * before:
            x, before = factor * x, None
        else:
            before = mean
    return x


@exercise("denoising-pooled-gradient", "the error of a block is one number, the mean of its 16 differences; how much does it "
          "change with one of the 16 pixels, and is that not the same for all of them?")
def _(answer):
    from facelib.losses import encoding_cost
    cases = []
    for seed, size in ((0, 8), (2, 16)):
        pred, image = random(2, 3, size, size, seed=seed).requires_grad_(), random(2, 3, size, size, seed=seed + 1)
        truth, = torch.autograd.grad(2 * encoding_cost(pred, image, "average", "sum"), pred)     # the sum over both pictures
        cases.append(((pred.detach(), image), truth))
    mean = lambda error: F.interpolate(F.avg_pool2d(error, 4), scale_factor=4)
    return every(answer, cases, rel=1e-4, slips=(
        (lambda pred, image: 2 * (pred - image), "Yours is the same as without pooling: each pixel is blamed for itself alone."),
        (lambda pred, image: 2 * mean(pred - image), "Sixteen times too large: how much does one pixel move its block's mean?"),
        (lambda pred, image: mean(pred - image) / 16, "Half of it: the error of a block is squared."),
        (lambda pred, image: mean(2 * (pred - image) / 256), "Sixteen times too small: the mean is taken once.")))
