"""Exercises of the chapter that compares all methods."""

import math

import torch

from facelib.check.checker import every, exercise, function, near, random


@exercise("benchmark-whole-picture", "known pixels are exact, so the squared error of the whole picture is that of the hole "
          "times the hole's share of the pixels; then take the logarithm")
def _(answer):
    return near(answer, [20 + 10 * math.log10(4), 20 + 10 * math.log10(16)], rel=1e-3)


@exercise("benchmark-sampling", "hidden value minus guess is a sum of two independent noises; their variances add, and a "
          "factor in the squared error is a term in decibels")
def _(answer):
    return every(answer, [((20.0, 0.0), 20.0), ((20.0, 1.0), 20 - 10 * math.log10(2)),
                          ((17.5, 0.5), 17.5 - 10 * math.log10(1.25)), ((25.0, 2.0), 25 - 10 * math.log10(5))], rel=1e-4)


@exercise("benchmark-paired", "both methods met the same faces: subtract face by face first, and take the spread of the "
          "differences; of a mean it shrinks with the square root of the number of faces")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for seed, n in ((0, 50), (1, 400)):
        faces, noise = random(n, seed=seed), random(n, seed=seed + 10)
        a, b = 20 + 3 * faces, 20.3 + 3 * faces + 0.2 * noise
        low, high = (float(v) for v in answer(a.clone(), b.clone()))
        difference = b - a
        half = 1.96 * difference.std() / math.sqrt(n)
        if near([low, high], torch.stack([difference.mean() - half, difference.mean() + half]), rel=0.03) is not True:
            return (f"For {n} faces, {low:.3f} to {high:.3f} is not it" + (": far too wide." if high - low > 3 * half else
                    ". The second method's figure minus the first's is asked for."))
    return True
