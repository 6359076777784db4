"""Shrinking, enlarging without learning, and back-projection: exact where they say so, and clear where they refuse."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from facelib import resolution

some = settings(max_examples=40, deadline=None)


def noise(n=2, size=32, seed=0, reach=1.0):
    """(n, 3, size, size) in [-reach, reach], float32."""
    return (torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * reach


def error(image, low):
    """The largest error of a block's mean, in grey levels; the mean is taken in double precision."""
    means = image.double().unflatten(3, (low.shape[3], -1)).unflatten(2, (low.shape[2], -1)).mean((3, 5))
    return float((means - low.double()).abs().max()) * 127.5


def test_shrink_is_the_mean_of_blocks():
    image = noise()
    low = resolution.shrink(image)
    assert low.shape == (2, 3, 8, 8)
    assert float(low[1, 2, 3, 5]) == pytest.approx(float(image[1, 2, 12:16, 20:24].mean()), abs=1e-6)
    assert error(image, low) < 1e-3
    assert torch.allclose(resolution.shrink(image, 2), image.view(2, 3, 16, 2, 16, 2).mean((3, 5)), atol=1e-6)


def test_shrink_undoes_nearest():
    """Up to what float32 rounds, and back-projection finds nothing to do."""
    low = noise(3, 8)
    large = resolution.METHODS["nearest"](low)
    assert torch.equal(large[:, :, ::4, 3::4], low)
    assert torch.allclose(resolution.shrink(large), low, atol=1e-6)
    assert float(resolution.consistency(large, low).max()) < 1e-4
    assert torch.equal(resolution.back_project(large, low), large)


@some
@given(seed=st.integers(0, 2**31), reach=st.floats(0, 1), scale=st.floats(0.1, 30))
def test_back_projection_is_exact_wherever_it_clamps(seed, reach, scale):
    """Whatever was made of whatever `low`, also where nearly all pixels of a block stand at an end of the range."""
    low = noise(2, 8, seed, reach)
    made = (noise(2, 32, seed + 1) * scale).clamp(-1, 1)
    found = resolution.back_project(made, low)
    assert found.shape == made.shape and float(found.abs().max()) <= 1
    assert error(found, low) < 0.01                                     # grey levels, of the worst block
    assert float(resolution.consistency(found, low).max()) < 0.25


@pytest.mark.parametrize("level", [-1.0, 1.0, 0.999])
def test_back_projection_reaches_the_ends_of_the_range(level):
    low = torch.full((1, 3, 8, 8), level)
    found = resolution.back_project(noise(1), low)
    assert error(found, low) < 0.01 and float(found.abs().max()) <= 1
    one = -torch.ones(1, 3, 32, 32)
    one[..., ::4, ::4] = 0.5                                            # 15 of 16 pixels stand at -1, one must do it all
    low = torch.full((1, 3, 8, 8), -0.97)
    found = resolution.back_project(one, low)
    assert error(found, low) < 0.01
    assert torch.equal(found[..., 1::4, :], -torch.ones(1, 3, 8, 32))


def test_back_projection_again_changes_nothing():
    low, made = noise(4, 8, 1), noise(4, 32, 2)
    once = resolution.back_project(made, low)
    assert torch.equal(resolution.back_project(once, low), once)


def test_what_is_consistent_stays_bit_identical():
    """All of it, and of an image that is right in some blocks those blocks."""
    image = noise(2)
    low = resolution.shrink(image)
    assert torch.equal(resolution.back_project(image, low), image)
    other = low.clone()
    other[:, :, 2, 3] *= 0.5
    found = resolution.back_project(image, other)
    same = torch.ones(32, 32, dtype=torch.bool)
    same[8:12, 12:16] = False
    assert torch.equal(found[..., same], image[..., same]) and not torch.equal(found, image)
    assert error(found, other) < 0.01


def test_back_projection_adds_the_same_to_a_whole_block():
    """Inside the range it is the nearest image that shrinks to `low`: the difference is constant over each block."""
    made, low = noise(1, reach=0.3), noise(1, 8, 5, reach=0.3)
    added = resolution.back_project(made, low) - made
    assert torch.allclose(added, resolution.METHODS["nearest"](resolution.shrink(added)), atol=1e-5)


def test_back_projection_keeps_the_type_and_other_factors():
    low = noise(2, 8)
    assert resolution.back_project(noise(2, 64), low).shape == (2, 3, 64, 64)
    assert error(resolution.back_project(noise(2, 16), low), low) < 0.01
    assert resolution.back_project(noise(2).double(), low).dtype == torch.float64


def test_consistency_counts_grey_levels():
    low = noise(2, 8, reach=0.5)
    shifted = resolution.METHODS["nearest"](low) + torch.tensor([3.0, 10.0]).view(2, 1, 1, 1) / 127.5
    assert resolution.consistency(shifted, low).tolist() == pytest.approx([3, 10], rel=1e-4)
    levels = torch.full((1, 3, 8, 8), 17 / 127.5 - 1), torch.full((1, 3, 32, 32), 18 / 127.5 - 1)
    assert float(resolution.consistency(levels[1], levels[0])) == pytest.approx(1, rel=1e-4)     # 17 and 18 of 255


def test_bicubic_keeps_a_straight_ramp():
    """Keys' kernel with a = -1/2 gives straight lines back, but for the border, where neighbours are missing."""
    ramp = (torch.arange(8.0) / 4 - 0.9).view(1, 1, 1, 8).expand(1, 3, 8, 8)
    expected = ((torch.arange(32.0) + 0.5) / 4 - 0.5) / 4 - 0.9
    for low in (ramp, ramp.mT):
        large = resolution.METHODS["bicubic"](low * 0.9)
        large = large if low is ramp else large.mT
        assert torch.allclose(large[..., 8:-8], (expected * 0.9).expand(1, 3, 32, 32)[..., 8:-8], atol=1e-5)


def test_bicubic_is_pillows():
    low = noise(1, 8, 3)
    for large, plane in zip(resolution.METHODS["bicubic"](low)[0], low[0], strict=True):
        pillow = np.asarray(Image.fromarray(plane.numpy()).resize((32, 32), Image.Resampling.BICUBIC))
        assert np.allclose(large, pillow.clip(-1, 1), atol=1e-5)


def test_bicubic_stays_in_range_and_is_no_inverse():
    low = noise(2, 8, 3).sign()
    large = resolution.METHODS["bicubic"](low)
    assert large.shape == (2, 3, 32, 32) and float(large.abs().max()) == 1
    assert float(resolution.consistency(large, low).min()) > 1
    assert resolution.METHODS["bicubic"](low, 2).shape == (2, 3, 16, 16)
    assert torch.equal(large[:1], resolution.METHODS["bicubic"](low[:1]))               # a face depends on itself alone


@pytest.mark.parametrize(("low", "message"), [
    (torch.zeros(1, 3, 7, 9), r"low must be \(B, 3, 8, 8\) in \[-1, 1\].*got \(1, 3, 7, 9\); shrink faces with resol"),
    (torch.zeros(1, 1, 8, 8), r"got \(1, 1, 8, 8\)"),
    (torch.zeros(3, 8, 8), r"got \(3, 8, 8\); add the batch axis with low\[None\]"),
    (torch.zeros(1, 3, 32, 32), "shrink faces with resolution.shrink"),
    (torch.full((1, 3, 8, 8), 200.0), r"got \[200, 200\]; use facelib.data.to_float on uint8"),
    (torch.full((1, 3, 8, 8), float("nan")), r"got \[nan, nan\]"),
    (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), "float, got torch.uint8"),
])
def test_what_is_no_low_face_is_refused(low, message):
    for refuse in (resolution.check, *resolution.METHODS.values()):
        with pytest.raises(ValueError, match=message):
            refuse(low)


def test_sizes_that_do_not_fit_are_refused():
    low = torch.zeros(2, 3, 8, 8)
    for image in (torch.zeros(2, 3, 30, 30), torch.zeros(1, 3, 32, 32), torch.zeros(2, 1, 32, 32), torch.zeros(3, 32, 32),
                  torch.zeros(2, 3, 4, 4)):
        for verb in (resolution.back_project, resolution.consistency):
            with pytest.raises(ValueError, match="image must be a whole multiple of low's size"):
                verb(image, low)
    with pytest.raises(ValueError, match=r"got \[2, 2\]"):
        resolution.back_project(torch.zeros(2, 3, 32, 32), low + 2)
    with pytest.raises(ValueError, match="sides that 4 divides, got .1, 3, 30, 32."):
        resolution.shrink(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match=r"add the batch axis with image\[None\]"):
        resolution.shrink(torch.zeros(3, 32, 32))
