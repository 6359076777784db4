"""Rendered portraits: deterministic people, factors that move what they name, attributes that follow, the shipped pack."""

import io
import json
import shutil
import time

import numpy as np
import pytest
import torch
from PIL import Image

from facelib.data import load_faces
from facelib.data.faces import ATTRIBUTES, to_uint8
from facelib.data.synthetic import FACTORS, Rendered, attributes, large, load, pack, portrait, render, sample_factors
from facelib.data.synthetic.factors import Draws

LEVEL = 2 / 255           # one grey level in [-1, 1]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Small pictures gain nothing from threads, and lose much on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def people():
    return sample_factors(4, seed=3)


def row(factors, index):
    return {name: value[index:index + 1] for name, value in factors.items()}


def plain(seed=11, **changes):
    """A person who looks into the camera in even light with nothing on, with some factors changed."""
    factors = sample_factors(1, seed)
    still = dict(yaw=0, pitch=0, roll=0, light_azimuth=0, light_elevation=0.4, ambient=0.4, exposure=0, glasses=0, hat=0,
                 bald=0, beard=0, goatee=0, moustache=0, stubble=0, fringe=0, eye_open=0.95, age=0.2, skin=0.2, asymmetry=0,
                 hair_length=0.1, earrings=0, bun=0, ponytail=0, mouth_open=0, smile=0.2, recede=0, eye_spacing=0, eye_size=0)
    for name, value in {**still, **changes}.items():
        factors[name] = torch.full_like(factors[name], value)
    return factors


def moved(name, low, high, **rest):
    """Where the picture changes when one factor moves: (64, 64), the mean over colours of the absolute change."""
    a, b = (render(plain(**{name: value}, **rest)) for value in (low, high))
    return (a - b).abs().mean(1)[0]


def share(change, left, top, right, bottom):
    """The share of the change that lies inside a box given in fractions of the side."""
    size = len(change)
    return float(change[int(top * size):int(bottom * size), int(left * size):int(right * size)].sum() / change.sum())


# ---- who -----------------------------------------------------------------------------------------------------------

def test_a_row_depends_on_seed_and_index_only():
    whole = sample_factors(50, seed=5)
    for start, n in ((0, 7), (7, 1), (13, 37)):
        part = sample_factors(n, seed=5, start=start)
        for name in FACTORS:
            assert torch.equal(part[name], whole[name][start:start + n]), name
    other = sample_factors(50, seed=6)
    assert not torch.equal(other["age"], whole["age"])
    assert torch.equal(sample_factors(1, seed=-1)["age"], sample_factors(1, seed=-1)["age"])


def test_factors_have_their_names_shapes_and_ranges():
    factors = sample_factors(2000, seed=1)
    assert set(factors) == set(FACTORS)
    for name, (meaning, low, high) in FACTORS.items():
        value = factors[name]
        assert value.dtype == torch.float32 and value.shape == (2000, 3 if "rgb" in name else 1), name
        assert value.min() >= low - 1e-3 and value.max() <= high + 1e-3, name
        assert torch.equal(value, value.half().float()), f"{name} would change in a float16 pack"
        assert len(meaning) > 10 and value.std() > 0, name


def test_people_suit_themselves():
    f = {name: value[:, 0] for name, value in sample_factors(4000, seed=2).items() if "rgb" not in name}
    man = f["masculine"] > 0.5
    assert 0.45 < man.float().mean() < 0.55
    assert f["beard"][~man].max() == 0 and f["lipstick"][man].max() == 0
    assert f["hair_length"][~man].mean() > 3 * f["hair_length"][man].mean()
    assert f["iris"][f["skin"] > 0.6].max() <= 0.25
    grey = attributes(sample_factors(4000, seed=2))[:, ATTRIBUTES.index("Gray_Hair")] == 1
    assert f["age"][torch.as_tensor(grey)].mean() > f["age"].mean() + 0.2


def test_the_counter_based_numbers_are_uniform_and_unrelated():
    draw = Draws(0, np.arange(20000))
    a, b = draw.uniform("a")[:, 0], draw.uniform("b", width=3)
    assert abs(a.mean() - 0.5) < 0.01 and abs(a.std() - 12**-0.5) < 0.01
    assert np.histogram(a, 10, (0, 1))[0].min() > 1800
    columns = np.column_stack([a[:-1], a[1:], b[:-1], Draws(1, np.arange(20000)).uniform("a")[:-1, 0]])
    assert np.abs(np.corrcoef(columns.T) - np.eye(6)).max() < 0.03


def test_sampling_is_fast():
    began = time.perf_counter()
    sample_factors(4096)
    assert time.perf_counter() - began < 10


# ---- the picture ---------------------------------------------------------------------------------------------------

def test_the_picture_of_a_person_does_not_depend_on_the_batch(people):
    together = render(people)
    assert together.shape == (4, 3, 64, 64) and together.dtype == torch.float32
    assert together.min() >= -1 and together.max() <= 1 and together.std() > 0.2
    for i in (0, 3):
        alone = render(row(people, i))
        # vectorised sin and exp may round the last bit differently at another place in the batch, which moves a
        # grazing ray now and then: far below a grey level, and seldom
        assert (alone[0] - together[i]).abs().max() < LEVEL / 2
        assert (alone[0] - together[i]).abs().mean() < LEVEL / 1000
    assert torch.equal(render(people), together)


def test_chunks_do_not_matter(people, monkeypatch):
    whole = render(people, size=32)
    monkeypatch.setattr(portrait, "CHUNK", 3)
    assert (render(people, size=32) - whole).abs().max() < LEVEL / 2


def test_people_differ(people):
    images = render(people).flatten(1)
    assert torch.cdist(images, images)[~torch.eye(4, dtype=bool)].min() > 10


def test_the_eyes_are_where_our_photographs_have_them():
    change = moved("iris", 0.0, 0.9)
    rows = torch.arange(64)[:, None] + 0.5
    columns = torch.arange(64)[None] + 0.5
    for left, right, goal in ((0, 32, 0.375), (32, 64, 0.62)):
        part = change[16:36, left:right] ** 2
        x = float((part * columns[:, left:right]).sum() / part.sum()) / 64
        y = float((part * rows[16:36]).sum() / part.sum()) / 64
        assert abs(x - goal) < 0.02 and abs(y - 0.41) < 0.02, (x, y)


@pytest.mark.parametrize("name, low, high, box", [
    ("smile", -0.3, 1.1, (0.15, 0.36, 0.85, 0.95)),
    ("mouth_open", 0.0, 1.0, (0.3, 0.58, 0.7, 0.85)),
    ("gaze_x", -1, 1, (0.25, 0.33, 0.75, 0.5)),
    ("iris", 0.0, 0.9, (0.25, 0.33, 0.75, 0.5)),
    ("brow_height", -1, 1, (0.2, 0.2, 0.8, 0.45)),
    ("lipstick", 0, 1, (0.3, 0.58, 0.7, 0.85)),
    ("glasses", 0, 1, (0.1, 0.25, 0.9, 0.6)),
    ("nose_length", -1.2, 1.2, (0.3, 0.4, 0.7, 0.75)),
    ("beard", 0, 1, (0.15, 0.5, 0.85, 1.0)),
    ("hat", 0, 1, (0.0, 0.0, 1.0, 0.4)),
    ("forehead", -1, 1, (0.15, 0.0, 0.85, 0.35)),
    ("cloth_rgb", 0.1, 0.8, (0.0, 0.8, 1.0, 1.0)),
])
def test_one_factor_moves_what_it_names(name, low, high, box):
    change = moved(name, low, high, lipstick=0.0) if name != "lipstick" else moved(name, low, high)
    assert change.max() > 0.08, f"{name} should be visible"
    assert share(change, *box) > 0.85


def test_background_stays_behind_the_person():
    change = moved("background_rgb", 0.1, 0.9, background_edge=0.0)
    assert share(change, 0.35, 0.4, 0.65, 0.75) < 0.01


def test_every_factor_can_be_seen():
    """Each factor changes the picture of somebody who wears what the factor is about."""
    wearing = dict(glasses=1.0, stubble=0.0, freckles=0.5, skin=0.4, mouth_open=0.5, fringe=0.3, hair_length=0.6, jacket=1.0,
                   lipstick=0.5, background_blobs=0.5, earrings=0.0, light_azimuth=0.4, locks=0.5)
    needs = {"hat_rgb": dict(hat=1.0), "hat_brim": dict(hat=1.0), "earrings": dict(hair_length=0.0)}
    base = plain(**wearing)
    variants, befores = [], []
    for name, (_, low, high) in FACTORS.items():
        before = {k: v.clone() for k, v in base.items()}
        for other, value in needs.get(name, {}).items():
            before[other] = torch.full_like(before[other], value)
        before[name] = torch.full_like(before[name], low if low == 0 else 0.8 * low)
        after = {**before, name: torch.full_like(before[name], (0.7 if low == 0 else 0.8) * high)}
        befores.append(before)
        variants.append(after)
    a, b = (render({k: torch.cat([f[k] for f in group]) for k in FACTORS}, size=32) for group in (befores, variants))
    change = (a - b).abs().amax((1, 2, 3))
    assert [name for name, c in zip(FACTORS, change, strict=True) if c < 0.03] == []


def test_wrong_input_is_refused(people):
    with pytest.raises(ValueError, match="even size of at least 16 pixels, got 15"):
        render(people, size=15)
    with pytest.raises(ValueError, match=r"missing \['age'\], unknown \[\]"):
        render({k: v for k, v in people.items() if k != "age"})
    with pytest.raises(ValueError, match=r"unknown \['beauty'\]"):
        render({**people, "beauty": people["age"]})
    with pytest.raises(ValueError, match=r"'age' must be \(4, 1\), got \(4,\)"):
        render({**people, "age": people["age"][:, 0]})
    with pytest.raises(ValueError, match="'age' must be finite"):
        render({**people, "age": people["age"] * float("nan")})
    with pytest.raises(ValueError, match="n >= 0 and start >= 0, got n=-1, start=0"):
        sample_factors(-1)


def test_nobody_is_a_batch_too():
    nobody = sample_factors(0)
    assert render(nobody).shape == (0, 3, 64, 64) and attributes(nobody).shape == (0, 40)


# ---- what is said of them ------------------------------------------------------------------------------------------

@pytest.mark.parametrize("attribute, yes, no", [
    ("Eyeglasses", dict(glasses=1.0), dict(glasses=0.0)), ("Smiling", dict(smile=0.9), dict(smile=0.0)),
    ("Wearing_Hat", dict(hat=1.0), dict(hat=0.0)), ("Bald", dict(bald=1.0), dict(bald=0.0)),
    ("Blond_Hair", dict(hair_rgb=(0.8, 0.66, 0.45)), dict(hair_rgb=(0.3, 0.2, 0.14))),
    ("Black_Hair", dict(hair_rgb=(0.07, 0.06, 0.06)), dict(hair_rgb=(0.3, 0.2, 0.14))),
    ("Brown_Hair", dict(hair_rgb=(0.3, 0.2, 0.14)), dict(hair_rgb=(0.56, 0.56, 0.55))),
    ("Gray_Hair", dict(hair_rgb=(0.56, 0.56, 0.55)), dict(hair_rgb=(0.8, 0.66, 0.45))),
    ("Male", dict(masculine=0.9), dict(masculine=0.1)), ("Young", dict(age=0.2), dict(age=0.8)),
    ("Mouth_Slightly_Open", dict(mouth_open=0.8), dict(mouth_open=0.0)), ("No_Beard", {}, dict(goatee=0.8)),
    ("Mustache", dict(moustache=0.8), dict(moustache=0.0)), ("Goatee", dict(goatee=0.8), dict(goatee=0.0)),
    ("Bangs", dict(fringe=0.8), dict(fringe=0.0)), ("Pale_Skin", dict(skin=0.02), dict(skin=0.5)),
    ("Wearing_Lipstick", dict(lipstick=0.8), dict(lipstick=0.0)), ("Wavy_Hair", dict(curl=0.6), dict(curl=0.05)),
    ("Straight_Hair", dict(curl=0.05), dict(curl=0.6)), ("Narrow_Eyes", dict(eye_open=0.4), dict(eye_open=1.0)),
    ("Rosy_Cheeks", dict(rosy=0.9), dict(rosy=0.1)), ("Receding_Hairline", dict(recede=0.8), dict(recede=0.0)),
])
def test_attributes_follow(attribute, yes, no):
    def says(changes):
        colours = {k: v for k, v in changes.items() if isinstance(v, tuple)}
        factors = plain(**{k: v for k, v in changes.items() if k not in colours})
        factors.update({k: torch.tensor([v]) for k, v in colours.items()})
        return int(attributes(factors)[0, ATTRIBUTES.index(attribute)])

    assert says(yes) == 1 and says(no) == 0


def test_what_is_unsure_or_hidden_is_unknown():
    def says(attribute, **changes):
        return int(attributes(plain(**changes))[0, ATTRIBUTES.index(attribute)])

    table = attributes(sample_factors(500, 4))
    assert table.shape == (500, 40) and table.dtype == np.int8 and set(np.unique(table)) == {-1, 0, 1}
    assert (table[:, ATTRIBUTES.index("Attractive")] == -1).all()
    assert says("Smiling", smile=0.4) == -1
    assert says("Bald", bald=1.0, hat=1.0) == -1
    assert says("Narrow_Eyes", eye_open=0.3, glasses=1.0, sunglasses=1.0) == -1
    assert says("Black_Hair", bald=1.0) == 0


# ---- the pack ------------------------------------------------------------------------------------------------------

def test_the_pack_loads_quickly_and_whole():
    began = time.process_time()
    faces = load()
    assert time.process_time() - began < 2
    assert (len(faces.train), len(faces.val), len(faces.test)) == (3072, 512, 512) and faces.size == (64, 64)
    assert faces.train.images.dtype == np.uint8 and faces.train.images.shape == (3072, 3, 64, 64)
    assert faces.test.attributes.shape == (512, 40) and faces.test.factors["hair_rgb"].shape == (512, 3)
    assert faces.test.identities.tolist() == list(range(3584, 4096))
    assert sum(path.stat().st_size for path in pack.FOLDER.iterdir()) < 10e6


def test_the_pack_is_what_the_renderer_draws():
    test = load().test
    for i in (0, 300):
        person = sample_factors(1, pack.SEED, int(test.identities[i]))
        assert all(np.array_equal(test.factors[k][i], person[k][0].numpy()) for k in FACTORS)
        assert np.array_equal(test.attributes[i], attributes(person)[0])
        drawn = render(person)
        file = io.BytesIO()
        face = Image.fromarray(to_uint8(drawn)[0].permute(1, 2, 0).numpy())
        face.save(file, "JPEG", quality=pack.QUALITY, subsampling=0)
        alone = np.asarray(Image.open(file)).transpose(2, 0, 1).astype(int)
        # the pack was rendered compiled, which rounds otherwise; a tile on a sheet is what it is as a file of its own
        assert np.abs(test.images[i] - alone).mean() < 0.2
        assert (test.tensor([i]) - drawn).abs().mean() < 4 * LEVEL                   # what JPEG does to the grain


def test_another_size_is_resized():
    small = load_faces("synthetic", size=(32, 32))
    assert small.size == (32, 32)
    full = load().val.tensor(slice(0, 4))
    again = torch.nn.functional.interpolate(full, (32, 32), mode="bilinear", antialias=True)
    assert (small.val.tensor(slice(0, 4)) - again).abs().mean() < 0.05


def test_a_small_pack_written_and_read(tmp_path):
    splits = {"train": 8, "val": 4, "test": 4}
    pack.write(tmp_path / "pack", splits, seed=9, batch=8)
    faces = load(folder=tmp_path / "pack")
    assert len(faces.train) == 8 and faces.test.names == [f"9/{i}" for i in range(12, 16)]
    assert (faces.val.tensor() - render(sample_factors(4, 9, start=8))).abs().mean() < 4 * LEVEL
    stored = (tmp_path / "pack" / "factors.npz").read_bytes()
    pack.write(tmp_path / "pack", splits, seed=9, batch=16)
    assert (tmp_path / "pack" / "factors.npz").read_bytes() == stored and len(list(tmp_path.iterdir())) == 1


def test_a_missing_or_broken_pack_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m facelib.data.synthetic pack"):
        load(folder=tmp_path / "nothing")
    for name in ("pack.json", "factors.npz", "sheet_00.jpg"):
        shutil.copy(pack.FOLDER / name, tmp_path)
    assert json.loads((tmp_path / "pack.json").read_text())["seed"] == pack.SEED
    with pytest.raises(ValueError, match="should hold 4096 faces, but has 512 images and 4096 rows"):
        load(folder=tmp_path)


# ---- larger than the pack ------------------------------------------------------------------------------------------

@pytest.fixture
def drawn(tmp_path, monkeypatch):
    """A cache of its own, and instead of the slow renderer one that paints a person's number on every pixel.

    Gives the list of the sizes and numbers of people that were asked of it.
    """
    asked = []

    def paint(factors, size, device=None):
        asked.append((size, len(factors["yaw"])))
        grey = factors["texture"] / 2047 * 2 - 1
        return grey[:, :, None, None].expand(-1, 3, size, size)

    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(large, "render", paint)
    return asked


def test_larger_faces_are_the_same_people_rendered_not_enlarged(tmp_path, monkeypatch):
    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path))
    faces, small = load_faces("synthetic", size=128), load_faces("synthetic")
    assert faces.size == (128, 128) and faces.name == small.name and torch.equal(faces.mean, small.mean)
    for name in ("train", "val", "test"):
        one, other = getattr(faces, name), getattr(small, name)
        assert len(one) == len(other) and one.names == other.names and one.factors is not None
        assert (one.identities == other.identities).all() and (one.attributes == other.attributes).all()
    image = faces.test.tensor([3, 300])
    known = small.test.tensor([3, 300])
    shrunk = torch.nn.functional.interpolate(image, (64, 64), mode="area")
    assert ((shrunk - known).abs().mean((1, 2, 3)) < 5 * LEVEL).all()          # grain and JPEG alone make two or three
    back = torch.nn.functional.interpolate(known, (128, 128), mode="bicubic")
    detail = lambda x: (x - torch.nn.functional.avg_pool2d(x, 3, 1, 1)).abs().mean()
    assert detail(image) > 1.2 * detail(back), "an enlarged picture would have no such detail"


def test_a_large_face_is_rendered_once_and_only_when_it_is_asked_for(drawn):
    faces = load_faces("synthetic", size=128)
    images = faces.test.images
    assert isinstance(images, Rendered) and images.shape == (512, 3, 128, 128) and images.dtype == np.uint8 and not drawn
    first = faces.test.tensor([5, 2, 5])
    assert drawn == [(128, 2)] and torch.equal(first[0], first[2]) and not torch.equal(first[0], first[1])
    again = load_faces("synthetic", size=128).test.take(slice(2, 6))
    assert drawn == [(128, 2), (128, 2)], "two of the four were there"
    assert np.array_equal(again.images[[3, 0]], images[[5, 2]]) and again.identities.tolist() == [3586, 3587, 3588, 3589]
    assert images[5].shape == (3, 128, 128) and images[:0].shape == (0, 3, 128, 128)
    assert np.array_equal(images[np.arange(512) == 2][0], images[2]) and len(drawn) == 2


def test_all_large_faces_are_an_array(drawn):
    faces = load_faces("synthetic", size=128)
    few = Rendered(faces.val.factors, faces.val.names[:20], 66, None, faces.val.images.folder / "few")
    whole = np.asarray(few)
    assert whole.shape == (20, 3, 66, 66) and drawn == [(66, 20)]
    assert np.array_equal(np.ascontiguousarray(few), whole) and np.array_equal(few[3:5, 1], whole[3:5, 1])
    assert np.allclose(few.mean((0, 2, 3)), whole.mean((0, 2, 3))) and few.nbytes == whole.nbytes
    assert [int(face[0, 0, 0]) for face in few] == whole[:, 0, 0, 0].tolist() and len(drawn) == 1


def test_a_face_that_was_not_written_whole_is_rendered_again(drawn):
    images = load_faces("synthetic", size=128).test.images
    good = images[[7]]
    file, = images.folder.glob("*.npy")
    file.write_bytes(file.read_bytes()[:-5])
    assert np.array_equal(images[[7]], good) and drawn == [(128, 1)] * 2
    assert [path.suffix for path in images.folder.iterdir()] == [".npy"]


def test_large_faces_may_be_oblong_and_cut(drawn):
    faces = load_faces("synthetic", size=(96, 72))
    assert faces.size == (96, 72) and faces.test.tensor([0]).shape == (1, 3, 96, 72) and drawn[-1] == (96, 1)
    small = load_faces("synthetic", size=(64, 48))                                       # the same shape, made of the pack
    assert torch.allclose(faces.mean, small.mean, atol=0.01) and isinstance(small.test.images, np.ndarray)
    part = load_faces("synthetic", size=50, box=(0.2, 0.3, 0.7, 0.8))
    assert part.test.tensor([0]).shape == (1, 3, 50, 50) and drawn[-1] == (100, 1)
    assert part.val.images.folder != faces.val.images.folder
    with pytest.raises(ValueError, match=r"at most 1024 pixels a side, size=900 needs 1800 for a whole face, .*smaller size"):
        load_faces("synthetic", size=900, box=(0, 0, 0.5, 0.5))


def test_many_large_faces_are_rendered_few_at_a_time(drawn):
    images = load_faces("synthetic", size=256).test.images
    images[:10]
    assert drawn == [(256, 4), (256, 4), (256, 2)]


def test_a_cache_that_cannot_be_written_says_what_to_set(drawn, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("FACELIB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OSError, match="cannot be written .*; set the environment variable FACELIB_CACHE"):
        load_faces("synthetic", size=128).test.tensor([0])


def test_the_command_draws_a_traversal(tmp_path):
    from facelib.data.synthetic.__main__ import main
    main(["traverse", str(tmp_path / "t.png"), "smile"])
    assert Image.open(tmp_path / "t.png").size == (512, 64)
