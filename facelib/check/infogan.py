"""Exercises of the chapter on codes that mean something."""

import math

import torch

from facelib.check.checker import every, exercise, parts, random


@exercise("infogan-ceiling", "the bound is H(c) plus the mean logarithm of the probability that Q gives to the class that was "
          "drawn: say what this probability is in each case, and how often the case occurs")
def _(answer):
    pairs = math.log(10) - 0.2 * math.log(2)
    careful = math.log(10) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1 / 9)
    bold = math.log(10) + 0.9 * math.log(0.999) + 0.1 * math.log(0.001 / 9)
    nats = lambda value: {value / math.log(2): "In nats, please: natural logarithms."}
    return parts(answer, ("(a)", pairs, nats(pairs) | {
        math.log(10) - math.log(2): "Only two of the ten classes are in doubt; how often is one of them drawn?",
        math.log(9): "Nine names are told, but they are not equally frequent."}),
        ("(b)", careful, nats(careful) | {
            math.log(10) + math.log(0.9): "One time in ten the true class is one of those that share the rest.",
            math.log(10) + 0.9 * math.log(0.9) + 0.1 * math.log(0.1): "The rest is shared by nine classes."}),
        ("(c)", bold, nats(bold) | {
            careful: "It is right as often, but what it says is dearer where it is wrong.",
            math.log(10) + math.log(0.999): "It is wrong one time in ten, however sure it is.",
            math.log(10) + 0.9 * math.log(0.999) + 0.1 * math.log(0.001): "The rest is shared by nine classes."}), rel=0.005)


@exercise("infogan-squares", "a normal distribution whose deviation is always s: take the logarithm of its density at the true "
          "code, add the entropy of a uniform code on [-1, 1]; sum over the codes, take the mean over the images")
def _(answer):
    from facelib.losses import information
    cases = []
    for s in (0.3, 0.6, 1.0):
        raw = 3 * math.atanh((2 * math.log(s) + 1) / 3) - 1                 # what `information` bends to log s^2
        for n in (1, 3):
            mean, truth = random(6, n), random(6, n, seed=1)
            told = information(torch.cat([mean, torch.full((6, n), raw)], 1), {"c_cont": truth}, (), n)[1]
            cases.append(((mean, truth, s), told))
    log_density = lambda mean, truth, s: -(((truth - mean) / s) ** 2 + math.log(2 * math.pi * s ** 2)) / 2
    verdict = every(answer, cases, rel=1e-3, slips=(
        (lambda mean, truth, s: -(truth - mean).pow(2).sum(1).mean(), "s is not in it, nor what a uniform code is worth."),
        (lambda mean, truth, s: log_density(mean, truth, s).sum(1).mean(), "The entropy of the codes is missing."),
        (lambda mean, truth, s: math.log(2) + log_density(mean, truth, s).sum(1).mean(),
         "Right for one code: each code has an entropy of its own."),
        (lambda mean, truth, s: (math.log(2) + log_density(mean, truth, s)).mean(), "Right for one code: codes are summed.")))
    if verdict is not True:
        return verdict
    mean = random(6, 2).requires_grad_()
    told = answer(mean, random(6, 2, seed=1), 0.5)
    return bool(torch.is_tensor(told) and told.requires_grad) or "No gradient flows to the means, so nobody could learn from it."


@exercise("infogan-whisper", "project the noisy image onto the pattern: what is left is one number. Its mean is the pattern's "
          "length or minus it, its noise has the power of one pixel. Then ask how often noise turns its sign")
def _(answer):
    wrong = lambda ratio: math.erfc(ratio / math.sqrt(2)) / 2
    settings = ((1, 1.0, 1.0), (100, 0.1, 1.0), (3 * 64 * 64, 1 / 127.5, 1 / 15), (768, 0.02, 0.2))
    cases = [((n, a, p), wrong(a * math.sqrt(n / p))) for n, a, p in settings]
    return every(answer, cases, rel=0.01, absolute=1e-9, slips=(
        (lambda n, a, p: wrong(a / math.sqrt(p)), "That reader looks at one value of the picture only."),
        (lambda n, a, p: 2 * wrong(a * math.sqrt(n / p)), "Noise of one sign only turns the answer: half of what you count."),
        (lambda n, a, p: math.erfc(a * math.sqrt(n / p)) / 2, "Nearly: erfc wants its argument divided by the root of 2."),
        (lambda n, a, p: wrong(a * math.sqrt(n) / p), "The power is a variance; the signal is compared with a deviation."),
        (lambda n, a, p: wrong(a * n / math.sqrt(p)), "The signal adds up over all values, but so does the noise.")))
