"""Searching latents, on generators whose best latents are known."""

import pytest
import torch
from torch import nn

from facelib.latent_search import search

generator = torch.Generator().manual_seed(0)
MIX = torch.randn(12, 3, generator=generator)                           # a linear "generator": images are (B, 12)
TRUE = torch.rand(5, 3, generator=generator) - 0.5
WANTED = TRUE @ MIX.T


def linear(z):
    return z @ MIX.T


def misfit(images, z):
    return (images - WANTED).pow(2).sum(1)


@pytest.mark.parametrize("optimiser, lr", [("adam", 0.1), ("nesterov", 0.005)])
def test_it_finds_the_latents_that_made_the_images(optimiser, lr):
    found = search(linear, misfit, torch.zeros(5, 3), steps=200, lr=lr, optimiser=optimiser)
    assert torch.allclose(found.latents, TRUE, atol=1e-2)
    assert torch.allclose(found.images, linear(found.latents)) and torch.allclose(found.loss, misfit(found.images, None))
    assert found.curve.shape == (201, 5) and torch.equal(found.curve[0], misfit(linear(torch.zeros(5, 3)), None))
    assert torch.equal(found.curve.amin(0), found.loss) and found.history == {}
    assert not any(t.requires_grad for t in (found.latents, found.images, found.loss, found.curve))


def test_a_dict_of_latents_as_infogans_codes():
    starts = {"z": torch.zeros(5, 2), "c": torch.zeros(5, 1)}
    found = search(lambda v: linear(torch.cat([v["z"], v["c"]], 1)), lambda images, v: misfit(images, v), starts,
                   steps=200, lr=0.1, project=lambda v: {**v, "c": v["c"].clamp(-0.1, 0.1)})
    assert found.latents.keys() == {"z", "c"} and found.latents["c"].abs().max() <= 0.1
    assert torch.allclose(linear(torch.cat([*found.latents.values()], 1)), found.images)
    assert all(not v.any() for v in starts.values())                    # the caller's tensors are not the ones that move


def test_what_project_returns_is_what_the_search_goes_on_from():
    """A well-known code computes the clip and throws the answer away."""
    seen = []
    found = search(linear, lambda images, z: (seen.append(z.detach().clone()), misfit(images, z))[1], torch.zeros(5, 3),
                   steps=50, lr=0.1, project=lambda z: z.clamp(-0.2, 0.2))
    assert TRUE.abs().max() > 0.3 and found.latents.abs().max() <= 0.2
    assert len(seen) == 51 and all(z.abs().max() <= 0.2 for z in seen)
    free = search(linear, misfit, torch.zeros(5, 3), steps=50, lr=0.1)
    assert (free.loss < found.loss).any() and free.latents.abs().max() > 0.3


def test_the_best_step_is_kept_and_not_the_last():
    """With this step size the search overshoots: its last step is worse than earlier ones."""
    found = search(linear, misfit, TRUE + 0.01, steps=3, lr=0.5)
    assert (found.curve[-1] > found.loss).all() and torch.equal(found.loss, found.curve.amin(0))


def test_every_face_keeps_its_best_start():
    """A double well: from the left the search ends in the shallow one, from the right in the deep one."""
    wells = lambda x, z: (x[:, 0] ** 2 - 1) ** 2 - 0.3 * x[:, 0] * torch.tensor([1.0, -1.0])
    left, right = torch.full((2, 1), -1.2), torch.full((2, 1), 1.2)
    options = dict(steps=100, lr=0.05, every=50)
    both = search(lambda z: z, wells, left, right, **options)
    ones = [search(lambda z: z, wells, start, **options) for start in (left, right)]
    assert both.latents[0] > 0.9 and both.latents[1] < -0.9             # one from each start
    assert torch.equal(both.loss, torch.minimum(ones[0].loss, ones[1].loss))
    for field in ("latents", "images", "loss"):
        assert torch.equal(getattr(both, field), torch.stack([getattr(ones[1], field)[0], getattr(ones[0], field)[1]]))
    assert torch.equal(both.curve[:, 0], ones[1].curve[:, 0]) and torch.equal(both.curve[:, 1], ones[0].curve[:, 1])
    assert torch.equal(both.history[50], torch.stack([ones[1].history[50][0], ones[0].history[50][1]]))


def test_history_at_any_interval():
    found = search(linear, misfit, torch.zeros(5, 3), steps=25, lr=0.1, every=10)
    assert list(found.history) == [0, 10, 20]
    assert torch.equal(found.history[0], torch.zeros(5, 12))
    for step, images in found.history.items():
        assert torch.allclose(misfit(images, None), found.curve[step])


def test_a_face_does_not_feel_the_others_and_twice_is_the_same():
    found = search(linear, misfit, torch.zeros(5, 3), steps=20, lr=0.1)
    alone = search(linear, lambda images, z: (images - WANTED[2]).pow(2).sum(1), torch.zeros(1, 3), steps=20, lr=0.1)
    assert torch.allclose(alone.latents[0], found.latents[2], atol=1e-6)
    again = search(linear, misfit, torch.zeros(5, 3), steps=20, lr=0.1)
    assert all(torch.equal(a, b) for a, b in zip(found[:4], again[:4], strict=True))


def test_networks_are_left_alone():
    """No gradient, no new weight, no other mode, also where the caller has switched gradients off."""
    network = nn.Sequential(nn.Linear(3, 12), nn.BatchNorm1d(12), nn.Dropout(0.5))
    network.eval()
    network[2].train()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with torch.no_grad():
        search(network, misfit, torch.zeros(5, 3), steps=3, lr=0.1)
        assert not torch.is_grad_enabled()
    assert all(p.grad is None and p.requires_grad for p in network.parameters())
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())
    assert not network.training and network[2].training


def test_what_is_refused():
    with pytest.raises(ValueError, match="optimiser must be one of adam, nesterov, got 'lbfgs'"):
        search(linear, misfit, torch.zeros(5, 3), steps=1, lr=0.1, optimiser="lbfgs")
    with pytest.raises(ValueError, match="needs latents to start from, got none"):
        search(linear, misfit, steps=1, lr=0.1)
    with pytest.raises(ValueError, match=r"one loss per face, \(5,\), got \(\); sum over pixels and channels"):
        search(linear, lambda images, z: misfit(images, z).sum(), torch.zeros(5, 3), steps=1, lr=0.1)
    broken = lambda images, z: misfit(images, z) + torch.tensor([0, 0, torch.nan, 0, 0])
    with pytest.raises(ValueError, match=r"the objective is not finite for face\(s\) \[2\]; use a smaller lr"):
        search(linear, broken, torch.zeros(5, 3), steps=2, lr=0.1)


def test_a_step_into_the_infinite_does_not_hide_the_good_ones_before_it():
    steep = lambda images, z: misfit(images, z) + torch.where(z.abs().sum(1) > 0.25, torch.nan, 0.0)
    found = search(linear, steep, torch.zeros(5, 3), steps=10, lr=0.1)
    assert found.loss.isfinite().all() and torch.isinf(found.curve[-1]).any()
