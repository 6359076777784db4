"""Exercises of the chapter on completion without learning."""

import torch
import torch.nn.functional as F

from facelib.check.checker import every, exercise, function, holes, parts, random, tensor_like


@exercise("classical-line", "draw it: a membrane over five missing samples rises by the same amount at every step; and total "
          "variation adds up how far one goes up and down, not how fast")
def _(answer):
    steps = "Five samples are missing: by how many equal steps does one get from the one known sample to the other?"
    return parts(answer, ("the third sample", -0.6 + 1.6 * 3 / 6, {-0.6 + 1.6 * 3 / 5: steps, -0.6 + 1.6 * 2 / 5: steps}),
                 ("the variation of the filling", 1.6, {1.6 ** 2 / 6: "Total variation adds up the steps' sizes, not squares.",
                                                        1.6 * 4 / 6: "The steps to the two known samples count too."}),
                 ("the variation of the jump", 1.6, {1.6 ** 2: "Total variation adds up the steps' sizes, not squares.",
                                                     0.0: "The jump lies inside the stretch that is measured."}),
                 rel=1e-3, absolute=1e-6)


@exercise("classical-relax", "in each step repeat the border outward by one pixel first, so that every pixel has four "
          "neighbours; what is truly in the hole must not count, and known pixels are chosen, not multiplied")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image, mask = random(2, 3, 16, 16), holes([2, 3, 5, 6], [8, 0, 8, 8])
    kernel = torch.tensor([[0, 1.0, 0], [1, 0, 1], [0, 1, 0]]).expand(3, 1, 3, 3) / 4

    def relaxed(steps, border="replicate"):
        state = torch.where(mask > 0.5, 0.0, image)
        for _ in range(steps):
            state = torch.where(mask > 0.5, F.conv2d(F.pad(state, (1,) * 4, mode=border), kernel, groups=3), image)
        return state

    for steps in (1, 5):
        out = answer(image.clone(), mask, steps)
        problem = tensor_like(out, image)
        if problem:
            return problem
        if not torch.equal(out * (1 - mask), image * (1 - mask)):
            return "Known pixels changed."
        if not torch.allclose(answer(torch.where(mask > 0.5, -image, image), mask, steps), out):
            return "The true pixels of the hole reach the answer."
        for wrong, said in ((relaxed(0), "The hole is still zero."), (relaxed(1), "There is one step in it, and not five."),
                            (relaxed(steps, "constant"), "Beyond the picture's border your neighbours are zeros.")):
            if not torch.allclose(wrong, relaxed(steps), atol=1e-5) and torch.allclose(out, wrong, atol=1e-5):
                return said
        if not torch.allclose(out, relaxed(steps), atol=1e-5):
            return "These are not the means of the four neighbours."
    return True


@exercise("classical-rank", "the rows below are combinations of the rows above, so find those combinations from the columns "
          "where both are known; A has no inverse, but torch.linalg has the next best thing")
def _(answer):
    cases = []
    for seed, rank in ((0, 1), (1, 2), (2, 3)):
        whole = random(12, rank, seed=seed) @ random(rank, 10, seed=seed + 10)
        cases.append(((whole[:8, :6], whole[:8, 6:], whole[8:, :6]), whole[8:, 6:]))
    return every(answer, cases, rel=1e-2, absolute=1e-3, slips=(
        (lambda A, B, C: C @ A.T @ B, "Make the whole matrix twice as large: D must double, and your answer grows eightfold."),))
