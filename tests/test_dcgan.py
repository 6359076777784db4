"""DCGAN: the student project's networks, its phases, and the search for a face that fits (semantic inpainting)."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses, masks
from facelib.layers import Whitening
from facelib.methods.dcgan import CANDIDATES, DCGAN, DCGANConfig

SEED, BOOK, SMOKE = (DCGAN.presets[name] for name in ("seed", "book", "smoke"))


def batch(n=8, size=SMOKE.size, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(**changes):
    method = DCGAN(replace(SMOKE, **changes)).train()
    method.generator.manual_seed(0)
    return method


# -- networks ----------------------------------------------------------------------------------------------------------

def test_seed_is_the_sources_configuration():
    """Report, section 4: FC and four 5x5 transposed convolutions; D of 16, 32, 64, 128 and 64, batch norm in both."""
    assert SEED == DCGANConfig() and (SEED.latents, SEED.z_dim, SEED.batch_size, SEED.lr, SEED.d_lr) == (
        "uniform", 100, 300, 3e-4, 3e-4)
    with torch.device("meta"):
        method = DCGAN(SEED)
    up = [m for m in method.G.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m.kernel_size for m in up] == [(5, 5)] * 4 and [m.stride for m in up] == [(2, 2)] * 4 and up[-1].out_channels == 3
    down = [m for m in method.D.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in down] == [16, 32, 64, 128] and [m.kernel_size for m in down] == [(5, 5)] * 4
    assert [(m.in_features, m.out_features) for m in method.D.modules() if isinstance(m, nn.Linear)] == [(2048, 64), (64, 1)]
    norms = [sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) for network in (method.G, method.D)]
    assert norms == [4, 3]                                      # not at G's output, and not at D's input
    assert not hasattr(method, "E") and method.phases()[-1] == ("adversarial", 5000)


@pytest.mark.parametrize("cfg", [SEED, BOOK, SMOKE], ids=["seed", "book", "smoke"])
def test_latents_become_faces_and_faces_logits(cfg):
    with torch.device("meta"):
        method = DCGAN(replace(cfg, perceptual=0.0))
        image = method.G(torch.empty(2, cfg.z_dim))
    assert image.shape == (2, 3, cfg.size, cfg.size) and method.D(image).shape == (2, 1)


def test_wrong_configurations_and_faces_are_refused():
    for changes, message in [(dict(size=48), "size must be a power of two, 8 or more, got 48"),
                             (dict(latents="cauchy"), "latents must be uniform or normal, got 'cauchy'"),
                             (dict(anchor=0.0), "the autoencoder phase needs an encoder")]:
        with pytest.raises(ValueError, match=message):
            replace(SMOKE, **changes)


# -- training ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("phase, expected", [("autoencoder", {"G", "E"}), ("discriminator", {"D"}),
                                             ("adversarial", {"G", "E", "D"})])
def test_each_phase_teaches_its_own_networks(phase, expected):
    method = method_with()
    method.scalars["whitened"] = phase != "autoencoder"         # folding the map changes G and E too, once, and by no step
    before = {k: p.clone() for k, p in method.named_parameters()}
    log = method.step(batch(), phase)
    moved = {k.split(".")[0] for k, p in method.named_parameters() if not torch.equal(p, before[k])}
    assert moved == expected and all(v.isfinite() for v in log.values())


def test_without_an_anchor_there_is_no_encoder_and_all_latents_are_drawn():
    method = method_with(anchor=0.0, steps=(0, 0, 12))
    asked = []
    method.draw = lambda n, sampler: (asked.append(n), sampler(n, method.generator))[1]
    assert {"loss_D", "D_real", "D_fake", "adv", "loss_G"} == method.step(batch(), "adversarial").keys()
    assert asked == [8] and not hasattr(method, "E")


def test_samples_repeat_with_their_seed_and_shrink_to_one_face_with_their_spread():
    method = method_with()
    faces = method.sample(5, seed=3)
    assert faces.shape == (5, 3, 32, 32) and faces.abs().max() <= 1 and torch.equal(method.sample(5, seed=3), faces)
    assert not torch.equal(method.sample(5, seed=4), faces) and method.training
    assert torch.allclose(method.sample(5, spread=0.0), method.sample(1, spread=0.0).expand(5, -1, -1, -1), atol=1e-6)
    cube = method_with(latents="uniform").prior(4000, torch.Generator().manual_seed(0))
    assert -1 <= cube.min() < -0.99 and 0.99 < cube.max() <= 1 and abs(cube.mean()) < 0.01


# -- completion --------------------------------------------------------------------------------------------------------

def test_the_objective_is_the_papers_and_its_best_is_what_completes():
    method, image, mask = method_with(), batch(3)["image"], masks.center(3, 32)
    found = method.search(image, mask)
    cfg, pred = method.cfg, found.images
    assert torch.allclose(pred, method.G_ema(found.latents), atol=1e-6)
    share = F.avg_pool2d(mask, cfg.search_window, 1, cfg.search_window // 2, count_include_pad=False)
    context = ((1 - mask) * share * (pred - image).abs()).sum((1, 2, 3))
    method.eval()
    prior = (1 - method.D(pred).sigmoid()).log()[:, 0]
    expected = context + cfg.search_prior * prior + cfg.search_pull * found.latents.pow(2).sum(1)
    assert torch.allclose(found.loss, expected, rtol=1e-4)
    assert torch.equal(method.complete(image, mask), masks.composite(image, mask, pred))
    assert (found.loss < found.curve[0]).all() and len(found.curve) == cfg.search_steps + 1


def test_it_finds_faces_that_the_generator_made():
    """What G can make, the search finds behind the hole, from the known pixels alone."""
    method = method_with(search_prior=0.0, search_pull=0.0, search_window=31, search_lr=0.05, search_steps=150,
                         search_candidates=64)
    image, mask = method.sample(4, seed=1, spread=0.7), masks.center(4, 32)
    completed = method.complete(image, mask)
    error = lambda face: ((face - image).abs() * mask).sum((1, 2, 3))
    assert (error(completed) < 0.25 * error(method.sample(4, seed=2))).all()


@pytest.mark.parametrize("latents, length", [("uniform", lambda z: z.abs().amax(1)), ("normal", lambda z: z.norm(dim=1) / 4)])
def test_latents_stay_where_the_generator_knows_them(latents, length):
    """The cube of uniform latents; for 16 normal ones a ball of radius 4. Steps this long would lead far outside."""
    method = method_with(latents=latents, search_pull=0.0, search_lr=1.0)
    found = method.search(batch(4)["image"], masks.center(4, 32), steps=10)
    assert length(found.latents).max() <= 1 + 1e-6
    inside = 0.1 * torch.ones(2, 16)
    assert torch.equal(method.project(inside), inside) and length(method.project(100 * inside)).tolist() == pytest.approx([1, 1])
    assert not method.project(torch.zeros(2, 16)).any()


def test_the_starts_are_the_best_of_the_candidates_for_each_face():
    """A face that is itself a candidate is its own best start, whatever the others of its batch are."""
    method = method_with(search_candidates=8, search_prior=0.0, search_pull=0.0)
    candidates = method.prior(8, torch.Generator().manual_seed(CANDIDATES))
    with torch.no_grad(), method.evaluating():
        image = method.G_ema(candidates[[5, 2]])
    found = method.search(image, masks.center(1, 32), steps=0)
    assert torch.equal(found.latents, candidates[[5, 2]]) and found.loss.max() < 1e-4
    assert torch.equal(method.search(image[1:], masks.center(1, 32), steps=0).latents, candidates[[2]])


def test_history_for_a_strip():
    method, image = method_with(), batch(2)["image"]
    found = method.search(image, masks.center(2, 32), steps=6, every=3)
    assert list(found.history) == [0, 3, 6] and found.history[3].shape == image.shape
    assert (losses.context(found.images, image, losses.context_weights(masks.center(1, 32), 7)) > 0).all()


def test_faces_of_another_size_are_refused():
    with pytest.raises(ValueError, match=r"height and width must be 32, the size of this DCGAN's faces, got \(64, 64\); resize"):
        method_with().complete(torch.zeros(1, 3, 64, 64), masks.center(1, 64))


def test_whitening_changes_no_reconstruction_and_makes_the_encoders_latents_standard_normal():
    method = DCGAN(DCGAN.presets["smoke"]).eval()
    image = torch.rand(400, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    image = image * torch.linspace(0.1, 1, 400).view(-1, 1, 1, 1)           # faces that differ in more than noise
    with torch.no_grad():
        method.E.vector.weight.mul_(20)
        method.E.vector.bias.add_(1)
        mean, _ = method.E(image)
        method.whitening.mean.copy_(mean.mean(0))
        method.whitening.square.copy_(mean.T @ mean / len(mean))
        before, twin = method.G(mean), method.G_ema(mean)
        method.whitening.fold([method.E], [method.G, method.G_ema])
        after, _ = method.E(image)
    assert torch.allclose(method.G(after), before, atol=1e-4) and torch.allclose(method.G_ema(after), twin, atol=1e-4)
    assert after.mean(0).abs().max() < 1e-3
    assert torch.allclose(torch.cov(after.T, correction=0), torch.eye(16), atol=0.05)


def test_the_running_moments_follow_the_encoders_latents():
    whitening = Whitening(16)
    z = torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)) * 3 + 2
    for _ in range(2000):
        whitening.follow(z)
    assert torch.allclose(whitening.mean, z.mean(0), atol=1e-2)
    assert torch.allclose(whitening.square - torch.outer(whitening.mean, whitening.mean), torch.cov(z.T), atol=0.1)
