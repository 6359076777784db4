"""Exercises of the chapter on semantic inpainting."""

import torch

from facelib.check.checker import every, exercise, function, near, random


@exercise("semantic-weights", "which known pixels have a hole pixel at most three steps away, sideways, up, down or both? "
          "And how many columns of the 7x7 window of such a neighbour lie in the hole?")
def _(answer):
    return near(answer, [38 ** 2 - 32 ** 2, 3 / 7])


@exercise("semantic-clip", "tensors are not changed by clamp or clip, which give a new one back: use what comes back, or "
          "clamp_")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    z, gradient = random(3, 5), random(3, 5, seed=1)
    for lr in (0.1, 5.0):
        out, truth = answer(z.clone(), gradient.clone(), lr), (z - lr * gradient).clamp(-1, 1)
        if not torch.is_tensor(out) or out.shape != z.shape:
            return f"Expected a tensor of shape {tuple(z.shape)}, got {getattr(out, 'shape', type(out).__name__)}."
        if out.abs().max() > 1:
            return f"After a long step, latents reach {out.abs().max():.1f}: they have left the cube."
        if not torch.allclose(out, truth):
            return "The latents are inside the cube, but not where the step led."
    return True


@exercise("semantic-prior", "write D as 1 / (1 + exp(-l)); then log(1 - D) = -log(1 + exp(l)), and the chain rule leaves a "
          "fraction that you know")
def _(answer):
    slopes = lambda logit: torch.stack([-logit.sigmoid(), logit.sigmoid() - 1], -1)
    return every(answer, [((logit,), slopes(logit)) for logit in (torch.tensor([0.0]), torch.linspace(-9, 9, 7))])
