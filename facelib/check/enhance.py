"""Exercises of the chapter on faces out of 8x8 pixels."""

import math
from itertools import accumulate

import torch

from facelib.check.checker import exercise, function, near, parts, random, tensor_like


@exercise("enhance-three-decibels", "let the two faces be d and -d in a pixel, half of the time each: what does the number in "
          "the middle cost on average, and what does a face that is right half of the time? A PSNR is 10 log10 of a ratio")
def _(answer):
    return parts(answer, ("the PSNR of A", 20 + 10 * math.log10(4), {
        20 + 10 * math.log10(2): "A is half way to either face: which part of the squared error is left?",
        20: "A's answer is neither of the two faces."}),
        ("the PSNR of B", 20 + 10 * math.log10(2), {
            20: "B is exactly right half of the time.", 26.0206: "B is not half way off, but wholly, and half of the time.",
            math.inf: "The mean is taken over squared errors, before the logarithm."}), rel=1e-3)


@exercise("enhance-back-project", "which picture of 32x32 has exactly these 8x8 as its means, and no detail at all? A smooth "
          "one has other means")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    from facelib.resolution import nearest, shrink
    for seed in (0, 2):
        image, low = random(2, 3, 32, 32, seed=seed), random(2, 3, 8, 8, seed=seed + 1)
        out = answer(image.clone(), low.clone())
        problem = tensor_like(out, image)
        if problem:
            return problem
        off = float((shrink(out) - low).abs().mean()) * 127.5
        if not off < 0.01:
            if torch.allclose(shrink(out) - shrink(image), shrink(image) - low, atol=1e-4):
                return "The correction goes the wrong way: the result is twice as far off."
            return f"The result shrinks to other pixels: they differ by {off:.2f} grey levels on average."
        if not torch.allclose(out - nearest(low), image - nearest(shrink(image)), atol=1e-4):
            return "The result shrinks to low, but the detail inside the blocks is no longer that of the image."
    return True


@exercise("enhance-code-game", "for this discriminator the draws of the prior are the real ones; its own step must not move "
          "the encoder, and the encoder wants to be taken for the prior")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    from facelib.losses import gan_D, gan_G
    D = lambda codes: codes @ torch.tensor([[1.0], [-2.0], [0.5]]) + 0.3
    z, drawn = random(5, 3).requires_grad_(), random(5, 3, seed=1)
    loss_D, loss_z = answer(D, z, drawn)
    if near(loss_D, gan_D(D(z), D(drawn)).detach(), rel=1e-4) is True:
        return "loss_D calls the encoder's codes real and the prior's draws false; who shall be like whom?"
    if near(loss_z, -torch.nn.functional.softplus(D(z)).mean().detach(), rel=1e-4) is True:
        return "loss_z is the saturating loss: it hardly moves an encoder that D sees through."
    for name, loss, truth in (("loss_D", loss_D, gan_D(D(drawn), D(z))), ("loss_z", loss_z, gan_G(D(z)))):
        verdict = near(loss, truth.detach(), rel=1e-4)
        if verdict is not True:
            return verdict or f"{name} is not the number that it should be."
    if loss_D.requires_grad:
        return "The numbers are right, but the discriminator's loss reaches the encoder through the codes."
    return bool(loss_z.requires_grad) or "The numbers are right, but nothing flows back to the encoder."


@exercise("enhance-how-many", "add one pixel at a time: in how many ways do k pixels make a sum s, if you know it for k - 1 "
          "pixels and every sum? The last pixel is fixed by the others, but is it between 0 and the largest level?")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for total, pixels, levels in ((3, 1, 4), (5, 1, 4), (3, 2, 4), (1, 4, 2), (12, 4, 7), (0, 16, 256), (2048, 16, 256)):
        got = answer(total, pixels, levels)
        truth = ways(total, pixels, levels)
        if not isinstance(got, (int, float)):
            return f"Expected a whole number, got {type(got).__name__}."
        if isinstance(got, float) and got != truth and math.isclose(got, truth, rel_tol=1e-9):
            return "Nearly: a float keeps 16 digits and forgets the rest."
        if got != truth:
            return f"Wrong for a sum of {total} from {pixels} pixel{'s' * (pixels > 1)} of {levels} levels: {got} ways."
    return True


def ways(total, pixels, levels):
    """In how many ways `pixels` whole numbers from 0 to levels - 1 add up to `total`: an exact int."""
    counts = [1]                                                                          # of no pixel: the sum 0, once
    for _ in range(pixels):
        upto = [*accumulate(counts + [0] * (levels - 1))]                                 # ways of a sum of s or less
        counts = [here - before for here, before in zip(upto, [0] * levels + upto, strict=False)]
    return counts[total] if 0 <= total < len(counts) else 0


@exercise("enhance-line-up", "count the names that the judge calls out: among the wrong people, and of the one who is right; "
          "then, of all these names, which part is right?")
def _(answer):
    names = 0.3 + 0.01 * 9999
    return parts(answer, ("the number of names", names, {
        3000: "The rates differ: 30 % holds for one person only.",
        0.31: "There are 9,999 wrong people, and the judge is asked about each."}),
        ("the part that is right", 0.3 / names, {
            0.3: "That is how often the right name is called out; how many others are called out beside it?",
            30 / names: "A part is asked for, not a percentage.",
            0.3 / 0.31: "For one right person there are 9,999 wrong ones."}),
        rel=0.005)
