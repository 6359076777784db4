"""Exercises of the chapter on holes, and how to judge what fills them."""

import math

import torch

from facelib.check.checker import every, exercise, function, holes, parts, random, tensor_like


@exercise("holes-constant", "expand both expected errors for an answer c; the derivative of the sum of squares has one "
          "root, that of absolute values another")
def _(answer):
    return parts(answer, ("the best number for squared errors", 0.7 * 0.8 + 0.3 * -0.6,
                          {0.8: "The most frequent number has not the least squared error: three in ten pay for it dearly.",
                           0.1: "Half way between the two would do if they were equally frequent."}),
                 ("the best number for absolute errors", 0.8,
                  {0.38: "For the absolute error, move your number a little up: who gains, who loses, and how many are they?",
                   0.1: "For the absolute error, move your number a little up: who gains, who loses, and how many are they?"}),
                 rel=1e-3, absolute=1e-3)


@exercise("holes-known", "1 = hole here, so known is 1 - mask; the mean is over known pixels only, and the image has "
          "three channels where the mask has one")
def _(answer):
    pred, image = random(2, 3, 16, 16), random(2, 3, 16, 16, seed=1)
    mask = holes([2, 3, 5, 6], [0, 0, 16, 8])
    mean = lambda weight, pred, image: (weight * (pred - image).abs()).sum((1, 2, 3)) / weight.expand_as(image).sum((1, 2, 3))
    truth = mean(1 - mask, pred, image)
    return every(answer, [((pred, image, mask), truth)], rel=1e-4, slips=(
        (lambda pred, image, mask: 3 * mean(mask, pred, image),
         "That is three times the error in the hole: mask has one channel, the image three."),
        (lambda pred, image, mask: mean(mask, pred, image), "That is the error in the hole."),
        (lambda pred, image, mask: 3 * truth, "Three times too large: mask has one channel, the image three."),
        (lambda pred, image, mask: mean(torch.ones_like(mask), (1 - mask) * pred, (1 - mask) * image),
         "That is a mean over all pixels, in which the hole counts as pixels without an error.")))


@exercise("holes-psnr", "the known pixels add nothing to the squared error but they count in its mean: by which factor "
          "does that shrink it, and what is that factor in dB?")
def _(answer):
    return every(answer, [((f,), -10 * math.log10(f)) for f in (1.0, 0.5, 0.25, 0.1)], absolute=1e-3, slips=(
        (lambda fraction: 0.0, "The sum of squares is the same, but the mean divides it by more pixels."),
        (lambda fraction: -20 * math.log10(fraction), "Twice too much: what shrinks is already a squared error."),
        (lambda fraction: 10 * math.log10(fraction), "The size is right, but known pixels cannot make a PSNR lower."),
        (lambda fraction: -math.log(fraction), "A PSNR is told in decibels, not in natural logarithms.")))


@exercise("holes-leak", "zero times NaN is NaN, so a product cannot forget a pixel; choose between two values instead")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image, mask = random(2, 3, 16, 16), holes([2, 3, 5, 6], [4, 0, 8, 8])
    fill = torch.tensor([0.1, -0.2, 0.3])
    out = answer(image, mask, fill)
    problem = tensor_like(out, torch.cat([image, mask], 1))
    if problem:
        return problem
    if not torch.equal(out[:, 3:], mask):
        return "The fourth channel is not the mask."
    hole = mask.bool().expand_as(image)
    if not torch.equal(out[:, :3][~hole], image[~hole]):
        return "Known pixels changed."
    if not torch.allclose(out[:, :3][hole], fill.view(1, 3, 1, 1).expand_as(image)[hole]):
        return "The hole does not hold the fill."
    for name, secret in (("another face", random(2, 3, 16, 16, seed=1)), ("NaN", torch.tensor(float("nan"))),
                         ("inf", torch.tensor(float("inf")))):
        if not torch.equal(answer(torch.where(hole, secret, image), mask, fill), out):
            return f"With {name} as the true pixels of the hole, something else comes out."
    return True
