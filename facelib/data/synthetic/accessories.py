"""Earrings and spectacles, drawn over the lit picture where each ray crosses them, so that their parallax is right."""

import torch

from .anatomy import to_head, to_world
from .camera import along
from .shapes import edge, line, to_linear

LENS_DEPTH = 0.69         # z of the plane of the lenses, in head coordinates
GOLD = (0.75, 0.6, 0.32)
FRAMES = ((0.10, 0.09, 0.09), (0.36, 0.24, 0.15))   # black and tortoiseshell, sRGB


def earrings(p, image, x, y, z):
    """Golden dots under the ears; x, y, z are the surface points of the rays, image is (B, 3, N)."""
    for side in (-1, 1):
        at = to_world(p, torch.cat([side * 0.60 * p.width, 0 * p.width - 0.31, 0 * p.width + 0.02], 1))
        r = ((x - at[:, :1]) ** 2 + (y - at[:, 1:2]) ** 2).sqrt()
        mask = p.earrings * edge(0.036 - r, 0.006) * edge(at[:, 2:] + 0.07 - z, 0.01)
        gold = torch.tensor(GOLD, device=x.device)[None, :, None] * (0.5 + 0.9 * line(r, 0.02))[:, None]
        image = torch.lerp(image, gold, mask[:, None])
    return image


def spectacles(p, image, ray_x, ray_y, z):
    """Rims, bridge, tinted lenses with a glare and the shadow of the rims, over an image in linear light (B, 3, N).

    ray_x, ray_y, z: (B, N), where the rays are at z = EYE_DEPTH, and the depth at which they meet the face.
    """
    (ax, ay, az), (bx, by, bz) = (to_head(p, *along(ray_x, ray_y, torch.full_like(z, depth))) for depth in (0.0, 1.0))
    t = (LENS_DEPTH - az) / (bz - az)                                                # where the ray meets the plane
    x, y = ax + t * (bx - ax), ay + t * (by - ay)
    visible = p.glasses * edge(t - z, 0.01)
    shape, rim_width, corner = p.glasses_shape, 0.008 + 0.012 * torch.frac(p.texture * 0.61), 0.05 + 0.05 * p.glasses_shape
    qx = (x.abs() - 0.25).abs() - 0.165 - 0.01 * shape + corner
    qy = (y + 0.02).abs() - 0.105 - 0.035 * shape + corner
    d = (qx.clamp(min=0) ** 2 + qy.clamp(min=0) ** 2 + 1e-9).sqrt() + torch.maximum(qx, qy).clamp(max=0) - corner
    bridge = edge(rim_width - (y - 0.02).abs(), 0.004) * (x.abs() < 0.11)
    rim = torch.maximum(edge(rim_width - d.abs(), 0.004), bridge)
    lens = edge(-d, 0.005) * visible
    glare = 0.06 * edge(y - 0.5 * (x - 0.25 * x.sign()) - 0.01, 0.03) * lens * (0.5 + p.ambient)
    shadow = 0.35 * visible * line(d - 0.02, 0.03)
    image = image * ((1 - (0.08 + 0.84 * p.sunglasses) * lens) * (1 - shadow))[:, None] + glare[:, None]
    black, brown = torch.tensor(FRAMES, device=x.device)
    frame = to_linear(torch.where(torch.frac(p.texture * 0.29) < 0.6, black, brown))
    return torch.lerp(image, frame[:, :, None], (rim * visible)[:, None])
