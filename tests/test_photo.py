"""Photographs: only the hole changes, nothing of what it hides counts, faces are enlarged, mistakes are said plainly."""

import numpy as np
import pytest
import torch
from PIL import Image

from facelib import masks, metrics, resolution
from facelib.data import to_uint8
from facelib.data.align import NoFaceError, align
from facelib.data.images import DecodeError
from facelib.photo import complete_photo, upscale_photo

MOUTH = (205, 130, 45, 35)         # x, y, width, height in the astronaut's photograph
EYES = (202.4, 100.3, 247.2, 103.1)


@pytest.fixture(scope="module")
def photo():
    """Eileen Collins, NASA, public domain: a photograph that comes with scikit-image."""
    return Image.fromarray(pytest.importorskip("skimage.data").astronaut())


@pytest.fixture(scope="module")
def method(tmp_path_factory):
    """GLCIC after three steps on noise: what it fills in means nothing, but it is a network."""
    from facelib import fit
    from facelib.data import FaceData, Split
    from facelib.methods.glcic import GLCIC

    split = Split(np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8))
    torch.manual_seed(0)
    return fit(GLCIC(GLCIC.presets["smoke"]), FaceData("noise", split, split, split), tmp_path_factory.mktemp("run") / "glcic",
               steps=3, quiet=True, precision="no")


class Fills:
    """A method that puts one picture, or one value, into every hole."""

    def __init__(self, inside):
        self.inside = inside

    def complete(self, image, mask):
        return masks.composite(image, mask, torch.as_tensor(self.inside, dtype=torch.float32).expand_as(image))


def box_mask(photo, box):
    x, y, w, h = box
    where = np.zeros((photo.height, photo.width), bool)
    where[y:y + h, x:x + w] = True
    return where


@pytest.mark.parametrize("blend", [True, False])
def test_only_the_hole_changes(photo, method, blend):
    result = complete_photo(photo, method, hole=MOUTH, blend=blend)
    where = box_mask(photo, MOUTH)
    before, after = np.asarray(photo), np.asarray(result)
    assert result.mode == "RGB" and result.size == photo.size
    assert np.array_equal(before[~where], after[~where])
    assert (before[where] != after[where]).any(1).mean() > 0.9


@pytest.mark.parametrize("eyes", [None, EYES])
def test_what_the_hole_hides_has_no_influence(photo, method, eyes):
    where = box_mask(photo, MOUTH)
    garbled = np.array(photo)
    garbled[where] = np.random.default_rng(0).integers(0, 256, (where.sum(), 3))
    first = complete_photo(photo, method, hole=MOUTH, eyes=eyes)
    assert np.array_equal(np.asarray(first), np.asarray(complete_photo(garbled, method, hole=MOUTH, eyes=eyes)))


def test_masks_in_every_form_say_the_same(photo, method, tmp_path):
    where = box_mask(photo, MOUTH)
    drawn = Image.fromarray(where.astype(np.uint8) * 255)
    transparent = Image.merge("RGBA", [drawn.point(lambda _: 255)] * 3 + [drawn])         # white where opaque
    drawn.save(tmp_path / "mask.png")
    photo.save(tmp_path / "photo.png")
    expected = np.asarray(complete_photo(photo, method, hole=MOUTH, eyes=EYES))
    for mask in (where, where.astype(np.uint8) * 255, drawn, transparent, tmp_path / "mask.png"):
        result = complete_photo(tmp_path / "photo.png", method, mask=mask, eyes=EYES)
        assert np.array_equal(np.asarray(result), expected)


def test_the_hole_lands_where_it_was(photo):
    """A method that knows the true face at 64 pixels gives the photograph back, but for the detail that 64 pixels hold."""
    truth = align(photo, 64, EYES).tensor()
    result = np.asarray(complete_photo(photo, Fills(truth), hole=MOUTH, eyes=EYES), np.float64)
    where = box_mask(photo, MOUTH)
    errors = {(dx, dy): np.sqrt(np.square(np.roll(photo, (dy, dx), (0, 1)) - result)[where].mean())
              for dx in (-1, 0, 1) for dy in (-1, 0, 1)}
    assert min(errors, key=errors.get) == (0, 0) and errors[0, 0] < 15                    # grey levels of 255


def test_blending_hides_the_seam():
    """On a grey ramp a fill of one value leaves a step at the seam; blended, the ramp goes on through the hole."""
    ramp = np.repeat(np.linspace(60, 200, 256).astype(np.uint8)[None, :, None], 256, 0).repeat(3, 2)
    known = {"hole": (100, 100, 50, 50), "eyes": (110, 110, 146, 110)}
    steps = []
    for blend in (False, True):
        result = np.asarray(complete_photo(ramp, Fills(0.9), blend=blend, **known), np.float64)
        steps.append(np.abs(result[105:145, 100] - result[105:145, 99]).max())
    assert steps[0] > 80 and steps[1] <= 2


def test_a_large_photograph_keeps_its_resolution(photo, method):
    large = photo.crop((120, 10, 330, 220)).resize((1260, 1260), Image.Resampling.BICUBIC)
    box, eyes = (510, 720, 270, 210), tuple(6 * (v - o) for v, o in zip(EYES, (120, 10, 120, 10), strict=True))
    result = complete_photo(large, method, hole=box, eyes=eyes)
    where = box_mask(large, box)
    assert result.size == large.size
    assert np.array_equal(np.asarray(result)[~where], np.asarray(large)[~where])


def test_a_hole_over_the_eyes_needs_the_eyes(photo, method):
    face = (165, 60, 120, 100)
    with pytest.raises(NoFaceError, match='--eyes "x,y,x,y"'):
        complete_photo(photo, method, hole=face)
    assert complete_photo(photo, method, hole=face, eyes=EYES).size == photo.size


@pytest.mark.parametrize(("options", "message"), [
    ({"hole": (10, 400, 40, 40)}, "100.0% of the hole lies outside the face's crop"),
    ({"hole": (500, 10, 40, 40)}, "inside the photograph of 512x512, got .500.0, 10.0, 40.0, 40.0"),
    ({"hole": (10, 10, 0, 40)}, "hole must be x, y, width, height in pixels"),
    ({"hole": (10, 10, 40)}, "hole must be x, y, width, height in pixels"),
    ({"hole": (10, 10, 40, float("nan"))}, "hole must be x, y, width, height in pixels"),
    ({"mask": np.ones((256, 512), bool)}, "the photograph's size, 512x512 pixels, got 512x256; draw it over"),
    ({"mask": Image.new("L", (100, 100), 255)}, "the photograph's size, 512x512 pixels, got 100x100"),
    ({"mask": np.zeros((512, 512), bool)}, "marks no hole"),
    ({"mask": np.ones((512, 512), bool)}, "covers the whole photograph"),
    ({}, "say where the hole is"),
    ({"hole": MOUTH, "mask": np.ones((512, 512), bool)}, "say where the hole is: either .* not both"),
])
def test_mistakes_are_said_plainly(photo, method, options, message):
    with pytest.raises(ValueError, match=message):
        complete_photo(photo, method, eyes=EYES, **options)


def test_what_is_no_photograph_is_refused(method, tmp_path):
    (tmp_path / "no.jpg").write_text("<!doctype html>")
    with pytest.raises(DecodeError, match="no.jpg: .*it is a web page"):
        complete_photo(tmp_path / "no.jpg", method, hole=MOUTH)
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\), got float64 \(64, 64, 3\)"):
        complete_photo(np.zeros((64, 64, 3)), method, hole=(1, 1, 9, 9))


class Bicubic:
    """A method that enlarges as `resolution` does, and remembers what it was given."""

    def upscale(self, low):
        self.low = low
        return resolution.METHODS["bicubic"](low)


def test_a_face_is_shrunk_and_enlarged(photo):
    """The face that `align` finds, its mean over blocks, and what was made of that; back-projected, it shrinks back."""
    method = Bicubic()
    found = upscale_photo(photo, method, EYES)
    truth = align(photo, 32, EYES).tensor()
    assert torch.equal(found.truth, truth) and torch.equal(found.low, resolution.shrink(truth))
    assert torch.equal(method.low, found.low)
    assert found.face.shape == (1, 3, 32, 32) and float(resolution.consistency(found.face, found.low)) < 0.25
    raw = upscale_photo(photo, method, EYES, back_projection=False)
    assert torch.equal(raw.face, resolution.METHODS["bicubic"](found.low))
    assert found.picture().size == (32, 32) and found.picture().mode == "RGB"
    level = np.asarray(found.picture(), np.float64) / 127.5 - 1
    assert np.abs(level.transpose(2, 0, 1) - found.face[0].numpy()).max() <= 0.5 / 127.5 + 1e-6
    assert float(metrics.psnr(found.face, truth)) > 15                                  # it is the same face


def test_the_face_is_found_by_itself(photo):
    found, by_hand = upscale_photo(photo, Bicubic()), upscale_photo(photo, Bicubic(), EYES)
    assert float((found.low - by_hand.low).abs().mean()) < 0.1


def test_a_picture_of_8x8_is_enlarged_as_it_is(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "low.png")
    for picture in (pixels, Image.fromarray(pixels), tmp_path / "low.png"):
        found = upscale_photo(picture, Bicubic())
        assert found.truth is None and np.array_equal(to_uint8(found.low)[0].permute(1, 2, 0), pixels)
    assert [text.get_text() for text in found.figure("mine").texts] == ["8x8 pixels", "bicubic", "mine: invented"]


@pytest.mark.parametrize("side", [16, 32, 64, 130])
def test_an_aligned_face_is_taken_whole(photo, side):
    """Where it has the pixels, there is a truth; a smaller one is shrunk to 8x8 all the same."""
    crop = align(photo, side, EYES).crop
    found = upscale_photo(crop, Bicubic(), aligned=True)
    assert (found.truth is None) == (side < 32)
    assert float((found.low - upscale_photo(photo, Bicubic(), EYES).low).abs().mean()) < 0.06
    if side == 32:
        assert np.array_equal(to_uint8(found.truth)[0].permute(1, 2, 0), np.asarray(crop))


def test_what_cannot_be_enlarged_is_said_plainly(photo, method, tmp_path):
    blots = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    with pytest.raises(NoFaceError, match="no face was found.*If this picture of 40x40 pixels is nothing but an aligned face"
                                          ".* --aligned"):
        upscale_photo(blots, Bicubic())
    with pytest.raises(NoFaceError, match='--eyes "x,y,x,y"$'):
        upscale_photo(blots[:30], Bicubic())
    for picture, options, message in [
            (blots[:30], {"aligned": True}, "an aligned face is square, got 40x30 pixels; align it first"),
            (blots, {"aligned": True, "eyes": EYES}, "40x40 pixels are taken as the face as a whole: leave out the eyes"),
            (blots[:8, :8], {"eyes": EYES}, "8x8 pixels are taken as the face as a whole"),
            (blots / 255, {}, r"must be uint8 \(H, W, 3\), got float64")]:
        with pytest.raises(ValueError, match=message):
            upscale_photo(picture, Bicubic(), **options)
    with pytest.raises(ValueError, match=r"GLCIC has no upscale\(low\): it does not enlarge faces; use one that does"):
        upscale_photo(photo, method)
    Image.fromarray(blots[:7, :7]).save(tmp_path / "tiny.png")
    with pytest.raises(DecodeError, match="tiny.png: too small, 7x7 pixels"):
        upscale_photo(tmp_path / "tiny.png", Bicubic())
