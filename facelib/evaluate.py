"""The benchmark: every method, the same faces, the same holes -> one table, and a report that names how it was made.

Distortion (PSNR, SSIM, MS-SSIM, L1, whole picture and hole only) compares each completion with the true face.
Perception (FD-attr, KD-attr) compares the set of completions with sets of real faces in the features of `judge_attr`.
Identity and attributes ask the judges whether the same person came back. No judge has served as a training loss.
"""

import json
import platform
import re
import shlex
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

import facelib
from facelib import masks, metrics
from facelib.data import load_faces
from facelib.pretrained import hardware, load_pretrained
from facelib.train import write

HELD_OUT = Path(__file__).parent / "weights" / "celeba_held_out.txt"
BATCH = 64         # faces completed and judged at a time
REFERENCE = 4096   # train faces at most that stand for real faces in FD-attr and KD-attr
RESAMPLES = 2000   # bootstrap samples of the faces
DISTORTIONS = {"psnr": metrics.psnr, "ssim": metrics.ssim, "ms_ssim": metrics.ms_ssim, "l1": metrics.l1}


def held_out(split):
    """The faces of a split that no published weights were trained on.

    The weights were trained on pictures from CelebA's official test partition, so of that partition only the committed
    list of held-out pictures may be scored. Other faces (rendered, a user's own) pass as they are.
    """
    official = re.compile(r"(\d{6})\.(jpg|png)$")
    numbers = [official.match(name) for name in split.names or ()]
    if split.attributes is None or not numbers or not all(numbers):
        return split
    allowed = set(HELD_OUT.read_text().split())
    keep = [i for i, found in enumerate(numbers) if int(found[1]) <= 182637 or f"{found[1]}.jpg" in allowed]
    return split if len(keep) == len(split) else split.take(keep)


def evaluate(names=("glcic",), faces=None, holes=("center",), n=None, seed=0, out=None, command=None, device=None,
             quiet=False):
    """Complete the held-out test faces with every method under every kind of hole, and measure -> the report, a dict.

    names: names for `load_pretrained`, or a dict of name -> anything with the verb `complete(image, mask)`.
    faces: FaceData, by default the rendered faces. holes: kinds out of `masks.KINDS`. n: how many test faces, the first
    ones (default all). seed: of the holes, the reference faces and the bootstrap. out: a .json file for the report,
    written whole or not at all. command: how to make this report again, kept in it. device: default the GPU if any.

    The report's "rows" hold, for each method and hole: psnr, ssim, ms_ssim, l1, each also as *_hole, identity and
    attributes as {"mean", "low", "high"} over the faces, with a bootstrap 95 % interval; "versus": the same for the
    paired differences from the first method; fd_attr, kd_attr: completions against the true test faces;
    fd_attr_train, kd_attr_train: completions against train faces, whose floor (real test faces against them) is in
    "floor"; milliseconds for one face; parameters that `complete` passes through. "strangers" holds the identity
    distance and the attribute agreement of real faces paired at random: what no completion should be as bad as.
    FD-attr is None where there are too few faces for it (129). Raises ValueError for unknown holes or too few faces.
    """
    faces = load_faces() if faces is None else faces
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    unknown = [kind for kind in holes if kind not in masks.KINDS]
    if unknown or not holes:
        raise ValueError(f"holes must be kinds out of {', '.join(masks.KINDS)}, got {tuple(holes)}")
    test = held_out(faces.test)
    test = test if n is None else test.take(slice(0, n))
    if len(test) < 2 or len(faces.train) < 2:
        raise ValueError(f"evaluation needs at least 2 held-out test faces and 2 train faces, {faces.name} gives "
                         f"{len(test)} and {len(faces.train)}; use another data set, or a larger n")
    if not isinstance(names, dict):
        names = {name: load_pretrained(name, device) for name in ([names] if isinstance(names, str) else names)}
    judges = load_pretrained("judge_attr", device), load_pretrained("judge_identity", device)
    truth = test.tensor()
    generator = np.random.default_rng(seed)
    pick = np.sort(generator.permutation(len(faces.train))[:REFERENCE])
    # One set of resamples for all methods and holes, so that their intervals are of the same draws of faces.
    resamples = generator.multinomial(len(test), np.full(len(test), 1 / len(test)), RESAMPLES) / len(test)
    bar = tqdm(total=len(pick) + len(test) * (1 + len(names) * len(holes)), unit="face", disable=quiet)

    real = judge(judges, truth, device, bar)
    chunks = np.split(pick, range(BATCH, len(pick), BATCH))
    train = features(judges[0], (faces.train.tensor(chunk) for chunk in chunks), device, bar)
    rows, first = [], {}
    for kind in holes:
        mask = masks.make(kind, len(test), faces.size, seed)
        for name, method in names.items():
            values, seen = measure(method, truth, mask, real, judges, device, bar)
            row = {key: interval(value, resamples) for key, value in values.items()}
            row |= distances(seen, real["features"])
            row |= {f"{key}_train": value for key, value in distances(seen, train).items()}
            one = truth[:1].to(device), mask[:1].to(device)
            row |= {"milliseconds": latency(method, *one), "parameters": parameters(method, *one)}
            if name == next(iter(names)):
                first = values
            else:
                row["versus"] = {key: interval(value - first[key], resamples) for key, value in values.items()}
            rows.append({"method": name, "hole": kind, **row})
    bar.close()
    strangers = np.roll(np.arange(len(test)), 1)
    report = {
        "command": command, "data": faces.name, "size": list(faces.size), "test_faces": len(test),
        "train_faces": len(pick), "seed": seed, "rows": rows,
        "floor": {f"{key}_train": value for key, value in distances(real["features"], train).items()},
        "strangers": {key: interval(value, resamples) for key, value in
                      compare(real, {key: value[strangers] for key, value in real.items()}).items()},
        "weights": {name: method.card["sha256"] for name, method in [*names.items(), ("judge_attr", judges[0]),
                                                                     ("judge_identity", judges[1])]
                    if hasattr(method, "card")},
        "versions": {"facelib": facelib.__version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": str(device), "hardware": hardware(),
    }
    if out is not None:
        save(report, out)
    return report


def main(names=("glcic",), data="synthetic", root=None, size=64, holes=("center",), n=None, seed=0, out=None):
    """What `facelib evaluate` does: load the faces, evaluate, print the table -> the report, see `evaluate`."""
    command = ["facelib", "evaluate", *names, "--data", data]
    if root is not None:
        command += ["--root", Path(root).name]  # found by its name in FACELIB_DATA on any machine
    command += ["--size", str(size), "--holes", *holes, "--seed", str(seed)]
    command += [] if n is None else ["--n", str(n)]
    report = evaluate(names, load_faces(data, root=root, size=size), holes, n, seed, out, shlex.join(command))
    print(table(report))
    return report


@torch.no_grad()
def features(judge_attr, batches, device, bar):
    """`judge_attr.features` of batches of faces (B, 3, H, W) -> (N, 128) on the CPU."""
    found = []
    for batch in batches:
        found.append(judge_attr.features(batch.to(device)).cpu())
        bar.update(len(batch))
    return torch.cat(found)


@torch.no_grad()
def judge(judges, images, device, bar=None):
    """What the judges see in faces (N, 3, H, W): features (N, 128), logits (N, 40), identity (N, 128), on the CPU."""
    seen = {"features": [], "logits": [], "identity": []}
    for batch in images.split(BATCH):
        batch = batch.to(device)
        seen["features"].append(judges[0].features(batch).cpu())
        seen["logits"].append(judges[0].logits(batch).cpu())
        seen["identity"].append(judges[1].features(batch).cpu())
        if bar:
            bar.update(len(batch))
    return {key: torch.cat(value) for key, value in seen.items()}


def compare(seen, real):
    """Identity distance and attribute agreement of faces and their true ones, from `judge` -> (N,) each."""
    return {"identity": metrics.identity_distance(seen["identity"], real["identity"]).numpy(),
            "attributes": metrics.attribute_agreement(seen["logits"], real["logits"]).numpy()}


def distances(a, b):
    """FD-attr (None where a set is too small for its covariance) and KD-attr of two sets of features."""
    enough = min(len(a), len(b)) > a.shape[1]
    return {"fd_attr": metrics.frechet_distance(a, b) if enough else None, "kd_attr": metrics.kernel_distance(a, b)}


def measure(method, truth, mask, real, judges, device, bar):
    """One method under one set of holes -> (figures per face: name -> (N,), features of the completions (N, 128))."""
    values = {key + where: [] for where in ("", "_hole") for key in DISTORTIONS}
    seen = []
    for image, hole in zip(truth.split(BATCH), mask.split(BATCH), strict=True):
        completed = method.complete(image.to(device), hole.to(device)).float().cpu()
        for key, metric in DISTORTIONS.items():
            values[key].append(metric(completed, image))
            values[f"{key}_hole"].append(metric(completed, image, hole))
        seen.append(judge(judges, completed, device))
        bar.update(len(image))
    seen = {key: torch.cat([part[key] for part in seen]) for key in seen[0]}
    values = {key: torch.cat(value).numpy() for key, value in values.items()} | compare(seen, real)
    return values, seen["features"]


def interval(values, resamples):
    """Mean over the faces (N,) and its bootstrap 95 % interval (Efron 1979, percentiles), resamples (R, N)."""
    with np.errstate(invalid="ignore"):         # an infinite PSNR has no interval: NaN
        low, high = np.percentile(resamples @ values.astype(np.float64), (2.5, 97.5))
    return {"mean": float(values.mean(dtype=np.float64)), "low": float(low), "high": float(high)}


def latency(method, image, mask, repeats=15):
    """Milliseconds of `complete` for one face: the median of `repeats`, after two that warm up."""
    times = []
    for _ in range(repeats + 2):
        start = time.perf_counter()
        method.complete(image, mask).cpu()      # waits for the device
        times.append(1000 * (time.perf_counter() - start))
    return round(statistics.median(times[2:]), 2)


def parameters(method, image, mask):
    """How many parameters `complete` passes through (a discriminator is none of them); None for what is no network."""
    if not isinstance(method, torch.nn.Module):
        return None
    used = {}

    def note(module, *_):
        used.update({id(p): p.numel() for p in module.parameters(recurse=False)})

    hooks = [module.register_forward_hook(note) for module in method.modules()]
    try:
        method.complete(image, mask)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(used.values())


def save(report, path):
    """Write the report as JSON, whole or not at all; what is infinite (the PSNR of a perfect copy) becomes null."""
    def plain(value):
        if isinstance(value, dict):
            return {key: plain(item) for key, item in value.items()}
        if isinstance(value, list):
            return [plain(item) for item in value]
        if isinstance(value, float):
            return float(f"{value:.6g}") if np.isfinite(value) else None
        return value

    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, (json.dumps(plain(report), indent=1, allow_nan=False) + "\n").encode())


def table(report):
    """The report as text: a row for each method and hole, means with half of the 95 % interval, then the references."""
    def number(value, digits):
        if isinstance(value, dict):
            return f"{value['mean']:.{digits}f} ±{(value['high'] - value['low']) / 2:.{digits}f}"
        return "-" if value is None else f"{value:,.{digits}f}"

    columns = (("PSNR dB", "psnr", 2), ("hole", "psnr_hole", 2), ("SSIM", "ssim", 3), ("hole", "ssim_hole", 3),
               ("L1", "l1", 4), ("hole", "l1_hole", 4), ("FD-attr", "fd_attr", 2), ("to train", "fd_attr_train", 2),
               ("KD-attr", "kd_attr", 3), ("to train", "kd_attr_train", 3), ("identity", "identity", 3),
               ("attributes", "attributes", 3), ("ms", "milliseconds", 1), ("parameters", "parameters", 0))
    lines = [["method", "hole", *(title for title, _, _ in columns)]]
    references = {"method": "real faces", "hole": "", **report["floor"]}
    strangers = {"method": "strangers", "hole": "", **report["strangers"]}
    for row in [*report["rows"], references, strangers]:
        lines.append([row["method"], row["hole"], *(number(row.get(key), digits) for _, key, digits in columns)])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) if i < 2 else cell.rjust(width)
                      for i, (cell, width) in enumerate(zip(line, widths, strict=True))).rstrip() for line in lines]
    h, w = report["size"]
    return "\n".join([f"{report['data']}: {report['test_faces']:,} held-out test faces of {h}x{w}, ± half of the 95 % "
                      f"interval; {report['hardware']}", *text])
