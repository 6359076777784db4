"""CelebA (Liu et al. 2015) from its own folder layout: whole or partial, at any resolution.

    img_align_celeba/000001.jpg ...
    list_eval_partition.txt    name, then 0 train, 1 val, 2 test
    list_attr_celeba.txt       the count, the 40 names, then name and 40 times -1 or 1
    identity_CelebA.txt        name, then the person's number

The .csv files of the copy on Kaggle are read too, and its doubled picture folder.
"""

import os
from pathlib import Path

import numpy as np

from facelib.data import pack
from facelib.data.faces import ATTRIBUTES
from facelib.data.images import DecodeError, decode

PICTURES = "img_align_celeba"
# The framing of our faces in an aligned CelebA picture of 178x218: eyes at 0.38 and 0.615 across, 0.43 down. Fitted so
# that the mean face of aligned pictures coincides with that of the training faces (correlation 0.994).
FRAMING = (2.7 / 178, 36.7 / 218, 176.2 / 178, 209.6 / 218)
OFFICIAL = ((162770, "train"), (182637, "val"), (202599, "test"))  # the last picture of each official split
BY_HAND = """\
To get the files by hand, open https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html (for non-commercial research and
education), download img_align_celeba.zip, list_attr_celeba.txt, identity_CelebA.txt and list_eval_partition.txt, put
them into one folder, unzip the pictures there, so that {root} holds
    img_align_celeba/000001.jpg ... , list_eval_partition.txt, list_attr_celeba.txt, identity_CelebA.txt
and pass root= that folder, or name it in the environment variable FACELIB_DATA."""


def load(root=None, size=64, box=None, download=False, verify=False):
    """CelebA's faces with 40 attributes, identities and the official splits, packed on the first call.

    root: the folder of the layout above, one that holds it, or the name of either inside a folder of FACELIB_DATA.
    box: the crop as fractions; without it, pictures of the aligned shape (178x218 and its multiples) are cut to
    `FRAMING`, and others to their largest centred crop. download: fetch 1.4 GB through torchvision into root first.

    What may be missing: pictures (the splits hold those that are there), the partition file (pictures go by the
    official numbers), the attribute file or the identities (they are None; single rows missing become -1). `.report`
    says what was. Raises FileNotFoundError that says how to get the files, ValueError when several folders fit or a
    label file is damaged.
    """
    here = _find(root, download)
    pictures = here / PICTURES
    if (pictures / PICTURES).is_dir():  # as Kaggle's archive unpacks
        pictures = pictures / PICTURES
    found = pack.scan(pictures)
    if not found.lines:
        raise FileNotFoundError(f"expected pictures in {pictures}, found none.\n" + BY_HAND.format(root=here))
    labels = {key: path for key, stem in (("partition", "list_eval_partition"), ("attributes", "list_attr_celeba"),
                                          ("identities", "identity_CelebA"))
              for path in (here / f"{stem}.txt", here / f"{stem}.csv") if path.is_file()}
    if box is None:
        box = _box(pictures, pack.Scan(found.lines[:20], 0, 0).names)
    return pack.load(here.name or "celeba", pictures, found, size, box, lambda: _listing(found.names, labels),
                     list(labels.values()), verify)


def _box(pictures, names):
    """FRAMING if the pictures have the shape of CelebA's aligned ones, else None."""
    for name in names:
        try:
            width, height = decode(pictures / name).size
        except (DecodeError, OSError):
            continue
        return FRAMING if abs(width / height - 178 / 218) < 0.01 else None
    return None


def _search():
    return [Path(p).expanduser() for p in os.environ.get("FACELIB_DATA", "").split(os.pathsep) if p]


def _inside(folder):
    """The folders of CelebA's layout at `folder`: itself, or else its direct subfolders."""
    if (folder / PICTURES).is_dir():
        return [folder]
    return sorted(sub for sub in folder.iterdir() if (sub / PICTURES).is_dir()) if folder.is_dir() else []


def _find(root, download):
    if root is None:
        looked = _search()
    else:
        root = Path(root).expanduser()
        looked = [root] + ([] if root.is_absolute() else [folder / root for folder in _search()])
    found = list({folder.resolve(): None for place in looked for folder in _inside(place)})
    if root is not None and len(found) > 1 and _inside(root):
        found = [folder.resolve() for folder in _inside(root)]  # a path that exists goes before a name to look up
    if not found and download:
        if root is None:
            raise ValueError("download=True needs root=, the folder to download CelebA (1.4 GB) into")
        return _download(root)
    if len(found) > 1:
        names = ", ".join(f'root="{folder}"' for folder in found)
        raise ValueError(f"{len(found)} folders hold CelebA pictures, say which one is meant: {names}")
    if not found:
        if root is None and not looked:
            where = "in any folder: root= is not given and the environment variable FACELIB_DATA is not set"
        else:
            where = "in " + ", ".join(str(p) for p in looked)
        for place in looked:
            if (place / f"{PICTURES}.zip").is_file():
                raise FileNotFoundError(f"{place / PICTURES}.zip is there but not unpacked; unzip it in its folder")
        raise FileNotFoundError(f"no {PICTURES} folder {where}.\n"
                                'load_faces("celeba", root=..., download=True) fetches it (1.4 GB) where its host '
                                "allows.\n" + BY_HAND.format(root=root or "the folder"))
    return found[0]


def _download(root):
    from torchvision.datasets import CelebA

    try:
        CelebA(os.fspath(root), download=True, target_type=[])
    except Exception as error:  # gdown, zip, network and quota problems come as many types
        raise RuntimeError(f"CelebA's host did not give the files ({type(error).__name__}: {error}), which happens "
                           "often: it limits downloads per day.\n" + BY_HAND.format(root=Path(root) / "celeba")
                           ) from error
    return Path(root).resolve() / "celeba"


def _rows(path):
    """The rows of a label file, .txt or .csv, as (line number, fields)."""
    with open(path, encoding="utf-8", errors="replace") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.replace(",", " ").split()
            if fields:
                yield number, fields


def _numbers(path, allowed=None):
    """name -> integer, from a file of two columns."""
    table = {}
    for number, fields in _rows(path):
        if fields[0] == "image_id":
            continue
        try:
            name, value = fields
            table[name] = int(value)
        except ValueError:
            raise _damaged(path, number, "a picture's name and a number", fields) from None
        if allowed is not None and table[name] not in allowed:
            raise _damaged(path, number, f"one of {allowed} after the name", fields)
    return table


def _damaged(path, number, expected, fields):
    got = " ".join(fields)
    return ValueError(f"{path}, line {number}: expected {expected}, got {got[:80]!r}; download the file again")


def _attributes(path):
    """name -> row of the table, and the int8 table (N, 40): 1 yes, 0 no, -1 unknown."""
    columns, index, rows = None, {}, []
    for number, fields in _rows(path):
        if columns is None:
            if len(fields) == 1 and fields[0].isdigit():
                continue
            fields = fields[1:] if fields[0] == "image_id" else fields
            strange = [f for f in fields if f not in ATTRIBUTES]
            if strange:
                raise _damaged(path, number, "CelebA's attribute names", strange)
            columns = [ATTRIBUTES.index(f) for f in fields]
            continue
        if len(fields) != len(columns) + 1:
            raise _damaged(path, number, f"a picture's name and {len(columns)} values", fields)
        index[fields[0]] = len(rows)
        rows.append(fields[1:])
    table = np.full((len(rows), len(ATTRIBUTES)), -1, np.int8)
    if rows:
        try:
            table[:, columns] = np.array(rows).astype(np.int8) > 0
        except ValueError:
            raise ValueError(f"{path}: expected -1 or 1 in every column; download the file again") from None
    return index, table


def _official(name):
    stem = Path(name).stem
    if stem.isdigit():
        for last, split in OFFICIAL:
            if int(stem) <= last:
                return split
    return "train"


def _listing(names, labels):
    notes, here = [], set(names)
    if "partition" in labels:
        partition = _numbers(labels["partition"], (0, 1, 2))
        chosen = {split: [n for n in names if partition.get(n) == k] for k, split in enumerate(pack.SPLITS)}
        absent = sum(name not in here for name in partition)
        left = len(names) - sum(map(len, chosen.values()))
        if absent:
            notes.append(f"{absent:,} of the {len(partition):,} pictures in {labels['partition'].name} are not there")
        if left:
            notes.append(f"{left:,} pictures are not in {labels['partition'].name} and were left out")
    else:
        chosen = {split: [] for split in pack.SPLITS}
        for name in names:
            chosen[_official(name)].append(name)
        notes.append("no list_eval_partition.txt: split by CelebA's official picture numbers, other names into train")
    attributes = identities = None
    if "attributes" in labels:
        index, table = _attributes(labels["attributes"])
        table = np.concatenate([table, np.full((1, len(ATTRIBUTES)), -1, np.int8)])  # the last row: unknown
        attributes = {split: table[[index.get(n, -1) for n in chosen[split]]] for split in pack.SPLITS}
        missing = sum(n not in index for n in here)
        if missing:
            notes.append(f"{missing:,} pictures have no row in {labels['attributes'].name}: their attributes are -1")
    else:
        notes.append("no list_attr_celeba.txt: attributes are None")
    if "identities" in labels:
        people = _numbers(labels["identities"])
        identities = {split: np.array([people.get(n, -1) for n in chosen[split]], np.int64) for split in pack.SPLITS}
        missing = sum(n not in people for n in here)
        if missing:
            notes.append(f"{missing:,} pictures have no row in {labels['identities'].name}: their identity is -1")
    else:
        notes.append("no identity_CelebA.txt: identities are None")
    return pack.Listing(chosen, attributes, identities, notes)
