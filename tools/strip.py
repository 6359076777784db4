"""A generator's strip over training: python tools/strip.py RUN OUT.jpg [ROWS]

The sample sheets of a run folder show the same latents at every saved step. Evenly spaced, their first rows are put
below one another; the steps, from the top, are printed and kept in the picture's comment, where a chapter reads them.
How high a row is, the run's config.json says.
"""

import json
import sys
from pathlib import Path

from PIL import Image


def strip(run, out, rows=8):
    """Write the strip of `rows` steps to `out` -> the steps."""
    if not Path(run, "config.json").exists():
        raise SystemExit(f"expected a run folder with a config.json, found none in {run}")
    height, _ = json.loads(Path(run, "config.json").read_text())["size"]
    sheets = sorted(Path(run, "samples").glob("*.png"))
    if len(sheets) < rows:
        raise SystemExit(f"expected at least {rows} sample sheets in {run}/samples, found {len(sheets)}")
    chosen = [sheets[round(i * (len(sheets) - 1) / (rows - 1))] for i in range(rows)]
    first = Image.open(chosen[0])
    picture = Image.new("RGB", (first.width, height * rows))
    for i, sheet in enumerate(chosen):
        picture.paste(Image.open(sheet).crop((0, 0, first.width, height)), (0, height * i))
    steps = [int(sheet.stem) for sheet in chosen]
    picture.save(out, quality=90, comment=" ".join(map(str, steps)))
    return steps


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        raise SystemExit(__doc__)
    print(*strip(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:])))
