"""The report on editing: a world whose edits are exact, an untrained predictor recomputed, the truth that the renderer shows."""

import json

import numpy as np
import pytest
import torch
from test_upscaling import SmallJudge
from torch import nn

from facelib import load_faces, metrics, pretrained
from facelib.data import FaceData, Split, synthetic
from facelib.data.faces import ATTRIBUTES, to_uint8
from facelib.evaluate import editing, recovery, truth
from facelib.latents import Layout
from facelib.methods.predictor import Predictor

SIZE = 64


class PixelJudge(nn.Module):
    """Reads attribute i off the red of pixel (0, i), and who it is off the green of the upper rows."""

    card = {"sha256": "pixels"}

    def logits(self, images):
        return 4 * images[:, 0, 0, :40]

    def features(self, images):
        return images[:, 1, :8].flatten(1)


class World(nn.Module):
    """Its latents are the pixels; an attribute leads half a pixel's range up in its pixel, and nowhere else."""

    def __init__(self, attributes=("Smiling", "Bangs")):
        super().__init__()
        self.layout, self.attributes, self.weight = Layout(3 * SIZE * SIZE), list(attributes), nn.Parameter(torch.zeros(1))

    def encode(self, image):
        return {"z": image.flatten(1)}

    def generate(self, vector):
        return vector.unflatten(1, (3, SIZE, SIZE))

    def move(self, vector, attribute, amount):
        vector = vector.clone()
        vector[:, ATTRIBUTES.index(attribute)] += 0.5 * amount
        return vector

    def edit(self, image, attribute, amount=1.0, steps=0, details=True):
        return self.generate(self.move(image.flatten(1), attribute, amount))

    def between(self, first, second, n=8, steps=0):
        share = torch.linspace(0, 1, n).view(-1, 1, 1, 1)
        return first * (1 - share) + second * share


@pytest.fixture
def world(monkeypatch):
    """Ten faces of which even ones smile, none has bangs, and pixels are at plus or minus 0.75."""
    monkeypatch.setattr(pretrained, "load_pretrained", lambda name, device="cpu": PixelJudge())
    images = torch.rand(10, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0)) - 0.5
    images[:, 0, 0, :40] = -0.75
    images[::2, 0, 0, ATTRIBUTES.index("Smiling")] = 0.75
    split = Split(to_uint8(images).numpy())
    return FaceData("made up", split, split, split)


def test_an_exact_edit_crosses_and_changes_nothing_else(world):
    """0.75 is half crossed by 1 and crossed by 2; a push of that length at random goes nowhere in 12,288 dimensions."""
    report = editing.evaluate(World(), world, n=10, quiet=True)
    assert [(row["method"], row["amount"], row["details"]) for row in report["edits"][:7]] == [
        *(("Smiling", amount, details) for details in (True, False) for amount in (1.0, 2.0, 3.0)), ("Bangs", 1.0, True)]
    for row in report["edits"]:
        assert row["crossed"]["mean"] == (row["amount"] > 1) and row["added"] == row["crossed"]["mean"]
        assert row["removed"] == (None if row["method"] == "Bangs" else row["added"])
        assert row["before"]["mean"] == pytest.approx(1 / (1 + np.exp(3)), abs=0.002)
        end = min(0.5 * row["amount"] - 0.75, 1)
        assert row["after"]["mean"] == pytest.approx(1 / (1 + np.exp(-4 * end)), abs=0.01)
        assert row["identity"]["mean"] == pytest.approx(0, abs=1e-5) and row["unintended"]["mean"] == 0
        astray = row["random"]
        assert astray["crossed"]["mean"] == astray["unintended"]["mean"] == 0
        assert astray["after"]["mean"] == pytest.approx(row["before"]["mean"], abs=0.01) and 1e-7 < astray["identity"]["mean"]
    for row in report["reconstruction"]:
        assert row["after"] == row["before"] and row["crossed"]["mean"] == row["unintended"]["mean"] == 0


def test_the_way_between_two_faces_in_a_world_of_pixels_is_a_fade(world):
    way = editing.evaluate(World(), world, n=4, quiet=True)["between"]
    assert way["pairs"] == 4 and way["share"][0] == 0 and way["share"][-1] == 1
    assert way["way"]["first"] == pytest.approx(way["faded"]["first"], abs=1e-5)
    assert way["way"]["first"][0] == pytest.approx(0, abs=1e-5) and way["way"]["second"][-1] == pytest.approx(0, abs=1e-5)
    assert sorted(way["way"]["first"]) == way["way"]["first"] and way["way"]["first"][-1] > 0.5


def test_unintended_answers_and_intervals_by_hand():
    before = {"logits": -torch.ones(4, 40), "identity": torch.eye(4)}
    after = {"logits": -torch.ones(4, 40), "identity": torch.eye(4).roll(1, 0)}
    place = ATTRIBUTES.index("Male")
    before["logits"][0, place] = 1
    after["logits"][1:3, place] = 1                                     # one was removed, two of three were added
    after["logits"][3, :3] = 1                                          # three others came along
    found = editing.compare(before, after, "Male")
    assert found["crossed"]["mean"] == 0.75 and found["added"] == pytest.approx(2 / 3) and found["removed"] == 1
    assert found["unintended"]["mean"] == pytest.approx(3 / 39 / 4) and found["identity"]["mean"] == 1
    assert found["crossed"]["low"] == 0.25 and found["crossed"]["high"] == 1
    sure = 1 / (1 + np.exp(-1))
    assert found["before"]["mean"] == pytest.approx(1 - sure) and found["after"]["mean"] == pytest.approx(0.5 + sure / 2 - 0.25)


@pytest.fixture(scope="module")
def small():
    """An untrained predictor of 32-pixel faces; three attributes have directions."""
    method = Predictor(Predictor.presets["smoke"], seed=1).eval()
    for name in ("Smiling", "Eyeglasses", "Blurry"):
        method.directions.found[ATTRIBUTES.index(name)] = torch.randn(method.layout.length,
                                                                      generator=torch.Generator().manual_seed(len(name)))
    return method


def test_codes_are_measured_from_end_to_end(small):
    judges = [SmallJudge(0), SmallJudge(1)]
    vector = small.draw_latents(5, seed=3)
    rows = {row["method"]: row for row in editing.codes(small, judges, vector)}
    assert list(rows) == ["z, at random", *small.layout.codes]
    low, high = (small.generate(small.layout.set(vector, "c_cont1", value)) for value in (-1, 1))
    assert rows["c_cont1"]["moves"]["mean"] == pytest.approx(
        127.5 * (high - low).square().flatten(1).mean(1).sqrt().mean().item(), rel=1e-4)
    seen = [editing.look(judges, image) for image in (low, high)]
    change = (seen[1]["logits"].sigmoid() - seen[0]["logits"].sigmoid()).mean(0)
    first = rows["c_cont1"]["attributes"][0]
    assert first["attribute"] == ATTRIBUTES[change.abs().argmax()]
    assert first["change"]["mean"] == pytest.approx(change[change.abs().argmax()].item(), rel=1e-3)
    faces = torch.stack([small.generate(small.layout.set(vector, "c_cat0", k)) for k in range(10)])
    pairs = [(faces[a] - faces[b]).square().flatten(1).mean(1) for a in range(10) for b in range(a)]
    assert rows["c_cat0"]["moves"]["mean"] == pytest.approx(127.5 * torch.stack(pairs).mean(0).sqrt().mean().item(), rel=1e-4)
    assert all(0 <= one["class"] < 10 for one in rows["c_cat0"]["attributes"])


def test_a_push_astray_is_as_long(small):
    image = load_faces(size=32).test.tensor(slice(0, 3))
    vector = small.layout.join(small.encode(image))
    lengths = []
    small.generate, generate = (lambda moved: (lengths.append((moved - vector).norm(dim=1)), generate(moved))[1]), small.generate
    try:
        editing.strayed(small, image, "Smiling", torch.tensor([2.0, -2.0, 2.0]), details=False)
    finally:
        small.generate = generate
    length = 2 * small.directions.found[ATTRIBUTES.index("Smiling")].norm().item()
    assert lengths[0].tolist() == pytest.approx([length] * 3, rel=1e-4)


def test_editing_goes_with_the_sign_of_each_amount(small):
    image = load_faces(size=32).test.tensor(slice(0, 3))
    made = editing.edited(small, image, "Smiling", torch.tensor([2.0, -2.0, 2.0]))
    assert torch.allclose(made[1:2], small.edit(image[1:2], "Smiling", -2.0), atol=1e-5)
    assert torch.allclose(made[::2], small.edit(image[::2], "Smiling", 2.0), atol=1e-5)


# ------------------------------------------------------------------------------------------------ the truth

def test_one_factor_turns_over_and_the_others_stay():
    faces = load_faces(size=32)
    factors = {name: torch.from_numpy(np.array(value[:40])).float() for name, value in faces.test.factors.items()}
    for attribute, behind in truth.BEHIND.items():
        turned, keep = truth.changed(factors, faces.test.attributes[:40], faces.train, attribute)
        place = ATTRIBUTES.index(attribute)
        assert len(keep) >= 10, attribute
        assert (synthetic.attributes(turned)[:, place] == 1 - faces.test.attributes[keep, place]).all(), attribute
        changed = {name for name in factors if not torch.equal(turned[name], factors[name][keep])}
        assert changed and changed <= set(behind)


def test_error_against_the_truth_by_hand():
    """Halfway to the goal the squared error is a quarter, and the way is right; the other way it is larger than 1."""
    generator = torch.Generator().manual_seed(0)
    image, change = torch.rand(5, 3, 16, 16, generator=generator) - 0.5, torch.rand(5, 3, 16, 16, generator=generator) * 0.4
    goal = image + change
    half = truth.compare(image + change / 2, image, goal)
    assert half["ratio"]["mean"] == pytest.approx(0.25, rel=1e-4) and half["cosine"]["mean"] == pytest.approx(1)
    assert half["psnr"]["mean"] == pytest.approx(metrics.psnr(image, goal).mean().item() + 20 * np.log10(2), rel=1e-4)
    wrong = truth.compare(image - change / 2, image, goal)
    assert wrong["ratio"]["mean"] == pytest.approx(2.25, rel=1e-4) and wrong["cosine"]["mean"] == pytest.approx(-1)
    told = truth.ratio(np.array([1.0, 3.0, 2.0]), np.array([2.0, 2.0, 4.0]))
    assert told["mean"] == 0.75 and told["low"] == 0.5 and told["high"] == 1.5          # three times the same face


def test_the_renderer_itself_edits_without_error(monkeypatch):
    monkeypatch.setattr(truth, "BEHIND", {"Eyeglasses": ("glasses",), "Blurry": ("yaw",)})
    faces, goals = load_faces(size=32), []

    def render(factors, size, real=truth.render):
        goals.append(real(factors, size))
        return goals[-1]

    monkeypatch.setattr(truth, "render", render)
    rows = truth.edits(World(["Eyeglasses"]), faces, 4, lambda method, image, attribute, amount: goals[-1],
                       lambda method, image, attribute, amount: image)
    assert [row["amount"] for row in rows] == list(truth.AMOUNTS) and {row["method"] for row in rows} == {"Eyeglasses"}
    for row in rows:
        assert row["ratio"]["mean"] == 0 and row["cosine"]["mean"] == pytest.approx(1)
        assert row["random"]["ratio"]["mean"] == 1 and row["random"]["psnr"] == row["unedited"] and row["faces"] == 4
    seen = goals[0] - faces.test.tensor(slice(0, 4))
    assert seen.abs().mean() < 0.05, "the first faces, rendered again, are those of the pack"


class Oracle(World):
    """Its latents are the factors themselves, handed out in the order in which the faces are asked for."""

    def __init__(self, factors):
        super().__init__()
        self.layout, self.factors = Layout(factors.shape[1]), factors

    def encode(self, image):
        found, self.factors = self.factors[:len(image)], self.factors[len(image):]
        return {"z": found}

    def move(self, vector, attribute, amount):
        return vector + amount * nn.functional.one_hot(torch.tensor(len(attribute)), vector.shape[1])

    def draw_latents(self, n, seed=0, spread=1.0):
        return self.layout.draw(n, torch.Generator().manual_seed(seed))


def test_latents_that_are_the_factors_come_first(monkeypatch):
    monkeypatch.setattr(truth, "FACTORS", ("skin", "hair_rgb", "yaw", "age", "exposure", "masculine", "face_width", "smile"))
    faces = load_faces(size=32)
    faces = FaceData("rendered", faces.train.take(slice(0, 100)), faces.val.take(slice(0, 100)), faces.test.take(slice(0, 150)))
    factors = np.stack([np.concatenate([split.factors[name].astype(np.float32).mean(1) for split in (faces.val, faces.test)])
                        for name in truth.FACTORS], 1)
    rows = {row["method"]: row for row in truth.disentanglement(Oracle(torch.from_numpy(factors)), faces)}
    for key in ("mig", "disentanglement", "completeness", "informativeness"):
        ranked = sorted(rows, key=lambda name, key=key: rows[name][key])
        assert ranked[-1] in ("noise", "noise and codes") and rows["noise"][key] == rows["noise and codes"][key]
    assert rows["noise"]["disentanglement"] > 0.9 and rows["noise"]["mig"] > 0.5
    assert rows["drawn at random"]["mig"] < 0.05 and rows["drawn at random"]["informativeness"] < 0.1
    assert rows["drawn at random"]["informativeness"] < rows["components of pixels"]["informativeness"]
    assert "codes" not in rows and rows["attribute directions"]["latents"] == 2


def test_components_of_pixels_are_principal():
    """Of faces that vary along two pictures, two components tell all; against numpy's SVD."""
    generator = torch.Generator().manual_seed(0)
    pictures, weights = torch.randn(2, 3, 8, 8, generator=generator), torch.randn(30, 2, generator=generator)
    images = torch.einsum("np,pchw->nchw", weights * torch.tensor([3.0, 1.0]), pictures)
    found = truth.principal(images, images, 2)
    rows = (images - images.mean(0)).flatten(1).numpy()
    values, vectors = np.linalg.svd(rows)[1:]
    assert np.abs(found.numpy()) == pytest.approx(np.abs(rows @ vectors[:2].T), rel=1e-2, abs=1e-2)
    assert found.var(0).sum().item() == pytest.approx(rows.var(0, ddof=1).sum(), rel=1e-3)


# ------------------------------------------------------------------------------------------------ the report

def test_report_and_table(small, tmp_path, monkeypatch, capsys):
    """Of an untrained predictor of rendered faces: all sections, the same for the same seed, and its origin."""
    judges = {"judge_attr": SmallJudge(0), "judge_identity": SmallJudge(1)}
    monkeypatch.setattr(pretrained, "load_pretrained", lambda name, device="cpu": judges[name])
    monkeypatch.setattr(pretrained, "load", lambda name: small)
    monkeypatch.setattr(truth, "FACES", 3)
    monkeypatch.setattr(truth, "BEHIND", {"Eyeglasses": ("glasses",)})
    monkeypatch.setattr(truth, "FACTORS", ("skin", "age"))
    faces = load_faces(size=32)
    faces = FaceData("synthetic", faces.train.take(slice(0, 200)), faces.val.take(slice(0, 40)), faces.test.take(slice(0, 40)))
    monkeypatch.setattr(editing, "load_faces", lambda name, **settings: faces)
    report = editing.main("small", n=5, seed=2, out=tmp_path / "r.json")
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["command"] == "facelib evaluate --edits small --data synthetic --n 5 --seed 2"
    assert {row["method"] for row in written["edits"]} == {"Smiling", "Eyeglasses"} and len(written["edits"]) == 12
    assert len(written["truth"]) == 4 and written["test_faces"] == 5 and len(written["disentanglement"]) == 6
    assert written["weights"] == {"judge_attr": "judge 0", "judge_identity": "judge 1"}
    text = (tmp_path / "r.md").read_text()
    assert text == editing.table(written) + "\n" and "- c_cont0: " in text and "Against the true edit" in text
    assert "z, at random" in capsys.readouterr().out
    again = editing.evaluate(small, faces, n=5, seed=2, quiet=True)
    assert {key: again[key] for key in again if key != "command"} == {key: report[key] for key in report if key != "command"}
    row, image = written["edits"][1], faces.test.tensor(slice(0, 5))
    before = editing.look(list(judges.values()), image)
    had = before["logits"][:, ATTRIBUTES.index("Smiling")] > 0
    made = torch.cat([small.edit(one[None], "Smiling", -2.0 if there else 2.0) for one, there in zip(image, had, strict=True)])
    apart = metrics.identity_distance(recovery.identity(judges["judge_identity"], made), before["identity"])
    assert row["amount"] == 2 and row["identity"]["mean"] == pytest.approx(apart.mean().item(), rel=1e-3)


def test_what_cannot_be_edited_is_refused(world):
    with pytest.raises(ValueError, match="2 faces or more and attributes out of Smiling, .*gives 1 faces"):
        editing.evaluate(World(), world, n=1, quiet=True)
    with pytest.raises(ValueError, match="the method knows Blurry"):
        editing.evaluate(World(["Blurry"]), world, n=4, quiet=True)
