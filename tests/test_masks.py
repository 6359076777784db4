"""Holes: the rules of every kind, their boxes, and what `check` refuses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facelib import masks

some = settings(max_examples=40, deadline=None)
sizes = st.tuples(st.integers(18, 90), st.integers(18, 90))
seeds = st.integers(0, 2**31)


def is_box(mask, box):
    x, y, w, h = box.tolist()
    return mask.sum() == w * h and bool(mask[0, y:y + h, x:x + w].all())


@pytest.mark.parametrize("kind", masks.KINDS)
@pytest.mark.parametrize("size", [32, (24, 40)])
def test_every_kind_is_batched_seeded_and_binary(kind, size):
    mask = masks.make(kind, 5, size, seed=3)
    h, w = (size, size) if isinstance(size, int) else size
    assert mask.shape == (5, 1, h, w) and mask.dtype == torch.float32
    assert bool(((mask == 0) | (mask == 1)).all()) and 0 < mask.mean() < 1
    state = torch.random.get_rng_state()
    assert torch.equal(mask, masks.make(kind, 5, size, seed=3))
    assert torch.equal(state, torch.random.get_rng_state())            # the global generator is left alone
    if kind != "center":
        assert not torch.equal(mask, masks.make(kind, 5, size, seed=4))


@pytest.mark.parametrize("part", masks.PARTS)
def test_a_part_of_the_face_lies_where_the_framing_has_it(part):
    x, y, w, h = masks.PARTS[part]
    exact = masks.face_part(2, 100, torch.Generator(), part, loose=0.0)
    box = masks.boxes_of(exact)[0].tolist()
    assert box == pytest.approx([100 * (x - w / 2), 100 * (y - h / 2), 100 * w, 100 * h], abs=1)
    loose = masks.face_part(200, 100, torch.Generator().manual_seed(0), part)
    assert loose[:, 0, round(100 * y), round(100 * x)].all(), "the part's middle is always hidden"
    sides = masks.boxes_of(loose)[:, 2:] / (100 * torch.tensor([w, h]))
    assert sides.min() > 0.9 and sides.max() < 1.35 and sides.std() > 0.03


def test_every_part_is_drawn():
    drawn = masks.face_part(200, 64, torch.Generator().manual_seed(0), loose=0.0)
    assert len(torch.unique(drawn.flatten(1), dim=0)) == len(masks.PARTS)


def test_a_border_is_a_band_along_one_side():
    mask = masks.border(200, (40, 60), torch.Generator().manual_seed(0))
    boxes = masks.boxes_of(mask)
    assert all(is_box(one, box) for one, box in zip(mask, boxes, strict=True))
    across = boxes[:, 3] == 40
    widths = torch.where(across, boxes[:, 2] / 60, boxes[:, 3] / 40)
    assert 0.1 <= widths.min() and widths.max() <= 0.42 and 60 < across.sum() < 140
    touched = {(int(x) == 0, int(y) == 0, int(x + w) == 60, int(y + h) == 40) for x, y, w, h in boxes.tolist()}
    assert len(touched) == 4, "each side has its turn"


def test_mixed_draws_every_kind_of_its_mixture():
    assert sum(masks.MIXTURE.values()) == pytest.approx(1) and set(masks.MIXTURE) < set(masks.KINDS)
    mask = masks.mixed(300, 48, torch.Generator().manual_seed(0))
    centre = (mask == masks.center(1, 48)).flatten(1).all(1).float().mean()
    assert 0.02 < centre < 0.12
    assert (mask.flatten(1).mean(1) == 0.5).any(), "halves"


def test_unknown_kind():
    with pytest.raises(ValueError, match="kind of hole must be one of center, rectangle, .*, got 'circle'"):
        masks.make("circle", 1, 32)


def test_center_is_32_of_64():
    mask = masks.center(2, 64)
    assert masks.boxes_of(mask).tolist() == [[16, 16, 32, 32]] * 2 and mask.sum() == 2 * 32 * 32


@some
@given(sizes, seeds)
def test_rectangle_keeps_the_rule(size, seed):
    """Every side >= 10 px, area at most a third of the image, one solid box inside it."""
    h, w = size
    for mask, box in zip(sample := masks.make("rectangle", 8, size, seed), masks.boxes_of(sample), strict=True):
        assert is_box(mask, box) and min(box[2:]) >= 10 and box[2] * box[3] * 3 <= h * w


def test_rectangle_where_the_rule_just_fits_and_where_it_cannot():
    assert masks.make("rectangle", 4, (10, 30)).sum((1, 2, 3)).tolist() == [100] * 4
    for size in (8, 16, (9, 200), (17, 17)):
        with pytest.raises(ValueError, match="10x10 pixels are at most a third, got .*; use pixels or center"):
            masks.make("rectangle", 1, size)


def test_rectangle_uses_the_whole_range():
    boxes = masks.boxes_of(masks.make("rectangle", 3000, 32))
    assert boxes[:, 2].min() == 10 and boxes[:, 2].max() == 32 and boxes[:, 3].max() == 32
    assert boxes[:, :2].min() == 0 and (boxes[:, :2] + boxes[:, 2:]).max() == 32


def test_glcic_holes_are_46_to_92_of_160():
    boxes = masks.boxes_of(masks.make("glcic", 1000, 160))
    assert (boxes[:, 2:].amin(0).tolist(), boxes[:, 2:].amax(0).tolist()) == ([46, 46], [92, 92])
    assert boxes[:, :2].min() == 0 and (boxes[:, :2] + boxes[:, 2:]).max() == 160       # they reach the border


@some
@given(sizes, seeds)
def test_glcic_holes_are_boxes_of_the_asked_size(size, seed):
    h, w = size
    sample = masks.glcic(4, size, torch.Generator().manual_seed(seed), 0.25, 0.5)
    for mask, box in zip(sample, masks.boxes_of(sample), strict=True):
        assert is_box(mask, box)
        assert round(w * 0.25) <= box[2] <= round(w * 0.5) and round(h * 0.25) <= box[3] <= round(h * 0.5)


def test_half_covers_exactly_half_on_each_of_four_sides():
    sample = masks.make("half", 64, (20, 30))
    assert sample.sum((1, 2, 3)).tolist() == [300] * 64
    assert len({tuple(box) for box in masks.boxes_of(sample).tolist()}) == 4


def test_pixels_are_80_percent_and_pattern_a_quarter():
    assert masks.make("pixels", 16, 64).mean().item() == pytest.approx(0.8, abs=0.01)
    assert masks.make("pattern", 16, 64).mean((1, 2, 3)).tolist() == pytest.approx([0.25] * 16, abs=0.01)


def test_pattern_is_made_of_blobs_and_strokes_are_thin():
    """A pixel's neighbour mostly shares its state in blobs (not so in random pixels); strokes leave most of the face."""
    agree = lambda m: (m[..., 1:] == m[..., :-1]).float().mean().item()
    assert agree(masks.make("pattern", 8, 64)) > 0.95 > agree(masks.make("pixels", 8, 64))
    assert 0.02 < masks.make("strokes", 16, 64).mean().item() < 0.5


def test_from_boxes_cuts_what_sticks_out():
    mask = masks.from_boxes(torch.tensor([[-2, 5, 4, 10]]), (8, 6))
    assert masks.boxes_of(mask).tolist() == [[0, 5, 2, 3]]


def test_an_empty_mask_has_no_box():
    with pytest.raises(ValueError, match="a mask without a hole has no box"):
        masks.boxes_of(torch.stack([torch.ones(1, 4, 4), torch.zeros(1, 4, 4)]))


@some
@given(sizes, seeds, st.integers(4, 18))
def test_local_boxes_lie_inside_and_are_centred_where_there_is_room(size, seed, crop):
    h, w = size
    sample = masks.make("glcic", 4, size, seed)
    local, holes = masks.local_boxes(sample, crop), masks.boxes_of(sample)
    for (x, y, bw, bh), (hx, hy, hw, hh) in zip(local.tolist(), holes.tolist(), strict=True):
        assert bw == bh == crop and 0 <= x <= w - crop and 0 <= y <= h - crop
        for place, middle, side in ((x, hx + hw / 2, w), (y, hy + hh / 2, h)):
            assert abs(place - min(max(middle - crop / 2, 0), side - crop)) <= 0.5


def test_a_hole_larger_than_the_crop_shows_its_middle():
    mask = masks.from_boxes(torch.tensor([[30, 40, 92, 92]]), 160)
    assert masks.local_boxes(mask, 80).tolist() == [[36, 46, 80, 80]]


def test_random_boxes_lie_anywhere_inside():
    boxes = masks.random_boxes(2000, (20, 30), 12, torch.Generator().manual_seed(0))
    assert boxes[:, 0].min() == 0 and boxes[:, 0].max() == 18 and boxes[:, 1].min() == 0 and boxes[:, 1].max() == 8


@some
@given(sizes, seeds)
def test_cut_equals_slicing(size, seed):
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(3, 2, *size, generator=generator)
    boxes = masks.random_boxes(3, size, 9, generator)
    expected = [face[:, y:y + h, x:x + w] for face, (x, y, w, h) in zip(image, boxes.tolist(), strict=True)]
    assert torch.equal(masks.cut(image, boxes), torch.stack(expected))


def test_gradients_flow_through_cut_and_composite_only_where_they_should():
    image = torch.zeros(1, 3, 8, 8, requires_grad=True)
    masks.cut(image, torch.tensor([[1, 2, 3, 3]])).sum().backward()
    assert image.grad.sum() == 27 and bool((image.grad[0, :, 2:5, 1:4] == 1).all())
    pred, mask = torch.zeros(1, 3, 8, 8, requires_grad=True), masks.center(1, 8)
    masks.composite(torch.ones(1, 3, 8, 8), mask, pred).sum().backward()
    assert torch.equal(pred.grad, mask.expand(1, 3, 8, 8))


def test_composite_is_bit_identical_outside_and_pred_inside():
    image, pred = torch.randn(2, 3, 16, 16), torch.full((2, 3, 16, 16), float("nan"))
    mask = masks.make("pixels", 2, 16)
    made = masks.composite(image, mask, pred)
    hole = mask.expand_as(image) > 0.5
    assert torch.equal(made[~hole], image[~hole]) and bool(made[hole].isnan().all())


# -- from_picture ------------------------------------------------------------------------------------------------------

def drawn(mode="L", box=(8, 4, 24, 12), size=(64, 32)):
    picture = Image.new("L", size, 0)
    picture.paste(255, box)
    return picture.convert(mode)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "1", "P", "LA"])
def test_from_picture_reads_light_as_hole(mode):
    mask = masks.from_picture(drawn(mode), (32, 64))
    assert mask.shape == (1, 1, 32, 64) and masks.boxes_of(mask).tolist() == [[8, 4, 16, 8]] and mask.sum() == 128


def test_from_picture_takes_arrays_and_scales_with_hard_edges():
    array = np.asarray(drawn("RGB"))
    small = masks.from_picture(array, (16, 32))
    assert masks.boxes_of(small).tolist() == [[4, 2, 8, 4]] and set(small.unique().tolist()) == {0, 1}
    assert masks.boxes_of(masks.from_picture(array[..., 0], (64, 128))).tolist() == [[16, 8, 32, 16]]
    # A pixel that is half covered is hole: 5 of 10 columns at a tenth of the size.
    assert masks.from_picture(drawn(box=(5, 0, 20, 10), size=(40, 10)), (1, 4)).flatten().tolist() == [1, 1, 0, 0]


def test_from_picture_counts_opaque_pixels_only():
    picture = Image.new("RGBA", (16, 16), (255, 255, 255, 0))           # transparent white: a drawing program's canvas
    picture.paste((255, 255, 255, 255), (2, 2, 6, 6))
    assert masks.boxes_of(masks.from_picture(picture, 16)).tolist() == [[2, 2, 4, 4]]


def test_from_picture_without_a_hole():
    with pytest.raises(ValueError, match="marks no hole: paint the part to be filled white"):
        masks.from_picture(Image.new("L", (8, 8), 60), 8)


# -- check -------------------------------------------------------------------------------------------------------------

image, mask = torch.zeros(4, 3, 8, 8), torch.ones(4, 1, 8, 8)


@pytest.mark.parametrize(("image", "mask", "message"), [
    (image[0], mask, r"image must be \(B, 3, H, W\), got \(3, 8, 8\); add the batch axis with image\[None\]"),
    (image[:, :1], mask, r"image must be \(B, 3, H, W\), got \(4, 1, 8, 8\)"),
    (image.byte(), mask, r"image must be float in \[-1, 1\], got torch.uint8; use facelib.data.to_float"),
    (image + 1.5, mask, r"image must lie in \[-1, 1\], got \[1.5, 1.5\]; use facelib.data.to_float on uint8"),
    (image - 200, mask, r"image must lie in \[-1, 1\]"),
    (image * float("nan"), mask, r"image must lie in \[-1, 1\], got \[nan, nan\]"),
    (image, mask[0], r"mask must be \(B, 1, H, W\) with 1 = hole, got \(1, 8, 8\); it needs a batch"),
    (image, image, r"mask must be \(B, 1, H, W\) with 1 = hole, got \(4, 3, 8, 8\); use mask\[:, :1\]"),
    (image, mask[:2], r"mask must match the image's batch and size \(4, 1, 8, 8\), got \(2, 1, 8, 8\)"),
    (image, mask[..., :4], r"mask must match the image's batch and size \(4, 1, 8, 8\), got \(4, 1, 8, 4\)"),
    (image, mask * 0.5, r"mask must hold only 0 \(known\) and 1 \(hole\); threshold it"),
    (image, mask * 255, r"mask must hold only 0 \(known\) and 1 \(hole\); threshold it"),
])
def test_check_says_what_is_wrong(image, mask, message):
    with pytest.raises(ValueError, match=message):
        masks.check(image, mask)


def test_check_accepts_what_fits():
    masks.check(image, mask)
    masks.check(image, mask[:1])
    masks.check(image.double() + 1, mask.bool())
    masks.check(image[:0], mask[:0])
