"""The predictor of latents: what it learns from, what it leaves alone, recovery by search, directions, edits."""

from dataclasses import replace
from types import SimpleNamespace
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torchvision import models

from facelib import fit
from facelib.data import FaceData, Split
from facelib.data.faces import ATTRIBUTES
from facelib.methods.dcgan import DCGAN
from facelib.methods.glcic import GLCIC
from facelib.methods.infogan import InfoGAN
from facelib.methods.predictor import LIKENESSES, Directions, Likeness, Predictor

SMOKE = replace(Predictor.presets["smoke"], likeness="mse")


@pytest.fixture(autouse=True)
def on_cpu(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def lively(method):
    """The method with a generator whose faces differ: as it is drawn first, all are nearly grey."""
    with torch.no_grad():
        method.G.last[0].weight *= 6
    return method


def labelled(images, seed=0):
    attributes = np.random.default_rng(seed).integers(0, 2, (len(images), 40)).astype(np.int8)
    split = Split(images, attributes)
    return FaceData("made up", split, split.take(slice(0, 8)), split.take(slice(0, 8)))


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """(a predictor after 300 steps on its generator's own faces, the generator as it was, faces, their latents)."""
    patch = pytest.MonkeyPatch()
    patch.setenv("ACCELERATE_USE_CPU", "true")
    method = lively(Predictor(replace(SMOKE, steps=(300, 8), width=16, batch_size=16)))
    before = {k: v.clone() for k, v in method.G.state_dict().items()}
    faces = ((method.generate(method.draw_latents(256, seed=5)) + 1) * 127.5).round().byte().numpy()
    fit(method, labelled(faces), tmp_path_factory.mktemp("predictor"), quiet=True, precision="no", save_every=1000)
    patch.undo()
    truth = method.draw_latents(32, seed=9)
    return method, before, method.generate(truth), truth


# -- what learns -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("batch_norm", [False, True])
def test_gradients_reach_the_predictor_and_never_the_generator(batch_norm):
    method = lively(Predictor(replace(SMOKE, batch_norm=batch_norm))).train()
    before = {k: v.clone() for k, v in method.state_dict().items()}
    log = method.step({"image": torch.rand(8, 3, 32, 32) * 2 - 1}, "predictor")
    assert set(log) == {"loss", "likeness", "rec", "latent", "pull"}
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in method.P.parameters())
    assert all(p.grad is None and not p.requires_grad for p in method.G.parameters()) and not method.G.training
    for key, value in method.state_dict().items():                      # batch norm's statistics too
        assert torch.equal(value, before[key]) == (not key.startswith("P.")), key
    weights = (SMOKE.likeness_weight, SMOKE.pixels, SMOKE.latent, SMOKE.pull)
    parts = [log[k].item() for k in ("likeness", "rec", "latent", "pull")]
    assert log["loss"].item() == pytest.approx(sum(w * p for w, p in zip(weights, parts, strict=True)), rel=1e-5)


def test_the_generator_is_the_same_after_training_and_latents_are_found(found):
    method, before, image, truth = found
    assert all(torch.equal(v, before[k]) for k, v in method.G.state_dict().items())
    parts, known = method.encode(image), method.layout.split(truth)
    error = lambda a, b: float((a - b).pow(2).mean())
    assert error(parts["z"], known["z"]) < 0.75 * error(torch.zeros(1), known["z"])
    assert float((parts["c_cat"].argmax(1) == known["c_cat"].argmax(1)).float().mean()) > 0.3       # one in ten by chance
    assert (parts["c_cat"].sum(1) - 1).abs().max() < 1e-5 and parts["c_cat"].min() >= 0
    mean = image.mean(0, keepdim=True)
    assert error(method.generate(parts), image) < 0.6 * error(mean, image)
    assert all(torch.equal(parts[k], v) for k, v in method.encode(image).items())


def test_latent_error_by_hand():
    method = Predictor(replace(SMOKE, z_dim=2, categorical=(2, 3), continuous=1))
    answer = torch.tensor([[1.0, 2, 0, 0, 5, 0, 0, 0.5]])
    truth = torch.tensor([[0.0, 2, 1, 0, 0, 1, 0, 1.0]])
    expected = 0.5 + 0.25 + np.log(2) - np.log(1 / (np.exp(5) + 2))
    assert float(method.latent_error(answer, truth)) == pytest.approx(expected)
    plain = Predictor(replace(SMOKE, z_dim=2, categorical=(), continuous=0))
    assert float(plain.latent_error(answer[:, :2], truth[:, :2])) == pytest.approx(0.5)
    vector = method.vector(answer)[0]
    assert vector[:2].tolist() == [1, 2] and vector[2:4].tolist() == [0.5, 0.5] and vector[4:7].sum().item() == pytest.approx(1)


# -- which generator ---------------------------------------------------------------------------------------------------

def test_the_config_follows_from_the_generator():
    gan, plain = InfoGAN(InfoGAN.presets["smoke"]), DCGAN(DCGAN.presets["smoke"])
    cfg = Predictor.config_for(replace(SMOKE, width=24), gan, "mine")
    assert (cfg.generator, cfg.width, cfg.g_width, cfg.categorical, cfg.continuous) == ("mine", 24, 8, (10,), 2)
    without = Predictor.config_for(SMOKE, plain, "other")
    assert (without.categorical, without.continuous, without.z_dim, without.kernel) == ((), 0, 16, 4)
    for fitting, generator in ((cfg, gan), (without, plain)):
        method = Predictor(fitting)
        method.take(generator)
        vector = method.draw_latents(4)
        assert torch.equal(method.generate(vector), generator.G_ema(vector))
        generator.G_ema.last[0].weight.data.zero_()                                     # its own copy, not a reference
        assert method.generate(vector).abs().max() > 0
    with pytest.raises(ValueError, match=r"this predictor is built for another generator \(.* differs\); take its config from"):
        Predictor(without).take(gan)
    with pytest.raises(ValueError, match="must be one as infogan or dcgan have, mouths has none"):
        Predictor.config_for(SMOKE, GLCIC(GLCIC.presets["smoke"]), "mouths")


def test_directions_need_labelled_faces(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (16, 3, 32, 32), dtype=np.uint8)
    split = Split(images)
    faces = FaceData("nameless", split, split, split)
    with pytest.raises(ValueError, match="the phase directions needs faces with attributes, nameless has none; set steps=12,0"):
        fit(Predictor(SMOKE), faces, tmp_path / "a", quiet=True, precision="no")
    method = fit(Predictor(replace(SMOKE, steps=(2, 0))), faces, tmp_path / "b", quiet=True, precision="no")
    assert method.attributes == ["c_cat0", "c_cont0", "c_cont1"]


# -- recovery ----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("start", ["predictor", "mean"])
def test_recovery_starts_where_it_says_and_lowers_the_objective(found, start):
    method, _, image, _ = found
    image = image[:6]
    first = method.recover(image, 0, start=start)
    if start == "predictor":
        assert torch.equal(first.latents, method.layout.join(method.encode(image)))
    else:
        parts = method.layout.split(first.latents)
        assert not parts["z"].any() and not parts["c_cont"].any() and torch.allclose(parts["c_cat"], torch.tensor(0.1))
    again = method.recover(image, 30, start=start, every=10)
    assert torch.equal(again.curve[0], first.loss) and (again.loss < 0.9 * first.loss).all()
    assert list(again.history) == [0, 10, 20, 30] and torch.equal(again.history[0], first.images)
    assert torch.allclose(again.images, method.generate(again.latents), atol=1e-5)
    square = (again.images - image).pow(2).mean((1, 2, 3))              # the likeness of SMOKE, and its pixels
    own = (SMOKE.likeness_weight + SMOKE.pixels) * square + SMOKE.pull * again.latents[:, :16].pow(2).mean(1)
    assert torch.allclose(again.loss, own, atol=1e-5)


def test_recovery_takes_a_likeness_by_name_or_as_it_is(found):
    method, _, image, _ = found
    by_name = method.recover(image[:2], 3, likeness="ssim")
    assert torch.equal(by_name.loss, method.recover(image[:2], 3, likeness=Likeness("ssim")).loss)
    expected = Likeness("ssim")(by_name.images, image[:2]) + SMOKE.pull * by_name.latents[:, :16].pow(2).mean(1)
    assert torch.allclose(by_name.loss, expected, atol=1e-5)
    assert all(p.grad is None for p in method.G.parameters())


def test_each_face_is_recovered_by_itself(found):
    method, _, image, _ = found
    alone = torch.cat([method.recover(one[None], 5).latents for one in image[:3]])
    assert torch.allclose(method.recover(image[:3], 5).latents, alone, atol=1e-4)


# -- directions and edits ----------------------------------------------------------------------------------------------

def test_directions_find_a_known_linear_relation():
    """Latents that are attributes times a matrix, an offset and noise: from "no" to "yes" is twice its row."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator)
    attributes = torch.randint(-1, 2, (6000, 40), generator=generator)                   # -1 unknown, 0 no, 1 yes
    attributes[:, 1] = torch.where(torch.rand(6000, generator=generator) < 0.9, attributes[:, 0], attributes[:, 1])
    attributes[:, 2], attributes[:, 3] = -1, 0                                           # never known; nobody has it
    signs = torch.where(attributes < 0, 0, 2 * attributes - 1).float()
    matrix = draw(40, 12)
    matrix[1] = 0                                                       # goes with the first, and leads nowhere itself
    latents = signs @ matrix + 5 + draw(12) + 0.5 * draw(6000, 12)
    directions = Directions(12)
    for part in range(0, 6000, 500):
        directions.follow(attributes[part:part + 500], latents[part:part + 500])
    found = directions.found
    known = [i for i in range(40) if i not in (2, 3)]
    assert (found[known] - 2 * matrix[known]).abs().max() < 0.12
    assert found[2].abs().max() == 0 and found[3].abs().max() < 1e-3
    alone = Directions(12)
    alone.follow(attributes, latents)
    assert torch.allclose(alone.found, found, atol=1e-3)                                 # batches add up


def with_directions(method):
    """A copy's directions set by hand: Smiling leads along z0, Young along z1 and the first continuous code."""
    method.directions.found.zero_()
    method.directions.found[ATTRIBUTES.index("Smiling"), 0] = 0.5
    method.directions.found[ATTRIBUTES.index("Young"), [1, 26]] = 2.0
    return method


def test_the_attributes_are_those_with_a_direction_and_the_codes():
    method = Predictor(SMOKE)
    assert method.attributes == ["c_cat0", "c_cont0", "c_cont1"]
    assert with_directions(method).attributes == ["Smiling", "Young", "c_cat0", "c_cont0", "c_cont1"]


def test_training_finds_directions_of_all_attributes(found):
    method = found[0]
    assert method.attributes == [*ATTRIBUTES, *method.layout.codes]


def test_moves():
    method = with_directions(Predictor(SMOKE))
    vector = method.draw_latents(5)
    before, step = vector.clone(), torch.zeros(28)
    step[0] = 0.5
    assert torch.allclose(method.move(vector, "Smiling", 2), vector + 2 * step)
    step = torch.zeros(28)
    step[[1, 26]] = 2.0
    assert torch.allclose(method.move(vector, "Young", -1.5), vector - 1.5 * step)
    turned = method.move(vector, "c_cont1", 0.5)
    assert torch.allclose(turned[:, 27], (vector[:, 27] + 0.5).clamp(max=1)) and torch.equal(turned[:, :27], vector[:, :27])
    classed = method.move(vector, "c_cat0", 3)
    assert classed[:, 16:26].argmax(1).tolist() == [3] * 5 and torch.equal(classed[:, :16], vector[:, :16])
    assert torch.equal(vector, before)
    for wrong in ("Bald", "smiling", "c_cont2"):
        with pytest.raises(ValueError, match=f"must be one of Smiling, Young, c_cat0, c_cont0, c_cont1, got '{wrong}'"):
            method.move(vector, wrong, 1)
    with pytest.raises(ValueError, match="c_cat0 has the classes 0 to 9"):
        method.move(vector, "c_cat0", 10)


def test_edits(found):
    method, _, image, _ = found
    image = (image[:4] + 0.1 * torch.randn(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))).clamp(-1, 1)
    vector = method.layout.join(method.encode(image))
    for steps in (0, 2):
        assert torch.equal(method.edit(image, "Smiling", 0, steps), image)               # bit for bit
    moved = method.generate(method.move(vector, "Smiling", 2))
    assert torch.equal(method.edit(image, "Smiling", 2, details=False), moved)
    edited = method.edit(image, "Smiling", 2)
    assert torch.allclose(edited, (image + moved - method.generate(vector)).clamp(-1, 1), atol=1e-6)
    assert not torch.equal(edited, image) and edited.abs().max() <= 1
    better = method.recover(image, 5).latents
    assert torch.allclose(method.edit(image, "c_cat0", 4, 5, details=False),
                          method.generate(method.layout.set(better, "c_cat0", 4)), atol=1e-5)


def test_the_way_between_two_faces(found):
    method, _, image, _ = found
    way = method.between(image[:1], image[1:2], n=5)
    ends = method.generate(method.encode(image[:2]))
    assert way.shape == (5, 3, 32, 32) and torch.allclose(way[[0, -1]], ends, atol=1e-5)
    middle = method.layout.join(method.encode(image[:2])).mean(0, keepdim=True)
    assert torch.allclose(way[2:3], method.generate(middle), atol=1e-5)


def test_faces_of_another_size_are_refused(found):
    method, image = found[0], found[2]
    said = r"image must be \(B, 3, 32, 32\), the faces of its generator, got .*; resize it"
    for wrong in (torch.zeros(1, 3, 64, 64), image[0], image[:, :1]):
        for verb in (method.encode, method.recover, lambda x: method.edit(x, "Smiling")):
            with pytest.raises(ValueError, match=said):
                verb(wrong)
    with pytest.raises(ValueError, match="start must be predictor or mean, got 'middle'"):
        method.recover(image, start="middle")


# -- likeness ----------------------------------------------------------------------------------------------------------

def small_vgg(monkeypatch):
    torch.manual_seed(0)
    layers = torch.nn.Sequential(*(layer for inner, outer in ((3, 2), (2, 2), (2, 3), (3, 3), (3, 4)) for layer in (
        torch.nn.Conv2d(inner, outer, 3, padding=1), torch.nn.ReLU(inplace=True), torch.nn.MaxPool2d(2))))
    monkeypatch.setattr(models, "vgg16", lambda weights: SimpleNamespace(features=layers))


@pytest.mark.parametrize("name", LIKENESSES)
def test_equal_faces_have_likeness_0_and_gradients_flow(name, monkeypatch):
    small_vgg(monkeypatch)
    likeness = Likeness(name)
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(3, 3, 6, 6, generator=generator) * 2 - 1
    image = torch.nn.functional.interpolate(coarse, size=32, mode="bilinear")
    assert likeness(image, image).shape == (3,) and likeness(image, image).abs().max() < 1e-5
    noise = torch.randn(image.shape, generator=generator)
    near, far = (likeness((image + share * noise).clamp(-1, 1), image) for share in (0.05, 0.3))
    assert (near > 0).all() and (far > near).all()
    one = likeness(torch.cat([image[:1], -image[1:]]), image)           # each pair by itself
    assert one[0] < 1e-5 and (one[1:] > near[1:]).all()
    for other in (image + 0.1 * noise, -image, torch.zeros_like(image)):
        pred = other.clamp(-1, 1).requires_grad_()
        likeness(pred, image).sum().backward()
        assert pred.grad.isfinite().all(), "a search would end here"
    pred = (image + 0.1 * noise).clamp(-1, 1).requires_grad_()
    likeness(pred, image).sum().backward()
    better = likeness((pred - 0.01 * pred.grad / pred.grad.abs().amax()).detach(), image)
    assert better.sum() < likeness(pred, image).sum()
    assert all(not p.requires_grad for p in likeness.parameters())


def test_unknown_likenesses_and_vgg_offline_say_what_to_do(monkeypatch):
    listed = "likeness must be one of mse, ssim, ms_ssim, perceptual, vgg16, got 'l1'"
    with pytest.raises(ValueError, match=listed):
        Likeness("l1")
    with pytest.raises(ValueError, match=listed):
        replace(SMOKE, likeness="l1")

    def refuse(*_, **__):
        raise URLError("Name or service not known")                     # an OSError
    monkeypatch.setattr(models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(RuntimeError, match="VGG16 could not be downloaded .*; go online once"), torch.device("meta"):
        Likeness("vgg16")
