"""EnhanceGAN: what each stage is taught, what the next one starts from, that an enlargement keeps what it was given."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelib import resolution
from facelib.data import FaceData, Split
from facelib.methods.enhance import EnhanceConfig, EnhanceGAN
from facelib.train import fit, load_checkpoint

BOOK, SMOKE = EnhanceGAN.presets["book"], EnhanceGAN.presets["smoke"]


def batch(n=4, seed=0):
    return {"image": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def faces(n=24, size=32):
    split = Split(np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8))
    return FaceData("noise", split, split, split)


def changed(method, before):
    """The networks of which a parameter has changed."""
    return {name.split(".")[0] for name, p in method.named_parameters() if not torch.equal(p, before[name])}


def snapshot(method):
    return {name: p.detach().clone() for name, p in method.named_parameters()}


def test_the_networks_are_what_the_text_says():
    with torch.device("meta"):
        method = EnhanceGAN(replace(BOOK, perceptual=0.0))
    low, image = torch.empty(2, 3, 8, 8, device="meta"), torch.empty(2, 3, 32, 32, device="meta")
    assert method.A(low).shape == method.B(image).shape == method.C(image, image).shape == image.shape
    assert method.A.encode(low)[0].shape == method.B.encode(image)[0].shape == (2, BOOK.z_dim)
    assert len(method.A.downs) < len(method.B.downs)                        # "differ in their input dimensions"
    assert len(method.C.blocks) == 6
    assert {name for name, _ in method.A.G.named_parameters()} == {name for name, _ in method.B.G.named_parameters()}
    assert 2 * sum(v.numel() for k, v in method.state_dict().items() if k.split(".")[0] in method.ships) < 3.6e6    # fp16 bytes


@torch.no_grad()
def test_all_residual_blocks_but_the_last_end_in_a_relu():
    C, seen = EnhanceGAN(SMOKE).C, []
    for block in C.blocks:
        torch.nn.init.normal_(block[1][0].weight)
        block.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    C.last.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    C(batch()["image"], batch(seed=1)["image"])
    assert len(seen) == 7 and all(float(x.min()) >= 0 for x in seen[:-1])   # what comes after blocks 1 to 5
    assert float(seen[-1].min()) < 0


def test_stage_c_begins_as_stage_bs_face():
    method, (first, second) = EnhanceGAN(SMOKE), (batch(seed=s)["image"] for s in (0, 1))
    assert torch.equal(method.C(first, second), second)


@pytest.mark.parametrize("phase, code, expected", [
    ("A", "aae", {"A", "D_A"}), ("B", "aae", {"B", "D_B"}), ("joint", "aae", {"A", "B", "C", "D_A", "D_B"}),
    ("A", "vae", {"A", "D_A"}), ("joint", "vae", {"A", "B", "C"})])
def test_each_phase_teaches_its_own_networks(phase, code, expected):
    method = EnhanceGAN(replace(SMOKE, code=code)).train()
    method.scalars["saved"] = 2
    before = snapshot(method)
    for _ in range(2):                                          # C's last layer is 0 before the first step
        method.step(batch(), phase)
    assert changed(method, before) == expected


def test_in_the_joint_phase_gradients_reach_every_layer_of_all_three_stages():
    method, reached = EnhanceGAN(SMOKE).train(), set()
    for block in method.C.blocks:
        torch.nn.init.normal_(block[1][0].weight, std=0.1)
    torch.nn.init.normal_(method.C.last.weight, std=0.1)
    method.scalars["saved"] = 2
    update, names = method.update, {p: name for name, p in method.named_parameters()}

    def spy(loss, *optimisers):
        update(loss, *optimisers)
        reached.update(names[p] for o in optimisers for g in o.param_groups for p in g["params"]
                       if p.grad is not None and float(p.grad.abs().sum()) > 0)

    method.update = spy
    method.step(batch(8), "joint")
    for stage in ("A", "B", "C"):
        assert {f"{stage}.{name}" for name, _ in getattr(method, stage).named_parameters()} <= reached
    # No GAN on the decoders any more: the discriminators of faces rest, those of codes do not.
    assert not any(".image." in name for name in reached) and any("D_A.code" in name for name in reached)


def test_apart_means_that_stage_c_alone_learns():
    method = EnhanceGAN(replace(SMOKE, together=False)).train()
    method.scalars["saved"] = 2
    before = snapshot(method)
    method.step(batch(), "joint")
    method.step(batch(), "joint")
    assert changed(method, before) == {"C"}


def test_stage_b_starts_from_the_saved_stage_a_and_leaves_it_alone(tmp_path):
    data = faces()
    method = EnhanceGAN(SMOKE)
    fit(method, data, tmp_path, steps=8, save_every=8, quiet=True, precision="no")
    saved = load_checkpoint(tmp_path / "last.pt")
    method = fit(EnhanceGAN(SMOKE), data, tmp_path, steps=11, quiet=True, precision="no")          # resumes in stage B
    assert method.scalars["saved"] == 1
    before, low = EnhanceGAN(SMOKE), resolution.shrink(batch()["image"])
    before.restore(saved)
    # Whitening changes what its codes are, not what it makes of a face.
    assert torch.allclose(method.A(low), before.A_ema(low), atol=1e-3) and not torch.allclose(before.A(low), before.A_ema(low))
    codes = method.A.encode(low)[0], before.A_ema.encode(low)[0]
    assert not torch.allclose(*codes, atol=1e-3)
    third = snapshot(method)
    method.step(batch(), "B")
    assert changed(method, third) == {"B", "D_B"}
    seen = {}
    method.B.downs.register_forward_pre_hook(lambda module, inputs: seen.setdefault("face", inputs[0]))
    data = batch()
    method.train().step(data, "B")
    made = method.A_ema(resolution.shrink(data["image"]))
    assert torch.allclose(seen["face"], made, atol=1e-6)                    # what B sees is what the saved A makes


def face_slope(method, image):
    few = image[:1].clone().requires_grad_()
    return torch.autograd.grad(method.D_A.image(few).sum(), few)[0].pow(2).sum()


def test_the_codes_losses_are_those_of_an_adversarial_autoencoder():
    method, data, updates = EnhanceGAN(replace(SMOKE, adv=0.0, code_noise=0.0)).train(), batch(), []
    method.update = lambda loss, *optimisers: updates.append(loss)
    method.generator.manual_seed(3)
    log = method.step(data, "A")
    prior = torch.Generator().manual_seed(3)
    method.prior(4, prior), method.prior(2, prior)      # the codes' noise and those that are decoded are drawn first
    drawn = method.prior(4, prior)
    z = method.A.encode(resolution.shrink(data["image"]))[0]
    critic = method.D_A.code
    expected = F.binary_cross_entropy(critic(drawn).sigmoid(), torch.ones(4, 1)) \
        + F.binary_cross_entropy(critic(z).sigmoid(), torch.zeros(4, 1))
    assert log["loss_D_code"].item() == pytest.approx(expected.item(), rel=1e-4)
    assert log["code"].item() == pytest.approx(-critic(z).sigmoid().log().mean().item(), rel=1e-4)
    few = drawn.clone().requires_grad_()
    (slope,) = torch.autograd.grad(critic(few).sum(), few)
    assert updates[0].item() == pytest.approx(
        (log["loss_D"] + SMOKE.r1 / 2 * face_slope(method, data["image"]) + expected + 0.5 * slope.pow(2).sum(1).mean()).item(),
        rel=1e-4)
    total = SMOKE.pixel * log["rec"] + SMOKE.perceptual * log["perc"] + SMOKE.code_weight * log["code"]
    assert updates[1].item() == pytest.approx(total.item(), rel=1e-5)


def test_a_vaes_code_loss_is_the_kl_divergence():
    method = EnhanceGAN(replace(SMOKE, code="vae"))
    image = batch()["image"]
    mean, log_var = method.B.encode(image)
    _, kl = method.coded(method.B, image)
    normal = torch.distributions.Normal
    exact = torch.distributions.kl_divergence(normal(mean, (log_var / 2).exp()), normal(0.0, 1.0)).sum(1).mean()
    assert kl.item() == pytest.approx(exact.item(), rel=1e-4)


def test_upscale_is_the_last_stage_that_was_trained():
    low = resolution.shrink(batch()["image"])
    for steps, names in (((8, 0, 0), ["A"]), ((8, 8, 0), ["A", "B"]), ((8, 8, 8), ["A", "B", "C"])):
        method = EnhanceGAN(replace(SMOKE, steps=steps))
        made = method.stages(low)
        assert list(made) == names and torch.equal(method.upscale(low), made[names[-1]])
        assert made[names[-1]].shape == (4, 3, 32, 32) and float(made[names[-1]].abs().max()) <= 1


def test_every_answer_is_alone_and_in_evaluation_the_same():
    method, low = EnhanceGAN(SMOKE).train(), resolution.shrink(batch()["image"])
    whole = method.upscale(low)
    assert torch.allclose(whole[2:3], method.upscale(low[2:3]), atol=1e-5) and method.training


def test_variants_differ_repeat_with_their_seed_and_shrink_to_the_same_face():
    method, low = EnhanceGAN(SMOKE), resolution.shrink(batch(1)["image"])
    made = method.variants(low, 5, seed=1)
    assert torch.equal(made, method.variants(low, 5, seed=1)) and not torch.equal(made, method.variants(low, 5, seed=2))
    assert len({tuple(x.flatten().tolist()) for x in made}) == 5
    assert torch.allclose(method.variants(low, 1, spread=0.0), method.upscale(low), atol=1e-6)
    back = resolution.back_project(made, low.expand(5, -1, -1, -1))
    assert float(resolution.consistency(back, low.expand(5, -1, -1, -1)).max()) < 0.1


def test_samples_come_from_the_prior():
    method = EnhanceGAN(SMOKE)
    drawn = method.sample(6, seed=4)
    assert drawn.shape == (6, 3, 32, 32) and torch.equal(drawn, method.sample(6, seed=4))
    assert method.sample(6, spread=0.0).std(0).max() < 1e-6


@pytest.mark.parametrize("low", [torch.zeros(1, 3, 7, 9), torch.zeros(3, 8, 8), torch.zeros(1, 1, 8, 8),
                                 torch.full((1, 3, 8, 8), 2.0)])
def test_what_is_no_small_face_is_refused(low):
    method = EnhanceGAN(SMOKE)
    for verb in (method.upscale, lambda x: method.variants(x, 2)):
        with pytest.raises(ValueError, match=r"low must be \(B, 3, 8, 8\) in \[-1, 1\].*got"):
            verb(low)


def test_wrong_configurations_and_faces_are_refused(tmp_path):
    for changes, message in (({"size": 64}, "size must be 32"), ({"features": "vgg16"}, "features must be perceptual or vgg19"),
                             ({"code": "gan"}, "code must be aae or vae"), ({"steps": (8, 0, 8)}, "give stage B steps")):
        with pytest.raises(ValueError, match=message):
            EnhanceConfig(**changes)
    with pytest.raises(ValueError, match="load them with size=32"):
        fit(EnhanceGAN(SMOKE), faces(size=64), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
