"""256 faces of nobody, drawn by our own generator: realistic faces that a page may show.

The sheet and its card were made by the command that the card names. Every face was screened: none is nearer to a face
that the generator was trained on than the faces of people who were not among them (see `facelib.generation.screen`).
"""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from ..faces import FaceData, Split
from ..synthetic.pack import from_sheet

FOLDER = Path(__file__).parent
SHEET = {"quality": 95, "subsampling": 0, "optimize": True}     # how a sheet is saved: JPEG without smeared colours


def load(folder=FOLDER):
    """The faces that ship as FaceData; each split holds all of them.

    They are there to be looked at: no method that is shown with them was trained on them, and numbers come from real
    faces. So there is nothing to keep apart, and whatever a chapter takes faces from has them all. names: "dcgan/0/17"
    is the 17th sample of load_pretrained("dcgan").sample(drawn, seed=0), as the card says. No attributes, no
    identities: nobody is on them. Raises FileNotFoundError when the sheet is missing, ValueError when it is not whole.
    """
    folder = Path(folder)
    if not (folder / "faces.jpg").exists() or not (folder / "faces.json").exists():
        raise FileNotFoundError(f"no generated faces in {folder}: expected faces.jpg and faces.json there; make them with: "
                                "facelib generate dcgan --n 256 --screen DATA --out faces.jpg")
    card = json.loads((folder / "faces.json").read_text())
    images = from_sheet(np.asarray(Image.open(folder / "faces.jpg").convert("RGB")), card["size"][0])
    if len(images) != card["faces"]:
        raise ValueError(f"the sheet in {folder} should hold {card['faces']} faces, but has {len(images)}; make it again "
                         f"with: {card['command']}")
    (name, _), = card["weights"].items()
    split = Split(np.ascontiguousarray(images), names=[f"{name}/{card['seed']}/{i}" for i in card["numbers"]])
    return FaceData("generated", split, split, split, f"faces of nobody, drawn by {name}; every split holds them all")
