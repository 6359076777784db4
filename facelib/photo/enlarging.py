"""The face of a photograph, shrunk to 8x8 pixels and enlarged again."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facelib import resolution
from facelib.data import to_float, to_uint8
from facelib.extras import need
from facelib.photo.files import check_suffix, check_whole, device, each, face_of, named, opened, save

LOW, HIGH = 8, 32      # pixels of a face before and after it is enlarged
INVENTED = ("The details are invented: many faces shrink to the same 8x8 pixels, and nobody can be identified by the one that "
            "a network makes of them.")


@dataclass(frozen=True)
class Upscaled:
    """A face enlarged: low (1, 3, 8, 8), what was left of it; face (1, 3, 32, 32), what a method invented from that;
    truth (1, 3, 32, 32), the photograph's own face, None where it had no more pixels. All in [-1, 1], on the CPU."""

    low: torch.Tensor
    face: torch.Tensor
    truth: torch.Tensor | None

    def picture(self):
        """The invented face, PIL RGB of 32x32 pixels."""
        return Image.fromarray(to_uint8(self.face)[0].permute(1, 2, 0).numpy())

    def figure(self, name):
        """The 8x8 pixels, bicubic, the invented face and the true one side by side, as a matplotlib figure.

        name: of the method, for the label.
        """
        from facelib import plots

        shown = {"8x8 pixels": resolution.METHODS["nearest"](self.low), "bicubic": resolution.METHODS["bicubic"](self.low),
                 f"{name}: invented": self.face, **({} if self.truth is None else {"photograph": self.truth})}
        return plots.sheet(torch.cat(list(shown.values())), cols=len(shown), zoom=5, titles=list(shown))


def upscale_photo(picture, method, eyes=None, aligned=False, back_projection=True):
    """Shrink the face of a photograph to 8x8 pixels and enlarge it to 32x32 -> Upscaled.

    picture: a path, PIL image or uint8 array (H, W, 3). The face is found and aligned; a picture of 8x8 pixels is taken as
    a face that was shrunk already. method: anything with `upscale(low)`. eyes: (x, y, x, y) in pixels of the photograph,
    where no face is found by itself. aligned: the whole picture, which must be square, is the face. back_projection:
    correct the enlargement so that it shrinks to the same 8x8 pixels.

    What comes out is invented: it looks like a face, and it is not evidence of anybody's. Raises NoFaceError when no face
    is found, DecodeError for a bad file, ValueError for arguments that do not fit and a method that cannot upscale.
    """
    check_upscale(method)
    photo = opened(picture)
    low, truth = _low(photo, eyes, aligned)
    face = method.upscale(low.to(device(method))).float().cpu()
    return Upscaled(low, resolution.back_project(face, low) if back_projection else face, truth)


def _low(photo, eyes, aligned):
    """The face of a photograph, shrunk, and as it was: (1, 3, 8, 8), (1, 3, 32, 32) or None of a smaller picture."""
    if aligned or photo.size == (LOW, LOW):
        check_whole(photo, eyes)
        if photo.width < HIGH:
            small = np.asarray(photo.resize((LOW, LOW), Image.Resampling.BOX)).transpose(2, 0, 1)
            return to_float(small.copy())[None], None
    truth = face_of(photo, HIGH, eyes, aligned).tensor()
    return resolution.shrink(truth), truth


def check_upscale(method):
    """Refuse, with ValueError, a method that does not enlarge faces."""
    if not hasattr(method, "upscale"):
        raise ValueError(f"{type(method).__name__} has no upscale(low): it does not enlarge faces; use one that does (enhance, "
                         "sr_regression, nearest, bicubic)")


def upscale_file(path, out, method, name="the method", sheet=False, **options):
    """Enlarge the face of the photograph `path` into the picture `out`, 32x32 pixels; with `sheet` also a comparison.

    The comparison, out/NAME-sheet.png beside out/NAME.png, is labelled with the method's `name`. options: as for
    `upscale_photo`. Raises ValueError, which names the file.
    """
    check_suffix(out)
    try:
        found = upscale_photo(path, method, **options)
    except ValueError as error:
        raise named(path, error) from error
    save(found.picture(), out)
    if sheet:
        figure = found.figure(name)
        figure.savefig(out.with_name(f"{out.stem}-sheet.png"), facecolor="white")
        need("matplotlib.pyplot").close(figure)


def upscale_folder(folder, out, method, name="the method", sheet=False, **options):
    """`upscale_file` for all photographs of a folder and its subfolders -> (how many were done, why others were not)."""
    return each(folder, out, lambda each: upscale_file(folder / each, out / Path(each).with_suffix(".png"), method, name,
                                                        sheet, **options), "enlarging")
