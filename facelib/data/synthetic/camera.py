"""From rays to surface points, and from linear light to a photograph.

The camera stands on the z axis and looks along -z. Sphere tracing (Hart 1996) walks each ray by the distance to the
nearest surface; rays that miss remember how near they came, for soft silhouettes.
"""

import torch
import torch.nn.functional as F

from .anatomy import EYE_DEPTH
from .shapes import edge, smoothstep, to_linear

CAMERA = 9.0              # distance of the camera, in half picture sides: about 1.1 m
NEAR, FAR = 1.15, -1.2    # z where rays start and where they are given up
COARSE_STEPS, FINE_STEPS = 8, 3
REFINE = ((4, 8), (8, 12), (20, 24))   # then: the worst 1/4 of the rays get 8 more steps, the worst 1/8 another 12, ...


def pixel_rays(size, device):
    """x and y (1, size^2) of the pixel centres in the plane z = EYE_DEPTH, row by row from the top left."""
    r = (torch.arange(size, device=device) + 0.5) / size * 2 - 1
    y, x = torch.meshgrid(-r, r, indexing="ij")
    return x.reshape(1, -1), y.reshape(1, -1)


def along(x, y, z):
    """The point with depth z on the ray that crosses the plane z = EYE_DEPTH at (x, y)."""
    scale = (CAMERA - z) / (CAMERA - EYE_DEPTH)
    return x * scale, y * scale, z


def trace(p, distance, size):
    """Follow size x size rays to the person. Returns points x, y, z (B, size^2), whether each ray missed, how near.

    Coarse rays (one per 2 x 2) bring all rays near the surface, a few steps settle most of them, and the grazing rest
    gets many more: unsettled grazing rays leak the background as a pale halo.
    """
    x, y = pixel_rays(size, p.yaw.device)
    coarse_x, coarse_y = pixel_rays(size // 2, p.yaw.device)
    batch = len(p.yaw)
    z = torch.full((batch, size * size // 4), NEAR, device=x.device)
    for _ in range(COARSE_STEPS):
        z = z - distance(p, *along(coarse_x, coarse_y, z), False).clamp(max=0.6)
    z = F.max_pool2d(z.view(batch, 1, size // 2, size // 2), 3, 1, 1)
    z = z.repeat_interleave(2, 2).repeat_interleave(2, 3).view(batch, -1) + 0.02
    nearest, nearest_z, last = torch.full_like(z, 9.0), z, None
    for _ in range(FINE_STEPS):
        last = distance(p, *along(x, y, z), True)
        nearest, nearest_z = torch.minimum(nearest, last), torch.where(last < nearest, z, nearest_z)
        z = z - last.clamp(max=0.6)
    for share, steps in REFINE:
        unsettled = torch.where(z < -1.0, -1.0, last.abs()).topk(size * size // share, dim=1).indices
        rx, ry, rz, near, near_z = (v.expand_as(z).gather(1, unsettled) for v in (x, y, z, nearest, nearest_z))
        for _ in range(steps):
            d = distance(p, *along(rx, ry, rz), True)
            near, near_z = torch.minimum(near, d), torch.where(d < near, rz, near_z)
            rz = rz - torch.where(d > 0.006, d.clamp(0.014, 0.6), d)
        z, nearest, nearest_z, last = (v.scatter(1, unsettled, w) for v, w in
                                       ((z, rz), (nearest, near), (nearest_z, near_z), (last, d)))
    missed = z < -0.9
    return *along(x, y, torch.where(missed, nearest_z, z).clamp(min=FAR)), missed, nearest


def background(p, size):
    """Out of focus: a gradient, blurred shapes and a blurred upright edge, linear light (B, 3, size, size)."""
    device = p.yaw.device
    r = torch.linspace(-1, 1, size, device=device)
    angle, s = p.background_angle[:, :, None, None], p.texture[:, :, None, None]
    t = 0.5 + 0.45 * (torch.cos(angle) * r - torch.sin(angle) * r[:, None])
    where = 1.3 * torch.frac(s * 0.37) - 0.65
    side = edge(r - where, 0.04) * torch.ones_like(r)[:, None]
    t = torch.lerp(t, side, p.background_edge[:, :, None, None])
    image = torch.lerp(to_linear(p.background_rgb)[:, :, None, None], to_linear(p.background_rgb2)[:, :, None, None], t)
    i = torch.arange(1.0, 8, device=device)
    k = torch.arange(3.0, device=device).view(1, 3, 1, 1)
    noise = torch.frac(437.585 * torch.sin(i[:, None] * 12.9898 + i * 78.233 + k * 0.492 + s)).abs()
    noise = noise.mean(1, keepdim=True) * 0.9 + 0.07 * noise + 0.015
    noise = F.interpolate(noise, (size, size), mode="bicubic", align_corners=True)
    return image * (1 + p.background_blobs[:, :, None, None] * 2.2 * (noise - 0.5)).clamp(0.05, 3)


def develop(p, light, size):
    """Linear light (B, 3, 4 size^2) to a photograph (B, 3, size, size) in [0, 1].

    Exposure for the skin, a soft lens ([1, 3, 3, 1] filter over 2 x 2 rays a pixel), film shoulder, contrast, grain.
    The grain depends on the person and the pixel only.
    """
    batch = len(p.yaw)
    gain = 1.40 * (0.31 / (p.skin_light.mean(1, keepdim=True) + 0.05)) ** 0.28 * torch.exp(p.exposure)
    tap = torch.tensor([1.0, 3, 3, 1], device=light.device) / 8
    image = F.pad((light * gain[:, :, None]).reshape(batch * 3, 1, 2 * size, 2 * size), (1,) * 4, mode="replicate")
    # sums of shifted copies: the same bits whatever the batch, which a convolution does not promise
    image = sum(tap[i] * image[..., i:i + 2 * size:2, :] for i in range(4))
    image = sum(tap[i] * image[..., i:i + 2 * size:2] for i in range(4)).view(batch, 3, size, size).clamp(min=1e-5)
    mean = image.mean(1, keepdim=True)
    shoulder = (1 - torch.exp(-1.25 * mean)) / mean                                   # keeps the hue of bright skin
    image = (0.35 * (1 - torch.exp(-1.25 * image)) + 0.65 * image * shoulder).clamp(0, 1) ** (1 / 2.2)
    image = image + 0.55 * (image * image * (3 - 2 * image) - image)
    i = torch.arange(3 * size * size, device=light.device).view(3, size, size) % 9973
    grain = torch.frac(torch.sin(i * 12.9898 + p.texture[:, :, None, None] * 78.233) * 4375.85).abs() - 0.5
    return (image + 0.03 * grain).clamp(0, 1)


def hair_softness(p, angle, y):
    """Width of the soft edge of hair: single strands stand off it."""
    wisp = 0.5 + 0.5 * torch.sin(40 * angle + p.texture + 2 * torch.sin(9 * y))
    return 0.018 + 0.022 * wisp * (0.3 + p.curl)


def coverage(missed, nearest, softness):
    """1 where a ray hit, falling to 0 where it passed at a distance of `softness`."""
    return torch.where(missed, smoothstep(1, 0, nearest / softness), 1)
