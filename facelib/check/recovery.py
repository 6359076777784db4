"""Exercises of the chapter on finding a face in latent space."""

import torch

from facelib.check.checker import every, exercise, parts, random


@exercise("recovery-two-latents", "a squared error is smallest at a mean: of what, for each of the two predictors? And is the "
          "mean of two latents that make a face a latent that makes it?")
def _(answer):
    return parts(answer, ("the first latent", 0.4, {
        0.8: "That is the more frequent latent; a squared error wants something else.",
        0.0: "That would be right if both latents were equally likely.", 0.64: "That is the face, not a latent."}),
        ("the first face", 0.16, {0.64: "Is the face of a mean the mean of the faces?", 0.4: "That is a latent: put it into G."}),
        ("the second face", 0.64, {0.16: "The second predictor is judged by the face that comes out, not by its latent.",
                                   0.8: "That is a latent: put it into G."}), rel=0.005)


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
    means = lambda attributes, vector: torch.stack([vector[has].mean(0) - vector[~has].mean(0) for has in attributes.T == 1])
    return every(answer, cases, rel=1e-3, absolute=1e-4, slips=(
        (means, "These are differences of means: what goes along with an attribute is still in its direction."),
        (lambda attributes, vector: torch.linalg.lstsq(attributes, vector).solution,
         "Somebody without any attribute would have to have the latents 0: what is common to all needs a place too."),
        (lambda attributes, vector: torch.linalg.lstsq(attributes - attributes.mean(0), vector - vector.mean(0)).solution
         / attributes.std(0)[:, None], "Per deviation of an attribute; asked for is the step from 0 to 1.")))


@exercise("recovery-pull", "set the gradient of the sum to zero; of both terms. Without a pull your result must be plain least "
          "squares, with a large one nearly zero")
def _(answer):
    cases = []
    for seed, (pixels, length, pull) in enumerate(((6, 3, 0.5), (6, 3, 20.0), (4, 7, 0.1), (5, 5, 1.0))):
        A, x = random(pixels, length, seed=seed).double(), random(pixels, seed=seed + 9).double()
        cases.append(((A.float(), x.float(), pull), torch.linalg.solve(A.T @ A + pull * torch.eye(length), A.T @ x)))
    pulled = lambda A, x, pull: torch.linalg.solve(A.T @ A + pull * torch.eye(A.shape[1]), A.T @ x)
    return every(answer, cases, rel=1e-3, absolute=1e-5, slips=(
        (lambda A, x, pull: torch.linalg.pinv(A) @ x, "The pull is not in it: a large one should take z to 0."),
        (lambda A, x, pull: pulled(A, x, pull / 2), "Half the pull: both squares have a factor of 2 in their gradients."),
        (lambda A, x, pull: pulled(A, x, pull ** 2), "The pull is in it squared."),
        (lambda A, x, pull: torch.linalg.pinv(A) @ x / (1 + pull), "Not every direction of z is shortened by one factor.")))
