"""The benchmark on small made-up faces, with stand-ins for methods and judges: figures, intervals, report, table."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from facelib import evaluate, masks, metrics
from facelib.data import FaceData, Split


def made_up(n, seed, **known):
    """n soft pictures of 32x32 as a split."""
    coarse = torch.rand(n, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    images = nn.functional.interpolate(coarse, size=32, mode="bilinear")
    return Split((images * 255).byte().numpy(), **known)


@pytest.fixture
def faces():
    return FaceData("made up", made_up(60, 1), made_up(0, 2), made_up(40, 3))


class Judge(nn.Module):
    """Stands in for both judges: 8 features, 40 logits, fixed by a seed."""

    def __init__(self, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Conv2d(3, 8, 5, 4), nn.Tanh(), nn.Flatten(), nn.LazyLinear(8))
        self.head = nn.Linear(8, 40)
        self.net(torch.zeros(1, 3, 32, 32))
        self.card = {"sha256": f"judge {seed}"}

    def features(self, images):
        return self.net(images)

    def logits(self, images):
        return self.head(self.net(images))


@pytest.fixture(autouse=True)
def judges(monkeypatch):
    def load(name, device="cpu"):
        if name == "glcic":
            return Network()
        return {"judge_attr": Judge(0), "judge_identity": Judge(1)}[name]

    monkeypatch.setattr(evaluate, "load_pretrained", load)


class Flat:
    """Fills the hole with one grey."""

    def __init__(self, grey):
        self.grey = grey

    def complete(self, image, mask):
        return masks.composite(image, mask, torch.full_like(image, self.grey))


class Network(nn.Module):
    """One convolution that completes, and a discriminator that must not be counted."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.G, self.D = nn.Conv2d(4, 3, 3, padding=1), nn.Linear(1000, 10)
        self.card = {"sha256": "abc"}

    @torch.no_grad()
    def complete(self, image, mask):
        return masks.composite(image, mask, torch.tanh(self.G(torch.cat([image * (1 - mask), mask], 1))))


def run(faces, **settings):
    return evaluate.evaluate({"grey": Flat(0.0), "white": Flat(1.0)}, faces, quiet=True, **settings)


def test_figures_are_those_of_metrics(faces):
    """Each figure recomputed: same faces, same holes, whole batch at once."""
    report = run(faces, holes=("center", "glcic"), seed=4)
    assert [(row["method"], row["hole"]) for row in report["rows"]] == [
        ("grey", "center"), ("white", "center"), ("grey", "glcic"), ("white", "glcic")]
    row, truth, judge = report["rows"][3], faces.test.tensor(), Judge(0)
    mask = masks.make("glcic", 40, (32, 32), seed=4)
    completed = Flat(1.0).complete(truth, mask)
    for key in ("psnr", "ssim", "ms_ssim", "l1"):
        metric = getattr(metrics, key)
        assert row[key]["mean"] == pytest.approx(metric(completed, truth).mean().item(), rel=1e-5)
        assert row[f"{key}_hole"]["mean"] == pytest.approx(metric(completed, truth, mask).mean().item(), rel=1e-5)
        assert row[key]["low"] < row[key]["mean"] < row[key]["high"]
    with torch.no_grad():
        seen, real, train = (judge.features(x) for x in (completed, truth, faces.train.tensor()))
    assert row["fd_attr"] == pytest.approx(metrics.frechet_distance(seen, real), rel=1e-3)
    assert row["fd_attr_train"] == pytest.approx(metrics.frechet_distance(seen, train), rel=1e-3)
    assert row["kd_attr"] == pytest.approx(metrics.kernel_distance(seen, real), rel=1e-3, abs=1e-6)
    assert report["floor"]["fd_attr_train"] == pytest.approx(metrics.frechet_distance(real, train), rel=1e-3)
    with torch.no_grad():
        seen, real = Judge(1).features(completed), Judge(1).features(truth)
    assert row["identity"]["mean"] == pytest.approx(metrics.identity_distance(seen, real).mean().item(), rel=1e-3)
    assert report["strangers"]["attributes"]["mean"] <= 1 and report["strangers"]["identity"]["mean"] > 0


def test_paired_differences_are_narrower(faces):
    """Methods meet the same faces and holes: the interval of the difference is that of the differences per face."""
    report = run(faces)
    first, second = report["rows"]
    assert "versus" not in first
    difference = second["versus"]["psnr"]
    assert difference["mean"] == pytest.approx(second["psnr"]["mean"] - first["psnr"]["mean"])
    truth, mask = faces.test.tensor(), masks.make("center", 40, 32)
    grey, white = (metrics.psnr(Flat(level).complete(truth, mask), truth).numpy() for level in (0.0, 1.0))
    spread = 1.96 * (white - grey).std() / math.sqrt(40)
    assert difference["high"] - difference["low"] == pytest.approx(2 * spread, rel=0.2)


def test_interval_of_the_bootstrap():
    """Of a mean: about 1.96 standard errors each way. Of a constant: nothing."""
    generator = np.random.default_rng(0)
    values = generator.standard_normal(400)
    resamples = generator.multinomial(400, np.full(400, 1 / 400), 4000) / 400
    found = evaluate.interval(values, resamples)
    error = values.std() / 20
    assert found["low"] == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found["high"] == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)
    assert evaluate.interval(np.full(400, 3.0), resamples) == pytest.approx({"mean": 3.0, "low": 3.0, "high": 3.0})


def test_again_gives_the_same_figures(faces):
    """All but the times: the report can be made again."""
    def figures(report):
        return [{key: value for key, value in row.items() if key != "milliseconds"} for row in report["rows"]]

    assert figures(run(faces, holes=("strokes",), n=20)) == figures(run(faces, holes=("strokes",), n=20))
    assert figures(run(faces, holes=("strokes",), n=20)) != figures(run(faces, holes=("strokes",), n=20, seed=1))


def test_report_is_written_whole_and_names_its_origin(faces, tmp_path):
    path = tmp_path / "new" / "glcic.json"
    report = evaluate.evaluate("glcic", faces, n=5, out=path, command="facelib evaluate glcic", quiet=True)
    written = json.loads(path.read_text())
    assert written["command"] == "facelib evaluate glcic" and written["test_faces"] == 5 and written["data"] == "made up"
    assert written["weights"] == {"glcic": "abc", "judge_attr": "judge 0", "judge_identity": "judge 1"}
    assert set(written["versions"]) == {"facelib", "torch", "numpy", "python"} and written["hardware"]
    assert [p.name for p in path.parent.iterdir()] == ["glcic.json"]                     # no temporary file is left
    row = written["rows"][0]
    assert row["parameters"] == 4 * 3 * 9 + 3 and row["milliseconds"] > 0
    assert row["fd_attr"] is None                                                        # 5 faces, 8 dimensions
    assert row["psnr"]["mean"] == pytest.approx(report["rows"][0]["psnr"]["mean"], rel=1e-5)


def test_infinite_figures_become_null(faces, tmp_path):
    class Truth:
        def complete(self, image, mask):
            return image

    report = evaluate.evaluate({"truth": Truth()}, faces, n=12, quiet=True)
    row = report["rows"][0]
    assert row["psnr"]["mean"] == math.inf and row["ssim"]["mean"] == pytest.approx(1) and row["fd_attr"] < 1e-6
    evaluate.save(report, tmp_path / "truth.json")
    assert json.loads((tmp_path / "truth.json").read_text())["rows"][0]["psnr"]["mean"] is None
    assert "inf" in evaluate.table(report)


def test_table_reads_as_text(faces):
    text = evaluate.table(run(faces, n=5))
    lines = text.splitlines()
    assert "made up: 5 held-out test faces of 32x32" in lines[0]
    assert lines[1].split()[:4] == ["method", "hole", "PSNR", "dB"]
    assert [line.split()[0] for line in lines[2:]] == ["grey", "white", "real", "strangers"]
    assert "±" in lines[2] and len({len(line) for line in lines[2:4]}) == 1


def test_main_writes_a_command_without_machine_paths(faces, tmp_path, monkeypatch, capsys):
    asked = {}

    def load_faces(name, **settings):
        asked.update(settings, name=name)
        return faces

    monkeypatch.setattr(evaluate, "load_faces", load_faces)
    report = evaluate.main(["glcic"], "celeba", tmp_path / "celeba160", 32, ["center", "half"], 6, 3, tmp_path / "r.json")
    assert report["command"] == ("facelib evaluate glcic --data celeba --root celeba160 --size 32 --holes center half "
                                 "--seed 3 --n 6")
    assert asked == {"name": "celeba", "root": tmp_path / "celeba160", "size": 32}
    assert "glcic" in capsys.readouterr().out and (tmp_path / "r.json").exists()


def test_only_held_out_celeba_faces_are_scored():
    """The weights saw parts of CelebA's official test partition: of it, the committed list alone is scored."""
    listed = evaluate.HELD_OUT.read_text().split()
    assert len(listed) == len(set(listed)) == 1007
    names = ["182638.jpg", listed[0], listed[1].replace("jpg", "png"), "170000.jpg"]     # seen, 2 held out, official val
    attributes = np.zeros((4, 40), np.int8)
    split = made_up(4, 0, names=names, attributes=attributes)
    assert evaluate.held_out(split).names == names[1:]
    own = made_up(4, 0, names=["182638.jpg", "b.jpg", "c.jpg", "d.jpg"], attributes=attributes)
    assert evaluate.held_out(own) is own
    folder = made_up(4, 0, names=names)                                                 # no attributes: not CelebA
    assert evaluate.held_out(folder) is folder


def test_held_out_faces_are_the_test_split():
    """Where the data is there: the list is the test split of celeba160, no face more and none less."""
    found = [Path(place) / "celeba160" / "list_eval_partition.txt"
             for place in os.environ.get("FACELIB_DATA", "").split(os.pathsep) if place]
    found = [path for path in found if path.exists()]
    if not found:
        pytest.skip("FACELIB_DATA names no folder with celeba160")
    rows = [line.split() for line in found[0].read_text().splitlines()]
    assert sorted(name for name, split in rows if split == "2") == evaluate.HELD_OUT.read_text().split()


def test_bad_input_is_refused(faces):
    with pytest.raises(ValueError, match=r"holes must be kinds out of center.*got \('round',\)"):
        run(faces, holes=("round",))
    empty = FaceData("none", made_up(9, 0), made_up(0, 0), made_up(0, 0))
    with pytest.raises(ValueError, match="at least 2 held-out test faces and 2 train faces, none gives 0 and 9"):
        run(empty)
