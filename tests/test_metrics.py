"""Metrics: closed forms recomputed, other libraries as second opinion, and the order that distortions must have."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import facelib
from facelib import masks, metrics

PER_IMAGE = pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ms_ssim, metrics.l1])


def pictures(n=4, size=64, seed=0):
    """Soft random pictures with a little grain, (n, 3, size, size) in [-1, 1]."""
    generator = torch.Generator().manual_seed(seed)
    soft = F.interpolate(torch.rand(n, 3, 8, 8, generator=generator) * 1.6 - 0.8, size=size, mode="bicubic")
    return (soft + 0.05 * torch.randn(n, 3, size, size, generator=generator)).clamp(-1, 1)


# ------------------------------------------------------------------------------------------------ distortion, by hand

def test_psnr_and_l1_by_hand():
    target = torch.zeros(2, 3, 8, 8)
    pred = target.clone()
    pred[0] += 0.2                                         # MSE 0.04, so 10 log10(4 / 0.04) = 20 dB
    pred[1, :, :2] += 0.4                                  # a quarter of the picture: MSE 0.16 / 4, 20 dB again
    torch.testing.assert_close(metrics.psnr(pred, target), torch.tensor([20.0, 20.0]))
    torch.testing.assert_close(metrics.l1(pred, target), torch.tensor([0.2, 0.1]))
    hole = masks.from_boxes(torch.tensor([[0, 0, 8, 4]] * 2), 8)      # the upper half
    torch.testing.assert_close(metrics.psnr(pred, target, hole), torch.tensor([20.0, 10 * math.log10(4 / 0.08)]))
    torch.testing.assert_close(metrics.l1(pred, target, hole), torch.tensor([0.2, 0.2]))
    assert torch.equal(metrics.psnr(target, target), torch.full((2,), math.inf))


@PER_IMAGE
def test_only_the_hole_counts(metric):
    """Hole-only figures do not see changes far from the hole; whole-picture ones do."""
    target = pictures()
    hole = masks.center(4, 64, hole=0.25)                  # rows and columns 24..39
    pred = target * (1 - 0.5 * hole)
    elsewhere = pred.clone()
    elsewhere[..., :2] *= 0.2                              # columns 0 and 1: no window of the hole reaches them
    if metric is not metrics.ms_ssim:                      # whose coarse windows reach across the picture
        torch.testing.assert_close(metric(elsewhere, target, hole), metric(pred, target, hole))
    assert not torch.allclose(metric(elsewhere, target), metric(pred, target))
    better = 1 if metric is metrics.l1 else -1
    assert (better * (metric(pred, target, hole) - metric(pred, target)) > 0).all()  # the known pixels flatter


@PER_IMAGE
def test_one_figure_for_each_image(metric):
    pred, target = pictures(), pictures(seed=1)
    hole = masks.make("strokes", 4, 64, seed=1)
    for mask in (None, hole):
        together = metric(pred, target, mask)
        one_by_one = [metric(pred[i:i + 1], target[i:i + 1], None if mask is None else mask[i:i + 1]) for i in range(4)]
        assert together.shape == (4,)
        torch.testing.assert_close(together, torch.cat(one_by_one))
    torch.testing.assert_close(metric(pred, target, hole[:1])[2:3], metric(pred[2:3], target[2:3], hole[:1]))


@PER_IMAGE
def test_holes_everywhere_have_a_figure(metric):
    """At the border, in the corner of a picture with odd sides, a single pixel: finite."""
    pred, target = pictures(1, 65), pictures(1, 65, seed=1)
    for box in ((64, 64, 1, 1), (0, 0, 1, 1), (0, 0, 65, 65), (60, 0, 5, 65)):
        assert metric(pred, target, masks.from_boxes(torch.tensor([box]), 65)).isfinite().all()


@pytest.mark.parametrize("size", [64, 65, 176])
def test_ssim_agrees_with_torchmetrics(size):
    functional = pytest.importorskip("torchmetrics.functional.image")
    target = pictures(3, size)
    pred = (0.7 * target + 0.3 * pictures(3, size, seed=1)).clamp(-1, 1)
    theirs, their_map = functional.structural_similarity_index_measure(
        pred, target, data_range=2.0, reduction="none", return_full_image=True)
    torch.testing.assert_close(metrics.ssim(pred, target), theirs, atol=1e-4, rtol=0)
    hole = masks.make("glcic", 3, size, seed=3)
    in_hole = (their_map * hole).sum((1, 2, 3)) / (3 * hole.sum((1, 2, 3)))
    torch.testing.assert_close(metrics.ssim(pred, target, hole), in_hole, atol=1e-4, rtol=0)
    _, theirs = functional.structural_similarity_index_measure(
        pred, target, data_range=2.0, reduction="none", return_contrast_sensitivity=True)
    contrast = metrics._ssim_maps(pred, target)[1][..., 5:-5, 5:-5].mean((1, 2, 3))   # torchmetrics drops a border here
    torch.testing.assert_close(contrast, theirs, atol=1e-4, rtol=0)
    betas = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333][:{64: 3, 65: 3, 176: 5}[size]])
    theirs = functional.multiscale_structural_similarity_index_measure(
        pred, target, data_range=2.0, reduction="none", betas=tuple((betas / betas.sum()).tolist()), normalize="relu")
    torch.testing.assert_close(metrics.ms_ssim(pred, target), theirs, atol=0.02, rtol=0)  # that border: 5 of 11 pixels


def test_ssim_agrees_with_scikit_image():
    skimage = pytest.importorskip("skimage.metrics")
    target, hole = pictures(1), masks.center(1, 64)
    pred = 0.6 * target + 0.1
    _, theirs = skimage.structural_similarity(
        pred[0].double().numpy(), target[0].double().numpy(), channel_axis=0, data_range=2.0, sigma=1.5,
        gaussian_weights=True, use_sample_covariance=False, full=True)
    assert metrics.ssim(pred, target, hole).item() == pytest.approx(theirs[:, 16:48, 16:48].mean(), abs=1e-4)


@PER_IMAGE
def test_a_hole_that_is_everything_is_the_whole(metric):
    pred, target = pictures(2), pictures(2, seed=1)
    torch.testing.assert_close(metric(pred, target, torch.ones(2, 1, 64, 64)), metric(pred, target))


def test_ms_ssim_of_negatives_is_zero_not_nan():
    """An inverted picture has negative contrast terms, whose powers are NaN unless they are clamped."""
    target = pictures()
    assert torch.equal(metrics.ms_ssim(-target, target), torch.zeros(4))
    torch.testing.assert_close(metrics.ms_ssim(target, target), torch.ones(4))
    torch.testing.assert_close(metrics.ssim(target, target), torch.ones(4))


@PER_IMAGE
def test_bad_input_is_refused(metric):
    image = pictures(2)
    with pytest.raises(ValueError, match=r"\[-1, 1\].*use facelib.data.to_float"):
        metric((image + 1) * 127.5, image)
    with pytest.raises(ValueError, match="use facelib.data.to_float"):
        metric(image, image.byte())
    with pytest.raises(ValueError, match=r"one shape, got \(2, 3, 64, 64\) and \(1, 3, 64, 64\)"):
        metric(image, image[:1])
    with pytest.raises(ValueError, match=r"mask must be \(B, 1, H, W\) with 1 = hole.*use mask\[:, :1\]"):
        metric(image, image, image)
    with pytest.raises(ValueError, match=r"no hole in image\(s\) \[1\].*leave the mask out"):
        metric(image, image, torch.stack([torch.ones(1, 64, 64), torch.zeros(1, 64, 64)]))


@pytest.mark.parametrize("metric", [metrics.ssim, metrics.ms_ssim])
def test_ssim_refuses_pictures_smaller_than_its_window(metric):
    with pytest.raises(ValueError, match="at least 11x11 pixels.*got 8x8; use psnr or l1"):
        metric(pictures(1, 8), pictures(1, 8))


# ------------------------------------------------------------------------------------- perception, by closed form

def gaussian_with(mean, covariance, n=500, seed=0):
    """n points whose sample mean and covariance are exactly the given ones."""
    points = np.random.default_rng(seed).standard_normal((n, len(mean)))
    points -= points.mean(0)
    points = points @ np.linalg.inv(np.linalg.cholesky(np.cov(points.T))).T
    return points @ np.linalg.cholesky(covariance).T + mean


def test_frechet_distance_of_two_gaussians():
    """Independent axes: |m|^2 + sum (s_a - s_b)^2. Correlated ones: against scipy's matrix root of the product."""
    a = gaussian_with(np.zeros(3), np.diag([1.0, 4.0, 9.0]))
    b = gaussian_with(np.array([1.0, 0.0, 2.0]), np.diag([4.0, 1.0, 9.0]), n=700, seed=1)
    assert metrics.frechet_distance(a, b) == pytest.approx(1 + 4 + (1 - 2) ** 2 + (2 - 1) ** 2, abs=1e-9)
    linalg = pytest.importorskip("scipy.linalg")
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((400, 20)) @ generator.standard_normal((20, 20)) for _ in range(2))
    cov_a, cov_b = np.cov(a.T), np.cov(b.T)
    expected = (np.square(a.mean(0) - b.mean(0)).sum()
                + np.trace(cov_a + cov_b - 2 * linalg.sqrtm(cov_a @ cov_b).real))
    assert metrics.frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(torch.from_numpy(b), a) == pytest.approx(expected, rel=1e-9)   # symmetric


def test_frechet_distance_is_stable():
    """Dead and duplicated features give singular covariances; equal sets give 0; large offsets keep their digits."""
    x = np.random.default_rng(0).standard_normal((300, 8))
    singular = np.concatenate([x, x[:, :4], np.zeros((300, 4))], 1)
    assert metrics.frechet_distance(singular, singular) < 1e-6
    assert metrics.frechet_distance(singular, singular + 0.5) == pytest.approx(16 * 0.25, rel=1e-6)
    assert metrics.frechet_distance(x + 1e4, x + 1e4 + 1) == pytest.approx(8, rel=1e-6)
    assert metrics.frechet_distance(x[:, :1], 3 * x[:, :1]) == pytest.approx(
        np.square(2 * x[:, 0].mean()) + np.square(2 * x[:, 0].std(ddof=1)))


def test_kernel_distance_by_hand():
    """The definition of Binkowski et al., pair by pair, and no bias: the mean over samples of one source is 0."""
    generator = np.random.default_rng(0)
    a, b = generator.standard_normal((7, 3)), generator.standard_normal((5, 3)) + 1

    def k(x, y):
        return (x @ y / 3 + 1) ** 3

    expected = (sum(k(a[i], a[j]) for i in range(7) for j in range(7) if i != j) / (7 * 6)
                + sum(k(b[i], b[j]) for i in range(5) for j in range(5) if i != j) / (5 * 4)
                - 2 * sum(k(x, y) for x in a for y in b) / (7 * 5))
    assert metrics.kernel_distance(a, b) == pytest.approx(expected)
    same = [metrics.kernel_distance(*generator.standard_normal((2, 30, 3))) for _ in range(400)]
    assert abs(np.mean(same)) < 3 * np.std(same) / 20 and min(same) < 0
    # blocks of rows change nothing
    x, y = generator.standard_normal((2, 2500, 2))
    whole = np.power(x @ y.T / 2 + 1, 3).sum()
    within = [np.power(v @ v.T / 2 + 1, 3).sum() - np.power((v * v).sum(1) / 2 + 1, 3).sum() for v in (x, y)]
    assert metrics.kernel_distance(x, y) == pytest.approx(sum(within) / (2500 * 2499) - 2 * whole / 2500**2)


def test_feature_sets_are_checked():
    x = torch.randn(10, 4)
    with pytest.raises(ValueError, match=r"more images than feature dimensions, got 4 images of 4.*kernel_distance"):
        metrics.frechet_distance(x, x[:4])
    with pytest.raises(ValueError, match="needs 2 in each set, got 1"):
        metrics.kernel_distance(x[:1], x)
    with pytest.raises(ValueError, match="one judge, got 4 and 3"):
        metrics.frechet_distance(x, x[:, :3])
    with pytest.raises(ValueError, match=r"\(N, d\), one row per image, got \(10,\)"):
        metrics.kernel_distance(x[:, 0], x)
    with pytest.raises(ValueError, match="NaN or infinite"):
        metrics.frechet_distance(x, x / 0)


# ------------------------------------------------------------------------------------------- identity and attributes

def test_identity_distance_and_attribute_agreement():
    a = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    b = torch.tensor([[5.0, 0.0], [0.0, 2.0], [-1.0, 0.0]])
    torch.testing.assert_close(metrics.identity_distance(a, b), torch.tensor([0.0, 1.0, 2.0]))
    logits = torch.tensor([[1.0, -2.0, 3.0, -4.0]])
    assert metrics.attribute_agreement(logits, logits * 9).tolist() == [1.0]
    assert metrics.attribute_agreement(logits, -logits).tolist() == [0.0]
    assert metrics.attribute_agreement(logits, logits.abs()).tolist() == [0.5]
    for metric in (metrics.identity_distance, metrics.attribute_agreement):
        with pytest.raises(ValueError, match=r"one row per image, got \(3, 2\) and \(1, 4\)"):
            metric(a, logits)


# ------------------------------------------------------------------- the Frechet distance rises with every distortion

def noise(faces, level):
    """(1 - level) of the picture and `level` of Gaussian noise."""
    grain = torch.randn(faces.shape, generator=torch.Generator().manual_seed(1))
    return ((1 - level) * faces + level * grain).clamp(-1, 1)


def blur(faces, level):
    """A Gaussian of `level` pixels."""
    from torchvision.transforms.functional import gaussian_blur

    return gaussian_blur(faces, 2 * math.ceil(3 * level) + 1, level)


def rectangles(faces, level):
    """Five black rectangles in each face, every side `level` of the picture's."""
    size, generator = faces.shape[-1], torch.Generator().manual_seed(2)
    side = round(size * level)
    for _ in range(5):
        corner = torch.randint(0, size - side + 1, (len(faces), 2), generator=generator)
        boxes = torch.cat([corner, torch.full_like(corner, side)], 1)
        faces = torch.where(masks.from_boxes(boxes, size) > 0.5, -1.0, faces)
    return faces


def swirl(faces, level):
    """Turned by `level` radians in the middle, less and less outwards."""
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, faces.shape[-1])] * 2, indexing="ij")
    angle = level * torch.exp(-(x.square() + y.square()) / 0.35)
    grid = torch.stack([x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()], -1)
    return F.grid_sample(faces, grid.expand(len(faces), -1, -1, -1), padding_mode="reflection", align_corners=True)


LEVELS = {noise: (0.1, 0.25, 0.5, 0.75), blur: (0.5, 1, 2, 4), rectangles: (0.1, 0.2, 0.35, 0.5),
          swirl: (0.3, 0.8, 1.6, 2.8)}  # Heusel et al. 2017, figure 3: four of their six distortions


@pytest.fixture(scope="module")
def faces():
    data = facelib.load_faces("synthetic")
    return data.train.tensor(slice(0, 256)), data.test.tensor(slice(0, 192))


@torch.no_grad()
def random_network(images):
    """Features of a network that was never trained: fixed random convolutions, (N, 32)."""
    generator = torch.Generator().manual_seed(0)
    for inner, outer in ((3, 16), (16, 32), (32, 32)):
        kernel = torch.randn(outer, inner, 3, 3, generator=generator) * math.sqrt(2 / (9 * inner))
        images = F.relu(F.conv2d(images, kernel, stride=2))
    return images.mean((2, 3))


@pytest.fixture(scope="module", params=["judge_attr", "random"])
def features(request):
    return random_network if request.param == "random" else facelib.load_pretrained("judge_attr").features


@pytest.mark.parametrize("distort", LEVELS, ids=lambda f: f.__name__)
def test_frechet_rises_under_distortion(distort, features, faces):
    """Against other, undistorted faces: the distance grows at every step, from the floor of two real sets."""
    reference, test = faces
    a = features(reference)
    distances = [metrics.frechet_distance(a, features(test))]
    distances += [metrics.frechet_distance(a, features(distort(test, level))) for level in LEVELS[distort]]
    assert all(low < high for low, high in zip(distances, distances[1:], strict=False)), distances


# ------------------------------------------------------------------------------------------------ latents and factors

def factors_of(n=300, seed=0):
    """Five independent factors, the last one yes or no, (n, 5)."""
    factors = torch.rand(n, 5, generator=torch.Generator().manual_seed(seed))
    factors[:, 4] = (factors[:, 4] > 0.6).float()
    return factors


def rotated(latents, seed=0):
    d = latents.shape[1]
    return latents @ torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(seed)))[0]


def test_disentanglement_of_factors_in_another_order_is_nearly_perfect():
    factors = factors_of()
    latents = 3 - 2 * factors[:, [3, 1, 4, 0, 2]]
    assert metrics.mig(latents, factors) > 0.75
    assert all(value > 0.99 for value in metrics.dci(latents, factors).values())


def test_mig_by_hand():
    """Two latents, of which one tells a factor of four values, and the other half of it: the gap is one bit of two."""
    factor = np.arange(400) % 4
    latents = np.stack([factor, factor // 2], 1)
    assert metrics.mig(latents, factor[:, None]) == pytest.approx(0.5)
    assert metrics.mig(latents[:, :1], factor[:, None]) == pytest.approx(1)             # nothing else tells of it
    assert metrics.mig(latents[:, [0, 0]], factor[:, None]) == pytest.approx(0)         # two tell the same
    assert metrics.mig(latents, np.stack([factor, factor * 0], 1)) == pytest.approx(0.5)        # what never changes is left out


def test_a_rotation_mixes_latents_but_loses_nothing():
    factors = factors_of()
    mixed = rotated(factors)
    assert metrics.mig(mixed, factors) < 0.4 * metrics.mig(factors, factors)
    found = metrics.dci(mixed, factors)
    assert found["disentanglement"] < 0.7 and found["completeness"] < 0.7 and found["informativeness"] > 0.8


def test_noise_tells_nothing():
    factors, noise = factors_of(), torch.randn(300, 5, generator=torch.Generator().manual_seed(1))
    assert metrics.mig(noise, factors) < 0.03
    assert all(value < 0.05 for value in metrics.dci(noise, factors).values())


def test_latents_that_never_change_tell_nothing():
    constant = torch.ones(300, 5)
    assert metrics.mig(constant, factors_of()) == pytest.approx(0, abs=1e-9)
    assert metrics.dci(constant, factors_of()) == {"disentanglement": 0, "completeness": 0, "informativeness": 0}


def test_dci_by_hand():
    """One latent that tells both of two factors, and one that tells nothing: complete, but not disentangled."""
    both = torch.arange(600) % 4
    factors = torch.stack([both % 2, both // 2], 1).float()
    latents = torch.stack([both.float(), torch.zeros(600)], 1)
    found = metrics.dci(latents, factors)
    assert found["disentanglement"] == pytest.approx(0, abs=0.05) and found["completeness"] == pytest.approx(1)
    assert found["informativeness"] > 0.99 and found == metrics.dci(latents, factors)
    wide = metrics.dci(torch.stack([factors[:, 0], factors[:, 0] * 2, factors[:, 1]], 1), factors)
    assert wide["disentanglement"] == pytest.approx(1, abs=0.01) and wide["completeness"] < 0.9


@pytest.mark.parametrize("metric", [metrics.mig, metrics.dci])
def test_latents_and_factors_are_checked(metric):
    factors = factors_of(40)
    with pytest.raises(ValueError, match=r"one row per image, got \(39, 5\) and \(40, 5\)"):
        metric(factors[1:], factors)
    with pytest.raises(ValueError, match="NaN or infinite"):
        metric(factors / 0, factors)
    with pytest.raises(ValueError, match="20 or more, got 10 images"):
        metric(factors[:10], factors[:10])
    with pytest.raises(ValueError, match="got 40 images and 0 factors that change"):
        metric(factors, torch.ones(40, 2))
    if metric is metrics.dci:
        with pytest.raises(ValueError, match="2 or more of each, got 1 and 5"):
            metric(factors[:, :1], factors)


def test_sharpness_is_the_laplacians_energy_over_the_truths():
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(3, 3, 24, 24, generator=generator) * 0.5
    mask = masks.center(1, 24)
    assert torch.allclose(metrics.sharpness(target, target, mask), torch.ones(3))
    assert torch.allclose(metrics.sharpness(target / 2, target), torch.full((3,), 0.25))
    flat = torch.zeros_like(target)
    assert metrics.sharpness(flat, target, mask).abs().max() == 0
    # A step at the seam is no detail, and what lies outside the hole does not count.
    shifted = masks.composite(target, mask, (target + 0.4))
    assert torch.allclose(metrics.sharpness(shifted, target, mask), torch.ones(3), atol=1e-4)
    grey = target.mean(1)[0].double().numpy()
    by_hand = [grey[y, x] - (grey[y - 1, x] + grey[y + 1, x] + grey[y, x - 1] + grey[y, x + 1]) / 4
               for y in range(7, 17) for x in range(7, 17)]
    half = masks.composite(target, mask, target * 0.5 + torch.linspace(-0.1, 0.1, 24))
    assert metrics.sharpness(half, target, mask)[0].item() == pytest.approx(0.25, rel=1e-3)
    noise = target + 0.2 * torch.randn(target.shape, generator=generator)
    spread = (0.2 ** 2 / 3) * (1 + 4 / 16) / np.square(by_hand).mean()
    assert metrics.sharpness(noise.clamp(-1, 1), target, mask)[0].item() == pytest.approx(1 + spread, rel=0.4)


def test_a_thin_hole_is_measured_with_all_its_pixels():
    target = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 5, 3:12] = 1
    assert metrics.sharpness(target, target, mask).item() == pytest.approx(1)
