"""Globally and locally consistent completion: its architecture by hand, its phases, its two eyes, the source's switches."""

import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses, masks
from facelib.data import ATTRIBUTES, FaceData, Split
from facelib.methods.glcic import CLASS_ATTRIBUTES, GLCIC, CompletionNetwork, Discriminator, GLCICConfig
from facelib.train import Method, frozen

SEED, BOOK, SMOKE = (GLCIC.presets[name] for name in ("seed", "book", "smoke"))


def on_paper(network, cfg):
    """A network without memory: shapes and counts of the published size cost nothing."""
    with torch.device("meta"):
        return network(cfg)


def count(module):
    return sum(p.numel() for p in module.parameters())


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def batch(n=4, cfg=SMOKE, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {"image": torch.rand(n, 3, cfg.size, cfg.size, generator=generator) * 2 - 1,
            "attributes": torch.randint(0, 2, (n, 40), generator=generator)}


def method_with(**changes):
    method = GLCIC(replace(SMOKE, **changes)).train()
    method.generator.manual_seed(0)
    return method


# -- the published configuration ---------------------------------------------------------------------------------------

# Iizuka et al. 2017, table 1, at 160 pixels: (in, out, kernel, dilation, height and width of the output).
COMPLETION = [
    (4, 64, 5, 1, 160),
    (64, 128, 3, 1, 80), (128, 128, 3, 1, 80),
    (128, 256, 3, 1, 40), (256, 256, 3, 1, 40), (256, 256, 3, 1, 40),
    (256, 256, 3, 2, 40), (256, 256, 3, 4, 40), (256, 256, 3, 8, 40), (256, 256, 3, 16, 40),
    (256, 256, 3, 1, 40), (256, 256, 3, 1, 40),
    (256, 128, 4, 1, 80), (128, 128, 3, 1, 80),
    (128, 64, 4, 1, 160), (64, 32, 3, 1, 160), (32, 3, 3, 1, 160)]
# Table 2: six layers for the whole face of 160 pixels, five for its crop of 80; (in, out, height and width).
WHOLE = [(3, 64, 80), (64, 128, 40), (128, 256, 20), (256, 512, 10), (512, 512, 5), (512, 512, 3)]
LOCAL = [(3, 64, 40), (64, 128, 20), (128, 256, 10), (256, 512, 5), (512, 512, 3)]


def outputs(network, *inputs):
    """The convolutions of a network in the order in which they run, each with its output's shape."""
    seen = []
    for layer in convolutions(network):
        layer.register_forward_hook(lambda m, _, out: seen.append((m, tuple(out.shape))))
    return network(*inputs), seen


def test_the_completion_network_of_seed_layer_by_layer():
    network = on_paper(CompletionNetwork, SEED)
    pred, seen = outputs(network, torch.empty(1, 3, 160, 160, device="meta"), torch.empty(1, 1, 160, 160, device="meta"))
    assert pred.shape == (1, 3, 160, 160) and len(seen) == len(COMPLETION)
    expected = 0
    for (layer, shape), (inner, outer, kernel, dilation, side) in zip(seen, COMPLETION, strict=True):
        assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.dilation) == (
            inner, outer, (kernel, kernel), (dilation, dilation)) and shape == (1, outer, side, side)
        last = outer == 3                                       # a bias, and no batch norm; else a scale and a shift each
        assert (layer.bias is not None) == last
        expected += inner * outer * kernel ** 2 + (outer if last else 2 * outer)
    assert count(network) == expected == 6_069_155


def test_the_discriminators_of_seed_layer_by_layer():
    network = on_paper(Discriminator, SEED)
    crop = torch.empty(2, 3, 80, 80, device="meta")
    logits, seen = outputs(network, torch.empty(2, 3, 160, 160, device="meta"), crop)
    assert logits.shape == (2, 9)                               # 8 kinds of real faces and the generated one
    expected = 0
    for (layer, shape), (inner, outer, side) in zip(seen, WHOLE + LOCAL, strict=True):
        assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) == (inner, outer, (5, 5), (2, 2))
        assert shape == (2, outer, side, side) and layer.bias is None
        expected += inner * outer * 25 + 2 * outer              # batch norm after every convolution
    expected += 2 * (512 * 3 * 3 * 1024 + 1024)                 # each tower's vector of 1024
    expected += 2 * 1024 * 9 + 9                                # joined in one layer
    assert count(network) == expected
    assert network.whole(torch.empty(2, 3, 160, 160, device="meta")).shape == network.local(crop).shape == (2, 1024)


def test_seed_is_the_sources_configuration():
    assert SEED == GLCICConfig()
    assert (SEED.size, SEED.crop, SEED.steps, sum(SEED.steps), SEED.batch_size) == (160, 80, (9000, 1000, 40000), 50000, 64)
    assert (SEED.optimiser, SEED.lr, SEED.d_lr, SEED.weight_decay, SEED.alpha) == ("adadelta", 1e-3, 1e-3, 4e-4, 4e-4)
    assert [round(160 * share) for share in SEED.hole] == [46, 92] and SEED.label_smoothing == 0.75
    assert SEED.skip_links and SEED.semi_supervised and SEED.batch_norm and not SEED.saturating_loss
    assert SEED.input_range == "symmetric" and not SEED.spectral_norm and not SEED.deeper
    method = method_with(optimiser="adadelta", lr=1e-3, weight_decay=4e-4)
    for optimiser in (method.opt_G, method.opt_D):
        assert isinstance(optimiser, torch.optim.Adadelta)
        assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (1e-3, 4e-4)
    assert GLCIC(SMOKE).phases() == [("completion", 12), ("discriminator", 4), ("joint", 12)]


# -- what one output pixel sees ----------------------------------------------------------------------------------------

def reach(cfg, first, last):
    """By hand: the input pixels first..last that the output pixels first..last see, along one axis, without borders."""
    first, last = first - 2, last + 2                                   # the output layer, and the one before
    for _ in range(2):                                                  # each 4x4 of half a step, then a 3x3
        first, last = math.ceil((first - 2) / 2), (last + 1) // 2
        first, last = first - 1, last + 1
    first, last = first + 1, last - 1                                   # there is no 3x3 behind the second one
    radius = 2 + sum(cfg.dilations) * (2 if cfg.deeper else 1) + 2      # two 3x3 on either side of the dilated ones
    first, last = first - radius, last + radius
    for extra in (1, 2):                                                # stride 2; then the 3x3, or the 5x5 of full size
        first, last = 2 * first - 1, 2 * last + 1
        first, last = first - extra, last + extra
    return first, last


def seen_by(cfg, pixel, side):
    """Measured: which rows of the input have a gradient from output pixel (pixel, pixel)? All weights are positive.

    The reach does not depend on the number of channels, and no rectifier cuts a path where everything is positive.
    """
    network = CompletionNetwork(replace(cfg, width=2, batch_norm=False)).double().eval()
    for layer in convolutions(network):
        layer.weight.data.fill_(1 / layer.weight[0].numel())
        layer.bias.data.fill_(0.01)
    image = torch.full((1, 3, side, side), 0.1, dtype=torch.float64, requires_grad=True)
    network(image, torch.zeros(1, 1, side, side, dtype=torch.float64))[0, 0, pixel, pixel].backward()
    rows = image.grad[0].abs().amax((0, 2)).nonzero().flatten()
    columns = image.grad[0].abs().amax((0, 1)).nonzero().flatten()
    assert torch.equal(rows, columns)
    return int(rows[0]), int(rows[-1])


def test_the_receptive_field_covers_the_image():
    """The source says that an output pixel sees 160x160 pixels; ours sees 300 or so, as the published architecture does."""
    assert seen_by(SEED, 80, 160) == (0, 159)                           # the centre sees every pixel
    first, last = seen_by(SEED, 180, 360)                               # and more than there is, in an image large enough
    assert (first, last) == reach(SEED, 180, 180) and last - first + 1 >= 160
    # From a corner of 160 pixels, the last few on the far side stay out of sight; a hole always lies nearer.
    assert seen_by(SEED, 0, 160) == (0, reach(SEED, 0, 0)[1]) and reach(SEED, 0, 0)[1] > 145
    # At 64 pixels, three dilations are enough for every pixel to see every other.
    assert seen_by(BOOK, 0, 64) == seen_by(BOOK, 63, 64) == (0, 63)


def test_the_deeper_generator_sees_further_and_has_four_layers_more():
    deeper = replace(SEED, deeper=True)
    assert count(on_paper(CompletionNetwork, deeper)) == 6_069_155 + 4 * (256 * 256 * 9 + 2 * 256)
    assert reach(deeper, 0, 0)[1] - reach(SEED, 0, 0)[1] == 4 * 30      # 2 + 4 + 8 + 16 more, at a quarter of the size


# -- the step ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("phase", "changed", "logged"), [
    ("completion", {"G"}, {"rec", "loss_G"}),
    ("discriminator", {"D"}, {"sup", "loss_D", "D_real", "D_fake"}),
    ("joint", {"G", "D"}, {"rec", "adv", "loss_G", "sup", "loss_D", "D_real", "D_fake"})])
def test_which_networks_change_in_each_phase(phase, changed, logged):
    method = method_with()
    before = {k: v.clone() for k, v in method.named_parameters()}
    log = method.step(batch(), phase)
    moved = {k.split(".")[0] for k, v in method.named_parameters() if not torch.equal(v, before[k])}
    assert moved == changed and set(log) == logged                      # G_ema moves in fit alone
    still = [k for k, v in method.named_parameters() if k.split(".")[0] in changed and torch.equal(v, before[k])]
    assert not still, "in a network that learns, every layer does"
    assert all(p.requires_grad for network in (method.G, method.D) for p in network.parameters())


def test_completion_leaves_no_trace_in_the_discriminator():
    method = method_with()
    before = {k: v.clone() for k, v in method.D.state_dict().items()}
    method.step(batch(), "completion")
    assert all(torch.equal(v, before[k]) for k, v in method.D.state_dict().items())


def adversarial_gradient(method):
    """G's gradient of the adversarial loss alone, as `step` computes it in the joint phase."""
    method.update = lambda *_: None                                     # the losses, and no step
    log = method.step(batch(), "joint")
    return log["adv"], torch.autograd.grad(log["adv"], list(method.G.parameters()))


@pytest.mark.parametrize("deaf", ["whole", "local"])
def test_each_eye_of_the_discriminator_alone_teaches_the_completion_network(deaf):
    """The source's own code let nothing through the local path; here one path is cut, and the other must carry it all."""
    method, features = method_with(), SMOKE.d_features
    cut = slice(0, features) if deaf == "whole" else slice(features, 2 * features)
    method.D.join.weight.data[:, cut] = 0
    _, gradients = adversarial_gradient(method)
    assert all(g.isfinite().all() and g.abs().max() > 0 for g in gradients)


def test_without_either_eye_nothing_is_taught():
    method = method_with()
    method.D.join.weight.data.zero_()
    _, gradients = adversarial_gradient(method)
    assert not any(g.any() for g in gradients)


def test_the_discriminator_sees_the_composited_face_and_its_crop_around_the_hole():
    method, data, seen, drawn = method_with(), batch(), [], []
    method.update = lambda *_: None
    method.D.register_forward_pre_hook(lambda m, inputs: seen.append([x.detach().clone() for x in inputs]))
    method.G.register_forward_pre_hook(lambda m, inputs: drawn.append([x.clone() for x in inputs]))
    method.step(data, "joint")
    (real, elsewhere), (fake, crop), (again, crop_again) = seen
    (filled, mask), = drawn
    hole = mask.expand_as(fake) > 0.5
    assert torch.equal(real, data["image"]) and torch.equal(fake[~hole], real[~hole])
    assert not torch.equal(fake[hole], real[hole])
    assert torch.equal(fake, again) and torch.equal(crop, crop_again)   # what D judges is what teaches G
    assert torch.equal(crop, masks.cut(fake, masks.local_boxes(mask, SMOKE.crop)))
    assert elsewhere.shape == crop.shape and not torch.equal(elsewhere, masks.cut(real, masks.local_boxes(mask, SMOKE.crop)))
    sides = masks.boxes_of(mask)[:, 2:]
    assert sides.min() >= round(32 * 0.3) and sides.max() <= round(32 * 0.6)
    # G sees the mean pixel in the hole, and nothing of what is behind it.
    method.mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    filled = method.fill(real, mask)
    assert torch.equal(filled[~hole], real[~hole])
    assert torch.equal(filled[hole], method.mean.view(1, 3, 1, 1).expand_as(filled)[hole])


def test_the_discriminators_update_does_not_reach_the_completion_network():
    method, reached = method_with(), []

    def update(loss, *optimisers):
        if optimisers == (method.opt_D,):
            found = torch.autograd.grad(loss, list(method.G.parameters()), allow_unused=True, retain_graph=True)
            reached.append([g is not None for g in found])
    method.update = update
    method.step(batch(), "joint")
    assert len(reached) == 1 and not any(reached[0])


def test_losses_in_the_log_are_the_books_equations():
    method, data, logits, made = method_with(alpha=0.3), batch(), [], []
    method.update = lambda *_: None
    method.D.register_forward_hook(lambda m, i, out: logits.append(out.detach()))
    method.G.register_forward_hook(lambda m, inputs, out: made.append((inputs[1], out.detach())))
    log = method.step(data, "joint")
    (mask, pred), (real, fake, again) = made[0], logits
    odds = [losses.real_logit(x) for x in (real, fake, again)]
    target = torch.full_like(odds[0], 0.75)
    expected = F.binary_cross_entropy_with_logits(odds[0], target) + F.softplus(odds[1]).mean()
    supervised = F.cross_entropy(real[:, :8], method.classes(data["attributes"]))
    assert log["sup"].item() == pytest.approx(supervised.item(), rel=1e-5)
    assert log["loss_D"].item() == pytest.approx((expected + supervised).item(), rel=1e-5)
    rec = ((pred - data["image"]) ** 2 * mask).sum() / (3 * mask.sum())
    assert log["rec"].item() == pytest.approx(rec.item(), rel=1e-5)
    assert log["adv"].item() == pytest.approx(F.softplus(-odds[2]).mean().item(), rel=1e-5)
    assert log["loss_G"].item() == pytest.approx((rec + 0.3 * log["adv"]).item(), rel=1e-5)
    assert log["D_real"].item() == pytest.approx(odds[0].sigmoid().mean().item(), rel=1e-5)


# -- the source's six changes, and the deeper generator ----------------------------------------------------------------

def test_skip_links_carry_fine_detail_past_the_coarse_layers():
    """With the coarse layers silenced, only a link from the lower layers lets the input reach the output."""
    for linked in (True, False):
        network = CompletionNetwork(replace(SMOKE, skip_links=linked, batch_norm=False)).eval()
        network.coarse.register_forward_hook(lambda m, i, out: torch.zeros_like(out))
        a, b = (network(batch(seed=s)["image"], torch.zeros(4, 1, 32, 32)) for s in (0, 1))
        assert torch.equal(a, b) != linked
    assert count(CompletionNetwork(SMOKE)) == count(CompletionNetwork(replace(SMOKE, skip_links=False)))      # they add, no more


def test_semi_supervised_adds_eight_classes_and_a_loss():
    on, off = method_with(), method_with(semi_supervised=False)
    assert (on.D.join.out_features, off.D.join.out_features) == (9, 1)
    assert "sup" in on.step(batch(), "joint") and "sup" not in off.step(batch(), "joint")
    unlabelled = method_with().step({"image": batch()["image"]}, "joint")              # a data set without attributes
    assert "sup" not in unlabelled and unlabelled["loss_D"].isfinite()
    unknown = method_with().step(batch() | {"attributes": torch.full((4, 40), -1)}, "joint")
    assert unknown["sup"] == 0


@pytest.mark.parametrize(("input_range", "demean", "low", "high"), [
    ("symmetric", False, -1, 1), ("bytes", False, 0, 255), ("symmetric", True, -1.5, 0.5), ("bytes", True, -191.25, 63.75)])
def test_input_range_and_mean_are_what_the_networks_see(input_range, demean, low, high):
    method, seen = method_with(input_range=input_range, demean=demean), []
    method.mean.fill_(0.5)
    for layer in (method.G.fine[0], method.D.whole[0][0], method.D.local[0][0]):
        layer.register_forward_pre_hook(lambda m, x: seen.append(x[0][:, :3]))
    data = batch()
    data["image"][:, :, ::2], data["image"][:, :, 1::2] = -1, 1
    log = method.step(data, "joint")
    assert all(x.min() >= low - 1e-4 and x.max() <= high + 1e-4 for x in seen)
    assert min(x.min() for x in seen) == low and max(x.max() for x in seen) == high and len(seen) == 7
    assert log["rec"].isfinite()
    completed = method.complete(data["image"], masks.center(4, 32))
    assert completed.abs().max() <= 1                                   # the output's range is the same


def test_with_the_mean_taken_off_a_hole_is_zero():
    method = method_with(demean=True)
    method.mean.copy_(torch.tensor([0.1, -0.2, 0.3]))
    filled = method.normalise(method.fill(batch()["image"], masks.center(4, 32)))
    assert filled[:, :, 8:24, 8:24].abs().max() == 0


def test_saturating_loss_is_log_of_one_minus_d():
    for saturating in (True, False):
        method, odds = method_with(saturating_loss=saturating), []
        method.D.register_forward_hook(lambda m, i, out, odds=odds: odds.append(losses.real_logit(out.detach())))
        adv, _ = adversarial_gradient(method)
        d = odds[-1].double().sigmoid()
        assert adv.item() == pytest.approx(((1 - d).log() if saturating else -d.log()).mean().item(), rel=1e-5)


def test_with_a_sure_discriminator_only_the_saturating_loss_teaches_nothing():
    sizes = []
    for saturating in (True, False):
        method = method_with(saturating_loss=saturating, semi_supervised=False)
        method.D.join.bias.data.fill_(-30)                              # D is sure: everything is fake
        _, gradients = adversarial_gradient(method)
        sizes.append(max(float(g.abs().max()) for g in gradients))
    assert sizes[0] < 1e-9 and sizes[1] > 1e-6


def test_batch_norm_follows_every_convolution_but_the_last():
    norms = lambda network: sum(isinstance(m, nn.BatchNorm2d) for m in network.modules())
    with_norm, without = method_with(), method_with(batch_norm=False)
    assert norms(with_norm.G) == len(convolutions(with_norm.G)) - 1 and norms(with_norm.D) == len(convolutions(with_norm.D))
    assert norms(without.G) == norms(without.D) == 0
    assert all(layer.bias is not None for layer in convolutions(without.G) + convolutions(without.D))
    assert without.step(batch(), "joint")["loss_G"].isfinite()


def test_spectral_norm_replaces_the_discriminators_batch_norm():
    method = method_with(spectral_norm=True)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in method.D.modules())
    assert all(nn.utils.parametrize.is_parametrized(layer, "weight") for layer in convolutions(method.D))
    for _ in range(30):                                                 # the power iteration settles
        method.D(torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 16, 16))
    for layer in convolutions(method.D):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(1, abs=0.05)


def test_label_smoothing_moves_the_target_of_real_faces():
    logged = {s: method_with(label_smoothing=s, semi_supervised=False).step(batch(), "discriminator") for s in (0.75, 1.0)}
    method, odds = method_with(semi_supervised=False), []
    method.D.register_forward_hook(lambda m, i, out: odds.append(out.detach()))
    method.step(batch(), "discriminator")
    # -t log D - (1 - t) log(1 - D) differs between the targets by (1 - t) times the logit.
    assert (logged[0.75]["loss_D"] - logged[1.0]["loss_D"]).item() == pytest.approx(0.25 * odds[0].mean().item(), abs=1e-6)


@pytest.mark.parametrize("changes", [{"deeper": True}, {"skip_links": False, "batch_norm": False}, {"optimiser": "adadelta"},
                                     {"input_range": "bytes", "saturating_loss": True}, {"spectral_norm": True, "deeper": True}])
def test_switches_go_together(changes):
    method = method_with(**changes)
    for phase, _ in method.phases():
        assert all(v.isfinite() for v in method.step(batch(), phase).values())


# -- classes, configuration --------------------------------------------------------------------------------------------

def test_classes_are_the_combinations_of_three_attributes():
    assert [ATTRIBUTES[i] for i in CLASS_ATTRIBUTES] == ["Male", "Smiling", "Young"]
    attributes = torch.full((10, 40), -1, dtype=torch.int8)
    for row in range(8):
        attributes[row, list(CLASS_ATTRIBUTES)] = torch.tensor([row >> 2 & 1, row >> 1 & 1, row & 1], dtype=torch.int8)
    attributes[8, list(CLASS_ATTRIBUTES)] = torch.tensor([1, -1, 1], dtype=torch.int8)
    assert GLCIC(SMOKE).classes(attributes).tolist() == [0, 1, 2, 3, 4, 5, 6, 7, -1, -1]


@pytest.mark.parametrize(("changes", "message"), [
    ({"size": 30}, "size must be a multiple of 4 and crop at most size, got 30 and 16"),
    ({"crop": 40}, "size must be a multiple of 4 and crop at most size, got 32 and 40"),
    ({"input_range": "unit"}, "input_range must be symmetric or bytes, got 'unit'"),
    ({"optimiser": "sgd"}, "optimiser must be adadelta or adam, got 'sgd'")])
def test_a_configuration_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **changes)


def test_the_mean_comes_from_the_data_and_the_data_must_fit():
    split = Split(np.random.default_rng(0).integers(0, 200, (8, 3, 32, 32), dtype=np.uint8))
    method, faces = GLCIC(SMOKE), FaceData("noise", split, split, split)
    method.adopt(faces)
    assert torch.equal(method.mean, faces.mean) and method.mean.any()
    with pytest.raises(ValueError, match="trains on faces of size 160, got noise with 32x32 pixels; load them with size=160"):
        Method.adopt(SimpleNamespace(training_size=(160, 160)), faces)  # its method, without its 40 million weights


def test_other_sizes_than_its_own_are_completed():
    """The network is fully convolutional, and holes may lie anywhere, several at once."""
    method, image = GLCIC(SMOKE), torch.zeros(1, 3, 48, 20)
    mask = masks.from_boxes(torch.tensor([[0, 0, 6, 6]]), (48, 20)) + masks.from_boxes(torch.tensor([[12, 40, 8, 8]]), (48, 20))
    completed = method.complete(image, mask)
    assert completed.shape == image.shape and not completed[mask.expand_as(image) < 0.5].any()


def test_preview_shows_masked_completed_and_true():
    method, image = GLCIC(SMOKE), batch()["image"]
    masked, completed, true = method.preview(image)
    hole = masks.center(4, 32).expand_as(image) > 0.5
    assert torch.equal(true, image) and torch.equal(masked[~hole], image[~hole]) and not masked[hole].any()
    assert torch.equal(completed, method.complete(image, masks.center(4, 32)))


def test_frozen_player_learns_nothing_from_the_others_update():
    method = method_with()
    with frozen(method.D):
        method.D(torch.zeros(2, 3, 32, 32), torch.zeros(2, 3, 16, 16).requires_grad_()).sum().backward()
    assert all(p.grad is None for p in method.D.parameters())
