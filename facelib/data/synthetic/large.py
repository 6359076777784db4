"""The pack's people at more than its 64 pixels: each face is rendered when it is first asked for, and kept in the cache."""

import hashlib
import json
import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..faces import to_uint8
from ..images import cut, pair
from ..pack import cache_folder, writing
from .portrait import render

CODE = ("accessories", "anatomy", "camera", "light", "paint", "portrait", "shapes")     # the modules that draw
LARGEST = 1024            # pixels: rendering one larger face would take gigabytes of memory
TOGETHER = 16 * 128**2    # pixels of all faces that are rendered at once


def box_of(size, box=None):
    """The part of a face that `load_faces` shows, as fractions (left, top, right, bottom).

    size, box: as for `load_faces`. Without a box it is the largest centred part that has the shape of `size`.
    """
    if box is not None:
        return box
    height, width = pair(size)
    across, down = min(1, width / height), min(1, height / width)
    return (1 - across) / 2, (1 - down) / 2, (1 + across) / 2, (1 + down) / 2


def side_of(size, box=None):
    """How many pixels a whole face needs on each side, so that the part shown has `size` pixels; an even number."""
    (height, width), (left, top, right, bottom) = pair(size), box_of(size, box)
    side = math.ceil(max(height / (bottom - top), width / (right - left)) - 1e-6)
    return side + side % 2


class Rendered:
    """Faces that are rendered when they are first asked for. It is used like a uint8 array (N, 3, H, W).

    `images[3]`, `images[:8]` and `images[[5, 1]]` render only these faces; `np.asarray(images)` renders all of them.
    Every face that was rendered lies in `folder` as a file of its own, so that it is rendered only once, also when several
    programs share the folder or one of them is stopped.
    """

    dtype, ndim = np.dtype(np.uint8), 4

    def __init__(self, factors, names, size, box, folder):
        self.factors, self.names, self.box, self.folder = factors, names, box, folder
        self.shape = (len(names), 3, *pair(size))
        self.nbytes = math.prod(self.shape)

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        if isinstance(index, tuple):            # not only which faces, but also which channels, rows or columns of them
            return np.asarray(self)[index]
        places = np.arange(len(self))[index]
        asked, order = np.unique(places, return_inverse=True)
        return self._faces(asked)[order.reshape(places.shape)]

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self[:], dtype)

    def mean(self, *args, **options):
        """The mean of all faces, with the arguments of a numpy array's `mean`."""
        return np.asarray(self).mean(*args, **options)

    def _faces(self, places):
        """The faces at these places, from the cache or from the renderer: uint8 (n, 3, H, W)."""
        from tqdm import tqdm

        faces = np.empty((len(places), *self.shape[1:]), np.uint8)
        missing = [i for i, place in enumerate(places) if not self._read(place, faces[i])]
        side = side_of(self.shape[2:], self.box)
        batch = max(1, TOGETHER // side**2)
        # A page that needs a few faces is done before the bar appears.
        with tqdm(total=len(missing), desc=f"rendering faces of {side}x{side}", unit="face", leave=False, delay=10) as bar:
            for start in range(0, len(missing), batch):
                part = missing[start:start + batch]
                for i, picture in zip(part, self._render(places[part], side), strict=True):
                    faces[i] = cut(Image.fromarray(picture), self.shape[2:], self.box)
                    self._write(places[i], faces[i])
                bar.update(len(part))
        return faces

    def _render(self, places, side):
        device = "cuda" if torch.cuda.is_available() else "cpu"
        people = {name: torch.from_numpy(value[places]) for name, value in self.factors.items()}
        return to_uint8(render(people, side, device)).permute(0, 2, 3, 1).cpu().numpy()

    def _file(self, place):
        return self.folder / f"{self.names[place].replace('/', '-')}.npy"

    def _read(self, place, out):
        """Copy a face from the cache to `out`; returns False where it is not there, or is not whole."""
        try:
            out[:] = np.load(self._file(place))
        except (OSError, ValueError, EOFError):
            return False
        return True

    def _write(self, place, face):
        """Keep a face, whole or not at all: it is written under another name first."""
        temporary = self.folder / f"{place}.{os.getpid()}.tmp"
        with writing():
            self.folder.mkdir(parents=True, exist_ok=True)
            with open(temporary, "wb") as file:
                np.save(file, face)
            os.replace(temporary, self._file(place))


def rendered(faces, size, box=None):
    """The pack at a larger size: the same splits, people and labels as `faces`, with images that are `Rendered`.

    faces: FaceData as `load` gives it. size, box: as for `load_faces`. The mean pixel is that of the pack, so that asking
    for it renders nothing. Raises ValueError for faces of more than 1,024 pixels.
    """
    side = side_of(size, box)
    if side > LARGEST:
        of_box = "" if box is None else f" for a whole face, of which box={tuple(box)} is a part"
        raise ValueError(f"rendered faces have at most {LARGEST} pixels a side, size={size} needs {side}{of_box}; "
                         "choose a smaller size=")
    height, width = pair(size)
    folder = cache_folder() / f"{faces.name}-{height}x{width}-{_fingerprint(faces, box)}"

    def drawn(split):
        return replace(split, images=Rendered(split.factors, split.names, size, box, folder))

    splits = {name: drawn(getattr(faces, name)) for name in ("train", "val", "test")}
    return replace(faces, **splits, _mean=[_mean_pixel(faces, size, box)])


def _mean_pixel(faces, size, box):
    """The mean pixel of the part that is shown, measured in the pack's own pixels: float (3,) in [-1, 1]."""
    (height, width), (left, top, right, bottom) = faces.size, box_of(size, box)
    rows = slice(math.floor(top * height), math.ceil(bottom * height))
    columns = slice(math.floor(left * width), math.ceil(right * width))
    shown = replace(faces.train, images=faces.train.images[:, :, rows, columns])
    return replace(faces, train=shown, _mean=[]).mean


def _fingerprint(faces, box):
    """It changes with the people, with the code that draws them, and with the box."""
    digest = hashlib.sha256(json.dumps([box and list(box)]).encode())
    for split in (faces.train, faces.val, faces.test):
        for name, value in sorted(split.factors.items()):
            digest.update(name.encode() + np.ascontiguousarray(value, np.float32).tobytes())
    for name in CODE:
        digest.update((Path(__file__).parent / f"{name}.py").read_bytes())
    return digest.hexdigest()[:16]
