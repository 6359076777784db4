"""The book's equations against their closed forms, in float64."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelib import losses

LOGITS = torch.tensor([-6.0, -1.5, 0.0, 0.7, 5.0], dtype=torch.float32)
few = settings(max_examples=30, deadline=None)


def probability(logits):
    return 1 / (1 + torch.exp(-logits.double()))


def test_discriminator_loss_is_minus_log_likelihood():
    real, fake = LOGITS, LOGITS.flip(0) * 0.8
    expected = -probability(real).log().mean() - (1 - probability(fake)).log().mean()
    assert losses.gan_D(real, fake).item() == pytest.approx(expected.item(), rel=1e-6)


@pytest.mark.parametrize("target", [0.75, 0.9])
def test_label_smoothing_moves_the_target_of_real_faces_only(target):
    real, fake = LOGITS, LOGITS * 0.3
    p, q = probability(real), probability(fake)
    expected = -(target * p.log() + (1 - target) * (1 - p).log()).mean() - (1 - q).log().mean()
    assert losses.gan_D(real, fake, target).item() == pytest.approx(expected.item(), rel=1e-6)
    # The best answer to a real face is the target itself.
    logit = torch.tensor([math.log(target / (1 - target))], requires_grad=True)
    losses.gan_D(logit, torch.zeros(1), target).backward()
    assert abs(logit.grad.item()) < 1e-6


def test_generator_losses():
    p = probability(LOGITS)
    assert losses.gan_G(LOGITS).item() == pytest.approx(-p.log().mean().item(), rel=1e-6)
    assert losses.gan_G(LOGITS, saturating=True).item() == pytest.approx((1 - p).log().mean().item(), rel=1e-6)


@few
@given(st.floats(-60, 60))
def test_gradients_of_the_generator_losses(value):
    """d/dx of -log D is D - 1, of log(1 - D) it is -D: the second one vanishes where D is sure that a face is fake."""
    d = 1 / (1 + math.exp(-value))
    for saturating, expected in ((False, d - 1), (True, -d)):
        logit = torch.tensor([value], requires_grad=True)
        losses.gan_G(logit, saturating).backward()
        assert logit.grad.item() == pytest.approx(expected, rel=1e-4, abs=1e-7)


def test_only_the_saturating_loss_vanishes_where_the_discriminator_is_sure():
    grads = []
    for saturating in (True, False):
        logit = torch.tensor([-20.0], requires_grad=True)
        losses.gan_G(logit, saturating).backward()
        grads.append(logit.grad.item())
    assert abs(grads[0]) < 1e-8 and grads[1] == pytest.approx(-1, abs=1e-6)


@few
@given(st.lists(st.floats(-30, 30), min_size=3, max_size=9))
def test_real_logit_is_the_log_odds_of_the_softmax(values):
    """sigmoid(real_logit) is the softmax's probability of "one of the first n classes" (Salimans et al. 2016, 5)."""
    p = torch.softmax(torch.tensor(values, dtype=torch.float64), 0)
    expected = (p[:-1].sum().log() - p[-1].log()).item()
    assert losses.real_logit(torch.tensor([values])).item() == pytest.approx(expected, rel=1e-5, abs=1e-4)


def test_real_logit_of_one_logit_is_itself_and_is_computed_in_float32():
    one = torch.randn(4, 1)
    assert torch.equal(losses.real_logit(one), one)
    coarse = torch.randn(4, 9, generator=torch.Generator().manual_seed(0)).bfloat16()
    assert torch.equal(losses.real_logit(coarse), losses.real_logit(coarse.float()))


def test_supervised_is_cross_entropy_of_the_known():
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0, -1, 2, 1, -1])
    p = torch.softmax(logits[:, :3].double(), 1)                        # given that the face is real
    expected = -(p[0, 0].log() + p[2, 2].log() + p[3, 1].log()) / 3
    assert losses.supervised(logits, labels).item() == pytest.approx(expected.item(), rel=1e-6)
    # The logit of "generated" and the rows without a label get no gradient.
    logits.requires_grad_()
    losses.supervised(logits, labels).backward()
    assert not logits.grad[:, 3].any() and not logits.grad[[1, 4]].any() and logits.grad[[0, 2, 3], 0].all()


def test_supervised_with_nothing_known_is_zero():
    logits = torch.randn(3, 4, requires_grad=True)
    loss = losses.supervised(logits, torch.full((3,), -1))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_reconstruction_by_hand():
    """Two hole pixels of six values: errors 1, 0, 2 and 0, 0, 1 -> (1 + 4 + 1) / 6; what is outside does not count."""
    image, pred = torch.zeros(1, 3, 2, 2), torch.full((1, 3, 2, 2), 9.0)
    mask = torch.tensor([[[[1.0, 0.0], [0.0, 1.0]]]])
    pred[0, :, 0, 0], pred[0, :, 1, 1] = torch.tensor([1.0, 0.0, 2.0]), torch.tensor([0.0, 0.0, 1.0])
    assert losses.reconstruction(pred, image, mask).item() == pytest.approx(1.0)


def test_reconstruction_does_not_depend_on_the_size_of_the_hole():
    image, pred = torch.zeros(2, 3, 8, 8), torch.full((2, 3, 8, 8), 0.5)
    for side in (1, 4, 8):
        mask = torch.zeros(2, 1, 8, 8)
        mask[..., :side, :side] = 1
        assert losses.reconstruction(pred, image, mask).item() == pytest.approx(0.25)
    assert losses.reconstruction(pred, image, torch.zeros(2, 1, 8, 8)).item() == 0


# -- semantic inpainting -----------------------------------------------------------------------------------------------

def test_context_weights_of_a_hole_that_was_counted_by_hand():
    """A 2x2 hole in a corner region of 5x5, window 3; windows are cut off at the border."""
    mask = torch.zeros(1, 1, 5, 5)
    mask[..., 1:3, 1:3] = 1
    n = 9.0
    expected = torch.tensor([[1 / 4, 2 / 6, 2 / 6, 1 / 6, 0],
                             [2 / 6, 0, 0, 2 / n, 0],
                             [2 / 6, 0, 0, 2 / n, 0],
                             [1 / 6, 2 / n, 2 / n, 1 / n, 0],
                             [0, 0, 0, 0, 0]])
    assert torch.allclose(losses.context_weights(mask, 3)[0, 0], expected, atol=1e-7)


@pytest.mark.parametrize("window", [7, 15])
def test_context_weights_are_the_shares_counted_one_by_one(window):
    mask = (torch.rand(2, 1, 20, 17, generator=torch.Generator().manual_seed(0)) < 0.2).float()
    mask[1, :, 5:15, :9] = 1
    weights = losses.context_weights(mask, window)
    half = window // 2
    for b, y, x in [(0, 0, 0), (0, 19, 16), (0, 10, 8), (1, 4, 3), (1, 9, 12), (1, 19, 0), (0, 3, 16)]:
        around = mask[b, 0, max(y - half, 0):y + half + 1, max(x - half, 0):x + half + 1]
        expected = 0 if mask[b, 0, y, x] else around.sum() / around.numel()
        assert weights[b, 0, y, x].item() == pytest.approx(float(expected), abs=1e-6)
    assert not weights[mask > 0.5].any() and weights.max() <= 1
    assert torch.equal(losses.context_weights(mask.bool(), window), weights)


def test_context_weights_without_a_hole_or_without_anything_else():
    assert not losses.context_weights(torch.zeros(1, 1, 8, 8)).any() and not losses.context_weights(torch.ones(1, 1, 8, 8)).any()
    with pytest.raises(ValueError, match="window must be odd, so that it has a middle, got 8"):
        losses.context_weights(torch.ones(1, 1, 8, 8), 8)


def test_context_is_a_weighted_sum_for_each_face():
    generator = torch.Generator().manual_seed(0)
    pred, image = (torch.rand(2, 3, 6, 5, generator=generator) * 2 - 1 for _ in range(2))
    weights = torch.rand(1, 1, 6, 5, generator=generator)
    expected = [sum(float(weights[0, 0, y, x] * (pred[b, c, y, x] - image[b, c, y, x]).abs())
                    for c in range(3) for y in range(6) for x in range(5)) for b in range(2)]
    assert losses.context(pred, image, weights).tolist() == pytest.approx(expected, rel=1e-5)


def test_prior_is_log_of_one_minus_D_and_stays_exact_where_D_is_sure():
    expected = (1 - probability(LOGITS)).log()
    assert losses.prior(LOGITS[:, None]).tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    sure = torch.tensor([[60.0], [-60.0]], requires_grad=True)              # 1 - D is 0 as a float
    values = losses.prior(sure)
    assert values.tolist() == pytest.approx([-60, 0], abs=1e-6)
    values.sum().backward()
    assert sure.grad.flatten().tolist() == pytest.approx([-1, 0], abs=1e-6)


def test_hinge_costs_nothing_beyond_the_margin():
    assert losses.hinge_D(torch.tensor([1.5, 3.0]), torch.tensor([-1.0, -7.0])).item() == 0
    assert losses.hinge_D(torch.tensor([0.25]), torch.tensor([0.5])).item() == pytest.approx(0.75 + 1.5)
    assert losses.hinge_G(LOGITS).item() == pytest.approx(-LOGITS.mean().item())


def test_the_relativistic_game_only_knows_differences():
    a, b = LOGITS, LOGITS.flip(0) * 0.8
    expected = torch.log1p(torch.exp(-(a - b).double())).mean()
    assert losses.relativistic(a, b).item() == pytest.approx(expected.item(), rel=1e-6)
    assert losses.relativistic(a + 3, b + 3).item() == pytest.approx(expected.item(), rel=1e-5)
    assert losses.relativistic(a, a).item() == pytest.approx(math.log(2), rel=1e-6)


def test_reconstruction_by_the_absolute_error():
    pred, image = torch.full((1, 3, 4, 4), 0.5), torch.zeros(1, 3, 4, 4)
    mask = torch.zeros(1, 1, 4, 4)
    mask[..., :2] = 1
    assert losses.reconstruction(pred, image, mask, power=1).item() == pytest.approx(0.5)
    assert losses.reconstruction(pred, image, mask).item() == pytest.approx(0.25)
