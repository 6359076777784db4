"""GLCIC as one would build it today: its networks, its games, its training windows, and what it shares with the published one."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from facelib import losses, masks
from facelib.layers import Attention, ResidualBlock
from facelib.methods.glcic import GLCIC
from facelib.residual import ResidualCompletionNetwork

TODAY = GLCIC.presets["today"]
SMALL = replace(TODAY, size=32, crop=16, margin=8, widths=(8, 8, 16), d_widths=(8, 8, 8, 16), d_features=16, dilations=(1, 2),
                steps=(4, 2, 4), batch_size=4, perceptual=0.0)


def method_with(**changes):
    method = GLCIC(replace(SMALL, **changes)).train()
    method.generator.manual_seed(0)
    return method


def batch(n=4, size=40, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def test_new_blocks_change_nothing_and_pass_gradients():
    x = torch.randn(2, 8, 6, 10, requires_grad=True)
    for block in (ResidualBlock(8), ResidualBlock(8, 2), Attention(8, 2)):
        assert torch.equal(block(x), x)
        block(x).square().sum().backward()
        last = block.last if isinstance(block, ResidualBlock) else block.out
        assert last.weight.grad.abs().max() > 0


def test_attention_is_the_softmax_of_the_products():
    torch.manual_seed(0)
    attention, x = Attention(4, heads=1).double(), torch.randn(1, 4, 2, 3).double()
    torch.nn.init.eye_(attention.out.weight.data[:, :, 0, 0])
    q, k, v = attention.queries_keys_values(attention.norm(x)).flatten(2)[0].split(4)     # (4, 6) each
    weights = (q.T @ k / 2).softmax(1)                                                    # of every place, over all places
    assert torch.allclose(attention(x), x + (v @ weights.T).view(1, 4, 2, 3))


def test_every_pixel_of_a_hole_is_reached_from_every_known_pixel():
    """The attention sees all; without it the dilated middle of the preset alone already spans the largest hole."""
    torch.manual_seed(0)
    network = ResidualCompletionNetwork(replace(TODAY, widths=(4, 4, 8))).double()
    for block in network.modules():
        if isinstance(block, ResidualBlock):
            torch.nn.init.normal_(block.last.weight, std=0.1)
    image = torch.zeros(1, 3, 128, 128, dtype=torch.float64, requires_grad=True)
    network(image, torch.zeros(1, 1, 128, 128, dtype=torch.float64))[0, :, 64, 64].sum().backward()
    seen = image.grad.abs().amax((0, 1)) > 0
    assert seen[20:108, 20:108].all()


@pytest.mark.parametrize("size", [(32, 32), (48, 40), (16, 64)])
def test_other_sizes_are_completed_and_known_pixels_stay(size):
    method = method_with()
    torch.nn.init.normal_(method.G_ema.out[1].weight)
    image, mask = torch.rand(2, 3, *size) * 2 - 1, masks.center(1, size)
    completed = method.complete(image, mask)
    hole = mask.expand(2, 3, *size) > 0.5
    assert torch.equal(completed[~hole], image[~hole]) and not torch.equal(completed[hole], image[hole])
    changed = torch.where(hole, torch.rand_like(image), image)
    assert torch.equal(method.complete(changed, mask), completed), "the hole's own pixels must not matter"
    with pytest.raises(ValueError, match="multiples of 8, got"):
        method.complete(torch.zeros(1, 3, 36, 32), torch.zeros(1, 1, 36, 32))


def test_an_oblong_configuration_trains():
    method = method_with(size=(48, 32), margin=0)
    assert method.training_size == (48, 32)
    log = method.step({"image": torch.rand(4, 3, 48, 32) * 2 - 1}, "joint")
    assert all(v.isfinite() for v in log.values())


# -- the discriminator -------------------------------------------------------------------------------------------------

def test_verdicts_are_joint_and_on_patches_of_both_towers():
    method = method_with()
    joint, whole, local = method.D(torch.zeros(2, 4, 32, 32), torch.zeros(2, 4, 16, 16))
    assert joint.shape == (2, 1)
    assert whole.shape == (2, 4 * 4) and local.shape == (2, 4 * 4)      # the last map but one of each tower
    full = GLCIC(TODAY)
    joint, whole, local = full.D(torch.zeros(1, 4, 128, 128), torch.zeros(1, 4, 64, 64))
    assert whole.shape == local.shape == (1, 64)


@pytest.mark.parametrize("silenced", [("join", "whole_patch", "local_patch"), ("join", "whole_patch"), ("join", "local_patch")])
def test_each_kind_of_verdict_alone_teaches_the_completion_network(silenced):
    method = method_with(matching=0.0)
    for name in silenced:
        layer = getattr(method.D, name)
        layer.weight.data.zero_()
    method.update = lambda *_: None
    log = method.step(batch(), "joint")
    gradients = torch.autograd.grad(log["adv"], list(method.G.parameters()), allow_unused=True)
    taught = any(g is not None and g.abs().max() > 0 for g in gradients)
    assert taught == (len(silenced) < 3)


@pytest.mark.parametrize(("adversary", "loss_D", "loss_G"), [
    ("gan", lambda r, f: F.softplus(-r).mean() + F.softplus(f).mean(), lambda r, f: F.softplus(-f).mean()),
    ("hinge", lambda r, f: (1 - r).clamp(min=0).mean() + (1 + f).clamp(min=0).mean(), lambda r, f: -f.mean()),
    ("relativistic", lambda r, f: F.softplus(f - r).mean(), lambda r, f: F.softplus(r - f).mean())])
def test_the_games_by_hand(adversary, loss_D, loss_G):
    method = method_with(adversary=adversary, r1=0.0)
    real, fake = ([torch.randn(4, 1, generator=g), torch.randn(4, 9, generator=g), torch.randn(4, 5, generator=g)]
                  for g in (torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)))
    expected = [sum(f(r, g) for r, g in zip(real, fake, strict=True)) / 3 for f in (loss_D, loss_G)]
    assert method.loss_D(real, fake).item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert method.loss_adv(real, fake).item() == pytest.approx(expected[1].item(), rel=1e-5)


def test_where_both_show_the_same_the_relativistic_game_teaches_nothing():
    method = method_with(r1=0.0)
    found = []
    method.update = lambda loss, *optimisers: found.append(
        torch.autograd.grad(loss, list(method.D.parameters()), retain_graph=True)) if method.opt_D in optimisers else None
    torch.nn.init.zeros_(method.G.out[1].weight)                        # G paints one grey ...
    torch.nn.init.zeros_(method.G.out[1].bias)
    method.step({"image": torch.zeros(4, 3, 40, 40)}, "joint")          # ... into faces of that grey
    assert max(float(g.abs().max()) for g in found[0]) < 1e-6


def test_the_penalty_comes_when_its_turn_comes_and_is_the_squared_gradient():
    method, turns = method_with(r1_every=3), []
    steepness = method.steepness

    def counted(*arguments):
        turns.append(method.scalars["turns"])
        return steepness(*arguments)

    method.steepness = counted
    for _ in range(5):
        method.step(batch(), "discriminator")
    assert turns == [0, 0, 3, 3], "of real and of completed faces, at steps 0 and 3"
    image, mask = batch(size=32)["image"], masks.center(4, 32)
    boxes = masks.local_boxes(mask, 16)
    penalty = steepness(image, mask, boxes)
    x = image.clone().requires_grad_()
    score = sum(v.mean(1).sum() for v in method.D(torch.cat([x, mask], 1), masks.cut(torch.cat([x, mask], 1), boxes)))
    (slope,) = torch.autograd.grad(score, x)
    assert penalty.item() == pytest.approx(slope.square().sum((1, 2, 3)).mean().item(), rel=1e-4)


def test_matching_is_the_distance_of_the_maps_and_leaves_the_real_ones_alone():
    fake, real = [torch.randn(2, 3, 4, 4, requires_grad=True)], [torch.randn(2, 3, 4, 4, requires_grad=True)]
    loss = losses.feature_matching(fake, real)
    loss.backward()
    assert loss.item() == pytest.approx((fake[0] - real[0]).abs().mean().item(), rel=1e-6)
    assert real[0].grad is None and fake[0].grad.abs().max() > 0


# -- training faces ----------------------------------------------------------------------------------------------------

def test_windows_are_scaled_parts_of_the_face_and_most_are_nearly_whole():
    method, shares = method_with(size=64, margin=16, crop=32), []
    ramp = torch.linspace(-0.8, 0.8, 80).view(1, 1, 1, 80).expand(3, 3, 80, 80).contiguous()
    for seed in range(40):
        method.generator.manual_seed(seed)
        seen = method.windows(ramp)
        assert seen.shape == (3, 3, 64, 64)
        slope = (seen[0, 0, 32, 48] - seen[0, 0, 32, 16]) / 32 / (1.6 / 79)   # pixels of the face to one of the window
        shares.append(slope.item() * 64 / 80)
    assert 0.78 <= min(shares) and max(shares) <= 1.02
    assert sorted(shares)[20] > 0.9, "half of the windows show more than nine tenths"


def test_training_faces_are_larger_than_the_networks_size():
    method = method_with()
    assert method.training_size == (40, 40)
    masked, completed, true = method.preview(batch()["image"])
    assert true.shape[-2:] == (32, 32)


def test_a_run_resumes_bit_identical_in_the_middle_of_the_penalty_turns(tmp_path, monkeypatch):
    import numpy as np

    from facelib.data import FaceData, Split
    from facelib.train import fit, load_checkpoint

    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")
    split = Split(np.random.default_rng(0).integers(0, 256, (8, 3, 40, 40), dtype=np.uint8))
    faces, kept = FaceData("noise", split, split, split), []
    for name, stops in (("whole", (10,)), ("parts", (5, 7, 10))):
        for stop in stops:
            fit(GLCIC(SMALL), faces, tmp_path / name, steps=stop, quiet=True, precision="no")
        kept.append(load_checkpoint(tmp_path / name / "last.pt"))
    a, b = kept
    assert a["scalars"] == b["scalars"] and a["scalars"]["turns"] == 6
    assert all(torch.equal(a["nets"][k], b["nets"][k]) for k in a["nets"])
