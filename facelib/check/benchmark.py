"""Exercises of the chapter that compares all methods."""

import math

import torch

from facelib.check.checker import every, exercise, parts, random


@exercise("benchmark-whole-picture", "known pixels are exact, so the squared error of the whole picture is that of the hole "
          "times the hole's share of the pixels; then take the logarithm")
def _(answer):
    side, twice = "Compare areas, not sides.", "Twice too much added: what the known pixels thin out is already a squared error."
    factor = "A factor in the squared error is added in decibels, not multiplied."
    return parts(answer, ("the figure for the large hole", 20 + 10 * math.log10(4),
                          {20 + 10 * math.log10(2): side, 80: factor, 20 + 20 * math.log10(4): twice}),
                 ("the figure for the small hole", 20 + 10 * math.log10(16),
                  {20 + 10 * math.log10(4): side, 320: factor, 20 + 20 * math.log10(16): twice}), rel=2e-3)


@exercise("benchmark-sampling", "hidden value minus guess is a sum of two independent noises; their variances add, and a "
          "factor in the squared error is a term in decibels")
def _(answer):
    cases = [((psnr, a), psnr - 10 * math.log10(1 + a ** 2)) for psnr, a in ((20.0, 0.0), (20.0, 1.0), (17.5, 0.5), (25.0, 2.0))]
    return every(answer, cases, rel=1e-4, slips=(
        (lambda psnr, a: psnr, "A guess that varies cannot be as near as the mean."),
        (lambda psnr, a: psnr - 20 * math.log10(1 + a), "You add the sizes of two noises that are independent of each other."),
        (lambda psnr, a: psnr - 10 * math.log10(1 + a), "a scales the noise; what does it do to its variance?"),
        (lambda psnr, a: psnr - 10 * math.log10(2), "That is the price for a = 1."),
        (lambda psnr, a: psnr + 10 * math.log10(1 + a ** 2), "The size is right; is it gained or lost?")))


@exercise("benchmark-paired", "both methods met the same faces: subtract face by face first, and take the spread of the "
          "differences; of a mean it shrinks with the square root of the number of faces")
def _(answer):
    cases = []
    for seed, n in ((0, 50), (1, 400)):
        faces, noise = random(n, seed=seed), random(n, seed=seed + 10)
        cases.append((20 + 3 * faces, 20.3 + 3 * faces + 0.2 * noise))
    root = lambda a: math.sqrt(len(a))
    return every(answer, [((a, b), interval(b - a, (b - a).std() / root(a))) for a, b in cases], rel=0.03, slips=(
        (lambda a, b: interval(b - a, (a.var() + b.var()).sqrt() / root(a)),
         "Far too wide: as if the two methods had met different faces."),
        (lambda a, b: interval(b - a, (b - a).std()), "That is where the next face falls, not how sure the mean of all is."),
        (lambda a, b: interval(a - b, (b - a).std() / root(a)), "The second method's figure minus the first's is asked for."),
        (lambda a, b: interval(b - a, (b - a).std() / root(a) / 1.96), "One standard error each way; 1.96 are asked for.")))


def interval(difference, error):
    """1.96 times `error` around the mean of the differences (N,) -> (2,): low, high."""
    return difference.mean() + 1.96 * error * torch.tensor([-1.0, 1.0])
