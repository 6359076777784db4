"""Decoding what people drop in, and refusing what is no picture."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from facelib.data.images import DecodeError, check_box, cut, decode, pair, read_mask


def gradient(width=40, height=24):
    y, x = np.mgrid[:height, :width]
    return Image.fromarray(np.stack([x * 255 // width, y * 255 // height, 255 - x * 255 // width], -1).astype(np.uint8))


def saved(picture, kind, **options):
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def apart(a, b):
    return np.abs(np.asarray(a, int) - np.asarray(b, int)).mean()


def png(width, height, depth, colour, rows):
    """A PNG written by hand, for kinds that Pillow does not write."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind, mode, options, tolerance", [
    ("JPEG", "RGB", {"quality": 95, "subsampling": 0}, 4), ("JPEG", "CMYK", {"quality": 95}, 12),
    ("PNG", "RGB", {}, 0), ("PNG", "RGBA", {}, 0), ("PNG", "P", {}, 40), ("WEBP", "RGB", {"lossless": True}, 0),
    ("GIF", "P", {}, 40), ("BMP", "RGB", {}, 0), ("TIFF", "RGB", {}, 0)])
def test_formats_become_rgb(kind, mode, options, tolerance):
    picture = decode(saved(gradient().convert(mode), kind, **options))
    assert picture.mode == "RGB" and picture.size == (40, 24)
    assert apart(picture, gradient()) <= tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_greyscale_has_three_equal_channels(kind):
    pixels = np.asarray(decode(saved(gradient().convert("L"), kind)))
    assert (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()


@pytest.mark.parametrize("orientation, turned", [
    (1, None), (2, Image.Transpose.FLIP_LEFT_RIGHT), (3, Image.Transpose.ROTATE_180),
    (6, Image.Transpose.ROTATE_270), (8, Image.Transpose.ROTATE_90)])
def test_exif_rotation_is_applied(orientation, turned):
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = decode(saved(gradient(), "JPEG", quality=95, exif=exif))
    wanted = gradient() if turned is None else gradient().transpose(turned)
    assert picture.size == wanted.size and apart(picture, wanted) < 8


def test_sixteen_bit_grey_keeps_its_greys():
    values = np.linspace(0, 65535, 16 * 16).astype(">u2").reshape(16, 16)
    data = png(16, 16, 16, 0, b"".join(b"\0" + row.tobytes() for row in values))
    assert apart(np.asarray(decode(data))[..., 0], values.astype(int) / 257) < 1


def test_sixteen_bit_colour():
    values = np.full((16, 16, 3), (65535, 32768, 0), ">u2")
    data = png(16, 16, 16, 2, b"".join(b"\0" + row.tobytes() for row in values))
    assert apart(np.asarray(decode(data))[3, 3], (255, 128, 0)) < 1


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparency_is_laid_over_white(kind):
    clear = np.zeros((20, 20, 4), np.uint8)
    clear[:, 10:] = (200, 0, 0, 255)
    picture = np.asarray(decode(saved(Image.fromarray(clear), kind, lossless=True)))
    assert (picture[:, :10] == 255).all() and (picture[:, 10:] == (200, 0, 0)).all()


def test_transparent_palette_is_laid_over_white():
    picture = Image.new("P", (16, 16), 0)
    picture.putpalette([0, 0, 0, 10, 200, 30])
    picture.paste(1, (8, 0, 16, 16))
    pixels = np.asarray(decode(saved(picture, "PNG", transparency=0)))
    assert (pixels[:, :8] == 255).all() and (pixels[:, 8:] == (10, 200, 30)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_truncated_is_refused_with_name_and_reason(tmp_path, kind, part):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8))
    data = saved(noise, kind)
    path = tmp_path / f"holiday.{kind.lower()}"
    path.write_bytes(data[:int(len(data) * part)])
    with pytest.raises(DecodeError, match="truncated or damaged|no picture") as error:
        decode(path)
    assert path.name in str(error.value) and error.value.file == str(path)


def test_truncated_says_so(tmp_path):
    path = tmp_path / "half.jpg"
    path.write_bytes(saved(gradient(200, 200), "JPEG")[:-300])
    with pytest.raises(DecodeError, match=r"half\.jpg: truncated or damaged .* copy or download it again"):
        decode(path)


def test_no_picture_is_refused(tmp_path):
    path = tmp_path / "notes.jpg"
    path.write_text("no picture at all")
    with pytest.raises(DecodeError, match=r"notes\.jpg: no picture that can be read; expected JPEG, PNG"):
        decode(path)
    with pytest.raises(DecodeError, match="it is a web page"):
        decode(b"<!DOCTYPE html><html>quota exceeded</html>")
    with pytest.raises(DecodeError, match="save it as JPEG or PNG"):
        decode(b"\0\0\0\x18ftypheic" + bytes(100))
    with pytest.raises(DecodeError, match="no picture"):  # PostScript would be handed to another program
        decode(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 50 50\n")


def test_empty_is_refused(tmp_path):
    path = tmp_path / "empty.png"
    path.touch()
    with pytest.raises(DecodeError, match=r"empty\.png: empty, 0 bytes"):
        decode(path)


def test_decompression_bombs_are_refused_before_decoding(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(png(30000, 30000, 8, 2, b"\0" * 1000))
    with pytest.raises(DecodeError, match=r"bomb\.png: .*decompression bomb, .* limit of 80,000,000 pixels"):
        decode(path)
    path.write_bytes(png(10000, 9000, 8, 2, b"\0" * 1000))  # below Pillow's own limits
    with pytest.raises(DecodeError, match="10000x9000 pixels: a possible decompression bomb"):
        decode(path)
    with pytest.raises(DecodeError, match="limit of 500 pixels"):
        decode(saved(gradient(), "PNG"), limit=500)


def test_too_small_is_refused():
    with pytest.raises(DecodeError, match="tiny.png: too small, 40x3 pixels; at least 8x8"):
        decode(saved(gradient(40, 3), "PNG"), name="tiny.png")


def test_floating_point_samples_are_refused():
    with pytest.raises(DecodeError, match="floating-point samples"):
        decode(saved(Image.new("F", (16, 16)), "TIFF"))


def test_open_files_and_missing_files(tmp_path):
    assert decode(io.BytesIO(saved(gradient(), "PNG"))).size == (40, 24)
    with pytest.raises(FileNotFoundError):
        decode(tmp_path / "not there.jpg")


def test_cut_does_not_squash_and_is_antialiased():
    y, x = np.mgrid[:100, :200]
    circle = Image.fromarray((((x - 100) ** 2 + (y - 50) ** 2 < 40**2) * 255).astype(np.uint8))
    small = cut(circle.convert("RGB"), 32)[0] / 255.0
    assert small.shape == (32, 32)
    assert abs(small.sum(0).max() - small.sum(1).max()) < 1  # still round
    stripes = Image.fromarray((x % 2 * 255).astype(np.uint8)).convert("RGB")
    assert abs(cut(stripes, 20).astype(int) - 127)[:, :, 1:-1].max() < 8


def test_cut_takes_the_box_and_any_shape():
    right = cut(gradient(100, 50), (10, 30), (0.5, 0.0, 1.0, 1.0))
    assert right.shape == (3, 10, 30) and right.dtype == np.uint8
    assert abs(right[0].mean() - np.asarray(gradient(100, 50))[:, 50:, 0].mean()) < 2


@pytest.mark.parametrize("box", [(0, 0, 2, 1), (0.5, 0, 0.5, 1), (1, 2, 3), "all", (0, 0, 10, 10)])
def test_box_errors(box):
    with pytest.raises(ValueError, match="box must be .*got"):
        check_box(box)


@pytest.mark.parametrize("size", [0, 7, 5000, (64,), "64x64", None])
def test_size_errors(size):
    with pytest.raises(ValueError, match="size must be .*got"):
        pair(size)


def test_masks_white_is_hole_and_clear_is_not(tmp_path):
    drawn = np.zeros((30, 20, 4), np.uint8)
    drawn[5:10, 4:8] = 255
    drawn[20:, :] = (255, 255, 255, 0)
    path = tmp_path / "mask.png"
    Image.fromarray(drawn).save(path)
    mask = read_mask(path)
    assert mask.shape == (30, 20) and mask.dtype == bool and mask.sum() == 20 and mask[5:10, 4:8].all()
    assert read_mask(path, (60, 40)).sum() == pytest.approx(80, abs=20)
    with pytest.raises(ValueError, match="the mask must have the picture's shape, 50x50 pixels, got 20x30"):
        read_mask(path, (50, 50))
