"""How well faces are edited: is the judge's answer the wanted one, is it still the same person, what else has changed?

Every face is pushed to the other side of an attribute, away from what the judge of attributes says of it. Two things put the
figures in proportion: the face that the generator makes of its latents unchanged, and a push of the same length in a direction
drawn at random. The same for the codes, whose meaning nobody chose, and for the way between two faces. Of rendered faces the
true edit is known as well: see `truth`. Neither judge has served in the training of an editor.
"""

import json
import shlex
from pathlib import Path

import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from facelib import metrics, pretrained
from facelib.data import load_faces
from facelib.data.faces import ATTRIBUTES
from facelib.evaluate import truth as known
from facelib.evaluate.benchmark import BATCH, held_out
from facelib.evaluate.recovery import identity, origins, summary
from facelib.evaluate.report import grid, save
from facelib.features import at_size_of

EDITED = ("Smiling", "Mouth_Slightly_Open", "Eyeglasses", "Male", "Young", "Blond_Hair", "Black_Hair", "Bangs", "No_Beard",
          "Pale_Skin", "Heavy_Makeup", "Wearing_Hat")
AMOUNTS = (1.0, 2.0, 3.0)
FACES = 128        # by default, the first held-out ones
PAIRS, STOPS = 32, 9        # ways from a face to the next one, and the faces on each
MOST = 3           # attributes that are told of each code: those that it moves most
COLUMNS = (("amount", "amount", 0), ("before", "before", 2), ("after", "after", 2), ("random", "random_after", 2),
           ("crossed", "crossed", 2), ("random", "random_crossed", 2), ("added", "added", 2), ("removed", "removed", 2),
           ("identity", "identity", 3), ("random", "random_identity", 3), ("unintended", "unintended", 3),
           ("random", "random_unintended", 3))


def look(judges, images, device="cpu"):
    """What the judges say of faces (N, 3, H, W) -> {"logits": (N, 40), "identity": (N, 128)} on the CPU."""
    with torch.no_grad():
        logits = torch.cat([judges[0].logits(at_size_of(judges[0], part.to(device))).cpu() for part in images.split(BATCH)])
    return {"logits": logits, "identity": identity(judges[1], images, device)}


def edited(method, image, attribute, amount, details=True):
    """Faces (N, 3, H, W) with an attribute changed by amounts (N,), that may differ in sign only -> the same shape."""
    made = torch.empty_like(image)
    for sign in (1, -1):
        those = amount.sign() == sign
        if those.any():
            made[those] = method.edit(image[those], attribute, float(amount[those][0]), details=details)
    return made


def strayed(method, image, attribute, amount, details=True, seed=0):
    """As `edited`, but each face (N, 3, H, W) goes as far in a direction of its own, drawn at random."""
    vector = method.layout.join(method.encode(image))
    length = (method.move(vector, attribute, float(amount[0])) - vector).norm(dim=1, keepdim=True)
    way = torch.randn(vector.shape, generator=torch.Generator().manual_seed(seed)).to(vector)
    moved = method.generate(vector + way * length / way.norm(dim=1, keepdim=True)).to(image)
    return (image + (moved - method.generate(vector).to(image))).clamp(-1, 1) if details else moved


def compare(before, after, attribute, seed=0):
    """What the judges say of faces before and after they were pushed to the other side of an attribute -> figures.

    before, after: the probability of the wanted answer. crossed: the share whose answer has changed, of those without the
    attribute (added) and of those with it (removed) as well; None where there are none. unintended: the share of the other 39
    answers that have changed. identity: the distance of the two faces. All but the two shares as {"mean", "low", "high"}.
    """
    place = ATTRIBUTES.index(attribute)
    had = before["logits"][:, place] > 0
    sign = 1 - 2 * had.float()
    changed = (before["logits"] > 0) != (after["logits"] > 0)                             # (N, 40)
    crossed = changed[:, place].float()
    values = {"before": (sign * before["logits"][:, place]).sigmoid(), "after": (sign * after["logits"][:, place]).sigmoid(),
              "crossed": crossed, "unintended": (changed.sum(1) - crossed) / (len(ATTRIBUTES) - 1),
              "identity": metrics.identity_distance(before["identity"], after["identity"])}
    parts = {"added": crossed[~had], "removed": crossed[had]}
    return ({key: summary(value, seed) for key, value in values.items()}
            | {key: float(value.mean()) if len(value) else None for key, value in parts.items()})


def pushes(method, judges, image, before, names, seed=0, bar=None):
    """Rows of `compare` for faces (N, 3, H, W): each attribute, with its amounts and with details or not.

    "random" in a row: the same, gone astray.
    """
    rows = []
    for attribute in names:
        side = 1 - 2 * (before["logits"][:, ATTRIBUTES.index(attribute)] > 0).float().to(image.device)
        for details in (True, False):
            for amount in AMOUNTS:
                made, astray = (compare(before, look(judges, way(method, image, attribute, amount * side, details), image.device),
                                        attribute, seed) for way in (edited, strayed))
                rows.append({"method": attribute, "amount": amount, "details": details, **made, "random": astray})
        if bar:
            bar.update()
    return rows


def codes(method, judges, vector, seed=0):
    """What each code does to faces of latents (N, length) -> rows.

    moves: root mean squared difference, in grey levels of 255, of the faces with a continuous code at -1 and at 1, or with two
    classes of a categorical one. identity: their distance (of classes: from one to the next). attributes: those of which the
    judge's probability changes most, from -1 to 1; of classes: which class differs most from the mean of all. The first row is
    no code but a direction of z drawn at random, as many standard deviations long as a continuous code.
    """
    layout, generator = method.layout, torch.Generator().manual_seed(seed)
    way = F.pad(torch.randn(len(vector), layout.z_dim, generator=generator), (0, layout.length - layout.z_dim)).to(vector)
    way = way / way.norm(dim=1, keepdim=True) * (1 if layout.noise == "uniform" else 3 ** 0.5)
    found = [("z, at random", [vector - way, vector + way])]
    for code in layout.codes:
        settings = range(layout.categorical[int(code[5:])]) if code.startswith("c_cat") else (-2.0, 2.0)   # clipped to -1, 1
        found.append((code, [method.move(vector, code, value) for value in settings]))
    rows = []
    for name, ways in found:
        made = torch.stack([method.generate(way).cpu() for way in ways])                 # (k, N, 3, H, W)
        seen = [look(judges, part, vector.device) for part in made]
        spread = made.sub(made.mean(0)).square().flatten(2).mean(2).sum(0) / (len(made) - 1) * 2
        sure = torch.stack([part["logits"].sigmoid() for part in seen])                  # (k, N, 40)
        change = sure.sub(sure.mean(0)) if name.startswith("c_cat") else (sure[1] - sure[0])[None]
        top = change.mean(1).abs().flatten().argsort(descending=True, stable=True)[:MOST].tolist()
        told = [{**({"class": place // len(ATTRIBUTES)} if name.startswith("c_cat") else {}),
                 "attribute": ATTRIBUTES[place % len(ATTRIBUTES)],
                 "change": summary(change[place // len(ATTRIBUTES), :, place % len(ATTRIBUTES)], seed)} for place in top]
        steps = torch.stack([metrics.identity_distance(a["identity"], b["identity"])
                             for a, b in zip(seen, seen[1:], strict=False)]).mean(0)
        rows.append({"method": name, "moves": summary(127.5 * spread.sqrt(), seed), "identity": summary(steps, seed),
                     "attributes": told})
    return rows


def between(method, judges, image, before):
    """The way from each face (N, 3, H, W) to the next in latent space -> mean identity distances from both ends at each stop.

    faded: the same of the two ends mixed pixel by pixel. PAIRS ways, of STOPS faces each, the ends included.
    """
    count, found = min(PAIRS, len(image)), {"way": [], "faded": []}
    for i in range(count):
        ends = i, (i + 1) % len(image)
        way = method.between(image[ends[0]:ends[0] + 1], image[ends[1]:ends[1] + 1], STOPS).cpu()
        share = torch.linspace(0, 1, STOPS).view(-1, 1, 1, 1)
        for name, faces in (("way", way), ("faded", way[:1] * (1 - share) + way[-1:] * share)):
            seen = identity(judges[1], faces, image.device)
            found[name].append(torch.stack([metrics.identity_distance(before["identity"][end].expand_as(seen), seen)
                                            for end in ends]))
    means = {name: torch.stack(value).mean(0) for name, value in found.items()}           # (2, STOPS)
    return {"pairs": count, "share": torch.linspace(0, 1, STOPS).tolist(),
            **{name: {"first": value[0].tolist(), "second": value[1].tolist()} for name, value in means.items()}}


@torch.no_grad()
def evaluate(method, faces, n=FACES, seed=0, out=None, command=None, name="predictor", device=None, quiet=False):
    """Edit the first n held-out test faces in every way, and measure -> the report, a dict.

    method: anything with `encode`, `move`, `generate`, `edit`, `between`, `attributes` and a `layout` of its latents. faces:
    FaceData of its size; rendered ones, whose factors are known, give the sections "truth" and "disentanglement" as well (see
    `truth`). seed: of the random directions and the bootstrap. out: a .json file for the report; the table goes beside it as
    .md. command: how to make this report again, kept in it. name: of the method's weights.

    "edits": see `compare` and `pushes`; "reconstruction": the same figures where nothing was moved; "codes": see `codes`;
    "between": see `between`. Raises ValueError for fewer than 2 faces, or where the method knows no attribute of EDITED.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    image = held_out(faces.test).tensor(slice(0, n)).to(device)
    names = [attribute for attribute in EDITED if attribute in method.attributes]
    if len(image) < 2 or not names:
        raise ValueError(f"editing is measured on 2 faces or more and attributes out of {', '.join(EDITED)}; {faces.name} gives "
                         f"{len(image)} faces, and the method knows {', '.join(method.attributes) or 'none'}")
    judges = [pretrained.load_pretrained(judge, device) for judge in ("judge_attr", "judge_identity")]
    before, vector = look(judges, image, device), method.layout.join(method.encode(image))
    rebuilt = look(judges, method.generate(vector).to(image), device)
    report = {"command": command, "data": faces.name, "size": list(faces.size), "test_faces": len(image), "seed": seed,
              "amounts": list(AMOUNTS), **origins(name, method, judges, device)}
    with tqdm(total=len(names) + 2, unit="attribute", disable=quiet) as bar:
        report["reconstruction"] = [{"method": attribute, **compare(before, rebuilt, attribute, seed)} for attribute in names]
        report["edits"] = pushes(method, judges, image, before, names, seed, bar)
        report["codes"], report["between"] = codes(method, judges, vector, seed), between(method, judges, image, before)
        bar.update()
        if faces.test.factors is not None:
            report["truth"] = known.edits(method, faces, min(n, known.FACES), edited, strayed, seed)
            report["disentanglement"] = known.disentanglement(method, faces, seed)
        bar.update()
    if out is not None:
        save(report, out)
        Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")      # rounded alike
    return report


def main(name="predictor", data="synthetic", root=None, n=None, seed=0, out=None):
    """What `facelib evaluate --edits NAME` does: load weights (or a run folder) and faces, evaluate, print the tables."""
    command = ["facelib", "evaluate", "--edits", str(name), "--data", data]
    command += [] if root is None else ["--root", Path(root).name]      # found by its name in FACELIB_DATA on any machine
    command += [*([] if n is None else ["--n", str(n)]), "--seed", str(seed)]
    method = pretrained.load(name)
    report = evaluate(method, load_faces(data, root=root, size=method.cfg.size), n or FACES, seed, out, shlex.join(command), name)
    print(table(report))
    return report


def table(report):
    """The report as Markdown: edits with and without details, reconstruction, codes, the way between, and what is known."""
    h, w = report["size"]
    lines = [f"`{report['command']}`", "", f"{report['data']}: the first {report['test_faces']:,} held-out test faces of "
             f"{h}x{w}, each pushed to the other side; ± half of the 95 % interval; {report['hardware']}"]
    for details in (True, False):
        rows = [row | {f"random_{key}": value for key, value in row["random"].items()} for row in report["edits"]
                if row["details"] == details]
        lines += ["", f"Edits {'with' if details else 'without'} the face's own details", "",
                  *grid(rows, COLUMNS, {}, "attribute")]
    lines += ["", "Reconstruction alone", "", *grid(report["reconstruction"], [column for column in COLUMNS if column[1] in (
        "before", "after", "crossed", "identity", "unintended")], {}, "attribute")]
    lines += ["", "before, after: the judge's probability of the wanted answer; crossed: the share whose answer has changed "
              "(added: of those without; removed: of those with it); unintended: the share of the other 39 answers that have "
              "changed; random: a push of the same length in a direction drawn at random", "", "Codes", ""]
    lines += grid(report["codes"], (("moves", "moves", 1), ("identity", "identity", 3)), {}, "code") + [""]
    for row in report["codes"]:
        told = [" ".join([one["attribute"], *([f"(class {one['class']})"] if "class" in one else []),
                          f"{one['change']['mean']:+.3f}"]) for one in row["attributes"]]
        lines.append(f"- {row['method']}: {', '.join(told)}")
    way = report["between"]
    rows = [{"method": f"{name}, distance from the {end}", **{f"{share:.2f}": value for share, value in
                                                              zip(way["share"], way[name][end], strict=True)}}
            for name in ("way", "faded") for end in ("first", "second")]
    lines += ["", f"Between two faces: identity distance, {way['pairs']} pairs", "",
              *grid(rows, [(f"{share:.2f}", f"{share:.2f}", 3) for share in way["share"]], {}, "share of the second")]
    return "\n".join([*lines, *(known.table(report) if "truth" in report else [])]).rstrip()
