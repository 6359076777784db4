"""ST-GAN: what its networks learn from, what an edit keeps, its errors."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from facelib.methods.stgan import STGAN

BOOK, SMOKE = STGAN.presets["book"], STGAN.presets["smoke"]


def batch(n=8, seed=0):
    return {"image": torch.rand(n, 3, SMOKE.size, SMOKE.size, generator=torch.Generator().manual_seed(seed)) * 2 - 1}


def method_with(**changes):
    method = STGAN(replace(SMOKE, **changes)).train()
    method.generator.manual_seed(0)
    return method


def updates(method, data):
    """Run a step without its updates -> [(loss, names of the networks that its optimiser changes)]."""
    names, seen = {id(p): name.split(".")[0] for name, p in method.named_parameters()}, []
    method.update = lambda loss, opt: seen.append((loss, {names[id(p)] for g in opt.param_groups for p in g["params"]}))
    return seen, method.step(data, "adversarial")


def test_every_image_becomes_latents_and_again_an_image():
    with torch.device("meta"):
        method = STGAN(BOOK)
        image = method.G(torch.empty(2, 64))
    assert image.shape == (2, 3, 32, 32) and method.E(image).shape == (2, 64) and method.D(image).shape == (2, 1)
    assert method.layout.length == 64 and "seed" not in STGAN.presets


def test_d_learns_from_both_kinds_of_images_and_g_and_e_together():
    method = method_with()
    before = {k: p.clone() for k, p in method.named_parameters()}
    seen = []
    method.D.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    method.step(batch(), "adversarial")
    moved = {k.split(".")[0] for k, p in method.named_parameters() if not torch.equal(p, before[k])}
    assert moved == {"G", "E", "D"}
    assert seen == [8, 16, 1, 8, 8], "D must see real faces, generated and altered ones, a few for R1, then G's for G"
    (loss_D, players_D), (loss_G, players_G) = updates(method, batch())[0]
    assert players_D == {"D"} and players_G == {"G", "E"}
    parts = torch.autograd.grad(loss_G, [method.G.first.weight, method.E[-1].weight], retain_graph=True)
    assert all(part.abs().sum() > 0 for part in parts)
    with pytest.raises(RuntimeError, match="appears to not have been used|does not require grad"):
        torch.autograd.grad(loss_D, [method.G.first.weight])


def test_the_losses_are_those_of_the_two_loops():
    """[z, c] -> G -> E must come back, and so must [z, c'] with E's z and other codes, whose image D judges as well."""
    method, data = method_with(recovery=0.7, altered=0.4), batch()
    (_, (loss_G, _)), log = updates(method, data)
    draws = torch.Generator().manual_seed(0)
    truth, other = method.layout.draw(8, draws), method.layout.draw(8, draws)
    fake = method.G(truth)
    found = method.E(fake)
    moved = torch.cat([found[:, :16], other[:, 16:]], 1)
    altered = method.G(moved)

    def error(answer, of):
        return (F.mse_loss(answer[:, :16], of[:, :16]) + F.cross_entropy(answer[:, 16:20], of[:, 16:20].argmax(1))
                + F.mse_loss(answer[:, 20:], of[:, 20:]))

    adv, adv_altered = (-method.D(x).sigmoid().log().mean() for x in (fake, altered))
    assert log["recovery"].item() == pytest.approx(error(found, truth).item(), rel=1e-4)
    assert log["recovery_altered"].item() == pytest.approx(error(method.E(altered), moved).item(), rel=1e-4)
    assert log["adv_altered"].item() == pytest.approx(adv_altered.item(), rel=1e-4)
    expected = adv + 0.7 * error(found, truth) + 0.4 * (adv_altered + 0.7 * error(method.E(altered), moved))
    assert loss_G.item() == pytest.approx(expected.item(), rel=1e-4)


def test_without_altered_images_d_never_sees_one():
    method, seen = method_with(altered=0.0), []
    hook = method.D.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    method.step(batch(), "adversarial")
    hook.remove()
    assert seen[1] == 8


def test_the_encoder_comes_to_recover_what_made_an_image():
    method = method_with(lr=2e-3)
    logs = [method.step(batch(), "adversarial") for _ in range(60)]
    for key in ("recovery", "recovery_altered"):
        assert logs[-1][key].item() < 0.75 * logs[0][key].item()


def test_an_edit_is_the_image_of_the_altered_latents():
    method, image = method_with(), batch(4)["image"]
    found = method.encode(image)
    assert {k: tuple(v.shape) for k, v in found.items()} == {"z": (4, 16), "c_cat": (4, 4), "c_cont": (4, 2)}
    assert torch.allclose(found["c_cat"].sum(1), torch.ones(4)) and found["c_cont"].abs().max() <= 1
    altered = method.layout.join(found | {"c_cat": F.one_hot(torch.full((4,), 3), 4).float()})
    assert torch.equal(method.edit(image, "c_cat0", 3), method.generate(altered)) and method.training
    assert not torch.equal(method.edit(image, "c_cont1", -1.0), method.edit(image, "c_cont1", 1.0))


def test_samples_repeat_with_their_seed():
    method = method_with()
    faces = method.sample(5, seed=3)
    assert faces.shape == (5, 3, 32, 32) and faces.abs().max() <= 1 and not faces.requires_grad
    assert torch.equal(faces, method.sample(5, seed=3)) and not torch.equal(faces, method.sample(5, seed=4))
    assert torch.equal(method.draw_latents(5, 3, spread=0.0)[:, :16], torch.zeros(5, 16))


def test_what_does_not_fit_is_refused_with_what_to_do():
    with pytest.raises(ValueError, match="size must be a power of two, 8 or more, got 48"):
        replace(SMOKE, size=48)
    with pytest.raises(ValueError, match="has none: set categorical or continuous"):
        replace(SMOKE, categorical=(), continuous=0)
    method = method_with()
    for wrong in (torch.zeros(1, 3, 64, 64), torch.zeros(3, 32, 32)):
        with pytest.raises(ValueError, match=r"image must be \(B, 3, 32, 32\), what this ST-GAN was trained on, got .*; resize"):
            method.encode(wrong)
    with pytest.raises(ValueError, match="code must be one of c_cat0, c_cont0, c_cont1, got 'smile'"):
        method.edit(batch(1)["image"], "smile", 1)


@pytest.mark.parametrize("kinds", [{"categorical": ()}, {"continuous": 0}])
def test_one_kind_of_code_is_enough(kinds):
    method = method_with(**kinds)
    log = method.step(batch(), "adversarial")
    assert all(v.isfinite() for v in log.values())
    assert method.edit(batch(2)["image"], method.layout.codes[0], 1).shape == (2, 3, 32, 32)
