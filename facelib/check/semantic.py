"""Exercises of the chapter on semantic inpainting."""

import torch

from facelib.check.checker import every, exercise, function, parts, random, tensor_like


@exercise("semantic-weights", "which known pixels have a hole pixel at most three steps away, sideways, up, down or both? "
          "And how many columns of the 7x7 window of such a neighbour lie in the hole?")
def _(answer):
    return parts(answer, ("the number of pixels", 38 ** 2 - 32 ** 2, {
        4 * 3 * 32: "The window is a square: near the hole's corners there are more pixels that it reaches.",
        34 ** 2 - 32 ** 2: "A window of 7 reaches further than to the next pixel.",
        46 ** 2 - 32 ** 2: "The pixel stands in the middle of its window, not at its edge.",
        38 ** 2: "The pixels of the hole are not known."}),
        ("the weight", 3 / 7, {0.5: "The pixel's own column of the window is known.", 4 / 7: "That is the known part of it.",
                               3 / 49: "Three columns, yes; how many pixels has each?"}))


@exercise("semantic-clip", "tensors are not changed by clamp or clip, which give a new one back: use what comes back, or "
          "clamp_")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    z, gradient = random(3, 5), random(3, 5, seed=1)
    for lr in (0.1, 5.0):
        out, truth = answer(z.clone(), gradient.clone(), lr), (z - lr * gradient).clamp(-1, 1)
        problem = tensor_like(out, z)
        if problem:
            return problem
        if out.abs().max() > 1:
            return f"After a long step, latents reach {out.abs().max():.1f}: they have left the cube."
        if torch.allclose(out, (z + lr * gradient).clamp(-1, 1)):
            return "The latents are inside the cube, but the step went uphill."
        if not torch.allclose(out, truth):
            return "The latents are inside the cube, but not where the step led."
    return True


@exercise("semantic-prior", "write D as 1 / (1 + exp(-l)); then log(1 - D) = -log(1 + exp(l)), and the chain rule leaves a "
          "fraction that you know")
def _(answer):
    slopes = lambda logit: torch.stack([-logit.sigmoid(), logit.sigmoid() - 1], -1)
    cases = [((logit,), slopes(logit)) for logit in (torch.tensor([0.0]), torch.linspace(-9, 9, 7))]
    return every(answer, cases, slips=(
        (lambda logit: slopes(logit)[:, [0, 0]], "The first slope is right, but the second loss has another one."),
        (lambda logit: slopes(logit).flip(1), "You have the two terms in the other order."),
        (lambda logit: -slopes(logit), "Both terms fall when D takes a face for a truer one, so both slopes have one sign.")))
