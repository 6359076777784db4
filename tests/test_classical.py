"""Completion without learning: every method keeps the convention of `complete`, and does what its mathematics says."""

from functools import partial

import numpy as np
import pytest
import torch

from facelib import classical, load_faces, masks, metrics

SIZE = 40
FACES = load_faces("synthetic", size=SIZE)
DATABASE = FACES.train.images[:64]
METHODS = classical.METHODS | {"nearest_face": partial(classical.nearest_face, database=DATABASE)}
every = pytest.mark.parametrize("name", METHODS)


@pytest.fixture(scope="module")
def image():
    return FACES.test.tensor(slice(0, 3))


def holes(kind):
    return masks.make(kind, 3, SIZE, seed=2)


def ramp(size=32):
    """A plane in each channel, (1, 3, size, size), within [-1, 1]."""
    along = torch.linspace(-1, 1, size)
    slopes = torch.tensor([[0.5, 0.2], [-0.3, 0.4], [0.0, 0.9]])
    return (slopes[:, :1, None] * along[:, None] + slopes[:, 1:, None] * along)[None]


def test_the_methods_of_the_book_are_there():
    assert set(METHODS) == {"tv", "low_rank", "patchmatch", "harmonic", "biharmonic", "telea", "navier_stokes",
                            "nearest_face"}
    assert all(classical.METHODS[name] is getattr(classical, name) for name in METHODS)


@every
@pytest.mark.parametrize("kind", ["center", "half", "pixels"])
def test_known_pixels_stay_and_the_hole_never_leaks(name, kind, image):
    mask, before = holes(kind), image.clone()
    completed = METHODS[name](image, mask)
    known = mask.expand_as(image) < 0.5
    assert completed.shape == image.shape and completed.dtype == image.dtype
    assert completed.isfinite().all() and completed.abs().max() <= 1
    assert torch.equal(completed[known], image[known]) and torch.equal(image, before)
    assert not torch.equal(completed[~known], image[~known])
    noise = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.equal(METHODS[name](torch.where(known, image, noise), mask), completed)  # and it repeats


@every
def test_a_face_depends_on_itself_alone(name, image):
    """Also where the faces of a batch have other holes, or none; whatever the caller's random state."""
    mask = holes("glcic")
    mask[1] = 0
    together = METHODS[name](image, mask)
    torch.manual_seed(5)
    for i in range(3):
        torch.testing.assert_close(METHODS[name](image[i:i + 1], mask[i:i + 1]), together[i:i + 1], atol=1e-5, rtol=0)
    assert torch.equal(together[1], image[1])
    one = METHODS[name](image, mask[:1])
    torch.testing.assert_close(one, METHODS[name](image, mask[[0, 0, 0]]), atol=1e-5, rtol=0)


@every
def test_kinds_of_numbers_and_empty_holes(name, image):
    image, mask = image[:1].clone().requires_grad_(), masks.center(1, SIZE, hole=0.2)
    completed = METHODS[name](image, mask.bool())
    assert not completed.requires_grad and torch.equal(completed, METHODS[name](image, mask))
    double = METHODS[name](image.double(), mask.double())
    assert double.dtype == torch.float64 and torch.equal(double[..., 0, :], image.double()[..., 0, :])
    torch.testing.assert_close(double, completed.double(), atol=1e-5, rtol=0)
    assert torch.equal(METHODS[name](image, torch.zeros_like(mask)), image)


@every
def test_odd_sizes_are_taken(name):
    image = ramp(37)[..., :30]
    mask = masks.strokes(1, (37, 30), torch.Generator().manual_seed(0), count=2)
    named = {"database": np.zeros((2, 3, 37, 30), np.uint8)} if name == "nearest_face" else {}
    method = partial(classical.METHODS[name], **named)
    assert torch.equal(method(image, mask)[:, :, mask[0, 0] == 0], image[:, :, mask[0, 0] == 0])


@every
def test_wrong_inputs_are_refused_with_what_to_do(name, image):
    mask = holes("center")
    whole = mask.clone()
    whole[1] = 1
    for wrong, message in [((image[0], mask), r"add the batch axis with image\[None\]"),
                           ((image * 300, mask), "must lie in"), ((image, mask[:2]), "mask must match the image's batch"),
                           ((image, mask * 0.7), "mask must hold only 0"),
                           ((image, whole), r"image\(s\) \[1\] are all hole, .*; leave some pixels known")]:
        with pytest.raises(ValueError, match=message):
            METHODS[name](*wrong)


def test_a_database_is_asked_for(image):
    mask = holes("center")
    for database, got in ((None, "none"), (DATABASE[..., :-1], "uint8"), (DATABASE[:0], "uint8"),
                          (DATABASE.astype(np.float32), "float32")):
        with pytest.raises(ValueError, match=rf"uint8 \(N, 3, 40, 40\), got {got}.*functools.partial\(nearest_face"):
            classical.nearest_face(image, mask, database=database)


def test_patches_must_fit():
    with pytest.raises(ValueError, match=r"patches of 5x5 pixels, got images of \(4, 8\); use larger images"):
        classical.patchmatch(torch.zeros(1, 3, 4, 8), masks.center(1, (4, 8)))


# -- closed forms --------------------------------------------------------------------------------------------------------

def test_the_laplacian_is_what_it_says():
    by_hand = np.zeros((6, 6))
    for a, b in ((0, 1), (1, 2), (3, 4), (4, 5), (0, 3), (1, 4), (2, 5)):                  # neighbours in 2 rows of 3
        by_hand[[a, b], [b, a]], by_hand[[a, b], [a, b]] = -1, by_hand[[a, b], [a, b]] + 1
    np.testing.assert_array_equal(classical.laplacian(2, 3).toarray(), by_hand)


@pytest.mark.parametrize("name, worst", [("harmonic", 1e-6), ("biharmonic", 1e-5), ("tv", 0.06)])
def test_a_ramp_comes_back(name, worst):
    image, mask = ramp(), masks.center(1, 32, hole=0.4)
    assert (METHODS[name](image, mask) - image).abs().max() < worst


def test_harmonic_pixels_are_the_mean_of_their_neighbours(image):
    mask = masks.center(1, SIZE)
    f = METHODS["harmonic"](image, mask)
    mean = (f[..., :-2, 1:-1] + f[..., 2:, 1:-1] + f[..., 1:-1, :-2] + f[..., 1:-1, 2:]) / 4
    inside = mask[0, 0, 1:-1, 1:-1] > 0
    assert (f[..., 1:-1, 1:-1] - mean)[..., inside].abs().max() < 1e-5


def variation(x):
    right, down = torch.zeros_like(x), torch.zeros_like(x)
    right[..., :-1], down[..., :-1, :] = x.diff(dim=-1), x.diff(dim=-2)
    return (right**2 + down**2).sum(1).sqrt().sum().item()


def test_total_variation_keeps_a_step_that_harmonic_blurs(image):
    step = torch.ones(1, 3, 32, 32) * 0.6
    step[..., 16:] = -0.6
    mask = masks.center(1, 32, hole=0.4)
    found = {name: METHODS[name](step, mask) for name in ("tv", "harmonic")}
    assert (found["tv"] - step).abs().mean() < 0.25 * (found["harmonic"] - step).abs().mean()
    face, mask = image[:1], masks.center(1, SIZE)
    least = variation(METHODS["tv"](face, mask))
    assert all(least < variation(METHODS[name](face, mask)) for name in ("harmonic", "biharmonic", "patchmatch", "telea"))


def test_low_rank_finds_a_product_of_a_row_and_a_column():
    generator = torch.Generator().manual_seed(0)
    rows, columns = torch.rand(1, 1, 48, 1, generator=generator), torch.rand(1, 3, 1, 48, generator=generator)
    image = rows * columns * 2 - 1
    mask = masks.pixels(1, 48, generator, share=0.4)
    assert metrics.psnr(METHODS["low_rank"](image, mask), image, mask) > 40
    assert metrics.psnr(METHODS["harmonic"](image, mask), image, mask) < 20                # nothing smooth about it


def test_patchmatch_continues_a_texture():
    wave = torch.sin(torch.arange(64) * torch.pi / 4) * 0.8
    image = (wave[:, None] * wave).expand(1, 3, 64, 64)
    mask = masks.center(1, 64, hole=0.3)
    assert metrics.psnr(METHODS["patchmatch"](image, mask), image, mask) > 50
    assert metrics.psnr(METHODS["harmonic"](image, mask), image, mask) < 20


def test_the_field_comes_near_the_exact_nearest_neighbours(image):
    mask, filled, field = holes("center")[:1], image[:1], None
    generator = torch.Generator().manual_seed(0)
    for _ in range(8):
        field = classical.search(filled, mask, field, generator)
    patches, clear = torch.nn.functional.unfold(filled, 5)[0].T, torch.nn.functional.unfold(mask, 5)[0].amax(0) == 0
    assert torch.equal(field[0][clear], torch.arange(len(patches))[clear]) and clear[field[0]].all()
    found = (patches[field[0]] - patches).square().sum(1)[~clear].mean()
    exact = torch.cdist(patches[~clear], patches[clear]).square().amin(1).mean()
    random = (patches[~clear] - patches[clear][0]).square().sum(1).mean()
    assert exact <= found * 1.0001 and found < 1.3 * exact < 0.5 * random


def test_the_nearest_face_is_the_face_itself_where_it_is_known(tmp_path):
    mask = masks.center(3, SIZE)
    np.save(tmp_path / "faces.npy", DATABASE)
    for database in (DATABASE, torch.from_numpy(np.array(DATABASE)), np.load(tmp_path / "faces.npy", mmap_mode="r")):
        image = FACES.train.tensor([5, 9, 40])
        torch.testing.assert_close(classical.nearest_face(image, mask, database=database), image, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [name for name in METHODS if name != "nearest_face"])
def test_small_holes_are_easier_than_large_ones(name):
    """The same 4 x 4 pixels in the middle, under ever larger holes: the further what is known, the worse."""
    image = FACES.test.tensor(slice(0, 6))
    core = masks.center(1, SIZE, hole=0.1)
    scores = [metrics.psnr(METHODS[name](image, masks.center(1, SIZE, hole=h)), image, core).mean().item()
              for h in (0.1, 0.3, 0.7)]
    assert scores[0] > scores[1] + 1 and scores[0] > scores[2] + 1, scores
