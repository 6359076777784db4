"""The two one-stage networks beside EnhanceGAN: one network, two objectives, and what they refuse."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from facelib import losses, resolution
from facelib.data import FaceData, Split
from facelib.methods.sr_gan import SRGAN
from facelib.methods.sr_regression import SRRegression
from facelib.train import fit

both = pytest.mark.parametrize("cls", [SRRegression, SRGAN])


def batch(n=4, seed=0):
    return {"image": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


@both
def test_before_training_it_is_the_bicubic_enlargement(cls):
    low = resolution.shrink(batch()["image"])
    expected = F.interpolate(low, scale_factor=4, mode="bicubic").clamp(-1, 1)
    assert torch.allclose(cls().upscale(low), expected, atol=1e-6)


def test_both_have_the_same_network():
    shapes = [{k: v.shape for k, v in cls(cls.presets["book"]).G.state_dict().items()} for cls in (SRRegression, SRGAN)]
    assert shapes[0] == shapes[1]


def test_regression_minimises_the_mean_absolute_error():
    method, data, seen = SRRegression(), batch(), []
    method.update = lambda loss, *_: seen.append(loss.item())
    log = method.step(data, "regression")
    error = (method.G(resolution.shrink(data["image"])) - data["image"]).abs().mean().item()
    assert log["rec"].item() == seen[0] == pytest.approx(error)


def test_the_gans_losses_are_the_books_and_teach_their_own_networks():
    method, data, seen = SRGAN().train(), batch(8), []
    update = method.update
    method.update = lambda loss, *optimisers: (seen.append(loss.item()), update(loss, *optimisers))
    before = {k: v.detach().clone() for k, v in method.named_parameters()}
    method.step(data, "regression")
    changed = {k.split(".")[0] for k, v in method.named_parameters() if not torch.equal(v, before[k])}
    assert changed == {"G"} and len(seen) == 1
    cfg, image = method.cfg, data["image"]
    pred = method.G(resolution.shrink(image)).detach()
    expected = losses.gan_D(method.D(image), method.D(pred)).item()
    few = image[:1].clone().requires_grad_()
    (slope,) = torch.autograd.grad(method.D(few).sum(), few)
    log = method.step(data, "adversarial")
    assert log["loss_D"].item() == pytest.approx(expected, rel=1e-4)
    assert seen[1] == pytest.approx(expected + cfg.r1 / 2 * slope.pow(2).sum().item(), rel=1e-4)
    total = cfg.pixel * log["rec"] + cfg.perceptual * log["perc"] + cfg.adv * log["adv"]
    assert seen[2] == pytest.approx(total.item(), rel=1e-5)
    changed = {k.split(".")[0] for k, v in method.named_parameters() if not torch.equal(v, before[k])}
    assert changed == {"G", "D"}


@both
def test_every_place_has_its_own_features_and_every_pixel_may_matter(cls):
    method = cls()
    torch.nn.init.normal_(method.G.last.weight)
    low = resolution.shrink(batch(1)["image"]).requires_grad_()
    (slope,) = torch.autograd.grad(method.G(low)[0, :, 0, 0].sum(), low)
    assert (slope != 0).all()                                   # the corner knows of the whole face
    assert method.G.places.shape[2:] == (8, 8) and method.G.places.requires_grad


@both
def test_faces_and_low_of_other_sizes_are_refused(cls, tmp_path):
    with pytest.raises(ValueError, match=r"low must be \(B, 3, 8, 8\).*got \(1, 3, 7, 9\)"):
        cls().upscale(torch.zeros(1, 3, 7, 9))
    split = Split(np.zeros((40, 3, 64, 64), np.uint8))
    with pytest.raises(ValueError, match="load them with size=32"):
        fit(cls(), FaceData("black", split, split, split), tmp_path / "run", quiet=True)
    with pytest.raises(ValueError, match="size must be 32"):
        cls.Config(size=64)
