"""The pixels widget: paint an 8x8 face, and see it enlarged, beside other faces that shrink to the same 8x8 pixels.

`PixelDemo(method)` shows the live widget where a kernel answers, and a stepper through faces painted beforehand where none
does (a built page): plain HTML with its pictures inside, that asks nothing of any other host.
"""

import functools
import html
import string
import time

import torch

from facelib import resolution
from facelib.data.faces import FaceData, to_float, to_uint8
from facelib.extras import need
from facelib.widgets.frames import HERE, as_many_as_fit, data_url, figures, key, note, page, script, size_of

SIZE = 8  # pixels of the painted face
NOTE = note("painted and enlarged", "To paint one yourself")


class PixelDemo:
    """Paint the pixels of an 8x8 face and see what a method makes of it, and what it could have made as well.

    method: anything with `upscale(low)` for one (1, 3, 8, 8) in [-1, 1]; where it has `variants(low, n, seed, spread)`,
    n of them are shown too. low: float (B, 3, 8, 8) in [-1, 1]; a FaceData, whose first six test faces are shrunk; or
    None for the rendered faces that ship. Put it last in a cell, or call `display()`. What is on show is in `low`,
    `enlarged`, `variants` (None without the verb), `off` (grey levels, 1/255, by which each of these, shrunk, differs
    from `low`; the enlargement's comes first) and `milliseconds`. Raises ValueError for another shape or range of low,
    and for n below 1. Needs ipywidgets and anywidget.
    """

    def __init__(self, method, low=None, n=4, seed=0, spread=0.7):
        if n < 1:
            raise ValueError(f"n must be 1 or more answers beside the enlargement, got {n}")
        self.method, self.n = method, n
        self.faces = _low_of(low, size_of(method) or SIZE * resolution.FACTOR)
        self.low = self.faces[:1]       # (1, 3, 8, 8): what is painted, kept exactly where nobody painted
        self._face, self._before, self._told = 0, [], False
        self._fallback = stepper(method, self.faces, n, seed, spread)
        self._build(seed, spread)
        self._enlarge()

    def _build(self, seed, spread):
        w = need("ipywidgets")
        wide = {"description_width": "auto"}
        self.reset = w.Button(description="Reset", tooltip="The face as it was before you painted")
        self.undo = w.Button(description="Undo", tooltip="Take the last stroke back", disabled=True)
        self.another = w.Button(description="Another face", disabled=len(self.faces) < 2)
        self.project = w.Checkbox(value=True, description="Back-project: make each shrink to the 8x8", indent=False,
                                  layout=w.Layout(width="auto"))
        self.seed = w.BoundedIntText(value=seed, min=0, max=2**31 - 1, description="Seed", style=wide,
                                     layout=w.Layout(width="140px"))
        self.spread = w.FloatSlider(value=spread, min=0, max=max(2, spread), step=0.1, description="Spread", style=wide,
                                    continuous_update=False, layout=w.Layout(width="260px", max_width="100%"))
        self.result = w.HTML()
        self.canvas = _canvas_class()(pixels=_hex(self.low), demo=key(self._fallback))
        self.reset.on_click(lambda _: self._turn_to(self.faces[self._face][None], keep=True))
        self.undo.on_click(lambda _: self._before and self._turn_to(self._before.pop()))
        self.another.on_click(self._another)
        self.canvas.observe(self._receive, "pixels")
        for control in (self.project, self.seed, self.spread):
            control.observe(lambda _: self._enlarge(), "value")
        row = w.Layout(flex_flow="row wrap", align_items="flex-start")
        drawn = [self.seed, self.spread] if hasattr(self.method, "variants") else []
        self.live = w.VBox([w.HBox([self.another, self.reset, self.undo], layout=row),
                            w.HBox([self.canvas, self.result], layout=row),
                            w.HBox([self.project, *drawn], layout=row)])
        self.live.add_class("facelib-live")

    def display(self):
        """Show the stepper and the live widget; in the reader's browser one of the two hides itself."""
        from IPython.display import HTML, display
        display(HTML(self._fallback))
        display(self.live)

    def _ipython_display_(self):
        self.display()

    def _receive(self, change):
        """The browser painted: take over the pixels that changed, and only these."""
        if self._told:      # it was not the browser, but `_turn_to`
            return
        painted, was = (_from_hex(change[name]) for name in ("new", "old"))
        changed = (painted != was).any(1, keepdim=True)
        self._before.append(self.low)
        self.low = torch.where(changed, to_float(painted), self.low)
        self._enlarge()

    def _turn_to(self, low, keep=False):
        """Show these pixels; keep: undo leads back to those that were on show."""
        if keep and not torch.equal(low, self.low):
            self._before.append(self.low)
        self.low, self._told = low, True
        try:
            self.canvas.pixels = _hex(low)
        finally:
            self._told = False
        self._enlarge()

    def _another(self, _):
        self._face, self._before = (self._face + 1) % len(self.faces), []
        self._turn_to(self.faces[self._face][None])

    def _enlarge(self):
        self.undo.disabled = not self._before
        self.enlarged, self.variants, self.milliseconds = _answers(
            self.method, self.low, self.n, self.seed.value, self.spread.value, self.project.value)
        shown = self.enlarged if self.variants is None else torch.cat([self.enlarged, self.variants])
        self.off = resolution.consistency(shown, self.low.expand(len(shown), -1, -1, -1)).tolist()
        under = [f"<br><small>{_grey(off)} off</small>" for off in self.off]
        parts = [("Enlarged" + under[0], self.enlarged, f"Face {self._face + 1}, enlarged")]
        others = [(f"Answer {i}" + off, one[None], f"Another answer to the same 8x8 pixels, {i} of {self.n}")
                  for i, (one, off) in enumerate(zip(self.variants if self.variants is not None else [], under[1:],
                                                     strict=True), 1)]
        said = f"{_caption(self.off, self.project.value)} Enlarged in {self.milliseconds:.{int(self.milliseconds < 10)}f} ms."
        self.result.value = ('<div class="facelib-answers">' + figures(parts) + (figures(others) if others else "")
                             + f'<p role="status">{html.escape(said)}</p></div>')


@functools.cache
def _canvas_class():
    """The 8x8 pixels to paint on: an anywidget, so that one file of JavaScript serves ipywidgets 7, 8 and Colab."""
    anywidget, t = need("anywidget"), need("traitlets")

    class PixelCanvas(anywidget.AnyWidget):
        _esm = script("pixels")
        _css = (HERE / "pixels.css").read_text()
        size = t.Int(SIZE).tag(sync=True)
        pixels = t.Unicode("").tag(sync=True)   # rrggbb of every pixel, row by row: size*size*6 digits
        demo = t.Unicode("").tag(sync=True)     # key of the stepper to hide once a kernel answers

        def __init__(self, **traits):
            super().__init__(**traits)
            # A page without a kernel gets no answer, keeps the widget hidden and leaves the stepper on show.
            self.on_msg(lambda widget, content, buffers: content == {"type": "alive?"} and self.send({"type": "alive"}))

        @t.validate("pixels")
        def _whole(self, proposal):
            pixels, wanted = proposal["value"], 6 * SIZE**2
            if len(pixels) != wanted or set(pixels) - set(string.digits + "abcdef"):
                raise t.TraitError(f"pixels must be {wanted} digits of 0-9 and a-f, rrggbb for each of the {SIZE}x"
                                   f"{SIZE} pixels, got {len(pixels)} characters: {pixels[:12]!r}...")
            return pixels

    return PixelCanvas


def stepper(method, faces, n=4, seed=0, spread=0.7):
    """A page element that steps through faces painted beforehand, without a kernel: HTML text, under 300 kB.

    method: has `upscale(low)`, and may have `variants`; to one that takes seconds for a face, hand one face over.
    faces: float (B, 3, 8, 8) in [-1, 1]; as many of the first as fit. All answers are back-projected. The large
    pictures are JPEGs, so their colours are near those of the tensors.
    """
    frames = as_many_as_fit(faces, lambda number, low: [
        _frame(method, edit(low.clone()), number, name, n, seed, spread) for name, edit in EDITS.items()])
    answers = [(f"answer{i}", f"Answer {i}") for i in range(1, n + 1)] if hasattr(method, "variants") else []
    rows = [[("low", "8x8"), ("enlarged", "Enlarged")], answers]
    return page(frames, [row for row in rows if row], "8x8 faces painted and enlarged beforehand", "step", NOTE)


def _frame(method, low, number, edit, n, seed, spread):
    enlarged, variants, _ = _answers(method, low, n, seed, spread, project=True)
    shown = enlarged if variants is None else torch.cat([enlarged, variants])
    off = resolution.consistency(shown, low.expand(len(shown), -1, -1, -1)).tolist()
    frame = {"low": (f"Face {number} as 8x8 pixels, {edit}", data_url(low)),
             "enlarged": (f"Face {number}, {edit}, enlarged to {enlarged.shape[-1]}x{enlarged.shape[-2]} pixels",
                          data_url(enlarged, "JPEG")),
             "kind": edit, "text": f"Face {number}, {edit}. {_caption(off, True)}"}
    for i, one in enumerate(shown[1:], 1):
        frame[f"answer{i}"] = (f"Answer {i} of {n} to the same 8x8 pixels", data_url(one[None], "JPEG"))
    return frame


def _paint(low, rows, columns, colour):
    """One rectangle of low (1, 3, 8, 8) in another colour, itself changed."""
    low[:, :, rows, columns] = torch.as_tensor(colour).view(1, 3, 1, 1)
    return low


# What somebody might paint: each changes a few pixels of an aligned face. Its eyes are in the fourth row, its mouth in the sixth.
EDITS = {
    "as it is": lambda low: low,
    "with a dark bar over the eyes": lambda low: _paint(low, slice(3, 4), slice(2, 6), (-0.9, -0.9, -0.9)),
    "with light hair above the forehead": lambda low: _paint(low, slice(0, 1), slice(2, 6), (0.8, 0.6, 0.1)),
    "with one red pixel on a cheek": lambda low: _paint(low, slice(4, 5), slice(2, 3), (0.8, -0.6, -0.6)),
    "with a light mouth": lambda low: _paint(low, slice(5, 6), slice(3, 5), (0.8, 0.7, 0.65)),
    "with its left half on both sides": lambda low: torch.cat([low[..., :4], low[..., :4].flip(-1)], -1),
}


@torch.no_grad()
def _answers(method, low, n, seed, spread, project):
    """The method's answer (1, 3, H, W), n variants (n, 3, H, W) or None where it has none, and the first's ms."""
    device = next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"
    start = time.perf_counter()
    found = [method.upscale(low.to(device)).float().cpu()]  # .cpu() waits for the device
    milliseconds = (time.perf_counter() - start) * 1000
    if hasattr(method, "variants"):
        found.append(method.variants(low.to(device), n, seed=seed, spread=spread).float().cpu())
    if project:
        found = [resolution.back_project(images, low.expand(len(images), -1, -1, -1)) for images in found]
    return found[0], (found[1] if len(found) > 1 else None), milliseconds


def _caption(off, project):
    """off: by how many grey levels each answer misses the 8x8 pixels."""
    if len(off) == 1:
        return f"Shrunk again, it is {_grey(off[0])} off the 8x8 pixels; this method gives one answer only."
    if project:
        return f"All of these shrink to the same 8x8 pixels (within {_grey(max(off))}): nothing in them says which is true."
    return f"As the network gives them: shrunk again, they are {_grey(min(off))} to {_grey(max(off))} off the 8x8 pixels."


def _grey(off):
    return f"{off:.2f}/255"


def _low_of(low, size):
    """The 8x8 faces to start from. size: of the rendered faces that are shrunk where low is None, as the method makes them."""
    if low is None:
        from facelib.data import load_faces
        low = load_faces("synthetic", size=size)
    if isinstance(low, FaceData):
        low = low.test.tensor(slice(0, 6))
        low = resolution.shrink(low, max(1, low.shape[-1] // SIZE))
    if not torch.is_tensor(low):
        raise ValueError(f"low must be a float tensor (B, 3, {SIZE}, {SIZE}) in [-1, 1] or a FaceData, got "
                         f"{type(low).__name__}; shrink faces with resolution.shrink")
    resolution.check(low, SIZE)
    if not len(low):
        raise ValueError("low must hold one face at least, got none; use resolution.shrink on faces of 32x32 pixels")
    return low.detach().float().cpu().clamp(-1, 1)


def _hex(low):
    """low (1, 3, 8, 8) -> rrggbb of every pixel, row by row."""
    return bytes(to_uint8(low)[0].permute(1, 2, 0).flatten().tolist()).hex()


def _from_hex(pixels):
    """rrggbb of every pixel, row by row -> uint8 (1, 3, 8, 8)."""
    values = torch.frombuffer(bytearray.fromhex(pixels), dtype=torch.uint8)
    return values.view(1, SIZE, SIZE, 3).permute(0, 3, 1, 2)
