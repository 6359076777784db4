"""A hole in a photograph, filled at the photograph's own resolution: align, complete, blend, write back."""

import os

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facelib import blending, masks
from facelib.data.align import align
from facelib.data.images import decode, read_mask
from facelib.extras import need

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
    photo = decode(picture) if isinstance(picture, (str, os.PathLike)) else _rgb(picture)
    where = _hole(photo, hole, mask)                                                      # bool (H, W)
    size = getattr(getattr(method, "cfg", None), "size", 64)
    covered = Image.fromarray(_paint_over(np.array(photo), where))
    merge = blending.poisson if blend else lambda image, completed, mask: masks.composite(image, mask, completed)
    face = align(covered, size, eyes)
    image, holes = face.tensor(), face.hole(where)
    pred = method.complete(image.to(_device(method)), holes.to(_device(method))).float().cpu()
    # Blended here too, so that scaling up does not smear the step at the seam over pixels inside the hole.
    completed = merge(image, pred, holes)

    # Then the seam is blended at the photograph's resolution, or as near to it as a sparse solve allows.
    zoom = np.sqrt(np.abs(np.linalg.det(face.matrix[:, :2])))                             # crop pixels per pixel
    side = int(np.clip(np.ceil(size / zoom), size, max(size, FINEST)))
    fine = align(covered, side, face.eyes)
    completed = F.interpolate(completed, (side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
    completed = merge(fine.tensor(), completed, fine.hole(where))
    result = np.asarray(fine.paste_back(completed, where))
    return Image.fromarray(np.where(where[..., None], result, np.asarray(photo)))


def _rgb(picture):
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a photograph as an array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    return Image.fromarray(picture)


def _device(method):
    return next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"


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
