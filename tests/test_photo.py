"""Photographs: only the hole changes, nothing of what it hides counts, faces are enlarged or edited, mistakes are said."""

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from facelib import masks, metrics, resolution
from facelib.data import to_uint8
from facelib.data.align import NoFaceError, align
from facelib.data.images import DecodeError
from facelib.photo import complete_file, complete_photo, edit_photo, edit_strip, matching, upscale_photo

MOUTH = (205, 130, 45, 35)         # x, y, width, height in the astronaut's photograph
EYES = (202.4, 100.3, 247.2, 103.1)
BESIDE = (235, 20, 140, 190)       # half of her face, and as much again of what is beside its crop


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

    def __init__(self, inside, size=64):
        self.inside, self.cfg = inside, SimpleNamespace(size=size)

    def complete(self, image, mask):
        self.image, self.mask = image, mask
        return masks.composite(image, mask, torch.as_tensor(self.inside, dtype=torch.float32).expand_as(image))


def noise(photo, strength, size=0):
    """A photograph with noise of this standard deviation in grey levels, as coarse as a blur by `size` pixels makes it."""
    added = np.random.default_rng(1).normal(size=(photo.height, photo.width, 3))
    if size:
        added = cv2.GaussianBlur(added, (0, 0), size)
    added *= strength / added.std()
    return Image.fromarray(np.round(np.asarray(photo) + added).clip(0, 255).astype(np.uint8))


def enlarged(photo, times):
    """Her face alone, enlarged: (the photograph, where her mouth is in it, and her eyes)."""
    large = photo.crop((120, 10, 330, 220)).resize((210 * times, 210 * times), Image.Resampling.BICUBIC)
    eyes = tuple(times * (v - o) for v, o in zip(EYES, (120, 10, 120, 10), strict=True))
    return large, (85 * times, 120 * times, 45 * times, 35 * times), eyes


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


@pytest.mark.parametrize("grain", [True, False])
@pytest.mark.parametrize(("hole", "eyes"), [(MOUTH, None), (MOUTH, EYES), (BESIDE, EYES)])
def test_what_the_hole_hides_has_no_influence(photo, method, hole, eyes, grain):
    noisy = noise(photo, 6)
    where = box_mask(noisy, hole)
    garbled = np.array(noisy)
    garbled[where] = np.random.default_rng(0).integers(0, 256, (where.sum(), 3))
    first, second = (complete_photo(picture, method, hole=hole, eyes=eyes, grain=grain) for picture in (noisy, garbled))
    assert np.array_equal(np.asarray(first), np.asarray(second))


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
    large, box, eyes = enlarged(photo, 6)
    result = complete_photo(large, method, hole=box, eyes=eyes)
    where = box_mask(large, box)
    assert result.size == large.size
    assert np.array_equal(np.asarray(result)[~where], np.asarray(large)[~where])


@pytest.mark.parametrize("grain", [True, False])
def test_no_seam_at_the_photographs_own_resolution(photo, grain):
    """From the last pixel outside the hole to the first inside it is no greater step than from one to the next outside."""
    large, box, eyes = enlarged(photo, 6)
    large, (x, y, w, h) = noise(large, 6, 0.7), box

    def step(picture, column):
        return np.abs(picture[y:y + h, column] - picture[y:y + h, column - 1]).mean()

    steps = []
    for blend in (False, True):
        result = np.asarray(complete_photo(large, Fills(0.9), hole=box, eyes=eyes, blend=blend, grain=grain), np.float64)
        usual = np.mean([step(result, column) for column in (*range(x - 12, x - 2), *range(x + w + 3, x + w + 13))])
        steps.append(max(step(result, x), step(result, x + w)) / usual)
    assert steps[0] > 8 and steps[1] < 1.1


def test_a_real_network_of_128_pixels(photo):
    from facelib.methods.glcic import GLCIC

    method = GLCIC(GLCIC.presets["today"])
    for hole in (MOUTH, BESIDE):
        result = np.asarray(complete_photo(photo, method, hole=hole, eyes=EYES))
        where = box_mask(photo, hole)
        assert np.array_equal(result[~where], np.asarray(photo)[~where])
        assert (result[where] != np.asarray(photo)[where]).any(1).mean() > 0.9


@pytest.mark.parametrize("size", [(80, 64), (64, 80)])
def test_a_method_for_oblong_faces(photo, size):
    """It is handed the middle of the square that a method for square faces gets, and its hole lands where it was."""
    method, square = Fills(0.2, size), Fills(0.2, 80)
    results = [np.asarray(complete_photo(photo, by, hole=MOUTH, eyes=EYES)) for by in (method, square)]
    where = box_mask(photo, MOUTH)
    assert np.array_equal(results[0][~where], np.asarray(photo)[~where])
    assert np.abs(results[0].astype(int) - results[1]).max() <= 2
    middle = np.s_[..., (80 - size[0]) // 2:(80 + size[0]) // 2, (80 - size[1]) // 2:(80 + size[1]) // 2]
    assert tuple(method.image.shape) == (1, 3, *size) and torch.equal(method.mask, square.mask[middle])
    assert float((method.image - square.image[middle]).abs().max()) < 0.05
    truth = align(photo, size, EYES).tensor()
    result = np.asarray(complete_photo(photo, Fills(truth, size), hole=MOUTH, eyes=EYES), np.float64)
    assert np.sqrt(np.square(result - photo)[where].mean()) < 15


@pytest.mark.parametrize("size", [64, (80, 64)])
def test_the_hole_in_the_middle_of_an_aligned_face(photo, size, tmp_path):
    """The eyes are where the template of this size has them, so the method gets the very face that was aligned."""
    shape = (160, 160) if size == 64 else (200, 160)
    align(photo, shape, EYES).crop.save(tmp_path / "face.png")
    method = Fills(0.0, size)
    complete_file(tmp_path / "face.png", tmp_path / "out.png", method, hole="centre")
    truth = align(photo, size, EYES)
    known = method.mask == 0
    assert float((method.image - truth.tensor()).abs()[known.expand_as(method.image)].mean()) < 0.02
    assert abs(float(method.mask.mean()) - 0.25) < 0.04
    Image.new("RGB", (160, 120)).save(tmp_path / "wide.png")
    with pytest.raises(ValueError, match="wide.png: a centre hole is for aligned faces, which are square.*, got 160x120"):
        complete_file(tmp_path / "wide.png", tmp_path / "out.png", method, hole="centre")


# -- what the photograph looks like ------------------------------------------------------------------------------------

REDDISH = torch.tensor([0.5, -0.2, 0.1]).view(1, 3, 1, 1)


@pytest.mark.parametrize("hole", [MOUTH, BESIDE])
def test_a_grey_photograph_stays_grey(photo, hole):
    grey = noise(photo, 5).convert("L").convert("RGB")
    result = np.asarray(complete_photo(grey, Fills(REDDISH), hole=hole, eyes=EYES))
    assert (result[..., 0] == result[..., 1]).all() and (result[..., 0] == result[..., 2]).all()
    coloured = np.asarray(complete_photo(photo, Fills(REDDISH), hole=hole, eyes=EYES), int)[box_mask(photo, hole)]
    assert np.abs(coloured[:, 0] - coloured[:, 1]).mean() > 10              # what it would be in a colour photograph


def test_a_toned_photograph_keeps_its_tone(photo):
    """Sepia, with noise in its colours: at each brightness, the hole has the colour that this brightness has elsewhere."""
    light = np.asarray(photo.convert("L"), np.float64)[..., None] / 255
    sepia = noise(Image.fromarray((255 * light ** (0.8, 1, 1.3)).astype(np.uint8)), 2)
    result = complete_photo(sepia, Fills(REDDISH), hole=MOUTH, eyes=EYES, grain=False)
    result = np.asarray(result)[box_mask(photo, MOUTH)] / 255
    wanted = result[:, 1:2] ** (0.8, 1, 1.3)
    assert np.abs(result - wanted).mean() < 2 / 255 and np.abs(result - wanted).max() < 12 / 255


def test_only_a_photograph_without_colours_has_a_tone(photo):
    pixels = np.asarray(photo).reshape(-1, 3)[::7] / 127.5 - 1
    assert matching.tone(pixels) is None and matching.tone(pixels[:10]) is None
    for weights in ((1, 1, 1), (1.0, 0.9, 0.75)):
        toned = (matching.brightness(pixels)[:, None] + 1) * weights - 1
        tone = matching.tone(toned)
        assert np.abs(tone(toned) - toned).max() < 1 / 127.5 and tone(pixels.reshape(-1, 1, 3)).shape == (len(pixels), 1, 3)
        grey = tone(pixels) if weights == (1, 1, 1) else toned
        assert np.abs(np.ptp((grey + 1) / weights, -1)).max() < 1e-9


@pytest.mark.parametrize("colours", ["RGB", "L"])
@pytest.mark.parametrize("size", [0, 0.7, 2])
def test_the_hole_has_the_grain_of_its_surroundings(size, colours):
    """A smooth photograph with noise, fine and coarse: what is filled in has as much of it, and as coarse."""
    light = np.linspace(60, 180, 600)[:, None] + np.linspace(0, 30, 600)
    smooth = Image.fromarray(light[..., None].repeat(3, 2).astype(np.uint8))
    noisy = noise(smooth, 8, size).convert(colours).convert("RGB")
    box, eyes = (220, 330, 160, 120), (230, 260, 370, 260)
    where = box_mask(noisy, box)
    inner = box_mask(noisy, (230, 340, 140, 100))
    results = [np.asarray(complete_photo(noisy, Fills(0.0), hole=box, eyes=eyes, grain=grain), np.float64)
               for grain in (True, True, False)]
    assert np.array_equal(results[0], results[1])                       # the same call, the same grain
    grain = results[0] - results[2]
    around = np.asarray(noisy, np.float64) - np.asarray(smooth)
    there, here = around[~where].std(0), grain[inner].std(0)
    assert np.abs(here / there - 1).max() < 0.25
    neighbours = [(values[:, 1:] * values[:, :-1])[part].mean() / np.square(values[:, 1:])[part].mean()
                  for values, part in ((around, ~where[:, 1:]), (grain, inner[:, 1:]))]
    assert abs(neighbours[0] - neighbours[1]) < 0.12
    if colours == "L":
        assert (results[0][..., 0] == results[0][..., 2]).all()


def test_a_clean_photograph_gets_no_grain(photo):
    ramp = Image.fromarray(np.linspace(60, 200, 512)[None, :, None].repeat(512, 0).repeat(3, 2).astype(np.uint8))
    for hole in (MOUTH, BESIDE):
        results = [complete_photo(ramp, Fills(0.1), hole=hole, eyes=EYES, grain=grain) for grain in (True, False)]
        assert np.array_equal(*results)
    tiny = complete_photo(noise(photo, 9), Fills(0.1), hole=(220, 140, 6, 6), eyes=EYES)       # too few pixels to measure
    assert tiny.size == photo.size


# -- where the hole and the face are -----------------------------------------------------------------------------------

def test_a_hole_larger_than_the_crop(photo):
    """The method fills what lies in the crop; beside it goes on what is around the hole there, here the light background."""
    before = np.asarray(photo)
    result = np.asarray(complete_photo(photo, Fills(-0.6), hole=BESIDE, eyes=EYES))
    where = box_mask(photo, BESIDE)
    assert np.array_equal(result[~where], before[~where])
    outside = where & ~align(photo, 64, EYES).inside()
    assert 0.3 < outside.sum() / where.sum() < 0.6
    assert np.abs(result[outside].mean(0) - before[30:200, 380:400].mean((0, 1))).max() < 25
    everything = (10, 10, 480, 480)
    result = np.asarray(complete_photo(photo, Fills(0.2), hole=everything, eyes=EYES))
    assert np.array_equal(result[~box_mask(photo, everything)], before[~box_mask(photo, everything)])


def test_the_face_next_to_the_hole_is_completed(photo):
    """Of two faces, not the larger one but the one in which the hole is."""
    both = Image.new("RGB", (900, 520), (120, 130, 140))
    both.paste(photo.crop((100, 0, 360, 260)).resize((520, 520)), (0, 0))
    both.paste(photo.crop((100, 0, 360, 260)), (600, 200))
    for scale, left, top in ((2, 0, 0), (1, 600, 200)):
        x, y, w, h = MOUTH
        hole = (scale * (x - 100) + left, scale * y + top, scale * w, scale * h)
        eyes = np.array(EYES) * scale + (left - 100 * scale, top) * 2
        method = Fills(0.0)
        complete_photo(both, method, hole=hole)
        known = (method.mask == 0).expand(1, 3, 64, 64)
        assert float((method.image - align(both, 64, eyes).tensor()).abs()[known].mean()) < 0.12


def test_a_small_face_in_a_large_photograph(photo):
    """136 of 6000 pixels: it is found by the second, finer search, and its hole is filled."""
    scale, left, top = 136 / 97, 3900, 2500
    large = Image.new("RGB", (6000, 4000), (120, 130, 140))
    large.paste(photo.resize((round(512 * scale), round(512 * scale)), Image.Resampling.BICUBIC), (left, top))
    x, y, w, h = (round(v * scale) for v in MOUTH)
    method = Fills(0.0)
    result = np.asarray(complete_photo(large, method, hole=(x + left, y + top, w, h)))
    where = box_mask(large, (x + left, y + top, w, h))
    assert np.array_equal(result[~where], np.asarray(large)[~where])
    known = (method.mask == 0).expand(1, 3, 64, 64)
    assert float((method.image - align(photo, 64, EYES).tensor()).abs()[known].mean()) < 0.12


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


# -- a face edited -----------------------------------------------------------------------------------------------------

class Edits:
    """A method that edits: it adds `change`, a value or a picture, times the amount; without details it shows `own`."""

    attributes = ["Smiling", "c_cat0"]

    def __init__(self, change, own=0.0, size=64):
        self.change, self.own, self.cfg, self.asked = torch.as_tensor(change), own, SimpleNamespace(size=size), []

    def edit(self, image, attribute, amount=1.0, steps=0, details=True):
        self.asked.append((tuple(image.shape), attribute, amount, steps, details))
        return (image + amount * self.change).clamp(-1, 1) if details else torch.as_tensor(self.own).expand_as(image)


def square(photo, eyes, size=64):
    """Where in a photograph a face's square lies, bool (H, W), and each pixel's place in it, (2, H, W)."""
    face = align(photo, size, eyes)
    rows, columns = np.mgrid[:photo.height, :photo.width]
    place = np.einsum("ij,jhw->ihw", face.matrix[:, :2], np.stack([columns, rows])) + face.matrix[:, 2, None, None]
    return ((place > -0.5) & (place < size - 0.5)).all(0), place


@pytest.mark.parametrize("details", [True, False])
def test_an_edit_changes_the_face_and_nothing_around_it(photo, details):
    inside, place = square(photo, EYES)
    photo = photo.point(lambda level: 40 + level * 170 // 255)              # so that no level is cut off
    before = np.asarray(photo).astype(int)
    after = np.asarray(edit_photo(photo, Edits(0.1, own=0.6), "Smiling", 1, EYES, details=details)).astype(int)
    assert after.shape == before.shape and np.array_equal(after[~inside], before[~inside])
    middle = (np.abs(place - 31.5) < 16).all(0)
    if details:
        assert np.abs((after - before)[middle] - 0.1 * 127.5).max() < 0.51  # all of it, at every pixel: detail is untouched
        assert np.abs(np.diff((after - before)[inside.any(1)][:, inside.any(0)], axis=0)).max() <= 3          # and no seam
    else:
        assert np.abs(after[middle] - 0.6 * 127.5 - 127.5).max() < 1        # the method's own face


def test_an_edit_fades_towards_the_border(photo):
    _, place = square(photo, EYES)
    grey = np.full((512, 512, 3), 128, np.uint8)
    change = np.asarray(edit_photo(grey, Edits(0.5), "Smiling", 1, EYES))[..., 0].astype(int) - 128
    depth = 32 - np.abs(place - 31.5).max(0)                            # of a pixel in the square, in pixels of the crop
    edge, middle = (change[(depth > low) & (depth < high)] for low, high in ((0, 1), (11, 32)))
    assert edge.max() <= 4 and middle.min() >= 63
    along = [change[(depth > d) & (depth < d + 1)].mean() for d in range(12)]
    assert along == sorted(along)


@pytest.mark.parametrize("scale", [1, 0.25, 3])
def test_an_edit_lands_where_it_was_made(photo, scale):
    """A spot at one place of the crop comes back at that place of the photograph, larger or smaller than the crop."""
    spot = torch.zeros(1, 3, 64, 64)
    spot[..., 40:44, 20:24] = 1
    grey = Image.new("RGB", (round(512 * scale), round(512 * scale)), (100, 100, 100))
    eyes = tuple((v + 0.5) * scale - 0.5 for v in EYES)
    change = np.asarray(edit_photo(grey, Edits(spot), "Smiling", 1, eyes)).astype(float)[..., 0] - 100
    _, place = square(grey, eyes)
    middle = (place * change).sum((1, 2)) / change.sum()
    assert np.abs(middle - (21.5, 41.5)).max() < 0.15                   # pixels of the crop
    far = np.abs(place - np.array([21.5, 41.5])[:, None, None]).max(0) > 6
    assert np.abs(change[far]).max() <= 4


def test_no_edit_gives_the_photograph_back(photo, tmp_path):
    photo.save(tmp_path / "photo.png")
    for picture in (photo, np.asarray(photo), tmp_path / "photo.png"):
        assert np.array_equal(np.asarray(edit_photo(picture, Edits(0.3), "Smiling", 0)), np.asarray(photo))


def test_the_whole_of_an_aligned_face_is_edited(photo):
    crop = align(photo, 64, EYES).crop
    change = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 0.2
    method = Edits(change)
    result = edit_photo(crop, method, "Smiling", 2, aligned=True, steps=7)
    image = align(photo, 64, EYES).tensor()
    assert np.array_equal(np.asarray(result), to_uint8((image + 2 * change).clamp(-1, 1))[0].permute(1, 2, 0).numpy())
    assert method.asked == [((1, 3, 64, 64), "Smiling", 2, 7, True)]
    large = crop.resize((200, 200), Image.Resampling.BICUBIC).point(lambda level: 40 + level * 170 // 255)
    change = np.asarray(edit_photo(large, Edits(-0.02), "Smiling", aligned=True)).astype(int) - np.asarray(large)
    assert (change == -3).all()                                         # 2.55 levels, up to the border


def test_a_strip_shows_the_face_with_each_amount(photo):
    method = Edits(0.2)
    figure = edit_strip(photo, method, "Smiling", eyes=EYES)
    assert [text.get_text() for text in figure.texts] == [f"Smiling {amount}" for amount in ("-2", "-1", "+0", "+1", "+2")]
    assert [amount for _, _, amount, _, _ in method.asked] == [-2, -1, 0, 1, 2]
    assert len(edit_strip(align(photo, 64, EYES).crop, method, "Smiling", (0, 1), aligned=True).texts) == 2


def test_a_predictor_edits_a_photograph(photo):
    """The real thing, untrained: it is handed faces of its size, and finds what to change by its codes."""
    from facelib.methods.predictor import Predictor

    method = Predictor(Predictor.presets["smoke"])
    inside, _ = square(photo, EYES, 32)
    for details in (True, False):
        result = np.asarray(edit_photo(photo, method, "c_cat0", 3, EYES, steps=2, details=details))
        assert np.array_equal(result[~inside], np.asarray(photo)[~inside])
        assert not np.array_equal(result, np.asarray(photo))
    with pytest.raises(ValueError, match="attribute must be one of c_cat0, c_cont0, c_cont1, got 'Smiling'"):
        edit_photo(photo, method, "Smiling", 1, EYES)


def test_what_cannot_be_edited_is_said_plainly(photo, method):
    blots = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    edits = Edits(0.1)
    for picture, by, options, message in [
            (photo, method, {}, r"GLCIC has no edit\(image, attribute, amount\): it does not change faces"),
            (photo, edits, {"attribute": "Grinning"}, "attribute must be one of Smiling, c_cat0, got 'Grinning'"),
            (photo, edits, {"steps": -1}, "steps must be a number of steps of a search, 0 or more, got -1"),
            (photo, edits, {"eyes": (900, 900, 940, 900)}, "the face's square lies outside the photograph of 512x512"),
            (photo, edits, {"aligned": True, "eyes": EYES}, "512x512 pixels are taken as the face as a whole"),
            (blots, edits, {"aligned": True}, "an aligned face is square, got 30x40 pixels")]:
        with pytest.raises(ValueError, match=message):
            edit_photo(picture, by, **{"attribute": "Smiling", **options})
    with pytest.raises(NoFaceError, match="no face was found"):
        edit_photo(blots, edits, "Smiling")
    with pytest.raises(ValueError, match="a strip shows the amounts -2, -1, 0, 1, 2, and c_cat0 has classes instead"):
        edit_strip(photo, edits, "c_cat0")
    assert not edits.asked                                              # nothing was computed in vain
