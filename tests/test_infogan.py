"""InfoGAN: the bound on the information, who learns from what, noise on D's input, codes that are visible, its errors."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses
from facelib.methods.infogan import InfoGAN, InfoGANConfig

SEED, BOOK, SMOKE = (InfoGAN.presets[name] for name in ("seed", "book", "smoke"))
ALONE = {"anchor": 0.0, "steps": (0, 0, 0, 12)}        # no encoder: as it was published


def batch(n=8, size=SMOKE.size, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(**changes):
    method = InfoGAN(replace(SMOKE, **changes)).train()
    method.generator.manual_seed(0)
    # Whitening and assigning the codes change G and E too, once, and by no step.
    method.scalars |= {key: True for key in ("whitened", "assigned") if key in method.scalars}
    return method


def moved(method, action):
    before = {k: p.clone() for k, p in method.named_parameters()}
    action()
    return {k.split(".")[0] for k, p in method.named_parameters() if not torch.equal(p, before[k])}


def one_hot(classes, k=10):
    return F.one_hot(torch.tensor(classes), k).float()


# -- the bound ---------------------------------------------------------------------------------------------------------

def test_a_perfect_answer_tells_log_k_and_no_answer_nothing():
    known = {"c_cat": one_hot([3, 0, 9, 9]), "c_cont": torch.zeros(4, 0)}
    perfect, cont = losses.information(1e4 * known["c_cat"], known, (10,), 0)
    assert perfect.item() == pytest.approx(math.log(10), rel=1e-5) and cont.item() == 0
    assert losses.information(torch.zeros(4, 10), known, (10,), 0)[0].item() == pytest.approx(0, abs=1e-6)
    assert losses.information(-5 * known["c_cat"], known, (10,), 0)[0] < -1, "sure of what is wrong is worse than nothing"


def test_classes_that_are_half_known_tell_half():
    """Q that tells 10 classes apart but for pairs knows log 5; two codes add up."""
    logits = torch.full((1, 14), -1e4)
    logits[0, [2, 3]], logits[0, 12] = 0.0, 0.0
    known = {"c_cat": torch.cat([one_hot([2]), one_hot([2], 4)], 1), "c_cont": torch.zeros(1, 0)}
    assert losses.information(logits, known, (10, 4), 0)[0].item() == pytest.approx(math.log(5) + math.log(4), rel=1e-5)


def test_a_gaussian_answer_is_the_entropy_less_its_own():
    """With the true mean and deviation s, E[log Q] = -log(s sqrt(2 pi e)) for errors of deviation s."""
    torch.manual_seed(0)
    deviation = 0.5
    truth = torch.rand(20000, 2) * 2 - 1
    error = torch.randn(20000, 2)
    error = deviation * error / error.pow(2).mean().sqrt()
    bent = 3 * math.atanh((2 * math.log(deviation) + 1) / 3) - 1         # what Q must say to mean it
    answer = torch.cat([truth + error, torch.full((20000, 2), bent)], 1)
    found = losses.information(answer, {"c_cat": torch.zeros(20000, 0), "c_cont": truth}, (), 2)[1]
    expected = 2 * (math.log(2) - math.log(deviation * math.sqrt(2 * math.pi * math.e)))
    assert found.item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("seed", range(4))
def test_it_is_never_more_than_the_entropy(seed):
    draws = torch.Generator().manual_seed(seed)
    answer = 8 * torch.randn(64, 10 + 2, generator=draws)
    classes = torch.randint(10, (64,), generator=draws)
    cat, cont = losses.information(answer, {"c_cat": F.one_hot(classes, 10).float(), "c_cont": torch.zeros(64, 1)}, (10,), 1)
    assert cat <= math.log(10)
    exact = torch.cat([torch.zeros(1, 10), torch.zeros(1, 1), torch.full((1, 1), -1e3)], 1)
    best = losses.information(exact, {"c_cat": one_hot([0]), "c_cont": torch.zeros(1, 1)}, (10,), 1)[1]
    assert best.item() == pytest.approx(math.log(2) + 2 - math.log(2 * math.pi) / 2, rel=1e-4), "and no code is worth more"


# -- networks ----------------------------------------------------------------------------------------------------------

def test_seed_is_the_published_configuration_for_digits():
    """Chen et al. 2016, C.1: 62 of noise, one code of 10 classes, two continuous; steps of 2e-4 for D, 1e-3 for G."""
    assert SEED == InfoGANConfig() and (SEED.z_dim, SEED.categorical, SEED.continuous) == (62, (10,), 2)
    assert (SEED.d_lr, SEED.lr, SEED.beta1, SEED.mi, SEED.mi_continuous) == (2e-4, 1e-3, 0.5, 1.0, 0.1)
    with torch.device("meta"):
        method = InfoGAN(SEED)
        image = method.G(torch.empty(2, 74))
        features = method.D.features(image)
    assert image.shape == (2, 3, 32, 32) and features.shape == (2, 128) and method.D(image).shape == (2, 1)
    assert method.Q(features).shape == (2, 10 + 2 + 2) and not hasattr(method, "E") and not hasattr(method, "R")
    assert any(isinstance(m, nn.BatchNorm2d) for m in method.D.modules())


@pytest.mark.parametrize("cfg", [SEED, InfoGAN.presets["digits"], BOOK, SMOKE], ids=["seed", "digits", "book", "smoke"])
def test_latents_become_images_and_images_codes(cfg):
    with torch.device("meta"):
        method = InfoGAN(replace(cfg, perceptual=0.0))
        image = method.G(torch.empty(2, method.layout.length))
        answer = method.Q(method.D.features(image))
    assert image.shape == (2, 3, cfg.size, cfg.size) and answer.shape == (2, sum(cfg.categorical) + 2 * cfg.continuous)


# -- training ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("phase, expected", [("autoencoder", {"G", "E"}), ("encoder", {"E"}), ("discriminator", {"D", "Q"}),
                                             ("adversarial", {"G", "E", "D", "Q"})])
def test_each_phase_teaches_its_own_networks(phase, expected):
    method = method_with()
    assert moved(method, lambda: method.step(batch(), phase)) == expected


@pytest.mark.parametrize("recovery", ["trunk", "joint"])
def test_each_players_update_reaches_its_own_networks(recovery):
    """The trunk learns to read codes in D's update; in G's it is frozen, while G, Q and R learn."""
    method, image = method_with(recovery=recovery, **ALONE), batch()["image"]
    assert moved(method, lambda: method.discriminate(image)) == {"D", "Q", "R"}
    assert moved(method, lambda: method.play(image)) == {"G", "Q", "R"}
    trunk, head = method.D.layers[0], method.R if recovery == "trunk" else method.R[-1]
    vector = method.layout.draw(8, torch.Generator().manual_seed(1))
    fake = method.G(vector).detach()
    loss, log = method.reading(fake, method.D.features(fake), method.layout.split(vector))
    inner, outer = trunk[0][0].weight, head.weight
    through = torch.autograd.grad(log["recovery"], [inner, outer], retain_graph=True, allow_unused=True)
    assert through[1].abs().sum() > 0 and (through[0] is not None) == (recovery == "trunk"), "joint has a trunk of its own"
    assert torch.autograd.grad(loss, inner)[0].abs().sum() > 0


def test_the_losses_are_the_papers():
    method, image = method_with(recovery="joint", r1=0.0, **ALONE), batch()["image"]
    seen, cfg = [], method.cfg
    method.update = lambda loss, _: seen.append(loss.item())
    log = method.discriminate(image) | method.play(image)
    draws = torch.Generator().manual_seed(0)
    sigmoid = lambda x: method.D(x).sigmoid()
    fakes, readings = [], []
    for _ in range(2):
        vector = method.layout.draw(8, draws)
        fakes.append(method.G(vector))
        readings.append(method.reading(fakes[-1], method.D.features(fakes[-1]), method.layout.split(vector))[1])
    loss_D = -sigmoid(image).log().mean() - (1 - sigmoid(fakes[0])).log().mean()
    adv = -sigmoid(fakes[1]).log().mean()
    reward = [cfg.mi * r["mi"] + cfg.mi_continuous * r["mi_cont"] - cfg.recovery_weight * r["recovery"] for r in readings]
    assert log["loss_D"].item() == pytest.approx(loss_D.item(), rel=1e-4)
    assert log["adv"].item() == pytest.approx(adv.item(), rel=1e-4)
    assert seen == pytest.approx([(loss_D - reward[0]).item(), (adv - reward[1]).item()], rel=1e-4)     # eq. 6
    z, found = method.layout.split(vector)["z"], method.R(fakes[1])
    assert readings[1]["recovery"].item() == pytest.approx(F.mse_loss(found, z).item(), rel=1e-5)


def test_r1_is_taken_at_real_images_as_d_sees_them():
    seen, image = [], batch()["image"]
    for r1 in (0.0, 3.0):
        method = method_with(r1=r1, **ALONE)
        method.update = lambda loss, _: seen.append(loss.item())
        method.discriminate(image)
    few = image[:1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(method.D(few).sum(), few)
    assert seen[1] - seen[0] == pytest.approx(1.5 * slope.pow(2).sum().item(), rel=1e-3)


@pytest.mark.parametrize("times", [1, 3])
def test_d_updates_are_updates_of_d(times):
    method, players = method_with(d_updates=times), []
    method.update = lambda loss, opt: players.append("D" if opt is method.opt_D else "G")
    method.step(batch(), "adversarial")
    assert players == ["D"] * times + ["G"]


def test_a_quarter_of_the_latents_come_from_faces_where_they_anchor_g():
    image = batch()["image"]
    vector, some, mean, _ = method_with().latents(image)
    assert vector.shape == (8, 28) and torch.equal(some, image[:2]) and mean.shape == (2, 16)
    assert vector[:2, 16:26].sum(1).tolist() == [1, 1] and vector[:2, 26:].abs().max() <= 1
    vector, some, *_ = method_with(**ALONE).latents(image)
    assert vector.shape == (8, 28) and len(some) == 0


# -- noise on D's input ------------------------------------------------------------------------------------------------

def test_the_power_of_the_noise_halves_as_it_says():
    method = method_with(d_noise=0.08, d_noise_half=5, **ALONE)
    powers = [method.scalars["d_noise"]]
    for _ in range(10):
        method.step(batch(), "adversarial")
        powers.append(method.scalars["d_noise"])
    assert powers[0] == 0.08 and powers[5] == pytest.approx(0.04) and powers[10] == pytest.approx(0.02)
    again = method_with(d_noise=0.08, d_noise_half=5, **ALONE)
    again.restore(method.state())
    assert again.scalars["d_noise"] == powers[10], "a run that was stopped must go on with this power"


def test_noise_has_the_power_that_it_should_and_goes_where_d_looks():
    method, image = method_with(d_noise=0.08, **ALONE), batch()["image"]
    noise = method.disturbed(image) - image
    assert noise.var().item() == pytest.approx(0.08, rel=0.05) and abs(noise.mean().item()) < 0.01
    seen = []
    method.D.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    method.discriminate(image)
    assert not any(torch.equal(x[:8], image) for x in seen), "D must not see a face without noise"
    method.scalars["d_noise"] = 0.0
    assert method.disturbed(image) is image


# -- codes that are visible --------------------------------------------------------------------------------------------

def started(blur=1.0):
    """An InfoGAN whose generator makes visibly different images of different noise, as after its start as a VAE, and
    whose encoder found ten kinds of images: clusters in 9 of the 16 axes, blurred in the rest, of covariance 1 together."""
    method, draws = method_with(), torch.Generator().manual_seed(0)
    centres = torch.randn(10, 9, generator=draws)
    centres = torch.linalg.qr(centres - centres.mean(0))[0] * 10 ** 0.5
    kinds = torch.randint(10, (1024,), generator=draws)
    found = torch.cat([centres[kinds] + 0.05 * torch.randn(1024, 9, generator=draws),
                       blur * torch.randn(1024, 7, generator=draws)], 1)
    method.recent.copy_(found @ torch.linalg.qr(torch.randn(16, 16, generator=draws))[0])
    with torch.no_grad():
        for network in (method.G, method.G_ema):
            network.first.weight[:, :16] *= 3
            network.first.weight[:, 16:] *= 0.01
    return method, kinds


def change(method, code, a, b):
    vector = method.draw_latents(128, seed=3)
    return float((method.generate(method.layout.set(vector, code, a)) - method.generate(method.layout.set(vector, code, b)))
                 .abs().mean())


def test_assigned_codes_are_visible_and_the_images_stay_what_they_were():
    method, _ = started()
    before = method.sample(512, seed=1)
    hidden = {code: change(method, code, 0, 1) for code in method.layout.codes}
    method.assign()
    after = method.sample(512, seed=2)
    assert after.std(0).mean().item() == pytest.approx(before.std(0).mean().item(), rel=0.1)
    assert after.mean(0).sub(before.mean(0)).abs().mean() < 0.2 * before.std(0).mean()
    for code in method.layout.codes:
        assert change(method, code, 0, 1) > 5 * hidden[code], code


def test_each_class_is_a_kind_of_image_that_the_encoder_found():
    """What a class alone makes of the first layer is what the middle of one cluster made of it, another for each class."""
    method, kinds = started(blur=0.1)
    first = method.G.first.weight[:, :16].detach().clone()
    method.assign()
    middles = torch.stack([method.recent[kinds == k].mean(0) for k in range(10)]) @ first.T        # (10, 512)
    nearest = torch.cdist(method.G.first.weight[:, 16:26].detach().T, middles).min(1)
    assert sorted(nearest.indices.tolist()) == list(range(10)) and nearest.values.max() < 0.01 * middles.norm(dim=1).mean()


def test_codes_are_taken_from_the_noise_and_from_the_encoder():
    """What a code does now, z does no longer; E leaves it to Q, and G makes of the rest what it made before."""
    method, _ = started()
    image = batch(4)["image"]
    mean = method.E(image)[0]
    method.assign()
    weight, found = method.G.first.weight.detach()[:, :16], method.E(image)[0]
    assert torch.linalg.matrix_rank(weight, atol=1e-3) == 16 - (2 + 9), "two continuous codes, nine directions for ten classes"
    assert not torch.allclose(found, mean, atol=1e-3)
    assert torch.allclose(weight @ found.T, weight @ mean.T, atol=1e-3)


def test_latents_are_whitened_and_codes_assigned_once_each_between_the_phases():
    method, calls = InfoGAN(SMOKE).train(), []
    method.generator.manual_seed(0)
    method.assign = lambda: calls.append("assign")
    method.whitening.fold = lambda *_: calls.append("whiten")
    found = []
    for phase in ("autoencoder", "encoder", "encoder", "discriminator", "discriminator", "adversarial"):
        method.step(batch(), phase)
        found.append(tuple(calls))
    assert found == [(), ("whiten",), ("whiten",), *[("whiten", "assign")] * 3]
    assert method.state()["scalars"]["whitened"] and method.state()["scalars"]["assigned"]
    assert not torch.equal(method.recent[-8:], torch.zeros(8, 16)) and torch.equal(method.recent[:-24], torch.zeros(1000, 16))


# -- verbs -------------------------------------------------------------------------------------------------------------

def test_samples_repeat_with_their_seed_and_dicts_are_taken():
    method = method_with()
    faces = method.sample(5, seed=3)
    assert faces.shape == (5, 3, 32, 32) and faces.abs().max() <= 1 and not faces.requires_grad and method.training
    assert torch.equal(faces, method.sample(5, seed=3)) and not torch.equal(faces, method.sample(5, seed=4))
    assert torch.equal(method.generate(method.layout.split(method.draw_latents(5, 3))), faces)
    assert torch.equal(method.draw_latents(5, 3, spread=0.0)[:, :16], torch.zeros(5, 16))


def test_encode_gives_probabilities_and_means():
    codes = method_with(categorical=(3, 4)).encode(batch()["image"])
    assert codes["c_cat"].shape == (8, 7) and codes["c_cont"].shape == (8, 2)
    for part in codes["c_cat"].split([3, 4], 1):
        assert torch.allclose(part.sum(1), torch.ones(8))


def test_what_does_not_fit_is_refused_with_what_to_do():
    for changes, message in [({"size": 48}, "size must be a power of two, 8 or more, got 48"),
                             ({"recovery": "both"}, "recovery must be one of none, trunk, joint, got 'both'"),
                             ({"anchor": 0.0}, "need an encoder: set anchor above 0, or their steps to 0"),
                             ({"steps": (0, 127, 0, 12)}, "must see 1024 images, .* set steps\\[1\\] to 128 or more, got 127"),
                             ({"latents": "uniform"}, 'a VAE has normal latents: set latents="normal", or anchor to 0'),
                             ({"d_updates": 0}, "d_updates must be at least 1, got 0")]:
        with pytest.raises(ValueError, match=message):
            replace(SMOKE, **changes)
    for wrong in (batch(size=64)["image"], batch()["image"][0]):
        with pytest.raises(ValueError, match=r"image must be \(B, 3, 32, 32\), what this InfoGAN was trained on, got .*; resize"):
            method_with().encode(wrong)
