"""How good a face is: distortion, perception, identity and attributes. Higher is better for PSNR, SSIM and agreement.
And how well latents keep factors apart: `mig`, `dci`.

Distortion (`psnr`, `ssim`, `ms_ssim`, `l1`) compares pixels and gives one figure per image, over the whole picture or
over the hole only. Perception (`frechet_distance`, `kernel_distance`) compares two sets of faces in the feature space
of a judge. Blau and Michaeli (2018) prove that one is paid for with the other: always report both.
"""

import numpy as np
import torch
import torch.nn.functional as F

from facelib import masks
from facelib.extras import need

DATA_RANGE = 2.0  # images run from -1 to 1
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  # Wang et al. 2004, section III-C
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # Wang et al. 2003, found by their observers, fine to coarse


def _pair(pred, target, mask):
    """Check two image batches and an optional mask; returns them as float32, the mask as (B, 1, H, W) or None."""
    for images in (pred, target):
        masks.check(images, torch.zeros(1, 1, *images.shape[-2:]) if mask is None else mask)
    if pred.shape != target.shape:
        raise ValueError(f"pred and target must have one shape, got {tuple(pred.shape)} and {tuple(target.shape)}")
    if mask is not None:
        mask = mask.to(pred.device).float().expand(len(pred), -1, -1, -1)
        empty = [i for i, one in enumerate(mask) if not one.any()]
        if empty:
            raise ValueError(f"mask has no hole in image(s) {empty[:8]}, so there is nothing to measure there; "
                             "leave the mask out for the whole picture")
    return pred.float(), target.float(), mask


def _average(values, mask):
    """Mean over pixels and channels, (B, C, H, W) -> (B,); with a mask only where it is 1, weighted by it."""
    per_pixel = values.mean(1, keepdim=True)  # (B, 1, H, W)
    if mask is None:
        return per_pixel.flatten(1).mean(1)
    return (per_pixel * mask).flatten(1).sum(1) / mask.flatten(1).sum(1)


def l1(pred, target, mask=None):
    """Mean absolute error, in units of the range [-1, 1] (0.01 is about one grey level of 255).

    pred, target: float (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W), 1 = hole; given, only hole pixels count.
    Returns (B,). Raises ValueError for other shapes or ranges, or a mask without a hole.
    """
    pred, target, mask = _pair(pred, target, mask)
    return _average((pred - target).abs(), mask)


def psnr(pred, target, mask=None):
    """Peak signal-to-noise ratio in dB: 10 log10(2^2 / MSE), infinite for identical images.

    pred, target: float (B, 3, H, W) in [-1, 1], a range of 2. mask: (B, 1, H, W), 1 = hole; given, the mean squared
    error is taken over hole pixels only, so that known pixels cannot flatter a completion. Returns (B,).
    Raises ValueError for other shapes or ranges, or a mask without a hole.
    """
    pred, target, mask = _pair(pred, target, mask)
    return 10 * torch.log10(DATA_RANGE**2 / _average((pred - target).square(), mask))


def _ssim_maps(x, y):
    """SSIM and its contrast-structure part at every pixel, both (B, C, H, W) (Wang et al. 2004, eq. 13).

    The picture is mirrored at its border, as in torchmetrics, so that pixels near it, where a hole may be, count too.
    Our own and not torchmetrics', which gives no map of the contrast: MS-SSIM over a hole needs one. A test compares.
    """
    channels, half = x.shape[1], SSIM_WINDOW // 2
    line = torch.arange(-half, half + 1, dtype=x.dtype, device=x.device)
    line = torch.exp(-line.square() / (2 * SSIM_SIGMA**2))
    line = line / line.sum()

    def blur(images):  # a Gaussian window is a row of weights times a column of weights
        images = F.pad(images, (half,) * 4, mode="reflect")
        images = F.conv2d(images, line.view(1, 1, 1, -1).expand(channels, 1, 1, -1), groups=channels)
        return F.conv2d(images, line.view(1, 1, -1, 1).expand(channels, 1, -1, 1), groups=channels)

    mean_x, mean_y = blur(x), blur(y)
    var_x = (blur(x * x) - mean_x**2).clamp_min(0)  # rounding may leave it just below zero
    var_y = (blur(y * y) - mean_y**2).clamp_min(0)
    cov = blur(x * y) - mean_x * mean_y
    c1, c2 = (0.01 * DATA_RANGE) ** 2, (0.03 * DATA_RANGE) ** 2
    contrast = (2 * cov + c2) / (var_x + var_y + c2)
    return (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1) * contrast, contrast


def _check_window(shape):
    if min(shape[-2:]) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs images of at least {SSIM_WINDOW}x{SSIM_WINDOW} pixels, its window, "
                         f"got {shape[-2]}x{shape[-1]}; use psnr or l1, or larger images")


def sharpness(pred, target, mask=None):
    """Fine detail as a share of the true picture's: 1 as sharp, 0 a smudge, above 1 too sharp or noisy.

    The energy of the Laplacian (the squared difference of a pixel from the mean of its four neighbours, on grey levels)
    of pred over that of target. pred, target: float (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W), 1 = hole; given, only
    hole pixels whose neighbours all lie in the hole count, so that a seam is not taken for detail; a hole too thin to have
    such pixels counts with all of its own. Returns (B,); take the median over faces, for a target without any detail makes
    the ratio very large. Raises ValueError for other shapes or ranges, or a mask without a hole.
    """
    pred, target, mask = _pair(pred, target, mask)
    if mask is not None:
        known = F.max_pool2d(F.pad(1 - mask, (1, 1, 1, 1), value=1), 3, 1)
        inner = 1 - known
        thin = inner.flatten(1).sum(1) == 0
        mask = torch.where(thin[:, None, None, None], mask, inner)
    line = torch.tensor([[0.0, 0.25, 0.0], [0.25, -1.0, 0.25], [0.0, 0.25, 0.0]], device=pred.device)

    def energy(images):
        grey = F.pad(images.mean(1, keepdim=True), (1, 1, 1, 1), mode="reflect")
        return _average(F.conv2d(grey, line[None, None]).square(), mask)

    return energy(pred) / energy(target).clamp(min=1e-9)


def ssim(pred, target, mask=None):
    """Structural similarity, 1 for identical images (Wang et al. 2004; 11-pixel Gaussian window, sigma 1.5).

    pred, target: float (B, 3, H, W) in [-1, 1]. mask: (B, 1, H, W), 1 = hole; given, the SSIM map is averaged over
    hole pixels only (the windows of pixels near the seam still see known pixels). Returns (B,).
    Raises ValueError for other shapes or ranges, a side under 11 pixels, or a mask without a hole.
    """
    pred, target, mask = _pair(pred, target, mask)
    _check_window(pred.shape)
    return _average(_ssim_maps(pred, target)[0], mask)


def ms_ssim(pred, target, mask=None):
    """Multi-scale structural similarity, in [0, 1] (Wang, Simoncelli and Bovik 2003, eq. 7).

    As many of the paper's 5 scales as the 11-pixel window fits (3 at 64 pixels, 5 from 176), their weights divided by
    their sum. Negative means, of which no power can be taken, count as 0. pred, target: float (B, 3, H, W) in
    [-1, 1]. mask: (B, 1, H, W), 1 = hole; given, each scale is averaged over the hole, shrunk with the picture.
    Returns (B,). Raises ValueError for other shapes or ranges, a side under 11 pixels, or a mask without a hole.
    """
    pred, target, mask = _pair(pred, target, mask)
    _check_window(pred.shape)
    scales = 1
    while scales < len(SCALE_WEIGHTS) and min(pred.shape[-2:]) >> scales >= SSIM_WINDOW:
        scales += 1
    result = 1.0
    for scale in range(scales):
        both, contrast = _ssim_maps(pred, target)
        # Luminance counts at the coarsest scale only: the finer ones would only repeat it.
        value = _average(both if scale == scales - 1 else contrast, mask).clamp_min(0)
        result = result * value ** (SCALE_WEIGHTS[scale] / sum(SCALE_WEIGHTS[:scales]))
        if scale < scales - 1:
            # An odd last row is dropped as everywhere else, but kept where the hole may lie in it.
            pred, target, mask = (None if x is None else F.avg_pool2d(x, 2, ceil_mode=mask is not None)
                                  for x in (pred, target, mask))
    return result


def _features(a, b, least, why):
    """Check two sets of features; returns them as float64 on the CPU, where sums of squares keep their digits."""
    sets = [torch.as_tensor(x).detach().to("cpu", torch.float64) for x in (a, b)]
    for x in sets:
        if x.ndim != 2:
            raise ValueError(f"features must be (N, d), one row per image, got {tuple(x.shape)}; "
                             "use judge.features(images)")
        if not torch.isfinite(x).all():
            raise ValueError("features hold NaN or infinite values; look at the images they come from")
    if sets[0].shape[1] != sets[1].shape[1]:
        raise ValueError(f"both sets need the features of one judge, got {sets[0].shape[1]} and {sets[1].shape[1]} "
                         "dimensions")
    fewest, d = min(len(x) for x in sets), sets[0].shape[1]
    if fewest < least(d):
        raise ValueError(why.format(n=fewest, d=d))
    return sets


def frechet_distance(a, b):
    """Squared Frechet distance of two Gaussians fitted to features (Heusel et al. 2017, eq. 6). 0 for equal sets.

    |m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), in float64. The trace of the root comes from the eigenvalues of
    the symmetric C_a^(1/2) C_b C_a^(1/2), which are those of C_a C_b but real and never negative: no complex root.
    a: (N, d), b: (M, d), tensors or arrays. Returns a float. The estimate is biased upwards for small N: compare only
    figures of one N, and against the distance of two sets of real faces. It is an FID only with Inception's features.
    Raises ValueError where a set has fewer than d + 1 rows, whose covariance would be singular.
    """
    a, b = _features(a, b, lambda d: d + 1, (
        "frechet_distance fits a covariance and needs more images than feature dimensions, got {n} images of {d} "
        "dimensions; use more images, or kernel_distance, which has no bias at small N"))
    cov_a, cov_b = (torch.cov(x.T).view(x.shape[1], -1) for x in (a, b))  # the view keeps d = 1 a matrix
    values, vectors = torch.linalg.eigh(cov_a)
    root_a = vectors * values.clamp_min(0).sqrt() @ vectors.T
    inner = root_a @ cov_b @ root_a
    trace_root = torch.linalg.eigvalsh((inner + inner.T) / 2).clamp_min(0).sqrt().sum()
    distance = (a.mean(0) - b.mean(0)).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_root
    return max(distance.item(), 0.0)  # rounding may leave equal sets just below zero


def kernel_distance(a, b):
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, section 4).

    a: (N, d), b: (M, d), tensors or arrays, at least 2 rows each. Returns a float, 0 in expectation for two sets from
    one distribution (so it may be a little negative). One estimate from all pairs, not a mean over subsets.
    It is a KID only with Inception's features. Raises ValueError for other shapes.
    """
    a, b = _features(a, b, lambda d: 2, "kernel_distance compares pairs of images and needs 2 in each set, got {n}")

    def total(x, y):  # in blocks of rows: 27,000 squared would not fit in memory
        return sum((block @ y.T / x.shape[1] + 1).pow(3).sum().item() for block in x.split(1024))

    def within(x):  # pairs of an image with itself left out: this is what makes it unbiased
        own = (x.square().sum(1) / x.shape[1] + 1).pow(3).sum().item()
        return (total(x, x) - own) / (len(x) * (len(x) - 1))

    return within(a) + within(b) - 2 * total(a, b) / (len(a) * len(b))


def _rows(a, b, what):
    if a.shape != b.shape or a.ndim != 2:
        raise ValueError(f"{what} must be two tensors of one shape, one row per image, got {tuple(a.shape)} and "
                         f"{tuple(b.shape)}")


def identity_distance(a, b):
    """Cosine distance of paired identity features: 0 same direction, 1 unrelated, 2 opposite.

    a, b: (B, d), `judge_identity.features` of the same faces before and after. Returns (B,).
    Raises ValueError for other shapes.
    """
    _rows(a, b, "identity features")
    return 1 - F.cosine_similarity(a.float(), b.float(), dim=1)


def attribute_agreement(logits_a, logits_b):
    """Share of attributes on which two sets of logits agree (both above or both below 0), in [0, 1].

    logits_a, logits_b: (B, 40), `judge_attr.logits` of the same faces before and after. Returns (B,). Most of CelebA's
    attributes are rare, so two strangers agree on many: read it beside the agreement of faces paired at random.
    Raises ValueError for other shapes.
    """
    _rows(logits_a, logits_b, "attribute logits")
    return ((logits_a > 0) == (logits_b > 0)).float().mean(1)


def _latents_and_factors(latents, factors):
    """Check them; as float64 arrays (N, d) and (N, K), the factors without those that never change."""
    latents, factors = (torch.as_tensor(x).detach().to("cpu", torch.float64).numpy() for x in (latents, factors))
    if latents.ndim != 2 or factors.ndim != 2 or len(latents) != len(factors) or not latents.shape[1]:
        raise ValueError(f"latents must be (N, d) and factors (N, K), one row per image, got {latents.shape} and {factors.shape}")
    if not (np.isfinite(latents).all() and np.isfinite(factors).all()):
        raise ValueError("latents or factors hold NaN or infinite values; look at the images they come from")
    factors = factors[:, np.ptp(factors, axis=0) > 0]
    if not factors.shape[1] or len(latents) < 20:
        raise ValueError(f"disentanglement is measured over images that differ in their factors, 20 or more, got {len(latents)} "
                         f"images and {factors.shape[1]} factors that change")
    return latents, factors


def _binned(values, bins):
    """Each column of (N, d) as whole numbers below `bins`, by quantiles: alike values stay together."""
    edges = np.quantile(values, np.linspace(0, 1, bins + 1)[1:-1], axis=0)
    columns = [np.searchsorted(np.unique(edge), column, side="right") for edge, column in zip(edges.T, values.T, strict=True)]
    return np.stack(columns, 1)


def _entropy(shares):
    """Of shares that sum to 1 along the last axis, in nats."""
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(-1)


def mig(latents, factors, bins=20):
    """Mutual information gap, in [0, 1]: is each factor in one latent, and in no other (Chen et al. 2018, eq. 6)?

    For each factor, the mutual information with the latent that tells most of it minus that with the second, divided by
    the factor's entropy; the mean over the factors. latents: (N, d), factors: (N, K), tensors or arrays, of the same N
    images. Both are put into `bins` bins of equal numbers of images, so what is measured does not depend on their scale;
    of few images every mutual information is told too high, the gap less so: compare figures of one N. A latent that
    never changes tells nothing; a factor that never does is left out. 1 needs as many independent factors as bins allow
    to be told apart. Raises ValueError for other shapes, values that are not finite, under 20 images, or no factor that
    changes.
    """
    latents, factors = (_binned(x, bins) for x in _latents_and_factors(latents, factors))
    gaps = []
    for factor in factors.T:
        own, told = _entropy(np.bincount(factor, minlength=bins) / len(factor)), [0.0]
        for latent in latents.T:
            joint = np.bincount(latent * bins + factor, minlength=bins * bins).reshape(bins, bins) / len(factor)
            told.append(own + _entropy(joint.sum(1)) - _entropy(joint.ravel()))
        second, first = np.sort(told)[-2:]
        gaps.append((first - second) / own if own else 0.0)
    return float(np.mean(gaps))


def dci(latents, factors, seed=0):
    """Disentanglement, completeness and informativeness -> a dict of the three, each 1 at best (Eastwood and Williams 2018).

    A random forest learns each factor from the latents, on three quarters of the images; how much of its splits each latent
    earns gives the importances R (d, K). disentanglement: 1 - the entropy of a latent's row of R in base K, over latents by
    their share of R: does a latent tell of one factor only? completeness: 1 - the entropy of a factor's column in base d,
    mean over factors: does one latent tell all of it? informativeness: R^2 of the forests on the other quarter, at least 0,
    mean over factors (the paper gives the error). Read the first two only where the third is well above 0.

    latents: (N, d), factors: (N, K), d and K at least 2. seed: of the forests and the split. Raises ValueError as `mig`.
    """
    latents, factors = _latents_and_factors(latents, factors)
    (n, d), k = latents.shape, factors.shape[1]
    if min(d, k) < 2:
        raise ValueError(f"dci tells latents apart, and factors, and needs 2 or more of each, got {d} and {k}")
    order = np.random.default_rng(seed).permutation(n)
    train, test = order[n // 4:], order[:n // 4]
    forest, found, right = need("sklearn.ensemble").RandomForestRegressor, np.zeros((d, k)), np.zeros(k)
    for j, factor in enumerate(factors.T):
        fitted = forest(20, min_samples_leaf=5, random_state=seed).fit(latents[train], factor[train])
        found[:, j] = fitted.feature_importances_
        right[j] = 1 - np.square(fitted.predict(latents[test]) - factor[test]).mean() / max(factor[test].var(), 1e-12)
    whole = found.sum(1, keepdims=True)
    rows = 1 - _entropy(found / np.where(whole > 0, whole, 1)) / np.log(k)
    columns = np.where(found.sum(0) > 0, 1 - _entropy(found.T) / np.log(d), 0)
    return {"disentanglement": float((rows * whole[:, 0]).sum() / max(whole.sum(), 1e-12)),
            "completeness": float(columns.mean()), "informativeness": float(right.clip(0).mean())}
