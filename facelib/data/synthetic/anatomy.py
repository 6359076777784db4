"""The solid person: one signed distance field of skull, face, nose, ears, neck, shoulders, hair and hat.

Units: half the picture's side is 1, the eyes are about 0.49 apart (62 mm, so 1 mm is 0.008). x points to the picture's
right, y up, z to the camera; the origin lies between the eyes. Proportions follow common anthropometric averages: mouth
67 mm and chin 112 mm below the eyes, cheeks 135 mm and jaw 105 mm wide.
"""

from types import SimpleNamespace

import torch

from .shapes import bump, capsule, ellipsoid, line, ramp, rotation, smooth_union, smoothstep, sphere, to_linear

EYE_HEIGHT = 0.18         # of the eyes above the picture's middle: 0.41 of the side from the top, as in our photographs
EYE_DEPTH = 0.60          # z of the plane that the camera sees at scale 1
PIVOT = (0.0, -0.15, -0.10)   # the head turns about this point of the neck
NOWHERE = 9.0             # a distance that never matters
SKIN = ((243, 200, 176), (232, 180, 150), (207, 154, 121), (164, 113, 83), (112, 76, 57), (72, 48, 39))


def person(factors, all_parts=False):
    """Factors (dict) -> a namespace with them and what follows from them: pose, landmarks and colours.

    Hats, tied hair and spectacles that nobody in the batch wears are left out, unless all_parts is set.
    """
    p = SimpleNamespace(**factors)
    p.hat, p.hat_brim, p.bald = ((v > 0.5).to(v.dtype) for v in (p.hat, p.hat_brim, p.bald))   # there is no half a hat
    p.turn = rotation(p.yaw, p.pitch, p.roll)
    pivot = torch.tensor(PIVOT, device=p.yaw.device)
    between_eyes = torch.tensor([0.0, 0.0, EYE_DEPTH], device=p.yaw.device)
    goal = torch.tensor([0.0, EYE_HEIGHT, EYE_DEPTH], device=p.yaw.device)
    # a product of elements, not a matrix product: the latter may round differently in another batch
    p.shift = goal - ((p.turn * (between_eyes - pivot)).sum(2) + pivot)
    p.width, p.length = 1 + 0.10 * p.face_width, 0.965 + 0.10 * p.face_length
    p.eye_x, p.mouth_y = 0.243 + 0.024 * p.eye_spacing, (-0.535 + 0.035 * p.mouth_height) * p.length
    p.nose_y, p.nose_x = -0.275 - 0.06 * p.nose_length, 0.028 * p.asymmetry
    p.hair_light, p.skin_light = to_linear(p.hair_rgb), ramp(p.skin, SKIN)
    p.skin_light = p.skin_light * torch.cat([1 - 0.02 * p.undertone, 1 + 0.035 * p.undertone, 1 - 0.09 * p.undertone], 1)
    p.any_hat, p.any_glasses = (all_parts or bool((v > 0).any()) for v in (p.hat, p.glasses))
    p.any_tied = all_parts or bool((p.bun > 0).any() or (p.ponytail != 0).any())
    return p


def to_body(p, x, y, z):
    """World to body coordinates (moved, not turned)."""
    return [v - p.shift[:, i:i + 1] for i, v in enumerate((x, y, z))]


def to_head(p, x, y, z):
    """World to head coordinates (moved and turned)."""
    q = [v - p.shift[:, i:i + 1] - PIVOT[i] for i, v in enumerate((x, y, z))]
    return [sum(q[j] * p.turn[:, j, i:i + 1] for j in range(3)) + PIVOT[i] for i in range(3)]


def to_world(p, point):
    """Head coordinates (B, 3) to world coordinates (B, 3)."""
    pivot = torch.tensor(PIVOT, device=point.device)
    return (p.turn * (point - pivot)[:, None]).sum(2) + pivot + p.shift


def one_sided_smile(p, x):
    """The smile at x: a crooked face smiles more on one side."""
    return p.smile + 0.35 * p.asymmetry * torch.tanh(6 * x)


def relief(p, x, y, ax):
    """Small forms of the face, as a height: sockets, lids, brow ridge, cheeks, lips, folds. ax is |x|."""
    smile, old = p.smile.clamp(0, 1), p.age
    v = y - p.mouth_y - 0.06 * p.smile * (x / 0.2) ** 2
    h = 0.042 * bump(ax, y, p.eye_x, -0.008, 0.085, 0.055) - 0.07 * bump(ax, y, p.eye_x - 0.02, 0.01, 0.15, 0.085)
    h = h + (0.008 + 0.028 * p.masculine) * bump(ax, y, 0.2, 0.135, 0.2, 0.06)
    h = h + (0.02 + 0.025 * p.cheekbones + 0.03 * smile) * bump(ax, y, 0.31, -0.22 + 0.02 * smile, 0.13, 0.12)
    h = h + (0.06 * p.fullness - 0.03 * old) * bump(ax, y, 0.33, -0.45, 0.16, 0.17)
    h = h + 0.03 * old * bump(ax, y, 0.27, -0.66, 0.09, 0.1)                                   # jowls
    lips = 1 + 0.4 * p.lips
    h = h + lips * (0.030 * bump(x, v, 0, 0.035, 0.16, 0.032) + 0.036 * bump(x, v, 0, -0.045, 0.13, 0.036))
    h = h - 0.018 * bump(x, v, 0, -0.125, 0.14, 0.05) - 0.012 * bump(ax, v, 0.2, 0, 0.05, 0.05)
    fold = line(ax - 0.13 - 0.35 * (-0.33 - y).clamp(0, 0.3), 0.03) * smoothstep(-0.68, -0.5, y) * smoothstep(-0.28, -0.36, y)
    return h - (0.003 + 0.016 * old + 0.012 * smile) * fold


def skull(x, y, z):
    """Distance to the skull, an ellipsoid in head coordinates: (B, N) each -> (B, N)."""
    return ellipsoid(x, y - 0.19, z + 0.12, 0.565, 0.625, 0.73)


def nose(p, x, y, z):
    """Distance to the nose of person `p` in head coordinates: (B, N) each -> (B, N)."""
    x = x - p.nose_x * smoothstep(0.1, -0.25, y)
    ax, zero = (x * x + 1e-5).sqrt(), torch.zeros_like(p.width)
    tip, wide = 0.735 + 0.05 * p.nose_projection, 1 + 0.16 * p.nose_width
    tip_y = p.nose_y + 0.022 * p.nose_tip
    root, middle = (zero, zero + 0.05, 0.555 + 0.025 * p.nose_bridge), (zero, tip_y + 0.03, tip - 0.065)
    d = capsule(x, y, z, root, middle, 0.046 + 0.012 * p.nose_width, 0.066 * wide)
    d = smooth_union(d, sphere(x, y - tip_y, z - tip + 0.045, 0.070 * wide), 0.05)
    wing = sphere(ax - 0.085 * (1 + 0.34 * p.nose_width), y - p.nose_y + 0.018, z - 0.63, 0.054 * (1 + 0.1 * p.nose_width))
    return smooth_union(d, wing, 0.06)


def head(p, x, y, z, fine=True):
    """Head without hair, in head coordinates; fine adds the relief of the face."""
    ax = (x * x + 1e-5).sqrt()
    taper = 1 + (0.09 * p.jaw - 0.10) * smoothstep(-0.1, -0.75, y)
    tx, ty = ax / (p.width * taper), y / p.length
    d = smooth_union(skull(tx, y, z), ellipsoid(tx, ty + 0.17, z + 0.02, 0.525, 0.69, 0.62), 0.12)
    muzzle = ellipsoid(tx, ty + 0.52, z - 0.35, 0.27 + 0.02 * p.mouth_width, 0.26, 0.24 + 0.012 * p.lips)
    d = smooth_union(d, muzzle, 0.14)
    chin_radius = 0.14 + 0.03 * p.jaw
    d = smooth_union(d, ellipsoid(tx, ty + 0.72 + 0.045 * p.chin, z - 0.41 - 0.025 * p.chin, chin_radius, 0.13, 0.15), 0.14)
    d = smooth_union(d, sphere(tx - 0.29 - 0.02 * p.masculine, ty + 0.43, z - 0.06, 0.15), 0.16)   # angle of the jaw
    if fine:
        d = d - smoothstep(0.15, 0.4, z) * relief(p, x, y, ax)
    ear = ellipsoid(ax - 0.56 * p.width - 0.25 * (-z).clamp(-0.1, 0.1), y + 0.1, z + 0.05, 0.05, 0.17, 0.11)
    return smooth_union(smooth_union(d, nose(p, x, y, z), 0.075), ear, 0.05)


def body(p, x, y, z):
    """Neck and shoulders, in body coordinates."""
    neck = (x * x + (z + 0.17 + 0.1 * (y + 1)) ** 2).sqrt() - 0.285 - 0.11 * p.masculine - 0.03 * p.fullness
    shoulders = ellipsoid(x, y + 1.95, z + 0.3, 1.6 + 0.25 * p.masculine, 0.88, 0.55)
    return smooth_union(torch.maximum(neck, y + 0.3), shoulders, 0.3)


def hairline(p, x, y, z):
    """Positive where hair grows on the head."""
    front, ax = smoothstep(0.05, 0.45, z), x.abs()
    border = -0.5 + 0.42 * smoothstep(-0.3, 0.0, z) + 0.02 * torch.sin(17 * x + p.texture)
    temples = p.recede * (0.30 + 0.25 * smoothstep(0.1, 0.35, ax) - 0.2 * smoothstep(0.3, 0, ax))
    sweep = 0.12 * torch.tanh(3 * (x - 0.35 * p.part)) * p.part.sign()
    rise = 0.56 + 0.05 * p.forehead + temples - p.fringe * (0.26 + sweep)
    return y - border - front * rise - 0.8 * p.bald * smoothstep(-0.6, 0.1, z)


def strand_angle(p, x, y, z):
    """A coordinate across the strands: the angle around the parting, warped by curls."""
    angle = 1.3 * torch.atan2(x - 0.35 * p.part, 1.35 - y - 0.3 * z) + 0.6 * z
    return angle + 0.05 * (1 + 3 * p.curl) * torch.sin(7 * y + 4 * z + p.texture) * (0.3 + p.curl)


def tied_hair(p, x, y, z):
    """A bun behind the temple (the crown is out of the picture) and a tail over one shoulder."""
    d = sphere(x - 0.56 * torch.where(p.part < 0, -1.0, 1.0), y - 0.44, z + 0.30, 0.14 + 0.13 * p.bun)
    side, zero = p.ponytail.sign(), torch.zeros_like(p.bun)
    tail = capsule(x, y, z, (0.40 * side, zero - 0.1, zero - 0.35), (0.62 * side, zero - 1.15, zero + 0.1), 0.12, 0.19)
    return torch.minimum(d + NOWHERE * (p.bun <= 0), tail + NOWHERE * (p.ponytail == 0))


def hair(p, x, y, z, fine=True):
    """Hair in head coordinates: a shell on the skull, what hangs from it, and what is tied. fine adds strands.

    The distance is scaled down by up to one half because strands and curls make it steeper than a true distance.
    """
    seed, ax = p.texture, (x * x + 1e-5).sqrt()
    hangs = smoothstep(0.1, 0.4, p.hair_length)
    volume = 0.03 + (0.13 + 0.22 * p.curl**2) * p.hair_volume + 0.05 * hangs
    volume = volume * (1 - 0.55 * p.recede) * (0.75 + 0.45 * smoothstep(0.2, 0.8, y)) * (1 - 0.5 * p.hat)
    volume = volume * (1 + 0.35 * torch.tanh(4 * x) * -p.part)                   # more hair on the far side of the parting
    volume = volume + 0.16 * p.quiff * smoothstep(0.35, 0.8, y) * smoothstep(-0.3, 0.4, z) * (1 - p.hat)
    wave = torch.sin(15 * x + seed) * torch.sin(14 * y + 2 * seed) * torch.sin(13 * z)
    waves = 0.035 * p.curl * wave + 0.012 * torch.sin(6 * x + seed) * torch.sin(5 * y + 2 * seed)
    if fine:
        waves = waves + 0.007 * torch.sin(36 * strand_angle(p, x, y, z) + seed)
    grown = smoothstep(-0.03, 0.20, hairline(p, x, y, z))
    shell = skull(x / p.width, y, z) + 0.06 - (volume + 0.06) * grown - waves
    end = 0.25 + 1.1 * p.hair_length + 0.05 * torch.sin(9 * x + seed) * (1 + p.curl)
    width = 0.60 * p.width + 0.6 * volume + 0.06 * smoothstep(0, -1, y) * p.hair_volume
    curtain = 0.55 * (((ax / width) ** 2 + ((z + 0.2) / 0.62) ** 2).sqrt() - 1)
    open_front = z + 0.12 - (0.14 + 0.12 * p.locks) * smoothstep(0.2, 0.5, ax)
    curtain = torch.maximum(torch.maximum(curtain, open_front), torch.maximum(y - 0.3, -y - end))
    lock = capsule(ax, y, z, (0.42, 0.45, 0.28), (width - 0.05, -end, 0.12), 0.06, 0.15) + 0.3 * (1 - p.locks)
    hanging = smooth_union(curtain, lock, 0.1) - waves + torch.where(hangs > 0, 0.15 * (1 - hangs), NOWHERE)
    d = smooth_union(0.5 * shell, 0.8 * hanging, 0.12)
    if p.any_tied:
        d = smooth_union(d, 0.8 * (tied_hair(p, x, y, z) - waves), 0.06)
    return torch.maximum(d + NOWHERE * p.bald, y - 0.27 - 0.10 * z - NOWHERE * (1 - p.hat))


def hat(p, x, y, z):
    """A cap on the skull, with a peak or without."""
    d = torch.maximum(ellipsoid(x / p.width, y - 0.2, z + 0.12, 0.655, 0.74, 0.80), 0.24 + 0.10 * z - y) - 0.01
    peak = ellipsoid(x, y - 0.37 + 0.3 * (z - 0.6) + 0.25 * x * x, z - 0.70, 0.40, 0.03, 0.32)
    return torch.minimum(d, peak + NOWHERE * (1 - p.hat_brim)) + NOWHERE * (1 - p.hat)


def parts(p, x, y, z, fine=True):
    """Distances at world coordinates to skin and clothes, hair, and the hat (far away where there is none)."""
    body_at, head_at = to_body(p, x, y, z), to_head(p, x, y, z)
    skin = smooth_union(head(p, *head_at, fine), body(p, *body_at), 0.06)
    return skin, hair(p, *head_at, fine), hat(p, *head_at) if p.any_hat else torch.full_like(skin, NOWHERE)


def distance(p, x, y, z, fine=True):
    """Distance at world coordinates to the nearest part of the person."""
    skin, strands, cap = parts(p, x, y, z, fine)
    d = torch.minimum(skin, strands)
    return torch.minimum(d, cap) if p.any_hat else d
