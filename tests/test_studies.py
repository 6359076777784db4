"""Studies: what a set of runs shares, what is measured of generators with codes, of the way back, of BEGAN's balance."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from facelib.data import FaceData, Split
from facelib.latents import Layout
from facelib.methods import method_class
from facelib.studies import STUDIES, began, infogan, recovery, study
from facelib.studies.study import Study, carry_out

INFOGAN = replace(method_class("infogan").presets["smoke"], anchor=0.0, steps=(0, 0, 0, 3))


def faces(size=32, n=24):
    split = Split(np.random.default_rng(0).integers(0, 256, (n, 3, size, size), dtype=np.uint8))
    return FaceData("noise", split, split, split)


@pytest.fixture(autouse=True)
def cheap_judges(monkeypatch):
    """What judges see stands for itself: the means of the colours."""
    def see(judges, images):
        return {"features": images.mean((2, 3)), "identity": images.mean((2, 3))}
    monkeypatch.setattr(study, "seen_by", see)
    monkeypatch.setattr(study, "load_pretrained", lambda name: name)
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


def colours(method, test, real, judges):
    """The mean colour of what a method draws; see `completions`."""
    return {"colour": float(method.sample(4).mean()), "size": test.shape[-1]}, {"psnr": test.mean((1, 2, 3)).numpy()[:5]}


@pytest.mark.parametrize("name", STUDIES)
def test_every_study_is_made_of_runs_that_there_can_be(name):
    """And each variant but the first has its claim, and its own folder."""
    about = STUDIES[name]()
    configs = [replace(about.base, **changes) for changes in about.variants.values()]
    assert all(max(study.shortened(config, True).steps) <= 32
               for config in (*configs, *(config for _, config in about.generators.values())))
    assert len(set(map(str, configs))) == len(configs) - len(about.skips)
    assert len({study.slug(variant) for variant in about.variants}) == len(about.variants)
    assert set(about.skips) | set(about.seeds) | set(about.claims) <= set(about.variants)
    cls = method_class(about.method)
    assert all(hasattr(cls, function) for function in about.skips.values())
    assert {config.generator for config in configs} == set(about.generators) if about.generators else not cls.borrows


@pytest.mark.parametrize("about", [infogan.study(), began.study()], ids=["infogan", "began"])
def test_every_run_sees_equally_many_images(about):
    for variant, changes in about.variants.items():
        config = replace(about.base, **changes)
        assert sum(config.steps) * config.batch_size == pytest.approx(infogan.IMAGES, rel=0.01), variant


def test_a_study_trains_measures_and_does_not_train_again(tmp_path):
    about = Study("infogan", INFOGAN, {"first": {}, "less information": {"mi": 0.5}, "not averaged": {}},
                  {"less information": "A claim (1)."}, {"first": (0, 1)}, colours, ("adv",), {"not averaged": "average"})
    report = carry_out("toy", about, out=tmp_path / "toy.json", runs=tmp_path / "runs", faces=faces())
    rows = report["variants"]
    assert list(rows) == ["first", "first, seed 1", "less information", "not averaged"]
    assert rows["first, seed 1"]["seed"] == 1 and rows["first"]["colour"] != rows["first, seed 1"]["colour"]
    assert rows["less information"]["claim"] == "A claim (1)." and rows["less information"]["changes"] == {"mi": 0.5}
    assert rows["not averaged"]["skips"] == "average" and "skips" not in rows["first"]
    drawn = method_class("infogan")(INFOGAN).sample(4).mean()
    assert rows["not averaged"]["colour"] == pytest.approx(float(drawn)) != rows["first"]["colour"]
    assert rows["first"]["psnr_change"] == {"mean": 0.0, "low": 0.0, "high": 0.0} and len(rows["first"]["curves"]["adv"]) == 1
    assert json.loads((tmp_path / "toy.json").read_text())["measured"].startswith("The mean colour")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")}
    assert len(before) == 4
    again = carry_out("toy", about, out="", runs=tmp_path / "runs", faces=faces())
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("last.pt")} == before
    assert {key: row["colour"] for key, row in again["variants"].items()} == {key: row["colour"] for key, row in rows.items()}


def test_each_variant_is_measured_on_faces_of_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(study, "load_faces", lambda size: faces(size))
    about = Study("infogan", INFOGAN, {"32": {}, "16": {"size": 16}}, {}, {}, colours, ())
    report = carry_out("toy", about, out="", runs=tmp_path)
    assert {key: row["size"] for key, row in report["variants"].items()} == {"32": 32, "16": 16}
    assert report["floor"]["fd_attr"] == pytest.approx(0, abs=1e-9), "the floor is that of the base's size"


def test_a_method_that_borrows_a_generator_gets_the_one_that_its_config_names(tmp_path):
    cls, taken = method_class("predictor"), {}

    def keep(method, *_):
        """The generator."""
        taken[method.cfg.generator] = method.G.state_dict()
        return {}, {}

    base = replace(cls.presets["smoke"], generator="a", steps=(2, 0))
    generators = {"a": ("infogan", INFOGAN), "b": ("infogan", replace(INFOGAN, width=4))}
    about = Study("predictor", base, {"first": {}, "second": {"generator": "b"}}, {}, {}, keep, (), generators=generators)
    report = carry_out("toy", about, out="", runs=tmp_path, faces=faces())
    assert report["generators"]["b"]["config"]["width"] == 4
    for name, (_, config) in generators.items():
        folder = tmp_path / f"generator-{name}"
        theirs = torch.load(folder / "last.pt", weights_only=True)["ema"]
        mine = taken[str(folder)]
        assert all(torch.equal(theirs[f"G_ema.{key}"], value) for key, value in mine.items())
        assert mine["first.weight"].shape[0] == 16 * 8 * config.width


# -- what is measured --------------------------------------------------------------------------------------------------

class Open(torch.nn.Module):
    """A generator whose image shows its latents, each in a pixel, and that reads them there."""

    def __init__(self):
        super().__init__()
        self.layout = Layout(4, (3,), 1)
        self.cfg = replace(INFOGAN, z_dim=4, categorical=(3,), continuous=1, size=8)

    def draw_latents(self, n, seed=0):
        return self.layout.draw(n, torch.Generator().manual_seed(seed))

    def generate(self, latents):
        vector = latents if torch.is_tensor(latents) else self.layout.join(latents)
        return torch.nn.functional.pad(vector / 4, (0, 192 - 8)).unflatten(1, (3, 8, 8))

    def encode(self, image):
        return self.layout.split(image.flatten(1)[:, :8] * 4)

    def evaluating(self):
        return torch.no_grad()


def test_what_codes_do_is_told_in_grey_levels_and_what_is_read_against_the_truth():
    method = Open()
    found = infogan.told(method, method.generate(method.draw_latents(6, seed=9)))
    assert found["accuracy"] == 1 and found["noise_error"] == pytest.approx(0, abs=1e-10)
    assert found["switched"] == pytest.approx(127.5 * 2 / 4 / 192, rel=1e-4)         # one pixel goes off, another on
    assert found["turned"] == pytest.approx(127.5 * 2 / 4 / 192, rel=1e-4)           # from -1 to 1
    expected = 127.5 * 4 * 2 / torch.pi ** 0.5 / 4 / 192                            # E|a - b| of two of N(0, 1)
    assert found["redrawn"] == pytest.approx(expected, rel=0.05) and found["psnr"] > 80
    method.encode = lambda image: {"c_cat": torch.ones(len(image), 3) / 3, "c_cont": torch.zeros(len(image), 1)}
    blind = infogan.told(method, torch.zeros(6, 3, 8, 8))
    assert blind["accuracy"] == pytest.approx(1 / 3, abs=0.05) and np.isnan(blind["noise_error"]) and np.isnan(blind["psnr"])


@pytest.mark.parametrize("changes", [{"recovery": "trunk"}, {"recovery": "joint"},
                                     {"anchor": 1.0, "steps": (12, 128, 4, 12)}, {}])
def test_noise_is_read_by_whoever_can(changes):
    method, image = method_class("infogan")(replace(INFOGAN, **changes)), torch.rand(3, 3, 32, 32) * 2 - 1
    found = infogan.read(method, image)
    if not changes:
        assert found.keys() == {"c_cat", "c_cont"}
        return
    reader = {"trunk": lambda: method.R(method.D.features(image)), "joint": lambda: method.R(image),
              None: lambda: method.E(image)[0]}[changes.get("recovery")]
    assert torch.allclose(found["z"], reader(), atol=1e-6)


def test_the_way_back_is_measured_with_and_without_search(monkeypatch):
    monkeypatch.setattr(recovery, "FACES", 4)
    monkeypatch.setattr(recovery, "STEPS", 3)
    cls = method_class("predictor")
    method = cls(replace(cls.presets["smoke"], likeness="mse", pull=0.0))
    judge = torch.nn.Flatten()
    judge.features = lambda image: image.mean((2, 3))
    test = torch.rand(6, 3, 32, 32) * 2 - 1
    figures, values = recovery.recovered(method, test, {"identity": test.mean((2, 3))}, (judge, judge))
    assert all(value.shape == (4,) and np.isfinite(value).all() for value in values.values()) and figures["faces"] == 4
    assert (values["psnr_searched"] > values["psnr"]).all() and np.allclose(values["psnr_32"], values["psnr_searched"])
    assert figures["noise_error"] > 0 and 0 <= figures["identity"] <= 2


def test_the_balance_is_measured_as_training_sees_it(monkeypatch):
    monkeypatch.setattr(began, "PAIRS", 32)
    monkeypatch.setattr(began, "samples", lambda *_: ({"fd_attr": 1.0}, {}))
    cls, test = method_class("began"), torch.rand(256, 3, 32, 32) * 2 - 1
    method = cls(replace(cls.presets["smoke"], categorical=(), continuous=0, autoencoder="infogan"))
    method.sample = lambda n, seed: torch.zeros(n, 3, 32, 32)
    method.scalars["k"], norms = 0.25, {k: v.clone() for k, v in method.D.state_dict().items()}
    figures, _ = began.balanced(method, test, {}, ())
    assert figures["alike"] == pytest.approx(1) and figures["alike_test"] < 0.5
    assert figures["k"] == 0.25 and figures["fd_attr"] == 1.0 and np.isnan(figures["accuracy"])
    method.D.eval()
    assert figures["real_error_alone"] == pytest.approx(float((method.D(test) - test).abs().mean().detach()), rel=1e-5)
    assert figures["real_error"] != pytest.approx(figures["real_error_alone"], rel=1e-3)
    assert all(torch.equal(norms[k], v) for k, v in method.D.state_dict().items()), "measuring must not change D"
