"""Everything drawn on the solid person in head coordinates: skin, eyes, brows, lips, beard, lines, make-up, clothes.

A colour is linear light (B, 3, N); a mask is (B, N). `stain` multiplies the colour under a mask by a tint, `cover`
paints over it. Features are drawn back to front.
"""

import math

import torch

from .anatomy import hairline, one_sided_smile
from .shapes import bump, edge, line, ramp, smoothstep, to_linear

IRIS = ((62, 38, 22), (98, 62, 34), (118, 104, 56), (96, 128, 100), (100, 140, 176), (134, 150, 164))


def rgb(p, *values):
    """Three numbers as a colour that broadcasts over (B, 3, N)."""
    return torch.tensor(values, device=p.yaw.device)[None, :, None]


def stain(p, colour, mask, *tint):
    """Multiply colour (B, 3, N) by a tint where mask (B, N) is 1, as a translucent layer does."""
    return colour * (1 - mask[:, None] * (1 - rgb(p, *tint)))


def cover(colour, mask, paint):
    """Lay paint, (B, 3) or (B, 3, N), over colour (B, 3, N) where mask (B, N) is 1."""
    return colour + mask[:, None] * ((paint if paint.dim() == 3 else paint[:, :, None]) - colour)


def complexion(p, x, y, ax, front):
    """Bare skin: mottling, red cheeks, nose and ears, freckles."""
    sin, s = torch.sin, p.texture
    colour = p.skin_light[:, :, None].expand(-1, -1, x.shape[1])
    mottle = sin(9 * x + s) * sin(8 * y + 2 * s) + 0.6 * sin(23 * x + 3 * s) * sin(19 * y - s)
    colour = colour * (1 + 0.045 * mottle)[:, None]
    red = bump(ax, y, 0.29, -0.24, 0.15, 0.13) * (0.2 + 0.95 * p.rosy)
    red = red + 0.5 * bump(x, y, 0, p.nose_y, 0.1, 0.08) + 0.3 * bump(x, y, 0, -0.78, 0.15, 0.1)
    red = red * front + 0.6 * smoothstep(0.53, 0.6, ax)
    colour = stain(p, colour, red * (1 - 0.6 * p.skin) * 0.75, 1.0, 0.60, 0.58)
    spots = sin(47 * x + 3 * sin(19 * y + s)) * sin(43 * y + 2 * sin(23 * x - s) + s)
    where = bump(ax, y, 0.20, -0.16, 0.22, 0.13) + 0.5 * bump(x, y, 0, -0.1, 0.12, 0.15)
    return stain(p, colour, (smoothstep(0.25, 0.7, spots) * where * front * p.freckles).clamp(0, 0.9), 0.62, 0.42, 0.30)


def lines_of_age(p, colour, x, y, ax, front):
    """Sockets, bags under the eyes, folds beside the mouth, wrinkles, nostrils."""
    sin, s, old = torch.sin, p.texture, p.age**1.3
    smile = p.smile.clamp(0, 1)
    u = ax - p.eye_x
    colour = stain(p, colour, front * 0.42 * bump(u, y, -0.03, 0.03, 0.14, 0.07), 0.62, 0.45, 0.42)
    colour = stain(p, colour, front * (0.15 + 0.75 * old) * bump(u, y, -0.02, -0.095, 0.11, 0.035), 0.6, 0.45, 0.45)
    beside_nose = (p.nose_y + 0.02 - y).clamp(0, 0.3)
    fold = line(ax - 0.125 - 0.42 * beside_nose, 0.024) * smoothstep(-0.58, -0.42, y)
    fold = fold * smoothstep(p.nose_y + 0.05, p.nose_y - 0.02, y)
    colour = stain(p, colour, front * fold * (0.03 + 0.8 * old + 0.32 * smile).clamp(0, 0.9), 0.48, 0.34, 0.31)
    below = line(ax - 0.20 - 0.02 * p.mouth_width, 0.02) * smoothstep(-0.78, -0.68, y) * smoothstep(-0.54, -0.62, y)
    colour = stain(p, colour, front * below * 0.6 * old, 0.48, 0.34, 0.31)
    wrinkles = (sin(62 * (y - 0.05 * torch.cos(5 * x)) + s) * 0.5 + 0.5) ** 2 * bump(x, y, 0, 0.33, 0.32, 0.11)
    crow = bump(ax, y, 0.42, 0, 0.06, 0.07) * sin(75 * (y - 0.35 * (ax - 0.4) * y.sign())).clamp(min=0)
    colour = stain(p, colour, front * wrinkles * smoothstep(0.25, 0.9, p.age), 0.42, 0.28, 0.25)
    colour = stain(p, colour, front * crow * (smoothstep(0.25, 0.9, p.age) * (0.6 + 0.5 * smile)).clamp(0, 1), 0.42, 0.28, 0.25)
    frown = line(ax - 0.04, 0.014) * bump(x, y, 0, 0.12, 0.2, 0.05)
    colour = stain(p, colour, front * frown * 0.7 * old, 0.5, 0.35, 0.32)
    x = x - p.nose_x
    ax = x.abs()
    nostril = bump(ax, y, 0.050 * (1 + 0.3 * p.nose_width), p.nose_y - 0.052, 0.028, 0.015)
    colour = stain(p, colour, front * 0.7 * nostril, 0.16, 0.08, 0.07)
    wing = bump(ax, y, 0.13 * (1 + 0.22 * p.nose_width), p.nose_y - 0.01, 0.018, 0.045)
    return stain(p, colour, front * 0.2 * wing, 0.5, 0.35, 0.32)


def mouth(p, colour, x, y, front):
    """Lips, the gap between them with teeth, corners. Returns the colour and the mask of the lips."""
    smile = one_sided_smile(p, x)
    happy = p.smile.clamp(0, 1)
    q = x / (0.178 + 0.028 * p.mouth_width + 0.055 * p.smile.clamp(-0.3, 1))       # -1 to 1 between the corners
    v = y - p.mouth_y - 0.10 * smile * (q * q - 0.3).clamp(max=1.2)               # up from the line of the lips
    inside = smoothstep(1.0, 0.90, q.abs()) * front
    arch, opening = (1 - q * q).clamp(0), 0.004 + (0.04 + 0.025 * happy) * p.mouth_open
    full = (1.08 + 0.4 * p.lips) * (1 - 0.16 * happy**2) * (1 - 0.25 * p.age)
    top = 0.3 * opening * arch + full * (0.066 * arch**0.8 - 0.014 * line(q, 0.13))
    bottom = -opening * arch - full * 0.088 * arch**0.6
    lips = edge(top - v, 0.008) * edge(v - bottom, 0.011) * inside
    own = p.skin_light * torch.tensor([0.70, 0.34, 0.35], device=x.device) + torch.tensor([0.02, 0.0, 0.002], device=x.device)
    hue = p.lip_hue
    stick = to_linear(torch.cat([0.78 - 0.30 * hue, 0.13 + 0.22 * hue**2, 0.18 + 0.14 * hue], 1))
    colour = cover(colour, lips * (0.85 + 0.12 * p.lipstick), torch.lerp(own, stick, 0.8 * p.lipstick))
    colour = stain(p, colour, lips * edge(v, 0.012) * 0.35, 0.6, 0.5, 0.5)
    low = -opening * arch
    gap = edge(0.25 * opening * arch + 0.007 - v, 0.006) * edge(v - low + 0.008, 0.006) * inside
    teeth = smoothstep(0.008, 0.022, opening) * smoothstep(0.95, 0.7, q.abs()) * smoothstep(low - 0.01, low + 0.018, v)
    ivory = rgb(p, 0.80, 0.74, 0.66) * (1 - 0.45 * q.abs() ** 2)[:, None] * (1 - 0.2 * p.age)[:, :, None]
    colour = cover(colour, gap * 0.92, torch.lerp(rgb(p, 0.04, 0.012, 0.01), ivory, teeth[:, None]))
    corner = bump(q.abs(), v, 1.0, 0, 0.10, 0.018) * front * (0.3 + 0.15 * happy)
    return stain(p, colour, corner.clamp(0, 1), 0.35, 0.24, 0.21), lips, v


def eyes(p, colour, x, y, ax, front):
    """Eyeballs with iris, pupil and catch light, lashes, lid creases and make-up. Returns colour and eyeball mask."""
    side, u, happy = torch.where(x > 0, 1.0, -1.0), ax - p.eye_x, p.smile.clamp(0, 1)
    half = 0.131 + 0.016 * p.eye_size
    w = y + 0.005 - (0.16 * p.eye_tilt + 0.05) * u                                # up from the tilted axis of the eye
    q, along = u / half, (u / half).abs()                                         # q grows towards the temple
    opening = (0.074 + 0.015 * p.eye_size) * p.eye_open * (1 - 0.2 * happy) * (1 - 0.12 * p.age)
    opening = opening * (1 + 0.16 * p.asymmetry * side)
    arch = (1 - q * q).clamp(0)
    upper, lower = opening * arch**0.65 * (1 - 0.12 * q), -(0.60 - 0.15 * happy) * opening * arch * (1 + 0.1 * q)
    shadow = bump(u, y, 0.01, 0.065, 0.14, 0.06)
    tint = torch.cat([0.62 - 0.3 * p.lip_hue, 0.45 * torch.ones_like(p.lip_hue), 0.45 + 0.25 * p.lip_hue], 1)[:, :, None]
    colour = colour * (1 - (0.6 * p.eye_makeup * shadow * front)[:, None] * (1 - tint))
    eye = edge(upper - w, 0.007) * edge(w - lower, 0.007) * smoothstep(1.03, 0.93, along) * front
    look_x, look_y = 0.024 * p.gaze_x - 0.05 * p.yaw, 0.006 + 0.014 * p.gaze_y
    r = ((u * side - look_x) ** 2 + (w - look_y) ** 2).sqrt()
    shade = (1 - 0.66 * p.skin) * (1 - 0.35 * q**2) * (1 - 0.5 * smoothstep(-0.005, 0.055, w))
    white = rgb(p, 0.68, 0.61, 0.57) * shade[:, None]
    iris = ramp(p.iris, IRIS)[:, :, None] * (0.15 + 0.75 * smoothstep(0.060, 0.036, r) * (1 - 6 * w).clamp(0.5, 1.3))[:, None]
    ball = torch.lerp(white, iris, smoothstep(0.070, 0.056, r)[:, None]) * (1 - 0.96 * smoothstep(0.032, 0.021, r))[:, None]
    colour = cover(colour, eye, ball)
    glint = bump(u * side, w, look_x + 0.020 * torch.sin(p.light_azimuth), look_y + 0.020, 0.014, 0.014)
    colour = cover(colour, eye * glint * (0.5 + 0.4 * torch.cos(p.light_azimuth)) * (1 - 0.55 * p.skin), rgb(p, 1.1, 1.1, 1.1))
    made_up = p.eye_makeup
    lashes = line(w - upper - 0.006, 0.021 + 0.006 * made_up) * smoothstep(1.2, 1.0, along) * front * (0.85 + 0.12 * q)
    colour = cover(colour, (lashes * (0.95 - 0.15 * p.masculine + 0.25 * made_up)).clamp(0, 0.96), rgb(p, 0.022, 0.014, 0.012))
    rim = line(w - lower + 0.004, 0.012) * smoothstep(1.1, 0.8, along) * front
    colour = stain(p, colour, (0.5 + 0.3 * made_up) * rim, 0.4, 0.28, 0.25)
    crease = line(w - upper - 0.040 + 0.012 * p.age, 0.010) * smoothstep(1.15, 0.8, along) * front
    return stain(p, colour, 0.45 * crease, 0.5, 0.36, 0.33), eye


def brows(p, colour, x, y, ax, front):
    """Eyebrows: a band of hair that thins outwards."""
    u, side = ax - p.eye_x, torch.where(x > 0, 1.0, -1.0)
    t = (u + 0.13) / 0.30                                                         # 0 at the inner end, 1 at the outer
    inner, light = t.clamp(0, 1), p.hair_light.mean(1, keepdim=True)
    height = 0.142 - 0.012 * p.masculine + 0.025 * p.brow_height + 0.03 * (p.eye_open - 0.9) + 0.022 * p.asymmetry * side
    b = y - height - 0.035 * p.brow_tilt * (t - 0.5)
    b = b - (0.020 + 0.016 * p.brow_arch) * torch.sin(0.9 * math.pi * inner) + 0.05 * (t - 0.75).clamp(min=0)
    thick = (0.031 + 0.011 * p.brow_thickness) * (1.1 - 0.65 * inner)
    mask = torch.exp(-(b / thick).abs() ** 2.5) * smoothstep(-0.04, 0.12, t) * smoothstep(1.04, 0.82, t) * front
    mask = mask * (0.88 + 0.12 * torch.sin(90 * u + 60 * y + p.texture)) * (1 + 0.1 * p.brow_thickness) * (1 - 0.25 * light)
    dim = (0.35 + p.skin_light.mean(1, keepdim=True)).clamp(max=1)                 # white brows would glow on dark skin
    return cover(colour, mask.clamp(0, 0.95), 0.36 * dim * p.hair_light * (1 - 0.7 * light) + p.skin_light * 0.06)


def facial_hair(p, colour, x, y, z, ax, v, lips, front):
    """Stubble, beard, goatee and moustache. Returns the colour and the mask of what is not skin any more."""
    s = p.texture
    cheeks = smoothstep(0.02, -0.10, y + 0.62 - 0.9 * (ax - 0.08).clamp(0, 0.5) + 0.15 * (ax - 0.45).clamp(min=0))
    around_mouth = 1 - 0.8 * bump(x, v, 0, 0.0, 0.24, 0.085)
    lower = cheeks * smoothstep(-1.05, -0.85, y) * around_mouth * smoothstep(-0.25, 0.0, z)
    chin = smoothstep(-0.10, -0.15, v) * smoothstep(0.26, 0.18, ax) * smoothstep(-1.05, -0.85, y) * front
    upper_lip = bump(ax, v, 0.09, 0.105, 0.125, 0.036) + 0.7 * bump(ax, v, 0.235, -0.03, 0.045, 0.09)
    upper_lip = upper_lip.clamp(0, 1) * front
    texture = 0.9 + 0.1 * torch.sin(110 * x + 3 * torch.sin(13 * y)) * torch.sin(31 * y + 2 * torch.sin(17 * x) + s)
    keep = (1 - 0.85 * lips) * texture
    colour = stain(p, colour, (lower + upper_lip).clamp(0, 1) * p.stubble * keep * 0.42, 0.42, 0.42, 0.46)
    beard = ((lower * p.beard + chin * p.goatee + upper_lip * p.moustache) * keep).clamp(0, 1)
    return cover(colour, (1.15 * beard).clamp(0, 0.93), p.hair_light * 0.7 + 0.006), beard


def paint_head(p, x, y, z):
    """Colour (B, 3, N) and gloss (B, N) of the head's surface at head coordinates."""
    ax, front = x.abs(), smoothstep(0.1, 0.3, z)
    colour = complexion(p, x, y, ax, front)
    colour = lines_of_age(p, colour, x, y, ax, front)
    colour, lips, v = mouth(p, colour, x, y, front)
    colour, eye = eyes(p, colour, x, y, ax, front)
    colour = brows(p, colour, x, y, ax, front)
    colour, beard = facial_hair(p, colour, x, y, z, ax, v, lips, front)
    scalp = smoothstep(-0.05, 0.06, hairline(p, x, y, z)) * smoothstep(-0.47, -0.42, y) * (0.8 - 0.25 * p.bald)
    gloss = 0.22 + 0.3 * lips * (0.6 + p.lipstick)
    gloss = gloss + 0.16 * bump(x, y, 0, p.nose_y, 0.08, 0.1) + 0.1 * bump(x, y, 0, 0.35, 0.3, 0.15)
    return cover(colour, scalp, p.hair_light), gloss * (1 - beard) * (1 - 0.8 * scalp) * (1 - eye)


def paint_body(p, x, y):
    """Colour (B, 3, N) of the clothes and the mask (B, N) where they cover the skin, at body coordinates."""
    ax, deep = x.abs(), p.collar**2
    neckline = torch.minimum(-1.02 - 0.34 * deep + (0.25 + 0.9 * deep) * ax, (-1.05 + 0.12 * p.collar).expand_as(x))
    lapel = ax - 0.26 - 0.1 * p.collar - 0.62 * (y + 0.92)
    shirt, jacket = to_linear(p.cloth_rgb)[:, :, None], to_linear(p.jacket_rgb)[:, :, None]
    cloth = torch.lerp(shirt, jacket, (edge(lapel, 0.008) * p.jacket)[:, None])
    folds = 0.9 + 0.12 * torch.sin(11 * x + p.texture) * torch.sin(5 * y + p.texture) - 0.45 * line(y - neckline, 0.03)
    return cloth * (folds * (1 - 0.5 * p.jacket * line(lapel, 0.025)))[:, None], edge(neckline - y, 0.012)


def paint_hair(p, x, y, z, angle):
    """Colour (B, 3, N) of the hair and the strand noise (B, N), about -2 to 2."""
    s, sin = p.texture, torch.sin
    strands = 0.8 * sin(26 * angle + s) + 0.64 * sin(47 * angle + 3 * s + 2 * sin(3 * y))
    strands = strands + 0.56 * sin(83 * angle - s + 1.5 * sin(5 * y + s)) + 0.7 * sin(131 * angle + 2 * s)
    strands = strands + 0.6 * sin(5 * angle - s) + p.curl * 1.2 * sin(24 * x + s) * sin(22 * y - s)
    sunned = 1 + 0.22 * smoothstep(0.5, -0.9, y)                                     # lengths are lighter than roots
    return p.hair_light[:, :, None] * ((1 + 0.24 * strands) * sunned).clamp(0.3, 1.9)[:, None], strands
