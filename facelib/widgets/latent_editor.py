"""The latent editor: sliders move a face in a generator's latent space, and show it before and after.

`LatentEditor(method)` shows the live widget where a kernel answers, and a stepper through faces edited beforehand where
none does (a built page): plain HTML with its pictures inside, that asks nothing of any other host.
"""

import functools
import time
from dataclasses import dataclass

import torch

from facelib import metrics
from facelib.extras import need
from facelib.widgets.frames import HERE, as_many_as_fit, data_url, faces_of, is_large, key, note, page, script
from facelib.widgets.upload import Upload

NAMED = ("Smiling", "Eyeglasses", "Male", "Young", "Blond_Hair", "Mouth_Slightly_Open", "Bangs", "Heavy_Makeup")
VERBS = ("encode", "recover", "generate", "draw_latents", "move")
CHOSEN = (1, 28, 19, 6, 2, 24)  # of the faces of nobody: clear ones, men and women, with a smile and without
SAMPLE = -1                 # not a face that was given, but one drawn from the prior
AS_IT_IS = -1               # not a class of a categorical code (a dropdown whose value is None shows nothing)
STRIP = (-2, -1, 0, 1, 2)   # of an attribute; of a continuous code the halves of these
PAGED = 6                   # sliders that the stepper has, so that three faces fit
STEPS = 100                 # of the search that Refine starts
GRID = 0.05                 # between two places of a slider
NOTE = note("edited", "To move the sliders yourself")


@dataclass(frozen=True)
class Start:
    """What is edited. latents: joined, (1, length). made: (1, 3, height, width), the generator's face of them. image: the
    face that was given, None for a sample."""

    latents: torch.Tensor
    made: torch.Tensor
    image: torch.Tensor | None = None

    @property
    def face(self):
        """The face as it is, (1, 3, height, width)."""
        return self.made if self.image is None else self.image


class LatentEditor:
    """Move a face by sliders for what a generator's latents mean; see it before and after, and the last slider's way.

    method: a predictor, anything with its verbs `encode`, `recover`, `generate`, `draw_latents` and `move`, its `layout`
    and its `attributes`. faces: a FaceData (its first six test faces are offered), a float tensor (B, 3, height, width) in
    [-1, 1], or None for six of the faces of nobody that ship. attributes: which have a slider, by default those of NAMED that
    the method knows; every code has one. Put it last in a cell, or call `display()`.

    What is on show is in `latents` (1, length), `before` and `after` (1, 3, height, width), `strip` (n, 3, height, width),
    `amounts` (name -> value of every slider that was moved), `psnr` (dB, of what the generator makes of the given face;
    None for a sample) and `milliseconds`, which the last move took. Raises ValueError for a method without these verbs,
    unknown attributes and faces of another size. Needs ipywidgets and anywidget.
    """

    def __init__(self, method, faces=None, attributes=None, seed=0, spread=0.7):
        self.method, self.names = method, _names(method, attributes)
        size = tuple(method.generate(method.draw_latents(1)).shape[-2:])
        self.faces = faces_of(faces, size, "generated", CHOSEN)
        named = [name for name in self.names if name not in method.layout.codes]
        self._fallback = stepper(method, self.faces, (named or self.names)[:PAGED])
        self._build(size, seed, spread)
        self._begin()

    def _build(self, size, seed, spread):
        w = need("ipywidgets")
        wide = {"description_width": "auto"}
        self.face = w.Dropdown(options=[*((f"face {i + 1}", i) for i in range(len(self.faces))), ("a sample", SAMPLE)],
                               description="Start from", style=wide)
        self.upload = Upload(size, self._take)
        self.seed = w.BoundedIntText(value=seed, min=0, max=2**31 - 1, description="Seed", style=wide,
                                     layout=w.Layout(width="140px"))
        self.spread = w.FloatSlider(value=spread, min=0, max=max(1.5, spread), step=0.1, description="Spread", style=wide,
                                    layout=w.Layout(width="260px", max_width="100%"))
        self.controls = {name: _control(self.method, name) for name in self.names}
        self.reset = w.Button(description="Reset", tooltip="All sliders back: the face as it was")
        self.details = w.Checkbox(value=True, description="Keep the photograph's details", indent=False,
                                  layout=w.Layout(width="auto"))
        self.refine = w.Button(description="Refine", tooltip=f"Search for better latents of this face, {STEPS} steps")
        self.bar = w.IntProgress(max=STEPS, description="Searching", style=wide, layout=w.Layout(visibility="hidden"))
        self.canvas = _canvas_class()(demo=key(self._fallback))
        self.face.observe(self._begin, "value")
        self.seed.observe(self._begin, "value")
        self.spread.observe(self._begin, "value")
        self.details.observe(lambda _: self._edit(), "value")
        for name, control in self.controls.items():
            control.observe(functools.partial(self._moved, name), "value")
        self.reset.on_click(lambda _: self._place({}))
        self.refine.on_click(self._refine)

        def row(*parts):    # each with a layout of its own: two of them hide
            return w.HBox(parts, layout=w.Layout(flex_flow="row wrap", align_items="flex-start"))

        self.drawn, self.given = row(self.seed, self.spread), row(self.details, self.refine, self.bar)
        self.live = w.VBox([row(self.face, self.upload.button, self.reset), self.upload.rest, self.drawn, self.given,
                            row(self.canvas, w.VBox([*self.controls.values()]))])
        self.live.add_class("facelib-live")

    @property
    def amounts(self):
        """What was moved: name -> amount of an attribute, value of a continuous code, class of a categorical one."""
        return self._changed()

    def _changed(self, **instead):
        values = {name: control.value for name, control in self.controls.items()} | instead
        return {name: value for name, value in values.items() if value != self._rest[name]}

    def display(self):
        """Show the stepper and the live widget; in the reader's browser one of the two hides itself."""
        from IPython.display import HTML, display
        display(HTML(self._fallback))
        display(self.live)

    def _ipython_display_(self):
        self.display()

    def _take(self, name, face):
        """Edit the face of a reader's photograph, float (1, 3, height, width)."""
        self.faces = torch.cat([self.faces, face])
        self.face.options = [*self.face.options, (name, len(self.faces) - 1)]
        self.face.value = len(self.faces) - 1

    def _begin(self, _=None):
        """Take up the chosen face, with all sliders at rest."""
        sample = self.face.value == SAMPLE
        if sample:
            self.start = _start(self.method, self.method.draw_latents(1, seed=self.seed.value, spread=self.spread.value))
        else:
            self.start = _found(self.method, self.faces[self.face.value][None])
        self.drawn.layout.display, self.given.layout.display = (None, "none") if sample else ("none", None)
        self.refine.disabled, self._last, self._refined = sample, self.names[0], ""
        self._place({})

    def _place(self, kept):
        """All sliders to where the face as it is has them, but those that are kept moved; name -> value."""
        self._rest = {name: _rest(self.method, self.start.latents, name) for name in self.names}
        self._told = True       # it is not the reader who moves them
        try:
            for name, control in self.controls.items():
                control.value = kept.get(name, self._rest[name])
        finally:
            self._told = False
        self._edit()

    def _moved(self, name, _):
        if not self._told:
            self._last = name
            self._edit()

    def _refine(self, _):
        """Search for better latents of the face that was given; what was moved stays moved."""
        was, began = self.psnr, time.perf_counter()
        self.refine.disabled, self.bar.value, self.bar.layout.visibility = True, 0, "visible"
        try:
            found = self.method.recover(self.start.image.to(_device(self.method)), STEPS,
                                        progress=lambda step: setattr(self.bar, "value", step))
        finally:
            self.refine.disabled, self.bar.layout.visibility = False, "hidden"
        self.start = _start(self.method, found.latents, self.start.image)
        seconds = time.perf_counter() - began
        self._refined = f" Before the {STEPS} steps of search, which took {seconds:.0f} s, it was {was:.1f} dB."
        self._place(self.amounts)

    def _edit(self):
        """Make the face of the sliders, and the strip of the last one: one batch, one pass of the generator."""
        began, start = time.perf_counter(), self.start
        ways = [self._changed(), *(self._changed(**{self._last: stop}) for stop in _stops(self.method, self._last))]
        moved = torch.cat([_move(self.method, start.latents, way) for way in ways])
        made = _shown(self.method, start, moved, self.details.value)
        self.latents, self.before, self.after, self.strip = moved[:1], start.face, made[:1], made[1:]
        if not self.amounts:    # alone in its batch it was made once: the same, bit for bit
            self.after = start.face if self.details.value else start.made
        self.psnr = None if start.image is None else float(metrics.psnr(start.made, start.image))
        self.milliseconds = (time.perf_counter() - began) * 1000
        self._show()

    def _show(self):
        label, done = self.face.label, ", ".join(_said(self.method, *each) for each in self.amounts.items()) or "as it is"
        last, stops = self._last, _stops(self.method, self._last)
        text = f"{label[:1].upper()}{label[1:]}: {done}. Made in {self.milliseconds:.0f} ms."
        if self.psnr is not None:
            text += f" What the generator makes of this face is {self.psnr:.1f} dB PSNR from it.{self._refined}"
        pair = [_picture("Before", f"{label} before the edit", self.before),
                _picture("After", f"{label} after the edit: {done}", self.after)]
        strip = [_picture(f"{stop:g}", f"{label} with {_said(self.method, last, stop)}", one[None])
                 for stop, one in zip(stops, self.strip, strict=True)]
        with self.canvas.hold_sync():
            self.canvas.rows = [["", pair], [_spoken(last), strip]]
            self.canvas.text = text


@functools.cache
def _canvas_class():
    """The pictures: an anywidget, so that one file of JavaScript serves ipywidgets 7, 8 and Colab."""
    anywidget, t = need("anywidget"), need("traitlets")

    class LatentPictures(anywidget.AnyWidget):
        _esm = script("latent_editor")
        _css = (HERE / "latent_editor.css").read_text()
        rows = t.List().tag(sync=True)          # [title, pictures], a picture is {name, alt, src}
        text = t.Unicode("").tag(sync=True)     # what is said below
        demo = t.Unicode("").tag(sync=True)     # key of the stepper to hide once a kernel answers

        def __init__(self, **traits):
            super().__init__(**traits)
            # A page without a kernel gets no answer, keeps the widget hidden and leaves the stepper on show.
            self.on_msg(lambda widget, content, buffers: content == {"type": "alive?"} and self.send({"type": "alive"}))

    return LatentPictures


def stepper(method, faces, names):
    """A page element that steps through faces edited beforehand, without a kernel: HTML text, under 300 kB.

    method: as for `LatentEditor`. faces: float (B, 3, height, width) in [-1, 1]; as many of the first as fit. names: of what
    is changed, one at a time, by the amounts of STRIP. The pictures are JPEGs, so colours are near those of the tensors.
    """
    frames = as_many_as_fit(faces, lambda number, face: _frames(method, face, number, names))
    return page(frames, [[("before", "Before"), ("after", "After")]], "Faces edited beforehand", "edit", NOTE, is_large(faces))


def _frames(method, face, number, names):
    """The steps of one face; its picture before is said once."""
    start = _found(method, face)
    ways = [(name, stop) for name in names for stop in _stops(method, name) if stop or name in method.layout.codes]
    moved = torch.cat([_move(method, start.latents, {name: stop}) for name, stop in ways])
    frames = [{"before": (f"Face {number} as it is", data_url(face, "JPEG")),
               "after": (f"Face {number}, nothing changed", data_url(face, "JPEG")),
               "kind": "as it is", "text": f"Face {number}, as it is."}]
    for way, one in zip(ways, _shown(method, start, moved, details=True), strict=True):
        done = _said(method, *way)
        frames.append({"after": (f"Face {number} with {done}", data_url(one[None], "JPEG")), "kind": done,
                       "text": f"Face {number}, {done}."})
    return frames


def _names(method, attributes):
    """What gets a slider: attributes first, then the codes."""
    missing = [verb for verb in (*VERBS, "layout", "attributes") if not hasattr(method, verb)]
    if missing:
        raise ValueError(f"the latent editor needs a method that finds latents and moves them, {type(method).__name__} has no "
                         f"{', '.join(missing)}; use load_pretrained('predictor')")
    known, codes = method.attributes, method.layout.codes
    chosen = [name for name in NAMED if name in known] if attributes is None else list(attributes)
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(f"attributes must be of {', '.join(known)}, got {', '.join(unknown)}")
    names = [name for name in chosen if name not in codes] + codes
    if not names:
        raise ValueError("this method has neither codes nor attribute directions, so nothing can be moved; train its phase "
                         "directions on faces with attributes")
    return names


def _kind(method, name):
    """attribute, c_cont or c_cat."""
    return name.rstrip("0123456789") if name in method.layout.codes else "attribute"


def _control(method, name):
    w = need("ipywidgets")
    style = {"description_width": "9.5em"}
    layout = w.Layout(width="340px", max_width="100%")
    if _kind(method, name) == "c_cat":
        options = [("as it is", AS_IT_IS), *((f"class {i}", i) for i in _stops(method, name))]
        return w.Dropdown(options=options, description=name, style=style, layout=layout)
    most = 3.0 if _kind(method, name) == "attribute" else 1.0
    return w.FloatSlider(value=0.0, min=-most, max=most, step=GRID, description=_spoken(name), style=style, layout=layout)


def _rest(method, latents, name):
    """Where the slider of a face stands that nobody has changed: a continuous code's is the value that it has."""
    kind = _kind(method, name)
    if kind == "c_cont":
        value = float(method.layout.split(latents)["c_cont"][0, int(name.removeprefix(kind))].clamp(-1, 1))
        return round(round(value / GRID) * GRID, 2)
    return AS_IT_IS if kind == "c_cat" else 0.0


def _stops(method, name):
    """The amounts of a slider that the strip shows."""
    kind = _kind(method, name)
    if kind == "c_cat":
        return range(method.layout.categorical[int(name.removeprefix(kind))])
    return STRIP if kind == "attribute" else [stop / 2 for stop in STRIP]


def _said(method, name, amount):
    kind = _kind(method, name)
    return f"{_spoken(name)} {amount:+g}" if kind == "attribute" else f"{name} {'class ' if kind == 'c_cat' else ''}{amount:g}"


def _spoken(name):
    return name.replace("_", " ").capitalize() if not name.startswith("c_") else name


def _picture(name, alt, image):
    return {"name": name, "alt": alt, "src": data_url(image)}


def _move(method, latents, amounts):
    """Latents (1, length) with all of these changed. Codes come last, so that each has the value that its slider says."""
    for name, amount in amounts.items():
        if _kind(method, name) == "attribute":
            latents = method.move(latents, name, amount)
        else:
            latents = method.layout.set(latents, name, amount)
    return latents


def _shown(method, start, latents, details):
    """Faces of latents (B, length) -> (B, 3, height, width); details: what the generator lacks of the given face is put back."""
    made = method.generate(latents.to(_device(method))).float().cpu()
    return (start.image + (made - start.made)).clamp(-1, 1) if details and start.image is not None else made


def _found(method, image):
    """Start from a face, (1, 3, height, width)."""
    return _start(method, method.layout.join(method.encode(image.to(_device(method)))), image)


def _start(method, latents, image=None):
    """Start from latents (1, length), of a sample or of a face that was given."""
    return Start(latents.cpu(), method.generate(latents).float().cpu(), image)


def _device(method):
    return next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"
