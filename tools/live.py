"""What the live pages need beside their scripts: `python tools/live.py FOLDER`, which `make book` runs.

    models/NAME.onnx  the networks that run in the reader's browser (`facelib export`)
    models.json       what each takes and gives, at which size, and what is known of its latents
    faces.bin         faces that may be shown, in RGB, one after another; faces.json: their size and their names
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
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from facelib import load_faces, load_pretrained, masks, weights
from facelib.data import align, synthetic
from facelib.data.faces import ATTRIBUTES, to_uint8
from facelib.data.images import pair
from facelib.export import NAMES, Verb, example, export, verb_of
from facelib.extras import need
from facelib.plots import HOLE, INK, PAPER

# The networks of the page of completion, in its order: the first is loaded first, the others when it has answered. Names that
# are not published are left out, so that a new network can be named here before its training has ended.
COMPLETION = (
    "glcic",
    "glcic_64",
    "context_encoder_64",
    "denoising_64",
)
LATENTS = ("infogan", "predictor")      # of the page of latents
TITLES = {"glcic": "GLCIC", "context_encoder": "Context encoder", "denoising": "Denoising autoencoder"}      # by method

# Chosen by eye: places among the rendered test faces, and among the generated faces, of which the quiz asks about others.
RENDERED = (8, 23, 1, 56, 18, 41, 93, 82)
GENERATED = (14, 9, 65, 35, 121, 37, 146, 56, 134, 62, 164, 111, 157, 199, 250)
CASCADES = ("frontalface_alt2", "frontalface_default", "eye")       # as facelib.data.align looks, but for tilted features
SHOWN = (0, 5, 16, 23)       # which of the page's faces have completions made beforehand


def completion_networks():
    """The names of the page's networks that are published, in its order."""
    return [name for name in COMPLETION if name in weights.names()]


def finest():
    """The side of the page's faces: as many pixels as its finest network has on its shorter side."""
    return max(min(pair(load_pretrained(name).cfg.size)) for name in completion_networks())


def write_models(out):
    """The networks and models.json."""
    (out / "models").mkdir(exist_ok=True)
    about = {}
    for name in (*completion_networks(), *LATENTS):
        path = export(name, out / "models" / f"{name}.onnx", browser=True)
        method, verb = load_pretrained(name), verb_of(name)
        network, inputs, (taken, given) = Verb(method, verb), example(method, verb), NAMES[verb]
        data, method_name = path.read_bytes(), weights.card(name)["method"]
        about[name] = {
            "title": TITLES.get(method_name, method_name),
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


def faces(size):
    """The faces to choose from, (n, 3, size, size) in [-1, 1], and their names: a photograph, rendered and generated faces."""
    from skimage import data

    astronaut = align.align(Image.fromarray(data.astronaut()), size=size).tensor()
    people = load_faces("synthetic").test.factors
    # Rendered at the size that is asked for: faces that were enlarged would be blurred.
    rendered = synthetic.render({name: torch.from_numpy(values[list(RENDERED)]) for name, values in people.items()}, size)
    generated = load_faces("generated", size=size).test.tensor(list(GENERATED))
    names = ["Eileen Collins, astronaut (NASA)", *(f"Rendered face {i}" for i in range(1, len(RENDERED) + 1)),
             *(f"Generated face {i}" for i in range(1, len(GENERATED) + 1))]
    # Rounded to what faces.bin holds, so that the page's networks are given the same pixels as those here.
    return to_uint8(torch.cat([astronaut, rendered, generated])).float() / 127.5 - 1, names


def resampling(length, start, end, n):
    """The matrix (n, length) that makes n pixels, which cover [start, end], of a line of `length`: Pillow's bicubic filter.

    Antialiased where the line shrinks. [start, end] may reach beyond the line; far beyond it there are zeros.
    """
    step = (end - start) / n
    middles = start + (torch.arange(n, dtype=torch.float64) + 0.5) * step
    t = (torch.arange(length) + 0.5 - middles[:, None]).abs() / max(1, step)
    weight = torch.where(t < 1, (1.5 * t - 2.5) * t * t + 1, torch.where(t < 2, ((2.5 - 0.5 * t) * t - 4) * t + 2, 0.0))
    return (weight / weight.sum(1, keepdim=True)).nan_to_num()


def resample(image, box, size):
    """What a box (left, top, right, bottom) of images (B, C, H, W) holds, at another size (height, width)."""
    left, top, right, bottom = box
    down = resampling(image.shape[-2], top, bottom, size[0])
    across = resampling(image.shape[-1], left, right, size[1])
    return (down @ image.double() @ across.T).float()


def complete(method, image, mask):
    """Fill holes of square faces (B, 3, side, side) with a method of whatever size, as the page does (resample.js).

    The face shrinks or grows to the network's size, and its answer back; what is known comes back bit-identical. Of an
    oblong network the central part of the face is filled; the hole's colour stays where it does not look.
    """
    side, size = image.shape[-1], pair(method.cfg.size)
    if size == (side, side):
        return method.complete(image, mask)
    scale = side / max(size)
    top, left = ((side - n * scale) / 2 for n in size)
    box = left, top, side - left, side - top
    # What the hole hides must not be seen: known pixels alone are averaged, where the hole is not touched.
    known = 1 - mask
    hole = torch.stack([touched(one, box, size) for one in mask[:, 0]])[:, None]
    small = (resample(image * known, box, size) / resample(known, box, size)).clamp(-1, 1)
    answer = method.complete(torch.where(hole > 0.5, 0.0, small), hole)
    back = -left / scale, -top / scale, (side - left) / scale, (side - top) / scale     # the face, in the network's pixels
    large = resample(answer, back, (side, side)).clamp(-1, 1)
    rows, columns = torch.arange(side)[:, None] + 0.5, torch.arange(side)[None] + 0.5
    inside = (columns >= left) & (columns <= side - left) & (rows >= top) & (rows <= side - top)
    return masks.composite(image, mask, torch.where(inside, large, hole_colour()))


def touched(mask, box, size):
    """A hole (side, side) at another size: a pixel that the hole touches is hole."""
    spans = [[(int(np.floor(start + i * (end - start) / n + 1e-6)), int(np.ceil(start + (i + 1) * (end - start) / n - 1e-6)))
              for i in range(n)] for start, end, n in ((box[1], box[3], size[0]), (box[0], box[2], size[1]))]
    return torch.stack([torch.stack([mask[y0:y1, x0:x1].amax() for x0, x1 in spans[1]]) for y0, y1 in spans[0]])


def hole_colour():
    """The colour of a hole, (1, 3, 1, 1) in [-1, 1]."""
    return torch.tensor(HOLE).view(1, 3, 1, 1) * 2 - 1


def write_faces(out):
    """faces.bin, faces.json and completed.png."""
    size = finest()
    images, names = faces(size)
    (out / "faces.bin").write_bytes(to_uint8(images).permute(0, 2, 3, 1).contiguous().numpy().tobytes())
    (out / "faces.json").write_text(json.dumps({"size": size, "names": names}))
    sheet(images[list(SHOWN)]).save(out / "completed.png", optimize=True)


def sheet(image):
    """Faces (B, 3, side, side) in rows: with a hole in the centre, filled by each network, as they were -> PIL, with labels."""
    side, gap = image.shape[-1], 4
    mask = masks.center(len(image), side)
    columns = {"With a hole": masks.composite(image, mask, hole_colour().expand_as(image))}
    for name in completion_networks():
        method = load_pretrained(name)
        height, width = pair(method.cfg.size)
        title = TITLES[weights.card(name)["method"]].replace(" ", "\n")
        columns[f"{title}\n{height}×{width}"] = complete(method, image, mask)
    columns["As it was"] = image
    font = ImageFont.truetype(font_manager.findfont("DejaVu Sans"), round(0.17 * side))     # still 9 pixels high on a phone
    head = round(0.22 * side) * max(label.count("\n") + 1 for label in columns)
    found = Image.new("RGB", (len(columns) * (side + gap) - gap, head + len(image) * (side + gap) - gap), PAPER)
    pen = ImageDraw.Draw(found)
    for column, (label, filled) in enumerate(columns.items()):
        x = column * (side + gap)
        pen.multiline_text((x + side // 2, head - side // 20), label, INK, font, "md", align="center")
        for row, face in enumerate(filled):
            pixels = to_uint8(face).permute(1, 2, 0).numpy()
            found.paste(Image.fromarray(pixels), (x, head + row * (side + gap)))
    return found


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
