"""Small tools of the renderer: distance fields of simple solids, smooth steps and bumps, colour ramps.

Coordinates are (B, N) tensors x, y, z and parameters broadcast as (B, 1) or numbers. Distances are negative inside.
Smooth union and rounded solids follow Quilez's well-known notes on distance functions.
"""

import torch


def smoothstep(low, high, x):
    """0 below low, 1 above high, a cubic in between; low may exceed high."""
    t = ((x - low) / (high - low)).clamp(0, 1)
    return t * t * (3 - 2 * t)


def smooth_union(a, b, radius):
    """Union of two distance fields, blended where they are closer than `radius` to each other."""
    overlap = (radius - (a - b).abs()).clamp(min=0)
    return torch.minimum(a, b) - overlap * overlap * (0.25 / radius)


def bump(x, y, x0, y0, width, height):
    """A bell of height 1 around (x0, y0): (1 - r^2 / 4)^4, a cheap exp(-r^2) with an end."""
    t = (1 - ((x - x0) * (0.5 / width)) ** 2 - ((y - y0) * (0.5 / height)) ** 2).clamp(min=0)
    t = t * t
    return t * t


def line(distance, width):
    """A soft line of height 1 where the distance is 0."""
    return torch.exp(-(distance / width) ** 2)


def edge(distance, softness):
    """1 where the distance is well above 0, 0 well below, soft between."""
    return torch.sigmoid(distance / softness)


def sphere(x, y, z, radius):
    """Distance to a sphere around the origin: (B, N) each -> (B, N)."""
    return (x * x + y * y + z * z).sqrt() - radius


def ellipsoid(x, y, z, rx, ry, rz):
    """Distance to an ellipsoid, first order (exact on the surface)."""
    a, b, c = x / rx, y / ry, z / rz
    k = (a * a + b * b + c * c).sqrt()
    a, b, c = a / rx, b / ry, c / rz
    return k * (k - 1) / ((a * a + b * b + c * c).sqrt() + 1e-6)


def capsule(x, y, z, start, end, radius0, radius1):
    """A rod from start to end, radius0 thick at its start and radius1 at its end."""
    dx, dy, dz = (b - a for a, b in zip(start, end, strict=True))
    x, y, z = x - start[0], y - start[1], z - start[2]
    h = ((x * dx + y * dy + z * dz) / (dx**2 + dy**2 + dz**2)).clamp(0, 1)
    return sphere(x - h * dx, y - h * dy, z - h * dz, radius0 + (radius1 - radius0) * h)


def to_linear(colour):
    """sRGB in [0, 1] to linear light (gamma 2.2)."""
    return colour.clamp(0, 1) ** 2.2


def ramp(t, colours):
    """Piecewise linear colour ramp: t (B, 1) in [0, 1], colours K x 3 in 0..255 -> linear light (B, 3)."""
    table = torch.tensor(colours, dtype=torch.float32, device=t.device) / 255
    position = t.clamp(0, 1).squeeze(1) * (len(colours) - 1)
    i = position.floor().long().clamp(max=len(colours) - 2)
    return to_linear(torch.lerp(table[i], table[i + 1], (position - i)[:, None]))


def rotation(yaw, pitch, roll):
    """Rotation matrices (B, 3, 3): first bow by pitch, then turn by yaw, then tilt by roll (all (B, 1), radians)."""
    zero, one = torch.zeros_like(yaw), torch.ones_like(yaw)

    def matrix(*rows):
        return torch.stack([torch.cat(row, 1) for row in rows], 1)

    cos, sin = torch.cos, torch.sin
    return (matrix((cos(roll), -sin(roll), zero), (sin(roll), cos(roll), zero), (zero, zero, one))
            @ matrix((cos(yaw), zero, sin(yaw)), (zero, one, zero), (-sin(yaw), zero, cos(yaw)))
            @ matrix((one, zero, zero), (zero, cos(pitch), -sin(pitch)), (zero, sin(pitch), cos(pitch))))
