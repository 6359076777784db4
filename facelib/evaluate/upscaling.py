"""The benchmark of super-resolution: every method enlarges the same 8x8 faces, the held-out faces shrunk.

Distortion compares each enlargement with the true face of 32x32 pixels, perception the set of them with sets of real
faces, identity and attributes ask the judges, who get all faces enlarged to the 64 pixels that they know. Consistency
asks whether an enlargement shrinks back to what it was made of.

Of many faces that do, one was true. How often the judge of identity takes the invented one for the person is told three
times: of the true face, with which it shares light, colours and pose; of another photograph of the person, which is what
a search for somebody would compare; and of a stranger's. Two true photographs, of one person and of two, stand beside.
"""

import json
import platform
import shlex
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

import facelib
from facelib import metrics, resolution
from facelib.data import load_faces
from facelib.evaluate.benchmark import (
    BATCH,
    FEW,
    JUDGES,
    REFERENCE,
    RESAMPLES,
    SLICE,
    clock,
    compare,
    distances,
    features,
    held_out,
    interval,
    judge,
    parameters,
)
from facelib.evaluate.groups import NOTE, groups
from facelib.evaluate.report import grid, save
from facelib.evaluate.upscalers import SIDE, entrants
from facelib.pretrained import hardware, load_pretrained

SLOW = 20.0        # milliseconds for a face: a method that takes longer enlarges the first FEW faces only
AGAIN = 7          # times that one face alone is enlarged; the median counts
DISTORTIONS = {"psnr": metrics.psnr, "ssim": metrics.ssim, "l1": metrics.l1}
COLUMNS = (("faces", "faces", 0), ("PSNR dB", "psnr", 2), ("SSIM", "ssim", 3), ("L1", "l1", 4), ("FD-attr", "fd_attr", 2),
           ("to train", "fd_attr_train", 2), ("KD-attr", "kd_attr", 3), ("to train", "kd_attr_train", 3),
           ("identity", "identity", 3), ("recognised", "recognised", 3), ("other photo", "recognised_other", 3),
           ("stranger", "recognised_stranger", 3), ("attributes", "attributes", 3),
           ("consistency", "consistency", 2), ("ms", "milliseconds", 2), ("ms alone", "milliseconds_alone", 1),
           ("parameters", "parameters", 0), ("images seen", "images_seen", 0), ("minutes", "wall_time_minutes", 0))


@dataclass(frozen=True)
class Stage:
    """Faces, what is left of them at 8x8, and what there is to compare their enlargements with."""

    truth: torch.Tensor     # (N, 3, 32, 32)
    low: torch.Tensor       # (N, 3, 8, 8)
    real: dict              # what the judges see in the true faces, see `judge`
    train: torch.Tensor     # features of train faces, (M, 128)
    groups: dict            # name -> bool (N,), see `groups`
    partners: tuple         # of two people, of one, see `partners`
    threshold: float        # identity distance below which two faces are called one person; NaN: not known
    seed: int

    def summary(self, values):
        """Mean and bootstrap interval of values of some faces (k,), the same draws of faces for every k."""
        count = len(values)
        draws = np.random.default_rng(self.seed).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count
        return interval(values, draws)

    def pairs(self, kind):
        """Identity distance, share called one person and attribute agreement of pairs of true faces; None of too few."""
        a, b = self.partners[kind]
        if len(a) < 2:
            return None
        seen = compare(*({key: value[index] for key, value in self.real.items()} for index in (a, b)))
        return {key: self.summary(value) for key, value in (seen | self.called(seen["identity"])).items()}

    def searched(self, vectors):
        """Of faces by their identity vectors (M, 128): shares called one person with another photograph of the person,
        and with a stranger's."""
        found = {}
        for name, (a, b) in zip(("stranger", "other"), self.partners, strict=True):
            b, a = b[a < len(vectors)], a[a < len(vectors)]
            called = self.called(metrics.identity_distance(vectors[a], self.real["identity"][b]).numpy())
            found |= {f"recognised_{name}": self.summary(value) for value in called.values() if len(value) > 1}
        return found

    def called(self, distance):
        """Whether each pair at these identity distances (N,) is called one person, 0 or 1; {} without a threshold."""
        return {} if np.isnan(self.threshold) else {"recognised": (distance < self.threshold).astype(np.float64)}


def evaluate(names=("all",), faces=None, n=None, seed=0, out=None, command=None, device=None, quiet=False):
    """Shrink the held-out test faces to 8x8, enlarge them with every method, and measure -> the report, a dict.

    names: see `entrants`, or a dict of name -> anything with the verb `upscale(low)`. The first is the yardstick: paired
    differences are told against it. faces: FaceData of 32x32 pixels, by default the rendered faces. n: how many test
    faces, the first ones; by default all. seed: of the reference faces, the pairs and the bootstrap. out: a .json file for
    the report, written after every row; the table goes beside it as .md. Rows that an earlier report there has of the same
    faces, judges and weights stay where the first faces still come out alike. command: how to make this report again,
    kept in it. device: default the GPU if any.

    "rows" hold for each method: faces, how many (a method that takes more than SLOW milliseconds for one: the first FEW);
    psnr, ssim, l1, identity (distance to the true face), recognised (share that the judge of identity calls one person
    with the true face), recognised_other (with another photograph of that person), recognised_stranger, attributes and
    consistency (grey levels of 255) as {"mean", "low", "high"} over the faces, with a bootstrap 95 % interval; "versus":
    the same for the paired differences from the first method; fd_attr, kd_attr: enlargements against the true faces;
    fd_attr_train, kd_attr_train: against train faces of 32x32; milliseconds for a face in batches of BATCH and
    milliseconds_alone for a single one (on a CPU: of the processor's time); parameters that `upscale` passes through;
    "groups": psnr and identity of the faces of each group, with "versus"; slice: the PSNR of the first SLICE faces.
    Beside the rows, "floor": the true faces against train faces; "strangers" and "same_person": pairs of true faces of
    two people, and of one (None where no identities are known); "threshold": the identity distance below which a pair is
    called one person, and where that comes from.

    FD-attr is None where there are too few faces for it (129). Raises ValueError for unknown names, faces of another size
    or too few of them.
    """
    faces = load_faces(size=SIDE) if faces is None else faces
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if tuple(faces.size) != (SIDE, SIDE):
        raise ValueError(f"faces must have {SIDE}x{SIDE} pixels, of which 8x8 are made; {faces.name} has "
                         f"{faces.size[0]}x{faces.size[1]}: load it with size={SIDE}")
    test = held_out(faces.test)
    test = test.take(slice(0, n or len(test)))
    if len(test) < 2 or len(faces.train) < 2:
        raise ValueError(f"evaluation needs at least 2 held-out test faces and 2 train faces, {faces.name} gives "
                         f"{len(test)} and {len(faces.train)}; use another data set, or a larger n")
    methods = names if isinstance(names, dict) else entrants(names, faces, device)
    judges = [load_pretrained(name, device) for name in JUDGES]
    pick = np.sort(np.random.default_rng(seed).permutation(len(faces.train))[:REFERENCE])
    with tqdm(total=len(pick) + len(test) * (1 + len(methods)), unit="face", disable=quiet) as bar:
        truth = test.tensor()
        chunks = (faces.train.tensor(chunk) for chunk in np.split(pick, range(BATCH, len(pick), BATCH)))
        limit, origin = threshold(judges, faces.val, device, seed)
        stage = Stage(truth, resolution.shrink(truth), judge(judges, truth, device, bar),
                      features(judges[0], chunks, device, bar), groups(test, truth), partners(test, seed), limit, seed)
        report = {"command": command, "data": faces.name, "size": list(faces.size), "low": list(stage.low.shape[-2:]),
                  "test_faces": len(test), "train_faces": len(pick), "seed": seed, "rows": [],
                  **_references(stage), "threshold": {"distance": limit, "from": origin},
                  "groups": {name: int(members.sum()) for name, members in stage.groups.items()}, "groups_note": NOTE,
                  **_origins(methods, judges), "device": str(device), "hardware": hardware()}
        found, yardstick, last = _kept(out, report, methods, stage, device), None, None
        for name, method in methods.items():
            if name not in found:
                base = getattr(method, "method", method)                 # of a corrected one: what it corrects
                last = last if last is not None and last[0] is base else (base, enlarge(base.upscale, stage.low, device))
                made = last[1] if base is method else corrected(last[1], stage.low, device)
                row, values = measure(made, stage, judges, device, yardstick)
                yardstick = yardstick or values
                one = stage.low[:1].to(device)
                size = parameters(base, lambda base=base, one=one: base.upscale(one))
                found[name] = {"method": name, **row, "parameters": size}
            bar.update(len(test))
            report["rows"] = [found[each] for each in methods if each in found]
            if out is not None:
                save(report, out)
                Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")  # rounded alike
    return report


def main(names=("all",), data="synthetic", root=None, n=None, seed=0, out=None):
    """What `facelib evaluate --upscale` does: load the faces, evaluate, print the table -> the report, see `evaluate`."""
    command = ["facelib", "evaluate", "--upscale", *names, "--data", data]
    command += [] if root is None else ["--root", Path(root).name]      # found by its name in FACELIB_DATA on any machine
    command += ["--seed", str(seed), *([] if n is None else ["--n", str(n)])]
    report = evaluate(names, load_faces(data, root=root, size=SIDE), n, seed, out, shlex.join(command))
    print(table(report))
    return report


def _references(stage):
    """Real faces against train faces, and pairs of real faces of two people and of one."""
    return {"floor": {f"{key}_train": value for key, value in distances(stage.real["features"], stage.train).items()},
            "strangers": stage.pairs(0), "same_person": stage.pairs(1)}


def _origins(methods, judges):
    """Which weights, what their training took, which versions."""
    bases = {name.partition("+")[0]: getattr(method, "method", method) for name, method in methods.items()}
    cards = {name: method.card for name, method in bases.items() if hasattr(method, "card")}
    known = cards | dict(zip(JUDGES, (network.card for network in judges), strict=True))
    return {"training": {name: {key: card[key] for key in ("data", "images_seen", "wall_time_minutes", "hardware")}
                         for name, card in cards.items() if "images_seen" in card},
            "weights": {name: card["sha256"] for name, card in known.items()},
            "versions": {"facelib": facelib.__version__, "torch": torch.__version__, "numpy": np.__version__,
                         "python": platform.python_version()}}


def partners(split, seed=0):
    """Pairs of faces: of two people, one pair for each face, and of one person, where a face has another of them.

    -> ((a, b), (a, b)), index arrays. Where no identities are known every face is somebody, and the second pair is empty.
    """
    generator, count = np.random.default_rng(seed), len(split)
    who = np.arange(count) if split.identities is None else np.where(split.identities < 0, -1 - np.arange(count),
                                                                     split.identities)
    found = [], []
    for i in range(count):
        same = who == who[i]
        same[i] = False
        for pairs, others in zip(found, (np.flatnonzero(who != who[i]), np.flatnonzero(same)), strict=True):
            if len(others):
                pairs.append((i, generator.choice(others)))
    return tuple(tuple(np.array(pairs, int).reshape(-1, 2).T) for pairs in found)


def threshold(judges, val, device="cpu", seed=0):
    """The identity distance below which two faces are one person -> (distance, where it comes from).

    The one in the card of `judge_identity`, chosen there on val faces at the judge's own resolution; where there is
    none, the one at which as many pairs of val faces are wrongly called one person as wrongly called two. NaN where val
    has no two faces of one person.
    """
    known = getattr(judges[1], "card", {}).get("metrics", {}).get("verification")
    if known:
        return 1 - known["threshold"], "the card of judge_identity, chosen at 64x64"
    strangers, same = partners(val, seed)
    if not len(same[0]) or not len(strangers[0]):
        return float("nan"), "not known: the faces have no identities"
    seen = judge(judges, val.tensor(), device)["identity"]
    apart, one = (np.sort(metrics.identity_distance(seen[a], seen[b]).numpy()) for a, b in (strangers, same))
    limits = np.concatenate([apart, one])
    wrong = np.searchsorted(apart, limits) / len(apart), 1 - np.searchsorted(one, limits) / len(one)
    return float(limits[np.abs(wrong[0] - wrong[1]).argmin()]), "equal error on val faces of 32x32"


@dataclass(frozen=True)
class Enlarged:
    """What a method made of the first faces, and the milliseconds that it took for one: in batches, and alone."""

    images: torch.Tensor
    each: float
    alone: float


def _timed(verb, *given, device):
    now = clock(device)
    given, start = [x.to(device) for x in given], now()
    made = verb(*given).float().cpu()                                    # waits for the device
    return made, 1000 * (now() - start)


def enlarge(upscale, low, device="cpu"):
    """Enlarge low (N, 3, 8, 8) in batches, only the first FEW where one takes longer than SLOW -> Enlarged."""
    alone = [_timed(upscale, low[:1], device=device)[1]]                 # the first call is slower than the others
    done = [_timed(upscale, low[:BATCH], device=device)]
    slow = done[0][1] / len(done[0][0]) > SLOW
    done += [_timed(upscale, part, device=device) for part in low[:FEW if slow else len(low)].split(BATCH)[1:]]
    alone = alone if slow else [_timed(upscale, low[:1], device=device)[1] for _ in range(AGAIN)]
    images = torch.cat([made for made, _ in done])
    return Enlarged(images, sum(spent for _, spent in done) / len(images), float(np.median(alone)))


def corrected(made, low, device="cpu"):
    """Enlargements back-projected to low (N, 3, 8, 8) -> Enlarged, whose times hold both."""
    low, project = low[:len(made.images)], resolution.back_project
    done = [_timed(project, *parts, device=device) for parts in zip(made.images.split(BATCH), low.split(BATCH), strict=True)]
    alone = [_timed(project, made.images[:1], low[:1], device=device)[1] for _ in range(AGAIN)]
    return Enlarged(torch.cat([image for image, _ in done]), made.each + sum(spent for _, spent in done) / len(low),
                    made.alone + float(np.median(alone)))


def measure(made, stage, judges, device="cpu", yardstick=None):
    """What a method made -> (a row's figures, the figures per face: name -> (N,)), against the yardstick's per face."""
    images, count = made.images, len(made.images)
    truth, low = stage.truth[:count], stage.low[:count]
    parts = list(zip(images.split(BATCH), truth.split(BATCH), strict=True))
    seen = judge(judges, images, device)
    values = {key: torch.cat([metric(*part) for part in parts]).numpy() for key, metric in DISTORTIONS.items()}
    values |= compare(seen, {key: value[:count] for key, value in stage.real.items()})
    values |= stage.called(values["identity"]) | {"consistency": resolution.consistency(images, low).numpy()}
    row = {"faces": count, **{key: stage.summary(value) for key, value in values.items()}}
    row |= stage.searched(seen["identity"]) | distances(seen["features"], stage.real["features"])
    row |= {f"{key}_train": value for key, value in distances(seen["features"], stage.train).items()}
    row |= {"milliseconds": made.each, "milliseconds_alone": made.alone}
    paired = _differences(values, yardstick) if yardstick else {}
    row |= {"versus": {key: stage.summary(value) for key, value in paired.items()}} if paired else {}
    row["groups"] = {name: _of_group(members, values, paired, stage) for name, members in stage.groups.items()
                     if members[:count].sum() > 1}
    return row | {"slice": _slice(images, truth)}, values


def _differences(values, yardstick):
    """Paired differences of those faces that both have."""
    count = min(len(values["psnr"]), len(yardstick["psnr"]))
    with np.errstate(invalid="ignore"):                                  # both may be infinite
        return {key: value[:count] - yardstick[key][:count] for key, value in values.items()}


def _of_group(members, values, paired, stage):
    """PSNR and identity distance of a group's faces, and their differences from the yardstick's."""
    def told(of):
        return {key: stage.summary(of[key][members[:len(of[key])]]) for key in ("psnr", "identity")}

    return {"faces": int(members[:len(values["psnr"])].sum()), **told(values), **({"versus": told(paired)} if paired else {})}


def agrees(row, method, truth, device="cpu", tolerance=0.05):
    """Whether a method enlarges the first faces as a row of a report says, in each to a tolerance in dB.

    truth: (N, 3, 32, 32), all the row's faces or the first BATCH of them: a method that draws may do so by batch.
    """
    batch = truth[:min(BATCH, row["faces"])]
    now = _slice(method.upscale(resolution.shrink(batch).to(device)).float().cpu(), batch)
    then = row.get("slice", [])
    return len(now) == len(then) and all(a == b or None not in (a, b) and abs(a - b) <= tolerance
                                         for a, b in zip(now, then, strict=True))


def _slice(images, truth):
    """The PSNR of each of the first faces, None where infinite, as a report holds them."""
    values = metrics.psnr(images[:SLICE], truth[:SLICE]).tolist()
    return [round(value, 2) if np.isfinite(value) else None for value in values]


def _kept(out, report, methods, stage, device):
    """Rows of an earlier report in `out` that need no second measurement: method -> row, none of the first method."""
    earlier = json.loads(Path(out).read_text()) if out is not None and Path(out).exists() else {}
    if any(earlier.get(key) != report[key] for key in ("data", "size", "low", "test_faces", "train_faces", "seed", "groups")):
        return {}
    same = {name for name in (*methods, *JUDGES)
            if earlier["weights"].get(name.partition("+")[0]) == report["weights"].get(name.partition("+")[0])}
    first, rows = next(iter(methods)), {row["method"]: row for row in earlier["rows"] if row["method"] in same}
    if not same.issuperset({first, *JUDGES}) or first not in rows or "versus" in rows[first]:
        return {}
    if not agrees(rows.pop(first), methods[first], stage.truth, device):
        return {}
    return {name: row for name, row in rows.items() if "versus" in row and name in methods
            and agrees(row, methods[name], stage.truth, device)}


def table(report):
    """The report as Markdown: a row for each method, then real faces, then PSNR and identity distance by group."""
    lines = [f"`{report['command']}`", "", f"{report['data']}: {report['test_faces']:,} held-out test faces of 32x32, shrunk to "
             f"8x8; ± half of the 95 % interval; {report['hardware']}", ""]
    rows = [*report["rows"], {"method": "real faces", **report["floor"]}, {"method": "strangers", **report["strangers"]}]
    rows += [{"method": "same person", **report["same_person"]}] if report["same_person"] else []
    lines += grid(rows, COLUMNS, report["training"])
    limit = report["threshold"]["distance"]
    if limit is not None and np.isfinite(limit):
        lines += ["", f"recognised: identity distance below {limit:.3f} ({report['threshold']['from']}) to the true face; other "
                  "photo: to another photograph of the person; stranger: to one of somebody else"]
    lines += ["", "consistency: mean difference of the shrunk enlargement from the 8x8 face, in grey levels of 255"]
    for key, title, digits in (("psnr", "PSNR by group", 2), ("identity", "Identity distance by group", 3)):
        columns = [("faces", "faces", 0), *((row["method"], row["method"], digits) for row in report["rows"])]
        cells = [{"method": name, "faces": count, **{row["method"]: row["groups"].get(name, {}).get(key)
                                                     for row in report["rows"]}} for name, count in report["groups"].items()]
        lines += ["", title, "", *grid(cells, columns, {}, "group")] if cells else []
    lines += ["", f"Groups: {report['groups_note']}"] if report["groups"] else []
    lines += ["", *(f"- {name}: trained on {about['data']}; {about['hardware']}"
                    for name, about in report["training"].items())]
    return "\n".join(lines).rstrip()
