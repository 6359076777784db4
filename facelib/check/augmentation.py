"""Exercises of the chapter on edited faces as training data."""

import torch

from facelib.check.checker import every, exercise, function, parts, random


@exercise("augmentation-penalty", "the moves are zero on average, so the mixed term of the square vanishes; what is left is the "
          "mean square of w times the move. And a share of the examples is not moved at all")
def _(answer):
    one = "That is one of the four moves; the copies are moved in all four ways."
    return parts(answer, ("what the copies cost", 4 * 0.25 + 9 * 1.0, {
        16: one, 4: one, 13: "The moves have not the same length in both directions.", 0: "A move up and a move down cancel in "
        "the answer, not in its square."}), ("what the loss costs", 0.5 * (4 * 0.25 + 9 * 1.0), {
            10: "Only a part of the examples is moved.", 8: "The share comes out, but of a wrong mean."}), rel=1e-3)


@exercise("augmentation-leak", "everybody is in training, so asking whose face it is keeps every copy; ask which photograph a "
          "copy was made of")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    generator = torch.Generator().manual_seed(0)
    people = torch.arange(4).repeat_interleave(5)
    for k in (1, 3):
        learnt = (torch.arange(5) < k).repeat(4)
        source = torch.randint(20, (60,), generator=generator)
        out = answer(people.clone(), learnt.clone(), source.clone())
        if not torch.is_tensor(out) or out.shape != source.shape:
            return f"Expected one answer for each of the {len(source)} copies, got {getattr(out, 'shape', type(out).__name__)}."
        wrong = out.bool() & ~learnt[source]
        if wrong.any():
            return f"{int(wrong.sum())} of {int(out.bool().sum())} copies that you keep show a photograph of the test."
        if not torch.equal(out.bool(), learnt[source]):
            return "Copies are thrown away that could be learnt from."
    return True


@exercise("augmentation-paired", "the same people were asked twice: subtract person by person first, and only then look at "
          "how much the people differ")
def _(answer):
    cases = []
    for seed in (0, 2):
        a = random(5, 40, seed=seed) / 2 + 0.5
        b = (a - 0.05 + 0.1 * random(5, 40, seed=seed + 1)).clamp(0, 1)
        cases.append(((a, b), paired_error(a, b)))
    return every(answer, cases, rel=1e-3, slips=(
        (lambda a, b: ((a.mean(0).var() + b.mean(0).var()) / a.shape[1]) ** 0.5,
         "That would be right if the two arms had met different people."),
        (lambda a, b: (a - b).std() / (a - b).numel() ** 0.5, "The same person five times is not five people: seeds first."),
        (lambda a, b: (a - b).mean(0).std(), "That is how much one person differs from another, not how sure their mean is."),
        (lambda a, b: (a - b).mean(0).var() / a.shape[1], "That is the error's square.")))


def paired_error(a, b):
    """Standard error over the people of the mean difference of two arms, (seeds, people) each -> a number."""
    difference = (a - b).mean(0)
    return difference.std() / len(difference) ** 0.5


@exercise("augmentation-direction", "the best direction solves C w = m with C = sigma^2 I + t^2 u u^T; split m into the part "
          "along u and the rest: by which number is each divided?")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    for seed, (sigma, t) in enumerate(((1.0, 0.0), (0.5, 1.0), (1.0, 30.0))):
        m, u = random(6, seed=seed), torch.nn.functional.normalize(random(6, seed=seed + 9), dim=0)
        truth = torch.linalg.solve(sigma**2 * torch.eye(6) + t**2 * torch.outer(u, u), m)
        out = torch.as_tensor(answer(m.clone(), u.clone(), sigma, t))
        if out.shape != m.shape:
            return f"Expected a direction {tuple(m.shape)}, got {tuple(out.shape)}."
        if not float(torch.nn.functional.cosine_similarity(out.float(), truth, dim=0)) > 1 - 1e-4:
            if torch.allclose(out, m - (m @ u) * u, atol=1e-5):
                return f"All along u is gone, even for copies that move by t = {t:g}."
            return (f"With sigma = {sigma:g} and t = {t:g} this is not the best direction" +
                    (": it is still m." if torch.allclose(out / out.norm(), m / m.norm(), atol=1e-5) else "."))
    return True
