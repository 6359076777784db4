"""Exercises of the chapter on training two networks against each other."""

import math

import torch

from facelib.check.checker import every, exercise, function, random, same_words


@exercise("training-resume", "ask of each: if it were lost, would the next step's weights come out different?")
def _(answer):
    needed = ["network weights", "optimiser moments", "averaged weights", "random state", "step number"]
    verdict = same_words(answer, needed)
    if verdict is not False:
        return verdict
    given = answer.split(",") if isinstance(answer, str) else list(answer)
    known = [word for word in given if any(same_words([word], [other]) for other in
                                           [*needed, "last loss values", "sample sheets", "images per second"])]
    if len(known) < len(given):
        return f"{next(word for word in given if word not in known)!r} is not in the list."
    if any(not any(same_words([word], [other]) for other in needed) for word in given):
        return "Something in your set could be lost, and no later step would notice."
    return "What you keep is needed, but with it alone the run would go on differently."


@exercise("training-frozen", "the loss has to flow through D to reach G, so neither detach nor no_grad will do: stop "
          "D's weights from collecting gradients, and give them back as they were")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    z = random(5, 2)
    expected = torch.autograd.grad(torch.nn.functional.softplus(-D(G(z))).mean(), G.weight)[0]
    answer(G, D, z)
    if G.weight.grad is None or not bool(G.weight.grad.any()):
        return "No gradient reaches G."
    if any(p.grad is not None and bool(p.grad.any()) for p in D.parameters()):
        return "D has collected gradients too: they would leak into its next step."
    if not all(p.requires_grad for p in D.parameters()):
        return "D is still frozen afterwards, so it could never train again."
    return bool(torch.allclose(G.weight.grad, expected, atol=1e-6)) or "G's gradient is not that of the stated loss."


@exercise("training-saturating", "write both losses with sigmoid(a); the derivative of log sigmoid(a) is sigmoid(-a)")
def _(answer):
    up, down = (lambda a: 1 / (1 + math.exp(-a))), (lambda a: 1 / (1 + math.exp(a)))
    return every(answer, [((a,), (-up(a), -down(a))) for a in (-10.0, 0.0, 3.0)], absolute=1e-7, slips=(
        (lambda a: (0.0, 0.0), "Neither of the two losses is flat everywhere."),
        (lambda a: (-down(a), -up(a)), "You have the two losses in the other order."),
        (lambda a: (up(a), down(a)), "Both losses fall when D takes the face for a truer one, so both slopes have one sign.")))
