"""Published weights: what is in them, what their card says, and that they come back as they were."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from facelib import features, fit, load_pretrained, masks, weights
from facelib.data import FaceData, Split
from facelib.methods.dcgan import DCGAN
from facelib.methods.glcic import GLCIC
from facelib.methods.infogan import InfoGAN
from facelib.methods.judges import Judges, attribute_accuracy, verification_accuracy
from facelib.methods.predictor import Predictor
from facelib.pretrained import config_of, load_run, on_generator, publish, start

CARD = {"name", "method", "config", "data", "split", "steps", "images_seen", "hardware", "wall_time_minutes", "commit", "metrics",
        "licence", "versions", "sha256", "bytes"}


def noise_faces(name="synthetic", n=24, size=32, seed=0):
    generator = np.random.default_rng(seed)

    def split(count):
        return Split(generator.integers(0, 256, (count, 3, size, size), dtype=np.uint8),
                     generator.integers(0, 2, (count, 40)).astype(np.int8), np.arange(count) // 2 + 1)

    return FaceData(name, split(n), split(8), split(8))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A short run of GLCIC and one of judges, on noise."""
    folder = tmp_path_factory.mktemp("runs")
    torch.manual_seed(0)
    fit(GLCIC(GLCIC.presets["smoke"]), noise_faces(), folder / "glcic", steps=4, quiet=True, precision="no")
    fit(Judges(Judges.presets["smoke"]), noise_faces("celeba160"), folder / "judges", steps=4, quiet=True, precision="no")
    return folder


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """An empty folder in place of facelib/weights."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    return tmp_path


def image_and_mask():
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1, masks.center(1, 32)


def test_published_weights_come_back_with_their_card(runs, shelf):
    path = publish(runs / "glcic", "mine", metrics={"psnr_hole": 12.5})
    tensors = load_file(path)
    assert {key.split(".")[0] for key in tensors} == {"G_ema", "mean"}            # nothing that only training needs
    assert {v.dtype for v in tensors.values()} == {torch.int8, torch.float16, torch.int64}

    method = load_pretrained("mine")
    image, mask = image_and_mask()
    wrong = (method.complete(image, mask) - load_run(runs / "glcic").complete(image, mask)).abs()
    assert wrong.max() < 0.1 and wrong.mean() < 0.004                             # of [-1, 1]: the rounding of int8
    assert not method.training and method.cfg == GLCIC.presets["smoke"]           # tuples are tuples again
    for key, value in method.G.state_dict().items():                              # fine-tuning starts from the average
        assert torch.equal(value, method.G_ema.state_dict()[key])

    card = method.card
    assert CARD <= set(card)
    assert (card["method"], card["preset"], card["data"], card["steps"], card["images_seen"]) == ("glcic", "smoke", "synthetic",
                                                                                                 4, 32)
    assert card["metrics"] == {"psnr_hole": 12.5} and card["licence"] == "CC BY 4.0" and "note" not in card
    assert card["wall_time_minutes"] >= 0 and card["versions"]["torch"] == torch.__version__


def test_published_weights_can_be_trained_on(runs, shelf, tmp_path):
    publish(runs / "glcic", "mine")
    method = load_pretrained("mine")
    before = method.G.out[0].weight.detach().clone()
    fit(method, noise_faces(), tmp_path / "on", steps=1, quiet=True, precision="no")
    assert 0 < (method.G.out[0].weight - before).abs().max() < 0.01


def test_judges_are_published_as_feature_networks(runs, shelf):
    publish(runs / "judges", "judge_attr")
    network = load_pretrained("judge_attr")
    assert isinstance(network, features.FeatureNetwork) and not any(p.requires_grad for p in network.parameters())
    image, _ = image_and_mask()
    torch.testing.assert_close(network.features(image), load_run(runs / "judges").features(image), atol=0.05, rtol=0.05)
    assert "non-commercial" in network.card["licence"] and "official test partition" in network.card["note"]


def test_names_of_judges_are_kept_for_judges(runs, shelf):
    with pytest.raises(ValueError, match="judge_attr, judge_identity, perceptual are for runs of judges"):
        publish(runs / "glcic", "judge_attr")
    with pytest.raises(ValueError, match="are for runs of judges"):
        publish(runs / "judges", "mine")


def test_the_licence_follows_from_the_data_or_is_said(runs, shelf):
    with pytest.raises(ValueError, match="no licence is known for weights trained on 'folder:holiday'; say it"):
        publish(runs / "glcic", "mine", data="folder:holiday")
    publish(runs / "glcic", "mine", data="folder:holiday", licence="all rights reserved", split="all")
    assert (weights.card("mine")["licence"], weights.card("mine")["split"]) == ("all rights reserved", "all")
    publish(runs / "glcic", "mine", data="synthetic+celeba64@aligned")             # one part of CelebA is enough
    assert "non-commercial" in weights.card("mine")["licence"] and "note" not in weights.card("mine")
    publish(runs / "glcic", "mine", data="celeba160+celeba:lfw160")
    assert "Labeled Faces in the Wild: non-commercial" in weights.card("mine")["licence"]


def test_unknown_and_damaged_weights_are_refused(runs, shelf):
    with pytest.raises(ValueError, match="no weights called 'glcik' come with this version; there are: none"):
        load_pretrained("glcik")
    path = publish(runs / "glcic", "mine")
    with pytest.raises(ValueError, match="there are: mine"):
        load_pretrained("glcik")
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ValueError, match="do not match their card"):
        load_pretrained("mine")


def test_weights_of_another_version_are_refused(shelf):
    method = GLCIC(GLCIC.presets["smoke"])
    config = json.loads(json.dumps(vars(method.cfg)))
    weights.write("other", {"mean": method.mean, "G_ema.strange": method.mean}, {"method": "glcic", "config": config}, shelf)
    with pytest.raises(ValueError, match="do not fit glcic of this version: missing .* unknown .*G_ema.strange"):
        load_pretrained("other")


def test_what_is_no_run_is_refused(runs, shelf, tmp_path):
    with pytest.raises(FileNotFoundError, match="expected a run folder with config.json, got .*nowhere"):
        publish(tmp_path / "nowhere", "mine")
    broken = shutil.copytree(runs / "glcic", tmp_path / "broken")
    (broken / "last.pt").write_bytes((broken / "last.pt").read_bytes()[:1000])
    with pytest.raises(ValueError, match="cannot be read: it is cut off or no checkpoint"):
        publish(broken, "mine")


def test_weights_that_do_not_fit_into_float16_are_refused(runs, shelf, tmp_path):
    run = shutil.copytree(runs / "glcic", tmp_path / "large")
    state = torch.load(run / "last.pt", weights_only=True)
    state["ema"]["G_ema.out.0.bias"].fill_(1e6)
    torch.save(state, run / "last.pt")
    with pytest.raises(ValueError, match="not finite as float16: .*G_ema.out.0.bias"):
        publish(run, "mine")


def test_configs_survive_json():
    for method in (GLCIC, Judges):
        for preset in method.presets.values():
            assert config_of(method, json.loads(json.dumps(vars(preset)))) == preset


class Knows(torch.nn.Module):
    """Stands for a network: what it sees in a face is written in the face's first pixels."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(()))

    def logits(self, image):
        return image.flatten(1)[:, :40]

    def features(self, image):
        return image.flatten(1)[:, :8]


def test_attribute_accuracy_counts_known_attributes():
    split = noise_faces().train
    split.attributes[:, 1] = -1                                                    # never known
    split.attributes[:12, 2] = -1                                                  # known of half the faces
    split.images.reshape(24, -1)[:, :40] = np.where(split.attributes == 1, 255, 0)
    found = attribute_accuracy(Knows(), split)
    assert found["mean"] == 1 and len(found["attributes"]) == 39 and "Arched_Eyebrows" not in found["attributes"]
    split.images.reshape(24, -1)[:6, 0] = 255 - split.images.reshape(24, -1)[:6, 0]
    assert attribute_accuracy(Knows(), split)["attributes"]["5_o_Clock_Shadow"] == 0.75
    assert 0.5 <= found["majority"] < 0.8
    with pytest.raises(ValueError, match="attributes are known"):
        attribute_accuracy(Knows(), replace(split, attributes=None))


def test_verification_accuracy():
    def split(seed, telling):
        generator = np.random.default_rng(seed)
        people = np.repeat(np.arange(1, 33), 4)
        vectors = generator.integers(0, 256, (33, 8))[people] if telling else generator.integers(0, 256, (128, 8))
        images = np.zeros((128, 3, 8, 8), np.uint8)
        images.reshape(128, -1)[:, :8] = vectors
        return Split(images, identities=people)

    perfect = verification_accuracy(Knows(), split(0, True), split(1, True), pairs=400)
    assert perfect["accuracy"] > 0.98 and perfect["people"] == 32 and perfect["pairs"] == 400
    assert abs(verification_accuracy(Knows(), split(0, False), split(1, False), pairs=2000)["accuracy"] - 0.5) < 0.06
    assert perfect == verification_accuracy(Knows(), split(0, True), split(1, True), pairs=400)
    lonely = split(1, True).take(slice(0, 128, 4))                                 # nobody twice
    with pytest.raises(ValueError, match="one of them with two faces"):
        verification_accuracy(Knows(), split(0, True), lonely)
    with pytest.raises(ValueError, match="two people"):
        verification_accuracy(Knows(), replace(lonely, identities=None), lonely)


# -- one method's generator in another ---------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def borrowed(tmp_path_factory):
    """A short run of InfoGAN and one of a predictor, on noise; the shelf on which the first was published as "gan"."""
    folder = tmp_path_factory.mktemp("borrowed")
    (folder / "shelf").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "FOLDER", folder / "shelf")
        for seed in (0, 1):
            gan = InfoGAN(InfoGAN.presets["smoke"], seed)
            fit(gan, noise_faces(), folder / f"gan{seed}", steps=2, quiet=True, precision="no")
        publish(folder / "gan0", "gan")
        cfg = replace(Predictor.presets["smoke"], steps=(3, 2))
        fit(on_generator(Predictor, cfg, "gan"), noise_faces(), folder / "finder", quiet=True, precision="no")
        fit(on_generator(Predictor, cfg, str(folder / "gan1")), noise_faces(), folder / "other", steps=1, quiet=True,
            precision="no")
    return folder


@pytest.fixture
def lent(borrowed, tmp_path, monkeypatch):
    """That shelf, to write on."""
    shelf = shutil.copytree(borrowed / "shelf", tmp_path / "shelf")
    monkeypatch.setattr(weights, "FOLDER", shelf)
    return shelf


def test_a_method_is_made_on_the_generator_of_weights_or_of_a_run(borrowed, lent):
    for name, generator in (("gan", load_pretrained("gan")), (str(borrowed / "gan1"), load_run(borrowed / "gan1"))):
        method = on_generator(Predictor, Predictor.presets["smoke"], name, seed=3)
        assert method.cfg.generator == name
        vector = generator.draw_latents(3)
        assert torch.equal(method.generate(vector), generator.generate(vector))
    drawn = lambda seed: on_generator(Predictor, Predictor.presets["smoke"], "gan", seed).P[2].weight
    assert torch.equal(drawn(3), method.P[2].weight) and not torch.equal(drawn(4), drawn(3))
    with pytest.raises(ValueError, match="GLCIC has its own generator and is not handed one"):
        on_generator(GLCIC, GLCIC.presets["smoke"], "gan")


def test_a_borrowed_generator_is_named_on_the_card_and_not_shipped_again(borrowed, lent):
    path = publish(borrowed / "finder", "finder")
    assert {key.split(".")[0] for key in load_file(path)} == {"P_ema", "directions"}
    assert weights.card("finder")["generator"] == {"name": "gan", "sha256": weights.card("gan")["sha256"]}
    method, run, gan = load_pretrained("finder"), load_run(borrowed / "finder"), load_pretrained("gan")
    vector = gan.draw_latents(4)
    assert torch.equal(method.generate(vector), gan.generate(vector))
    image, _ = image_and_mask()
    for key, value in run.encode(image).items():
        torch.testing.assert_close(method.encode(image)[key], value, atol=0.02, rtol=0.02)
    assert method.attributes == run.attributes and len(method.attributes) == 43
    assert method.edit(image, "Smiling", 1).shape == image.shape


def test_weights_on_another_generator_than_the_published_one_are_refused(borrowed, lent):
    publish(borrowed / "finder", "finder")
    with pytest.raises(ValueError, match="borrowed its generator from '.*gan1', which is not published .there are: finder, gan.; "
                                         "publish that, and train with its name as --generator"):
        publish(borrowed / "other", "other")
    publish(borrowed / "gan1", "gan")                                             # the same name, other weights
    with pytest.raises(ValueError, match="finder was trained on other weights of gan than those that are here; train"):
        load_pretrained("finder")
    with pytest.raises(ValueError, match="borrowed another generator than that of the weights gan as they are now; train again"):
        publish(borrowed / "finder", "finder")
    (lent / "gan.json").unlink()
    with pytest.raises(ValueError, match="no weights called 'gan' come with this version; there are: finder"):
        load_pretrained("finder")
    assert not (lent / "other.json").exists()


def test_a_method_starts_from_anothers_weights(borrowed, lent):
    """A plain DCGAN's generator becomes the corner of one that takes codes as well; what has no twin stays as drawn."""
    fit(DCGAN(DCGAN.presets["smoke"], seed=5), noise_faces(), lent / "dcgan", steps=1, quiet=True, precision="no")
    theirs = load_run(lent / "dcgan").state_dict()
    method, drawn = InfoGAN(InfoGAN.presets["smoke"]), InfoGAN(InfoGAN.presets["smoke"]).state_dict()
    count = start(method, lent / "dcgan")
    mine = method.state_dict()
    same = [k for k in mine if k in theirs and mine[k].shape == theirs[k].shape and mine[k].is_floating_point()]
    assert count > len(same) > 10 and all(torch.equal(mine[k], theirs[k]) for k in same)
    for key in ("G.first.weight", "G_ema.first.weight"):
        assert mine[key].shape[1] == 28 and torch.equal(mine[key][:, :16], theirs[key])
        assert torch.equal(mine[key][:, 16:], drawn[key][:, 16:])
    others = [k for k in mine if k not in theirs]
    assert "Q.layers.0.weight" in others and all(torch.equal(mine[k], drawn[k]) for k in others)
    with torch.no_grad():                                                         # without its codes it is the same generator
        vector = method.draw_latents(2)
        vector[:, 16:] = 0
        assert torch.allclose(method.G(vector), load_run(lent / "dcgan").G(vector[:, :16]), atol=1e-5)


def test_a_start_leaves_borrowed_networks_alone_and_needs_something_that_fits(borrowed, runs, lent):
    method = on_generator(Predictor, Predictor.presets["smoke"], "gan")
    before = {k: v.clone() for k, v in method.G.state_dict().items()}
    start(method, borrowed / "other")                                             # whose own G is another one
    assert all(torch.equal(v, before[k]) for k, v in method.G.state_dict().items())
    assert torch.equal(method.P[2].weight, load_run(borrowed / "other").P[2].weight)
    method = GLCIC(GLCIC.presets["smoke"])
    before = {k: v.clone() for k, v in method.state_dict().items()}
    with pytest.raises(ValueError, match="no tensor of .*judges fits GLCIC; start from weights of a method that has the same"):
        start(method, runs / "judges")
    assert all(torch.equal(v, before[k]) for k, v in method.state_dict().items())


# -- what ships --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", weights.names())
def test_shipped_weights_load_and_have_whole_cards(name):
    network = load_pretrained(name)
    assert CARD <= set(network.card), f"missing on the card: {CARD - set(network.card)}"
    assert not network.training and all(torch.isfinite(p).all() for p in network.parameters())
    if "celeba160" in network.card["data"]:
        assert "official test partition" in network.card["note"]
    assert ("non-commercial" in network.card["licence"]) == ("celeba" in network.card["data"])


def test_all_weights_stay_small():
    assert sum(path.stat().st_size for path in weights.FOLDER.glob("*.safetensors")) < 64 * 2**20
