"""The benchmark's report: as JSON, and as Markdown that reads as plain text too."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facelib.data import to_uint8
from facelib.train import write

COLUMNS = (("PSNR dB", "psnr", 2), ("hole", "psnr_hole", 2), ("SSIM", "ssim", 3), ("hole", "ssim_hole", 3),
           ("L1", "l1", 4), ("hole", "l1_hole", 4), ("sharpness", "sharpness", 2),
           ("FD-attr", "fd_attr", 2), ("to train", "fd_attr_train", 2),
           ("KD-attr", "kd_attr", 3), ("to train", "kd_attr_train", 3), ("identity", "identity", 3),
           ("recognition", "recognition", 3), ("attributes", "attributes", 3), ("time", "time_ratio", 2),
           ("parameters", "parameters", 0), ("images seen", "images_seen", 0), ("minutes", "wall_time_minutes", 0))
ADDED = ("sharpness", "recognition")


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


def face_sheet(faces, path, columns=10):
    """Faces (N, 3, H, W) in [-1, 1] as a sheet, PNG."""
    rows = -(-len(faces) // columns)
    padded = torch.cat([faces, faces.new_full((rows * columns - len(faces), *faces.shape[1:]), -1)])
    picture = to_uint8(padded).unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture.numpy()).save(path)


def table(report):
    """The report as Markdown: for each hole a row for each method, means with half of the 95 % interval, then real faces.

    time: of one face, as a multiple of the first method's in the same run. images seen, minutes: what the training took,
    from the weights' cards. Below: which faces the weights saw, on which machine.
    """
    h, w = report["size"]
    lines = [f"`{report['command']}`", "", f"{report['data']}: {report['test_faces']:,} held-out test faces of {h}x{w}, "
             f"± half of the 95 % interval; {report['hardware']}"]
    for kind in dict.fromkeys(row["hole"] for row in report["rows"]):
        rows = [row for row in report["rows"] if row["hole"] == kind]
        real = report if rows[0]["faces"] == report["test_faces"] else report["few"]
        rows += [{"method": "real faces", **real["floor"]}, {"method": "strangers", **real["strangers"]}]
        lines += ["", f"Hole: {kind}, {rows[0]['faces']:,} faces", "", *grid(rows, COLUMNS, report["training"])]
    lines += [""] + [f"- {name}: trained on {about['data']}; {about['hardware']}" for name, about in report["training"].items()]
    return "\n".join(lines).rstrip()


def grid(rows, columns, training, corner="method"):
    """Rows, dicts with the key "method", as a Markdown table whose columns are aligned in plain text -> its lines.

    columns: (title, key, digits) each. training: what more is known of a method, name -> dict. corner: the first title.
    """
    def number(value, digits):
        if isinstance(value, dict):
            mean, low, high = (np.nan if value[key] is None else value[key] for key in ("mean", "low", "high"))
            return f"{mean:.{digits}f} ±{(high - low) / 2:.{digits}f}"
        return "-" if value is None else f"{value:,.{digits}f}"

    # Reports that were made before a column was added do not show it.
    columns = [column for column in columns if column[1] not in ADDED or any(column[1] in row for row in rows)]
    cells = [[corner, *(title for title, _, _ in columns)]]
    for row in rows:
        about = row | training.get(row["method"].partition("+")[0], {})
        cells.append([row["method"], *(number(about.get(key), digits) for _, key, digits in columns)])
    widths = [max(3, *(len(line[i]) for line in cells)) for i in range(len(cells[0]))]
    text = ["| " + " | ".join(cell.rjust(width) if i else cell.ljust(width)
                              for i, (cell, width) in enumerate(zip(line, widths, strict=True))) + " |" for line in cells]
    rule = "|".join([":" + "-" * (widths[0] + 1), *("-" * (width + 1) + ":" for width in widths[1:])])
    return [text[0], f"|{rule}|", *text[1:]]


def card_figures(report, name):
    """The figures of one method out of a report, and how they were made: what its card quotes. ValueError where it has none."""
    left_out = ("method", "hole", "versus", "slice", "milliseconds", "milliseconds_alone", "time_ratio", "groups")
    rows = {row.get("hole", "upscale") + row["method"].removeprefix(name): {k: v for k, v in row.items() if k not in left_out}
            for row in report["rows"] if row["method"].partition("+")[0] == name}
    if not rows:
        raise ValueError(f"the report has no rows of {name!r}; make it with: facelib evaluate --methods {name} "
                         "--out REPORT.json")
    return {**{k: report[k] for k in ("command", "data", "size", "test_faces", "seed")}, **rows}
