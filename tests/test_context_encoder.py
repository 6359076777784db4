"""The context encoder: its bottleneck by hand, what its discriminator sees, its loss, its one hole."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import masks
from facelib.data import FaceData, Split
from facelib.methods.context_encoder import ContextEncoder, ContextNetwork, Discriminator

SEED, BOOK, TODAY, SMOKE = (ContextEncoder.presets[name] for name in ("seed", "book", "today", "smoke"))


def batch(n=4, cfg=SMOKE, seed=0):
    return {"image": torch.rand(n, 3, cfg.size, cfg.size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(**changes):
    return ContextEncoder(replace(SMOKE, **changes)).train()


def on_paper(network, cfg):
    with torch.device("meta"):
        return network(cfg)


def weights_of(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]


# -- the networks ------------------------------------------------------------------------------------------------------

def test_the_published_configuration():
    """Pathak et al. 2016, section 4: 128 pixels, the central 64 missing, 0.999 and 0.001, D's step size a tenth of G's."""
    assert (SEED.size, SEED.hole, SEED.rec, SEED.adv) == (128, 0.5, 0.999, 0.001) and SEED.lr == 10 * SEED.d_lr
    network = on_paper(ContextNetwork, SEED)
    image = torch.empty(2, 3, 128, 128, device="meta")
    assert network(image).shape == image.shape and network.encoder(image).shape == (2, 512, 4, 4)
    assert on_paper(Discriminator, SEED)(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1)


def test_what_is_published_is_small():
    method = on_paper(ContextEncoder, BOOK)
    assert 2 * sum(p.numel() for p in method.G_ema.parameters()) < 1.6e6                  # bytes as float16


def test_faces_of_128_pixels_are_squeezed_just_as_far():
    """One convolution more than at 64 pixels: the channel-wise layer still joins 4x4 places, and the hole's content is 64x64."""
    network, image = on_paper(ContextNetwork, TODAY), torch.empty(2, 3, TODAY.size, TODAY.size, device="meta")
    assert TODAY.size == 128 and network(image).shape == image.shape
    assert network.encoder(image).shape[2:] == (4, 4) == network.channelwise.kernel_size
    assert len(network.encoder) == len(on_paper(ContextNetwork, BOOK).encoder) + 1
    assert 1.5e6 < sum(p.numel() for p in network.parameters()) < 2.5e6
    assert on_paper(Discriminator, TODAY)(torch.empty(2, 3, 64, 64, device="meta")).shape == (2, 1)


def test_channelwise_connects_every_place_of_a_map_with_every_other_of_the_same_map():
    network = ContextNetwork(SMOKE)
    channels = network.channelwise.in_channels
    assert network.channelwise.weight.numel() == channels * 16 * 16                       # a full connection: channels^2 as many
    code = torch.randn(1, channels, 4, 4).requires_grad_()
    out = network.channelwise(code).view(code.shape)
    slope, = torch.autograd.grad(out[0, 3, 2, 1], code)
    assert slope[0, 3].abs().min() > 0 and not slope[0, [c for c in range(channels) if c != 3]].any()


def test_without_the_bottleneck_the_border_could_not_reach_the_centre():
    """What the layer is for: the prediction in the hole's middle depends on the farthest corner of the face."""
    network, image = ContextNetwork(SMOKE), batch(1)["image"].requires_grad_()
    slope, = torch.autograd.grad(network(image)[0, 0, 16, 16], image)
    assert slope[0, :, 0, 0].abs().max() > 0 and slope[0, :, -1, -1].abs().max() > 0


def test_norms():
    norms = lambda network: sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    seed = on_paper(ContextEncoder, SEED)
    # Not at the input, not at the channel-wise layer, not at the output.
    assert norms(seed.G) == len(weights_of(seed.G)) - 3 and norms(seed.D) == len(weights_of(seed.D)) - 2
    smoke = ContextEncoder(SMOKE)
    assert norms(smoke.G) == norms(smoke.D) == 0
    assert all(nn.utils.parametrize.is_parametrized(layer, "weight") for layer in weights_of(smoke.D))


# -- a step ------------------------------------------------------------------------------------------------------------

def test_each_player_learns_from_its_own_loss_alone():
    method, updates = method_with(), []

    def update(loss, *optimisers):
        reached = [name for name in ("G", "D") for p in [next(getattr(method, name).parameters())] if p.requires_grad
                   and torch.autograd.grad(loss, p, allow_unused=True, retain_graph=True)[0] is not None]
        updates.append((optimisers, reached))
    method.update = update
    method.step(batch(), "joint")
    assert updates == [((method.opt_D,), ["D"]), ((method.opt_G,), ["G"])]


def test_d_sees_the_holes_content_and_g_the_painted_hole():
    method, data, given, judged = method_with(), batch(), [], []
    method.mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    method.G.register_forward_hook(lambda m, inputs, out: given.append((inputs[0], out.detach())))
    method.D.register_forward_pre_hook(lambda m, inputs: judged.append(inputs[0].detach().clone()))
    method.step(data, "joint")
    (filled, pred), = given
    inner = (slice(None), slice(None), slice(8, 24), slice(8, 24))
    assert torch.equal(filled[inner], method.mean.view(1, 3, 1, 1).expand(4, 3, 16, 16))
    hole = masks.center(4, 32).expand_as(filled) > 0.5
    assert torch.equal(filled[~hole], data["image"][~hole])
    real, fake, again = judged
    assert torch.equal(real, data["image"][inner]) and torch.equal(fake, pred[inner]) and torch.equal(again, fake)


def test_losses_in_the_log_are_the_books_equations():
    method, data, logits, made = method_with(adv=0.3, rec=0.7), batch(), [], []
    method.update = lambda *_: None
    method.D.register_forward_hook(lambda m, i, out: logits.append(out.detach()))
    method.G.register_forward_hook(lambda m, i, out: made.append(out.detach()))
    log = method.step(data, "joint")
    rec = F.mse_loss(made[0][..., 8:24, 8:24], data["image"][..., 8:24, 8:24]).item()
    real, fake, again = logits
    assert log["rec"].item() == pytest.approx(rec, rel=1e-5)
    assert log["adv"].item() == pytest.approx(F.softplus(-again).mean().item(), rel=1e-5)
    assert log["loss_G"].item() == pytest.approx(0.7 * rec + 0.3 * log["adv"].item(), rel=1e-5)
    assert log["loss_D"].item() == pytest.approx((F.softplus(-real).mean() + F.softplus(fake).mean()).item(), rel=1e-5)


def test_without_the_adversarial_loss_the_discriminator_rests():
    method = method_with(adv=0.0)
    before = [p.clone() for p in method.D.parameters()]
    log = method.step(batch(), "joint")
    assert set(log) == {"rec", "loss_G"} and all(torch.equal(a, b) for a, b in zip(before, method.D.parameters(), strict=True))


# -- completion --------------------------------------------------------------------------------------------------------

def test_it_sees_no_mask_only_paint():
    """A hole of the mean colour and a face that has this colour there are one and the same to it."""
    method, image, mask = ContextEncoder(SMOKE), batch()["image"], masks.center(4, 32)
    painted, wider = method.fill(image, mask), masks.center(4, 32, hole=0.25)
    inside = wider.expand_as(image) > 0.5
    assert torch.equal(method.complete(image, mask)[inside], method.complete(painted, wider)[inside])


def test_the_mean_comes_from_the_data_and_the_data_must_fit():
    method = ContextEncoder(SMOKE)
    split = Split(np.random.default_rng(0).integers(0, 200, (8, 3, 32, 32), dtype=np.uint8))
    small, faces = Split(split.images[..., :16, :16]), FaceData("noise", split, split, split)
    method.adopt(faces)
    assert torch.equal(method.mean, faces.mean) and method.mean.any()
    with pytest.raises(ValueError, match="trains on faces of size 32, got noise with 16x16 pixels; load them with size=32"):
        method.adopt(FaceData("noise", small, small, small))


def test_another_size_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match=r"height and width must be 32, which .* trained at, got \(64, 64\); resize"):
        ContextEncoder(SMOKE).complete(torch.zeros(1, 3, 64, 64), masks.center(1, 64))
    for changes in ({"size": 48}, {"hole": 0.4}):
        with pytest.raises(ValueError, match="size must be a power of two, 16 or more, and hole 0.25 or 0.5"):
            replace(SMOKE, **changes)


def test_preview_shows_masked_completed_and_true():
    method, image = ContextEncoder(SMOKE), batch()["image"]
    masked, completed, true = method.preview(image)
    hole = masks.center(4, 32).expand_as(image) > 0.5
    assert torch.equal(true, image) and torch.equal(masked[~hole], image[~hole]) and not masked[hole].any()
    assert torch.equal(completed, method.complete(image, masks.center(4, 32)))
