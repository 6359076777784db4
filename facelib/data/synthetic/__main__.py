"""Make what ships: `python -m facelib.data.synthetic pack` and `... sheet book/figures/rendered_faces.png`."""

import argparse
import shutil
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..faces import to_uint8
from .factors import FACTORS, sample_factors
from .pack import FOLDER, SEED, SIZE, write
from .portrait import render


def save_grid(images, columns, path):
    """Save float (B, 3, H, W) in [-1, 1] as one picture with `columns` faces in a row."""
    faces = to_uint8(images).cpu().numpy()
    n, _, h, w = faces.shape
    grid = faces.reshape(n // columns, columns, 3, h, w).transpose(0, 3, 1, 4, 2).reshape(n // columns * h, columns * w, 3)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.ascontiguousarray(grid)).save(path, optimize=True, quality=92)


def traverse(names, seed=SEED, start=0, steps=8, size=SIZE):
    """One person a row, one factor moved alone from its lowest to its highest value: (len(names) * steps, 3, size, size)."""
    rows = []
    for i, name in enumerate(names):
        factors = {k: v.repeat(steps, 1) for k, v in sample_factors(1, seed, start + i).items()}
        _, low, high = FACTORS[name]
        factors[name] = torch.linspace(low, high, steps)[:, None].expand_as(factors[name])
        rows.append(render(factors, size))
    return torch.cat(rows)


def main(arguments=None):
    """The command line of the renderer: `pack`, `sheet` or `traverse`, with its options."""
    parser = argparse.ArgumentParser(prog="python -m facelib.data.synthetic", description=__doc__)
    what = parser.add_subparsers(dest="what", required=True)
    pack = what.add_parser("pack", help="render the 4,096 faces that ship with the package")
    pack.add_argument("--out", type=Path, default=FOLDER)
    pack.add_argument("--seed", type=int, default=SEED)
    sheet = what.add_parser("sheet", help="100 people on one sheet")
    sheet.add_argument("out", type=Path)
    sheet.add_argument("--seed", type=int, default=SEED)
    sheet.add_argument("--start", type=int, default=3584, help="number of the first person; 3584 begins the test split")
    sheet.add_argument("--size", type=int, default=SIZE)
    moved = what.add_parser("traverse", help="one factor moved alone per row")
    moved.add_argument("out", type=Path)
    moved.add_argument("names", nargs="+", choices=sorted(FACTORS), metavar="FACTOR")
    moved.add_argument("--start", type=int, default=0)
    for command in (pack, sheet):
        command.add_argument("--compile", action=argparse.BooleanOptionalAction, default=shutil.which("g++") is not None,
                             help="torch.compile: minutes to start, then several times as fast (default: where g++ is found)")
    options = parser.parse_args(arguments)
    if options.what == "pack":
        write(options.out, seed=options.seed, compile=options.compile)
    elif options.what == "sheet":
        faces = render(sample_factors(100, options.seed, options.start), options.size, compile=options.compile)
        save_grid(faces, 10, options.out)
    else:
        save_grid(traverse(options.names, start=options.start), 8, options.out)


if __name__ == "__main__":
    main()
