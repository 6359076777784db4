"""What a completion takes over from the photograph around it: its tone, where it has no colours of its own, and its grain."""

import numpy as np

from facelib.extras import need

LEVEL = 1 / 127.5           # one grey level of 255, in [-1, 1]
STEPS = 16                  # of brightness, from black to white; in each of them a toned photograph has one colour
TONED = 4 * LEVEL           # a photograph whose colours stray less from those of their brightness counts as grey or toned
OCTAVES = (1, 2, 4)         # pixels, standard deviations of the blurs that take a picture's fine detail apart
GRAINS = (0, 1, 2)          # pixels, standard deviations of the blur that gives noise its size
WINDOW = 15                 # pixels, the side of the squares of a photograph that are compared for their detail
FEWEST = 200                # pixels, below which there is nothing to measure


def brightness(pixels):
    """The brightness of pixels (..., 3), (...): ITU-R BT.601, written so that a grey pixel has exactly its own level."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return green + 0.299 * (red - green) + 0.114 * (blue - green)


def tone(known):
    """How a grey or toned photograph colours a brightness: a function of pixels (..., 3) -> (..., 3); None if it has colours.

    known: pixels of the photograph, (n, 3) in [-1, 1]. Grey, sepia or faded, such a photograph has one colour for each
    brightness. So its pixels are sorted into STEPS of brightness, and if on average they are no further from the mean
    colour of their step than TONED, that is the colour which the function gives to a pixel of this brightness.
    """
    if len(known) < FEWEST:
        return None
    level = brightness(known)
    step = ((level + 1) / 2 * STEPS).astype(int).clip(0, STEPS - 1)
    used, step, count = np.unique(step, return_inverse=True, return_counts=True)
    places = np.bincount(step, level) / count
    tints = [np.bincount(step, known[:, i] - level) / count for i in range(3)]

    def toned(pixels):
        level = brightness(pixels)
        return np.stack([level + np.interp(level, places, tint) for tint in tints], -1)

    strays = np.sqrt(np.square(known - toned(known)).sum(1).mean())
    return toned if strays < TONED else None


def grain(picture, hole, pixel, seed=0):
    """A completed picture with the grain of its surroundings in the hole as well: (H, W, 3) in [-1, 1], as `picture`.

    picture: float32, known pixels as they are in the photograph, and the completion in the hole. hole: bool (H, W).
    pixel: the side of the completion's own pixels, as many pixels of the photograph as it was enlarged by; grain that is
    coarser cannot be told from the face itself, and none is added.

    Grain is taken to be a mixture of noise of the sizes in GRAINS, along directions of colour of its own: mostly
    brightness, and two that change the hue. Along each of them the variance of some octaves of fine detail is measured
    around the hole and in it, and the mixture is added that accounts for the difference: as much as the completion
    lacks. Where that is less than half a grey level, nothing is. The same seed gives the same grain.
    """
    flat = _flat(picture, hole)
    if min(flat.sum(), hole.sum()) < FEWEST:
        return picture
    nnls = need("scipy.optimize").nnls
    sizes = [width for width in GRAINS if 2 * width <= pixel]
    octaves = lambda picture: _octaves(picture)[:len(sizes)]
    samples = _noises((256, 256, 3), sizes, seed)
    shares = np.array([[octave.var() for octave in octaves(sample)] for sample in samples]).T   # (octaves, sizes)
    rounding = shares[:, 0] * LEVEL**2 / 12                         # whole grey levels look like a little fine noise
    around, within = ([octave[where] for octave in octaves(picture)] for where in (flat, hole))
    _, axes = np.linalg.eigh(sum(_covariance(detail) for detail in around))

    rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    noises, added = _noises(picture[box].shape, sizes, seed), np.zeros(picture[box].shape)
    for i, axis in enumerate(axes.T):
        there, here = (np.array([_spread(detail @ axis) ** 2 for detail in details]) for details in (around, within))
        amounts, _ = nnls(shares, (there - here - rounding).clip(0))
        for amount, noise in zip(amounts, noises, strict=True):
            added += np.sqrt(amount) * noise[..., i, None] * axis
    if added[hole[box]].std() < LEVEL / 2:
        return picture
    result = picture.copy()
    result[hole] = (picture[hole] + added[hole[box]]).clip(-1, 1)
    return result


def _noises(shape, sizes, seed):
    """Noise of each size, of variance 1 and the same for the same seed: a list of float32 (H, W, 3)."""
    cv2 = need("cv2")
    generator = np.random.default_rng(seed)
    noises = []
    for width in sizes:
        noise = generator.standard_normal(shape, np.float32)
        if width:
            noise = cv2.GaussianBlur(noise, (0, 0), width) * np.float32(2 * np.sqrt(np.pi) * width)
        noises.append(noise)
    return noises


def _flat(picture, hole):
    """Where the photograph around the hole shows little but its grain, bool (H, W).

    That is the fifth of it with the least fine detail: hair, beards and leaves have more than grain. What is black or
    white has lost its grain and does not count.
    """
    cv2 = need("cv2")
    distance = cv2.distanceTransform((~hole).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    known = (distance > WINDOW / 2 + OCTAVES[-1]) & (np.abs(picture) < 1 - 3 * LEVEL).all(-1)
    if not known.any():
        return known
    light = brightness(picture)
    detail = light - cv2.GaussianBlur(light, (0, 0), OCTAVES[-1])
    energy = cv2.blur(np.square(detail), (WINDOW, WINDOW))
    return known & (energy <= np.quantile(energy[known], 0.2))


def _octaves(picture):
    """A picture's detail up to 1, from 1 to 2 and from 2 to 4 pixels: a list of (H, W, 3)."""
    cv2 = need("cv2")
    blurred = [picture, *(cv2.GaussianBlur(picture, (0, 0), width) for width in OCTAVES)]
    return [finer - coarser for finer, coarser in zip(blurred, blurred[1:], strict=False)]


def _spread(detail):
    """The standard deviation of detail along its first axis, from the median, which edges hardly move."""
    return 1.4826 * np.median(np.abs(detail), 0)


def _covariance(detail):
    """The covariance of the channels of detail (n, 3), (3, 3), without what stands out: edges are not grain."""
    detail = detail[(np.abs(detail) <= 3 * _spread(detail)).all(1)]
    return detail.T @ detail / max(len(detail), 1)
