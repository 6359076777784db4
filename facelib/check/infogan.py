"""Exercises of the chapter on codes that mean something."""

import math

import torch

from facelib.check.checker import exercise, function, near


@exercise("infogan-ceiling", "the bound is H(c) plus the mean logarithm of the probability that Q gives to the class that was "
          "drawn: say what this probability is in each case, and how often the case occurs")
def _(answer):
    pairs = math.log(10) - 0.2 * math.log(2)
    careful = math.log(10) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1 / 9)
    bold = math.log(10) + 0.9 * math.log(0.999) + 0.1 * math.log(0.001 / 9)
    return near(answer, [pairs, careful, bold], rel=0.005)


@exercise("infogan-matching", "no digit may be the name of two classes. Naming one class after the other, each by what it holds "
          "most of, is not the best either: scipy.optimize.linear_sum_assignment finds the best names for all at once")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    drawn = torch.Generator().manual_seed(0)
    truth = torch.arange(400) % 10
    noisy = torch.where(torch.rand(400, generator=drawn) < 0.3, torch.randint(10, (400,), generator=drawn), truth)
    renamed = torch.tensor([3, 1, 4, 0, 5, 9, 2, 6, 8, 7])
    share = float((noisy == truth).float().mean())
    greedy = torch.tensor([0] * 6 + [0] * 5 + [1] * 4), torch.tensor([0] * 6 + [1] * 5 + [0] * 4)
    cases = (((renamed[noisy], truth), share, "classes that are digits under other names"),
             ((torch.zeros(400, dtype=torch.long), truth), 0.1, "a Q that answers with one class always"),
             ((truth % 5, truth), 0.5, "five classes that hold two digits each"),
             ((truth, truth % 5), 0.5, "ten classes for five digits: a digit is the name of one class only"),
             (greedy, 9 / 15, "two classes that both hold mostly the same digit"))
    for (found, known), expected, what in cases:
        verdict = near(answer(found.clone(), known.clone()), expected, rel=1e-4)
        if verdict is not True:
            return verdict or f"Wrong for {what}."
    return True


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
