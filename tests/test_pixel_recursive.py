"""The pixel recursive network: nothing knows what comes after it, drawing is the trained distribution, its verbs."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from facelib import resolution
from facelib.data import FaceData, Split, to_float
from facelib.methods.pixel_recursive import PixelRecursive, bits, dequantise, quantise
from facelib.train import fit

BOOK, SMOKE = PixelRecursive.presets["book"], PixelRecursive.presets["smoke"]
VALUES = [(0, 5, 7), (1, 5, 7), (2, 5, 7), (0, 0, 0), (1, 12, 31), (2, 12, 0), (0, 31, 0), (2, 31, 31)]  # channel, row, column


def batch(n=4, seed=0):
    return {"image": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def ramps(n=16, size=32):
    """Pictures in which every value can be told from those before: ramps of a few slopes."""
    rng = np.random.default_rng(0)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    images = [[(rng.integers(100) + rng.integers(3) * x + rng.integers(3) * y) for _ in range(3)] for _ in range(n)]
    split = Split(np.array(images).clip(0, 255).astype(np.uint8))
    return FaceData("ramps", split, split, split)


@pytest.fixture(scope="module")
def method():
    return PixelRecursive(SMOKE, seed=1).double().eval()


@pytest.fixture
def low():
    return resolution.shrink(batch(3, seed=5)["image"])


def test_the_published_size():
    with torch.device("meta"):
        method = PixelRecursive(BOOK)
    A, B = method.conditioning(torch.empty(2, 3, 8, 8, device="meta")), method.prior(quantise(torch.empty(2, 3, 32, 32), 32))
    assert A.shape == B.shape == (2, 32, 32, 3, 32)
    count = sum(v.numel() for k, v in method.state_dict().items() if k.split(".")[0] in method.ships)
    assert 6e5 < 2 * count < 9e5                                # bytes as float16


@pytest.mark.parametrize("levels", [2, 8, 32, 255, 256])
def test_levels_cut_the_range_into_equal_parts(levels):
    every = torch.arange(levels)
    assert torch.equal(quantise(dequantise(every, levels), levels), every)
    image = torch.linspace(-1, 1, 999)
    assert (dequantise(quantise(image, levels), levels) - image).abs().max() <= 1 / levels + 1e-6


def test_what_32_levels_alone_cost():
    byte = to_float(torch.arange(256))
    error = (dequantise(quantise(byte, BOOK.levels), BOOK.levels) - byte).pow(2).mean()
    assert 10 * math.log10(4 / error) == pytest.approx(40.9, abs=0.1)


@pytest.mark.parametrize("value", VALUES)
def test_no_logit_knows_its_own_value_or_a_later_one(method, value):
    level = quantise(batch(2)["image"], SMOKE.levels)
    other = level.clone()
    c, i, j = value
    other[0, c, i, j] = (other[0, c, i, j] + 1) % SMOKE.levels
    with torch.no_grad():
        change = (method.prior(level) - method.prior(other)).abs().amax(-1).flatten(1)    # in the order of drawing
    place = (i * 32 + j) * 3 + c
    assert not change[0, :place + 1].any() and not change[1].any()
    later = change[0, place + 1:].reshape(-1)
    assert not len(later) or later[0] > 0, "the very next value knows it"


def test_no_blind_spot():
    """A logit knows all values before it that are within reach, those to its upper right too."""
    method = PixelRecursive(replace(SMOKE, layers=3)).double()
    image = dequantise(quantise(batch(1)["image"], SMOKE.levels), SMOKE.levels).double().requires_grad_()
    (slope,) = torch.autograd.grad(method.prior.trunk(image)[0, :, 16, 16].square().sum(), image)
    seen = slope[0].abs().sum(0) > 0
    reach = 3 + 3                                               # of the first layer, and one more for each of the others
    known = torch.zeros(32, 32, dtype=torch.bool)
    known[16 - reach:16, 16 - reach:16 + reach + 1] = True
    known[16, 16 - reach:16] = True
    assert torch.equal(seen, known)


def test_drawing_value_by_value_is_what_the_whole_pass_says(method, low):
    """Fed back, the drawn faces give the logits that they were drawn from: the chosen levels are the largest again."""
    noise = 0.9 * torch.cat([method.noise(seed) for seed in range(3)])
    with torch.no_grad():
        A = method.conditioning(low.double())
        level = method.prior.draw(A, noise)
        again = (A + method.prior(level) + noise).argmax(-1).permute(0, 3, 1, 2)
    assert level.unique().tolist() == list(range(SMOKE.levels)) and torch.equal(level, again)


def test_the_largest_with_gumbel_noise_is_a_draw_from_the_softmax(method):
    logits = torch.linspace(-1, 1.5, SMOKE.levels).double()
    drawn = (logits + method.noise(0)).argmax(-1).flatten()
    share = torch.bincount(drawn, minlength=SMOKE.levels) / len(drawn)
    assert (share - logits.softmax(0)).abs().max() < 0.03


def test_the_losses_in_the_log_are_bits_and_the_conditioning_network_answers_on_its_own_too():
    method, data, seen = PixelRecursive(SMOKE), batch(), []
    method.update = lambda loss, *_: seen.append(loss.item())
    log = method.step(data, "likelihood")
    level = quantise(data["image"], SMOKE.levels)
    A, B = method.conditioning(resolution.shrink(data["image"])), method.prior(level)
    chance = lambda logits: logits.softmax(-1).gather(-1, level.permute(0, 2, 3, 1)[..., None])
    assert log["loss"].item() == pytest.approx(-chance(A + B).log2().mean().item(), rel=1e-4)
    assert log["conditioning"].item() == pytest.approx(-chance(A).log2().mean().item(), rel=1e-4)
    assert seen == [pytest.approx(log["loss"].item() + log["conditioning"].item(), rel=1e-5)]
    assert bits(torch.zeros(1, 2, 2, 3, 8), torch.zeros(1, 3, 2, 2, dtype=torch.long)).eq(3).all()


def test_every_weight_of_both_networks_gets_a_gradient():
    method = PixelRecursive(SMOKE).train()
    method.step(batch(8), "likelihood")
    for _ in range(2):                                          # the blocks start as zero, and what is before them follows
        method.step(batch(8), "likelihood")
    for name, parameter in [*method.conditioning.named_parameters(), *method.prior.named_parameters()]:
        assert parameter.grad is not None and parameter.grad.abs().max() > 0, name


def test_it_learns_and_the_prior_helps(tmp_path):
    faces = ramps()
    method = fit(PixelRecursive(replace(SMOKE, steps=60)), faces, tmp_path, quiet=True, precision="no")
    image = faces.val.tensor()
    before, after = PixelRecursive(SMOKE).nll(image).mean(), method.nll(image).mean()
    assert after < before - 1.5 and after < 1.5
    with torch.no_grad():
        alone = bits(method.conditioning_ema(resolution.shrink(image)), quantise(image, SMOKE.levels)).mean()
    assert after < alone


def test_upscale_is_one_fixed_draw_that_depends_on_the_face_alone(low):
    method = PixelRecursive(SMOKE).train()
    face = method.upscale(low)
    assert face.shape == (3, 3, 32, 32) and face.abs().max() < 1 and face.dtype == low.dtype and method.training
    assert torch.equal(face, method.upscale(low)) and not torch.equal(face, method.upscale(low, seed=1))
    assert torch.equal(method.upscale(low.flip(0)), face.flip(0)), "not on its place in the batch"
    assert torch.equal(method.upscale(low[1:2])[0], face[1]), "nor on the others"
    assert torch.allclose(dequantise(quantise(face, SMOKE.levels), SMOKE.levels), face, atol=1e-6)
    assert method.upscale(low[:0]).shape == (0, 3, 32, 32)


def test_variants_differ_and_repeat(low):
    method = PixelRecursive(SMOKE)
    several = method.variants(low[:1], 3, seed=4)
    assert several.shape == (3, 3, 32, 32) and len({v.numpy().tobytes() for v in several}) == 3
    assert torch.equal(several[:2], method.variants(low[:1], 2, seed=4)), "more answers leave the first ones alone"
    assert torch.equal(several[:1], method.upscale(low[:1], seed=4))
    likeliest = method.variants(low[:1], 2, spread=0)
    assert torch.equal(likeliest[0], likeliest[1])
    assert torch.equal(PixelRecursive(replace(SMOKE, temperature=0)).upscale(low[:1]), likeliest[:1])


def test_nll_is_the_bits_of_each_face_and_preview_shows_three_rows():
    method, image = PixelRecursive(SMOKE), batch()["image"]
    nll = method.nll(image)
    assert nll.shape == (4,) and torch.allclose(method.nll(image[2:3]), nll[2:3], atol=1e-5)
    small, made, shown = method.preview(image)
    low = resolution.shrink(image)
    assert torch.equal(shown, image) and torch.equal(small, resolution.nearest(low)) and torch.equal(made, method.upscale(low))


def test_what_does_not_fit_is_refused_with_what_to_do(low):
    method = PixelRecursive(SMOKE)
    for wrong in (torch.zeros(1, 3, 7, 9), low[0], torch.zeros(1, 3, 32, 32)):
        with pytest.raises(ValueError, match=r"low must be \(B, 3, 8, 8\) in \[-1, 1\].*, got "):
            method.upscale(wrong)
        with pytest.raises(ValueError, match=r"low must be \(B, 3, 8, 8\) in \[-1, 1\].*, got "):
            method.variants(wrong, 2)
    for faces, n in ((low, 2), (low[:1], 0)):
        with pytest.raises(ValueError, match=r"variants gives n >= 1 answers to one face, got .*; use low\[:1\]"):
            method.variants(faces, n)
    with pytest.raises(ValueError, match=r"image must be \(B, 3, 32, 32\), got .*; resize it"):
        method.nll(torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="trains on faces of size 32, got ramps with 64x64 pixels; load them"):
        method.adopt(ramps(size=64))
    for change, message in (({"size": 64}, "size must be 32"), ({"levels": 1}, "levels must be from 2 to 256"),
                            ({"temperature": -1.0}, "temperature must be 0")):
        with pytest.raises(ValueError, match=message):
            replace(SMOKE, **change)
