"""A hole in the face of a photograph, filled at the photograph's own resolution: align, complete, write back, blend, match."""

import glob
import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image

from facelib import blending, classical, masks
from facelib.data.align import TEMPLATES, align, places
from facelib.data.images import decode, read_mask
from facelib.photo import matching
from facelib.photo.files import check_suffix, device, each, named, opened, save, size_of

CENTRE = ("centre", "center")
MARGIN = 32     # pixels around the hole, at least, of the part of the photograph that is worked on
PAINTED = 256   # pixels: the longer side of the copy in which the hole is painted over before a face is looked for
QUILTED = 128   # and of the copy in which what lies beyond the face's crop is filled


def complete_photo(picture, method, hole=None, mask=None, eyes=None, blend=True, grain=True):
    """Fill a hole in the face of a photograph -> PIL RGB of the photograph's size; outside the hole no pixel changes.

    picture: a path, PIL image or uint8 array (H, W, 3). method: anything with `complete(image, mask)`; its `cfg.size`, an
    int or (height, width) (`files.SIZE` without one), is the resolution at which the face is completed, and so the finest
    detail to expect. The hole is either `hole`, a box (x, y, width, height) in pixels of the photograph, or `mask`, a
    picture of the photograph's size (path, PIL image, or array (H, W), bool or 0..255), light where the hole is. Of
    several faces, the one nearest to the hole is completed. eyes: (x, y, x, y) in pixels, where no face is found by
    itself, or the wrong one. blend: hide the seam by Poisson blending. grain: give what is filled in the grain of the
    photograph around it; the same call gives the same grain.

    The method fills what lies in the aligned face's crop. The rest of a larger hole is filled without learning, with
    patches of what is around it. In a grey or toned photograph, the hole gets the tone of the known pixels.

    What the hole hides is painted over before anything looks at the photograph, so it cannot influence the outcome.
    Raises NoFaceError when no face is found, DecodeError for a bad file, ValueError for a hole that is empty, lies
    outside the photograph or altogether outside the aligned face, and for a mask of another size.
    """
    complete = lambda image, holes: [method.complete(image, holes)]
    return _fill(picture, method, complete, hole, mask, eyes, blend, grain)[0]


def recovery(picture, method, every, steps=None, hole=None, mask=None, eyes=None, blend=True, grain=True):
    """The steps in which a search fills a hole: (the photograph completed, {step: the photograph as it was then}).

    method: one that searches, with `search(image, mask, steps=, every=)` and its `.history` (DCGAN). every: how many steps
    lie between two pictures; the first is of step 0. steps: how many, by default the method's. The other arguments, and
    what is raised, as for `complete_photo`; ValueError also for a method that has no intermediate results.
    """
    check_search(method, every, steps)
    kept = []

    def complete(image, holes):
        found = method.search(image, holes, steps=steps, every=every)
        kept.extend(found.history)
        return [masks.composite(image, holes, pred.to(image)) for pred in (found.images, *found.history.values())]

    last, *before = _fill(picture, method, complete, hole, mask, eyes, blend, grain)
    return last, dict(zip(kept, before, strict=True))


def complete_file(path, out, method, every=None, steps=None, **options):
    """Complete the photograph of a file into the file `out`; with `every`, a search's steps into a folder beside it.

    The steps of out/NAME.png are out/NAME/0000.png, 0050.png, ... options: as for `complete_photo`; hole="centre" is the
    middle of a picture that is nothing but an aligned face. Raises ValueError, which names the file.
    """
    check_suffix(out)
    try:
        if options["hole"] in CENTRE:
            options |= _middle_of_face(path, size_of(method))
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


def _middle_of_face(picture, size):
    """A path to an aligned face -> {"hole": the half of its width and height in its middle, "eyes": where its framing has them}.

    size: (height, width) at which the face is completed; the picture is a square, or has the shape of `size`.
    """
    width, height = decode(picture).size
    if width != height and abs(width * size[0] - height * size[1]) > max(size):            # half a pixel of rounding
        shape = "square" if size[0] == size[1] else f"square or have the shape of {size[1]}x{size[0]} pixels"
        raise ValueError(f"a centre hole is for aligned faces, which are {shape}, got {width}x{height} pixels; align them first "
                         "(facelib align), or give the hole as x,y,width,height")
    w, h = round(width / 2), round(height / 2)
    return {"hole": ((width - w) // 2, (height - h) // 2, w, h),
            "eyes": tuple(places(TEMPLATES["celeba"]["eyes"], (height, width)).ravel().tolist())}


def _fill(picture, method, complete, hole, mask, eyes, blend, grain):
    """`complete_photo` with several completions: complete(image, mask) gives a list of them -> list of PIL."""
    photo = opened(picture)
    where = _hole(photo, hole, mask)                                                      # bool (H, W)
    covered = _paint_over(photo, where)
    rows, columns = np.nonzero(where)
    face = align(covered, size_of(method), eyes, near=(columns.mean(), rows.mean()))
    image, holes = face.tensor(), face.hole(where, partly=True)
    merge = blending.poisson if blend else lambda image, completed, mask: masks.composite(image, mask, completed)
    tone = matching.tone(_known(covered, where, image, holes))

    # From here on, the part of the photograph around the hole is enough: (1, 3, h, w) and (1, 1, h, w).
    box = _around(where)
    known = _tensor(np.asarray(covered)[box] / 127.5 - 1)
    lost, shown = _mask(where[box]), _mask(face.inside(box))
    grey = bool(((known == known[:, :1]) | (lost > 0)).all())
    if (lost > shown).any():
        quilt = _without_learning(known, lost, classical.patchmatch, QUILTED)
        known = masks.composite(known, lost * (1 - shown), merge(known, quilt, lost))

    def back(completed):
        completed = completed.float().cpu()
        if tone:
            completed = _tensor(tone(_pixels(completed)).clip(-1, 1))
        # Blended at the method's size first, so that scaling up does not smear the step at the seam over the hole's pixels.
        completed = merge(image, completed, holes)
        enlarged = _tensor(face.carried(_pixels(completed), box).clip(-1, 1))
        filled = masks.composite(known, lost * shown, enlarged)
        if grain:
            filled = _tensor(matching.grain(_pixels(filled), where[box], 1 / face.scale))
        filled = _pixels(merge(filled, filled, lost * shown))                             # the grain is blended, too
        if grey:                                                                          # not a rounding error of colour
            filled = matching.brightness(filled)[..., None].repeat(3, 2)
        result = np.array(photo)
        result[where] = np.round((filled[where[box]] + 1) * 127.5)
        return Image.fromarray(result)

    return [back(one) for one in complete(image.to(device(method)), holes.to(device(method)))]


def _pixels(image):
    """(1, 3, H, W) -> numpy (H, W, 3)."""
    return image[0].permute(1, 2, 0).numpy()


def _tensor(pixels):
    """Numpy (H, W, 3) -> float (1, 3, H, W)."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None].float()


def _mask(where):
    """Bool (H, W) -> float (1, 1, H, W)."""
    return torch.from_numpy(where.astype(np.float32))[None, None]


def _around(where):
    """The part of the photograph around its hole, slices of rows and columns; the margin is half the hole's longer side."""
    firsts, lasts = zip(*(np.flatnonzero(where.any(axis))[[0, -1]].tolist() for axis in (1, 0)), strict=True)
    longer = max(last - first for first, last in zip(firsts, lasts, strict=True))
    margin = max(MARGIN, longer // 2)
    return tuple(slice(max(first - margin, 0), min(last + 1 + margin, side))
                 for first, last, side in zip(firsts, lasts, where.shape, strict=True))


def _known(covered, where, image, holes):
    """Known pixels (n, 3) that tell whether a photograph has colours: those of the crop, if at least half of it is known.

    Dark hair on a grey wall is no grey photograph: where most of the face is hole, the whole photograph is asked.
    """
    if holes.mean() > 0.5:
        image, holes = _smaller(_tensor(np.asarray(covered) / 127.5 - 1), _mask(where), PAINTED)
    return _pixels(image)[holes[0, 0].numpy() == 0].astype(np.float64)


def _without_learning(picture, hole, method, longest):
    """The hole filled by a `method` of `classical`, in a copy no longer than `longest`: (1, 3, H, W), as `picture`."""
    filled = method(*_smaller(picture, hole, longest))
    filled = F.interpolate(filled, hole.shape[-2:], mode="bicubic", align_corners=False).clamp(-1, 1)
    return masks.composite(picture, hole, filled)


def _smaller(image, mask, longest):
    """A copy of a picture and its hole: means of known pixels (1, 3, h, w), and hole where there are none (1, 1, h, w)."""
    shrink = min(1, longest / max(mask.shape[-2:]))
    size = [max(classical.PATCH, round(side * shrink)) for side in mask.shape[-2:]]
    share = F.adaptive_avg_pool2d(1 - mask, size)
    return F.adaptive_avg_pool2d(image * (1 - mask), size) / share.clamp_min(1e-6), (share == 0).float()


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


def _paint_over(photo, where):
    """The photograph with something smooth where the hole is, so that a face with a hole is still seen as one -> PIL."""
    if where.all():
        raise ValueError("the hole covers the whole photograph: nothing is left to complete it from; make it smaller")
    pixels, box = np.array(photo), _around(where)
    painted = _without_learning(_tensor(pixels[box] / 127.5 - 1), _mask(where[box]), classical.telea, PAINTED)
    pixels[box] = np.round((_pixels(painted) + 1) * 127.5)
    return Image.fromarray(pixels)
