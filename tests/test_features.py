"""The networks that look at faces, the perceptual loss, and published weights with their cards."""

import hashlib
import json
from types import SimpleNamespace
from urllib.error import URLError

import pytest
import torch
import torch.nn.functional as F
from torchvision import models

from facelib import features, weights
from facelib.features import FeatureNetwork, PerceptualLoss, at_size_of


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of published weights with a small network in it, in place of the package's own."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    torch.manual_seed(0)
    network = FeatureNetwork(width=4, length=8, residual=False)
    for module in network.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    about = {"method": "judges", "config": {"width": 4, "length": 8, "residual": False}, "data": "noise"}
    weights.write("perceptual", network.state_dict(), about, tmp_path)
    return tmp_path


def face(n=2, size=32, seed=0):
    return torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize("residual", [True, False])
def test_shapes(residual):
    network = FeatureNetwork(8, 16, residual).eval()
    for h, w in ((64, 64), (48, 32)):
        image = torch.zeros(2, 3, h, w)
        assert [tuple(m.shape) for m in network.maps(image)] == [
            (2, 8, h // 2, w // 2), (2, 16, h // 4, w // 4), (2, 32, h // 8, w // 8), (2, 48, h // 16, w // 16)]
        assert network.features(image).shape == (2, 16) and network.logits(image).shape == (2, 40)


def test_residual_blocks_pass_their_input_on():
    block = features.Residual(4).eval()
    for parameter in block.parameters():
        parameter.data.zero_()
    x = torch.randn(1, 4, 8, 8)
    assert torch.equal(block(x), x.clamp(min=0))


# -- the perceptual loss -----------------------------------------------------------------------------------------------

def test_perceptual_loss_is_zero_for_equal_faces_and_grows_with_the_difference():
    torch.manual_seed(0)
    loss, image, noise = PerceptualLoss(FeatureNetwork(4, 8).eval().maps), face() * 0.5, face(seed=1)
    distances = [loss(image + share * noise, image).item() for share in (0, 0.05, 0.15, 0.5)]
    assert distances[0] == 0 and distances == sorted(set(distances))
    assert loss(noise, image).item() == pytest.approx(loss(image, noise).item())


def test_perceptual_loss_by_hand():
    """Two maps: one scaled (no distance, since every pixel's vector has unit length), one turned by a right angle."""
    a = [torch.tensor([3.0, 4.0]).view(1, 2, 1, 1), torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)]
    b = [torch.tensor([6.0, 8.0]).view(1, 2, 1, 1), torch.tensor([0.0, 5.0]).view(1, 2, 1, 1)]
    first, second = torch.zeros(1, 3, 64, 64), torch.ones(1, 3, 64, 64)
    loss = PerceptualLoss(maps=lambda image: b if image.any() else a)
    assert loss(first, second).item() == pytest.approx(0 + 2)


def test_smaller_faces_are_enlarged_to_what_the_network_knows():
    seen = []
    loss = PerceptualLoss(maps=lambda image: (seen.append(image), [image])[1])
    small = [torch.rand(2, 3, 32, 32) for _ in range(2)]
    loss(*small)
    assert all(torch.equal(a, F.interpolate(b, size=64, mode="bilinear")) for a, b in zip(seen, small, strict=True))


def test_a_network_sees_every_face_at_its_own_size():
    network, large = FeatureNetwork(4, 8).eval(), torch.rand(2, 3, 128, 128)
    network.size = 64
    assert torch.equal(at_size_of(network, large), F.interpolate(large, size=64, mode="bilinear", antialias=True))
    known = torch.rand(1, 3, 64, 64)
    assert at_size_of(network, known) is known
    assert at_size_of(object(), large) is large, "who names no size takes any"


def test_gradients_reach_the_face_and_not_the_network(shelf):
    loss, pred = PerceptualLoss(), face().requires_grad_()
    loss(pred, face(seed=1)).backward()
    assert pred.grad.abs().sum() > 0 and pred.grad.isfinite().all()
    assert not any(p.requires_grad or p.grad is not None for p in loss.parameters())


def test_a_dark_map_has_a_finite_gradient():
    """Where rectifiers give nothing at all, the length is zero and must not be divided by."""
    network, pred = FeatureNetwork(4, 8, residual=False).eval(), face().requires_grad_()
    network.stages[-1][-1][1].bias.data.fill_(-100)
    value = PerceptualLoss(network.maps)(pred, face(seed=1))
    value.backward()
    assert value.isfinite() and pred.grad.isfinite().all()


def test_training_mode_never_reaches_the_frozen_network(shelf):
    """A method holds the loss as an attribute, and `fit` puts the whole method into training mode."""
    holder = torch.nn.Module()
    holder.loss = PerceptualLoss()
    before, expected = {k: v.clone() for k, v in holder.state_dict().items()}, holder.loss(face(), face(seed=1))
    holder.train()
    assert torch.equal(holder.loss(face(), face(seed=1)), expected)
    assert all(torch.equal(v, before[k]) for k, v in holder.state_dict().items())


def test_vgg_offline_says_what_to_do(monkeypatch):
    def refuse(*_, **__):
        raise URLError("Name or service not known")
    monkeypatch.setattr(models._api, "load_state_dict_from_url", refuse)
    for depth in (16, 19):
        said = (rf"the weights of VGG{depth} could not be downloaded \(.*Name or service not known.*\); go online once .*, or "
                r"use the bundled network: PerceptualLoss\(\)")
        with pytest.raises(RuntimeError, match=said), torch.device("meta"):        # 140 million numbers need not be made
            features.vgg(depth)
    with pytest.raises(ValueError, match="depth must be 16 or 19, got 11"):
        features.vgg(11)


def test_vgg_gives_the_maps_before_its_five_poolings(monkeypatch):
    layers = torch.nn.Sequential(*(layer for inner, outer in ((3, 2), (2, 2), (2, 3), (3, 3), (3, 4)) for layer in (
        torch.nn.Conv2d(inner, outer, 3, padding=1), torch.nn.ReLU(inplace=True), torch.nn.MaxPool2d(2))))
    monkeypatch.setattr(models, "vgg16", lambda weights: SimpleNamespace(features=layers))
    found = features.vgg(16)(face())
    assert [tuple(m.shape[1:]) for m in found] == [(2, 32, 32), (2, 16, 16), (3, 8, 8), (3, 4, 4), (4, 2, 2)]
    assert all(m.min() >= 0 for m in found)
    # ImageNet's normalisation of [0, 1] images: mean grey of red is 0.485, one deviation 0.229.
    image = torch.tensor([0.485 + 0.229, 0.456, 0.406]).view(1, 3, 1, 1).expand(1, 3, 4, 4) * 2 - 1
    expected = torch.nn.functional.relu(layers[0](torch.tensor([1.0, 0, 0]).view(1, 3, 1, 1).expand(1, 3, 4, 4)))
    assert torch.allclose(features.vgg(16)(image.repeat(1, 1, 8, 8))[0][..., 8:12, 8:12].mean((2, 3)),
                          expected[..., 1:3, 1:3].mean((2, 3)), atol=1e-5)


# -- published weights -------------------------------------------------------------------------------------------------

def test_load_gives_a_frozen_network_with_its_card(shelf):
    network = features.load("perceptual")
    assert not network.training and not any(p.requires_grad for p in network.parameters())
    assert network.card["data"] == "noise" and network.card["name"] == "perceptual"
    assert network.features(face()).dtype == torch.float32
    with pytest.raises(ValueError, match="feature network must be one of judge_attr, judge_identity, perceptual, got 'vgg'"):
        features.load("vgg")
    with pytest.raises(ValueError, match="no weights called 'judge_attr' come with this version; there are: perceptual"):
        features.load("judge_attr")


def test_matrices_are_kept_as_int8_with_a_scale_for_each_channel(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    generator = torch.Generator().manual_seed(0)
    tensors = {"w": torch.randn(64, 16, 3, 3, generator=generator) * torch.logspace(-4, 2, 64).view(-1, 1, 1, 1),
               "bias": torch.randn(64, generator=generator), "steps": torch.tensor(7), "none": torch.zeros(0, 5),
               "strided": torch.randn(4, 6, generator=generator).t(), "zero": torch.zeros(3, 5), "alone": torch.tensor(0.3)}
    tensors["zero"][1, 2] = -1e-9                                     # less than the least scale
    kept = weights.packed(tensors)
    assert {k: v.dtype for k, v in kept.items()} == {
        "w": torch.int8, "w:scale": torch.float16, "bias": torch.float16, "steps": torch.int64, "none": torch.int8,
        "none:scale": torch.float16, "strided": torch.int8, "strided:scale": torch.float16, "zero": torch.int8,
        "zero:scale": torch.float16, "alone": torch.float16}
    assert kept["w:scale"].shape == (64,) and kept["strided"].shape == (6, 4)
    assert (kept["w"].int().abs().amax((1, 2, 3)) >= 124).all()         # every channel uses the whole range

    path = weights.write("w", tensors, {"method": "none"}, tmp_path)
    back, card = weights.read("w")
    assert card == {"name": "w", "method": "none", "bytes": path.stat().st_size, "sha256": card["sha256"]}
    assert weights.names() == ["w"] and back.keys() == tensors.keys()
    assert all(v.dtype == torch.float32 for k, v in back.items() if k != "steps") and back["steps"] == 7
    for name in ("w", "strided"):
        scale = tensors[name].abs().flatten(1).amax(1) / 127
        wrong = (back[name] - tensors[name]).abs().flatten(1).amax(1)
        # Half a step, and what the scale loses as a half float, 2^-11 of it (2^-25 of a tiny one), for each of 127 steps.
        assert (wrong <= scale * (0.5 + 128 * 2 ** -11) + 128 * 2 ** -25).all() and (wrong > 0).any()
    assert torch.equal(back["bias"], tensors["bias"].half().float()) and not back["zero"].any()


def test_int8_halves_the_file_and_old_files_of_half_floats_are_still_read(tmp_path, monkeypatch):
    from safetensors.torch import save

    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    tensors = {f"layers.{i}": torch.randn(64, 32, 4, 4, generator=torch.Generator().manual_seed(i)) for i in range(4)}
    half = save({k: v.half() for k, v in tensors.items()})
    path = weights.write("old", tensors, {"method": "none"}, tmp_path)
    assert 0.49 < path.stat().st_size / len(half) < 0.52
    path.write_bytes(half)
    card = {**weights.card("old"), "sha256": hashlib.sha256(half).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(card))
    back, _ = weights.read("old")
    assert all(torch.equal(back[k], v.half().float()) for k, v in tensors.items()) and len(back) == 4


def test_packing_twice_changes_nothing_more():
    """Weights that were read can be published again."""
    tensors = {"w": torch.randn(8, 9, generator=torch.Generator().manual_seed(0))}
    once = weights.unpacked(weights.packed(tensors))
    torch.testing.assert_close(weights.unpacked(weights.packed(once))["w"], once["w"], atol=0, rtol=1e-3)


def test_changed_or_cut_weights_are_refused(shelf):
    path = shelf / "perceptual.safetensors"
    data = path.read_bytes()
    for damaged in (data[:-10], data[:-1] + bytes([data[-1] ^ 1]), b""):
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"perceptual.safetensors do not match their card \(sha256\): .* install"):
            weights.read("perceptual")


def test_an_empty_shelf_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="no weights called 'glcic' come with this version; there are: none"):
        weights.card("glcic")


@pytest.mark.parametrize("name", weights.names())
def test_every_shipped_card_is_complete_and_its_weights_are_whole(name):
    tensors, card = weights.read(name)
    missing = {"method", "config", "data", "split", "steps", "images_seen", "hardware", "wall_time_minutes", "commit",
               "metrics", "licence", "sha256"} - set(card)
    assert not missing, f"the card of {name} lacks {missing}"
    assert all(t.isfinite().all() for t in tensors.values() if t.is_floating_point())
    assert json.dumps(card) and card["bytes"] == (weights.FOLDER / f"{name}.safetensors").stat().st_size


def test_shipped_weights_stay_small():
    assert sum(p.stat().st_size for p in weights.FOLDER.glob("*") if p.is_file()) < 64 * 2**20
    assert (weights.FOLDER / "LICENSE").exists()
