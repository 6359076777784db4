"""Blending: closed forms, OpenCV as a second opinion, and the two promises about known and hidden pixels."""

import numpy as np
import pytest
import torch

from facelib import blending, masks
from facelib.data.faces import to_uint8

BOTH = pytest.mark.parametrize("blend", [blending.poisson, blending.fast_marching])


def smooth_pictures(n, size=48, seed=0):
    """Soft random blobs, (n, 3, size, size) in [-0.7, 0.7]."""
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(seed)) * 1.4 - 0.7
    return torch.nn.functional.interpolate(coarse, size=size, mode="bilinear")


def ramp(size=40):
    """A plane in each channel: falls to the right, rises downwards, and both."""
    y, x = torch.meshgrid(torch.linspace(-0.6, 0.6, size), torch.linspace(-0.6, 0.6, size), indexing="ij")
    return torch.stack([-x, y, (x + y) / 2])[None]


HOLES = {"interior": (10, 12, 16, 14), "left": (0, 8, 15, 20), "corner": (25, 25, 15, 15), "top band": (0, 0, 40, 9)}


@pytest.mark.parametrize("box", HOLES.values(), ids=HOLES)
def test_poisson_leaves_a_plane_alone_and_removes_an_offset(box):
    image = ramp()
    mask = masks.from_boxes(torch.tensor([box]), 40)
    for offset in (0.0, 0.25):
        completed = masks.composite(image, mask, image + offset)
        torch.testing.assert_close(blending.poisson(image, completed, mask), image, atol=2e-6, rtol=0)


def test_poisson_solves_its_equation():
    """Pixel by pixel, in plain Python: the equation of the docstring holds at every hole pixel."""
    image, completed = smooth_pictures(2, 12)
    mask = masks.make("strokes", 1, 12, seed=3)
    completed = masks.composite(image[None], mask, completed[None])
    f = blending.poisson(image[None], completed, mask)[0].double().numpy()
    g, known, hole = completed[0].double().numpy(), image.double().numpy(), mask[0, 0].numpy() > 0.5
    assert 0 < hole.sum() < 144 and (hole[0].any() or hole[:, 0].any() or hole[-1].any() or hole[:, -1].any())

    def is_(want, y, x):
        return 0 <= y < 12 and 0 <= x < 12 and hole[y, x] == want

    for y, x in zip(*np.nonzero(hole), strict=True):
        left, right = np.zeros(3), np.zeros(3)
        for dy, dx in ((-1, 0), (1, 0), (0, -1), (0, 1)):
            q = y + dy, x + dx
            if is_(True, *q):
                left += f[:, y, x] - f[:, *q]
                right += g[:, y, x] - g[:, *q]
            elif is_(False, *q):
                left += f[:, y, x]
                right += known[:, *q]
                if is_(True, y - dy, x - dx):
                    right += (g[:, y - dy, x - dx] - g[:, y, x]) / 2
                if is_(False, y + 2 * dy, x + 2 * dx):
                    right += (known[:, *q] - known[:, y + 2 * dy, x + 2 * dx]) / 2
        np.testing.assert_allclose(left, right, atol=1e-5)


@pytest.mark.parametrize("kind", ["rectangle", "strokes", "border"])
def test_large_holes_are_solved_step_by_step_to_the_same_answer(monkeypatch, kind):
    """Within a tenth of a grey level, for surroundings with noise and a completion of other colours."""
    image, completed = smooth_pictures(2, 160)
    image = (image[None] + 0.1 * torch.randn(1, 3, 160, 160, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    mask = masks.make(kind, 1, 160, seed=2)
    exact = blending.poisson(image, completed[None], mask)
    monkeypatch.setattr(blending, "DIRECT", 500)
    assert mask.sum() > 1000
    assert float((blending.poisson(image, completed[None], mask) - exact).abs().max()) < 0.1 / 127.5


@pytest.mark.parametrize("box", [(14, 16, 18, 14), (10, 10, 27, 28)])
@pytest.mark.parametrize("source, mean, worst", [("brighter", 1.0, 6), ("another", 4.5, 20)])
def test_poisson_agrees_with_opencv(box, source, mean, worst):
    """Within `mean` and `worst` grey levels of 255, where blending itself moves the colours by about 20.

    OpenCV erodes its mask by 3 pixels, so it gets one grown by 3 (a copy: it writes into it). It takes one-sided
    gradients across the seam, from image and source in turn, and solves in the box around the hole: for a source that
    is another picture the two must differ a little.
    """
    cv2 = pytest.importorskip("cv2")
    image, other = smooth_pictures(2)
    source = image + 0.2 if source == "brighter" else other * 0.5 + 0.2
    mask = masks.from_boxes(torch.tensor([box]), 48)
    ours = blending.poisson(image[None], masks.composite(image[None], mask, source[None]), mask)

    def grey_levels(faces):
        return np.ascontiguousarray(to_uint8(faces).permute(1, 2, 0).numpy())

    grown = cv2.dilate(mask[0, 0].byte().numpy() * 255, np.ones((7, 7), np.uint8))
    x, y, w, h = cv2.boundingRect(grown)
    theirs = cv2.seamlessClone(grey_levels(source), grey_levels(image), grown.copy(), (x + w // 2, y + h // 2),
                               cv2.NORMAL_CLONE).astype(float)
    inside = mask[0, 0].numpy() > 0.5
    moved, difference = (np.abs(grey_levels(faces) - theirs)[inside] for faces in (source, ours[0]))
    assert moved.mean() > 15 and difference.mean() < mean and difference.max() < worst


def test_fast_marching_carries_the_step_and_lets_it_fade():
    """A flat picture with a completion that is 0.4 too bright: right at the seam, untouched in the middle."""
    image = torch.zeros(1, 3, 40, 40)
    mask = masks.center(1, 40, hole=0.6)                                              # rows and columns 8..31
    blended = blending.fast_marching(image, image + 0.4 * mask, mask, band=8)
    expected = torch.tensor([0.4 * i / 8 for i in range(9)])                          # row 8 is 1 pixel from the seam
    torch.testing.assert_close(blended[0, 0, 8:17, 20], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(blended, blended.flip(2))
    torch.testing.assert_close(blended, blended.transpose(2, 3))


@BOTH
@pytest.mark.parametrize("kind", masks.KINDS)
def test_known_pixels_bit_identical_and_the_hole_never_leaks(blend, kind):
    image, pred = smooth_pictures(3, 32), smooth_pictures(3, 32, seed=1)
    mask = masks.make(kind, 3, 32, seed=5)
    completed = masks.composite(image, mask, pred)
    blended = blend(image, completed, mask)
    known = mask.expand_as(image) == 0
    assert torch.equal(blended[known], image[known])
    assert not torch.equal(blended, completed) and blended.abs().max() <= 1
    other_truth = torch.where(known, image, -image)
    assert torch.equal(blend(other_truth, completed, mask), blended)
    assert torch.equal(blend(image, pred, mask), blended)          # what `completed` holds at known pixels is not read


@BOTH
def test_the_seam_shrinks(blend):
    image = smooth_pictures(4)
    mask = masks.make("glcic", 4, 48, seed=2)
    completed = masks.composite(image, mask, (image * 0.8 + 0.3).clamp(-1, 1))
    edge = mask[..., :, 1:] != mask[..., :, :-1]

    def jump(faces):
        return ((faces[..., 1:] - faces[..., :-1]).abs() * edge).sum() / edge.sum()

    assert jump(blend(image, completed, mask)) < 0.4 * jump(completed)


@BOTH
def test_whole_picture_and_empty_holes(blend):
    image, completed = smooth_pictures(2, 24), smooth_pictures(2, 24, seed=1)
    mask = torch.stack([torch.ones(1, 24, 24), torch.zeros(1, 24, 24)])
    blended = blend(image, completed, mask)
    assert torch.equal(blended[0], completed[0]) and torch.equal(blended[1], image[1])


@BOTH
def test_batch_equals_one_by_one(blend):
    """Faces that share a hole are solved together, also with one mask for the whole batch: the answer is the same."""
    image, pred = smooth_pictures(3, 32), smooth_pictures(3, 32, seed=1)
    mask = masks.make("rectangle", 2, 32, seed=1)[[0, 1, 0]]
    together = blend(image, pred, mask)
    for i in range(3):
        torch.testing.assert_close(together[i:i + 1], blend(image[i:i + 1], pred[i:i + 1], mask[i:i + 1]))
    torch.testing.assert_close(blend(image, pred, mask[:1])[1], blend(image, pred, mask[[0, 0, 0]])[1])


@BOTH
def test_bad_input_is_refused(blend):
    image, mask = torch.zeros(2, 3, 16, 16), masks.center(2, 16)
    with pytest.raises(ValueError, match=r"mask must be \(B, 1, H, W\).*use mask\[:, :1\]"):
        blend(image, image, image)
    with pytest.raises(ValueError, match=r"must lie in \[-1, 1\], got \[0, 200\]"):
        blend(image, image + 200 * mask, mask)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 16, 16\) and \(1, 3, 16, 16\)"):
        blend(image, image[:1], mask[:1])


def test_band_must_be_positive():
    with pytest.raises(ValueError, match="band must be a width in pixels above 0, got 0"):
        blending.fast_marching(torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16), masks.center(1, 16), band=0)
