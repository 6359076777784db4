"""Pictures as people have them, decoded safely to RGB, and cut to size."""

import io
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# What is tried. Everything else Pillow knows stays shut: some of its readers start other programs.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
PIXEL_LIMIT = 80_000_000  # 240 MB once decoded; a 50-megapixel telephone photograph passes
SMALLEST = 8  # pixels on the shorter side


class DecodeError(ValueError):
    """A file that does not hold a usable picture: `.file` names it, `.reason` says why."""

    def __init__(self, file, reason):
        super().__init__(f"{file}: {reason}")
        self.file, self.reason = str(file), reason


def decode(source, name=None, limit=PIXEL_LIMIT, smallest=SMALLEST, background=(255, 255, 255)):
    """Read a picture from a path, an open binary file or bytes, as a PIL image in RGB, upright.

    EXIF rotation is applied; CMYK, greyscale and palette pictures become RGB; 16-bit samples are scaled to 8;
    transparency is laid over `background` (white); of an animation, the first frame is read. Colour profiles are
    ignored. `name` is what errors call the file; `limit` is the largest number of pixels, `smallest` the shortest
    side. Raises DecodeError, with the file's name and the reason, for a file that is empty, truncated, no picture,
    too large to decode safely, or too small; FileNotFoundError and the like for a path that cannot be opened.
    """
    if isinstance(source, (str, os.PathLike)):
        name = name or os.fspath(source)
        data = Path(source).read_bytes()
    elif isinstance(source, (bytes, bytearray, memoryview)):
        name, data = name or "the picture", bytes(source)
    else:
        name, data = name or getattr(source, "name", None) or "the picture", source.read()
    if not data:
        raise DecodeError(name, "empty, 0 bytes; copy or download it again")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of sizes that are judged here
            picture = Image.open(io.BytesIO(data), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise DecodeError(name, _too_large(limit)) from error
    except Exception as error:
        raise DecodeError(name, _no_picture(data, error)) from error
    width, height = picture.size
    if width * height > limit:
        raise DecodeError(name, f"{width}x{height} pixels: {_too_large(limit)}")
    if min(width, height) < smallest:
        raise DecodeError(name, f"too small, {width}x{height} pixels; at least {smallest}x{smallest} are needed")
    try:
        picture.load()
    except Exception as error:  # each format fails in its own way: OSError, SyntaxError, ValueError, EOFError ...
        raise DecodeError(name, f"truncated or damaged ({error}); copy or download it again") from error
    try:
        picture = ImageOps.exif_transpose(picture)
    except Exception:  # unreadable EXIF data: the pixels are fine, only the rotation is unknown
        pass
    return _rgb(picture, name, background)


def _too_large(limit):
    return f"a possible decompression bomb, more than the limit of {limit:,} pixels; scale it down first"


def _no_picture(data, error):
    if data[4:8] == b"ftyp":
        return "a HEIC or AVIF picture (or a video), which is not read here; save it as JPEG or PNG"
    if not isinstance(error, UnidentifiedImageError):
        return f"truncated or damaged ({error}); copy or download it again"
    start = data.lstrip()[:15].lower()
    page = ", it is a web page" if start.startswith((b"<!doctype html", b"<html")) else ""
    return f"no picture that can be read{page}; expected JPEG, PNG, WebP, GIF, BMP, TIFF or PPM"


def _rgb(picture, name, background):
    if picture.mode == "F":
        raise DecodeError(name, "holds floating-point samples, whose range is unknown; save it as 8- or 16-bit PNG")
    if picture.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion would clip everything above 255 to white
        grey = np.asarray(picture).astype(np.int64).clip(0, 65535)
        picture = Image.fromarray(((grey * 255 + 32767) // 65535).astype(np.uint8))
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", picture.size, (*background, 255)), picture).convert("RGB")
    return picture.convert("RGB")


def read_mask(source, size=None, name=None):
    """Read a mask somebody drew: white = hole. Returns bool numpy (H, W), True in the hole.

    Anything lighter than middle grey is hole; transparent parts are not. `size` is the (height, width) of the
    picture the mask belongs to: a mask of another size but the same shape is resized to it.
    Raises DecodeError as `decode` does, and ValueError for a mask of another shape than `size`.
    """
    picture = decode(source, name=name, background=(0, 0, 0)).convert("L")
    if size is not None and picture.size != (size[1], size[0]):
        (width, height), (h, w) = picture.size, size
        if abs(width * h - height * w) > 0.02 * height * w:
            raise ValueError(f"the mask must have the picture's shape, {w}x{h} pixels, got {width}x{height}; "
                             "draw it over the picture itself and save it without cropping")
        picture = picture.resize((w, h), Image.Resampling.BILINEAR)
    return np.asarray(picture) > 127


def pair(size):
    """`size` as (height, width): an int means a square. Raises ValueError unless both are 8 to 4,096 pixels."""
    got = (size, size) if isinstance(size, (int, np.integer)) else size
    try:
        height, width = (int(side) for side in got)
    except (TypeError, ValueError):
        raise ValueError(f"size must be an int or (height, width) in pixels, got {size!r}") from None
    if not (8 <= height <= 4096 and 8 <= width <= 4096):
        raise ValueError(f"size must be 8 to 4096 pixels a side, got {size!r}")
    return height, width


def check_box(box):
    """`box` as (left, top, right, bottom), fractions of the picture. Raises ValueError for anything else."""
    try:
        left, top, right, bottom = (float(edge) for edge in box)
    except (TypeError, ValueError):
        raise ValueError(f"box must be four fractions (left, top, right, bottom), got {box!r}") from None
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise ValueError("box must be fractions of the picture, 0 <= left < right <= 1 and 0 <= top < bottom <= 1, "
                         f"got {box!r}; divide pixels by the picture's width and height")
    return left, top, right, bottom


def cut(picture, size, box=None):
    """Crop a PIL picture and scale it, antialiased, to uint8 numpy (3, H, W).

    `size` is an int or (height, width). `box` is (left, top, right, bottom) as fractions of the picture; without
    it, the largest centred crop that has the shape of `size`, so that nothing is squashed.
    """
    height, width = pair(size)
    w, h = picture.size
    if box is None:
        scale = min(w / width, h / height)
        x, y = (w - scale * width) / 2, (h - scale * height) / 2
        crop = (x, y, x + scale * width, y + scale * height)
    else:
        left, top, right, bottom = check_box(box)
        crop = (left * w, top * h, right * w, bottom * h)
    scaled = picture.resize((width, height), Image.Resampling.BICUBIC, box=crop)
    return np.ascontiguousarray(np.asarray(scaled.convert("RGB")).transpose(2, 0, 1))
