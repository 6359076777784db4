"""Every kind of hole. A mask is float (B, 1, H, W) with 1 = hole and 0 = known.

Samplers take `(n, size, generator)`: how many, the side in pixels (or `(height, width)`), and a CPU `torch.Generator`,
so that the same seed cuts the same holes on every device. `make(kind, n, size, seed)` is the short way.
"""

import functools
import math

import torch


def _sides(size):
    return (size, size) if isinstance(size, int) else tuple(size)


def _uniform(n, low, high, generator):
    """n whole numbers, uniform in [low, high], both ends included; low and high are ints or tensors of n."""
    low, high = torch.as_tensor(low).expand(n), torch.as_tensor(high).expand(n)
    return low + (torch.rand(n, generator=generator, dtype=torch.float64) * (high - low + 1)).long()


def from_boxes(boxes, size):
    """Boxes (B, 4) as x, y, width, height in pixels -> masks (B, 1, H, W); parts outside the image are cut off."""
    h, w = _sides(size)
    x, y, bw, bh = (v[:, None, None] for v in boxes.unbind(1))
    rows, cols = torch.arange(h)[None, :, None], torch.arange(w)[None, None]
    return ((cols >= x) & (cols < x + bw) & (rows >= y) & (rows < y + bh)).float()[:, None]


def center(n, size, generator=None, hole=0.5):
    """A centred rectangle whose sides are `hole` times the image's: 32x32 in a 64x64 image by default."""
    h, w = _sides(size)
    bh, bw = round(h * hole), round(w * hole)
    return from_boxes(torch.tensor([[(w - bw) // 2, (h - bh) // 2, bw, bh]]).expand(n, 4), size)


def rectangle(n, size, generator):
    """One random rectangle: every side >= 10 px, area at most a third of the image, anywhere inside it.

    The rule of the adversarial denoising autoencoder. Width first, then the heights that the area still allows.
    """
    h, w = _sides(size)
    if min(h, w) < 10 or h * w < 300:
        raise ValueError(f"rectangle needs images in which 10x10 pixels are at most a third, got {h}x{w}; use pixels or "
                         "center")
    widest = min(w, h * w // 30)
    bw = _uniform(n, 10, widest, generator)
    bh = _uniform(n, 10, (h * w // (3 * bw)).clamp(max=h), generator)
    x, y = _uniform(n, 0, w - bw, generator), _uniform(n, 0, h - bh, generator)
    return from_boxes(torch.stack([x, y, bw, bh], 1), size)


def glcic(n, size, generator, low=0.2875, high=0.575):
    """The hole of globally and locally consistent completion: a random rectangle anywhere in the image.

    low, high: the shortest and longest side as fractions of the image's; the defaults are 46..92 pixels of 160
    (Iizuka et al. 2017 use 96..128 of 256). `boxes_of` gives the box back for the local discriminator.
    """
    h, w = _sides(size)
    bw = _uniform(n, round(w * low), round(w * high), generator)
    bh = _uniform(n, round(h * low), round(h * high), generator)
    x, y = _uniform(n, 0, w - bw, generator), _uniform(n, 0, h - bh, generator)
    return from_boxes(torch.stack([x, y, bw, bh], 1), size)


def half(n, size, generator):
    """One half of the image, left, right, top or bottom, drawn for each image."""
    h, w = _sides(size)
    choices = torch.tensor([[0, 0, w // 2, h], [w - w // 2, 0, w // 2, h], [0, 0, w, h // 2], [0, h - h // 2, w, h // 2]])
    return from_boxes(choices[_uniform(n, 0, 3, generator)], size)


def pattern(n, size, generator, share=0.25):
    """Irregular blobs that cover about `share` of the image: smooth noise, thresholded at its own quantile.

    In the manner of the random patterns of Pathak et al. 2016, without their segmentation masks.
    """
    h, w = _sides(size)
    coarse = torch.randn(n, 1, 8, 8, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (h, w), mode="bicubic", align_corners=False)
    level = smooth.flatten(1).quantile(1 - share, dim=1)[:, None, None, None]
    return (smooth > level).float()


def pixels(n, size, generator, share=0.8):
    """Every pixel missing on its own with probability `share`: 80 % by default (Yeh et al. 2017)."""
    return (torch.rand(n, 1, *_sides(size), generator=generator) < share).float()


def strokes(n, size, generator, count=6, thickness=0.09):
    """Free-form strokes: `count` random walks of round brush marks, `thickness` of the shorter side across.

    In the manner of Yu et al. 2019 (free-form inpainting): a walk keeps its direction and turns a little at each step.
    """
    h, w = _sides(size)
    points, radius = 12, thickness * min(h, w) / 2
    start = torch.rand(n, count, 1, 2, generator=generator) * torch.tensor([w, h])
    turn = torch.randn(n, count, points, generator=generator) * 0.6
    angle = torch.rand(n, count, 1, generator=generator) * 2 * math.pi + turn.cumsum(2)
    walk = start + (torch.stack([angle.cos(), angle.sin()], 3) * radius).cumsum(2)
    walk = walk.flatten(1, 2)                                                             # (n, count * points, 2)
    rows, cols = torch.arange(h)[:, None] + 0.5, torch.arange(w)[None] + 0.5
    # One image after another: all marks of all images at once would take gigabytes for a thousand masks.
    squares = ((cols - marks[:, 0, None, None]) ** 2 + (rows - marks[:, 1, None, None]) ** 2 for marks in walk)
    return torch.stack([(square.amin(0, keepdim=True) <= radius ** 2).float() for square in squares])


# Where the parts of a face lie in our framing (see `data.align`): the middle, width and height as shares of the picture.
PARTS = {"both eyes": (0.495, 0.437, 0.46, 0.16), "left eye": (0.382, 0.437, 0.21, 0.15),
         "right eye": (0.606, 0.437, 0.21, 0.15), "nose": (0.495, 0.545, 0.22, 0.23), "mouth": (0.495, 0.695, 0.32, 0.17)}


def face_part(n, size, generator, parts=("both eyes", "left eye", "right eye", "nose", "mouth"), loose=0.25):
    """A box over one part of an aligned face, drawn for each image: both eyes, one eye, the nose or the mouth.

    parts: which of PARTS; one name gives that part alone. loose: the box is up to this share larger than the part, drawn
    for each side, and lies up to a tenth of it off the part's middle; 0 gives the box of PARTS itself.
    """
    h, w = _sides(size)
    places = torch.tensor([PARTS[part] for part in ([parts] if isinstance(parts, str) else parts)], dtype=torch.float64)
    x, y, bw, bh = places[_uniform(n, 0, len(places) - 1, generator)].unbind(1)
    grow, shift = torch.rand(n, 2, generator=generator) * loose + 1, (torch.rand(n, 2, generator=generator) - 0.5) * 0.8 * loose
    x, y, bw, bh = x + shift[:, 0] * bw, y + shift[:, 1] * bh, bw * grow[:, 0], bh * grow[:, 1]
    boxes = torch.stack([(x - bw / 2) * w, (y - bh / 2) * h, bw * w, bh * h], 1).round().long()
    return from_boxes(boxes, size)


def border(n, size, generator, low=0.12, high=0.4):
    """A band along one side of the image: left, right, top or bottom, `low` to `high` of the image wide."""
    h, w = _sides(size)
    side, share = _uniform(n, 0, 3, generator), low + (high - low) * torch.rand(n, generator=generator)
    across, down = (share * w).round().long().clamp(min=1), (share * h).round().long().clamp(min=1)
    zero, wide, tall = torch.zeros(n).long(), torch.full((n,), w), torch.full((n,), h)
    choices = torch.stack([torch.stack(box, 1) for box in (
        (zero, zero, across, tall), (w - across, zero, across, tall),
        (zero, zero, wide, down), (zero, h - down, wide, down))])                         # (4, n, 4)
    return from_boxes(choices[side, torch.arange(n)], size)


# The kinds of holes that `mixed` draws from, and how often each.
MIXTURE = {"glcic": 0.34, "face_part": 0.3, "strokes": 0.1, "pattern": 0.08, "border": 0.08, "half": 0.05, "center": 0.05}


def mixed(n, size, generator):
    """Holes of many kinds, one drawn for each image out of MIXTURE: what a network for any hole is trained with."""
    which = torch.multinomial(torch.tensor(list(MIXTURE.values())), n, replacement=True, generator=generator)
    found = torch.empty(n, 1, *_sides(size))
    for i, kind in enumerate(MIXTURE):
        places = (which == i).nonzero().flatten()
        if len(places):
            found[places] = KINDS[kind](len(places), size, generator)
    return found


def from_picture(picture, size):
    """A mask that a user drew -> (1, 1, H, W). Light pixels (above half grey) are the hole.

    picture: a PIL image, or an array (H, W) or (H, W, C) of 0..255. Where it has transparency, only opaque pixels
    count. Resized to `size` with hard edges; a pixel half covered is hole, so that no true pixel is left in it.
    """
    import numpy as np
    from PIL import Image

    image = picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture).astype(np.uint8))
    image = image.convert("RGBA")
    drawn = np.asarray(image.convert("L"), np.float32) * (np.asarray(image.getchannel("A"), np.float32) / 255) > 127
    h, w = _sides(size)
    area = Image.fromarray(drawn.astype(np.uint8) * 255).resize((w, h), Image.Resampling.BOX)
    mask = torch.from_numpy((np.asarray(area) >= 127).astype(np.float32))[None, None]
    if not mask.any():
        raise ValueError("the mask picture marks no hole: paint the part to be filled white (or light) on black")
    return mask


KINDS = {"center": center, "rectangle": rectangle, "glcic": glcic, "half": half, "pattern": pattern, "pixels": pixels,
         "strokes": strokes, "face_part": face_part, "border": border, "mixed": mixed,
         **{part.replace(" ", "_"): functools.partial(face_part, parts=part) for part in PARTS}}


def make(kind, n, size, seed=0):
    """n masks of one of KINDS -> (n, 1, H, W); the same seed makes the same masks."""
    if kind not in KINDS:
        raise ValueError(f"kind of hole must be one of {', '.join(KINDS)}, got {kind!r}")
    return KINDS[kind](n, size, torch.Generator().manual_seed(seed))


def boxes_of(mask):
    """The smallest box around each hole: (B, 1, H, W) -> (B, 4) of x, y, width, height; an empty mask is refused."""
    rows, cols = mask.amax((1, 3)) > 0.5, mask.amax((1, 2)) > 0.5                         # (B, H), (B, W)
    if not bool(rows.any(1).all()):
        raise ValueError("a mask without a hole has no box; every mask needs at least one pixel of 1")
    first = lambda v: v.int().argmax(1)
    x, y = first(cols), first(rows)
    return torch.stack([x, y, cols.shape[1] - first(cols.flip(1)) - x, rows.shape[1] - first(rows.flip(1)) - y], 1)


def local_boxes(mask, crop):
    """Square boxes (B, 4) of side `crop` centred on each hole, moved inside the image where they stick out.

    A hole may be larger than the crop (92 > 80 in the published configuration): the crop then shows its middle.
    """
    h, w = mask.shape[-2:]
    x, y, bw, bh = boxes_of(mask).unbind(1)
    left, top = (x + bw // 2 - crop // 2).clamp(0, w - crop), (y + bh // 2 - crop // 2).clamp(0, h - crop)
    return torch.stack([left, top, torch.full_like(x, crop), torch.full_like(x, crop)], 1)


def random_boxes(n, size, crop, generator):
    """Square boxes (n, 4) of side `crop`, anywhere in the image: the local patches of real faces."""
    h, w = _sides(size)
    x, y = _uniform(n, 0, w - crop, generator), _uniform(n, 0, h - crop, generator)
    return torch.stack([x, y, torch.full_like(x, crop), torch.full_like(x, crop)], 1)


def cut(image, boxes):
    """Cut boxes (B, 4) of one common size out of image (B, C, H, W) -> (B, C, height, width); gradients flow."""
    rows = boxes[:, 1, None] + torch.arange(int(boxes[0, 3]), device=boxes.device)        # (B, height)
    cols = boxes[:, 0, None] + torch.arange(int(boxes[0, 2]), device=boxes.device)        # (B, width)
    rows, cols = rows.to(image.device), cols.to(image.device)
    batch = torch.arange(len(image), device=image.device)[:, None, None]
    return image.permute(0, 2, 3, 1)[batch, rows[:, :, None], cols[:, None, :]].permute(0, 3, 1, 2)


def check(image, mask):
    """Refuse images and masks that do not fit together, with what was expected, what came and what to do."""
    if image.ndim != 4 or image.shape[1] != 3:
        hint = "; add the batch axis with image[None]" if image.ndim == 3 else ""
        raise ValueError(f"image must be (B, 3, H, W), got {tuple(image.shape)}{hint}")
    if not image.is_floating_point():
        raise ValueError(f"image must be float in [-1, 1], got {image.dtype}; use facelib.data.to_float(image)")
    if mask.ndim != 4 or mask.shape[1] != 1:
        hint = "; use mask[:, :1]" if mask.ndim == 4 else "; it needs a batch and a channel axis"
        raise ValueError(f"mask must be (B, 1, H, W) with 1 = hole, got {tuple(mask.shape)}{hint}")
    if len(mask) not in (1, len(image)) or mask.shape[-2:] != image.shape[-2:]:
        raise ValueError(f"mask must match the image's batch and size {(len(image), 1, *image.shape[-2:])}, "
                         f"got {tuple(mask.shape)}")
    if torch.compiler.is_compiling():           # exported networks are traced without values
        return
    image = image.detach()
    if image.numel() and not (float(image.min()) >= -1.001 and float(image.max()) <= 1.001):      # not: NaN is refused
        raise ValueError(f"image must lie in [-1, 1], got [{float(image.min()):.3g}, {float(image.max()):.3g}]; "
                         "use facelib.data.to_float on uint8, or image * 2 - 1 on [0, 1]")
    if not bool(((mask == 0) | (mask == 1)).all()):
        raise ValueError("mask must hold only 0 (known) and 1 (hole); threshold it with (mask > 0.5).float()")


def composite(image, mask, pred):
    """`mask * pred + (1 - mask) * image`, chosen pixel by pixel so that known pixels are bit-identical to the image's."""
    return torch.where(mask > 0.5, pred, image)
