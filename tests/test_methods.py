"""What every method in METHODS keeps: it trains, comes back from its checkpoint, repeats; completions do not peek."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from facelib import masks
from facelib.data import FaceData, Split
from facelib.methods import METHODS, method_class
from facelib.train import fit, load_checkpoint

COMPLETION = [name for name in METHODS if hasattr(method_class(name), "complete")]
completing = pytest.mark.parametrize("trained", COMPLETION, indirect=True)


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def faces_for(cfg, n=40):
    """Noise of the method's size, with all that a data set can know; some of it unknown."""
    rng = np.random.default_rng(0)
    attributes = rng.integers(-1, 2, (n, 40), dtype=np.int8)
    split = Split(rng.integers(0, 256, (n, 3, cfg.size, cfg.size), dtype=np.uint8), attributes, rng.integers(-1, 30, n))
    return FaceData("noise", split, split.take(slice(0, 4)), split.take(slice(0, 4)))


def assert_same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        if isinstance(a[key], dict):
            assert_same(a[key], b[key])
        elif torch.is_tensor(a[key]):
            assert torch.equal(a[key], b[key]), key
        else:
            assert a[key] == b[key], key


@pytest.fixture(scope="module", params=METHODS)
def trained(request, tmp_path_factory):
    """(name, the method after its whole smoke preset, its faces, its run folder)."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ACCELERATE_USE_CPU", "true")
    cls, out = method_class(request.param), tmp_path_factory.mktemp(request.param)
    faces = faces_for(cls.presets["smoke"])
    method = fit(cls(cls.presets["smoke"]), faces, out, log_every=1, save_every=1000, quiet=True, precision="no")
    patch.undo()
    return request.param, method, faces, out


def test_smoke_trains_through_all_its_phases_with_finite_losses(trained):
    name, method, faces, out = trained
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    phases = [phase for phase, steps in method.phases() for _ in range(steps)]
    assert [record["phase"] for record in records] == phases and records[-1]["step"] == len(phases)
    values = [v for record in records for v in record.values() if isinstance(v, float)]
    assert len(values) > len(records) and np.isfinite(values).all()
    assert all(v.isfinite().all() for v in method.state_dict().values())
    assert list((out / "samples").glob("*.png"))


def test_smoke_learns_something(trained):
    name, method, *_ = trained
    start = type(method)(method.cfg)
    assert any(not torch.equal(a, b) for a, b in zip(start.parameters(), method.parameters(), strict=True))
    for network in method.ema:                                          # and its average follows
        twins = zip(getattr(start, f"{network}_ema").parameters(), getattr(method, f"{network}_ema").parameters(), strict=True)
        assert all(not torch.equal(a, b) for a, b in twins if a.requires_grad or a.numel() > 1)


def test_checkpoint_round_trips(trained):
    name, method, faces, out = trained
    state = load_checkpoint(out / "last.pt")
    assert_same({k: state[k] for k in ("nets", "ema", "scalars")}, {k: method.state()[k] for k in ("nets", "ema", "scalars")})
    again = type(method)(method.cfg, seed=9)
    again.restore(state)
    assert_same(again.state(), method.state())
    networks = {key.split(".")[0] for key in method.state_dict()}
    assert set(method.ships) <= networks and method.ships, "ships names what is published"


def test_seeds_repeat_and_a_stopped_run_ends_alike(trained, tmp_path):
    name, method, faces, out = trained
    total = sum(steps for _, steps in method.phases())
    for steps in (total // 2 + 1, None):
        torch.manual_seed(steps or 0)                                   # the caller's random state plays no part
        again = fit(type(method)(method.cfg), faces, tmp_path / "run", steps=steps, save_every=5, quiet=True, precision="no")
    assert_same(again.state(), method.state())


def test_another_seed_is_another_run(trained, tmp_path):
    name, method, faces, out = trained
    runs = [fit(type(method)(method.cfg, seed=s), faces, tmp_path / str(t), steps=1, seed=t, quiet=True, precision="no").state()
            for s, t in ((0, 0), (0, 1), (1, 2))]
    total = lambda nets: float(sum(v.double().abs().sum() for v in nets.values() if v.is_floating_point()))
    assert len({total(run["nets"]) for run in runs}) == 3


def test_configs_survive_json(trained):
    """As pretrained weights' cards store them."""
    name, method, *_ = trained
    for preset in method.presets.values():
        fields = json.loads(json.dumps(vars(preset)))
        assert method.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}) == preset
    assert replace(method.cfg) == method.cfg and "smoke" in method.presets


def test_preview_gives_rows_of_images(trained):
    name, method, faces, out = trained
    image = faces.val.tensor()
    with torch.no_grad():
        rows = method.preview(image)
    assert all(row.shape == image.shape and row.isfinite().all() for row in rows)


def test_an_unknown_method_is_named_with_those_there_are():
    with pytest.raises(ValueError, match="method must be one of .*, glcic, .*, got 'stylegan'"):
        method_class("stylegan")


# -- methods that complete ---------------------------------------------------------------------------------------------

@completing
@pytest.mark.parametrize("kind", masks.KINDS)
def test_known_pixels_come_back_bit_identical(trained, kind):
    method, image = trained[1], trained[2].test.tensor()
    mask = masks.make(kind, len(image), tuple(image.shape[-2:]), seed=1)
    before = image.clone()
    completed = method.complete(image, mask)
    known = mask.expand_as(image) < 0.5
    assert completed.shape == image.shape and completed.dtype == image.dtype and not completed.requires_grad
    assert torch.equal(completed[known], image[known]) and torch.equal(image, before)
    assert completed.isfinite().all() and completed.abs().max() <= 1
    assert not torch.equal(completed[~known], image[~known])


@completing
@pytest.mark.parametrize("kind", masks.KINDS)
def test_the_holes_true_pixels_never_reach_the_output(trained, kind):
    method, image = trained[1], trained[2].test.tensor()
    mask = masks.make(kind, len(image), tuple(image.shape[-2:]), seed=2)
    expected = method.complete(image, mask)
    others = (torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) * 2 - 1, -image, torch.ones_like(image))
    for other in others:
        assert torch.equal(method.complete(torch.where(mask > 0.5, other, image), mask), expected)


@completing
def test_every_known_pixel_may_matter_but_no_other_face_does(trained):
    """A completion depends on its own face alone, and a completion of a part of the batch is the same completion."""
    method, image = trained[1], trained[2].test.tensor()
    mask = masks.center(len(image), image.shape[-1])
    completed = method.complete(image, mask)
    changed = torch.cat([image[:1], -image[1:]])
    assert torch.equal(method.complete(changed, mask)[0], completed[0])
    assert torch.allclose(method.complete(image[:1], mask[:1])[0], completed[0], atol=1e-5)
    assert not torch.equal(method.complete(image * 0.5, mask)[mask.expand_as(image) > 0.5],
                           completed[mask.expand_as(image) > 0.5])


@completing
def test_completing_twice_is_the_same_and_leaves_the_method_as_it_was(trained):
    method, image = trained[1], trained[2].test.tensor()
    mask, state = masks.make("strokes", len(image), image.shape[-1]), {k: v.clone() for k, v in method.state_dict().items()}
    method.train()
    first = method.complete(image, mask)
    assert torch.equal(first, method.complete(image, mask)) and method.training
    method.eval()
    assert torch.equal(first, method.complete(image, mask))
    assert_same(dict(method.state_dict()), state)


@completing
def test_one_mask_serves_a_batch_and_other_kinds_of_numbers_are_taken(trained):
    method, image = trained[1], trained[2].test.tensor()
    mask = masks.center(len(image), image.shape[-1])
    completed = method.complete(image, mask)
    assert torch.equal(method.complete(image, mask[:1]), completed)
    assert torch.equal(method.complete(image, mask.bool()), completed)
    double = method.complete(image.double(), mask.double())
    assert double.dtype == torch.float64 and torch.allclose(double, completed.double(), atol=1e-5)
    assert torch.equal(double[mask.expand_as(image) < 0.5], image.double()[mask.expand_as(image) < 0.5])
    empty = torch.zeros(1, 1, *image.shape[-2:])
    assert torch.equal(method.complete(image, empty), image)            # nothing to fill


@completing
def test_wrong_inputs_are_refused_with_what_to_do(trained):
    method, image = trained[1], trained[2].test.tensor()
    mask = masks.center(len(image), image.shape[-1])
    for wrong, message in [
        ((image[0], mask), r"image must be \(B, 3, H, W\), got .*; add the batch axis with image\[None\]"),
        ((image[:, :1], mask), r"image must be \(B, 3, H, W\), got"),
        (((image * 127.5 + 127.5).byte(), mask), "image must be float in .*, got torch.uint8; use facelib.data.to_float"),
        ((image * 127.5 + 127.5, mask), r"image must lie in \[-1, 1\], got .*; use facelib.data.to_float"),
        ((image * float("nan"), mask), r"image must lie in \[-1, 1\]"),
        ((image, mask[0]), r"mask must be \(B, 1, H, W\) with 1 = hole, got"),
        ((image, mask.expand(-1, 3, -1, -1)), r"mask must be \(B, 1, H, W\) .*; use mask\[:, :1\]"),
        ((image, mask[:3]), "mask must match the image's batch and size"),
        ((image, mask[..., :-4]), "mask must match the image's batch and size"),
        ((image, mask * 0.7), r"mask must hold only 0 \(known\) and 1 \(hole\); threshold it"),
        ((image[..., :-2], mask[..., :-2]), "height and width must be .*, got .*; resize"),
    ]:
        with pytest.raises(ValueError, match=message):
            method.complete(*wrong)
