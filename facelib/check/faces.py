"""Exercises of the chapter on faces as data."""

import torch

from facelib.check.checker import every, exercise, function, near, parts, random


@exercise("faces-range", "the range 0..255 becomes -1..1 by a scale and a shift; and 255 is odd, so what is in the "
          "middle, and how does torch round a half?")
def _(answer):
    from facelib.data.faces import to_float, to_uint8
    return parts(answer, ("the float", float(to_float(torch.tensor(51, dtype=torch.uint8))),
                          {0.2: "51 is that part of 255, but the range here does not begin at 0."}),
                 ("the byte", float(to_uint8(torch.tensor(0.0))),
                  {127.5: "A byte is a whole number.", 127: "What lies between two bytes is rounded, not cut off.",
                   0: "0 is black, and 0.0 is not the lowest number of the range."}), rel=1e-3)


@exercise("faces-flip", "three things change: the pixels, each x (which column does column 0 become?), and which eye "
          "is the one at the left of the picture")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image = random(2, 3, 8, 12)
    eyes = torch.tensor([[[3.0, 4.0], [7.0, 5.0]], [[1.0, 2.0], [10.0, 2.0]]])
    flipped, moved = answer(image.clone(), eyes.clone())
    if not torch.equal(flipped, image.flip(3)):
        return "The picture is not the mirror image from left to right."
    mirrored = torch.stack([11 - eyes[..., 0], eyes[..., 1]], -1)
    slips = ((eyes, "The picture is right, but the eyes are where they were."),
             (mirrored, "Each eye is in the right place, but the one at the left of the picture must come first."),
             ((mirrored + torch.tensor([1.0, 0.0])).flip(1), "The eyes are one pixel off: which column does column 0 become?"),
             (eyes.flip(1), "The eyes have changed their order, not their places."))
    verdict = near(moved, mirrored.flip(1), rel=1e-5)
    if verdict is not False:
        return verdict
    return next((said for wrong, said in slips if near(moved, wrong, rel=1e-5) is True),
                "The picture is right, the eyes are not.")


@exercise("faces-split-leak", "look at one test picture. For the person to be unknown to the network, where must each "
          "of the other k - 1 pictures have gone?")
def _(answer):
    cases = [((k, p), 1 - (1 - p) ** (k - 1)) for k, p in ((1, 0.8), (2, 0.8), (3, 0.5), (20, 0.9))]
    return every(answer, cases, slips=(
        (lambda k, p: p, "Somebody with a single picture (k = 1) cannot have been seen at all."),
        (lambda k, p: 1 - (1 - p) ** k, "The test picture is one of the k, and where it went is known."),
        (lambda k, p: p ** (k - 1), "That is the chance that all the others went to train; how many must, to know somebody?"),
        (lambda k, p: (1 - p) ** (k - 1), "That is the chance that the person has not been seen.")))
