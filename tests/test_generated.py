"""Faces of nobody: drawn, measured as a set, screened one by one, written as a sheet, and the sheet that ships."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from facelib import cli, generation, load_faces, load_pretrained, pretrained, weights
from facelib.data import FaceData, Split, generated, to_float, to_uint8
from facelib.data.synthetic import pack
from facelib.evaluate.report import card_figures

needs_sheet = pytest.mark.skipif(not (generated.FOLDER / "faces.jpg").exists(), reason="no sheet of generated faces yet")


def soft(n, seed, size=64):
    """n soft pictures, uint8 (n, 3, size, size)."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return (nn.functional.interpolate(coarse, size=size, mode="bilinear") * 255).byte().numpy()


class Judge(nn.Module):
    """Stands in for a judge: the colours of a face at 2x2 places are its features."""

    def features(self, images):
        return 8 * nn.functional.avg_pool2d(images, images.shape[-1] // 2).flatten(1)


class Painter:
    """Stands in for a method: its samples are soft pictures, of which some are replaced by `planted`."""

    def __init__(self, planted=None, size=64):
        self.planted, self.size, self.card = planted or {}, size, {"sha256": "abc", "licence": "mine"}
        self.cfg = SimpleNamespace(size=size)

    def sample(self, n, seed=0, spread=1.0):
        images = spread * to_float(soft(n, 100 + seed, self.size))
        for place, picture in self.planted.items():
            if place < n:
                images[place] = picture
        return images


@pytest.fixture(autouse=True)
def judges(monkeypatch, request):
    if "shipped" not in request.node.name:
        monkeypatch.setattr(generation, "load_pretrained", lambda name: Judge())


@pytest.fixture
def faces():
    return FaceData("made up", Split(soft(400, 1)), Split(soft(4, 2)), Split(soft(200, 3)))


# -- measured as a set -------------------------------------------------------------------------------------------------

def test_quality_tells_good_samples_from_poor_ones_and_stands_beside_a_floor(faces, tmp_path):
    class Grey:
        sample = staticmethod(lambda n, seed=0, spread=1.0: Painter().sample(n, seed) * 0.3)

    report = generation.quality({"painter": Painter(), "grey": Grey()}, faces, out=tmp_path / "r.json", command="so")
    good, poor = report["rows"]
    for key in ("fd_attr", "fd_attr_train", "kd_attr", "kd_attr_train"):
        assert good[key] < 0.3 * poor[key] and abs(report["floor"][key]) < 0.3 * poor[key]
    assert (report["test_faces"], report["train_faces"], report["command"]) == (200, 400, "so")
    assert report["weights"] == {"painter": "abc"}
    assert json.loads((tmp_path / "r.json").read_text())["rows"][0]["fd_attr"] == pytest.approx(good["fd_attr"], rel=1e-4)
    again = generation.quality({"painter": Painter()}, faces)
    assert again["rows"][0] == good


def test_a_method_that_draws_nothing_is_refused(faces):
    with pytest.raises(ValueError, match=r"glcic draws no faces of nobody: it has no sample\(n\); choose one that has"):
        generation.quality({"glcic": object()}, faces)


def test_a_report_of_samples_goes_into_a_card(faces, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(generation, "load_pretrained", lambda name: Painter() if name == "painter" else Judge())
    monkeypatch.setattr(generation, "load_faces", lambda *a, **k: faces)
    assert cli.main(["evaluate", "--samples", "painter", "--out", str(tmp_path / "r.json")]) == 0
    assert "painter" in capsys.readouterr().out
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["command"] == "facelib evaluate --samples painter --data synthetic --size 64 --seed 0"
    assert card_figures(report, "painter")["samples"]["fd_attr"] == report["rows"][0]["fd_attr"]


@pytest.mark.parametrize("given, taken, said", [(None, 48, "48"), (32, 32, "32"), ((40, 32), (40, 32), "40 32")])
def test_real_faces_come_at_the_size_of_the_samples(faces, monkeypatch, given, taken, said):
    class Sized(Painter):
        def __init__(self, size):
            super().__init__()
            self.cfg = SimpleNamespace(size=size)

    asked = []
    methods = {"small": Sized((24, 32)), "large": Sized(48)}
    monkeypatch.setattr(generation, "load_pretrained", lambda name: methods.get(name) or Judge())
    monkeypatch.setattr(generation, "load_faces", lambda *a, size, **k: asked.append(size) or faces)
    report = generation.main_quality(["small", "large"], size=given)
    assert asked == [taken] and report["command"].endswith(f"--size {said} --seed 0")


# -- screened one by one -----------------------------------------------------------------------------------------------

def test_nearest_is_the_cosine_distance_to_the_nearest():
    known = torch.tensor([[2.0, 0.0], [0.0, 3.0]])
    found = generation.nearest(torch.tensor([[5.0, 0.0], [1.0, 1.0], [-1.0, -1.0]]), known)
    torch.testing.assert_close(found, torch.tensor([0.0, 1 - 0.5**0.5, 1 + 0.5**0.5]))


def test_a_copy_of_a_training_face_is_turned_away_mirrored_and_changed_a_little_too(faces):
    one, other = faces.train.tensor([7])[0], faces.train.tensor([9])[0]
    images = Painter({3: one, 5: other.flip(2), 8: one * 0.999}).sample(40)
    near, odd, numbers = generation.screen(images, faces)
    assert near[[3, 5, 8]].all() and near.sum() <= 6 and not odd.all()
    assert numbers["nearest"]["limit"] <= numbers["nearest"]["passed"]["least"]
    assert numbers["oddity"]["limit"] >= numbers["oddity"]["passed"]["greatest"]
    # Real strangers are turned away as rarely as the limits say.
    near, odd, _ = generation.screen(faces.test.tensor(), faces)
    assert near.sum() <= 2 and odd.sum() <= 10


def test_what_is_far_from_all_faces_is_turned_away(faces):
    images = Painter({0: torch.ones(3, 64, 64), 4: -torch.ones(3, 64, 64)}).sample(40)
    assert generation.screen(images, faces)[1][[0, 4]].all()


def test_generate_takes_the_first_that_pass_and_says_which(faces):
    painter = Painter({1: faces.train.tensor([7])[0], 3: torch.ones(3, 64, 64)})
    images, card = generation.generate(painter, 8, faces=faces, drop=(2,))
    assert len(images) == 8 == card["faces"] == len(card["numbers"]) and card["drawn"] == 32
    assert not {1, 2, 3} & set(card["numbers"])
    assert torch.equal(images, painter.sample(32)[card["numbers"]])
    assert card["rejected"]["near_copies"] >= 1 and card["rejected"]["odd"] >= 1 and card["rejected"]["by_eye"] == 1
    assert sum(card["rejected"].values()) == card["numbers"][-1] + 1 - 8
    plain, card = generation.generate(painter, 8)
    assert torch.equal(plain, painter.sample(8)) and "screening" not in card
    copies = Painter(dict.fromkeys(range(32), faces.train.tensor([7])[0]))
    with pytest.raises(ValueError, match="only 0 of 32 samples passed, 8 were asked for"):
        generation.generate(copies, 8, faces=faces)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        generation.generate(painter, 0)


# -- written and read --------------------------------------------------------------------------------------------------

def test_a_sheet_comes_back_as_faces(faces, tmp_path):
    out = generation.main("painter", Painter(), 32, 0, 0.9, tmp_path / "faces.jpg", faces, (4,), ("celeba:one",))
    card = json.loads((tmp_path / "faces.json").read_text())
    assert card["command"] == ("facelib generate painter --n 32 --seed 0 --spread 0.9 --out faces.jpg --screen celeba:one "
                               "--drop 4")
    assert card["weights"] == {"painter": "abc"} and card["licence"] == "mine"
    read = generated.load(out.parent)
    assert len(read.train) == len(read.val) == len(read.test) == 32 and read.size == (64, 64)
    expected = to_uint8(Painter().sample(128, spread=0.9)[card["numbers"]]).numpy()
    assert np.abs(read.test.images.astype(int) - expected).mean() < 2             # JPEG
    assert read.test.names[:2] == [f"painter/0/{i}" for i in card["numbers"][:2]]
    card["faces"] = 48
    (tmp_path / "faces.json").write_text(json.dumps(card))
    with pytest.raises(ValueError, match="should hold 48 faces, but has 32; make it again with: facelib generate painter"):
        generated.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="no generated faces in .*; make them with: facelib generate"):
        generated.load(tmp_path / "none")


def test_a_sheet_has_the_size_that_its_faces_were_drawn_at(tmp_path):
    generation.main("painter", Painter(size=32), 16, 0, 1.0, tmp_path / "faces.jpg")
    assert generated.load(tmp_path).size == (32, 32)
    oblong = np.random.default_rng(0).integers(0, 256, (32, 3, 24, 16), np.uint8)
    assert np.array_equal(pack.from_sheet(pack.to_sheet(oblong), 24), oblong)


def test_a_folder_gets_one_picture_for_each_face(tmp_path):
    generation.main("painter", Painter(), 3, 0, 1.0, tmp_path / "a" / "b")
    found = sorted((tmp_path / "a" / "b").iterdir())
    assert [p.name for p in found] == ["0000.png", "0001.png", "0002.png"]
    assert (np.asarray(Image.open(found[1])) == to_uint8(Painter().sample(3))[1].permute(1, 2, 0).numpy()).all()
    with pytest.raises(ValueError, match="16 faces in a row, so --n must be a multiple of 16, got 3"):
        generation.main("painter", Painter(), 3, 0, 1.0, tmp_path / "sheet.png")


def test_the_command_draws_faces_of_published_weights(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(pretrained, "load", lambda name: Painter(size=32))
    assert cli.main(["generate", "painter", "--n", "2", "--out", str(tmp_path / "faces")]) == 0
    assert len(list((tmp_path / "faces").glob("*.png"))) == 2 and str(tmp_path / "faces") in capsys.readouterr().out
    monkeypatch.setattr(pretrained, "load", lambda name: object())
    assert cli.main(["generate", "thing", "--out", str(tmp_path / "none")]) == 2
    assert "it has no sample(n)" in capsys.readouterr().err


# -- the sheet that ships ----------------------------------------------------------------------------------------------

@needs_sheet
def test_shipped_faces_are_there_without_any_data(monkeypatch):
    monkeypatch.delenv("FACELIB_DATA", raising=False)
    faces = load_faces("generated")
    assert len(faces.test) == len(faces.train) == 256 and faces.size == (64, 64) and faces.test.attributes is None
    image = faces.test.tensor()
    assert image.min() >= -1 and image.max() <= 1 and image.std((1, 2, 3)).min() > 0.1      # none is blank
    assert len(set(faces.test.names)) == 256
    assert load_faces("generated", size=32).test.images.shape == (256, 3, 32, 32)


@needs_sheet
def test_shipped_faces_agree_with_their_card_and_their_generator():
    card = json.loads((generated.FOLDER / "faces.json").read_text())
    (name, digest), = card["weights"].items()
    assert weights.card(name)["sha256"] == digest, "the sheet was made with other weights: make it again with its command"
    nearest, oddity = card["screening"]["nearest"], card["screening"]["oddity"]
    assert nearest["passed"]["least"] >= nearest["limit"] and oddity["passed"]["greatest"] <= oddity["limit"]
    assert sum(card["rejected"].values()) == card["numbers"][-1] + 1 - 256
    faces = load_faces("generated").test
    with torch.no_grad():
        again = load_pretrained(name).sample(card["drawn"], seed=card["seed"], spread=card["spread"])[card["numbers"]]
    assert (to_uint8(again).int() - torch.from_numpy(faces.images.astype(np.int32))).abs().float().mean() < 3
    assert (generated.FOLDER / "faces.jpg").stat().st_size < 1.5e6


@needs_sheet
def test_shipped_faces_lie_no_nearer_to_one_another_than_strangers_do():
    """No face twice, and no small change of another: the generator did not collapse."""
    judge = load_pretrained("judge_identity")
    with torch.no_grad():
        vectors = nn.functional.normalize(judge.features(load_faces("generated").test.tensor()), dim=1)
    alike = vectors @ vectors.T - 2 * torch.eye(256)
    assert alike.max() < 0.995 and alike.max(1).values.median() < 0.95
