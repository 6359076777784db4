"""The variational autoencoder: its size, its two terms, what its noise does, its verbs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelib.data import FaceData, Split
from facelib.methods.dcgan import DCGAN
from facelib.methods.vae import VAE
from facelib.train import fit

BOOK, SMOKE = VAE.presets["book"], VAE.presets["smoke"]


def batch(n=4, size=SMOKE.size, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def faces(n=16, size=SMOKE.size):
    split = Split(np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8))
    return FaceData("noise", split, split, split)


def count(method):
    return sum(v.numel() for k, v in method.state_dict().items() if k.split(".")[0] in method.ships)


def test_the_published_size_is_that_of_the_dcgan_in_kind_and_below_it_in_weights():
    with torch.device("meta"):
        method = VAE(BOOK)
    image = torch.empty(2, 3, 64, 64, device="meta")
    mean, log_var = method.E(image)
    assert mean.shape == log_var.shape == (2, 100) and method.G(mean).shape == image.shape
    assert (BOOK.size, BOOK.z_dim) == (DCGAN.presets["book"].size, DCGAN.presets["book"].z_dim)
    assert 3.2e6 < 2 * count(method) < 3.6e6                    # bytes as float16


def test_the_losses_in_the_log_are_the_books_equations():
    method, data, seen = VAE(SMOKE), batch(), []
    method.update = lambda loss, *_: seen.append(loss)
    method.generator.manual_seed(0)
    log = method.step(data, "autoencoder")
    noise = method.prior(4, torch.Generator().manual_seed(0))
    mean, log_var = method.E(data["image"])
    pred = method.G(mean + (log_var / 2).exp() * noise)
    rec = F.mse_loss(pred, data["image"]) / (2 * SMOKE.noise**2)
    normal = torch.distributions.Normal
    kl = torch.distributions.kl_divergence(normal(mean, (log_var / 2).exp()), normal(0.0, 1.0)).sum(1).mean() / (3 * 32 * 32)
    assert log["rec"].item() == pytest.approx(rec.item(), rel=1e-5)
    assert log["kl"].item() == pytest.approx(kl.item(), rel=1e-4)
    assert log["loss"].item() == seen[0].item() == pytest.approx((rec + kl).item(), rel=1e-5)


def test_one_update_teaches_both_networks():
    method = VAE(SMOKE).train()
    before = [p.clone() for p in method.parameters()]
    names = [name for name, _ in method.named_parameters()]
    method.step(batch(), "autoencoder")
    moved = {name.split(".")[0] for name, a, b in zip(names, before, method.parameters(), strict=True) if not torch.equal(a, b)}
    assert moved == {"G", "E"}


def test_more_noise_means_latents_nearer_to_the_prior(tmp_path):
    """`noise` weighs the two terms: with much of it the latents tell nothing, with little they keep the faces apart."""
    kl = {}
    for noise in (0.05, 5.0):
        method = fit(VAE(replace(SMOKE, noise=noise, steps=60, lr=5e-3)), faces(), tmp_path / str(noise), quiet=True,
                     precision="no")
        with torch.no_grad():
            mean, log_var = method.E(faces().train.tensor())
        kl[noise] = float(0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean())
    assert kl[5.0] < 0.5 < 2 < kl[0.05]


def test_samples_repeat_with_their_seed_and_shrink_to_one_face_with_their_spread():
    method = VAE(SMOKE)
    a = method.sample(5, seed=3)
    assert a.shape == (5, 3, 32, 32) and a.abs().max() <= 1 and not a.requires_grad
    assert torch.equal(a, method.sample(5, seed=3)) and not torch.equal(a, method.sample(5, seed=4))
    typical = method.sample(5, seed=3, spread=0.0)
    assert torch.allclose(typical, typical[:1].expand_as(typical), atol=1e-6)
    assert method.sample(0).shape == (0, 3, 32, 32)


def test_a_latent_goes_to_a_face_and_back():
    method, image = VAE(SMOKE), batch()["image"]
    z = method.encode(image)["z"]
    assert z.shape == (4, SMOKE.z_dim) and torch.equal(z, method.E_ema(image)[0])
    assert torch.equal(method.reconstruct(image), method.G_ema(z))
    shown, again, nobody = method.preview(image)
    assert torch.equal(shown, image) and torch.equal(again, method.reconstruct(image)) and torch.equal(nobody, method.sample(4))


def test_what_does_not_fit_is_refused_with_what_to_do():
    method = VAE(SMOKE)
    for wrong in (batch(size=64)["image"], batch()["image"][0]):
        with pytest.raises(ValueError, match=r"image must be \(B, 3, 32, 32\), what this VAE was trained on, got .*; resize it"):
            method.encode(wrong)
    with pytest.raises(ValueError, match="VAE trains on faces of size 32, got noise with 64x64 pixels; load them"):
        method.adopt(faces(size=64))
    with pytest.raises(ValueError, match="size must be a power of two, 8 or more, got 48"):
        replace(SMOKE, size=48)
