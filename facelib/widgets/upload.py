"""A reader's own photograph in a widget: uploaded, its face found and aligned, and handed on."""

import html
import io

from facelib.data.images import pair
from facelib.extras import need
from facelib.plots import img


class Upload:
    """A button for a photograph. Its face is found and aligned, or the reader says where the eyes are.

    size: of the aligned face, an int or (height, width) in pixels. take: called with the file's name and the face, float
    (1, 3, height, width) in [-1, 1]. `button` goes where a widget wants it, and `rest`, the messages and the eyes, below.
    Photograph and face stay in the memory of the machine whose kernel runs: nothing is written, nothing is sent on. Needs
    ipywidgets.
    """

    def __init__(self, size, take):
        w = need("ipywidgets")
        self.size, self.take, self.photo = pair(size), take, None
        self.button = w.FileUpload(accept="image/*", multiple=False, description="Your photo")
        self.eyes = w.Text(placeholder="x,y,x,y", description="Eyes", style={"description_width": "auto"})
        self.use_eyes = w.Button(description="Use these eyes")
        self.message, self.preview = w.HTML(), w.HTML()
        self.by_hand = w.VBox([self.preview, w.HBox([self.eyes, self.use_eyes], layout=w.Layout(flex_flow="row wrap"))],
                              layout=w.Layout(display="none"))
        self.rest = w.VBox([self.message, self.by_hand])
        self.button.observe(self._receive, "value")
        self.use_eyes.on_click(lambda _: self._place(self.eyes.value))

    def _say(self, text, by_hand=False):
        self.message.value = f'<p role="alert">{html.escape(text)}</p>' if text else ""
        self.by_hand.layout.display = None if by_hand else "none"

    def _receive(self, change):
        from facelib.data.images import DecodeError, decode
        files = uploaded(change["new"])
        if not files:
            return
        name, content = files[-1]
        try:
            self.photo = (name, decode(io.BytesIO(content), name=name))
        except DecodeError as error:
            self._say(str(error))
            return
        self._place()

    def _place(self, eyes=None):
        """Align the uploaded photo, by the eyes found in it or by `eyes`, "x,y,x,y" in its pixels, and hand it on."""
        from facelib.data import align
        name, photo = self.photo
        self._say(f"Looking for the face in {name} ...")
        try:
            given = None if eyes is None else _numbers(eyes)
            face = align.align(photo, self.size, eyes=given)
        except (ValueError, ImportError) as error:
            reason = f"No face was found in {name}" if isinstance(error, align.NoFaceError) else str(error)
            self.preview.value = _ruled(photo, name)
            self._say(f"{reason}. Read the middles of both eyes off the rulers and type them as x,y,x,y.", by_hand=True)
            return
        self._say("")
        self.take(name, face.tensor())


def uploaded(value):
    """FileUpload's value -> [(name, bytes)]: a dict by name in ipywidgets 7, a tuple of dicts in 8."""
    if isinstance(value, dict):
        return [(name, bytes(file["content"])) for name, file in value.items()]
    return [(file["name"], bytes(file["content"])) for file in value]


def _numbers(text):
    try:
        values = [float(v) for v in text.replace(";", ",").split(",")]
    except ValueError:
        values = []
    if len(values) != 4:
        raise ValueError(f"Eyes must be four numbers x,y,x,y in pixels of the photo, got {text!r}")
    return values


def _ruled(photo, name):
    """The photo between rulers in its own pixels, so that a reader can tell where the eyes are."""
    fig = need("matplotlib.figure").Figure(figsize=(5, 5 * photo.height / photo.width + 0.5), dpi=100,
                                           layout="constrained")
    axes = fig.subplots()
    axes.imshow(photo)
    axes.grid(alpha=0.4)
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png")
    return img(buffer.getvalue(), f"{name}, {photo.width} by {photo.height} pixels, with rulers", "max-width:100%")
