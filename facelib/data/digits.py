"""Handwritten digits, for the toys: MNIST (LeCun et al. 1998), or the 8x8 digits that come with scikit-learn."""

import os
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from facelib.data.faces import FaceData, Split
from facelib.data.images import check_box, pair
from facelib.extras import need


def load(root=None, size=64, box=None, download=False):
    """Digits as FaceData: grey in all three channels, `.identities` is the digit, 0 to 9, `.attributes` is None.

    MNIST (55,000 / 5,000 / 10,000) where torchvision finds it, in root or in a folder of FACELIB_DATA, or where
    download=True fetches it (11 MB) into root. Elsewhere scikit-learn's 1,797 digits of 8x8 (1,397 / 200 / 200),
    enlarged, which need no network; `.report` says which and why. size: an int or (height, width), pixels; the default is
    that of all data sets, not a digit's own size (MNIST has 28x28). Raises ImportError without scikit-learn.
    """
    size = pair(size)
    box = None if box is None else check_box(box)
    folders = [Path(p).expanduser() for p in os.environ.get("FACELIB_DATA", "").split(os.pathsep) if p]
    if root is not None:
        root = Path(root).expanduser()
        folders = [root] + ([] if root.is_absolute() else [folder / root for folder in folders])
    elif download:
        raise ValueError("download=True needs root=, the folder to download MNIST (11 MB) into")
    report = 'the 8x8 digits of scikit-learn; load_faces("digits", root=..., download=True) fetches MNIST (11 MB)'
    for folder in folders:
        try:
            found = _mnist(folder, False)
        except RuntimeError:  # torchvision's word for: not there
            continue
        return _faces("mnist", *found, size, box, "")
    if download:
        try:
            return _faces("mnist", *_mnist(root, True), size, box, "")
        except Exception as error:  # network trouble comes as many types
            report = f"the 8x8 digits of scikit-learn, because MNIST could not be fetched ({error})"
    return _faces("digits", *_bundled(), size, box, report)


def _mnist(folder, download):
    from torchvision.datasets import MNIST

    train = MNIST(folder, train=True, download=download)
    test = MNIST(folder, train=False, download=download)
    return torch.cat([train.data, test.data]), torch.cat([train.targets, test.targets]).numpy(), (55000, 60000)


def _bundled():
    digits = need("sklearn.datasets").load_digits()
    order = np.random.default_rng(0).permutation(len(digits.images))
    images = torch.from_numpy(digits.images[order] * (255 / 16)).round().to(torch.uint8)
    return images, digits.target[order], (1397, 1597)


def _faces(name, grey, labels, ends, size, box, report):
    """grey: uint8 (N, h, w), light on dark -> FaceData; the three channels share memory."""
    height, width = grey.shape[1:]
    if box is not None:
        left, top, right, bottom = box
        grey = grey[:, round(top * height):max(round(bottom * height), round(top * height) + 1),
                    round(left * width):max(round(right * width), round(left * width) + 1)]
    scaled = torch.empty((len(grey), 1, *size), dtype=torch.uint8)
    for start in range(0, len(grey), 1000):  # in parts: all of MNIST in float at 64 pixels would take 1.1 GB
        part = grey[start:start + 1000, None].float()
        part = F.interpolate(part, size, mode="bilinear", antialias=True, align_corners=False)
        scaled[start:start + 1000] = part.round().clamp(0, 255).to(torch.uint8)
    images = scaled.expand(-1, 3, -1, -1).numpy()
    labels = labels.astype(np.int64)
    parts = (slice(0, ends[0]), slice(ends[0], ends[1]), slice(ends[1], None))
    train, val, test = (Split(images[part], identities=labels[part], mirror=False) for part in parts)
    return FaceData(name, train, val, test, report)
