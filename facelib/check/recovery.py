"""Exercises of the chapter on finding a face in latent space."""

import torch

from facelib.check.checker import every, exercise, near, random


@exercise("recovery-two-latents", "a squared error is smallest at a mean: of what, for each of the two predictors? And is the "
          "mean of two latents that make a face a latent that makes it?")
def _(answer):
    return near(answer, [0.4, 0.16, 0.64], rel=0.005)


@exercise("recovery-direction", "which latents would change if an attribute changed alone? A column of ones takes up the mean, "
          "and the attributes have to share the rest among them, not explain it one by one")
def _(answer):
    cases = []
    for seed, (faces, many, length) in enumerate(((40, 3, 5), (25, 2, 4), (60, 4, 3))):
        attributes = (random(faces, many, seed=seed) > 0).float()
        attributes[:, 1] = torch.where(random(faces, seed=seed + 20) > 0.5, attributes[:, 1], attributes[:, 0])   # go together
        vector = attributes @ random(many, length, seed=seed + 40) + 0.7 + 0.3 * random(faces, length, seed=seed + 60)
        design = torch.cat([torch.ones(faces, 1), attributes], 1)
        cases.append(((attributes, vector), torch.linalg.lstsq(design.double(), vector.double()).solution[1:]))
    return every(answer, cases, rel=1e-3, absolute=1e-4)


@exercise("recovery-pull", "set the gradient of the sum to zero; of both terms. Without a pull your result must be plain least "
          "squares, with a large one nearly zero")
def _(answer):
    cases = []
    for seed, (pixels, length, pull) in enumerate(((6, 3, 0.5), (6, 3, 20.0), (4, 7, 0.1), (5, 5, 1.0))):
        A, x = random(pixels, length, seed=seed).double(), random(pixels, seed=seed + 9).double()
        cases.append(((A.float(), x.float(), pull), torch.linalg.solve(A.T @ A + pull * torch.eye(length), A.T @ x)))
    return every(answer, cases, rel=1e-3, absolute=1e-5)
