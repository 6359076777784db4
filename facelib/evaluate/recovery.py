"""How well the latents of a given face are found: by the predictor alone, by iteration alone, by one after the other.

Iteration is gradient descent on the latents, from the prior's mean or from the predictor's answer, with equal steps and the
same likeness to the face. The face that the generator makes of what was found is compared with the given one: PSNR and SSIM,
and the distance that the judge of identity sees, who has served in no search. Time is told as a multiple of the predictor's.
"""

import json
import platform
import shlex
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

import facelib
from facelib import metrics, pretrained
from facelib.data import load_faces
from facelib.evaluate.benchmark import BATCH, RESAMPLES, SLICE, clock, held_out, interval
from facelib.evaluate.report import grid, save
from facelib.features import at_size_of

STEPS = 100        # of an iteration
EVERY = 5          # of which these are looked at for the curves
FACES = 128        # by default, the first held-out ones
SLOW, FEW = 20.0, 4     # a likeness that takes longer for one look, in milliseconds, is searched with for the first few faces
FIGURES = {"psnr": metrics.psnr, "ssim": metrics.ssim}
COLUMNS = (("faces", "faces", 0), ("iterations", "steps", 0), ("PSNR dB", "psnr", 2), ("SSIM", "ssim", 3),
           ("identity", "identity", 3), ("ms", "milliseconds", 1), ("time", "time_ratio", 0))
PAIRED = (("PSNR, predictor", "predictor_psnr", 2), ("iteration", "iteration_psnr", 2),
          ("SSIM, predictor", "predictor_ssim", 3), ("iteration", "iteration_ssim", 3),
          ("identity, predictor", "predictor_identity", 3), ("iteration", "iteration_identity", 3))


@lru_cache(maxsize=8)
def _draws(count, seed):
    return np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES) / count


def summary(values, seed=0):
    """Mean and bootstrap 95 % interval of values of some faces (N,), with the same draws of faces for every N and seed."""
    return interval(np.asarray(values, np.float64), _draws(len(values), seed))


def origins(name, method, judges, device):
    """Which weights a report was made with, a borrowed generator's among them, and where."""
    known = {"judge_attr": judges[0].card, "judge_identity": judges[1].card}
    card = getattr(method, "card", None)                    # a run folder has none
    known |= {name: card} if card else {}
    known |= {card["generator"]["name"]: card["generator"]} if card and "generator" in card else {}
    return {"weights": {key: value["sha256"] for key, value in known.items()},
            "versions": {"facelib": facelib.__version__, "torch": torch.__version__, "numpy": np.__version__,
                         "python": platform.python_version()}, "device": str(device), "hardware": pretrained.hardware()}


def identity(judge, images, device="cpu"):
    """What the judge of identity sees in faces (N, 3, H, W) -> (N, 128) on the CPU."""
    with torch.no_grad():
        return torch.cat([judge.features(at_size_of(judge, part.to(device))).cpu() for part in images.split(BATCH)])


class Route(NamedTuple):
    """What one route found of N faces."""

    images: torch.Tensor        # (N, 3, H, W)
    loss: torch.Tensor          # (steps + 1, N), the objective of the search at each step
    psnr: torch.Tensor          # (steps / EVERY + 1, N), of the faces at each EVERY-th step
    milliseconds: float         # for one face, in batches of BATCH; on a CPU of the processor's time


def follow(method, truth, steps, likeness, start, device="cpu"):
    """Recover faces (N, 3, H, W) with `steps` of search by a likeness, from start "mean" or "predictor" -> Route."""
    parts, spent, now = [], 0.0, clock(device)
    for image in truth.split(BATCH):
        image, began = image.to(device), now()
        found = method.recover(image, steps, likeness, start, every=EVERY)
        spent += now() - began
        looks = [metrics.psnr(made, image).cpu() for made in found.history.values()]
        parts.append((found.images.cpu(), found.curve.cpu(), torch.stack(looks)))
    images, loss, psnr = zip(*parts, strict=True)
    return Route(torch.cat(images), torch.cat(loss, 1), torch.cat(psnr, 1), 1000 * spent / len(truth))


def evaluate(method, faces, n=FACES, steps=STEPS, seed=0, out=None, command=None, name="predictor", device=None, quiet=False):
    """Recover the first n held-out test faces by every route, and measure -> the report, a dict.

    method: anything with `recover(image, steps, likeness, start, every)` and `likenesses`, names of what it can search with.
    faces: FaceData of its size. steps: of every iteration. seed: of the bootstrap. out: a .json file for the report; the
    table goes beside it as .md. command: how to make this report again, kept in it. name: of the method's weights.

    "rows": mean latents (no search), the predictor alone; then, with each likeness (the method's own loss first), iteration
    alone and the predictor then iteration. Each holds psnr, ssim, identity as {"mean", "low", "high"} with a bootstrap 95 %
    interval; milliseconds for a face and time_ratio, the multiple of the predictor's; slice: the PSNR of the first faces; of a
    search "curve": mean objective and PSNR at each EVERY-th step, under one schedule of step sizes. Of the predictor then
    iteration "versus": the paired differences from the predictor alone and from iteration alone, and in the curve "ahead":
    the paired PSNR difference from iteration alone at equal steps. A likeness that is SLOW gets the first FEW faces; one that
    cannot be had here stands in "left_out" with the reason. "strangers": identity distance of true faces paired at random.
    Raises ValueError for faces of another size or fewer than 2.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    test = held_out(faces.test)
    truth = test.tensor(slice(0, n))
    if len(truth) < 2:
        raise ValueError(f"recovery is measured on 2 test faces or more, {faces.name} gives {len(truth)}; use a larger n")
    judges = [pretrained.load_pretrained(judge, device) for judge in ("judge_attr", "judge_identity")]
    real = identity(judges[1], truth, device)
    likenesses, left_out = offered(method, truth.to(device), device)
    report = {"command": command, "data": faces.name, "size": list(faces.size), "test_faces": len(truth), "steps": steps,
              "seed": seed, "rows": [], "left_out": left_out,
              "strangers": {"identity": summary(metrics.identity_distance(real, real.roll(1, 0)), seed)},
              **origins(name, method, judges, device)}
    found = {}

    def measured(label, likeness, start, count, steps):
        """One row; what it holds of each face stays in `found`."""
        route = follow(method, truth[:count], steps, likeness, start, device)
        values = {key: metric(route.images, truth[:count]).numpy() for key, metric in FIGURES.items()}
        values["identity"] = metrics.identity_distance(identity(judges[1], route.images, device), real[:count]).numpy()
        found[label] = values, route
        row = {"method": label, "faces": count, "steps": steps, **{key: summary(v, seed) for key, v in values.items()},
               "milliseconds": route.milliseconds, "slice": [round(v, 2) for v in values["psnr"][:SLICE].tolist()]}
        if steps:
            row["curve"] = {"step": list(range(0, steps + 1, EVERY)), "loss": route.loss[::EVERY].mean(1).tolist(),
                            "psnr": route.psnr.mean(1).tolist()}
        report["rows"].append(row)
        return row

    with tqdm(total=2 + 2 * len(likenesses), unit="route", disable=quiet) as bar:
        measured("mean latents", "mse", "mean", len(truth), 0)         # the likeness is told, not followed: a cheap one
        alone = measured("predictor", "mse", "predictor", len(truth), 0)
        bar.update(2)
        for likeness, count in likenesses.items():
            label = likeness or "own"
            measured(f"iteration, {label}", likeness, "mean", count, steps)
            row = measured(f"predictor, iteration, {label}", likeness, "predictor", count, steps)
            (values, route), (other, rival) = found[row["method"]], found[f"iteration, {label}"]
            row["versus"] = {key: {figure: summary(values[figure] - theirs[figure][:count], seed) for figure in values}
                             for key, theirs in (("predictor", found["predictor"][0]), ("iteration", other))}
            row["curve"]["ahead"] = [summary(ours - theirs, seed) for ours, theirs in zip(route.psnr, rival.psnr, strict=True)]
            bar.update(2)
    for row in report["rows"]:
        row["time_ratio"] = row["milliseconds"] / alone["milliseconds"]
    if out is not None:
        save(report, out)
        Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")      # rounded alike
    return report


def offered(method, truth, device="cpu"):
    """What a method can search with here for faces (N, 3, H, W) -> ({likeness: how many of them}, {likeness: why not}).

    None is the method's own loss. A likeness whose network cannot be had raises RuntimeError.
    """
    found, missing, some, now = {}, {}, truth[:SLICE], clock(device)     # several: a network's loading must not count as slow
    for likeness in (None, *method.likenesses):
        try:
            method.recover(some[:1], 0, likeness)           # the first look is slower than the others
        except RuntimeError as error:
            missing[likeness] = str(error).partition(" (")[0]
            continue
        began = now()
        method.recover(some, 0, likeness)
        found[likeness] = min(len(truth), FEW) if 1000 * (now() - began) / len(some) > SLOW else len(truth)
    return found, missing


def agrees(row, method, truth, device="cpu", tolerance=0.1):
    """Whether a method's row of a report comes out again for the first faces truth (N, 3, H, W), to a tolerance in dB."""
    words = row["method"].split(", ")
    likeness = None if words[-1] == "own" or not row["steps"] else words[-1]
    start = "predictor" if words[0] == "predictor" else "mean"
    made = method.recover(truth[:len(row["slice"])].to(device), row["steps"], likeness, start).images.cpu()
    now = metrics.psnr(made, truth[:len(made)]).tolist()
    return all(abs(a - b) <= tolerance for a, b in zip(now, row["slice"], strict=False))


def main(name="predictor", data="synthetic", root=None, n=None, seed=0, out=None):
    """What `facelib evaluate --recover NAME` does: load weights (or a run folder) and faces, evaluate, print the table."""
    command = ["facelib", "evaluate", "--recover", str(name), "--data", data]
    command += [] if root is None else ["--root", Path(root).name]      # found by its name in FACELIB_DATA on any machine
    command += [*([] if n is None else ["--n", str(n)]), "--seed", str(seed)]
    method = pretrained.load(name)
    report = evaluate(method, load_faces(data, root=root, size=method.cfg.size), n or FACES, STEPS, seed, out,
                      shlex.join(command), name)
    print(table(report))
    return report


def table(report):
    """The report as Markdown: a row for each route, then the paired differences of the predictor then iteration."""
    h, w = report["size"]
    lines = [f"`{report['command']}`", "", f"{report['data']}: the first {report['test_faces']:,} held-out test faces of "
             f"{h}x{w}; ± half of the 95 % interval; {report['hardware']}", ""]
    lines += grid([*report["rows"], {"method": "strangers", **report["strangers"]}], COLUMNS, {}, "route")
    lines += ["", "time: a multiple of the predictor's. own: the loss that the predictor was trained with.", "",
              "Predictor then iteration, minus the predictor alone, and minus iteration alone with as many iterations "
              f"({report['steps']})", ""]
    rows = [{"method": row["method"].rpartition(", ")[2],
             **{f"{rival}_{key}": value for rival, told in row["versus"].items() for key, value in told.items()}}
            for row in report["rows"] if "versus" in row]
    lines += grid(rows, PAIRED, {}, "likeness")
    return "\n".join([*lines, *([""] + [f"- {name}: {why}" for name, why in report["left_out"].items()])]).rstrip()
