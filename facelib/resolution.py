"""From few pixels to many without learning: how faces are shrunk, how they are enlarged, what every enlargement must keep.

A low-resolution face `low` is float (B, 3, 8, 8) in [-1, 1]: each of its pixels is the mean of a block of pixels. Many faces
share one `low`, so an enlargement is a choice among them; what can be asked of it is that it shrinks back to `low`.
"""

import torch
import torch.nn.functional as F

FACTOR = 4          # pixels along the side of a block: 8x8 from 32x32
LEVEL = 127.5       # one grey level, 1/255 of the range, is 1/127.5 here, where images run from -1 to 1
EXACT = 1e-5        # of a block's mean: far below a grey level (0.0078), far above what float32 rounds


def check(low, size=8):
    """Refuse what is no low-resolution face, with what was expected, what came and what to do; returns nothing."""
    wanted = f"low must be (B, 3, {size}, {size}) in [-1, 1]"
    if low.ndim != 4 or tuple(low.shape[1:]) != (3, size, size):
        hint = "add the batch axis with low[None]" if low.ndim == 3 else "shrink faces with resolution.shrink"
        raise ValueError(f"{wanted}, one picture of 3 channels a row, got {tuple(low.shape)}; {hint}")
    if not low.is_floating_point():
        raise ValueError(f"{wanted}, float, got {low.dtype}; use facelib.data.to_float(low)")
    if low.numel() and not (float(low.min()) >= -1.001 and float(low.max()) <= 1.001):            # not: NaN is refused
        raise ValueError(f"{wanted}, got [{float(low.min()):.3g}, {float(low.max()):.3g}]; "
                         "use facelib.data.to_float on uint8, or low * 2 - 1 on [0, 1]")


def shrink(image, factor=FACTOR):
    """The mean of every factor x factor block: (B, 3, 32, 32) -> (B, 3, 8, 8). It is how every `low` is made.

    A sensor's pixel does the same: it adds up the light that falls on it. Raises ValueError where blocks do not fit.
    """
    if image.ndim != 4 or image.shape[1] != 3 or image.shape[2] % factor or image.shape[3] % factor:
        hint = "; add the batch axis with image[None]" if image.ndim == 3 else ""
        raise ValueError(f"image must be (B, 3, H, W) with sides that {factor} divides, got {tuple(image.shape)}{hint}")
    return F.avg_pool2d(image, factor)


def back_project(image, low):
    """The image corrected so that it shrinks to `low` again -> (B, 3, H, W) in [-1, 1] (Irani and Peleg 1991).

    image: (B, 3, H, W), what some method made of low (B, 3, h, w), both in [-1, 1]. What a block's mean lacks is added
    to all of its pixels alike; where a pixel reaches the end of the range, the others of its block take over its share.
    A block that is right already stays bit-identical. Within the range every `low` can be reached, in as many rounds as
    a block has pixels at most. Raises ValueError for sizes that do not fit and for a `low` outside the range.
    """
    factor = _factor(image, low)
    done = image.float().clamp(-1, 1)
    for _ in range(factor**2 + 1):
        lacks = low.float() - shrink(done, factor)                                         # (B, 3, h, w)
        wrong = lacks.abs() > EXACT
        if not bool(wrong.any()):
            break
        lacks = _enlarge(torch.where(wrong, lacks, 0.0), factor)
        free = torch.where(lacks > 0, done < 1, done > -1).float()      # pixels that can still go where they should
        share = F.avg_pool2d(free, factor).clamp_min(1 / factor**2)
        moved = (done + free * lacks / _enlarge(share, factor)).clamp(-1, 1)
        done = torch.where(lacks == 0, done, moved)
    return done.to(image.dtype)


def consistency(image, low):
    """How far an enlargement is from shrinking to `low`: mean |shrink(image) - low| in grey levels (1/255) -> (B,).

    image: (B, 3, H, W), low: (B, 3, h, w), both in [-1, 1]. 0 is exact; below 0.5 both are the same 8-bit picture, nearly.
    Raises ValueError for sizes that do not fit and for a `low` outside the range.
    """
    factor = _factor(image, low)
    return (shrink(image.float(), factor) - low.float()).abs().flatten(1).mean(1) * LEVEL


def nearest(low, factor=FACTOR):
    """Every pixel becomes a block of its colour: (B, 3, 8, 8) -> (B, 3, 32, 32)."""
    check(low)
    return _enlarge(low, factor).clamp(-1, 1)


def bicubic(low, factor=FACTOR):
    """Cubic convolution along both axes (Keys 1981, a = -1/2, as Pillow's): (B, 3, 8, 8) -> (B, 3, 32, 32), clamped.

    It keeps straight ramps straight. It is no inverse of `shrink`: it takes pixels for points, where they are means.
    """
    check(low)
    # Asked to enlarge, "antialias" changes nothing but the kernel: Keys' a = -1/2 instead of torch's usual -3/4.
    large = F.interpolate(low.float(), scale_factor=factor, mode="bicubic", antialias=True)
    return large.clamp(-1, 1).to(low.dtype)


METHODS = {"nearest": nearest, "bicubic": bicubic}


def _enlarge(blocks, factor):
    return blocks.repeat_interleave(factor, 2).repeat_interleave(factor, 3)


def _factor(image, low):
    """The side of a block, from an image and its `low`; ValueError where they do not fit."""
    if low.ndim == 4:
        check(low, low.shape[-1])
    factor = image.shape[-1] // low.shape[-1] if image.ndim == low.ndim == 4 else 0
    if not factor or tuple(image.shape) != (*low.shape[:2], low.shape[2] * factor, low.shape[3] * factor):
        raise ValueError(f"image must be a whole multiple of low's size, for each of its {len(low)} rows, got image "
                         f"{tuple(image.shape)} and low {tuple(low.shape)}; low is resolution.shrink of a face")
    return factor
