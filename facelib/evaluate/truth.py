"""Edits of rendered faces, of which the truth is known: the renderer shows the same person with one factor changed.

And whether the latents that are predicted from rendered faces keep the renderer's factors apart (MIG, DCI).
"""

import numpy as np
import torch

from facelib import metrics
from facelib.data import synthetic
from facelib.data.faces import ATTRIBUTES
from facelib.evaluate.benchmark import BATCH, RESAMPLES
from facelib.evaluate.recovery import summary
from facelib.evaluate.report import grid

FACES = 48         # of which the truth is rendered: each takes a few tenths of a second
AMOUNTS = (0.5, 1.0, 2.0, 3.0)
# The factors behind an attribute. The edited face gets the mean that they have among train faces on the other side.
BEHIND = {"Smiling": ("smile",), "Mouth_Slightly_Open": ("mouth_open",), "Eyeglasses": ("glasses",), "Male": ("masculine",),
          "Young": ("age",), "Blond_Hair": ("hair_rgb",), "Black_Hair": ("hair_rgb",), "Bangs": ("fringe",),
          "No_Beard": ("beard", "goatee", "moustache", "stubble"), "Bald": ("bald",), "Pale_Skin": ("skin",),
          "Wearing_Hat": ("hat",)}
# Those that a face shows plainly; of a colour the mean of its three parts.
FACTORS = ("yaw", "pitch", "light_azimuth", "exposure", "skin", "masculine", "age", "hair_rgb", "hair_length", "fringe", "smile",
           "mouth_open", "beard", "glasses", "hat", "background_rgb")
COLUMNS = (("amount", "amount", 1), ("faces", "faces", 0), ("PSNR unedited", "unedited", 2), ("edited", "psnr", 2),
           ("error ratio", "ratio", 2), ("random", "random_ratio", 2), ("cosine", "cosine", 3), ("random", "random_cosine", 3))


def render(factors, size):
    """Faces of factors, name -> (N, k) -> (N, 3, size, size) in [-1, 1]."""
    count = len(factors["yaw"])
    return torch.cat([synthetic.render({k: v[i:i + BATCH] for k, v in factors.items()}, size) for i in range(0, count, BATCH)])


def changed(factors, labels, train, attribute):
    """Factors (N, k) with one attribute turned over -> (the same of those that can be turned, their index (M,)).

    labels: int8 (N, 40) of the faces now. train: a split, whose means the factors get. Left out are faces of which the
    attribute is not known, and those where it does not follow (a fringe under a hat).
    """
    place, turned = ATTRIBUTES.index(attribute), {name: value.clone() for name, value in factors.items()}
    for name in BEHIND[attribute]:
        for side in (0, 1):
            goal = np.asarray(train.factors[name], np.float32)[train.attributes[:, place] == side].mean(0)
            turned[name][torch.from_numpy(labels[:, place] == 1 - side)] = torch.from_numpy(goal)
    now = synthetic.attributes(turned)[:, place]
    keep = np.flatnonzero((labels[:, place] >= 0) & (now == 1 - labels[:, place]))
    return {name: value[keep] for name, value in turned.items()}, keep


def ratio(error, reference, seed=0):
    """Sum of errors (N,) over the sum of others, with its bootstrap 95 % interval over the faces."""
    draws = np.random.default_rng(seed).multinomial(len(error), np.full(len(error), 1 / len(error)), RESAMPLES)
    low, high = np.percentile((draws @ error) / (draws @ reference), (2.5, 97.5))
    return {"mean": float(error.sum() / reference.sum()), "low": float(low), "high": float(high)}


def compare(made, image, goal, seed=0):
    """Edited faces, the unedited ones and the true edits, (N, 3, H, W) each -> figures.

    psnr: of the edited face against the true edit. ratio: its squared error as a share of the unedited face's: below 1 the
    edit goes the right way. cosine: of what was changed with what should have been, whatever the amount: above 0 a small
    amount goes the right way, and 1 - cosine^2 is the best ratio that any amount can reach for a face.
    """
    change, wanted = ((x - image).flatten(1).double() for x in (made, goal))
    error, reference = ((x - goal).flatten(1).double().square().sum(1).numpy() for x in (made, image))
    return {"psnr": summary(metrics.psnr(made, goal), seed), "ratio": ratio(error, reference, seed),
            "cosine": summary(torch.nn.functional.cosine_similarity(change, wanted), seed)}


def edits(method, faces, n, edited, strayed, seed=0):
    """Edits of the first n test faces against the true ones -> rows, one for each attribute and amount.

    edited, strayed: functions (method, image, attribute, amounts) that edit, see `editing`. The faces are rendered anew, so
    that no trace of the pack's compression counts. unedited: PSNR of the unedited face; "random": a push of the same length
    in a direction drawn at random.
    """
    size, device, labels = faces.size[0], next(method.parameters()).device, faces.test.attributes[:n]
    factors = {name: torch.from_numpy(np.array(value[:n])).float() for name, value in faces.test.factors.items()}
    image = render(factors, size)
    rows = []
    for attribute in [name for name in BEHIND if name in method.attributes]:
        turned, keep = changed(factors, labels, faces.train, attribute)
        if len(keep) < 2:
            continue
        goal, start = render(turned, size), image[keep]
        side = torch.from_numpy(1.0 - 2.0 * labels[keep, ATTRIBUTES.index(attribute)]).float()
        for amount in AMOUNTS:
            made, astray = (compare(way(method, start.to(device), attribute, amount * side.to(device)).cpu(), start, goal, seed)
                            for way in (edited, strayed))
            rows.append({"method": attribute, "amount": amount, "faces": len(keep),
                         "unedited": summary(metrics.psnr(start, goal), seed), **made, "random": astray})
    return rows


def principal(train, images, count):
    """Principal components of pixels: of faces (N, 3, H, W) along the first `count` of train faces -> (N, count)."""
    mean = train.flatten(1).mean(0)
    rows = train.flatten(1) - mean
    values, vectors = torch.linalg.eigh(rows @ rows.T)                                    # of faces, not pixels: fewer
    axes = rows.T @ vectors[:, -count:] / values[-count:].clamp(min=1e-9).sqrt()
    return (images.flatten(1) - mean) @ axes.flip(1)


def disentanglement(method, faces, seed=0):
    """MIG and DCI of latents, predicted from the val and test faces, against the FACTORS that made these -> rows.

    Attribute directions: the coordinates of the latents along the directions that `edit` moves in, by least squares. Beside
    them principal components of the pixels of train faces, as many as there are latents, and latents drawn at random.
    """
    splits, layout = (faces.val, faces.test), method.layout
    images = torch.cat([split.tensor() for split in splits])
    device = next(method.parameters()).device
    vector = torch.cat([layout.join(method.encode(part.to(device))).cpu() for part in images.split(BATCH)])
    truth = np.stack([np.concatenate([np.asarray(split.factors[name], np.float64).mean(1) for split in splits])
                      for name in FACTORS], 1)
    origin = torch.zeros(1, layout.length, device=device)
    ways = torch.cat([method.move(origin, name, 1.0) for name in method.attributes if name in ATTRIBUTES]).cpu()
    sets = {"noise": vector[:, :layout.z_dim], "codes": vector[:, layout.z_dim:], "noise and codes": vector,
            "attribute directions": vector @ torch.linalg.pinv(ways, rtol=0.05),
            "components of pixels": principal(faces.train.tensor(slice(0, 1024)), images, layout.length),
            "drawn at random": method.draw_latents(len(vector), seed)}
    return [{"method": name, "latents": latents.shape[1], "mig": metrics.mig(latents, truth), **metrics.dci(latents, truth, seed)}
            for name, latents in sets.items() if latents.shape[1] > 1]


def table(report):
    """The two sections of a report on editing as lines of Markdown."""
    rows = [row | {f"random_{key}": value for key, value in row["random"].items()} for row in report["truth"]]
    lines = ["", "Against the true edit, which the renderer shows", "", *grid(rows, COLUMNS, {}, "attribute"), "",
             "error ratio: squared error of the edited face as a share of the unedited face's; cosine: of what was changed with "
             "what should have been", "", f"Do the latents keep apart: {', '.join(FACTORS)}?", ""]
    return lines + grid(report["disentanglement"], (("latents", "latents", 0), ("MIG", "mig", 3), ("disentanglement",
                        "disentanglement", 3), ("completeness", "completeness", 3), ("informativeness", "informativeness", 3)),
                        {}, "what")
