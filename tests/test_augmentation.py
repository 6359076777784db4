"""Recognisers trained on few photographs, the study of what edits bring them, and its committed report."""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelib import recogniser, studies, weights
from facelib.data import ATTRIBUTES, load_faces, synthetic, to_float, to_uint8
from facelib.methods.predictor import Predictor
from facelib.studies import augmentation

RESULTS = Path(__file__).parents[1] / "book" / "results" / "augmentation.json"
REAL = pytest.mark.skipif(not os.environ.get("FACELIB_DATA"), reason="needs real faces: set FACELIB_DATA")
TINY = augmentation.Plan((1, 2), 2, "predictor", (("Smiling", 1.0), ("Bangs", -0.5)), seeds=(0, 1), steps=3)


def noise(*shape, seed=0):
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


@pytest.fixture(scope="module")
def predictor():
    """An untrained one, with two directions to edit along."""
    method = Predictor(Predictor.presets["smoke"]).eval()
    for name in ("Smiling", "Bangs"):
        found = torch.randn(method.layout.length, generator=torch.Generator().manual_seed(1))
        method.directions.found[ATTRIBUTES.index(name)] = found
    method.card = {"sha256": "0123456789abcdef"}
    return method


@pytest.fixture(scope="module")
def people():
    """Three people, four photographs each: one colour a person, and noise."""
    colours = torch.tensor([[200, 60, 60], [60, 200, 60], [60, 60, 200]]).view(3, 1, 3, 1, 1)
    images = (colours + noise(3, 4, 3, 32, 32) // 4).to(torch.uint8).numpy()
    return augmentation.People("made up", images, {})


def test_classical_copies_are_the_same_face_changed_a_little():
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 64)] * 2, indexing="ij")
    image = 0.6 * torch.stack([x * y, x, y * y])[None].expand(64, -1, -1, -1)             # smooth, and not its mirror image
    out = recogniser.classical(image, torch.Generator().manual_seed(0))
    assert out.shape == (64, 3, 32, 32) and out.abs().max() <= 1
    small = recogniser.shrunk(image)
    near = torch.minimum((out - small).abs().mean((1, 2, 3)), (out - small.flip(3)).abs().mean((1, 2, 3)))
    assert 0.01 < near.min() and near.max() < 0.2, "every copy is a little other than the face or its mirror image"
    mirrored = (out - small.flip(3)).abs().mean((1, 2, 3)) < (out - small).abs().mean((1, 2, 3))
    assert 16 < mirrored.sum() < 48
    assert torch.equal(out, recogniser.classical(image, torch.Generator().manual_seed(0)))
    assert recogniser.classical(image, torch.Generator().manual_seed(0), 64).shape == image.shape


def test_a_network_learns_people_and_the_seed_decides(people):
    images, names = people.images.reshape(-1, 3, 32, 32), torch.arange(3).repeat_interleave(4)
    state = torch.get_rng_state()
    learnt = [recogniser.logits(recogniser.learn(images, names, 3, seed, change=recogniser.classical, steps=30), images)
              for seed in (0, 0, 1)]
    assert torch.equal(torch.get_rng_state(), state), "training must not move the caller's random numbers"
    assert (learnt[0].argmax(1) == names).all()
    assert torch.equal(learnt[0], learnt[1]) and not torch.equal(learnt[0], learnt[2])


def test_copies_stand_for_their_photograph(people):
    """Copies that show the next person teach the wrong names: all of them with a share of 1, none with a share of 0."""
    images, names = people.images.reshape(-1, 3, 32, 32), torch.arange(3).repeat_interleave(4)
    copies = np.roll(people.images, 1, 0).reshape(-1, 1, 3, 32, 32)
    for share, shift in ((0.0, 0), (1.0, -1)):
        network = recogniser.learn(images, names, 3, 0, copies, share, steps=30)
        assert (recogniser.logits(network, images).argmax(1) == (names - shift) % 3).all() or share == 1.0
        if share == 1.0:
            assert (recogniser.logits(network, copies[:, 0]).argmax(1) == names).all()


def risk(weight, x, names, extra, share):
    scaled = lambda x: F.pad(recogniser.SCALE * F.normalize(x, dim=-1), (0, 1), value=1.0)
    own = F.cross_entropy(scaled(x) @ weight, names)
    theirs = torch.stack([F.cross_entropy(scaled(extra[:, j]) @ weight, names) for j in range(extra.shape[1])]).mean()
    return (1 - share) * own + share * theirs + recogniser.HEAD_DECAY * weight.square().sum()


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_the_head_minimises_the_risk_of_photographs_and_copies(share):
    generator = torch.Generator().manual_seed(0)
    x, extra = torch.randn(12, 5, generator=generator), torch.randn(12, 2, 5, generator=generator)
    names = torch.arange(3).repeat(4)
    answer = recogniser.head(x, names, 3, extra, share)
    # The weights, read off: the bias from opposite features, the columns from the axes.
    bias = (answer(torch.eye(5)[:1]) + answer(-torch.eye(5)[:1])) / 2
    weight = torch.cat([(answer(torch.eye(5)) - bias) / recogniser.SCALE, bias]).requires_grad_()
    gradient, = torch.autograd.grad(risk(weight, x, names, extra, share), weight)
    assert gradient.abs().max() < 1e-3
    same = recogniser.head(x, names, 3, x[:, None].expand(-1, 4, -1), share)
    assert torch.allclose(same(x), recogniser.head(x, names, 3)(x), atol=0.02), "copies that are the photograph add nothing"


def test_shapes_are_checked():
    images, names = noise(6, 3, 32, 32), torch.arange(3).repeat(2)
    with pytest.raises(ValueError, match=r"copies must have the examples' shape \(6, 3, 32, 32\).*got \(5, 2, 3, 32, 32\)"):
        recogniser.learn(images, names, 3, copies=noise(5, 2, 3, 32, 32))
    with pytest.raises(ValueError, match="a person to each of the 6 examples"):
        recogniser.head(images.flatten(1).float(), names[:4], 3)


def test_edits_are_the_predictors_own(predictor):
    images = noise(5, 3, 32, 32)
    found = augmentation.edited(predictor, images, TINY.edits)
    for edits, details in zip(found, (True, False), strict=False):
        for i, (attribute, amount) in enumerate(TINY.edits):
            truth = to_uint8(predictor.edit(to_float(images), attribute, amount, details=details))
            assert np.abs(edits[:, i].astype(int) - truth.numpy().astype(int)).max() <= 1
    assert found[0].shape == (5, 2, 3, 32, 32) and found[2].shape == (5,)


def test_what_copies_teach_is_told_by_where_they_move():
    """Photographs of a person differ along axes 0 to 7, people along 8 to 15 of a space of 40."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    base = torch.zeros(200, 6, 40)
    base[..., 39] = 30.0                                                # a constant, so that the length is hardly changed
    base[..., 8:16] += draw(200, 1, 8)
    photographs = base.clone()
    photographs[..., :8] += draw(200, 6, 8)
    for axes, expected in ((slice(0, 8), (1, 0)), (slice(8, 16), (0, 1)), (slice(20, 28), (0, 0))):
        copies = photographs[:, :, None].repeat(1, 1, 3, 1)
        copies[..., axes] += 2**0.5 * draw(200, 6, 3, 8)
        size, *shares = augmentation.spread(photographs, copies)
        assert size == pytest.approx(1, abs=0.05), "as far as two photographs of one person"
        assert shares == pytest.approx(expected, abs=0.1)


def test_intervals_are_over_seeds_and_people():
    draws = augmentation.resamples(5, 30)
    assert draws.shape == (augmentation.RESAMPLES, 150) and np.allclose(draws.sum(1), 1)
    width = lambda values: np.ptp(np.percentile(draws @ values.ravel(), (2.5, 97.5)))
    rng = np.random.default_rng(1)
    of_seeds, of_people = np.repeat(rng.normal(size=(5, 1)), 30, 1), np.repeat(rng.normal(size=(1, 30)), 5, 0)
    assert width(np.full((5, 30), 0.3)) < 1e-12
    for values, n in ((of_seeds, 5), (of_people, 30)):
        assert width(values) == pytest.approx(2 * 1.96 * values.std() / n**0.5, rel=0.15)
    assert width(of_seeds + of_people) > max(width(of_seeds), width(of_people))


def test_every_seed_draws_anew_and_never_asks_for_what_was_learnt(people, monkeypatch):
    order = [augmentation.drawn(people, TINY, seed) for seed in (0, 1)]
    assert all((np.sort(each, 1) == np.arange(4)).all() for each in order) and (order[0] != order[1]).any()
    learnt, asked = [], []

    def head(features, names, count, copies):
        learnt.append(features)
        return lambda features: asked.append(features) or features @ torch.zeros(1, count)

    monkeypatch.setattr(recogniser, "head", head)
    numbered = torch.arange(12.0).view(3, 4, 1)
    for k in TINY.shots:
        augmentation.accuracies(people, TINY, None, {"": numbered}, "transfer", k, 0)
        assert learnt[-1].shape == (3 * k, 1) and asked[-1].shape == (3, TINY.held_out, 1)
        assert not set(learnt[-1].flatten().tolist()) & set(asked[-1].flatten().tolist())
        assert (learnt[-1].view(3, k) // 4 == torch.arange(3)[:, None]).all(), "each person's own"
    assert set(learnt[0].flatten().tolist()) < set(learnt[1].flatten().tolist()), "more photographs are the same and others"


def test_rendered_people_keep_their_factors(monkeypatch, tmp_path):
    seen = []

    def render(factors, size):
        seen.append(factors)
        return torch.zeros(len(factors["yaw"]), 3, size, size) + factors["smile"].view(-1, 1, 1, 1) / 2

    monkeypatch.setattr(synthetic, "render", render)
    plan = replace(augmentation.RENDERED, people=3)
    found = augmentation.rendered(plan, tmp_path)
    each = max(plan.shots) + plan.held_out
    first = {name: value.unflatten(0, (3, each)) for name, value in seen[0].items()}
    assert set(augmentation.OCCASION) <= set(synthetic.FACTORS)
    for name, value in first.items():
        assert (value == value[:, :1]).all() != (name in augmentation.OCCASION), name
    assert found.images.shape == (3, each, 3, 64, 64) and found.truths["true edits"].shape == (3, each, 4, 3, 64, 64)
    for changed, factors in zip([*map(augmentation.TRUE.get, plan.edits), *augmentation.TURNED], seen[1:], strict=True):
        assert {name for name in factors if not torch.equal(factors[name], seen[0][name])} <= set(changed)
        assert all((factors[name] == value).all() for name, value in changed.items())
    assert (found.truths["true edits"][:, :, 0] == to_uint8(torch.tensor(0.5)).item()).all(), "a smile of 1"
    again = augmentation.rendered(plan, tmp_path)
    assert len(seen) == 9 and (again.images == found.images).all(), "what is there is not rendered again"


@pytest.fixture
def ours(monkeypatch, predictor):
    """Studies edit with the untrained predictor."""
    monkeypatch.setattr(augmentation, "load_pretrained", lambda name: predictor)
    card = weights.card
    monkeypatch.setattr(weights, "card", lambda name: predictor.card if name.startswith("predictor") else card(name))


def test_an_experiment_measures_every_arm_and_goes_on_where_it_stopped(people, ours, tmp_path, monkeypatch):
    part = augmentation.experiment(people, TINY, tmp_path)
    known = [arm for arm, (_, kind) in augmentation.ARMS.items() if kind not in ("true edits", "turned")]
    assert list(part["arms"]) == known and part["chance"] == 1 / 3
    for row in part["arms"].values():
        for k in ("1", "2"):
            assert 0 <= row[k]["low"] <= row[k]["mean"] <= row[k]["high"] <= 1 and len(row[k]["by_seed"]) == 2
    assert part["arms"]["transfer"]["2"]["mean"] > 0.6, "colours are easy"
    for pair, row in part["differences"].items():
        a, b = pair.split(" - ")
        assert row["2"]["mean"] == pytest.approx(part["arms"][a]["2"]["mean"] - part["arms"][b]["2"]["mean"])
    assert set(part["copies"]) == {"edits", "strong edits", "regenerated", "classical"}
    assert part["another_photograph"][0] == pytest.approx(1, abs=0.3), "the yardstick of sizes"
    figures = part["copies"]["edits"]
    assert len(figures["named"]) == 2 and figures["identity"]["stranger"] > figures["identity"]["same"]
    monkeypatch.setattr(recogniser, "learn", None)                      # nothing is trained any more
    monkeypatch.setattr(augmentation, "edited", None)
    assert augmentation.experiment(people, TINY, tmp_path) == part
    with pytest.raises(ValueError, match="holds the results of another plan"):
        augmentation.experiment(people, replace(TINY, steps=4), tmp_path)


def test_the_best_half_are_the_faces_that_the_generator_knows():
    closeness = np.array([[20.0, 10.0], [30.0, 5.0]])
    photographs, copies = torch.zeros(2, 2, 7), torch.ones(2, 2, 3, 7)
    found = augmentation.best_half(closeness, photographs, copies)
    assert found.shape == copies.shape and found.mean((2, 3)).tolist() == [[1, 0], [1, 0]]


def coloured(factors, size):
    """In place of the renderer: the colour of the hair, a little of that of the wall, brighter with a smile."""
    colour = 1.4 * factors["hair_rgb"] + 0.3 * factors["background_rgb"] + 0.2 * factors["smile"] - 0.9
    return colour[:, :, None, None].expand(-1, -1, 32, 32)


def test_the_study_is_a_command(ours, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(synthetic, "render", coloured)
    monkeypatch.setattr(augmentation, "QUICK", replace(TINY, people=3))
    monkeypatch.setattr(augmentation, "TRUE", dict.fromkeys(TINY.edits, {"smile": 1.0}))
    report = studies.run("augmentation", out=str(tmp_path / "r.json"), runs=str(tmp_path / "runs"), quick=True)
    assert json.loads((tmp_path / "r.json").read_text())["rendered"]["people"] == 3 and "photographs" not in report
    assert "classical + turned" in capsys.readouterr().out
    with pytest.raises(ValueError, match="study must be one of .*glcic.*augmentation"):
        studies.run("edits")


def test_without_photographs_it_says_what_it_needs(monkeypatch):
    monkeypatch.delenv("FACELIB_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match="needs photographs with identities: CelebA's folder celeba160.*--quick"):
        augmentation.photographs(augmentation.PHOTOGRAPHS)


def test_the_report_was_made_with_this_code_and_the_weights_that_ship():
    report = json.loads(RESULTS.read_text())
    for weight, digest in report["weights"].items():
        assert weights.card(weight)["sha256"] == digest, f"augmentation.json was made with other weights of {weight}"
    for key, plan in (("photographs", augmentation.PHOTOGRAPHS), ("rendered", augmentation.RENDERED)):
        part, truths = report[key], ("true edits", "turned")
        assert part["plan"] == json.loads(json.dumps(augmentation.asdict(plan)))
        assert list(part["arms"]) == [arm for arm, (_, kind) in augmentation.ARMS.items()
                                      if key == "rendered" or kind not in truths]
        assert part["arms"]["transfer"][str(max(plan.shots))]["low"] > 3 * part["chance"], "the task can be learnt"
    assert "base64" not in RESULTS.read_text() and RESULTS.stat().st_size < 200_000, "figures only: no picture of anybody"


@REAL
def test_nobody_in_the_study_was_seen_before():
    photographs = augmentation.photographs(augmentation.PHOTOGRAPHS)
    assert photographs.images.shape == (80, 15, 3, 64, 64)
    seen = set()
    for name, split in (("celeba160", "train"), ("celeba64", "train"), ("celeba64", "val")):
        seen |= set(getattr(load_faces("celeba", root=name, size=64), split).identities.tolist()) - {-1}
    faces = load_faces("celeba", root="celeba160", size=64)
    for split in (faces.val, faces.test):
        assert not seen & set(split.identities.tolist())


@REAL
def test_a_slice_of_the_study_comes_out_again(tmp_path):
    """Two seeds, five photographs of each person: as the report says, and inside its intervals."""
    then = json.loads(RESULTS.read_text())["photographs"]
    plan = replace(augmentation.PHOTOGRAPHS, shots=(5,), seeds=(0, 1))
    people = augmentation.photographs(augmentation.PHOTOGRAPHS)
    now = augmentation.experiment(people, plan, tmp_path, ("classical", "classical + edits", "transfer", "transfer + edits"))
    for arm, row in now["arms"].items():
        old, tolerance = then["arms"][arm]["5"], 0.02 if arm.startswith("transfer") else 0.05     # networks round otherwise
        assert row["5"]["by_seed"] == pytest.approx(old["by_seed"][:2], abs=tolerance), arm
        assert old["low"] <= row["5"]["mean"] <= old["high"], arm
    for pair, row in now["differences"].items():
        assert then["differences"][pair]["5"]["low"] <= row["5"]["mean"] <= then["differences"][pair]["5"]["high"], pair
    assert now["copies"]["edits"]["identity"]["copy"] == pytest.approx(then["copies"]["edits"]["identity"]["copy"], rel=0.02)
