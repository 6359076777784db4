"""What the live pages need beside their scripts: `python tools/live.py FOLDER`, which `make book` runs.

    models/NAME.onnx  the networks that run in the reader's browser (`facelib export`)
    models.json       what each takes and gives, and what is known of its latents
    faces.bin         faces that may be shown, 64x64 pixels of RGB, one after another; faces.json: their names
    cascades.json     OpenCV's cascades, with which a face and its eyes are found in a reader's own photograph
    completed.png     completions made beforehand, for a page on which no script runs
    latents..., quiz...   see tools/latents.py and tools/quiz.py
"""

import hashlib
import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import latents
import numpy as np
import quiz
import torch
from PIL import Image

from facelib import load_faces, load_pretrained, masks
from facelib.data.faces import ATTRIBUTES, to_uint8
from facelib.export import NAMES, VERBS, Verb, example, export, verb_of
from facelib.extras import need
from facelib.plots import HOLE

# Chosen by eye among the 256 faces of nobody: whole, clear and various ones that the quiz does not ask about.
FACES = (14, 9, 15, 65, 35, 121, 37, 146, 56, 134, 62, 147, 85, 164, 95, 187, 111, 150, 157, 170, 175, 199, 250)
CASCADES = ("frontalface_alt2", "frontalface_default", "eye")       # as facelib.data.align looks, but for tilted features
SHOWN = (0, 3, 9)       # places in FACES whose completions are made beforehand, with the astronaut's


def write_models(out):
    """The networks and models.json."""
    (out / "models").mkdir(exist_ok=True)
    about = {}
    for name in VERBS:
        path, method, verb = export(name, out / "models" / f"{name}.onnx"), load_pretrained(name), verb_of(name)
        network, inputs, (taken, given) = Verb(method, verb), example(method, verb), NAMES[verb]
        data = path.read_bytes()
        about[name] = {
            "file": f"models/{path.name}", "sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "verb": verb,
            "inputs": {key: list(value.shape) for key, value in zip(taken, inputs, strict=True)},
            "outputs": {given: list(network(*inputs).shape)}, "size": method.cfg.size,
            "parameters": sum(p.numel() for p in (method.P_ema if verb == "encode" else method.G_ema).parameters())}
        if verb != "complete":
            layout = method.layout
            about[name]["layout"] = {"z_dim": layout.z_dim, "categorical": list(layout.categorical),
                                     "continuous": layout.continuous, "length": layout.length}
        if verb == "encode":
            found = method.directions.found
            about[name]["directions"] = {attribute: [round(v, 5) for v in found[ATTRIBUTES.index(attribute)].tolist()]
                                         for attribute in method.attributes if attribute in ATTRIBUTES}
    (out / "models.json").write_text(json.dumps(about))


def faces():
    """The faces to choose from, and their names -> (n, 3, 64, 64) in [-1, 1], list of str."""
    known = load_faces("generated", size=quiz.SIZE).test
    names = [f"Face of nobody {i}" for i in range(1, len(FACES) + 1)]
    return torch.cat([known.tensor(list(FACES)), quiz.astronaut()]), [*names, "Eileen Collins, astronaut (NASA)"]


def write_faces(out):
    """faces.bin, faces.json and completed.png."""
    images, names = faces()
    (out / "faces.bin").write_bytes(to_uint8(images).permute(0, 2, 3, 1).contiguous().numpy().tobytes())
    (out / "faces.json").write_text(json.dumps({"size": quiz.SIZE, "names": names}))
    image, colour = images[[*SHOWN, -1]], torch.tensor(HOLE).view(1, 3, 1, 1) * 2 - 1
    mask = masks.center(len(image), quiz.SIZE)
    rows = [masks.composite(image, mask, colour.expand_as(image)), image]
    rows[1:1] = [load_pretrained(name).complete(image, mask) for name in VERBS if VERBS[name] == "complete"]
    grid = torch.nn.functional.pad(torch.stack(rows, 1), (2, 2, 2, 2), value=1)                    # (faces, columns, 3, H, W)
    n, columns, _, height, width = grid.shape
    sheet = to_uint8(grid).permute(0, 3, 1, 4, 2).reshape(n * height, columns * width, 3).numpy()
    Image.fromarray(sheet).resize((2 * sheet.shape[1], 2 * sheet.shape[0]), Image.Resampling.NEAREST).save(
        out / "completed.png", optimize=True)


def cascade(name):
    """One of OpenCV's cascades as plain lists.

    -> {"window": side, "stages": [[threshold, [[nodes, leaves], ...]], ...], "licence": ...}. A node is [left, right, threshold,
    [x, y, width, height, weight, ...]]; a branch above 0 is a node's number, another leads to leaf -branch.
    """
    path = Path(need("cv2").data.haarcascades) / f"haarcascade_{name}.xml"
    text = path.read_text()
    tree = ElementTree.fromstring(text).find("cascade")
    numbers = lambda element: [float(v) for v in element.text.split()]
    features = [[v for rect in feature.find("rects") for v in numbers(rect)] for feature in tree.find("features")]
    if any(feature.findtext("tilted") == "1" for feature in tree.find("features")):
        raise ValueError(f"{name} has tilted features, which the page's reader of cascades does not know")
    short = lambda v: int(v) if v == int(v) else float(f"{v:.8g}")
    stages = []
    for stage in tree.find("stages"):
        weak = []
        for one in stage.find("weakClassifiers"):
            nodes = np.reshape(numbers(one.find("internalNodes")), (-1, 4))
            weak.append([[[int(left), int(right), short(threshold), [short(v) for v in features[int(feature)]]]
                          for left, right, feature, threshold in nodes],
                         [short(v) for v in numbers(one.find("leafValues"))]])
        stages.append([short(float(stage.findtext("stageThreshold"))), weak])
    return {"window": int(tree.findtext("width")), "stages": stages, "licence": re.search(r"<!--(.*?)-->", text, re.S)[1].strip()}


def make(out):
    """Write everything into the folder `out`; half a minute or so."""
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    write_models(out)
    write_faces(out)
    (out / "cascades.json").write_text(json.dumps({name: cascade(name) for name in CASCADES}, separators=(",", ":")))
    latents.make(out)
    quiz.make(out)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    make(sys.argv[1])
