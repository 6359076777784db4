"""Who is served how: the errors of completions and enlargements by attribute, and which attributes they change.

A mean over all faces hides for whom a method errs. Here every method completes the same held-out faces under the centred
hole, or enlarges them from 8x8 to 32x32 pixels, and its errors are told for the faces that have an attribute and for those
that have not. Then `judge_attr` looks at the true face and at the made one: an attribute that it saw before and does not
see after was lost, the reverse was gained. Of rendered faces the skin tone is known, and errors are told for each fifth.

Labels are CelebA's: what annotators saw in a photograph, not what people are.
"""

import json
import platform
import shlex
from pathlib import Path

import numpy as np
import torch

import facelib
from facelib import masks, metrics, resolution, weights
from facelib.data import ATTRIBUTES, load_faces
from facelib.evaluate import entry, upscalers
from facelib.evaluate.benchmark import BATCH, JUDGES, RESAMPLES, held_out, judge
from facelib.evaluate.report import grid, save
from facelib.pretrained import hardware, load_pretrained

FEWEST = 20     # faces that a group must have on both sides to be told
FIFTHS = ("lightest fifth", "second", "third", "fourth", "darkest fifth")
LUMINANCE = torch.tensor([0.2126, 0.7152, 0.0722])[:, None, None]     # Rec. 709
MEASURES = ("psnr", "gain", "identity", "lighter")


def evaluate(names, faces, small, n=None, seed=0, out=None, command=None, device=None):
    """Measure methods on the held-out test faces, by attribute and by skin tone -> the report, a dict.

    names: what completes or enlarges, see `entry.entrants` and `upscalers.entrants`; completions are compared with the mean
    face in the hole, enlargements with bicubic, which are measured too. faces, small: FaceData of 64x64 and of the same
    faces at 32x32. n: how many test faces, the first ones; by default all. seed: of the bootstrap. out: a .json file for
    the report; its tables go beside it as .md. command: how to make this report again.

    "rows" hold for each method: verb; psnr (completions: in the hole), gain (psnr minus the baseline's), identity (distance
    from the true face) and lighter (by how many grey levels of 255 the made pixels are lighter than the true ones), each
    {"mean", "low", "high"}; "attributes": for each attribute with FEWEST faces on either side, by the labels: "yes", "no":
    psnr and identity of the faces that have it and have not; "gap": all figures of the yes minus those of the no. By the
    judge: "before", "after": share of faces in which it sees the attribute, in the true face and in the made one; "change": their
    difference; "lost": share of those seen before that are not seen after; "gained": the reverse; None where the judge saw
    it, or did not, in fewer than FEWEST true faces. "tones": the figures for each fifth of rendered faces by skin tone, with
    "contrast", the mean error as a share of the face's own standard deviation in the hole. Beside the rows, "labels": how
    many faces have each attribute, and in which share of all the judge agrees.

    Intervals are 95 %, from a bootstrap of people (Efron 1979, percentiles): all photographs of a person are drawn together.
    Raises ValueError for unknown names, or too few faces.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    tests = [held_out(data.test) for data in (faces, small)]
    tests = [test.take(slice(0, n or len(test))) for test in tests]
    if len(tests[0]) < 2 * FEWEST:
        raise ValueError(f"at least {2 * FEWEST} held-out test faces are needed to tell groups apart, {faces.name} gives "
                         f"{len(tests[0])}")
    methods = _entrants(names, faces, small, device)
    judges = [load_pretrained(name, device) for name in JUDGES]
    truths = {"complete": tests[0].tensor(), "upscale": tests[1].tensor()}
    seen = {verb: judge(judges, truth, device) for verb, truth in truths.items()}
    person = persons(tests[0])
    count = person.max() + 1
    draws = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), RESAMPLES)[:, person]
    labels = _labels(tests[0])
    report = {
        "command": command, "data": faces.name, "test_faces": len(tests[0]), "people": int(count), "hole": "center", "seed": seed,
        "labels": {name: {"faces": int((value == 1).sum()),
                          "judge_agrees": float(((seen["complete"]["logits"][:, i] > 0).numpy() == value)[value >= 0].mean())}
                   for name, (i, value) in labels.items()},
        "rows": [],
        "weights": {name: weights.card(name)["sha256"] for name in [*methods, *JUDGES] if name in weights.names()},
        "versions": {"facelib": facelib.__version__, "torch": torch.__version__, "numpy": np.__version__,
                     "python": platform.python_version()},
        "device": str(device), "hardware": hardware(),
    }
    baseline = {}
    for name, method in methods.items():
        verb = "complete" if hasattr(method, "complete") else "upscale"
        made, values = measure(method, verb, truths[verb], seen[verb], judges, device)
        values["gain"] = values["psnr"] - baseline.setdefault(verb, values["psnr"])
        row = {"method": name, "verb": verb, **_figures(values, draws), "attributes": {}}
        for attribute, (i, value) in labels.items():
            row["attributes"][attribute] = _groups(values, value, draws) | _flips(seen[verb]["logits"][:, i] > 0,
                                                                                 made["logits"][:, i] > 0, draws)
        if tests[0].factors is not None and verb == "complete":
            row["tones"] = _tones(values, np.asarray(tests[0].factors["skin"])[:, 0], draws)
        report["rows"].append(row)
    if out is not None:
        save(report, out)
        Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")    # rounded alike
    return report


def main(names, data="synthetic", root=None, n=None, seed=0, out=None):
    """What `facelib evaluate --people` does: load the faces, evaluate, print the tables -> the report, see `evaluate`."""
    command = ["facelib", "evaluate", "--people", *names, "--data", data]
    command += [] if root is None else ["--root", Path(root).name]      # found by its name in FACELIB_DATA on any machine
    command += ["--seed", str(seed), *([] if n is None else ["--n", str(n)])]
    faces, small = (load_faces(data, root=root, size=size) for size in (64, 32))
    report = evaluate(names, faces, small, n, seed, out, shlex.join(command))
    print(table(report))
    return report


def _entrants(names, faces, small, device):
    """Completions behind the mean face, enlargements behind bicubic; each only where something is compared with it."""
    enlarge = [name for name in names if name in resolution.METHODS
               or name in weights.names() and hasattr(load_pretrained(name, device), "upscale")]
    fill = [name for name in names if name not in enlarge]
    return (entry.entrants(dict.fromkeys(["mean_face", *fill]), faces, device) if fill else {}) | (
        upscalers.entrants(dict.fromkeys(["bicubic", *enlarge]), small, device) if enlarge else {})


def _labels(split):
    """The attributes that enough faces have, and enough have not -> name -> (its place, (N,) of 1, 0 and -1, unknown)."""
    known = [] if split.attributes is None else [(i, np.asarray(split.attributes[:, i])) for i in range(len(ATTRIBUTES))]
    return {ATTRIBUTES[i]: (i, value) for i, value in known if min((value == 0).sum(), (value == 1).sum()) >= FEWEST}


def persons(split):
    """Whose face each is, numbered from 0 -> (N,). A face of which it is not known is somebody else's."""
    who = np.arange(len(split)) if split.identities is None else np.where(
        split.identities < 0, -1 - np.arange(len(split)), split.identities)
    return np.unique(who, return_inverse=True)[1]


def measure(method, verb, truth, seen, judges, device="cpu"):
    """-> (what the judges see in what a method made of faces (N, 3, H, W), the figures per face: name -> (N,))."""
    mask = masks.center(1, truth.shape[-1]) if verb == "complete" else torch.ones(1, 1, 1, 1)
    made = []
    for image in truth.split(BATCH):
        image = image.to(device)
        made.append((method.complete(image, mask.to(device).expand(len(image), -1, -1, -1)) if verb == "complete"
                     else method.upscale(resolution.shrink(image))).float().cpu())
    made = torch.cat(made)
    found = judge(judges, made, device)
    hole = mask.expand(len(truth), 1, *truth.shape[-2:])
    inside = hole.sum((1, 2, 3))
    brighter = ((made - truth) * LUMINANCE).sum(1, keepdim=True)
    inner = truth[..., hole[0, 0] > 0]                                                          # (N, 3, pixels)
    error = (((made - truth) * hole).abs().sum((1, 2, 3)) / (3 * inside)) / inner.std(2).mean(1)
    return found, {"psnr": metrics.psnr(made, truth, hole).numpy(), "identity": metrics.identity_distance(
        found["identity"], seen["identity"]).numpy(), "lighter": (127.5 * (brighter * hole).sum((1, 2, 3)) / inside).numpy(),
        "contrast": error.numpy()}


def share(values, members, draws):
    """Mean of values (N,) over members, bool (N,), and its value in every bootstrap sample (R,)."""
    weight = draws * members
    return float(values[members].mean(dtype=np.float64)), weight @ np.where(members, values, 0.0) / np.maximum(weight.sum(1), 1)


def told(mean, samples):
    """A figure with its 95 % interval."""
    low, high = np.percentile(samples, (2.5, 97.5))
    return {"mean": mean, "low": float(low), "high": float(high)}


def _figures(values, draws, members=None, keys=MEASURES):
    members = np.ones(len(values["psnr"]), bool) if members is None else members
    return {"faces": int(members.sum()), **{key: told(*share(values[key], members, draws)) for key in keys}}


def _groups(values, label, draws):
    """Figures of the faces that have an attribute, of those that have not, and the gap between them."""
    sides = {name: {key: share(values[key], label == side, draws) for key in MEASURES}
             for name, side in (("yes", 1), ("no", 0))}
    gap = {key: told(sides["yes"][key][0] - sides["no"][key][0], sides["yes"][key][1] - sides["no"][key][1])
           for key in MEASURES}
    return {name: {"faces": int((label == (name == "yes")).sum()), **{key: told(*of[key]) for key in ("psnr", "identity")}}
            for name, of in sides.items()} | {"gap": gap}


def _flips(before, after, draws):
    """What the judge sees of an attribute in true faces and in made ones, bool (N,) each."""
    before, after = before.numpy(), after.numpy()
    everybody = np.ones(len(before), bool)
    first, then = (share(x.astype(float), everybody, draws) for x in (before, after))
    turned = (before != after).astype(float)
    found = {name: told(*share(turned, members, draws)) if members.sum() >= FEWEST else None
             for name, members in (("lost", before), ("gained", ~before))}
    return {"before": first[0], "after": then[0], "change": told(then[0] - first[0], then[1] - first[1]), **found}


def _tones(values, tone, draws):
    """Figures for each fifth of the faces by skin tone, from light to dark."""
    fifth = np.minimum(tone.argsort().argsort() * 5 // len(tone), 4)
    return {name: {"tone": [float(tone[fifth == i].min()), float(tone[fifth == i].max())],
                   **_figures(values, draws, fifth == i, (*MEASURES, "contrast"))} for i, name in enumerate(FIFTHS)}


def table(report):
    """The report as Markdown: for each method its largest gaps and changes, and its figures by skin tone."""
    lines = [f"`{report['command']}`", "", f"{report['data']}: {report['test_faces']:,} held-out test faces of "
             f"{report['people']:,} people, ± half of the 95 % interval; {report['hardware']}"]
    for row in report["rows"]:
        told_ = [{"method": name, **{f"gap_{key}": of["gap"][key] for key in MEASURES}, "faces": of["yes"]["faces"],
                  **{key: of[key] for key in ("before", "change", "lost", "gained")}}
                 for name, of in sorted(row["attributes"].items(), key=lambda item: item[1]["gap"]["psnr"]["mean"])]
        columns = (("faces", "faces", 0), ("PSNR gap", "gap_psnr", 2), ("gain gap", "gap_gain", 2),
                   ("identity gap", "gap_identity", 3), ("lighter gap", "gap_lighter", 1), ("seen before", "before", 3),
                   ("change", "change", 3), ("lost", "lost", 2), ("gained", "gained", 2))
        lines += ["", f"{row['method']} ({row['verb']}): {row['psnr']['mean']:.2f} dB, identity {row['identity']['mean']:.3f}",
                  "", *grid(told_, columns, {}, "attribute")]
        if "tones" in row:
            tones = [{"method": name, **of} for name, of in row["tones"].items()]
            lines += ["", *grid(tones, (("faces", "faces", 0), ("hole PSNR dB", "psnr", 2), ("gain", "gain", 2),
                                        ("error over contrast", "contrast", 3), ("identity", "identity", 3),
                                        ("lighter", "lighter", 1)), {}, "skin tone")]
    return "\n".join(lines)
