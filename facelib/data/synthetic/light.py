"""Light on the solid person: normals, occlusion and shadow from the distance field, skin and hair under the lamp."""

import torch
import torch.nn.functional as F

from .paint import rgb


def normals(p, distance, x, y, z, here, step=0.006):
    """Unit normals (3, B, N) by differences; `here` is the distance at the points themselves."""
    n = torch.stack([distance(p, x + step * a, y + step * b, z + step * c, True) - here
                     for a, b, c in ((1, 0, 0), (0, 1, 0), (0, 0, 1))])
    return n / ((n * n).sum(0).sqrt() + 1e-6)


def lamp(p):
    """Direction towards the main light, (3, B, 1)."""
    azimuth, elevation = p.light_azimuth, p.light_elevation
    return torch.stack([torch.sin(azimuth) * torch.cos(elevation), torch.sin(elevation),
                        torch.cos(azimuth) * torch.cos(elevation)])


def occlusion_and_shadow(p, distance, points, n, size):
    """How open the surface is to the room (B, size^2) and how much of the lamp it sees, both in [0, 1].

    Both are smooth, so they are computed for one ray in four and enlarged.
    """
    batch, half = len(p.yaw), size // 2
    q, m = (v.view(3, batch, size, size)[..., ::2, ::2].reshape(3, batch, -1) for v in (points, n))
    closed = sum(weight * (h - distance(p, *(q + m * h), False)).clamp(min=0) for h, weight in ((0.07, 2.9), (0.22, 1.2)))
    towards = lamp(p)
    lit = torch.stack([0.5 + 3.5 * distance(p, *(q + towards * t + 0.02 * m), False) / t for t in (0.06, 0.15, 0.33)]).amin(0)
    both = torch.stack([(1 - closed).clamp(0.12, 1), lit.clamp(0, 1)]).view(2, batch, half, half)
    return F.interpolate(both, (size, size), mode="bilinear").view(2, batch, -1)


def unit(v, floor=1e-6):
    """Vectors (3, B, N) at length 1; `floor` keeps the zero vector finite."""
    return v / ((v * v).sum(0).sqrt() + floor)


def shade(p, colour, gloss, n, open_sky, lit, head_at, cloth, hair_mask, strands):
    """Reflected light (B, 3, N) and the light that falls in (B, 3, N).

    Skin: diffuse light wrapped around the terminator, most in red (light scatters under the skin), and a soft gloss.
    Hair: a highlight across the strands (Kajiya and Kay 1989). cloth and hair_mask are (B, N) masks.
    """
    towards = lamp(p)
    facing = (n * towards).sum(0)
    wrap = rgb(p, 0.37, 0.23, 0.17) * (1 - 0.6 * cloth)[:, None]
    diffuse = ((facing[:, None] + wrap) / (1 + wrap)).clamp(0) ** 1.15
    diffuse = diffuse * lit[:, None] ** rgb(p, 0.75, 1.0, 1.1) * (0.5 + 0.5 * open_sky[:, None])
    tone = torch.cat([1 + 0.08 * p.warmth, torch.ones_like(p.warmth), 1 - 0.14 * p.warmth], 1)[:, :, None]
    room = (p.ambient * (0.75 + 0.25 * n[1] + 0.15 * n[2]))[:, None] * open_sky[:, None] ** rgb(p, 0.8, 1.05, 1.12)
    light = tone * (1 - 0.5 * p.ambient)[:, :, None] * diffuse + room
    half = unit(towards + torch.tensor([0.0, 0, 1], device=n.device)[:, None, None])
    glint = (n * half).sum(0).clamp(0)
    skin = 1 - hair_mask
    shine = gloss * (1 - cloth) * (0.10 * glint**12 + 0.12 * glint**45) * lit * skin
    shine = shine + 0.05 * (1 - n[2].clamp(0)) ** 3 * open_sky * (1 - 0.85 * hair_mask) * p.ambient
    x, y, _ = head_at
    strand = unit(torch.stack([x, y - 0.95, 0 * x]), 0.05)                              # hair runs away from the crown
    strand = strand + torch.tensor([0, 0, 0.25], device=n.device)[:, None, None]
    strand = unit(strand - (strand * n).sum(0) * n, 0.01)
    across = (strand * half).sum(0) + 0.06 * strands
    silk = (1 - across**2).clamp(0) ** 20 * (0.35 + 0.65 * lit) * open_sky * hair_mask * facing.clamp(0.1)
    return colour * light + shine[:, None] + silk[:, None] * (0.05 + 0.35 * p.hair_light[:, :, None]), light
