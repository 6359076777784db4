"""Exercises of the chapter on BEGAN."""

import torch

from facelib.check.checker import every, exercise, function, near, parts, random


@exercise("began-equilibrium", "k has not moved yet, and M does not depend on it; then k gains the same amount at each step. "
          "Where does k stand still, and what is left of M there?")
def _(answer):
    return parts(answer, ("M", 0.12 + abs(0.5 * 0.12 - 0.03), {
        0.21: "In M's second term the real error is weighed by gamma.",
        0.09: "M adds to the real error; what, and how weighed?"}),
        ("k after 100 steps", 100 * 0.001 * (0.5 * 0.12 - 0.03), {
            0.00003: "That is k after one step.", -0.003: "The generated error is below its share: which player needs help?",
            0.03: "k moves by a small part of the imbalance only.", 0.009: "gamma weighs the real error."}),
        ("the generated error in balance", 0.5 * 0.12, {0.12: "In balance the two errors are not equal, unless gamma is 1.",
                                                        0.03: "In this state k still moves.",
                                                        0.24: "gamma is the other way up."}),
        ("M in balance", 0.12, {0.18: "In balance nothing is left of M's second term."}), rel=1e-3)


@exercise("began-step", "which player may each of the two losses reach, and what keeps k where it may be?")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    from facelib.losses import balance
    weight = torch.tensor(0.6, requires_grad=True)
    D = lambda images: weight * images.roll(1, 3)
    image = random(2, 3, 8, 8)
    for loud, k, gamma, k_step in ((0.3, 0.2, 0.5, 0.1), (0.1, 0.9, 0.9, 5.0), (1.0, 0.1, 0.3, 5.0)):
        fake = (loud * random(2, 3, 8, 8, seed=1)).requires_grad_()
        loss_D, loss_G, moved = answer(D, image, fake, k, gamma, k_step)
        real_error, fake_error = ((D(x) - x).abs().mean().detach() for x in (image, fake))
        truth = min(max(k + k_step * float(balance(real_error, fake_error, gamma)), 0.0), 1.0)
        for name, got, wanted in (("loss_D", loss_D, real_error - k * fake_error), ("loss_G", loss_G, fake_error),
                                  ("the new k", moved, truth)):
            verdict = near(got, wanted, rel=1e-4)
            if verdict is False and name == "the new k" and not 0 <= float(torch.as_tensor(got).detach()) <= 1:
                return f"With k = {k} and k_step = {k_step}, the new k is {torch.as_tensor(got).item():.2f}: where may it be?"
            if verdict is not True:
                return verdict or f"{name} is not the number that it should be, for k = {k} and k_step = {k_step}."
        reached = [torch.autograd.grad(loss, fake, retain_graph=True, allow_unused=True)[0] for loss in (loss_D, loss_G)]
        if reached[0] is not None and reached[0].any():
            return "The numbers are right, but D's loss reaches the generated images, and so the generator."
        if reached[1] is None or not reached[1].any():
            return "The numbers are right, but no gradient reaches the generated images from the generator's loss."
        if torch.is_tensor(moved) and moved.requires_grad:
            return "The numbers are right, but the new k still knows how it was made: each step would keep all steps before it."
    return True


@exercise("began-gain", "write one step as a matrix that acts on the distances of the error and of k from their rest. When are "
          "its eigenvalues real, and what is their product when they are not?")
def _(answer):
    return every(answer, [((a, g), (a / (4 * g), 1 / g)) for a, g in ((0.05, 0.4), (0.2, 0.4), (0.5, 3.0))], rel=1e-3, slips=(
        (lambda a, g: (1 / g, 2 / g), "The slower the error follows k, the sooner k overshoots; where is a in your first value?"),
        (lambda a, g: (1 / g, a / (4 * g)), "You have the two values in the other order."),
        (lambda a, g: (a / g, 1 / g), "The second is right. For the first, compare the square of the matrix's trace with its "
         "determinant: how many times?"),
        (lambda a, g: (a / (4 * g), 2 / g), "The first is right. Complex eigenvalues come as a pair: what is their size?")))
