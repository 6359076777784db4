"""Exercises of the chapter on codes that mean something."""

import math

import torch

from facelib.check.checker import exercise, function, near, random


@exercise("infogan-ceiling", "the bound is H(c) plus the mean logarithm of the probability that Q gives to the class that was "
          "drawn: say what this probability is in each case, and how often the case occurs")
def _(answer):
    pairs = math.log(10) - 0.2 * math.log(2)
    careful = math.log(10) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1 / 9)
    bold = math.log(10) + 0.9 * math.log(0.999) + 0.1 * math.log(0.001 / 9)
    return near(answer, [pairs, careful, bold], rel=0.005)


@exercise("infogan-squares", "a normal distribution whose deviation is always s: take the logarithm of its density at the true "
          "code, add the entropy of a uniform code on [-1, 1]; sum over the codes, take the mean over the images")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    from facelib.losses import information
    for s in (0.3, 0.6, 1.0):
        raw = 3 * math.atanh((2 * math.log(s) + 1) / 3) - 1                 # what `information` bends to log s^2
        for n in (1, 3):
            mean, truth = random(6, n), random(6, n, seed=1)
            told = information(torch.cat([mean, torch.full((6, n), raw)], 1), {"c_cont": truth}, (), n)[1]
            verdict = near(answer(mean.clone(), truth.clone(), s), told, rel=1e-3)
            if verdict is not True:
                return verdict or f"Wrong for {n} code{'s' * (n > 1)} and a deviation of {s}."
    mean = random(6, 2).requires_grad_()
    told = answer(mean, random(6, 2, seed=1), 0.5)
    return bool(torch.is_tensor(told) and told.requires_grad) or "No gradient flows to the means, so nobody could learn from it."


@exercise("infogan-whisper", "project the noisy image onto the pattern: what is left is one number. Its mean is the pattern's "
          "length or minus it, its noise has the power of one pixel. Then ask how often noise turns its sign")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for pixels, amplitude, power in ((1, 1.0, 1.0), (100, 0.1, 1.0), (3 * 64 * 64, 1 / 127.5, 1 / 15), (768, 0.02, 0.2)):
        truth = math.erfc(amplitude * math.sqrt(pixels / power / 2)) / 2
        verdict = near(answer(pixels, amplitude, power), truth, rel=0.01, absolute=1e-9)
        if verdict is not True:
            return verdict or f"Wrong for {pixels} pixels, an amplitude of {amplitude:.4g} and noise of power {power:.4g}."
    return True
