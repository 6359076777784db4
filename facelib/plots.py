"""Every figure of the book: sheets of faces, rows to compare, loss curves, parallel coordinates; `show` carries the alt text."""

import base64
import html
import inspect
import io
import json
import math
import numbers
from pathlib import Path

import numpy as np
import torch

from facelib.data.faces import to_uint8
from facelib.extras import need
from facelib.masks import composite

HOLE = (0.55, 0.1, 0.85)  # a violet that neither skin nor hair has, so that a hole is never taken for a face
INK, PAPER = "#1b1b1f", "white"
# Okabe and Ito's colours, without the yellow that vanishes on white; told apart by colour-blind readers too.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", INK)
DASHES = ("-", "--", "-.", ":")
SHORTEST_ALT = 20


def show(fig, *, alt):
    """Show a figure in the page with its text alternative, and close it.

    fig: a matplotlib Figure. alt: what there is to see, in a sentence, for who cannot see it (20 characters or more).
    In a notebook the output is an `<img alt=...>`, no wider than the page, so that a built page has the text too; in
    plain Python the text is printed. Raises ValueError for a missing or very short text, TypeError for no figure.
    """
    if not hasattr(fig, "savefig"):
        raise TypeError(f"show needs a matplotlib figure, got {type(fig).__name__}; "
                        "make one with plots.sheet, compare or curves")
    text = " ".join(str(alt or "").split())
    if len(text) < SHORTEST_ALT:
        raise ValueError(f"alt must say what the figure shows, in {SHORTEST_ALT} characters or more, got {text!r}; "
                         'for example alt="Ten faces: masked above, completed below"')
    if not _in_notebook():
        need("matplotlib.pyplot").close(fig)
        print(f"[figure] {text}")
        return
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=fig.dpi, facecolor=PAPER, metadata={"Software": None})
    need("matplotlib.pyplot").close(fig)
    image = img(buffer.getvalue(), text, style=f"width:{fig.get_figwidth() * 100:.0f}px;max-width:100%;height:auto")
    from IPython.display import display
    display({"text/html": image, "text/plain": f"[figure] {text}"}, raw=True)


def img(data, alt, style="", mime="image/png"):
    """An HTML `<img>` with its picture inside: data are the file's bytes, alt its text alternative."""
    source = base64.b64encode(data).decode()
    # "dark-light" keeps the dark theme from changing the colours of a picture that brings its own white ground.
    return f'<img class="dark-light" alt="{html.escape(alt)}" style="{style}" src="data:{mime};base64,{source}">'


def table(head, *rows):
    """Show a table in the page: `head` and each row are sequences of cells, HTML allowed.

    (Markdown that a cell displays does not become a table in a built page; HTML does.) Too wide for a phone, it scrolls in
    the box that its page makes of every output.
    """
    from IPython.display import HTML, display

    def line(cells, tag):
        # A corner where nothing stands is no heading, and an interval stays on one line.
        tags = [tag if str(cell) else "td" for cell in cells]
        inside = (f"<{tag}>{str(cell).replace(' ± ', '&nbsp;±&nbsp;')}</{tag}>" for tag, cell in zip(tags, cells, strict=True))
        return f"<tr>{''.join(inside)}</tr>"

    body = "".join(line(row, "td") for row in rows)
    display(HTML(f'<table class="table"><thead>{line(head, "th")}</thead><tbody>{body}</tbody></table>'))


def source(*things):
    """Show the package's own code of functions and classes, so that a chapter never prints a copy that has aged."""
    from IPython.display import Markdown, display
    display(Markdown("```python\n" + "\n".join(inspect.getsource(thing) for thing in things) + "```"))


def _in_notebook():
    try:
        from IPython import get_ipython
    except ImportError:
        return False
    shell = get_ipython()
    return shell is not None and getattr(shell, "kernel", None) is not None


def masked(image, mask, colour=HOLE):
    """The image with its hole painted over.

    image: float (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W), 1 = hole. colour: three numbers in [-1, 1], for example
    `faces.mean`. Returns float (B, 3, H, W); what was in the hole is gone, even if it was not finite.
    """
    paint = torch.as_tensor(colour, dtype=image.dtype, device=image.device).view(1, 3, 1, 1)
    return composite(image, mask, paint)


def sheet(images, cols=None, zoom=1.0, titles=None):
    """A sheet of faces.

    images: float (B, 3, H, W) in [-1, 1]. cols: faces in a row (default: about square). zoom: screen pixels to one of
    the image. titles: B short texts, shown above the faces. Returns a matplotlib Figure.
    """
    tiles = _tiles(images, "images")
    cols = cols or math.ceil(math.sqrt(len(tiles)))
    if titles is not None and len(titles) != len(tiles):
        raise ValueError(f"titles must hold one text for each of the {len(tiles)} images, got {len(titles)}")
    rows = [tiles[i:i + cols] for i in range(0, len(tiles), cols)]
    above = None if titles is None else [list(titles[i:i + cols]) for i in range(0, len(tiles), cols)]
    return _grid(rows, zoom, above=above)


def compare(rows, titles=None, zoom=1.0):
    """Rows of faces under each other, for example masked, completed and true.

    rows: name -> float (B, 3, H, W) in [-1, 1], all with the same B, H and W; the name stands beside its row. titles:
    B short texts above the columns, for example the PSNR. zoom: screen pixels to one of the image. Returns a Figure.
    """
    tiles = _alike(rows, "row")
    count = len(next(iter(tiles.values())))
    if titles is not None and len(titles) != count:
        raise ValueError(f"titles must hold one text for each of the {count} columns, got {len(titles)}")
    above = None if titles is None else [list(titles)] + [None] * (len(tiles) - 1)
    return _grid(list(tiles.values()), zoom, above=above, beside=list(tiles))


def gallery(columns, zoom=1.0):
    """A row for each face, a column for each method, with the names upright above them.

    columns: name -> float (B, 3, H, W) in [-1, 1], all with the same B, H and W. zoom: screen pixels to one of the image.
    Returns a matplotlib Figure.
    """
    tiles = _alike(columns, "column")
    rows = list(zip(*tiles.values(), strict=True))
    return _grid(rows, zoom, above=[list(tiles)] + [None] * (len(rows) - 1), upright=True)


def _alike(images, what):
    """name -> tiles; images of different numbers or sizes are refused."""
    tiles = {name: _tiles(some, name) for name, some in images.items()}
    shapes = {name: t.shape for name, t in tiles.items()}
    if len(set(shapes.values())) != 1:
        got = ", ".join(f"{name} {tuple(s)}" for name, s in shapes.items()) or f"no {what}"
        raise ValueError(f"expected {what}s of the same number and size of faces, got {got} as (B, H, W, 3)")
    return tiles


def _tiles(images, name):
    """float (B, 3, H, W) in [-1, 1] -> uint8 numpy (B, H, W, 3)."""
    if not torch.is_tensor(images) or images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        got = f"{images.dtype} {tuple(images.shape)}" if torch.is_tensor(images) else type(images).__name__
        raise ValueError(f"{name} must be a float tensor (B, 3, H, W) in [-1, 1], got {got}; "
                         "use split.tensor(slice(0, 8)) or image[None]")
    if len(images) == 0:
        raise ValueError(f"{name} holds no image; take at least one")
    return to_uint8(images).permute(0, 2, 3, 1).cpu().numpy()


def _grid(rows, zoom, above=None, beside=None, upright=False):
    """One picture of all tiles, so that a hundred faces draw as fast as one and each pixel keeps its size."""
    gap, text = 2, 9  # both in pixels: between tiles; size of the letters (points at 100 dpi are close enough)
    tall, wide = rows[0][0].shape[:2]
    tall, wide = round(tall * zoom), round(wide * zoom)
    cols = max(len(row) for row in rows)
    high = 0.9 * text * max(map(len, above[0])) if upright else 2 * text
    heads = [0] * len(rows) if above is None else [0 if line is None else round(high) for line in above]
    left = 0 if beside is None else 2 * text + 2
    width = left + cols * (wide + gap) - gap
    height = sum(heads) + len(rows) * (tall + gap) - gap
    fig = need("matplotlib.figure").Figure(figsize=(width / 100, height / 100), dpi=100, facecolor=PAPER)
    canvas = np.full((height, width, 3), 255, np.uint8)
    y = 0
    for r, row in enumerate(rows):
        y += heads[r]
        for c, tile in enumerate(row):
            x = left + c * (wide + gap)
            canvas[y:y + tall, x:x + wide] = _resize(tile, tall, wide)
            if heads[r]:
                fig.text((x + wide / 2) / width, 1 - (y - 3) / height, str(above[r][c]), ha="center", va="bottom",
                         fontsize=text, color=INK, rotation=90 if upright else 0)
        if beside is not None:
            fig.text(text / width, 1 - (y + tall / 2) / height, beside[r], rotation=90, ha="center", va="center",
                     fontsize=min(text, 1.2 * tall / len(beside[r])), color=INK)  # a long name fits a small row
        y += tall + gap
    fig.figimage(canvas, 0, 0, zorder=-1)
    return fig


def _resize(tile, tall, wide):
    """Nearest neighbour: a reader should see the pixels that a network made, not a smoothed copy."""
    y = (np.arange(tall) + 0.5) * tile.shape[0] / tall
    x = (np.arange(wide) + 0.5) * tile.shape[1] / wide
    return tile[y.astype(int)][:, x.astype(int)]


def read_log(path_or_records):
    """The records of a run: a list of dicts, from a run folder, its `log.jsonl`, or records already read.

    A last line cut short by a killed run is left out; any other unreadable line raises ValueError with its number.
    """
    if not isinstance(path_or_records, (str, Path)):
        return list(path_or_records)
    path = Path(path_or_records)
    path = path / "log.jsonl" if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(f"no run log at {path}; give a run folder or its log.jsonl")
    lines = path.read_text().splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError as error:
            if number < len(lines):
                raise ValueError(f"{path}, line {number}: expected a JSON object, got {line[:40]!r} ({error}); "
                                 "is this the log of a run?") from error
    return records


def curves(path_or_records, keys=None, smooth=0.0, title=None):
    """Losses over the steps of a run, with its phases marked.

    path_or_records: a run folder, its log.jsonl, or a list of dicts with `step`, perhaps `phase`, and numbers. keys:
    which numbers to draw (default: all whose name has `loss` in it, or else all). smooth: 0 draws every record as it
    is; towards 1 each line is a longer exponential mean (0.9: about ten records), with the records faint behind it.
    Returns a matplotlib Figure. Raises ValueError for an empty log, and names the keys there are for an unknown one.
    """
    records = [r for r in read_log(path_or_records) if "step" in r]
    if not records:
        raise ValueError("curves needs records with a `step`, got none; has the run logged anything yet?")
    if not 0 <= smooth < 1:
        raise ValueError(f"smooth must be at least 0 and below 1, got {smooth}")
    known = {}  # a dict keeps the order of the log
    for record in records:
        known.update((k, None) for k, v in record.items()
                     if isinstance(v, numbers.Real) and not isinstance(v, bool) and k not in ("step", "images"))
    if keys is None:
        keys = [k for k in known if "loss" in k] or [k for k in known if k != "images_per_second"]
    missing = [k for k in keys if k not in known]
    if missing:
        raise ValueError(f"the log has no {', '.join(missing)}; it has {', '.join(known)}")
    # Small in inches and fine in dots: the letters are still read where a telephone scales the figure down.
    fig = need("matplotlib.figure").Figure(figsize=(5, 3.2), dpi=180, facecolor=PAPER, layout="constrained")
    axes = fig.subplots()
    for i, key in enumerate(keys):
        points = [(r["step"], float(r[key])) for r in records if r.get(key) is not None]
        step, value = np.array(points).T
        colour, dash = COLOURS[i % len(COLOURS)], DASHES[i // len(COLOURS) % len(DASHES)]
        if smooth:
            axes.plot(step, value, color=colour, alpha=0.2, linewidth=0.8)
        axes.plot(step, _smooth(value, smooth), color=colour, linestyle=dash, linewidth=1.6, label=key)
    _mark_phases(axes, records)
    axes.set_xlabel("optimiser steps", fontsize=11)
    axes.tick_params(labelsize=10)
    axes.set_title(title or "", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=10, framealpha=0.8, edgecolor="none")
    return fig


def _smooth(value, weight):
    """Exponential mean with the bias of its start taken out (Kingma and Ba 2015, section 3); NaN is passed over."""
    out, mean, norm = np.empty(len(value)), 0.0, 0.0
    for i, v in enumerate(value):
        if np.isfinite(v):
            mean, norm = weight * mean + (1 - weight) * v, weight * norm + (1 - weight)
        out[i] = mean / norm if norm else np.nan
    return out


def _mark_phases(axes, records):
    starts = [r for last, r in zip([{}, *records], records, strict=False) if r.get("phase") != last.get("phase")]
    if len(starts) < 2:
        return
    ends = [r["step"] for r in starts[1:]] + [records[-1]["step"]]
    for start, end in zip(starts, ends, strict=True):
        short = end - start["step"] < 0.05 * records[-1]["step"]  # its name goes before it, the next phase's after
        axes.axvline(start["step"], color=INK, linewidth=0.8, alpha=0.5)
        axes.annotate(start["phase"], (start["step"], 1), xytext=(-2 if short else 2, -2), textcoords="offset points",
                      xycoords=("data", "axes fraction"), rotation=90, ha="right" if short else "left", va="top",
                      fontsize=9, color=INK)


def parallel(rows, axes, colour):
    """Runs as lines over upright axes, one for each thing that was set or measured: parallel coordinates.

    rows: name -> {axis: value}, values numbers or texts. axes: which of them, from left to right; a text has its place by
    the order in which it comes first. colour: the axis whose numbers give each line its colour, a bar beside says which;
    rows without a finite number there are drawn grey. Every axis has its own scale, from its smallest to its largest
    value; where a row has no number on an axis, its line is interrupted. Returns a matplotlib Figure. Raises ValueError
    for fewer than two axes, no rows, and an axis that no row knows.
    """
    if len(axes) < 2 or not rows:
        raise ValueError(f"parallel needs two axes or more and a row, got {len(axes)} and {len(rows)}")
    unknown = [key for key in (*axes, colour) if not any(key in row for row in rows.values())]
    if unknown:
        raise ValueError(f"no row has {', '.join(unknown)}; they have {', '.join(next(iter(rows.values())))}")
    places, marks = np.full((len(rows), len(axes)), np.nan), []
    for i, key in enumerate(axes):
        values = [row.get(key) for row in rows.values()]
        texts = list(dict.fromkeys(value for value in values if isinstance(value, str)))
        number = np.array([texts.index(v) if isinstance(v, str) else np.nan if v is None else v for v in values], float)
        low, high = np.nanmin(number), np.nanmax(number)
        places[:, i] = (number - low) / (high - low) if high > low else np.where(np.isfinite(number), 0.5, np.nan)
        ends = enumerate(texts) if texts else [(low, f"{low:.3g}"), (high, f"{high:.3g}")]
        marks.append([((value - low) / (high - low) if high > low else 0.5, text) for value, text in ends])
    shade = np.array([row.get(colour) if isinstance(row.get(colour), numbers.Real) else np.nan for row in rows.values()], float)
    size = max(5, 0.85 * len(axes)), 3.4
    fig = need("matplotlib.figure").Figure(figsize=size, dpi=180, facecolor=PAPER, layout="constrained")
    plot = fig.subplots()
    scale = need("matplotlib.colors").Normalize(np.nanmin(shade), np.nanmax(shade))
    colours = need("matplotlib.cm").ScalarMappable(scale, "viridis")
    for line, value, name in zip(places, shade, rows, strict=True):
        tone = colours.to_rgba(value) if np.isfinite(value) else "0.7"
        plot.plot(range(len(axes)), line, color=tone, linewidth=1.4, alpha=0.85, marker="o", markersize=3, label=name)
    for i, ends in enumerate(marks):
        plot.axvline(i, color=INK, linewidth=0.8)
        for height, text in ends:
            plot.annotate(str(text), (i, height), xytext=(3, 4 if height > 0.5 else -4), textcoords="offset points",
                          va="bottom" if height > 0.5 else "top", fontsize=7, color=INK)
    plot.set_xticks(range(len(axes)), [key.replace("_", " ") for key in axes], fontsize=8, rotation=30, ha="right")
    plot.set_yticks([])
    plot.set_ylim(-0.12, 1.12)
    plot.spines[:].set_visible(False)
    fig.colorbar(colours, ax=plot, label=colour.replace("_", " "), pad=0.02).ax.tick_params(labelsize=8)
    return fig
