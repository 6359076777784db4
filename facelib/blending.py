"""Paste a completion in seamlessly: change its colours so that no seam shows, and known pixels not at all.

Both functions read the image at known pixels only, so nothing of what is truly behind the hole can leak, and both
return known pixels bit-identical. The seam is where a hole pixel touches a known one, above, below, left or right.
"""

import numpy as np
import torch

from facelib import masks
from facelib.extras import need

NEIGHBOURS = ((-1, 0), (1, 0), (0, -1), (0, 1))  # above, below, left, right, as (row, column) steps
DIRECT = 20_000  # hole pixels: up to here a factorisation takes a fraction of a second; its cost grows faster than the hole


def _check(image, completed, mask):
    masks.check(image, mask)
    masks.check(completed, mask)
    if image.shape != completed.shape:
        raise ValueError(f"image and completed must have one shape, got {tuple(image.shape)} and "
                         f"{tuple(completed.shape)}")


def _by_hole(image, completed, mask, blend):
    """Call blend(known (n, H, W, 3), inside (n, H, W, 3), hole (H, W)) once for all faces that share a hole.

    `known` is 0 in the hole: what is truly there is out of reach. The answer replaces the completion in the hole.
    """
    blended = completed.detach().clone()
    known = torch.where(mask > 0.5, 0.0, image).detach()
    holes, which = torch.unique(mask.expand(len(image), -1, -1, -1).flatten(1) > 0.5, dim=0, return_inverse=True)
    for i, hole in enumerate(holes):
        faces, hole = torch.nonzero(which == i)[:, 0], hole.view(mask.shape[-2:]).cpu().numpy()
        if not hole.any() or hole.all():
            continue  # no seam to hide
        pixels = (x[faces].permute(0, 2, 3, 1).double().cpu().numpy() for x in (known, completed.detach()))
        result = torch.from_numpy(blend(*pixels, hole)).clamp(-1, 1)
        blended[faces] = result.permute(0, 3, 1, 2).to(blended)
    return masks.composite(image.detach(), mask, blended)


def _beside(values, row, column, fill):
    """Each pixel's neighbour at (row, column), at most 2 away: (..., H, W, C) -> same shape, `fill` off the picture."""
    padded = np.pad(values, [(0, 0)] * (values.ndim - 3) + [(2, 2), (2, 2), (0, 0)], constant_values=fill)
    h, w = values.shape[-3:-1]
    return padded[..., 2 + row:2 + row + h, 2 + column:2 + column + w, :]


def poisson(image, completed, mask):
    """Poisson blending: keep the completion's gradients, take the known pixels' colours (Perez et al. 2003, eq. 7).

    For every hole pixel p, over its neighbours q inside the picture:
    |N_p| f_p - sum(f_q, q in hole) = sum(image_q, q known) + sum(v_pq), v_pq = completed_p - completed_q in the hole.
    Across the seam a composited completion shows nothing but the seam itself, so there v_pq is the mean of the
    completion's gradient just inside and the image's just outside: a good completion is left almost as it is.
    At the picture's border there is no neighbour and so no condition (Neumann): holes may touch it. A hole that is the
    whole picture has no known colour to take: its completion comes back as it is.

    One sparse factorisation for each different hole is shared by its faces and channels. In a hole of more than DIRECT
    pixels, conjugate gradients solve the same equations. What blending adds is smooth away from the seam, so a coarse
    solution over square blocks of pixels leads them (the piecewise constant functions of Nicolaides 1987).

    image, completed: float (B, 3, H, W) in [-1, 1]; mask: float (B, 1, H, W), 1 = hole. Returns (B, 3, H, W) in
    [-1, 1], without gradient, known pixels bit-identical to `image`. Raises ValueError for other shapes and ranges,
    ImportError without scipy.
    """
    _check(image, completed, mask)
    return _by_hole(image, completed, mask, _blend)


def _blend(known, inside, hole):
    """`poisson` for faces that share a hole: arguments and result as `_by_hole` has them."""
    linalg = need("scipy.sparse.linalg")
    rows, columns = (np.flatnonzero(hole.any(axis)) for axis in (1, 0))
    box = slice(max(rows[0] - 2, 0), rows[-1] + 3), slice(max(columns[0] - 2, 0), columns[-1] + 3)  # no equation looks further
    matrix, wanted = _equations(known[:, *box], inside[:, *box], hole[box])
    if len(wanted) <= DIRECT:
        colours = _factors(matrix).solve(wanted)
    else:
        colours = inside[:, hole].transpose(1, 0, 2).reshape(len(wanted), -1)
        lead, enough = _coarse(matrix, hole[box]), 3e-5 * np.sqrt(len(wanted))            # within half a grey level
        for i, column in enumerate(wanted.T):
            colours[:, i], _ = linalg.cg(matrix, column, x0=colours[:, i], rtol=0, atol=enough, M=lead)
    inside[:, hole] = colours.reshape(len(wanted), len(known), 3).transpose(1, 0, 2)
    return inside


def _factors(matrix):
    """The sparse factorisation of a symmetric matrix, with its `solve`."""
    return need("scipy.sparse.linalg").splu(matrix, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True})


def _coarse(matrix, hole):
    """A rough inverse of the equations: what they ask for on average over blocks, solved, plus each pixel by itself."""
    sparse, linalg = need("scipy.sparse"), need("scipy.sparse.linalg")
    rows, columns = np.nonzero(hole)
    side = int(np.ceil(np.sqrt(len(rows) / DIRECT)))                                      # of a block, in pixels
    _, block = np.unique(rows // side * hole.shape[1] + columns // side, return_inverse=True)
    member = sparse.csr_array((np.ones(len(rows)), (np.arange(len(rows)), block)))         # (pixels, blocks)
    blocks, alone = _factors((member.T @ matrix @ member).tocsc()), matrix.diagonal()

    def lead(rest):
        return rest / alone + member @ blocks.solve(member.T @ rest)

    return linalg.LinearOperator(matrix.shape, lead)


def _equations(known, inside, hole):
    """The equations of `poisson`: a sparse matrix (n, n) for the n hole pixels, and what it must give, (n, 3 faces)."""
    sparse = need("scipy.sparse")
    number = np.full((*hole.shape, 1), -1)                 # known pixels have no number
    number[hole, 0] = np.arange(hole.sum())                # unknowns are numbered along the rows

    def numbers(row, column):                              # of the hole pixels' neighbours; -2 off the picture
        return _beside(number, row, column, fill=-2)[hole, 0]

    def drop(values, start, end):                          # value at one neighbour minus value at another
        return (_beside(values, *start, fill=0) - _beside(values, *end, fill=0))[:, hole]

    degree = np.zeros(hole.sum())
    wanted = np.zeros((len(known), hole.sum(), 3))
    links = []
    for row, column in NEIGHBOURS:
        ahead = numbers(row, column)
        degree += ahead > -2
        links.append(np.stack([np.arange(len(degree)), ahead])[:, ahead >= 0])
        wanted += drop(inside, (0, 0), (row, column)) * (ahead >= 0)[:, None]
        wanted += _beside(known, row, column, fill=0)[:, hole]  # 0 in the hole and off the picture already
        across = drop(inside, (-row, -column), (0, 0)) * (numbers(-row, -column) >= 0)[:, None]
        across += drop(known, (row, column), (2 * row, 2 * column)) * (numbers(2 * row, 2 * column) == -1)[:, None]
        wanted += across / 2 * (ahead == -1)[:, None]
    links = np.concatenate(links, 1)
    joined = sparse.csc_array((np.ones(links.shape[1]), tuple(links)), shape=(len(degree), len(degree)))
    matrix = (sparse.diags_array(degree) - joined).tocsc()
    return matrix, wanted.transpose(1, 0, 2).reshape(len(degree), -1)


def fast_marching(image, completed, mask, band=8):
    """Carry the colour step at the seam inward by fast marching, fading it out over `band` pixels.

    At every known pixel of the seam the step is its colour minus the mean of the completed pixels it touches. As in
    Telea's inpainting (2004) the steps then march into the hole in the order of arrival: a pixel takes the mean of the
    pixels within 3 that were reached before it, weighted by 1 / distance^2 and 1 / (1 + difference of arrival times),
    without his extrapolation along gradients, which overshoots on steps as noisy as these. The arrival time is the
    distance to the seam, which fast marching approximates and a distance transform gives exactly. The answer is the
    completion plus the step, times 1 at the seam and 0 from `band` pixels inward: unlike in `poisson` the middle of
    the hole keeps the completion's colours. A hole that is the whole picture comes back as it is.

    image, completed: float (B, 3, H, W) in [-1, 1]; mask: float (B, 1, H, W), 1 = hole; band: pixels, above 0.
    Returns (B, 3, H, W) in [-1, 1], without gradient, known pixels bit-identical to `image`. Raises ValueError for
    other shapes and ranges, ImportError without scipy.
    """
    _check(image, completed, mask)
    if not band > 0:
        raise ValueError(f"band must be a width in pixels above 0, got {band}")
    ndimage = need("scipy.ndimage")
    reach = 3
    near = np.mgrid[-reach:reach + 1, -reach:reach + 1].reshape(2, -1)                     # (2, 49) steps
    near = near[:, (0 < (near**2).sum(0)) & ((near**2).sum(0) <= reach**2)]                # (2, 28) within the disc

    def blend(known, inside, hole):
        inner = hole[..., None].astype(float)
        touching = sum(_beside(inner, *step, fill=0) for step in NEIGHBOURS) * (1 - inner)  # hole pixels it touches
        touched = sum(_beside(inside * inner, *step, fill=0) for step in NEIGHBOURS)
        step = (known - touched / np.maximum(touching, 1)) * (touching > 0)                # (n, H, W, 3)
        arrival = np.where(hole, ndimage.distance_transform_edt(hole), np.where(touching[..., 0] > 0, 0, np.inf))

        padding = [(reach, reach)] * 2
        time = np.pad(arrival, padding, constant_values=np.inf)
        step = np.pad(step.transpose(1, 2, 0, 3), [*padding, (0, 0), (0, 0)])              # (H, W, n, 3), padded
        for now in np.unique(time[(time > 0) & (time < band + 1)]):
            front = np.nonzero(time == now)
            rows, columns = (place[:, None] + by for place, by in zip(front, near, strict=True))  # (front, 28)
            earlier = time[rows, columns]
            weight = np.where(earlier < now, 1 / ((near**2).sum(0) * (1 + np.abs(now - earlier))), 0)
            step[front] = np.einsum("fk,fknc->fnc", weight / weight.sum(1, keepdims=True), step[rows, columns])
        step = step[reach:-reach, reach:-reach].transpose(2, 0, 1, 3)
        fade = np.clip(1 - (arrival - 1) / band, 0, 1) * hole                              # pixel 1 is next to the seam
        return inside + fade[..., None] * step

    return _by_hole(image, completed, mask, blend)
