"""Faces of nobody: how good they are as a set, which of them may be shown, and the sheet of them that ships.

A single face of nobody has no true face to be compared with. As a set, samples are compared with real faces in the
features of a judge: `quality`. One by one they are screened: `screen` turns away what comes too near to a face that the
generator was trained on, and what is farther from faces than real faces are.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facelib import metrics
from facelib.data import load_faces, to_uint8
from facelib.data.generated import SHEET
from facelib.data.images import pair
from facelib.data.synthetic.pack import TILES, to_sheet
from facelib.evaluate import held_out, save
from facelib.features import at_size_of
from facelib.pretrained import hardware, load_pretrained
from facelib.train import write

BATCH = 256
REFERENCE = 4096        # train faces at most that stand for real faces
NEAR, ODD = 0.01, 0.05  # the shares of real people's faces that would be turned away too, see `screen`
SPARE = 4               # samples drawn for each face that is wanted, where they are screened


@torch.no_grad()
def _seen(judge, images):
    """What a judge sees, its features, in faces: a tensor (N, 3, H, W), or a split of a data set -> (N, 128)."""
    part = images.tensor if hasattr(images, "tensor") else images.__getitem__
    batches = (part(slice(i, i + BATCH)) for i in range(0, len(images), BATCH))
    return torch.cat([judge.features(at_size_of(judge, batch)) for batch in batches])


def _sampler(method, name):
    if not hasattr(method, "sample"):
        raise ValueError(f"{name} draws no faces of nobody: it has no sample(n); choose one that has, such as dcgan or vae")
    return method.sample


def quality(methods, faces, seed=0, spread=1.0, out=None, command=None):
    """Samples of every method against real faces, in the features of `judge_attr` -> the report, a dict.

    methods: name -> anything with the verb `sample(n, seed=, spread=)`. faces: FaceData; as many samples are drawn as it
    has held-out test faces, since a Frechet distance depends on how many there are. Each of "rows" holds fd_attr and
    kd_attr (samples against the test faces) and fd_attr_train and kd_attr_train (against train faces, at most 4,096);
    "floor" holds the same for real faces in the samples' place: as many train faces against the test faces, and the test
    faces against train faces. out: a .json file for the report. command: how to make it again, kept in it.
    Raises ValueError for a method without samples, and for too few faces (129).
    """
    judge, test = load_pretrained("judge_attr"), held_out(faces.test)
    pick = np.random.default_rng(seed).permutation(len(faces.train))
    chosen = faces.train.take(np.sort(pick[:REFERENCE]))
    others = faces.train.take(np.sort(pick[-len(test):]))
    real, train = _seen(judge, test), _seen(judge, chosen)

    def distances(drawn, source, suffix=""):
        return {f"fd_attr{suffix}": metrics.frechet_distance(drawn, source),
                f"kd_attr{suffix}": metrics.kernel_distance(drawn, source)}

    rows = []
    for name, method in methods.items():
        drawn = _seen(judge, _sampler(method, name)(len(test), seed=seed, spread=spread))
        rows.append({"method": name, "hole": "samples", **distances(drawn, real), **distances(drawn, train, "_train")})
    report = {"command": command, "data": faces.name, "size": list(faces.size), "test_faces": len(test),
              "train_faces": len(chosen), "seed": seed, "spread": spread, "rows": rows,
              "floor": {**distances(_seen(judge, others), real), **distances(real, train, "_train")},
              "weights": {name: method.card["sha256"] for name, method in [*methods.items(), ("judge_attr", judge)]
                          if hasattr(method, "card")},
              "hardware": hardware()}
    if out is not None:
        save(report, out)
    return report


def nearest(vectors, known):
    """Cosine distance of each vector (N, d) to the nearest of `known` (M, d) -> (N,), in [0, 2]."""
    known = F.normalize(known, dim=1)
    return torch.cat([1 - (F.normalize(part, dim=1) @ known.T).amax(1) for part in vectors.split(BATCH)])


def screen(images, faces):
    """Which samples may be shown -> (near (N,), odd (N,): bool, the numbers as a dict).

    images: samples (N, 3, H, W) in [-1, 1]. faces: FaceData with all the faces that the generator was trained on as its
    train split, and people it has not seen as its test split.

    Both verdicts are taken in the features of `judge_identity`, and real people who are not in the train split say where
    the limits are. near: a near-copy of a training face, mirrored or not: nearer to it than 99 % of these people's faces
    are to any. odd: no face, or a broken one: its Mahalanobis distance from the training faces is larger than that of 95 %
    of these people's faces.
    """
    judge, test = load_pretrained("judge_identity"), held_out(faces.test).tensor()
    known = _seen(judge, faces.train)
    middle, inverse = known.double().mean(0), torch.linalg.pinv(torch.cov(known.T.double()))

    def distances(x):
        seen = _seen(judge, x)
        centred = seen.double() - middle
        to_nearest = torch.minimum(nearest(seen, known), nearest(_seen(judge, x.flip(3)), known))
        return to_nearest, ((centred @ inverse) * centred).sum(1).sqrt()

    (strangers, real), (sampled, found) = distances(test), distances(images)
    least, most = strangers.quantile(NEAR), real.quantile(1 - ODD)
    near, odd = sampled < least, found > most
    passed = ~(near | odd)
    return near, odd, {
        "against": f"{faces.name}: train, {len(known)} faces; people who are not in it: test, {len(test)} faces",
        "nearest": {"limit": float(least), "strangers": _spread(strangers), "passed": _spread(sampled[passed])},
        "oddity": {"limit": float(most), "strangers": _spread(real), "passed": _spread(found[passed])}}


def _spread(values):
    """The least, the middle and the greatest of some values; None of none."""
    if len(values):
        return {"least": float(values.min()), "median": float(values.median()), "greatest": float(values.max())}


def generate(method, n=16, seed=0, spread=1.0, faces=None, drop=()):
    """n faces of nobody, screened against `faces` if they are given -> (images (n, 3, H, W) in [-1, 1], card).

    method: anything with the verb `sample`. drop: numbers of samples that a human has looked at and turned away. The
    card's "numbers" say which of the samples that `method.sample(drawn, seed, spread)` gives these are. Raises
    ValueError where too few pass.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    drawn = n if faces is None else SPARE * n
    images = _sampler(method, type(method).__name__)(drawn, seed=seed, spread=spread)
    card = {"seed": seed, "spread": spread, "drawn": drawn, "faces": n, "size": list(images.shape[-2:])}
    near = odd = torch.zeros(drawn, dtype=torch.bool)
    if faces is not None:
        near, odd, card["screening"] = screen(images, faces)
    passed = [i for i in range(drawn) if not (near[i] or odd[i] or i in drop)]
    if len(passed) < n:
        raise ValueError(f"only {len(passed)} of {drawn} samples passed, {n} were asked for; ask for fewer, or use a better "
                         "generator")
    numbers = passed[:n]
    seen = numbers[-1] + 1                              # those after the last that was taken were not needed
    by_eye = [i for i in set(drop) if i < seen and not (near[i] or odd[i])]
    card["rejected"] = {"near_copies": int(near[:seen].sum()), "odd": int((odd & ~near)[:seen].sum()), "by_eye": len(by_eye)}
    return images[numbers], {**card, "numbers": numbers}


def main(name, method, n, seed, spread, out, faces=None, drop=(), specs=()):
    """What `facelib generate` does -> the path written: a folder of PNG files, or one sheet with its card beside it.

    A sheet, `out` ending in .jpg or .png, has 16 faces in a row; its card is the .json file of the same name.
    """
    out, sheet = Path(out), Path(out).suffix.lower() in (".jpg", ".png")
    if sheet and n % TILES:
        raise ValueError(f"a sheet has {TILES} faces in a row, so --n must be a multiple of {TILES}, got {n}")
    images, card = generate(method, n, seed, spread, faces, drop)
    command = ["facelib", "generate", name, "--n", str(n), "--seed", str(seed), "--spread", f"{spread:g}", "--out", out.name]
    command += ["--screen", *specs] if specs else []
    command += ["--drop", *map(str, drop)] if drop else []
    about = getattr(method, "card", {})
    card = {"command": shlex.join(command), "weights": {name: about.get("sha256")}, "licence": about.get("licence"), **card}
    pixels = to_uint8(images)
    out.parent.mkdir(parents=True, exist_ok=True)
    if sheet:
        Image.fromarray(to_sheet(pixels.numpy())).save(out, **SHEET)
        write(out.with_suffix(".json"), (json.dumps(card, indent=1) + "\n").encode())
    else:
        out.mkdir(exist_ok=True)
        for number, face in zip(card["numbers"], pixels, strict=True):
            Image.fromarray(face.permute(1, 2, 0).numpy()).save(out / f"{number:04d}.png")
    return out


def main_quality(names, data="synthetic", root=None, size=None, seed=0, out=None):
    """What `facelib evaluate --samples` does: measure, print the figures -> the report, see `quality`.

    size: of the real faces, an int or (height, width) in pixels; by default that of the faces that the methods draw, and
    of the largest where these differ.
    """
    methods = {name: load_pretrained(name) for name in names}
    height, width = pair(size) if size is not None else max(pair(method.cfg.size) for method in methods.values())
    size = height if height == width else (height, width)
    command = ["facelib", "evaluate", "--samples", *names, "--data", data]
    command += [] if root is None else ["--root", Path(root).name]      # found by its name in FACELIB_DATA anywhere
    command += ["--size", *map(str, [height] if height == width else [height, width]), "--seed", str(seed)]
    report = quality(methods, load_faces(data, root=root, size=size), seed, out=out, command=shlex.join(command))
    keys = ("fd_attr", "kd_attr", "fd_attr_train", "kd_attr_train")
    print(f"{report['data']}: as many samples as held-out test faces, {report['test_faces']:,}")
    for row in [*report["rows"], {"method": "real faces", **report["floor"]}]:
        print(f"{row['method']:<20} " + "  ".join(f"{key} {row[key]:.3f}" for key in keys))
    return report
