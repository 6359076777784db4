"""Adversarial denoising autoencoder: its architecture by hand, turns, the four losses, pooling, the dynamic X, white holes."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses, masks
from facelib.data import FaceData, Split
from facelib.methods.denoising import Autoencoder, DenoisingAutoencoder, DenoisingConfig, Discriminator, paint
from facelib.train import fit

SEED, BOOK, SMOKE = (DenoisingAutoencoder.presets[name] for name in ("seed", "book", "smoke"))
PLAIN = replace(SMOKE, dynamic=False)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def on_paper(network, cfg):
    """A network without memory: shapes and counts of the published size cost nothing."""
    with torch.device("meta"):
        return network(cfg)


def convolutions(module):
    return [m for m in module.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def outputs(network, *inputs):
    """The convolutions of a network in the order in which they run, each with its output's shape."""
    seen = []
    for layer in convolutions(network):
        layer.register_forward_hook(lambda m, _, out: seen.append((m, tuple(out.shape))))
    return network(*inputs), seen


def batch(n=4, size=32, seed=0):
    return {"image": torch.rand(n, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(**changes):
    method = DenoisingAutoencoder(replace(PLAIN, **changes)).train()
    method.generator.manual_seed(0)
    return method


def noise(n=16, size=32):
    split = Split(np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8))
    return FaceData("noise", split, split.take(slice(0, 4)), split.take(slice(0, 4)))


# -- the published configuration ---------------------------------------------------------------------------------------

# At 160x128: (in, out, stride or its inverse, height, width of the output), 5x5 everywhere.
ENCODER = [(3, 128, 80, 64), (128, 256, 40, 32), (256, 512, 20, 16), (512, 1024, 10, 8)]
DECODER = [(1024, 512, 20, 16), (512, 256, 40, 32), (256, 256, 80, 64), (256, 128, 160, 128), (128, 3, 160, 128)]


def test_the_autoencoder_of_seed_layer_by_layer():
    network = on_paper(Autoencoder, SEED)
    pred, seen = outputs(network, torch.empty(2, 3, 160, 128, device="meta"))
    assert pred.shape == (2, 3, 160, 128) and len(seen) == 9
    for i, ((layer, shape), (inner, outer, height, width)) in enumerate(zip(seen, ENCODER + DECODER, strict=True)):
        assert (layer.in_channels, layer.out_channels, layer.kernel_size) == (inner, outer, (5, 5))
        assert shape == (2, outer, height, width)                       # the centre: 1024 maps of 10x8
        assert isinstance(layer, nn.ConvTranspose2d) == (4 <= i < 8) and layer.stride == ((1, 1) if i == 8 else (2, 2))
        assert (layer.bias is None) == (i < 8)                          # batch norm has its own
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 8, "after every convolution but the output"
    expected = sum(i * o * 25 + (2 * o if o > 3 else 3) for i, o, _, _ in ENCODER + DECODER)
    assert sum(p.numel() for p in network.parameters()) == expected
    assert [type(block[2]) for block in network.encoder] == [nn.LeakyReLU] * 4
    assert [type(block[2]) for block in network.decoder] == [nn.ReLU] * 4
    assert not any(isinstance(m, nn.MaxPool2d | nn.AvgPool2d | nn.Linear) for m in network.modules())


def test_the_discriminator_of_seed_layer_by_layer():
    network = on_paper(Discriminator, SEED)
    logits, seen = outputs(network, torch.empty(2, 3, 160, 128, device="meta"))
    assert logits.shape == (2, 1)
    for (layer, shape), (inner, outer, height, width) in zip(seen, ENCODER, strict=True):
        assert (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride) == (inner, outer, (5, 5), (2, 2))
        assert shape == (2, outer, height, width)
    assert network.join.in_features == 1024 * 10 * 8 and network.join.bias is None
    assert all(block[2].negative_slope == 0.2 for block in network.convs)


def test_seed_is_the_sources_configuration():
    assert SEED == DenoisingConfig()
    assert (SEED.size, SEED.batch_size, SEED.mse_weight, SEED.known_weight) == ((160, 128), 128, 1.0, 1.0)
    assert (SEED.lr, SEED.d_lr, SEED.betas[0], SEED.weight_decay, SEED.init_std) == (2e-4, 2e-4, 0.5, 1e-5, 0.02)
    assert (SEED.pooling, SEED.reduction) == ("average", "sum")
    assert SEED.adversarial and not SEED.composited and not SEED.dynamic and not SEED.spectral_norm
    small = replace(SEED, size=(32, 16), widths=(8, 8, 8, 64), up_widths=(64, 8, 8, 8), d_widths=(8, 8, 8, 64))
    method = DenoisingAutoencoder(small)
    assert method.phases() == [("reconstruction", 0), ("adversarial", 20000)]
    for network, optimiser in ((method.G, method.opt_G), (method.D, method.opt_D)):
        assert isinstance(optimiser, torch.optim.Adam)
        assert (optimiser.defaults["lr"], optimiser.defaults["weight_decay"]) == (2e-4, 1e-5)
        assert optimiser.defaults["betas"][0] == 0.5
        weights = torch.cat([layer.weight.detach().flatten() for layer in convolutions(network)])
        assert float(weights.std()) == pytest.approx(0.02, rel=0.05) and abs(float(weights.mean())) < 1e-3


def test_pictures_that_are_not_square_train_and_are_completed():
    cfg = replace(SEED, size=(48, 32), widths=(8, 8, 8, 8), up_widths=(8, 8, 8, 8), d_widths=(8, 8, 8, 8), batch_size=4)
    method = DenoisingAutoencoder(cfg).train()
    data = {"image": torch.rand(4, 3, 48, 32) * 2 - 1}
    for _ in range(2):
        assert all(v.isfinite() for v in method.step(data, "adversarial").values())
    assert method.complete(data["image"], masks.center(4, (48, 32))).shape == (4, 3, 48, 32)


def test_what_ships_is_small():
    network = on_paper(Autoencoder, BOOK)
    assert sum(v.numel() for v in network.state_dict().values()) * 2 < 1.3e6      # bytes of float16


# -- turns -------------------------------------------------------------------------------------------------------------

def moved(method, data, phase):
    before = {k: v.clone() for k, v in method.named_parameters()}
    log = method.step(data, phase)
    return {k.split(".")[0] for k, v in method.named_parameters() if not torch.equal(v, before[k])}, log


def test_discriminator_and_autoencoder_learn_on_alternate_batches():
    method, names = method_with(), {"enc_cost", "d_cost_real", "d_cost_gen", "g_cost_d"}
    assert moved(method, batch(), "reconstruction")[0] == {"G"}
    for turn in range(4):
        changed, log = moved(method, batch(), "adversarial")
        assert changed == ({"D"}, {"G"})[turn % 2] and set(log) == names
    assert method.scalars["turns"] == 4
    assert all(p.requires_grad for network in (method.G, method.D) for p in network.parameters())


def test_every_layer_learns_in_its_turn():
    method = method_with()
    before = {k: v.clone() for k, v in method.named_parameters()}
    for _ in range(2):
        method.step(batch(), "adversarial")
    still = [k for k, v in method.named_parameters() if not k.startswith("G_ema") and torch.equal(v, before[k])]
    assert not still


def test_without_a_discriminator_every_batch_is_the_autoencoders():
    method = method_with(adversarial=False)
    assert not hasattr(method, "D")
    for phase in ("reconstruction", "adversarial", "adversarial"):
        changed, log = moved(method, batch(), phase)
        assert changed == {"G"} and set(log) == {"enc_cost"}


def test_the_discriminator_alone_teaches_every_layer_of_the_autoencoder():
    method, found = method_with(mse_weight=0.0), []
    method.scalars["turns"] = 1
    method.update = lambda loss, opt: found.extend(torch.autograd.grad(loss, list(method.G.parameters())))
    method.step(batch(), "adversarial")
    assert found and all(g.isfinite().all() and g.abs().max() > 0 for g in found)


def test_the_discriminators_turn_does_not_reach_the_autoencoder():
    method, reached = method_with(), []

    def update(loss, optimiser):
        assert optimiser is method.opt_D
        found = torch.autograd.grad(loss, list(method.G.parameters()), allow_unused=True)
        reached.append(any(g is not None for g in found))
    method.update = update
    method.step(batch(), "adversarial")
    assert reached == [False]


# -- the four losses ---------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("composited", [False, True])
def test_losses_in_the_log_are_the_sources(turn, composited):
    """Binary cross entropies of D's probabilities, and X times the pooled error, by the source's formulas."""
    method, judged, asked = method_with(mse_weight=0.3, composited=composited), [], []
    method.scalars["turns"] = turn
    method.D.register_forward_hook(lambda m, inputs, out: judged.append((inputs[0].detach(), out.detach())))
    method.update = lambda loss, opt: asked.append((float(loss.detach()), opt))
    made = []
    method.G.register_forward_hook(lambda m, inputs, out: made.append((inputs[0], out.detach())))
    data = batch()
    log = method.step(data, "adversarial")
    (real, real_logit), (fake, fake_logit) = judged
    p_real, p_gen = real_logit.sigmoid(), fake_logit.sigmoid()
    (painted, pred), = made
    hole = (painted == 1).all(1, keepdim=True).expand_as(pred)
    assert torch.equal(real, data["image"]) and torch.equal(fake, torch.where(hole, pred, real) if composited else pred)
    one, zero = torch.ones_like(p_real), torch.zeros_like(p_real)
    expected = {"d_cost_real": F.binary_cross_entropy(p_real, one), "d_cost_gen": F.binary_cross_entropy(p_gen, zero),
                "g_cost_d": F.binary_cross_entropy(p_gen, one)}
    for name, value in expected.items():
        assert log[name].item() == pytest.approx(value.item(), rel=1e-5), name
    pooled = F.avg_pool2d(pred - data["image"], 4).pow(2).flatten(1).sum(1).mean()
    assert log["enc_cost"].item() == pytest.approx(pooled.item(), rel=1e-5)
    loss = (expected["d_cost_real"] + expected["d_cost_gen"]) if turn == 0 else expected["g_cost_d"] + 0.3 * pooled
    assert asked == [(pytest.approx(loss.item(), rel=1e-5), (method.opt_D, method.opt_G)[turn])]


def test_pooling_in_closed_form():
    """An error that cancels in every 4x4 block is free under average pooling, and one below the maximum under max pooling."""
    image = torch.zeros(2, 3, 8, 8)
    board = (torch.arange(8)[:, None] + torch.arange(8)) % 2 * 2.0 - 1                     # a checkerboard of -1 and 1
    cost = lambda pred, **options: float(losses.encoding_cost(pred, image, **options))
    checked = image + 0.5 * board
    assert cost(checked, pooling="average") == 0
    assert cost(checked, pooling="max") == pytest.approx(3 * 4 * 0.25)
    assert cost(checked, pooling="none") == pytest.approx(3 * 64 * 0.25)
    assert cost(image + 0.5 * board.clamp(max=0), pooling="max") == 0
    even = image + 0.5                                                                    # the same error everywhere
    assert [cost(even, pooling=p) for p in ("average", "max", "none")] == [3, 3, 48]      # 3 * 4 and 3 * 64 values
    assert [cost(even, pooling=p, reduction="mean") for p in ("average", "max", "none")] == [0.25] * 3


def test_a_weight_counts_the_known_pixels_less():
    image, mask = torch.zeros(1, 3, 8, 8), masks.from_boxes(torch.tensor([[0, 0, 4, 4]]), 8)
    pred = image + 0.5 * mask + 0.2 * (1 - mask)
    for known in (0.0, 0.1, 1.0):
        weight = mask + known * (1 - mask)
        for pooling, values in (("average", 3), ("none", 48)):
            inside, outside = values * 0.25, known * 3 * values * 0.04
            total = losses.encoding_cost(pred, image, pooling, "sum", weight)
            assert float(total) == pytest.approx(inside + outside, rel=1e-5)
            mean = losses.encoding_cost(pred, image, pooling, "mean", weight)
            assert float(mean) == pytest.approx((inside + outside) / (values + 3 * known * values), rel=1e-5)


# -- the dynamic X -----------------------------------------------------------------------------------------------------

def watched(costs, **changes):
    """X after each of these values of enc_cost."""
    method, history = method_with(dynamic=True, window=4, tolerance=0.05, factor=0.5, floor=0.1, **changes), []
    for cost in costs:
        method.watch(torch.tensor(float(cost)))
        history.append(method.scalars["X"])
    return history


def test_x_stays_while_the_reconstruction_improves():
    assert set(watched([10 * 0.9 ** i for i in range(40)])) == {1.0}


def test_x_falls_on_a_plateau_and_stops_at_its_floor():
    history = watched([7.0] * 60)
    assert history[:7] == [1.0] * 7 and history[7] == 0.5               # two windows of four show that nothing improves
    assert history[14] == 0.5 and history[15] == 0.25                   # the next one only sets the mark
    assert history == sorted(history, reverse=True) and history[-1] == pytest.approx(0.1)


def test_x_falls_when_the_cost_rises_but_not_for_the_rise_that_its_fall_brought():
    assert watched([5] * 4 + [6] * 4)[-1] == 0.5
    assert watched([5] * 8 + [9] * 4 + [8] * 4 + [7] * 4)[-1] == 0.5    # higher after the fall, and improving: it stays


def test_noise_within_a_window_does_not_count():
    costs = [(10 - i // 4) + (-1) ** i for i in range(32)]
    assert set(watched(costs)) == {1.0}


def test_x_is_what_the_error_is_multiplied_by_and_is_watched_in_the_autoencoders_turns_only():
    method, asked = method_with(dynamic=True, window=100), []
    method.scalars |= {"X": 0.25, "turns": 1}
    update, method.update = method.update, lambda loss, opt: (asked.append(float(loss.detach())), update(loss, opt))
    log = method.step(batch(), "adversarial")
    assert asked[0] == pytest.approx((log["g_cost_d"] + 0.25 * log["enc_cost"]).item(), rel=1e-5)
    assert method.scalars["enc_count"] == 1
    method.step(batch(), "adversarial")                                 # D's
    method.step(batch(), "reconstruction")
    assert method.scalars["enc_count"] == 1
    still = method_with()
    still.scalars["turns"] = 1
    still.step(batch(), "adversarial")
    assert still.scalars["enc_count"] == 0, "without `dynamic` nothing is watched"


def test_a_resumed_run_has_the_x_of_one_that_never_stopped(tmp_path):
    cfg, faces = replace(SMOKE, window=2, tolerance=0.9, steps=(2, 24)), noise()
    whole = fit(DenoisingAutoencoder(cfg), faces, tmp_path / "whole", quiet=True, precision="no", log_every=1)
    for steps in (9, 14, 21, None):                                     # within windows and turns
        parts = fit(DenoisingAutoencoder(cfg), faces, tmp_path / "parts", steps=steps, quiet=True, precision="no", log_every=1)
    assert parts.scalars == whole.scalars and whole.scalars["X"] < 0.5, "X fell, here and there alike"
    assert all(torch.equal(a, b) for a, b in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True))
    read = lambda run: [json.loads(line) for line in (tmp_path / run / "log.jsonl").read_text().splitlines()]
    xs = [record["X"] for record in read("whole")]
    assert xs == [record["X"] for record in read("parts")] and xs[0] == 1 and xs[-1] == whole.scalars["X"]
    assert xs == sorted(xs, reverse=True)


# -- the white hole ----------------------------------------------------------------------------------------------------

def test_the_hole_is_white_and_that_is_all_the_network_is_told():
    method, seen, data = method_with(), [], batch(64)
    method.G.register_forward_pre_hook(lambda m, inputs: seen.append(inputs[0].clone()))
    method.step(data, "reconstruction")
    painted, = seen
    assert painted.shape == (64, 3, 32, 32), "no mask channel"
    hole = (painted != data["image"]).any(1, keepdim=True)
    assert (painted[hole.expand_as(painted)] == 1).all()
    boxes = masks.boxes_of(hole.float())
    assert torch.equal(hole.float(), masks.from_boxes(boxes, 32)), "one rectangle each"
    sides, areas = boxes[:, 2:], boxes[:, 2] * boxes[:, 3]
    assert sides.min() >= 10 and areas.max() <= 32 * 32 / 3 and len(areas.unique()) > 10


def test_a_white_picture_hides_its_hole():
    """Without a mask channel, a hole in white is no hole at all: the output does not depend on where it is."""
    method, image = method_with(), torch.ones(1, 3, 32, 32)
    raws = [method.reconstruct(image, masks.make("rectangle", 1, 32, seed)) for seed in range(3)]
    assert all(torch.equal(raw, raws[0]) for raw in raws)


def test_reconstruct_is_the_raw_output_and_complete_pastes_it():
    method, image = method_with(), batch()["image"]
    mask = masks.center(4, 32)
    raw, completed = method.reconstruct(image, mask), method.complete(image, mask)
    hole = mask.expand_as(image) > 0.5
    assert torch.equal(completed[hole], raw[hole]) and torch.equal(completed[~hole], image[~hole])
    assert not torch.equal(raw[~hole], image[~hole]), "the known pixels of the raw output are the network's"
    with torch.no_grad():
        assert torch.equal(raw, method.G_ema(paint(image, mask)))
    assert method.complete(torch.zeros(1, 3, 48, 16), torch.zeros(1, 1, 48, 16)).shape == (1, 3, 48, 16)


def test_preview_shows_painted_raw_completed_and_true():
    method, image = method_with(), batch()["image"]
    painted, raw, completed, true = method.preview(image)
    mask = masks.center(4, 32)
    assert (painted[mask.expand_as(image) > 0.5] == 1).all() and torch.equal(true, image)
    assert torch.equal(raw, method.reconstruct(image, mask)) and torch.equal(completed, method.complete(image, mask))


# -- configuration -----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("changes", "message"), [
    ({"size": 40}, "size must be multiples of 16 pixels, got 40"),
    ({"size": (160, 120)}, r"size must be multiples of 16 pixels, got \(160, 120\)"),
    ({"pooling": "median"}, "pooling must be one of average, max, none, got 'median'"),
    ({"reduction": "median"}, "reduction must be sum or mean, got 'median'"),
    ({"factor": 1.0}, "factor must lie between 0 and 1 and floor above 0"),
    ({"floor": 0.0}, "factor must lie between 0 and 1 and floor above 0")])
def test_a_configuration_that_cannot_be_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        replace(SMOKE, **changes)


def test_the_data_must_fit():
    with pytest.raises(ValueError, match="trains on faces of size .160, 128., got noise with 32x32 pixels; load them with size"):
        DenoisingAutoencoder.adopt(SimpleNamespace(training_size=(160, 128)), noise())


@pytest.mark.parametrize("changes", [{"batch_norm": True, "spectral_norm": False, "init_std": 0.02}, {"pooling": "max"},
                                     {"reduction": "mean", "known_weight": 0.1}, {"composited": True, "pooling": "none"}])
def test_switches_go_together(changes):
    method = method_with(**changes)
    for phase in ("reconstruction", "adversarial", "adversarial"):
        assert all(v.isfinite() for v in method.step(batch(), phase).values())
