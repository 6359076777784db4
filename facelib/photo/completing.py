"""A hole in the face of a photograph, filled at the photograph's own resolution: align, complete, blend, write back."""

import glob
import os
from pathlib import Path

import numpy as np
import torch.nn.functional as F
from PIL import Image

from facelib import blending, masks
from facelib.data.align import TEMPLATES, align
from facelib.data.images import decode, read_mask
from facelib.extras import need
from facelib.photo.files import check_suffix, device, each, named, opened, save

CENTRE = ("centre", "center")
FINEST = 256   # pixels: the largest side at which the seam is blended, a second or so of sparse solving


def complete_photo(picture, method, hole=None, mask=None, eyes=None, blend=True):
    """Fill a hole in the face of a photograph -> PIL RGB of the photograph's size; outside the hole no pixel changes.

    picture: a path, PIL image or uint8 array (H, W, 3). method: anything with `complete(image, mask)`; its `cfg.size`
    (64 without one) is the resolution at which the face is completed, and so the finest detail to expect. The hole is
    either `hole`, a box (x, y, width, height) in pixels of the photograph, or `mask`, a picture of the photograph's size
    (path, PIL image, or array (H, W), bool or 0..255), light where the hole is. eyes: (x, y, x, y) in pixels, where no
    face is found by itself. blend: hide the seam by Poisson blending.

    What the hole hides is painted over before anything looks at the photograph, so it cannot influence the outcome.
    Raises NoFaceError when no face is found, DecodeError for a bad file, ValueError for a hole that is empty, lies
    outside the photograph or outside the aligned face, and for a mask of another size.
    """
    complete = lambda image, holes: [method.complete(image, holes)]
    return _fill(picture, method, complete, hole, mask, eyes, blend)[0]


def recovery(picture, method, every, steps=None, hole=None, mask=None, eyes=None, blend=True):
    """The steps in which a search fills a hole: (the photograph completed, {step: the photograph as it was then}).

    method: one that searches, with `search(image, mask, steps=, every=)` and its `.history` (DCGAN). every: keep each so-manyth
    step, from step 0. steps: how many, by default the method's. The other arguments, and what is raised, as for
    `complete_photo`; ValueError also for a method that has no intermediate results.
    """
    check_search(method, every, steps)
    kept = []

    def complete(image, holes):
        found = method.search(image, holes, steps=steps, every=every)
        kept.extend(found.history)
        return [masks.composite(image, holes, pred.to(image)) for pred in (found.images, *found.history.values())]

    last, *before = _fill(picture, method, complete, hole, mask, eyes, blend)
    return last, dict(zip(kept, before, strict=True))


def complete_file(path, out, method, every=None, steps=None, **options):
    """Complete the photograph of a file into the file `out`; with `every`, a search's steps into a folder beside it.

    The steps of out/NAME.png are out/NAME/0000.png, 0050.png, ... options: as for `complete_photo`; hole="centre" is the
    middle of a picture that is nothing but an aligned face. Raises ValueError, which names the file.
    """
    check_suffix(out)
    try:
        if options["hole"] in CENTRE:
            options |= _middle_of_face(path)
        if every is None:
            last, before = complete_photo(path, method, **options), {}
        else:
            last, before = recovery(path, method, every, steps, **options)
    except ValueError as error:
        raise named(path, error) from error
    pictures = {out: last, **{out.with_suffix("") / f"{step:04}.png": picture for step, picture in before.items()}}
    for place, picture in pictures.items():
        save(picture, place)


def complete_folder(folder, out, method, every=None, steps=None, mask=None, **options):
    """`complete_file` for all photographs of a folder and its subfolders -> (how many were done, why others were not).

    mask: one for all, or a folder with a mask of each photograph's name.
    """
    def one(name):
        drawn = _mask_of(mask, Path(name)) if mask is not None and mask.is_dir() else mask
        complete_file(folder / name, out / Path(name).with_suffix(".png"), method, every, steps, mask=drawn, **options)

    return each(folder, out, one, "completing")


def _mask_of(folder, name):
    """The mask of a photograph in a folder of masks: the same name, whatever its ending."""
    found = sorted(folder.joinpath(name.parent).glob(f"{glob.escape(name.stem)}.*"))
    if not found:
        raise FileNotFoundError(f"no mask of this name in {folder}")
    return found[0]


def check_search(method, every, steps=None):
    """Refuse, with ValueError, a method that has no intermediate results, and numbers of steps that are none."""
    if not hasattr(method, "search"):
        raise ValueError(f"{type(method).__name__} completes in one pass and has no intermediate results; leave out every, or "
                         "use a method that searches (dcgan)")
    for name, value in (("every", every), ("steps", steps)):
        if value is not None and value < 1:
            raise ValueError(f"{name} must be a number of steps, 1 or more, got {value}")


def _middle_of_face(picture):
    """A path to a picture that is an aligned face -> {"hole": the half in its middle, "eyes": where the framing has them}."""
    width, height = decode(picture).size
    if width != height:
        raise ValueError(f"a centre hole is for aligned faces, which are square, got {width}x{height} pixels; align them first "
                         "(facelib align), or give the hole as x,y,width,height")
    side = round(width / 2)
    return {"hole": ((width - side) // 2, (width - side) // 2, side, side),
            "eyes": tuple(width * place - 0.5 for eye in TEMPLATES["celeba"]["eyes"] for place in eye)}


def _fill(picture, method, complete, hole, mask, eyes, blend):
    """`complete_photo` with several completions: complete(image, mask) gives a list of them -> list of PIL."""
    photo = opened(picture)
    where = _hole(photo, hole, mask)                                                      # bool (H, W)
    size = getattr(getattr(method, "cfg", None), "size", 64)
    covered = Image.fromarray(_paint_over(np.array(photo), where))
    merge = blending.poisson if blend else lambda image, completed, mask: masks.composite(image, mask, completed)
    face = align(covered, size, eyes)
    image, holes = face.tensor(), face.hole(where)
    # Then the seam is blended at the photograph's resolution, or as near to it as a sparse solve allows.
    zoom = np.sqrt(np.abs(np.linalg.det(face.matrix[:, :2])))                             # crop pixels per pixel
    side = int(np.clip(np.ceil(size / zoom), size, max(size, FINEST)))
    fine = align(covered, side, face.eyes)

    def back(completed):
        # Blended here too, so that scaling up does not smear the step at the seam over pixels inside the hole.
        completed = merge(image, completed.float().cpu(), holes)
        completed = F.interpolate(completed, (side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
        completed = merge(fine.tensor(), completed, fine.hole(where))
        result = np.asarray(fine.paste_back(completed, where))
        return Image.fromarray(np.where(where[..., None], result, np.asarray(photo)))

    return [back(one) for one in complete(image.to(device(method)), holes.to(device(method)))]


def _hole(photo, hole, mask):
    """The hole over the photograph, bool (H, W), from a box or from a picture."""
    if (hole is None) == (mask is None):
        raise ValueError("say where the hole is: either hole=(x, y, width, height) or mask=, a picture; not both")
    width, height = photo.size
    if hole is not None:
        box = np.asarray(hole, np.float64).ravel()
        if len(box) == 4 and np.isfinite(box).all():
            x, y, w, h = (round(v) for v in box.tolist())
        else:
            x, y, w, h = 0, 0, 0, 0
        if w < 1 or h < 1 or x < 0 or y < 0 or x + w > width or y + h > height:
            raise ValueError(f"hole must be x, y, width, height in pixels, inside the photograph of {width}x{height}, got "
                             f"{tuple(box.tolist())}")
        where = np.zeros((height, width), bool)
        where[y:y + h, x:x + w] = True
        return where
    if isinstance(mask, (str, os.PathLike)):
        mask = read_mask(mask)
    shape = (mask.height, mask.width) if isinstance(mask, Image.Image) else np.shape(mask)[:2]
    if shape != (height, width):
        raise ValueError(f"the mask must have the photograph's size, {width}x{height} pixels, got "
                         f"{'x'.join(map(str, shape[::-1]))}; draw it over the photograph itself, without scaling it")
    if not isinstance(mask, Image.Image) and np.asarray(mask).dtype == bool:
        mask = np.asarray(mask) * np.uint8(255)
    return masks.from_picture(mask, (height, width))[0, 0].numpy() > 0.5                  # refuses a mask without a hole


def _paint_over(pixels, where):
    """The photograph (H, W, 3) with every hole pixel painted like the nearest known one."""
    if where.all():
        raise ValueError("the hole covers the whole photograph: nothing is left to complete it from; make it smaller")
    rows, columns = (np.flatnonzero(where.any(axis)) for axis in (1, 0))
    box = slice(max(rows[0] - 1, 0), rows[-1] + 2), slice(max(columns[0] - 1, 0), columns[-1] + 2)
    near = need("scipy.ndimage").distance_transform_edt(where[box], return_distances=False, return_indices=True)
    pixels[box] = pixels[box][tuple(near)]
    return pixels
