"""What the widgets have in common: pictures as HTML, and the stepper through pictures that were made beforehand."""

import hashlib
import html
import io
import json
from base64 import b64encode
from pathlib import Path

import torch

from facelib.data.faces import FaceData, to_uint8
from facelib.data.images import pair
from facelib.plots import img

HERE = Path(__file__).parent
PAGE_BYTES = 300_000  # what one stepper may add to a page
LARGE = 100           # pixels: faces from here on are shown larger, with soft pixels and somewhat stronger compression


def script(name):
    """The JavaScript of a live widget, with what all of them need of it: an anywidget's module is one file."""
    return "".join((HERE / f"{part}.js").read_text() for part in ("kernel", name))


def size_of(method):
    """The size that a method works at, `cfg.size`, an int or (height, width) in pixels; None where it has none."""
    return getattr(getattr(method, "cfg", None), "size", None)


def is_large(image):
    """Whether faces (..., H, W) have so many pixels that single ones need not be seen."""
    return max(image.shape[-2:]) >= LARGE


def encode(image, form="PNG"):
    """float (1, 3, H, W) in [-1, 1] -> the bytes of a picture file."""
    from PIL import Image
    buffer = io.BytesIO()
    picture = Image.fromarray(to_uint8(image[0]).permute(1, 2, 0).cpu().numpy())
    quality = 80 if is_large(image) else 85
    picture.save(buffer, form, **({"quality": quality, "subsampling": 0, "optimize": True} if form == "JPEG" else {}))
    return buffer.getvalue()


def data_url(image, form="PNG"):
    """float (1, 3, H, W) in [-1, 1] -> a data URL of the picture."""
    return f"data:image/{form.lower()};base64,{b64encode(encode(image, form)).decode()}"


def figures(parts):
    """A row of pictures: parts are (name under it, float (1, 3, H, W), text alternative)."""
    inside = "".join(f"<div>{img(encode(image), alt)}{name}</div>" for name, image, alt in parts)
    return f'<div class="facelib-row{look(is_large(parts[0][1]))}">{inside}</div>'


def look(large):
    """What the class of an element with faces ends in."""
    return " facelib-large" if large else ""


def faces_of(faces, size, default, chosen=range(6)):
    """A widget's faces: a FaceData's first six test faces, a tensor as it is, or None for the chosen ones of a default data set.

    size: an int or (height, width); None takes the faces as they are. -> float (B, 3, height, width) in [-1, 1] on the CPU.
    Raises ValueError for what is no such faces.
    """
    if faces is None:
        from facelib.data import load_faces
        faces = load_faces(default, **({} if size is None else {"size": size})).test.tensor(list(chosen))
    if isinstance(faces, FaceData):
        faces = faces.test.tensor(slice(0, 6))
    shape = tuple(faces.shape) if torch.is_tensor(faces) else ()
    if size is not None:
        height, width = pair(size)
    else:
        height, width = shape[-2:] if len(shape) == 4 else ("height", "width")
    if len(shape) != 4 or not len(faces) or shape[1:] != (3, height, width):
        got = shape or type(faces).__name__
        how = "" if size is None else f"; load them with size={height if height == width else (height, width)}"
        raise ValueError(f"faces must be a FaceData with test faces or a float tensor (B, 3, {height}, {width}) in "
                         f"[-1, 1], got {got}{how}")
    return faces.float().cpu()


def as_many_as_fit(faces, frames_of):
    """frames_of(number, face) for the first faces, until the page is full: a list of lists of frames, one at least.

    Of the first face only the first frames are taken where not even these fit all.
    """
    frames, left = [], PAGE_BYTES - 10_000
    for number, face in enumerate(faces, 1):
        one = frames_of(number, face[None])
        sizes = [len(json.dumps(frame)) for frame in one]
        if not frames:
            left -= sizes[0]    # the page has the pictures of the very first step twice: on show, and in the script
            while len(one) > 1 and sum(sizes) > left:
                one, sizes = one[:-1], sizes[:-1]
        elif sum(sizes) > left:
            break
        frames.append(one)
        left -= sum(sizes)
    return frames


def note(made, begin):
    """What stands above a stepper: how its faces were made, and how a reader does that."""
    return (f'<p class="facelib-note">This page has no Python behind it, so these faces were {made} beforehand. {begin}, open '
            "the chapter in Colab or in Jupyter and run its cells.</p>")


def page(frames, rows, label, step, note, large=False):
    """The stepper: HTML that needs no kernel and no other host.

    frames: for each face a list of steps; a step is a dict of part -> (text alternative, data URL), with "kind", the
    step's short name, and "text", what is said below; a part that it lacks is as in the face's first step. rows: rows of
    (part, name under it). label: the whole thing's accessible name. step: what one step is called, for example "hole".
    note: HTML that stands above, of `note`. large: whether the faces are, see `is_large`.
    """
    first, data = frames[0][0], json.dumps(frames).replace("</", "<\\/")
    shown = "".join('<div class="facelib-row">' + "".join(
        f'<div><img class="dark-light" data-part="{part}" alt="{html.escape(first[part][0])}" '
        f'src="{first[part][1]}">{name}</div>' for part, name in row) + "</div>" for row in rows)
    code, style = (HERE / "stepper.js").read_text(), (HERE / "stepper.css").read_text()
    return (f'<div class="facelib-stepper{look(large)}" data-facelib-stepper="{hashlib.sha256(data.encode()).hexdigest()[:12]}" '
            f'role="group" aria-label="{html.escape(label)}"><style>{style}</style>{note}{shown}'
            f'<p role="status" data-part="caption">{html.escape(first["text"])}</p><div class="facelib-controls">'
            f'<button type="button" data-hole="-1">Previous {step}</button>'
            f'<button type="button" data-hole="1">Next {step}</button>'
            f'<label>{step.capitalize()} <input type="range" min="0" max="{len(frames[0]) - 1}" value="0" step="1"></label>'
            + ('<button type="button" data-face="1">Next face</button>' if len(frames) > 1 else "")
            + f'</div><script type="application/json">{data}</script><script>{code}</script></div>')


def key(page):
    """The name by which a live widget finds the stepper that stands in for it."""
    return page.split('data-facelib-stepper="')[1].split('"')[0]
