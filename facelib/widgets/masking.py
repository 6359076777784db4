"""The masking widget: choose or draw a hole in a face and see it completed.

`MaskingDemo(method)` shows the live widget where a kernel answers, and a stepper through holes completed beforehand
where none does (a built page): plain HTML with its pictures inside, that asks nothing of any other host.
"""

import functools
import html
import time

import torch

from facelib import metrics
from facelib.extras import need
from facelib.masks import KINDS
from facelib.plots import HOLE, masked
from facelib.widgets.frames import HERE, as_many_as_fit, data_url, faces_of, figures, is_large, key, note, page, script, size_of
from facelib.widgets.upload import Upload

DRAWN = "draw it yourself"
# What a page steps through. "mixed" is left out because its holes are those of the other kinds. The kinds stand in the
# order in which they are given up where the faces are too large for all of them, the last one first.
STEPPED = ("center", "face_part", "strokes", "half", "glcic", "pattern", "border", "rectangle", "pixels")
FEWER = 6   # kinds for large faces, so that a page has two of these at least


class MaskingDemo:
    """Pick or upload a face, choose or draw a hole, and see masked, completed and true side by side.

    method: anything with `complete(image, mask)` for one (1, 3, height, width) in [-1, 1]. faces: a FaceData (its first
    six test faces are offered), a float tensor (B, 3, height, width) in [-1, 1], or None for rendered faces. size: an int
    or (height, width) in pixels; by default the size of the faces, or where none are given the method's own, `cfg.size`.

    Put it last in a cell, or call `display()`. What is on show is in `image`, `mask` and `completed`, `psnr` (hole only,
    dB; None without a hole) and `milliseconds`. Raises ValueError for faces of another size than `size`. Needs ipywidgets
    and anywidget.
    """

    def __init__(self, method, faces=None, size=None):
        self.method = method
        if size is None and faces is None:
            size = size_of(method)
        self.faces = faces_of(faces, size, "synthetic")
        self.size = tuple(self.faces.shape[-2:])        # (height, width)
        self.psnr = self.milliseconds = None
        self._seed = 0
        self._fallback = stepper(method, self.faces)
        self._build()
        self._choose_hole()

    def _build(self):
        w = need("ipywidgets")
        wide = {"description_width": "auto"}
        self.face = w.Dropdown(options=[(f"face {i + 1}", i) for i in range(len(self.faces))], description="Face",
                               style=wide)
        self.hole = w.Dropdown(options=[*KINDS, DRAWN], description="Hole", style=wide)
        self.again = w.Button(description="Another hole", tooltip="Draw another hole of this kind")
        self.clear = w.Button(description="Clear", tooltip="Remove the hole")
        self.upload = Upload(self.size, self._take)
        self.result = w.HTML()
        self.canvas = _canvas_class()(size=self.size, large=is_large(self.faces), colour=_css(HOLE),
                                      demo=key(self._fallback))
        self.face.observe(self._choose_face, "value")
        self.hole.observe(self._choose_hole, "value")
        self.again.on_click(self._another)
        self.clear.on_click(lambda _: setattr(self.canvas, "mask", self._no_hole))
        self.canvas.observe(lambda _: self._complete(), "mask")
        row = w.Layout(flex_flow="row wrap", align_items="flex-start")
        self.live = w.VBox([w.HBox([self.face, self.upload.button], layout=row),
                            w.HBox([self.hole, self.again, self.clear], layout=row), self.upload.rest,
                            w.HBox([self.canvas, self.result], layout=row)])
        self.live.add_class("facelib-live")

    @property
    def _no_hole(self):
        height, width = self.size
        return "0" * (height * width)

    @property
    def image(self):
        """The face on show, float (1, 3, height, width) in [-1, 1]."""
        return self.faces[self.face.value][None]

    @property
    def mask(self):
        """The hole on show, float (1, 1, height, width), 1 = hole."""
        bits = torch.frombuffer(bytearray(self.canvas.mask.encode()), dtype=torch.uint8) - ord("0")
        return bits.float().view(1, 1, *self.size)

    def display(self):
        """Show the stepper and the live widget; in the reader's browser one of the two hides itself."""
        from IPython.display import HTML, display
        display(HTML(self._fallback))
        display(self.live)

    def _ipython_display_(self):
        self.display()

    def _choose_face(self, _=None):
        self._complete()

    def _another(self, _):
        self._seed += 1
        self._choose_hole()

    def _choose_hole(self, _=None):
        if self.hole.value == DRAWN:
            mask = self._no_hole
        else:
            made = KINDS[self.hole.value](1, self.size, torch.Generator().manual_seed(self._seed))
            mask = "".join("01"[int(bit)] for bit in made.flatten() > 0.5)
        if mask == self.canvas.mask:
            self._complete()
        else:
            self.canvas.mask = mask  # its observer completes

    def _complete(self):
        image, mask = self.image, self.mask
        self.canvas.image = data_url(image)
        self.completed, self.milliseconds = image, None
        self.psnr = None
        if mask.any():
            self.completed, self.milliseconds = _timed(self.method, image, mask)
            self.psnr = float(metrics.psnr(self.completed, image, mask))
        label = self.face.label
        self.result.value = figures([
            ("Completed", self.completed, f"The completed picture of {label}"),
            ("True", image, f"The true picture of {label}")]) + f'<p role="status">{html.escape(self._caption())}</p>'

    def _caption(self):
        if self.psnr is None:
            return "No hole yet: choose one, or paint on the face."
        return _caption(float(self.mask.mean()), self.psnr, self.milliseconds)

    def _take(self, name, face):
        """Show a photograph's face, float (1, 3, height, width)."""
        self.faces = torch.cat([self.faces, face])
        self.face.options = [*self.face.options, (name, len(self.faces) - 1)]
        self.face.value = len(self.faces) - 1


@functools.cache
def _canvas_class():
    """The drawing canvas: an anywidget, so that one file of JavaScript serves ipywidgets 7, 8 and Colab."""
    anywidget, t = need("anywidget"), need("traitlets")

    class MaskCanvas(anywidget.AnyWidget):
        _esm = script("masking")
        _css = (HERE / "masking.css").read_text()
        size = t.Tuple(t.Int(), t.Int(), default_value=(1, 1)).tag(sync=True)   # height and width of the face in pixels
        large = t.Bool(False).tag(sync=True)  # whether the face is shown larger, see frames.is_large
        image = t.Unicode("").tag(sync=True)  # data URL of the face
        mask = t.Unicode("").tag(sync=True)   # height*width letters, row by row: 1 = hole, 0 = known
        colour = t.Unicode("").tag(sync=True)
        demo = t.Unicode("").tag(sync=True)   # key of the stepper to hide once a kernel answers

        def __init__(self, **traits):
            super().__init__(**traits)
            # A page without a kernel gets no answer, keeps the widget hidden and leaves the stepper on show.
            self.on_msg(lambda widget, content, buffers: self.send({"type": "alive"}))

        @t.validate("mask")
        def _whole(self, proposal):
            mask, (height, width) = proposal["value"], self.size
            if len(mask) != height * width or set(mask) - set("01"):
                raise t.TraitError(f"mask must be {height * width} letters of 0 (known) and 1 (hole), got {len(mask)}")
            return mask

    return MaskCanvas


def stepper(method, faces, kinds=None, seed=0):
    """A page element that steps through holes completed beforehand, without a kernel: HTML text, under 300 kB.

    method: has `complete(image, mask)`. faces: float (B, 3, H, W) in [-1, 1]; as many of the first as fit. kinds: names from
    masks.KINDS; by default those of STEPPED, or the first FEWER of them for large faces. Of a single face that does not fit
    with all kinds, the first kinds are shown. The pictures are JPEGs inside the text, so colours are near those of the
    tensors.
    """
    if kinds is None:
        kinds = STEPPED[:FEWER] if is_large(faces) else STEPPED
    frames = as_many_as_fit(faces, lambda number, face: _frames(method, face, number, kinds, seed + number))
    parts = [(part, part.capitalize()) for part in ("masked", "completed", "true")]
    return page(frames, [parts], "Faces completed beforehand, one hole after the other", "hole",
                note("completed", "To draw a hole yourself"), is_large(faces))


def _frames(method, image, number, kinds, seed):
    """The steps of one face; the true face is the same in all of them, so it stands in the first alone."""
    frames = [_frame(method, image, number, kind, seed) for kind in kinds]
    return [{**frames[0], "true": (f"Face {number} as it is", data_url(image, "JPEG"))}, *frames[1:]]


def _frame(method, image, number, kind, seed):
    mask = KINDS[kind](1, tuple(image.shape[-2:]), torch.Generator().manual_seed(seed))
    completed, milliseconds = _timed(method, image, mask)
    psnr = float(metrics.psnr(completed, image, mask))
    return {"masked": (f"Face {number} with a violet hole, kind {kind}", data_url(masked(image, mask), "JPEG")),
            "completed": (f"Face {number} with the hole, kind {kind}, completed", data_url(completed, "JPEG")),
            "kind": kind,
            "text": f"Face {number}, hole: {kind}. " + _caption(float(mask.mean()), psnr, milliseconds)}


def _caption(share, psnr, milliseconds):
    return f"The hole is {share:.0%} of the picture. Hole PSNR {psnr:.1f} dB, completed in {_short(milliseconds)} ms."


def _short(milliseconds):
    return f"{milliseconds:.1f}" if milliseconds < 10 else f"{milliseconds:.0f}"


def _timed(method, image, mask):
    device = next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"
    start = time.perf_counter()
    with torch.no_grad():
        completed = method.complete(image.to(device), mask.to(device)).float().cpu()  # .cpu() waits for the device
    return completed, (time.perf_counter() - start) * 1000


def _css(colour):
    return "rgb({}, {}, {})".format(*(round((c + 1) * 127.5) for c in colour))
