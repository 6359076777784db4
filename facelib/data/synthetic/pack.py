"""The pack that ships: 4,096 rendered faces as JPEG sheets with their factors, so that nothing waits for the renderer."""

import json
import shutil
import time
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..faces import FaceData, Split, to_uint8
from .attributes import attributes
from .factors import FACTORS, sample_factors
from .portrait import render

FOLDER = Path(__file__).parent / "pack"
SIZE, SEED = 64, 2026
SPLITS = {"train": 3072, "val": 512, "test": 512}
TILES = 16                # a sheet holds 16 x 32 faces; tiles are whole 16-pixel blocks, so JPEG does not mix neighbours
PER_SHEET = 512
QUALITY = 92


def to_sheet(images):
    """uint8 (N, 3, H, W), N a multiple of TILES -> (N / TILES * H, TILES * W, 3)."""
    n, _, h, w = images.shape
    grid = images.reshape(n // TILES, TILES, 3, h, w).transpose(0, 3, 1, 4, 2)
    return grid.reshape(n // TILES * h, TILES * w, 3)


def from_sheet(sheet, height=None):
    """The inverse of to_sheet. height: of one face in pixels; by default it is as high as it is wide."""
    width = sheet.shape[1] // TILES
    height = height or width
    rows = len(sheet) // height
    grid = sheet.reshape(rows, height, TILES, width, 3).transpose(0, 2, 4, 1, 3)
    return grid.reshape(rows * TILES, 3, height, width)


def write(folder=FOLDER, splits=SPLITS, seed=SEED, compile=False, batch=64):
    """Render the pack into `folder`: sheet_00.jpg ... (JPEG 4:4:4), factors.npz (float16) and pack.json (counts, seed, speed).

    Face i of the pack is person (seed, i). Prints progress. The number of faces must be a multiple of TILES. The files
    are written beside the folder first, so that an interrupted run leaves an old pack as it was.
    """
    goal, total = Path(folder), sum(splits.values())
    folder = goal.with_name(goal.name + ".new")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    factors, began = sample_factors(total, seed), time.time()
    for number, start in enumerate(range(0, total, PER_SHEET)):
        faces = []
        for first in range(start, min(start + PER_SHEET, total), batch):
            last = min(first + batch, start + PER_SHEET, total)
            faces.append(to_uint8(render({k: v[first:last] for k, v in factors.items()}, SIZE, compile=compile)))
            print(f"\r{last} of {total} faces, {last / (time.time() - began):.1f} a second", end="", flush=True)
        sheet = Image.fromarray(to_sheet(torch.cat(faces).numpy()))
        sheet.save(folder / f"sheet_{number:02d}.jpg", quality=QUALITY, subsampling=0, optimize=True)
    print()
    with zipfile.ZipFile(folder / "factors.npz", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, value in factors.items():
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as member:        # no time stamp: same bytes each time
                np.lib.format.write_array(member, value.numpy().astype(np.float16))
    about = {"seed": seed, "size": SIZE, "splits": splits, "jpeg_quality": QUALITY}
    (folder / "pack.json").write_text(json.dumps(about, indent=1) + "\n")
    shutil.rmtree(goal, ignore_errors=True)
    folder.rename(goal)


def load(folder=FOLDER):
    """The shipped pack as FaceData with factors, the attributes that follow from them, and one identity a face.

    64x64 pixels; `load_faces` shrinks them for smaller sizes and renders the same people anew for larger ones. identities
    are the index i of person (seed, i), so render(sample_factors(1, seed, i)) is that face again.
    Raises FileNotFoundError when the pack is missing.
    """
    folder = Path(folder)
    if not (folder / "pack.json").exists():
        raise FileNotFoundError(f"no pack of rendered faces in {folder}: expected pack.json there; "
                                "make it with: python -m facelib.data.synthetic pack")
    about = json.loads((folder / "pack.json").read_text())
    images = np.concatenate([from_sheet(np.asarray(Image.open(path))) for path in sorted(folder.glob("sheet_*.jpg"))])
    with np.load(folder / "factors.npz") as archive:
        factors = {name: archive[name].astype(np.float32) for name in FACTORS}
    total = sum(about["splits"].values())
    if len(images) != total or len(factors["yaw"]) != total:
        raise ValueError(f"the pack in {folder} should hold {total} faces, but has {len(images)} images and "
                         f"{len(factors['yaw'])} rows of factors; make it again with: python -m facelib.data.synthetic pack")
    labels, splits, start = attributes(factors), {}, 0
    for name, count in about["splits"].items():
        part = slice(start, start + count)
        splits[name] = Split(np.ascontiguousarray(images[part]), labels[part], np.arange(start, start + count),
                             [f"{about['seed']}/{i}" for i in range(start, start + count)],
                             {k: v[part] for k, v in factors.items()})
        start += count
    return FaceData("synthetic", **splits)
