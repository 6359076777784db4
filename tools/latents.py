"""What the page of latents needs beside the networks: `python tools/latents.py FOLDER`; tools/live.py calls `make`.

    latents.json    what gets a slider, in words, and how often it changed a judge's verdict (book/results/editing.json)
    latents.png     a face of nobody moved beforehand, for who has no script: a row for each slider, a column for each amount
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image

from facelib import load_pretrained
from facelib.data.faces import to_uint8

REPORT = Path(__file__).resolve().parents[1] / "book" / "results" / "editing.json"
AMOUNTS = (-3, -2, -1, 0, 1, 2, 3)
ENOUGH = 0.5    # an attribute gets a slider where amount 2 changed the verdict on half of the faces
# Colour of skin is no toy. (Attractive, Chubby and the like were never measured as edits: they judge people.)
LEFT_OUT = ("Pale_Skin",)
JUDGING = ("Attractive", "Chubby", "Double_Chin", "Big_Nose", "Big_Lips", "Pale_Skin")     # not named as what a code does
LABELS = {"Male": "“Male”, as annotated", "Mouth_Slightly_Open": "Mouth open", "Wearing_Hat": "Hat"}
FACE = 17       # of the strip, among draw_latents(18, seed=1): a clear one
SEEDS = (41, 35)   # of the two faces that the page begins with, drawn by book/static/live/draw_latents.js
SPREAD = 0.7    # of the noise z: latents nearer to the middle make clearer faces, and more alike ones


def label(name):
    return LABELS.get(name, name.replace("_", " ").capitalize())


def sliders(report):
    """The attributes that work: [{"name", "label", "changed": {amount: share of verdicts that changed}}]."""
    rows = [row for row in report["edits"] if not row["details"] and row["method"] not in LEFT_OUT]
    works = [row["method"] for row in rows if row["amount"] == 2 and row["crossed"]["mean"] >= ENOUGH]
    return [{"name": name, "label": label(name),
             "changed": {f"{row['amount']:g}": row["crossed"]["mean"] for row in rows if row["method"] == name}}
            for name in works]


def codes(report):
    """What the generator's codes did to the judge's answers: {code: "attribute +0.13, ..."}, the two largest changes."""
    said = {}
    for row in report["codes"]:
        if row["method"].startswith("c_cont"):
            told = [one for one in row["attributes"] if one["attribute"] not in JUDGING][:2]
            told = ", ".join(f"{label(one['attribute']).lower()} {one['change']['mean']:+.2f}" for one in told)
            said[row["method"]] = told.replace("-", "−")
    return said


def strip(predictor, names):
    """The face of latents FACE with each attribute at AMOUNTS -> PIL."""
    start = predictor.draw_latents(FACE + 1, seed=1, spread=SPREAD)[FACE:]
    faces = predictor.generate(torch.cat([predictor.move(start, name, amount) for name in names for amount in AMOUNTS]))
    size = faces.shape[-1]
    grid = to_uint8(faces).view(len(names), len(AMOUNTS), 3, size, size).permute(0, 3, 1, 4, 2)
    return Image.fromarray(grid.reshape(len(names) * size, len(AMOUNTS) * size, 3).numpy())


def make(out):
    """Write the page's files into the folder `out`."""
    out, report = Path(out), json.loads(REPORT.read_text())
    out.mkdir(parents=True, exist_ok=True)
    about = {"spread": SPREAD, "seeds": SEEDS, "attributes": sliders(report), "codes": codes(report)}
    (out / "latents.json").write_text(json.dumps(about))
    strip(load_pretrained("predictor"), [one["name"] for one in about["attributes"]]).save(out / "latents.png", optimize=True)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(sys.argv[1])
