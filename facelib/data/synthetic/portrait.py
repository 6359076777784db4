"""Factors to pictures: trace, paint, light, develop."""

from functools import lru_cache
from types import SimpleNamespace

import torch

from . import accessories, anatomy, camera, light, paint
from .factors import check_factors
from .shapes import edge, to_linear

CHUNK = 16                # people rendered together: their rays stay in the processor's cache


def surface(p, x, y, z):
    """What covers each traced point: colour, gloss, masks of cloth, hair and hat, strand noise, soft edge, distance."""
    skin_d, hair_d, hat_d = anatomy.parts(p, x, y, z, True)
    body_at, head_at = anatomy.to_body(p, x, y, z), anatomy.to_head(p, x, y, z)
    angle = anatomy.strand_angle(p, *head_at)
    colour, gloss = paint.paint_head(p, *head_at)
    cloth_colour, below_neckline = paint.paint_body(p, *body_at[:2])
    is_body = edge(anatomy.head(p, *head_at) - anatomy.body(p, *body_at), 0.01)
    dressed = torch.lerp(p.skin_light[:, :, None] * 0.92, cloth_colour, below_neckline[:, None])
    colour = torch.lerp(colour, dressed, is_body[:, None])
    hair_mask, (hair_colour, strands) = edge(skin_d - hair_d, 0.008), paint.paint_hair(p, *head_at, angle)
    colour = torch.lerp(colour, hair_colour, hair_mask[:, None])
    if p.any_hat:
        hat_mask = edge(torch.minimum(skin_d, hair_d) - hat_d, 0.008)
        knit = 1 + 0.12 * (1 - p.hat_brim) * torch.sin(60 * torch.atan2(head_at[0], head_at[2] + 0.1))
        colour = torch.lerp(colour, to_linear(p.hat_rgb + 0.04)[:, :, None] * knit[:, None], hat_mask[:, None])
        hair_mask, gloss = hair_mask * (1 - hat_mask), gloss * (1 - hat_mask)
    softness = torch.where(hair_d < skin_d, camera.hair_softness(p, angle, head_at[1]), 0.0)
    here = torch.minimum(torch.minimum(skin_d, hair_d), hat_d)
    return colour, gloss * (1 - is_body), below_neckline * is_body, hair_mask, strands, softness, here, head_at


def render_chunk(factors, size, stages):
    """Render a batch that fits in memory: factors of B people -> (B, 3, size, size)."""
    p, rays = anatomy.person(factors, all_parts=stages is not EAGER), 2 * size
    x, y, z, missed, nearest = camera.trace(p, stages.distance, rays)
    colour, gloss, cloth, hair_mask, strands, softness, here, head_at = stages.surface(p, x, y, z)
    n = light.normals(p, stages.distance, x, y, z, here)
    open_sky, lit = light.occlusion_and_shadow(p, stages.distance, torch.stack([x, y, z]), n, rays)
    image, _ = stages.shade(p, colour, gloss, n, open_sky, lit, head_at, cloth, hair_mask, strands)
    behind = camera.background(p, rays).reshape(len(p.yaw), 3, -1) * (0.6 + p.ambient[:, :, None])
    image = torch.lerp(behind, image, camera.coverage(missed, nearest, softness + 1.2 / rays)[:, None])
    image = accessories.earrings(p, image, x, y, z)
    if p.any_glasses:
        image = accessories.spectacles(p, image, *camera.pixel_rays(rays, x.device), z)
    return camera.develop(p, image, size) * 2 - 1


EAGER = SimpleNamespace(distance=anatomy.distance, surface=surface, shade=light.shade)


@lru_cache(1)
def compiled():
    """The costly stages through torch.compile: needs a C++ compiler and one to three minutes at the first use.

    Pays for thousands of pictures. Results agree with the eager ones within one grey level of 255.
    """
    return SimpleNamespace(**{name: torch.compile(stage, dynamic=False) for name, stage in vars(EAGER).items()})


@torch.no_grad()
def render(factors, size=64, device=None, compile=False):
    """Portraits of the people in `factors`: float32 (B, 3, size, size) in [-1, 1].

    factors: a dict as sample_factors gives it, (B, 1) or (B, 3) tensors; the eyes' midpoint lies at (0.5, 0.41) of the
    side and they are about 0.245 of it apart. size: pixels, even, at least 16. device: where to render, default where
    the factors are. compile: see compiled(). Raises ValueError for wrong factors or sizes.
    """
    check_factors(factors)
    if size < 16 or size % 2:
        raise ValueError(f"render needs an even size of at least 16 pixels, got {size}")
    device = torch.device(device) if device is not None else factors["yaw"].device
    factors = {name: value.to(device=device, dtype=torch.float32) for name, value in factors.items()}
    batch, stages = len(factors["yaw"]), compiled() if compile else EAGER
    images = torch.empty(batch, 3, size, size, device=device)
    for start in range(0, batch, CHUNK):
        part = {name: value[start:start + CHUNK] for name, value in factors.items()}
        count = len(part["yaw"])
        if compile and count < CHUNK:                 # one shape only: every other one would be compiled anew
            part = {name: torch.cat([value, value[-1:].expand(CHUNK - count, -1)]) for name, value in part.items()}
        images[start:start + count] = render_chunk(part, size, stages)[:count]
    return images
