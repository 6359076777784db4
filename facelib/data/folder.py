"""Any folder of pictures, with its subfolders."""

import hashlib
import os
from pathlib import Path

from facelib.data import pack

NAMED = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SMALL = 20  # a folder of fewer pictures goes wholly into train


def load(root, size=64, box=None, verify=False):
    """The pictures of a folder and its subfolders, without labels, packed on the first call.

    Subfolders called train, val and test are the splits where they exist. Elsewhere each picture's name decides,
    9 in 10 for train and 1 in 20 for val and for test, so that adding pictures moves no other; a folder of fewer than
    20 pictures is all train. Without `box` the largest centred crop is taken: for photographs that are not yet aligned,
    `facelib align` (`facelib.data.align.align_folder`) comes first.

    Raises ValueError without root, FileNotFoundError when there is no such folder or no picture in it.
    """
    if root is None:
        raise ValueError('load_faces("folder") needs root=, the folder that holds the pictures')
    root = Path(root).expanduser()
    places = [root, *(Path(p).expanduser() / root for p in os.environ.get("FACELIB_DATA", "").split(os.pathsep) if p)]
    folder = next((place for place in places if place.is_dir()), None)
    if folder is None:
        raise FileNotFoundError(f"expected a folder of pictures, got root={str(root)!r}, which is no folder; "
                                f"looked at {', '.join(str(p) for p in places)}")
    folder = folder.resolve()
    pictures = pack.scan(folder, deep=True)
    if not pictures.lines:
        raise pack.none_found(folder)
    return pack.load(folder.name or "folder", folder, pictures, size, box, lambda: _listing(pictures.names),
                     verify=verify)


def _listing(names):
    chosen = {split: [] for split in pack.SPLITS}
    tops = {name.split("/")[0].lower() for name in names if "/" in name}
    for name in names:
        if "train" in tops:
            split = NAMED.get(name.split("/")[0].lower()) if "/" in name else "train"
            if split:
                chosen[split].append(name)
        elif len(names) < SMALL:
            chosen["train"].append(name)
        else:
            place = hashlib.sha256(name.encode(errors="replace")).digest()[0] / 256
            chosen["train" if place < 0.9 else "val" if place < 0.95 else "test"].append(name)
    left = len(names) - sum(map(len, chosen.values()))
    notes = [f"{left:,} pictures outside the folders train, val and test were left out"] if left else []
    return pack.Listing(chosen, notes=notes)
