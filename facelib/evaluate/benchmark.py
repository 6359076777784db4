"""The benchmark: every method, the same faces, the same holes.

Distortion (PSNR, SSIM, MS-SSIM, L1, whole picture and hole only) compares each completion with the true face.
Perception (FD-attr, KD-attr) compares the set of completions with sets of real faces in the features of `judge_attr`.
Identity and attributes ask the judges whether the same person came back. No judge has served as a training loss.
"""

import json
import platform
import re
import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

import facelib
from facelib import blending, masks, metrics, recognition, weights
from facelib.data import load_faces
from facelib.data.specs import load_data
from facelib.evaluate.entry import Blended, entrants, own_size
from facelib.evaluate.report import face_sheet, save, table
from facelib.features import KNOWN, at_size_of
from facelib.pretrained import hardware, load_pretrained

HELD_OUT = weights.FOLDER / "celeba_held_out.txt"
JUDGES = ("judge_attr", "judge_identity")
SPOKEN = {"centre": "center", "random": "rectangle", "free": "strokes"}  # holes as the sources call them
FEW = 128          # faces under every hole but the centred one: a search over latents takes its time
BATCH = 64         # faces completed and judged at a time
SHOWN = 100        # completions on a sheet
SLICE = 16         # faces whose figures a report holds one by one
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
    official_test = range(182638, 202600)               # the pictures of CelebA end there; other sets may go on counting
    keep = [i for i, found in enumerate(numbers) if int(found[1]) not in official_test or f"{found[1]}.jpg" in allowed]
    return split if len(keep) == len(split) else split.take(keep)


@dataclass(frozen=True)
class Scene:
    """Faces with their holes, and what there is to compare their completions with."""

    truth: torch.Tensor         # (N, 3, H, W)
    mask: torch.Tensor          # (N, 1, H, W)
    real: dict                  # what the judges see in them, see `judge`
    train: torch.Tensor         # features of train faces, (M, 128)
    resamples: np.ndarray       # (RESAMPLES, N), the weight of each face in each bootstrap sample

    def references(self):
        """How many faces; real faces against train faces; real faces paired at random."""
        strangers = np.roll(np.arange(len(self.truth)), 1)
        seen = compare(self.real, {key: value[strangers] for key, value in self.real.items()})
        return {"faces": len(self.truth), "strangers": {key: interval(value, self.resamples) for key, value in seen.items()},
                "floor": {f"{key}_train": value for key, value in distances(self.real["features"], self.train).items()}}


def evaluate(names=("glcic_64",), faces=None, holes=("center",), n=None, seed=0, out=None, command=None, device=None,
             quiet=False, sheets=None):
    """Complete the held-out test faces with every method under every kind of hole, and measure -> the report, a dict.

    names: see `entrants`, or a dict of name -> anything with the verb `complete(image, mask)`. The first is the yardstick:
    paired differences and times are told against it. faces: FaceData, by default the rendered faces. holes: kinds out of
    `masks.KINDS`, or as the sources call them: centre, random, free. n: how many test faces, the first ones; by default
    all under the centred hole and FEW under every other. seed: of the holes, the reference faces and the bootstrap.
    out: a .json file for the report; the table goes beside it as .md. It is written after every row, each time whole.
    Rows that an earlier report there has of the same faces, holes, judges and weights stay where the first SLICE faces
    still come out alike: after an interruption, or with one method more, the same call only does the rest. command: how
    to make this report again, kept in it. device: default the GPU if any. sheets: a folder for a picture of the first SHOWN
    completions of each row that is measured.

    The report's "rows" hold, for each method and hole: faces, how many; psnr, ssim, ms_ssim, l1, each also as *_hole,
    identity and attributes as {"mean", "low", "high"} over the faces, with a bootstrap 95 % interval; sharpness, the median
    of `metrics.sharpness` in the hole; recognition, the distance of `facelib.recognition`, for faces above 64 pixels and
    where that judge is installed; "versus": the same
    for the paired differences from the first method; fd_attr, kd_attr: completions against the true faces; fd_attr_train,
    kd_attr_train: completions against train faces; milliseconds for one face, completed in batches of BATCH (on a CPU: of
    the processor's time), and time_ratio, the multiple of what the first method takes just after; parameters that
    `complete` passes through; slice: the hole's PSNR for each of the first SLICE faces. Beside the rows, "floor": the true
    faces against train faces; "strangers": identity distance and attribute agreement of real faces paired at random,
    which no completion should reach; "few": both for the first FEW faces; "training": what the weights cost, from their
    cards.

    FD-attr is None where there are too few faces for it (129). KD-attr has no such limit, but of few faces read the one
    to train: against the true faces, with which completions share pixels, it leans below 0. Raises ValueError for
    unknown names or holes, or too few faces.
    """
    faces = load_faces() if faces is None else faces
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    holes = [SPOKEN.get(kind, kind) for kind in holes]
    unknown = [kind for kind in holes if kind not in masks.KINDS]
    if unknown or not holes:
        raise ValueError(f"holes must be kinds out of {', '.join([*masks.KINDS, *SPOKEN])}, got {tuple(unknown)}")
    test = held_out(faces.test)
    counts = {kind: min(len(test), n or (len(test) if kind == "center" else FEW)) for kind in holes}
    test = test.take(slice(0, max(counts.values())))
    if len(test) < 2 or len(faces.train) < 2:
        raise ValueError(f"evaluation needs at least 2 held-out test faces and 2 train faces, {faces.name} gives "
                         f"{len(test)} and {len(faces.train)}; use another data set, or a larger n")
    methods = names if isinstance(names, dict) else entrants(names, faces, device)
    judges = [load_pretrained(name, device) for name in JUDGES]
    if min(faces.size) > KNOWN and recognition.available():
        judges.append(recognition)
    truth = test.tensor()
    pick = np.sort(np.random.default_rng(seed).permutation(len(faces.train))[:REFERENCE])
    bar = tqdm(total=len(pick) + len(test) + len(methods) * sum(counts.values()), unit="face", disable=quiet)
    real = judge(judges, truth, device, bar)
    chunks = np.split(pick, range(BATCH, len(pick), BATCH))
    train = features(judges[0], (faces.train.tensor(chunk) for chunk in chunks), device, bar)

    def scene(kind, count):
        known = {key: value[:count] for key, value in real.items()}
        # One set of resamples for all methods and holes, so that their intervals are of the same draws of faces.
        draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
        return Scene(truth[:count], masks.make(kind, count, faces.size, seed), known, train, draws)

    scenes = {kind: scene(kind, count) for kind, count in counts.items()}
    bases = {name.partition("+")[0]: network_of(method) for name, method in methods.items()}
    carded = [*bases.items(), *zip(JUDGES, judges, strict=False)]
    cards = {name: method.card for name, method in carded if hasattr(method, "card")}
    most, fewest = max(counts, key=counts.get), min(counts, key=counts.get)
    report = {
        "command": command, "data": faces.name, "size": list(faces.size), "test_faces": len(test),
        "train_faces": len(pick), "seed": seed, "rows": [], **scenes[most].references(),
        **({"few": scenes[fewest].references()} if counts[fewest] < counts[most] else {}),
        "training": {name: {key: card[key] for key in ("data", "images_seen", "wall_time_minutes", "hardware")}
                     for name, card in cards.items() if name not in JUDGES and "images_seen" in card},
        "weights": {name: card["sha256"] for name, card in cards.items()},
        "versions": {"facelib": facelib.__version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": str(device), "hardware": hardware(),
    }
    found = _kept(out, report, methods, scenes, device)
    first, sizes, now = next(iter(methods)), {}, clock(device)
    for kind, stage in scenes.items():
        yardstick, last = None, None
        for name, method in methods.items():
            if name != first and (name, kind) in found:
                bar.update(len(stage.truth))
                continue
            base = method.method if isinstance(method, Blended) else method             # of a blended one: what it blends
            one = truth[:1].to(device), stage.mask[:1].to(device)
            if name not in sizes:
                sizes[name] = parameters(network_of(base), lambda base=base, one=one: base.complete(*one))
            if last is None or last[0] is not base:
                last = base, *complete(base, stage, device)
            completed, seconds = last[1:]
            if base is not method:
                start = now()
                completed = blending.poisson(stage.truth, completed, stage.mask)
                seconds += now() - start
            if sheets is not None:
                face_sheet(completed[:SHOWN], Path(sheets) / f"{Path(name).name}-{kind}.png")
            row, values = measure(completed, stage, judges, device)
            yardstick = yardstick or values
            each, ratio = seconds / len(completed), 1.0
            if name != first:
                row["versus"] = {key: interval(value - yardstick[key], stage.resamples) for key, value in values.items()}
                ratio = each / pace(methods[first], stage, device)
            found[name, kind] = {"method": name, "hole": kind, "faces": len(completed), **row, "milliseconds": 1000 * each,
                                 "time_ratio": ratio, "parameters": sizes[name]}
            bar.update(len(completed))
            report["rows"] = [found[name, kind] for kind in scenes for name in methods if (name, kind) in found]
            if out is not None:
                save(report, out)
                Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")  # rounded alike
    bar.close()
    return report


def network_of(method):
    """What completes inside a method that blends, or brings faces to another size."""
    while hasattr(method, "method"):
        method = method.method
    return method


def main(methods=("glcic_64",), data=("synthetic",), root=None, size=None, holes=("center",), n=None, seed=0, out=None,
         sheets=None):
    """What `facelib evaluate` does: load the faces, evaluate, print the table -> the report, see `evaluate`.

    data: one spec or several, see `facelib.data.specs.parse_data`; several are joined. size: of the faces in pixels, by
    default the longer side of what the first method was trained for.
    """
    size = own_size(methods[0]) if size is None else size
    command = ["facelib", "evaluate", "--methods", *methods, "--data", *([data] if isinstance(data, str) else data)]
    if root is not None:
        command += ["--root", Path(root).name]  # found by its name in FACELIB_DATA on any machine
    command += ["--size", str(size), "--holes", *holes, "--seed", str(seed)]
    command += [] if n is None else ["--n", str(n)]
    report = evaluate(methods, load_data(data, size, root), holes, n, seed, out, shlex.join(command), sheets=sheets)
    print(table(report))
    return report


def agrees(row, method, truth, mask, device="cpu", tolerance=0.05):
    """Whether a method completes the first faces as a row of a report says, in every hole to a tolerance in dB.

    truth: (N, 3, H, W), mask: (N, 1, H, W), all the row's faces and holes or the first SLICE of them. On another machine
    a method that decides (which patch is nearest, which way to search on) may decide otherwise: allow it more there.
    """
    image, hole = truth[:SLICE], mask[:SLICE]
    now = _slice(method.complete(image.to(device), hole.to(device)).float().cpu(), image, hole)
    then = row.get("slice", [])
    return len(now) == len(then) and all(a == b or None not in (a, b) and abs(a - b) <= tolerance
                                         for a, b in zip(now, then, strict=True))


def _slice(completed, truth, mask):
    """The hole's PSNR for each of the first faces, None where infinite, as a report holds them."""
    values = metrics.psnr(completed[:SLICE], truth[:SLICE], mask[:SLICE]).tolist()
    return [round(value, 2) if np.isfinite(value) else None for value in values]


def _kept(out, report, methods, scenes, device):
    """Rows of an earlier report in `out` that need no second measurement: (method, hole) -> row, none of the first method."""
    earlier = json.loads(Path(out).read_text()) if out is not None and Path(out).exists() else {}
    first, found = next(iter(methods)), {}
    if any(earlier.get(key) != report[key] for key in ("data", "size", "train_faces", "seed")):
        return found
    same = {name for name in (*methods, *JUDGES)
            if earlier["weights"].get(name.partition("+")[0]) == report["weights"].get(name.partition("+")[0])}
    if not same.issuperset({first, *JUDGES}):
        return found
    for kind, scene in scenes.items():
        rows = {row["method"]: row for row in earlier["rows"]
                if row["hole"] == kind and row.get("faces") == len(scene.truth) and row["method"] in same}
        if first in rows and agrees(rows.pop(first), methods[first], scene.truth, scene.mask, device):
            found.update({(name, kind): row for name, row in rows.items()
                          if agrees(row, methods[name], scene.truth, scene.mask, device)})
    return found


@torch.no_grad()
def features(judge_attr, batches, device, bar):
    """`judge_attr.features` of batches of faces (B, 3, H, W) -> (N, 128) on the CPU."""
    found = []
    for batch in batches:
        found.append(judge_attr.features(at_size_of(judge_attr, batch.to(device))).cpu())
        bar.update(len(batch))
    return torch.cat(found)


@torch.no_grad()
def judge(judges, images, device, bar=None):
    """What the judges see in faces (N, 3, H, W): features (N, 128), logits (N, 40), identity (N, 128), on the CPU.

    Each judge gets the faces at the size that it knows. A third judge, `facelib.recognition`, adds "recognition" (N, 128).
    """
    seen = {"features": [], "logits": [], "identity": []}
    if len(judges) > 2:
        seen["recognition"] = []
    for batch in images.split(BATCH):
        if len(judges) > 2:
            seen["recognition"].append(judges[2].features(batch))
        attr, identity = (at_size_of(one, batch.to(device)) for one in judges[:2])
        seen["features"].append(judges[0].features(attr).cpu())
        seen["logits"].append(judges[0].logits(attr).cpu())
        seen["identity"].append(judges[1].features(identity).cpu())
        if bar:
            bar.update(len(batch))
    return {key: torch.cat(value) for key, value in seen.items()}


def compare(seen, real):
    """Identity distance and attribute agreement of faces and their true ones, from `judge` -> (N,) each."""
    found = {"identity": metrics.identity_distance(seen["identity"], real["identity"]).numpy(),
             "attributes": metrics.attribute_agreement(seen["logits"], real["logits"]).numpy()}
    if "recognition" in seen:
        found["recognition"] = recognition.distance(seen["recognition"], real["recognition"]).numpy()
    return found


def distances(a, b):
    """FD-attr (None where a set is too small for its covariance) and KD-attr of two sets of features."""
    enough = min(len(a), len(b)) > a.shape[1]
    return {"fd_attr": metrics.frechet_distance(a, b) if enough else None, "kd_attr": metrics.kernel_distance(a, b)}


def clock(device):
    """What tells the time: of the processor on a CPU, where other programs must not count; of the wall on a GPU."""
    return time.process_time if str(device) == "cpu" else time.perf_counter


def complete(method, scene, device):
    """Complete all faces of a scene in batches -> (completions (N, 3, H, W) on the CPU, seconds)."""
    found, seconds, now = [], 0.0, clock(device)
    for image, hole in zip(scene.truth.split(BATCH), scene.mask.split(BATCH), strict=True):
        image, hole, start = image.to(device), hole.to(device), now()
        found.append(method.complete(image, hole).float().cpu())         # waits for the device
        seconds += now() - start
    return torch.cat(found), seconds


def pace(method, scene, device):
    """Seconds of `complete` for one face of a batch."""
    first = Scene(scene.truth[:BATCH], scene.mask[:BATCH], {}, scene.train, scene.resamples)
    return complete(method, first, device)[1] / len(first.truth)


def measure(completed, scene, judges, device):
    """Completions of a scene (N, 3, H, W) -> (a row's figures, the figures per face: name -> (N,))."""
    values, sharp = {key + where: [] for where in ("", "_hole") for key in DISTORTIONS}, []
    for parts in zip(*(x.split(BATCH) for x in (completed, scene.truth, scene.mask)), strict=True):
        for key, metric in DISTORTIONS.items():
            values[key].append(metric(*parts[:2]))
            values[f"{key}_hole"].append(metric(*parts))
        sharp.append(metrics.sharpness(*parts))
    seen = judge(judges, completed, device)
    values = {key: torch.cat(value).numpy() for key, value in values.items()} | compare(seen, scene.real)
    row = {key: interval(value, scene.resamples) for key, value in values.items()}
    row |= {"sharpness": float(torch.cat(sharp).median()), **distances(seen["features"], scene.real["features"])}
    row |= {f"{key}_train": value for key, value in distances(seen["features"], scene.train).items()}
    return row | {"slice": _slice(completed, scene.truth, scene.mask)}, values


def interval(values, resamples):
    """Mean over the faces (N,) and its bootstrap 95 % interval (Efron 1979, percentiles), resamples (R, N)."""
    with np.errstate(invalid="ignore"):         # an infinite PSNR has no interval: NaN
        low, high = np.percentile(resamples @ values.astype(np.float64), (2.5, 97.5))
    return {"mean": float(values.mean(dtype=np.float64)), "low": float(low), "high": float(high)}


def parameters(method, work):
    """How many parameters a method passes through in work(), a call of its verb (a discriminator only where it guides a
    search); None for what is no network."""
    if not isinstance(method, torch.nn.Module):
        return None
    used = {}

    def note(module, *_):
        used.update({id(p): p.numel() for p in module.parameters(recurse=False)})

    hooks = [module.register_forward_hook(note) for module in method.modules()]
    try:
        work()
    finally:
        for hook in hooks:
            hook.remove()
    return sum(used.values())
