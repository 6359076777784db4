"""The pictures of the quiz "real or completed?": `python tools/quiz.py FOLDER`; tools/live.py calls `make`.

Faces of nobody and NASA's astronaut at 64x64 pixels, half of them untouched, half with a hole that one of METHODS filled.
Everything is seeded, so that every build asks the same.

    quiz.png        the faces, COLUMNS to a row, in an order drawn at random
    quiz_holes.png  the same places: the completed faces with their holes marked; an untouched one stays black
    quiz.json       {"size", "columns", "items", "sheet"}; an item has its method ("" for untouched), the hole's kind and box
                    x,y,width,height, the face it shows, and the round (0 or 1) in which it is asked
    quiz-1.png ...  the faces to be shown on the page itself, where no script runs: the items of "sheet"
"""

import json
import sys
from pathlib import Path

import torch
from PIL import Image

from facelib import blending, classical, load_faces, load_pretrained, masks
from facelib.data import align
from facelib.data.faces import to_uint8
from facelib.plots import HOLE

SIZE, COLUMNS, SEED = 64, 10, 0
# Chosen by eye among the 256 faces of nobody: whole, clear ones. Eight for the sheet, 58 for the quiz.
FACES = (1, 2, 5, 6, 7, 11, 16, 17, 19, 24, 28, 36, 38, 43, 46, 48, 52, 54, 60, 61, 71, 72, 74, 76, 92, 94, 101, 103, 104, 106,
         110, 114, 115, 117, 120, 123, 126, 133, 136, 138, 140, 142, 144, 155, 158, 161, 167, 171, 180, 182, 183, 185, 191, 198,
         200, 202, 208, 210, 212, 215, 217, 220, 221, 226, 234, 238)
ASTRONAUT = -1
KINDS = ("center", "rectangle", "rectangle", "glcic", "strokes", "half")    # of six holes; every other one for each round
# What fills them: name -> kinds of its holes. context_encoder_64 knows the centre alone.
METHODS = {"glcic_64": KINDS, "dcgan": KINDS, "denoising_64": KINDS, "context_encoder_64": ("center",) * 6, "telea": KINDS}
BLENDED = ("glcic_64", "dcgan")    # as in their sources: Iizuka et al. 2017, post-processing; Yeh et al. 2017, section 3.4
SHEET = (("", ""), ("glcic_64", "rectangle"), ("telea", "half"), ("", ""), ("dcgan", "center"), ("", ""), ("", ""),
         ("glcic_64", "glcic"))


def plan(generator):
    """What is asked: dicts with face, method, kind and round; half of them untouched. Not yet in the quiz's order."""
    faces = [FACES[i] for i in torch.randperm(len(FACES), generator=generator).tolist()]
    sheet = [{"face": faces.pop(), "method": method, "kind": kind} for method, kind in SHEET]
    holes = [(name, kind, i % 2) for name, kinds in METHODS.items() for i, kind in enumerate(kinds)]
    # The astronaut comes once in each round: as she is, and completed by GLCIC.
    faces = [faces.pop() if hole != ("glcic_64", "glcic", 1) else ASTRONAUT for hole in holes] + [ASTRONAUT] + faces
    untouched = [("", "", i % 2) for i in range(len(holes))]
    asked = [{"face": face, "method": method, "kind": kind, "round": half}
             for face, (method, kind, half) in zip(faces, holes + untouched, strict=True)]
    return [asked[i] for i in torch.randperm(len(asked), generator=generator).tolist()], sheet


def astronaut():
    """Eileen Collins, NASA's photograph (public domain) -> (1, 3, 64, 64)."""
    from skimage import data

    return align.align(Image.fromarray(data.astronaut()), size=SIZE).tensor()


def pictures(items, generator):
    """Draw the items' holes and fill them -> faces to show and faces with their holes marked, (n, 3, 64, 64) each."""
    known, she = load_faces("generated", size=SIZE).test, astronaut()
    image = torch.cat([she if item["face"] == ASTRONAUT else known.tensor([item["face"]]) for item in items])
    mask = torch.cat([masks.KINDS[item["kind"]](1, SIZE, generator=generator) if item["method"]
                      else torch.zeros(1, 1, SIZE, SIZE) for item in items])
    shown = image.clone()
    for name in METHODS:
        which = [i for i, item in enumerate(items) if item["method"] == name]
        if which:
            complete = classical.METHODS.get(name) or load_pretrained(name).complete
            completed = complete(image[which], mask[which])
            shown[which] = blending.poisson(image[which], completed, mask[which]) if name in BLENDED else completed
    for item, hole in zip(items, mask, strict=True):
        item["hole"] = masks.boxes_of(hole[None])[0].tolist() if item["method"] else None
    colour = torch.tensor(HOLE)[None, :, None, None] * 2 - 1
    return shown, torch.where(mask > 0.5, colour, image).where(mask.flatten(1).any(1)[:, None, None, None], torch.tensor(-1.0))


def save(path, faces):
    """Faces (n, 3, 64, 64) as a sheet of COLUMNS to a row, PNG: no face is compressed differently from another."""
    rows = -(-len(faces) // COLUMNS)
    sheet = faces.new_full((rows * COLUMNS, *faces.shape[1:]), -1)
    sheet[:len(faces)] = faces
    grid = to_uint8(sheet).view(rows, COLUMNS, 3, SIZE, SIZE).permute(0, 3, 1, 4, 2).reshape(rows * SIZE, COLUMNS * SIZE, 3)
    Image.fromarray(grid.numpy()).save(path, optimize=True)


def make(out):
    """Write the quiz's files into the folder `out`; about 15 s on one core."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(SEED)
    asked, sheet = plan(generator)
    shown, marked = pictures(asked, generator)
    save(out / "quiz.png", shown)
    save(out / "quiz_holes.png", marked)
    for i, face in enumerate(pictures(sheet, generator)[0], 1):
        Image.fromarray(to_uint8(face).permute(1, 2, 0).numpy()).save(out / f"quiz-{i}.png", optimize=True)
    (out / "quiz.json").write_text(json.dumps({"size": SIZE, "columns": COLUMNS, "items": asked, "sheet": sheet}))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(sys.argv[1])
