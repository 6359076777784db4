"""One thing about the face of a photograph, changed: found, aligned, edited at the method's size, written back."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facelib.data import to_float
from facelib.extras import need
from facelib.photo.files import check_suffix, device, each, face_of, named, opened, save, size_of

STRIP = (-2, -1, 0, 1, 2)       # the amounts that a strip shows
SHOWN = 128                     # pixels of each of its faces
SEAM = 1 / 6                    # share of the face's side along which an edit fades out
EDITED = ("The edit is invented: it shows what a network has learnt about many faces, not what this person looks like, and it "
          "is no evidence of anything.")


def edit_photo(picture, method, attribute, amount=1.0, eyes=None, aligned=False, steps=50, details=True):
    """Change one thing about the face of a photograph -> PIL RGB of the photograph's size.

    picture: a path, PIL image or uint8 array (H, W, 3). method: anything with `edit(image, attribute, amount, steps=,
    details=)`, a predictor; its `cfg.size` is the resolution of the change, and so its finest detail. attribute, amount,
    steps: as the method takes them. eyes: (x, y, x, y) in pixels of the photograph, where no face is found by itself.
    aligned: the whole picture, which must be square, is the face. details: the change, enlarged, is added to the
    photograph, which stays as sharp as it is; False puts the method's own face there, which is as sharp as its size.

    Only the square of the aligned face changes, less and less towards its border; every other pixel stays bit-identical.
    The result is invented. Raises NoFaceError when no face is found, DecodeError for a bad file, ValueError for arguments
    that do not fit, an unknown attribute, and a method that cannot edit.
    """
    check_edit(method, attribute, steps)
    return _edits(picture, method, attribute, [amount], eyes, aligned, steps, details)[1][0]


def edit_strip(picture, method, attribute, amounts=STRIP, eyes=None, aligned=False, steps=50, details=True):
    """The face of a photograph with several amounts of an edit, side by side, as a matplotlib figure.

    The arguments, and what is raised, as for `edit_photo`.
    """
    from facelib import plots

    check_edit(method, attribute, steps, strip=True)
    face, edited = _edits(picture, method, attribute, amounts, eyes, aligned, steps, details)
    faces = [face_of(photo, SHOWN, None if aligned else face.eyes, aligned).tensor() for photo in edited]
    return plots.sheet(torch.cat(faces), cols=len(faces), titles=[f"{attribute} {amount:+g}" for amount in amounts])


def _edits(picture, method, attribute, amounts, eyes, aligned, steps, details):
    """(the face that was found, the photograph after each amount of an edit)."""
    photo = opened(picture)
    face = face_of(photo, size_of(method), eyes, aligned)
    box, image = _box(face), face.tensor().to(device(method))
    edited = [method.edit(image, attribute, amount, steps=steps, details=details).float().cpu() for amount in amounts]
    return face, [_put_back(face, box, one, details, fade=not aligned) for one in edited]


def _put_back(face, box, edited, details, fade):
    """An edited crop (1, 3, height, width) into the `box` of its photograph, by way of the change alone -> PIL."""
    image, photo = face.tensor(), np.array(face.photo)
    part = to_float(photo[box].transpose(2, 0, 1).copy()).permute(1, 2, 0).numpy()        # (h, w, 3)
    values = (edited - image if details else edited)[0].permute(1, 2, 0).numpy()
    change = face.carried(values, box) - (0 if details else part)
    if fade:
        rise = np.outer(*(_rise(side) for side in image.shape[-2:]))
        change *= face.carried(rise, box, beyond="zero", smooth=False)[..., None]
    photo[box] = np.round((part + change).clip(-1, 1) * 127.5 + 127.5).astype(np.uint8)
    return Image.fromarray(photo)


def _rise(side):
    """From 0 at both ends of a side to 1 in its middle, without a corner: (side,)."""
    line = np.linspace(0, 1 / SEAM, side, dtype=np.float32)
    line = np.minimum(line, line[::-1]).clip(0, 1)
    return line * line * (3 - 2 * line)


def _box(face):
    """The part of a photograph in which its face's crop lies -> slices of rows and columns."""
    corners = face.corners()
    low = np.floor(corners.min(0)).clip(0).astype(int)
    high = np.minimum(np.ceil(corners.max(0)).astype(int) + 1, face.photo.size)
    if (low >= high).any():
        raise ValueError(f"the face's square lies outside the photograph of {face.photo.width}x{face.photo.height} pixels; check "
                         "the eyes")
    return slice(low[1], high[1]), slice(low[0], high[0])


def check_edit(method, attribute, steps=0, strip=False):
    """Refuse, with ValueError, a method that does not edit faces, and what it cannot change."""
    if not hasattr(method, "edit"):
        raise ValueError(f"{type(method).__name__} has no edit(image, attribute, amount): it does not change faces; use one "
                         "that does (predictor)")
    known = getattr(method, "attributes", [attribute])
    if attribute not in known:
        raise ValueError(f"attribute must be one of {', '.join(known) or 'none: this method knows none'}, got {attribute!r}")
    if steps < 0:
        raise ValueError(f"steps must be a number of steps of a search, 0 or more, got {steps}")
    if strip and attribute.startswith("c_cat"):
        raise ValueError(f"a strip shows the amounts {', '.join(map(str, STRIP))}, and {attribute} has classes instead; leave "
                         "out the strip")


def edit_file(path, out, method, attribute, amount=1.0, strip=False, **options):
    """Edit the face of the photograph `path` into the picture `out`; with `strip` also out/NAME-strip.png.

    options: as for `edit_photo`. Raises ValueError, which names the file.
    """
    check_suffix(out)
    try:
        edited = edit_photo(path, method, attribute, amount, **options)
        figure = edit_strip(path, method, attribute, **options) if strip else None
    except ValueError as error:
        raise named(path, error) from error
    save(edited, out)
    if strip:
        figure.savefig(out.with_name(f"{out.stem}-strip.png"), facecolor="white")
        need("matplotlib.pyplot").close(figure)


def edit_folder(folder, out, method, attribute, amount=1.0, strip=False, **options):
    """`edit_file` for all photographs of a folder and its subfolders -> (how many were done, why others were not)."""
    return each(folder, out, lambda name: edit_file(folder / name, out / Path(name).with_suffix(".png"), method, attribute,
                                                    amount, strip, **options), "editing")
