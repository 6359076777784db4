"""Exercises of the chapter on a generator and its critic."""

import torch

from facelib.check.checker import every, exercise, function, parts, random, tensor_like


@exercise("gan-checkerboard", "on a line first: write down for output pixel 0, 1, 2, ... which inputs lie under the "
          "kernel when it moves by two; then a picture is rows times columns")
def _(answer):
    wanted = []
    for kernel in (5, 6):
        line = torch.nn.functional.conv_transpose1d(torch.ones(1, 1, 9), torch.ones(1, 1, kernel), stride=2)[0, 0, 8:10]
        for name, count in (("most", float(line.max())), ("fewest", float(line.min()))):
            wanted.append((f"the {name} for {kernel}x{kernel}", count ** 2, {
                count: "That many are right on a line; a picture has rows and columns.",
                kernel ** 2: "The whole kernel reaches no pixel: its neighbours stand two pixels apart."}))
    return parts(answer, *wanted, rel=1e-6)


@exercise("gan-batch-spread", "the standard deviation goes over the batch, for each feature; then one mean over the "
          "features, and every row gets the same number (divide by B, not by B - 1)")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for x in (random(6, 4), random(3, 10, seed=1), random(1, 5, seed=2).expand(4, 5)):
        out = answer(x.clone())
        problem = tensor_like(out, torch.cat([x, x[:, :1]], 1))
        if problem:
            return problem
        if not torch.equal(out[:, :-1], x):
            return "The features themselves must stay as they are, in the first columns."
        same = [torch.allclose(out[:, -1], spread.expand(len(x)), rtol=1e-3, atol=1e-5) for spread in
                (x.std(0, unbiased=False).mean(), x.std(0).mean(), x.std(1), x.std(1, unbiased=False), x.std(1).mean())]
        if same[0]:
            continue
        if same[1]:
            return "Nearly: the squares are to be divided by B."
        if any(same):
            return "That is how the features of one sample differ; nothing of the batch is in it."
        return "The last column is not the mean spread." if len(x.unique(dim=0)) > 1 else \
            "Where all samples are the same, the last column must be zero."
    x = random(6, 4).requires_grad_()
    slope, = torch.autograd.grad(answer(x)[:, -1].sum(), x)
    return bool(slope.any()) or "No gradient flows through the last column, so G could learn nothing."


@exercise("gan-smoothing", "at one point x the loss has four terms: each density splits its weight between log d and "
          "log(1 - d) by its target; set the derivative with respect to d to zero")
def _(answer):
    p, q = random(20).abs() + 0.01, random(20, seed=1).abs() + 0.01
    cases = [((0.3, 0.1, 0.9, 0.0), 0.675), ((0.2, 0.2, 1.0, 0.0), 0.5), ((0.1, 0.4, 0.75, 0.25), 0.35)]
    cases.append(((p, q, 0.8, 0.1), (0.8 * p + 0.1 * q) / (p + q)))
    return every(answer, cases, slips=(
        (lambda p, q, real, fake: p / (p + q), "The targets do not appear: that is the best D for labels 1 and 0."),
        (lambda p, q, real, fake: real * p / (p + q), "Right for fake = 0; but a generated sample has a target too."),
        (lambda p, q, real, fake: real * p / (real * p + fake * q),
         "At x, the weights of log d and of log(1 - d) add up to p_data + p_g, whatever the targets are.")))
