"""BEGAN and Info-BEGAN: the balance and its k, the start from D's decoder, who learns when, the predictor, the errors."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses
from facelib.methods.began import BEGAN, SPREAD, BEGANConfig

SEED, BOOK, SMOKE = (BEGAN.presets[name] for name in ("seed", "book", "smoke"))
PLAIN = {"categorical": (), "continuous": 0}        # no codes: as it was published


def batch(n=8, size=SMOKE.size, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(begun=True, **changes):
    method = BEGAN(replace(SMOKE, **changes)).train()
    method.generator.manual_seed(0)
    method.scalars["played"] = int(begun)           # beginning changes G too, once, and by no step
    return method


def moved(method, action):
    before = {k: p.clone() for k, p in method.named_parameters()}
    action()
    return {k.split(".")[0] for k, p in method.named_parameters() if not torch.equal(p, before[k])}


# -- networks ----------------------------------------------------------------------------------------------------------

def test_seed_is_the_published_configuration():
    """Berthelot et al. 2017, section 4: 64 values in [-1, 1], n = 128, batches of 16, 3x3 with ELU, nearest neighbours."""
    assert SEED == BEGANConfig() and (SEED.z_dim, SEED.width, SEED.batch_size, SEED.latents) == (64, 128, 16, "uniform")
    assert (SEED.gamma, SEED.k_step, SEED.patch) == (0.5, 1e-3, 1)
    with torch.device("meta"):
        method = BEGAN(SEED)
        image = method.G(torch.empty(2, 64))
        code = method.D.encoder(image)
    assert image.shape == (2, 3, 64, 64) and code.shape == (2, 64) and method.D(image).shape == image.shape
    convs = [m for m in method.D.encoder.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convs if m.stride == (2, 2)] == [256, 384, 512] and {m.kernel_size for m in convs} == {(3, 3)}
    assert [m.out_channels for m in method.G.modules() if isinstance(m, nn.Conv2d)] == [128] * 8 + [3]
    assert not any(isinstance(m, (nn.BatchNorm2d, nn.ReLU)) for m in method.modules()) and not hasattr(method, "P")


@pytest.mark.parametrize("changes", [{"patch": 1}, {"patch": 4}, {"autoencoder": "infogan"}])
def test_every_form_makes_faces_of_latents_and_of_faces(changes):
    with torch.device("meta"):
        method = BEGAN(replace(SMOKE, **changes))
        image = method.G(torch.empty(2, 16 + 4 + 2))
    assert image.shape == (2, 3, 32, 32) == method.D(image).shape and method.D.encoder(image).shape == (2, 16)
    assert method.P(image).shape == (2, 16 + 4 + 2 * 2)
    assert any(isinstance(m, nn.BatchNorm2d) for m in method.D.modules()) == (changes == {"autoencoder": "infogan"})


# -- the balance -------------------------------------------------------------------------------------------------------

def test_k_follows_the_balance_and_m_is_the_papers():
    method, k = method_with(k_step=0.5, gamma=0.6, **PLAIN), 0.0
    for step in range(4):
        log = method.step(batch(seed=step), "adversarial")
        real, fake = log["real"].item(), log["fake"].item()
        k = min(max(k + 0.5 * (0.6 * real - fake), 0.0), 1.0)
        assert method.scalars["k"] == pytest.approx(k, rel=1e-5)
        assert log["M"].item() == pytest.approx(real + abs(0.6 * real - fake), rel=1e-5)
    assert method.state()["scalars"]["k"] == method.scalars["k"], "a run that was stopped must go on with this k"


@pytest.mark.parametrize("k_step, k", [(1e3, {0.0, 1.0}), (-1e3, {0.0, 1.0})])
def test_k_stays_between_0_and_1(k_step, k):
    method = method_with(k_step=k_step, **PLAIN)
    assert {(method.step(batch(), "adversarial"), method.scalars["k"])[1] for _ in range(3)} <= k
    assert (losses.balance(1.0, 0.2, 0.5), losses.balance(0.2, 0.5, 0.5)) == (0.3, -0.4)


def test_the_losses_are_the_papers():
    method, image, seen = method_with(**PLAIN), batch()["image"], []
    method.scalars["k"] = 0.3
    method.update = lambda loss, opt: seen.append((loss.item(), opt))
    log = method.step({"image": image}, "adversarial")
    fake = method.G(method.layout.draw(8, torch.Generator().manual_seed(0)))
    real_error, fake_error = F.l1_loss(method.D(image), image).item(), F.l1_loss(method.D(fake), fake).item()
    assert (log["real"].item(), log["fake"].item()) == pytest.approx((real_error, fake_error), rel=1e-5)
    assert [opt for _, opt in seen] == [method.opt_D, method.opt_G]
    assert [loss for loss, _ in seen] == pytest.approx([real_error - 0.3 * fake_error, fake_error], rel=1e-5)


def test_the_step_size_halves():
    method = method_with(begun=False, lr=8e-4, lr_half=2, steps=(0, 12))
    rates = []
    for _ in range(5):
        method.step(batch(), "adversarial")
        rates.append((method.opt_G.param_groups[0]["lr"], method.opt_D.param_groups[0]["lr"]))
    assert rates == [(r, r) for r in (8e-4, 8e-4, 4e-4, 4e-4, 2e-4)]
    assert method.state()["scalars"]["played"] == 5


# -- who learns when ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("changes", [{}, {"autoencoder": "infogan"}])
def test_each_phase_teaches_its_own_networks(changes):
    method = method_with(**changes)
    assert moved(method, lambda: method.step(batch(), "autoencoder")) == {"D"}
    assert moved(method, lambda: method.step(batch(), "adversarial")) == {"G", "D", "P"}


def test_each_player_learns_in_its_own_update():
    method, names = method_with(), {}
    update = method.update
    method.update = lambda loss, opt: names.__setitem__(opt, moved(method, lambda: update(loss, opt)))
    method.step(batch(), "adversarial")
    assert names == {method.opt_D: {"D"}, method.opt_G: {"G", "P"}}


def test_the_autoencoder_phase_is_a_vae_with_clouds_of_one_size():
    method, image, seen = method_with(), batch()["image"], []
    method.update = lambda loss, _: seen.append(loss.item())
    log = method.step({"image": image}, "autoencoder")
    noise = torch.randn(8, 16, generator=torch.Generator().manual_seed(0))
    code = method.D.encoder(image)
    rec = F.l1_loss(method.D.decoder(code + SPREAD * noise), image)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(code, SPREAD), normal(0.0, 1.0)).sum(1).mean() / (3 * 32 * 32)
    assert (log["real"].item(), log["kl"].item()) == pytest.approx((rec.item(), kl.item()), rel=1e-4)
    assert seen == pytest.approx([(rec + kl).item()], rel=1e-4)


@pytest.mark.parametrize("changes", [{}, PLAIN])
def test_g_starts_as_ds_decoder_of_whitened_latents(changes):
    """What G makes of e, drawn from N(0, 1), is what D decodes of m + L e, the codes' mean and covariance."""
    method = method_with(begun=False, **changes)
    for seed in range(40):
        method.step(batch(seed=seed), "autoencoder")
    for twin, mine in ((method.G_ema, method.G),):                      # while D learns nobody averages G
        twin.load_state_dict(mine.state_dict())
    mean, square = method.whitening.mean.clone(), method.whitening.square.clone()
    factor = torch.linalg.cholesky(square - torch.outer(mean, mean) + 1e-4 * torch.eye(16))
    method.begin()
    e = torch.randn(6, 16, generator=torch.Generator().manual_seed(1))
    latents = F.pad(e, (0, method.layout.length - 16))
    expected = method.D.decoder(mean + e @ factor.T)
    for network in (method.G, method.G_ema):
        assert torch.allclose(network(latents), expected, atol=1e-5)


def test_g_starts_once():
    method, calls = method_with(begun=False), []
    method.begin = lambda: calls.append(1)
    for phase in ("autoencoder", "adversarial", "adversarial"):
        method.step(batch(), phase)
    assert calls == [1]


def test_codes_go_on_as_they_were_drawn_when_g_starts():
    method = method_with(begun=False)
    before = method.G.first.weight[:, 16:].clone()
    method.begin()
    assert torch.equal(method.G.first.weight[:, 16:], before) and before.abs().sum() > 0


# -- codes and verbs ---------------------------------------------------------------------------------------------------

def test_the_predictors_loss_is_the_codes_information_and_zs_error():
    method = method_with()
    vector = method.layout.draw(8, torch.Generator().manual_seed(0))
    fake = method.G(vector)
    loss, log = method.reading(fake, method.layout.split(vector))
    answer = method.P(fake)
    cat, cont = losses.information(answer[:, 16:], method.layout.split(vector), (4,), 2)
    recovery = F.mse_loss(answer[:, :16], vector[:, :16])
    assert loss.item() == pytest.approx((recovery - cat - 0.1 * cont).item(), rel=1e-5)
    assert {k: v.item() for k, v in log.items()} == pytest.approx(
        {"mi": cat.item(), "mi_cont": cont.item(), "recovery": recovery.item()}, rel=1e-5)


def test_the_predictor_comes_to_read_what_made_a_face():
    method = method_with(info=3.0, lr=2e-3, lr_half=1000)
    logs = [method.step(batch(seed=i), "adversarial") for i in range(60)]
    assert logs[-1]["recovery"].item() < 0.6 * logs[0]["recovery"].item()
    assert logs[-1]["mi"].item() > 1 > logs[0]["mi"].item() + 0.5


def test_encode_gives_all_latents_and_a_face_goes_there_and_back():
    method, image = method_with(), batch(3)["image"]
    found = method.encode(image)
    assert {k: tuple(v.shape) for k, v in found.items()} == {"z": (3, 16), "c_cat": (3, 4), "c_cont": (3, 2)}
    assert torch.allclose(found["c_cat"].sum(1), torch.ones(3)) and found["c_cont"].abs().max() <= 1
    assert torch.equal(found["z"], method.P(image)[:, :16]) and method.generate(found).shape == image.shape
    assert torch.equal(method.reconstruct(image), method.D(image).clamp(-1, 1)) and method.training


def test_samples_repeat_with_their_seed():
    method = method_with()
    faces = method.sample(5, seed=3)
    assert faces.shape == (5, 3, 32, 32) and faces.abs().max() <= 1 and not faces.requires_grad
    assert torch.equal(faces, method.sample(5, seed=3)) and not torch.equal(faces, method.sample(5, seed=4))
    assert torch.equal(method.generate(method.layout.split(method.draw_latents(5, 3))), faces)


def test_what_does_not_fit_is_refused_with_what_to_do():
    for changes, message in [({"size": 48}, r"size must be 8 \* patch = 16 times a power of two, got 48"),
                             ({"patch": 8}, r"size must be 8 \* patch = 64 times a power of two, got 32"),
                             ({"autoencoder": "vae"}, "autoencoder must be one of began, infogan, got 'vae'"),
                             ({"gamma": 0.0}, r"gamma must be in \(0, 1\], got 0.0"),
                             ({"latents": "uniform"}, 'for normal latents only: set latents="normal", or steps')]:
        with pytest.raises(ValueError, match=message):
            replace(SMOKE, **changes)
    with pytest.raises(ValueError, match="has no codes and no predictor .*use one with categorical or continuous codes"):
        method_with(**PLAIN).encode(batch()["image"])
    for wrong in (batch(size=64)["image"], batch()["image"][0]):
        with pytest.raises(ValueError, match=r"image must be \(B, 3, 32, 32\), what this BEGAN was trained on, got .*; resize"):
            method_with().encode(wrong)
