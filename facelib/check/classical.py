"""Exercises of the chapter on completion without learning."""

import torch
import torch.nn.functional as F

from facelib.check.checker import every, exercise, function, holes, near, random


@exercise("classical-line", "draw it: a membrane over five missing samples rises by the same amount at every step; and total "
          "variation adds up how far one goes up and down, not how fast")
def _(answer):
    return near(answer, [-0.6 + 1.6 * 3 / 6, 1.6, 1.6], rel=1e-3, absolute=1e-6)


@exercise("classical-relax", "repeat the border outward by one pixel first, so that every pixel has four neighbours; what is "
          "truly in the hole must not count, and known pixels are chosen, not multiplied")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image, mask = random(2, 3, 16, 16), holes([2, 3, 5, 6], [8, 0, 8, 8])
    known = torch.where(mask > 0.5, 0.0, image)
    kernel = torch.tensor([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]).expand(3, 1, 3, 3) / 4
    truth = torch.where(mask > 0.5, F.conv2d(F.pad(known, (1,) * 4, mode="replicate"), kernel, groups=3), image)
    out = answer(image.clone(), mask)
    if not torch.is_tensor(out) or out.shape != image.shape:
        return f"Expected a tensor of shape {tuple(image.shape)}, got {getattr(out, 'shape', type(out).__name__)}."
    if not torch.equal(out * (1 - mask), image * (1 - mask)):
        return "Known pixels changed."
    if not torch.allclose(answer(torch.where(mask > 0.5, -image, image), mask), out):
        return "The true pixels of the hole reach the answer."
    return bool(torch.allclose(out, truth, atol=1e-5)) or "These are not the means of the four neighbours."


@exercise("classical-rank", "the rows below are combinations of the rows above, so find those combinations from the columns "
          "where both are known; A has no inverse, but torch.linalg has the next best thing (mind rounding)")
def _(answer):
    cases = []
    for seed, rank in ((0, 1), (1, 2), (2, 3)):
        whole = random(12, rank, seed=seed) @ random(rank, 10, seed=seed + 10)
        cases.append(((whole[:8, :6], whole[:8, 6:], whole[8:, :6]), whole[8:, 6:]))
    return every(answer, cases, rel=1e-2, absolute=1e-3)
