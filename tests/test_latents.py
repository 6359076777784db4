"""The latents of a generator with codes: drawn as the prior says, joined and taken apart, set one by one, kept likely."""

import pytest
import torch

from facelib.latents import Layout

BOTH = Layout(z_dim=6, categorical=(3, 4), continuous=2)
LAYOUTS = [BOTH, Layout(5), Layout(0, (2,)), Layout(4, (), 3, "uniform"), Layout(0, (), 2)]


def drawn(layout, n=4000, seed=0):
    return layout.draw(n, torch.Generator().manual_seed(seed))


def test_sizes_and_names():
    assert BOTH.sizes == {"z": 6, "c_cat": 7, "c_cont": 2} and BOTH.length == 15
    assert BOTH.codes == ["c_cat0", "c_cat1", "c_cont0", "c_cont1"] and Layout(5).codes == []


@pytest.mark.parametrize(("noise", "deviation", "largest"), [("normal", 1, 10), ("uniform", 3 ** -0.5, 1)])
def test_draws_follow_the_prior(noise, deviation, largest):
    """z has mean 0 and its distribution's deviation, every class is as likely as another, continuous codes fill [-1, 1]."""
    parts = Layout(6, (3, 4), 2, noise).split(drawn(Layout(6, (3, 4), 2, noise)))
    assert parts["z"].mean(0).abs().max() < 0.06 and parts["z"].abs().max() <= largest
    assert (parts["z"].std(0) - deviation).abs().max() < 0.05
    if noise == "normal":
        assert parts["z"].abs().max() > 3
    for part, k in zip(parts["c_cat"].split([3, 4], 1), (3, 4), strict=True):
        assert set(part.unique().tolist()) == {0, 1} and (part.sum(1) == 1).all()
        assert (part.mean(0) - 1 / k).abs().max() < 0.035
    assert parts["c_cont"].abs().max() <= 1 and (parts["c_cont"].std(0) - 3 ** -0.5).abs().max() < 0.03
    together = torch.corrcoef(torch.cat([parts["z"], parts["c_cont"], parts["c_cat"][:, [0, 3]]], 1).T)
    assert (together - torch.eye(10)).abs().max() < 0.08                              # nothing depends on anything else


def test_seeds_repeat_and_differ():
    assert torch.equal(drawn(BOTH, 8), drawn(BOTH, 8)) and not torch.equal(drawn(BOTH, 8), drawn(BOTH, 8, seed=1))
    generator = torch.Generator().manual_seed(0)
    assert not torch.equal(BOTH.draw(8, generator), BOTH.draw(8, generator))          # the generator goes on


@pytest.mark.parametrize("layout", LAYOUTS)
def test_join_is_the_inverse_of_split(layout):
    vector = drawn(layout, 7)
    parts = layout.split(vector)
    assert vector.shape == (7, layout.length) and {k: v.shape[1] for k, v in parts.items()} == layout.sizes
    assert torch.equal(layout.join(parts), vector)
    assert torch.equal(layout.join(dict(reversed(parts.items()))), vector)            # the names decide, not the order


def test_split_gives_views_in_the_order_z_classes_continuous():
    vector = torch.arange(15.).expand(2, 15).clone()
    parts = BOTH.split(vector)
    assert [parts[k][0].tolist() for k in ("z", "c_cat", "c_cont")] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11, 12], [13, 14]]
    parts["c_cont"][:] = 0.5
    assert vector[0, 13:].tolist() == [0.5, 0.5]


@pytest.mark.parametrize(("code", "value", "places", "expected"), [
    ("c_cat0", 2, slice(6, 9), [0, 0, 1]), ("c_cat1", 0, slice(9, 13), [1, 0, 0, 0]), ("c_cat1", 3.0, slice(9, 13), [0, 0, 0, 1]),
    ("c_cont0", -0.25, slice(13, 14), [-0.25]), ("c_cont1", 1, slice(14, 15), [1])])
def test_set_changes_one_code_and_nothing_else(code, value, places, expected):
    vector = drawn(BOTH, 5)
    before = vector.clone()
    changed = BOTH.set(vector, code, value)
    assert torch.equal(vector, before) and (changed[:, places] == torch.tensor(expected, dtype=torch.float)).all()
    others = torch.ones(15, dtype=torch.bool)
    others[places] = False
    assert torch.equal(changed[:, others], before[:, others])


def test_set_takes_a_value_for_each_face():
    changed = BOTH.set(drawn(BOTH, 3), "c_cont1", torch.tensor([-1, 0, 0.5]))
    assert changed[:, 14].tolist() == [-1, 0, 0.5]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_likely_leaves_draws_but_for_their_length(layout):
    vector = drawn(layout, 200)
    found = layout.split(layout.likely(vector))
    before = layout.split(vector)
    torch.testing.assert_close(found["c_cat"], before["c_cat"], atol=1e-5, rtol=0)
    assert torch.equal(found["c_cont"], before["c_cont"])
    inside = before["z"].norm(dim=1) <= layout.z_dim ** 0.5 if layout.noise == "normal" else before["z"].abs().amax(1) <= 1
    assert torch.allclose(found["z"][inside], before["z"][inside], atol=1e-6)
    assert torch.allclose(layout.likely(layout.likely(vector)), layout.likely(vector), atol=1e-5)


def test_likely_brings_back_what_went_astray():
    vector = torch.full((1, 15), 3.0)
    vector[:, 6:9] = torch.tensor([-1.0, 0.2, 0.6])
    found = BOTH.split(BOTH.likely(vector))
    assert found["z"].norm().item() == pytest.approx(6 ** 0.5) and (found["z"] > 0).all()
    assert found["c_cat"][0].tolist() == pytest.approx([0, 0.25, 0.75, 0.25, 0.25, 0.25, 0.25], abs=1e-5)
    assert found["c_cont"].tolist() == [[1, 1]]
    uniform = Layout(2, (), 1, "uniform")
    assert uniform.likely(torch.tensor([[-4.0, 0.5, -2.0]])).tolist() == [[-1, 0.5, -1]]
    nothing = BOTH.likely(torch.zeros(1, 15))                                         # no division by zero
    assert nothing.isfinite().all() and BOTH.split(nothing)["c_cat"].sum().item() == pytest.approx(2)


def test_likely_lets_gradients_through():
    vector = (2 * drawn(BOTH, 4)).requires_grad_()
    BOTH.likely(vector).pow(2).sum().backward()
    assert vector.grad.isfinite().all() and vector.grad.abs().sum() > 0


def test_mistakes_are_said_plainly():
    for wrong, message in [
            (lambda: Layout(4, noise="gaussian"), "noise must be normal or uniform, got 'gaussian'"),
            (lambda: Layout(4, (3, 1)), r"a categorical code needs 2 values or more, got \(3, 1\)"),
            (lambda: BOTH.split(torch.zeros(2, 14)), r"joined latents must be \(B, 15\), got \(2, 14\)"),
            (lambda: BOTH.split(torch.zeros(15)), r"joined latents must be \(B, 15\), got \(15,\)"),
            (lambda: BOTH.join({"z": torch.zeros(2, 6), "c_cat": torch.zeros(2, 7)}), r"must hold c_cont \(B, 2\), got .*c_cat"),
            (lambda: BOTH.join({"z": torch.zeros(2, 5)}), r"must hold z \(B, 6\), got .*\(2, 5\)"),
            (lambda: BOTH.set(torch.zeros(1, 15), "smile", 1), "must be one of c_cat0, c_cat1, c_cont0, c_cont1, got 'smile'"),
            (lambda: BOTH.set(torch.zeros(1, 15), "c_cont2", 1), "code must be one of"),
            (lambda: Layout(4).set(torch.zeros(1, 4), "c_cat0", 1), "none: this generator has no codes, got 'c_cat0'"),
            (lambda: BOTH.set(torch.zeros(1, 15), "c_cat0", 3), "c_cat0 has the classes 0 to 2, got 3"),
            (lambda: BOTH.set(torch.zeros(1, 15), "c_cat1", -1), "c_cat1 has the classes 0 to 3, got -1")]:
        with pytest.raises(ValueError, match=message):
            wrong()
