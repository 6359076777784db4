"""Photographs completed as a user completes them (`photo.complete_photo`): how sharp is what fills the hole, at their own size?

The benchmark measures aligned faces at a method's size. A photograph is larger, its face is found first, and what a method
made is enlarged, blended and given grain: here all of that takes part.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facelib import masks, metrics, weights
from facelib.data import pack, to_float
from facelib.data.align import align
from facelib.evaluate.report import grid, save
from facelib.photo import complete_photo
from facelib.pretrained import hardware, load

HOLES = (*masks.PARTS, "half")      # over the parts of the aligned face; half: its left half, to the border of the crop
COLUMNS = (("photographs", "photographs", 0), ("sharpness", "sharpness", 3), ("from", "low", 3), ("to", "high", 3),
           ("PSNR dB", "psnr_hole", 2))


def hole_in(face, part):
    """The box (x, y, width, height), in pixels of the photograph of an Aligned face, that covers a part of the face."""
    side = max(face.crop.size)
    x, y, w, h = (0.3, 0.5, 0.4, 0.6) if part == "half" else masks.PARTS[part]
    corners = np.array([[x - w / 2, y - h / 2], [x + w / 2, y - h / 2], [x + w / 2, y + h / 2], [x - w / 2, y + h / 2]]) * side
    corners = (corners - 0.5 - face.matrix[:, 2]) @ np.linalg.inv(face.matrix[:, :2]).T + 0.5
    low, high = corners.min(0).round().clip(0), np.minimum(corners.max(0).round(), face.photo.size)
    return (*(int(v) for v in low), *(int(v) for v in high - low))


def evaluate(names, folder, holes=HOLES, n=None, out=None, sheets=None, command=None):
    """Complete the photographs of a folder under holes over parts of their faces, and measure -> the report, a dict.

    names: published weights or run folders. holes: names of `masks.PARTS`, or "half". n: how many photographs, the first
    ones by name. out: a .json file for the report; the table goes beside it as .md. sheets: a folder for a picture of all
    completions of each method under each hole. A photograph without a face that is found is left out, and counted.

    A row holds the median of `metrics.sharpness` in the hole over the photographs, with the quartiles low and high, and
    the mean PSNR of the hole. Raises FileNotFoundError for a folder without pictures, ValueError for unknown holes.
    """
    unknown = [part for part in holes if part not in HOLES]
    if unknown or not holes:
        raise ValueError(f"holes in photographs must be out of {', '.join(HOLES)}, got {tuple(unknown)}")
    found = pack.scan(Path(folder), deep=True).names[:n]
    if not found:
        raise pack.none_found(Path(folder))
    photos = []
    for name in found:
        try:
            face = align(Path(folder) / name, 128)
        except ValueError:                                  # no face, or no picture that can be read
            continue
        photos.append(face)
    if not photos:
        raise ValueError(f"in none of the {len(found)} pictures of {folder} a face was found")
    report = {"command": command, "data": Path(folder).name, "photographs": len(photos), "without_face": len(found) - len(photos),
              "rows": [], "weights": {}, "hardware": hardware()}
    for name in names:
        method = load(name)
        if name in weights.names():
            report["weights"][name] = weights.card(name)["sha256"]
        for part in holes:
            filled, sharp, likeness = [], [], []
            for face in photos:
                box = hole_in(face, part)
                completed = complete_photo(face.photo, method, hole=box, eyes=face.eyes)
                a, b = (to_float(np.asarray(x).transpose(2, 0, 1).copy())[None] for x in (completed, face.photo))
                hole = masks.from_boxes(torch.tensor([box]), tuple(a.shape[-2:]))
                sharp.append(float(metrics.sharpness(a, b, hole)))
                likeness.append(float(metrics.psnr(a, b, hole)))
                filled.append(completed)
            low, middle, high = np.percentile(sharp, (25, 50, 75))
            report["rows"].append({"method": name, "hole": part, "photographs": len(photos), "sharpness": float(middle),
                                   "low": float(low), "high": float(high), "psnr_hole": float(np.mean(likeness))})
            if sheets is not None:
                _sheet(filled, Path(sheets) / f"{Path(name).name}-{part.replace(' ', '_')}.png")
            if out is not None:
                save(report, out)
                Path(out).with_suffix(".md").write_text(table(json.loads(Path(out).read_text())) + "\n")
    return report


def _sheet(photos, path, side=192, columns=8):
    """Photographs of any size as a sheet of small ones."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet = Image.new("RGB", (columns * side, -(-len(photos) // columns) * side))
    for i, photo in enumerate(photos):
        small = photo.copy()
        small.thumbnail((side, side), Image.Resampling.LANCZOS)
        sheet.paste(small, (i % columns * side, i // columns * side))
    sheet.save(path)


def table(report):
    """The report as Markdown, a table for each hole: the medians of sharpness with quartiles, the mean PSNR."""
    lines = [f"`{report['command']}`", "", f"{report['data']}: {report['photographs']} photographs "
             f"({report['without_face']} without a face that was found); {report['hardware']}"]
    for part in dict.fromkeys(row["hole"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["hole"] == part]
        lines += ["", f"Hole: {part}", "", *grid(rows, COLUMNS, {})]
    return "\n".join(lines)


def main(names, folder, holes=(), n=None, out=None, sheets=None):
    """What `facelib evaluate --photographs` does: evaluate, print the table -> the report, see `evaluate`."""
    folder = Path(folder)
    command = ["facelib", "evaluate", "--photographs", folder.name, "--methods", *names]
    command += ["--holes", *holes] if holes else []
    command += [] if n is None else ["--n", str(n)]
    report = evaluate(names, folder, [part.replace("_", " ") for part in holes] or HOLES, n, out, sheets, shlex.join(command))
    print(table(report))
    return report
