"""What completing, enlarging and editing share: photographs read and written, their faces found, a whole folder of them."""

import os

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from facelib.data import pack
from facelib.data.align import Aligned, NoFaceError, align, places, similarity
from facelib.data.images import SUFFIXES, cut, decode, pair

SIZE = 64       # pixels: the size of a face for a method that has no configuration to say one


def opened(picture):
    """A path, PIL image or uint8 array (H, W, 3) -> PIL RGB."""
    if isinstance(picture, (str, os.PathLike)):
        return decode(picture)
    if isinstance(picture, Image.Image):
        return picture.convert("RGB")
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise ValueError(f"a photograph as an array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
    return Image.fromarray(picture)


def size_of(method):
    """The size at which a method works, (height, width): its `cfg.size`, or SIZE of a thing without a configuration."""
    return pair(method.cfg.size if hasattr(method, "cfg") else SIZE)


def face_of(photo, size, eyes=None, aligned=False):
    """The face of a photograph (PIL RGB) at `size`, an int or (height, width) -> Aligned; aligned: all of it is the face."""
    if aligned:
        check_whole(photo, eyes)
        corners = np.array([(0, 0), (1, 1)])
        matrix = similarity(corners * photo.width - 0.5, places(corners, size))
        return Aligned(Image.fromarray(cut(photo, size).transpose(1, 2, 0)), photo, matrix, "all of it")
    try:
        return align(photo, size, eyes)
    except NoFaceError as error:
        if photo.width != photo.height:
            raise
        raise NoFaceError(f"{error}. If this picture of {photo.width}x{photo.height} pixels is nothing but an aligned face, "
                          "take the whole of it: aligned=True, or on the command line --aligned") from error


def check_whole(photo, eyes):
    """Refuse, with ValueError, what cannot be taken as a face as a whole."""
    square = f"{photo.width}x{photo.height} pixels"
    if eyes is not None:
        raise ValueError(f"the eyes say where the face is in a photograph; {square} are taken as the face as a whole: leave "
                         "out the eyes")
    if photo.width != photo.height:
        raise ValueError(f"a picture that is nothing but an aligned face is square, got {square}; align it first (facelib "
                         "align), or let the face be found")


def device(method):
    """Where a method computes."""
    return next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"


def named(path, error):
    """The error about a file, as one that names it."""
    return error if str(path) in str(error) else ValueError(f"{path}: {error}")


def each(folder, out, do, doing):
    """do(name) for all pictures of a folder and its subfolders -> (how many were done, why others were not)."""
    names = pack.scan(folder, deep=True).names
    if not names:
        raise pack.none_found(folder)
    if out.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the results must go to another folder than {folder}, got {out}")
    skipped = []
    for name in tqdm(names, desc=doing, unit="photo"):
        try:
            do(name)
        except (ValueError, OSError) as error:
            skipped.append(f"{name}: {str(error).removeprefix(f'{folder / name}: ')}")
    return len(names) - len(skipped), skipped


def check_suffix(out):
    """Refuse, with ValueError, a file to write whose kind Pillow does not know."""
    if out.suffix.lower() not in SUFFIXES:
        raise ValueError(f"--out must end in one of {', '.join(SUFFIXES)}, got {out}")


def save(picture, place):
    """Write a picture, and make the folder for it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    picture.save(place, **({"quality": 95} if place.suffix.lower() in (".jpg", ".jpeg", ".webp") else {}))
