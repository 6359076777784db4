"""Exercises of the chapter on a generator and its critic."""

import torch

from facelib.check.checker import every, exercise, function, near, random


@exercise("gan-checkerboard", "on a line first: write down for output pixel 0, 1, 2, ... which inputs lie under the "
          "kernel when it moves by two; then a picture is rows times columns")
def _(answer):
    counts = []
    for kernel in (5, 6):
        line = torch.nn.functional.conv_transpose1d(torch.ones(1, 1, 9), torch.ones(1, 1, kernel), stride=2)[0, 0, 8:10]
        counts += [float(line.max()) ** 2, float(line.min()) ** 2]
    return near(answer, counts, rel=1e-6)


@exercise("gan-batch-spread", "the standard deviation goes over the batch, for each feature; then one mean over the "
          "features, and every row gets the same number (divide by B, not by B - 1)")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for x in (random(6, 4), random(3, 10, seed=1), random(1, 5, seed=2).expand(4, 5)):
        out = answer(x.clone())
        if not torch.is_tensor(out) or out.shape != (len(x), x.shape[1] + 1):
            return f"Expected a tensor of shape {(len(x), x.shape[1] + 1)}, got {getattr(out, 'shape', type(out).__name__)}."
        if not torch.equal(out[:, :-1], x):
            return "The features themselves must stay as they are, in the first columns."
        truth = x.std(0, unbiased=False).mean().expand(len(x))
        if not torch.allclose(out[:, -1], truth, rtol=1e-3, atol=1e-5):
            return "The last column is not the mean spread." if len(x.unique(dim=0)) > 1 else \
                "Where all samples are the same, the last column must be zero."
    x = random(6, 4).requires_grad_()
    return bool(answer(x)[:, -1].requires_grad) or "No gradient flows through the last column, so G could learn nothing."


@exercise("gan-smoothing", "at one point x the loss has four terms: each density splits its weight between log d and "
          "log(1 - d) by its target; set the derivative with respect to d to zero")
def _(answer):
    p, q = random(20).abs() + 0.01, random(20, seed=1).abs() + 0.01
    cases = [((0.3, 0.1, 0.9, 0.0), 0.675), ((0.2, 0.2, 1.0, 0.0), 0.5), ((0.1, 0.4, 0.75, 0.25), 0.35)]
    return every(answer, [*cases, ((p, q, 0.8, 0.1), (0.8 * p + 0.1 * q) / (p + q))])
