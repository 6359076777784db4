"""Search a generator's latents for the image that fits: gradient descent on the input, with the network left alone.

Knows no method: it is handed a function from latents to images and one from images to a loss per face.
"""

from typing import NamedTuple

import torch


class Found(NamedTuple):
    """What a search found. Latents and images are the best of all steps and starts, face by face."""

    latents: object             # as they were given: a tensor (B, d), or a dict of such tensors
    images: torch.Tensor        # (B, ...), what `generate` makes of them
    loss: torch.Tensor          # (B,), their objective
    curve: torch.Tensor         # (steps + 1, B), the objective at every step of the start that won
    history: dict               # step -> images (B, ...) of that step, of the start that won


OPTIMISERS = {
    "adam": lambda tensors, lr: torch.optim.Adam(tensors, lr, betas=(0.9, 0.99)),
    "nesterov": lambda tensors, lr: torch.optim.SGD(tensors, lr, momentum=0.9, nesterov=True),
}


def search(generate, objective, *starts, steps, lr, optimiser="adam", project=None, every=0, progress=None):
    """The latents whose images have the lowest objective, by gradient descent over a whole batch at once -> Found.

    generate: latents -> images (B, ...). objective: (images, latents) -> loss per face (B,); a face's loss may depend on
    that face alone. starts: latents to start from, each a tensor (B, d) or a dict of tensors (B, ...); with several, every
    face is searched for from all of them and keeps its best. steps: updates for each start. lr: the first step size; it
    falls to a tenth along half a cosine. optimiser: "adam" or "nesterov" (momentum 0.9). project: latents -> latents of
    the same form, applied after every update (a clip, a ball): what it returns is what the search goes on from. every:
    keep the images of each so-manyth step, from step 0, in `history`; 0 keeps none. progress: called with the number of
    every step that is done.

    Nothing is drawn at random, so the starts decide the result. The networks behind `generate` and `objective` get no
    gradient, and whether they train or evaluate is the caller's affair. Raises ValueError for unknown optimisers,
    for losses that are not (B,), and where no step of a face had a finite objective.
    """
    if optimiser not in OPTIMISERS:
        raise ValueError(f"optimiser must be one of {', '.join(OPTIMISERS)}, got {optimiser!r}")
    if not starts:
        raise ValueError("search needs latents to start from, got none")
    best = None
    for start in starts:
        found = _descend(generate, objective, start, steps, lr, OPTIMISERS[optimiser], project, every, progress)
        best = found if best is None else _better(best, found)
    if not bool(best.loss.isfinite().all()):
        raise ValueError(f"the objective is not finite for face(s) {(~best.loss.isfinite()).nonzero().flatten().tolist()[:8]}; "
                         "use a smaller lr, or look for a division by zero in the objective")
    return best


def _descend(generate, objective, start, steps, lr, optimiser, project, every, progress):
    """`search` from one start."""
    single = torch.is_tensor(start)
    tensors = {k: v.detach().clone().requires_grad_() for k, v in ({"": start} if single else start).items()}
    form = (lambda values: values[""]) if single else dict
    optimiser = optimiser(list(tensors.values()), lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, max(steps, 1), lr / 10)
    best, curve, history = None, [], {}
    for step in range(steps + 1):                                       # one look more than there are updates
        with torch.enable_grad():
            images = generate(form(tensors))
            loss = objective(images, form(tensors))
            total = loss.sum()                                          # faces are independent: each feels its own loss
        if loss.shape != (len(images),):
            raise ValueError(f"objective must give one loss per face, ({len(images)},), got {tuple(loss.shape)}; "
                             "sum over pixels and channels, not over faces")
        values = {k: v.detach().clone() for k, v in tensors.items()}
        now = Found(values, images.detach(), loss.detach().nan_to_num(torch.inf, torch.inf, torch.inf), None, {})
        best = now if best is None else _better(best, now)
        curve.append(now.loss)
        if every and step % every == 0:
            history[step] = now.images
        if progress is not None:
            progress(step)
        if step == steps:
            break
        gradients = torch.autograd.grad(total, list(tensors.values()))     # to the latents, and to nothing else
        for tensor, gradient in zip(tensors.values(), gradients, strict=True):
            tensor.grad = gradient
        optimiser.step()
        schedule.step()
        if project is not None:
            with torch.no_grad():
                projected = project(form(tensors))
                for key, tensor in tensors.items():
                    tensor.copy_(projected if single else projected[key])
    return best._replace(latents=form(best.latents), curve=torch.stack(curve), history=history)


def _better(a, b):
    """Face by face, what has the lower loss of two Founds; the first where they are alike."""
    wins = b.loss < a.loss                                              # (B,)

    def pick(x, y):
        if isinstance(x, dict):
            return {k: pick(x[k], y[k]) for k in x}
        return torch.where(wins.view(-1, *[1] * (x.ndim - 1)), y, x)

    curve = None if a.curve is None else torch.where(wins, b.curve, a.curve)
    return Found(pick(a.latents, b.latents), pick(a.images, b.images), pick(a.loss, b.loss), curve,
                 pick(a.history, b.history))
