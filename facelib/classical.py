"""Completion without learning: what one image, or a folder of other people's faces, can say about a hole.

Every function of METHODS keeps the convention of `complete`: image float (B, 3, H, W) in [-1, 1], mask (B or 1, 1, H, W)
with 1 = hole; it returns the completed images, of the image's shape and dtype and without gradient. Known pixels come
back bit-identical, true hole pixels are never read, a face's completion depends on that face alone, and the same call
gives the same answer. The work is done in single precision or better. Raises ValueError for other shapes and ranges and
for a face that is all hole, ImportError where an optional package is missing.
"""

import functools
import math

import numpy as np
import torch
import torch.nn.functional as F

from facelib import masks
from facelib.extras import need

METHODS = {}  # name -> function(image, mask)
PATCH = 5  # side of PatchMatch's patches in pixels; Barnes et al. 2009 use 7, in larger pictures
COARSEST = 32  # PatchMatch's smallest copy of a picture has sides of at least this many pixels


def _method(fill):
    """Make a method of `fill`, which gets the image as float32 with 0 in its hole, and a float mask for each face."""
    @functools.wraps(fill)
    def complete(image, mask, *more, **named):
        image = image.detach()
        masks.check(image, mask)
        hole = (mask > 0.5).to(image.device).expand(len(image), -1, -1, -1)
        lost = torch.nonzero(hole.flatten(1).all(1))[:, 0].tolist()
        if lost:
            raise ValueError(f"image(s) {lost[:8]} are all hole, and without a known pixel there is nothing to complete "
                             "from; leave some pixels known")
        if not hole.any():
            return image.clone()
        pred = fill(torch.where(hole, 0.0, image).float(), hole.float(), *more, **named)
        return masks.composite(image, hole, pred.clamp(-1, 1).to(image))

    METHODS[fill.__name__] = complete
    return complete


def _each(image, mask, fill):
    """Call fill(picture (H, W, 3), hole (H, W) bool) in numpy for each face that has a hole -> (B, 3, H, W)."""
    filled = image.clone()
    for out, picture, hole in zip(filled, image, mask[:, 0].cpu().numpy() > 0.5, strict=True):
        if hole.any():
            out.copy_(torch.from_numpy(fill(picture.permute(1, 2, 0).cpu().numpy(), hole)).permute(2, 0, 1))
    return filled


def laplacian(height, width):
    """The graph Laplacian of a pixel grid, sparse (HW, HW): row p holds |N_p| f_p - sum of f over p's neighbours N_p.

    A pixel at the picture's border has fewer neighbours and no other condition (Neumann). Needs scipy.
    """
    sparse = need("scipy.sparse")
    def line(n):
        step = sparse.diags_array([np.ones(n), -np.ones(n)], offsets=[1, 0], shape=(n - 1, n))  # f[i + 1] - f[i]
        return step.T @ step
    return (sparse.kron(line(height), sparse.eye_array(width)) + sparse.kron(sparse.eye_array(height), line(width))).tocsr()


@_method
def harmonic(image, mask):
    """The Laplace equation: every hole pixel is the mean of its neighbours, a membrane spanned over the hole.

    The least |grad f|^2 of all fillings (Shen and Chan 2002); one sparse linear system for each face, shared by its
    channels. Needs scipy.
    """
    splu, rows = need("scipy.sparse.linalg").splu, laplacian(*image.shape[-2:])
    def fill(picture, hole):
        inside, equations = hole.ravel(), rows[hole.ravel()]
        wanted = -(equations[:, ~inside] @ picture[~hole].astype(float))                   # (unknowns, 3)
        picture[hole] = splu(equations[:, inside].tocsc(), permc_spec="MMD_AT_PLUS_A",
                             options={"SymmetricMode": True}).solve(wanted)
        return picture

    return _each(image, mask, fill)


@_method
def biharmonic(image, mask):
    """The biharmonic equation: a thin plate that continues the rim's slopes too (Damelin and Hoang 2018). skimage's."""
    inpaint = need("skimage.restoration").inpaint_biharmonic
    return _each(image, mask, lambda picture, hole: inpaint(picture, hole, channel_axis=-1))


def _opencv(image, mask, flag, radius=3):
    cv2 = need("cv2")
    def fill(picture, hole):
        levels = ((picture + 1) * 127.5).round().astype(np.uint8)  # cv2.inpaint takes colours as bytes only
        filled = cv2.inpaint(levels, hole.astype(np.uint8), radius, getattr(cv2, flag))
        return filled.astype(np.float32) / 127.5 - 1

    return _each(image, mask, fill)


@_method
def telea(image, mask):
    """Fast marching from the rim inward, colours and slopes carried along (Telea 2004); cv2's, within 3 pixels."""
    return _opencv(image, mask, "INPAINT_TELEA")


@_method
def navier_stokes(image, mask):
    """Isophotes flow into the hole like a fluid (Bertalmio, Bertozzi and Sapiro 2001); cv2's, within 3 pixels."""
    return _opencv(image, mask, "INPAINT_NS")


def spread(image, mask):
    """A first guess, (B, 3, H, W): known colours averaged over ever coarser copies of the picture (Gortler et al. 1996)."""
    if not mask.any():
        return image
    coarse, lost = _shrink(image, mask, [(side + 1) // 2 for side in image.shape[-2:]])
    up = F.interpolate(spread(coarse, lost), image.shape[-2:], mode="bilinear", align_corners=False)
    return torch.where(mask > 0.5, up, image)


def _shrink(image, mask, size):
    """A smaller copy: means of known pixels, (B, 3, *size); where there is none, hole, (B, 1, *size)."""
    share = F.adaptive_avg_pool2d(1 - mask, size)
    return F.adaptive_avg_pool2d(image * (1 - mask), size) / share.clamp_min(1e-6), (share < 1e-6).float()


@_method
def tv(image, mask, steps=150):
    """Total variation: the least sum of |grad f|, which lets edges cross the hole (Shen and Chan 2002, with exact data).

    The gradient's length at a pixel is taken over both directions and all three channels, so that their edges lie at one
    place. Primal-dual steps of all faces at once (Chambolle and Pock 2011, algorithm 1) from the guess of `spread`.
    """
    x, y, width, height = masks.boxes_of(mask.amax(0, keepdim=True))[0].tolist()
    box = (..., slice(max(y - 1, 0), y + height + 1), slice(max(x - 1, 0), x + width + 1))  # the holes and their rim
    filled = spread(image, mask)
    known, free, u = image[box], mask[box] > 0.5, filled[box]
    tau, sigma = 0.3 / math.sqrt(8), 1 / (0.3 * math.sqrt(8))       # tau sigma |grad|^2 <= 1, as convergence asks
    ahead, p = u, u.new_zeros(2, *u.shape)                          # p: the dual, a vector for each pixel and channel
    for _ in range(steps):
        p[0, ..., :-1].add_(ahead.diff(dim=-1), alpha=sigma)
        p[1, ..., :-1, :].add_(ahead.diff(dim=-2), alpha=sigma)
        p /= p.square().sum((0, 2)).sqrt_().clamp_min_(1)[None, :, None]
        divergence = p[0] + p[1]
        divergence[..., 1:] -= p[0, ..., :-1]
        divergence[..., 1:, :] -= p[1, ..., :-1, :]
        new = torch.where(free, u + tau * divergence, known)
        ahead, u = 2 * new - u, new
    filled[box] = u
    return filled


@_method
def low_rank(image, mask, steps=50):
    """The matrix of least nuclear norm that agrees with the known pixels: rows and columns that repeat each other.

    Singular value thresholding (Cai, Candes and Shen 2010) as soft-impute does it (Mazumder et al. 2010, algorithm 1):
    fill, shrink all singular values by a threshold, put the known pixels back, with ever smaller thresholds. A face is
    a matrix (H, 3W), its three channels side by side, less each channel's mean. The theory wants missing entries
    scattered; of a block it only knows what the rows and columns through it have in common.
    """
    share = (1 - mask).mean((2, 3), keepdim=True)
    level = image.mean((2, 3), keepdim=True) / share                # of known pixels; the image is 0 in the hole
    matrix = lambda x: x.double().permute(0, 2, 1, 3).flatten(2)    # (B, H, 3W)
    known, hole = matrix((image - level) * (1 - mask)), matrix(mask.expand_as(image)) > 0.5
    filled, largest, before = known, torch.linalg.matrix_norm(known, 2)[:, None, None], known
    for threshold in torch.logspace(-0.3, -2, steps, dtype=torch.float64).tolist():
        # The singular values and left vectors are the eigenvalues' roots and eigenvectors of a much smaller matrix.
        values, vectors = torch.linalg.eigh(filled @ filled.mT)
        kept = (1 - threshold * largest / values.clamp_min(1e-12).sqrt()[:, None]).clamp_min(0)
        low = (vectors * kept) @ (vectors.mT @ filled)
        filled, before = torch.where(hole, low + 0.7 * (low - before), known), low  # a little further: it gets there sooner
    return low.view(len(image), image.shape[2], 3, -1).permute(0, 2, 1, 3).float() + level


@_method
def patchmatch(image, mask, seed=0, sweeps=8):
    """The hole as a quilt of the image's own patches (Wexler et al. 2007), found by PatchMatch (Barnes et al. 2009).

    On a small copy of the picture first and then on larger ones: every patch that touches the hole looks for the most
    similar patch that does not, and every hole pixel takes the mean of what the patches over it found there, again and
    again. All faces and patches search at once, with the same random numbers for every face: `seed` gives the same
    answer in any batch. A picture too full of holes has few whole patches; then those with least hole serve, as they
    are filled so far. Raises ValueError for a picture smaller than a patch.
    """
    if min(image.shape[-2:]) < PATCH:
        raise ValueError(f"patchmatch compares patches of {PATCH}x{PATCH} pixels, got images of {tuple(image.shape[-2:])}; "
                         "use larger images")
    sizes = [tuple(image.shape[-2:])]
    while min(sizes[-1]) // 2 >= COARSEST:
        sizes.append(tuple(side // 2 for side in sizes[-1]))
    generator, filled = torch.Generator().manual_seed(seed), None
    for size in reversed(sizes):
        picture, hole = (image, mask) if size == sizes[0] else _shrink(image, mask, size)
        guess = spread(picture, hole) if filled is None else F.interpolate(filled, size, mode="bilinear")
        filled, field = torch.where(hole > 0.5, guess, picture), None
        for _ in range(sweeps):
            field = search(filled, hole, field, generator)
            filled = torch.where(hole > 0.5, vote(filled, hole, field), filled)
    return filled


def _patches(image):
    """(B, C, H, W) -> (B, P, C * PATCH * PATCH): all P patches, along the rows."""
    return F.unfold(image, PATCH).transpose(1, 2)


def _sources(mask, least=0.05):
    """Which patches may be copied, (B, P) bool: those without hole, or if they are few the 5 % with least hole."""
    missing = _patches(mask).sum(2)
    return missing <= missing.quantile(least, dim=1, keepdim=True)


def search(filled, mask, field, generator):
    """One sweep of PatchMatch: a nearest-neighbour field a little better than `field`.

    filled: float (B, 3, H, W); mask: float (B, 1, H, W), 1 = hole; field: long (B, P), the number of the patch that is
    the best match so far of each of the P patches (numbered along the rows), or None to start from random ones.
    generator: a CPU torch.Generator. A patch without hole is its own match. Returns the new field.
    """
    rows, columns = (side - PATCH + 1 for side in filled.shape[-2:])
    table, source = _patches(filled), _sources(mask)
    batch = torch.arange(len(filled), device=filled.device)[:, None]
    touched = _patches(mask).amax(2) > 0                                                   # (B, P)
    # The patches to be matched, the same number for each face: faces with a smaller hole add some that are not.
    targets = touched.int().sort(dim=1, descending=True, stable=True).indices[:, :int(touched.sum(1).max())]
    wanted = table[batch, targets]                                                         # (B, T, C * PATCH * PATCH)
    draw = lambda: torch.rand(2, rows * columns, generator=generator).to(filled)[:, targets]

    def price(candidates):
        distance = (table[batch, candidates] - wanted).square().sum(2)
        return distance.masked_fill_(~source[batch, candidates], float("inf"))

    if field is None:
        start, itself = draw(), torch.arange(rows * columns, device=filled.device).expand(len(filled), -1)
        field = itself.scatter(1, targets, (start[0] * rows).long() * columns + (start[1] * columns).long())
    best = field[batch, targets]
    cost = price(best)

    def improve(candidates):
        new = price(candidates)
        best.copy_(torch.where(new < cost, candidates, best))
        torch.minimum(new, cost, out=cost)

    def moved(numbers, down, right):                            # patches some pixels away, kept inside the picture
        y, x = numbers // columns + down, numbers % columns + right
        return y.clamp(0, rows - 1) * columns + x.clamp(0, columns - 1)

    for reach in (4, 1):                                        # propagation: what a neighbour found, moved back
        for down, right in ((0, reach), (0, -reach), (reach, 0), (-reach, 0)):
            improve(moved(field.gather(1, moved(targets, down, right)), -down, -right))
            field = field.scatter(1, targets, best)
    radius = max(rows, columns)
    while radius >= 1:                                          # random search: around the best so far, ever nearer
        improve(moved(best, *((draw() * 2 - 1) * radius).round().long()))
        radius /= 2
    return field.scatter(1, targets, best)


def vote(filled, mask, field):
    """Every pixel as the mean of what the matches of the patches over it hold there -> (B, 3, H, W).

    Good matches count more, and so do patches with much that is known. Arguments as in `search`.
    """
    table = _patches(filled)
    found = table.gather(1, field[..., None].expand_as(table))
    distance = (found - table).square().sum(2)                                             # (B, P)
    missing = _patches(mask).mean(2)
    scale = (distance * missing).sum(1, keepdim=True) / missing.sum(1, keepdim=True).clamp_min(1e-8)
    weight = (torch.exp(-distance / scale.clamp_min(1e-8)) * (1.02 - missing))[:, None]    # (B, 1, P)
    size = filled.shape[-2:]
    total = F.fold(weight.expand(-1, PATCH * PATCH, -1), size, PATCH)
    return F.fold(found.transpose(1, 2) * weight, size, PATCH) / total.clamp_min(1e-12)


@_method
def nearest_face(image, mask, database=None):
    """The face of a database whose known pixels are nearest, pasted into the hole (Hays and Efros 2007, in the small).

    database: uint8 (N, 3, H, W), for example `faces.train.images` (an array, also memory-mapped, or a tensor); hand it
    over with functools.partial(nearest_face, database=...). What it pastes is a part of somebody's face.
    """
    size = tuple(image.shape[1:])
    if database is None or not len(database) or tuple(database.shape[1:]) != size or "uint8" not in str(database.dtype):
        got = "none" if database is None else f"{database.dtype} {tuple(database.shape)}"
        raise ValueError(f"nearest_face needs a database of faces, uint8 (N, {', '.join(map(str, size))}), got {got}; pass "
                         "functools.partial(nearest_face, database=faces.train.images)")
    known = (1 - (mask[:1] if bool((mask == mask[:1]).all()) else mask)).expand(-1, 3, -1, -1).flatten(1)  # (1 or B, 3HW)
    distances = []
    for start in range(0, len(database), 4096):  # |x - d|^2 over known pixels = |x|^2 - 2 x.d + |d|^2; x is 0 in the hole
        faces = _floats(database[start:start + 4096]).to(image).flatten(1)
        crossed = image.flatten(1) @ faces.T
        distances.append(known @ faces.square_().T - 2 * crossed)                          # (B, up to 4096)
    nearest = torch.cat(distances, 1).argmin(1).tolist()
    return torch.stack([_floats(database[i]) for i in nearest]).to(image)


def _floats(faces):
    return torch.as_tensor(faces if torch.is_tensor(faces) else np.array(faces)).float() / 127.5 - 1
