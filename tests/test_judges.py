"""Training the networks that judge: their losses by hand, their schedule, what they refuse."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelib.data import FaceData, Split
from facelib.methods.judges import Judges
from facelib.train import fit

SMALL = replace(Judges.presets["smoke"], steps=6, people=5)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def faces(n=16, attributes=True, identities=True):
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8),
                  rng.integers(0, 2, (n, 40), dtype=np.int8) if attributes else None,
                  rng.integers(0, 5, n) if identities else None)
    return FaceData("noise", split, split, split)


def batch(data):
    return {"image": data.train.tensor(), "attributes": torch.from_numpy(data.train.attributes),
            "identities": torch.from_numpy(data.train.identities)}


def losses_of(cfg, batch):
    """(the method with the gradients of its loss, its log): one step without the optimiser's."""
    method = Judges(cfg).train()
    method.update = lambda loss, *_: loss.backward()
    log = method.step(batch, "supervised")
    return method, {k: v.item() for k, v in log.items()}


def test_the_attribute_loss_ignores_the_unknown():
    """It is the mean over the known alone, whatever the network says of the rest."""
    data, known = batch(faces()), torch.rand(16, 40, generator=torch.Generator().manual_seed(1)) < 0.7
    known[:, 3] = False                                         # an attribute that a data set never tells
    data["image"] = data["image"].mean((2, 3), keepdim=True).repeat(1, 1, 32, 32)      # flat, so that moving changes nothing
    cfg, truth = replace(SMALL, targets=("attributes",)), data["attributes"].double()
    with torch.no_grad():
        p = torch.sigmoid(Judges(cfg).train().net.logits(data["image"]).double())
    errors = -(truth * p.log() + (1 - truth) * (1 - p).log())
    data["attributes"] = torch.where(known, data["attributes"], -1)
    method, log = losses_of(cfg, data)
    assert log["loss"] == log["attributes"] == pytest.approx(errors[known].mean().item(), rel=1e-5)
    bias = method.net.attributes.bias.grad
    assert bias[3] == 0 and bool((bias[[0, 1, 2]] != 0).all())
    data["attributes"] = torch.full_like(data["attributes"], -1)
    assert losses_of(cfg, data)[1]["loss"] == 0


def test_both_targets_are_learnt_together():
    data = batch(faces())
    log = losses_of(SMALL, data)[1]
    assert set(log) == {"loss", "attributes", "identities"}
    assert log["loss"] == pytest.approx(log["attributes"] + 0.1 * log["identities"], rel=1e-6)
    log = losses_of(replace(SMALL, targets=("identities",)), data)[1]
    assert set(log) == {"loss", "identities"} and log["loss"] == log["identities"]


def test_cosface_by_hand():
    """Two directions and three people: cosines 1, 0, -1 to the first face; the true one loses the margin, times the scale."""
    method = Judges(replace(SMALL, people=3, length=2, scale=10.0, margin=0.2))
    method.people.data = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0]])                   # lengths do not matter
    vector = torch.tensor([[5.0, 0.0], [0.0, 0.1], [1.0, 1.0]])
    term = lambda true, *others: math.log(sum(math.exp(v) for v in (true, *others))) - true
    first = term(10 * (1 - 0.2), 0.0, -10.0)
    second = term(10 * (0 - 0.2), 10 * 1.0, 0.0)                                             # taken for the second person
    assert method.identity_loss(vector[:1], torch.tensor([0])).item() == pytest.approx(first, rel=1e-4)
    assert method.identity_loss(vector[:2], torch.tensor([0, 2])).item() == pytest.approx((first + second) / 2, rel=1e-5)
    unknown = method.identity_loss(vector, torch.tensor([0, 2, -1]))
    assert unknown.item() == pytest.approx((first + second) / 2, rel=1e-5)                    # a mean over the known
    assert method.identity_loss(vector, torch.tensor([-1, -1, -1])).item() == 0


def test_the_learning_rate_is_one_cosine_to_zero(tmp_path):
    rates, method = [], Judges(SMALL)
    update = method.update
    method.update = lambda loss, opt: (rates.append(opt.param_groups[0]["lr"]), update(loss, opt))
    fit(method, faces(), tmp_path, quiet=True, precision="no")
    assert rates == pytest.approx([SMALL.lr * (1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)])
    assert rates[0] == SMALL.lr and method.scalars["step"] == 6
    assert SMALL.lr * (1 + math.cos(math.pi * method.scalars["step"] / SMALL.steps)) / 2 == 0


def test_a_moved_face_is_the_face_moved_by_at_most_shift():
    data, method = faces(), Judges(replace(SMALL, shift=2)).train()
    method.update = lambda *_: None
    seen = []
    method.net.features = lambda image: seen.append(image) or torch.zeros(len(image), 16)
    image = batch(data)["image"]
    moves = set()
    for seed in range(30):
        method.generator.manual_seed(seed)
        method.step(batch(data), "supervised")
        moved = seen.pop()
        assert moved.shape == image.shape
        found = [(x, y) for x in range(-2, 3) for y in range(-2, 3)
                 if torch.equal(moved[..., 2:-2, 2:-2], torch.roll(image, (y, x), (2, 3))[..., 2:-2, 2:-2])]
        assert len(found) == 1
        moves.add(found[0])
    assert len(moves) > 8
    padded = F.pad(image, (2, 2, 2, 2), mode="replicate")       # the border is repeated, nothing comes round from the other side
    x, y = found[0]
    assert torch.equal(moved, padded[..., 2 - y:34 - y, 2 - x:34 - x])


@pytest.mark.parametrize(("preset", "targets", "residual"), [
    ("judge_attr", ("attributes",), True), ("judge_identity", ("attributes", "identities"), True),
    ("perceptual", ("attributes", "identities"), False)])
def test_presets_are_named_after_what_they_make(preset, targets, residual):
    cfg = Judges.presets[preset]
    assert (cfg.targets, cfg.residual) == (targets, residual) and cfg.length <= 128 and cfg.people > 10177


def test_what_a_data_set_does_not_tell_cannot_be_learnt(tmp_path):
    for data, message in [
        (faces(attributes=False), "this network learns attributes, and noise has none; use celeba, or other targets"),
        (faces(identities=False), "this network learns identities, and noise has none"),
    ]:
        with pytest.raises(ValueError, match=message):
            fit(Judges(SMALL), data, tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match="identities must be below people = 3, got 4 in noise; raise people in the config"):
        fit(Judges(replace(SMALL, people=3)), faces(), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_verbs_use_the_averaged_network_in_evaluation_mode():
    method, image = Judges(SMALL).train(), faces().train.tensor(slice(0, 4))
    vector, logits = method.features(image), method.logits(image)
    assert vector.shape == (4, 16) and logits.shape == (4, 40) and not vector.requires_grad and method.training
    assert torch.allclose(method.features(image[:1]), vector[:1], atol=1e-6)             # no batch statistics
    assert torch.equal(logits, method.net_ema.eval().logits(image))
