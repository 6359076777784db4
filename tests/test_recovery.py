"""The report on recovery, on rendered faces: figures recomputed, pairs, curves, likenesses that cannot be had, the table."""

import json
import math

import pytest
import torch
from test_upscaling import SmallJudge

from facelib import load_faces, metrics, pretrained
from facelib.data.faces import to_uint8
from facelib.evaluate import recovery
from facelib.latent_search import Found
from facelib.methods.predictor import Predictor


@pytest.fixture(autouse=True)
def judges(monkeypatch):
    judges = {"judge_attr": SmallJudge(0), "judge_identity": SmallJudge(1)}
    monkeypatch.setattr(pretrained, "load_pretrained", lambda name, device="cpu": judges[name])


@pytest.fixture(scope="module")
def faces():
    return load_faces(size=32)


class Small(Predictor):
    """An untrained predictor that searches with two likenesses, of which one cannot be had."""

    likenesses = ("mse", "gone")

    def recover(self, image, steps=100, likeness=None, start="predictor", every=0):
        if likeness == "gone":
            raise RuntimeError("the weights of it could not be downloaded (no cable); go online")
        return super().recover(image, steps, likeness, start, every)


class Perfect:
    """Finds faces up to an error that its route decides; the error of a face halves with the face's number."""

    likenesses = ("mse",)
    ERRORS = {("mean", 0): 0.4, ("predictor", 0): 0.2, ("mean", 10): 0.1, ("predictor", 10): 0.05}

    def __init__(self, truth):
        self.truth = truth

    def recover(self, image, steps=100, likeness=None, start="predictor", every=0):
        number = torch.stack([(self.truth - one).abs().flatten(1).sum(1).argmin() for one in image])
        error = self.ERRORS[start, steps] * 0.5 ** number.float()
        looks = {step: image * (1 - self.ERRORS[start, 0]) for step in range(0, steps + 1, every)} if every else {}
        made = image - image.sign() * error.view(-1, 1, 1, 1)
        return Found(None, made, error, error.expand(steps + 1, -1), looks)


def run(method, faces, **settings):
    return recovery.evaluate(method, faces, **{"n": 6, "steps": 10, "quiet": True} | settings)


def untimed(report):
    rows = [{key: value for key, value in row.items() if key not in ("milliseconds", "time_ratio")} for row in report["rows"]]
    return report | {"rows": rows}


def test_figures_are_those_of_metrics(faces):
    """Each route by hand; the same report comes out again."""
    method = Small(Predictor.presets["smoke"]).eval()
    report = run(method, faces)
    assert untimed(run(method, faces)) == untimed(report)
    assert [row["method"] for row in report["rows"]] == ["mean latents", "predictor", "iteration, own",
                                                         "predictor, iteration, own", "iteration, mse",
                                                         "predictor, iteration, mse"]
    assert report["left_out"] == {"gone": "the weights of it could not be downloaded"}
    truth = faces.test.tensor(slice(0, 6))
    large = torch.nn.functional.interpolate(truth, size=64, mode="bilinear")
    for row, (steps, likeness, start) in zip(report["rows"], [
            (0, "mse", "mean"), (0, "mse", "predictor"), (10, None, "mean"), (10, None, "predictor"), (10, "mse", "mean"),
            (10, "mse", "predictor")], strict=True):
        found = method.recover(truth, steps, likeness, start, every=5)
        assert row["psnr"]["mean"] == pytest.approx(metrics.psnr(found.images, truth).mean().item(), rel=1e-5)
        assert row["ssim"]["mean"] == pytest.approx(metrics.ssim(found.images, truth).mean().item(), rel=1e-4)
        with torch.no_grad():
            made = torch.nn.functional.interpolate(found.images, size=64, mode="bilinear")
            apart = metrics.identity_distance(SmallJudge(1).features(made), SmallJudge(1).features(large))
        assert row["identity"]["mean"] == pytest.approx(apart.mean().item(), rel=1e-3)
        assert row["milliseconds"] > 0 and row["faces"] == 6 and row["steps"] == steps
        assert row["slice"] == pytest.approx(metrics.psnr(found.images, truth).tolist(), abs=0.006)
        assert recovery.agrees(row, method, truth)
        assert ("curve" in row) == (steps > 0)
        if steps:
            assert row["curve"]["step"] == [0, 5, 10]
            assert row["curve"]["loss"] == pytest.approx(found.curve[::5].mean(1).tolist(), rel=1e-4)
            looks = [metrics.psnr(image, truth).mean().item() for image in found.history.values()]
            assert row["curve"]["psnr"] == pytest.approx(looks, rel=1e-5)
    assert report["rows"][1]["time_ratio"] == 1 < report["rows"][2]["time_ratio"]
    assert not recovery.agrees(report["rows"][5] | {"slice": [9.0] * 6}, method, truth)


def test_differences_are_paired(faces):
    """A route that halves every face's error is 6 dB ahead of each, although the faces themselves differ by 30 dB."""
    truth = (faces.test.tensor(slice(0, 6)) * 0.4).clamp(-0.5, 0.5)
    faces = type(faces)("made up", faces.train, faces.val, type(faces.test)(to_uint8(truth).numpy()))
    truth = faces.test.tensor()
    report = run(Perfect(truth), faces)
    rows = {row["method"]: row for row in report["rows"]}
    order = sorted(rows, key=lambda name: rows[name]["psnr"]["mean"])
    assert order[:2] == ["mean latents", "predictor"] and {order[-1], order[-2]} == {"predictor, iteration, own",
                                                                                  "predictor, iteration, mse"}
    best = rows["predictor, iteration, mse"]
    assert best["psnr"]["high"] - best["psnr"]["low"] > 10
    for rival, decibels in (("predictor", 20 * math.log10(4)), ("iteration", 20 * math.log10(2))):
        told = best["versus"][rival]["psnr"]
        assert told["mean"] == pytest.approx(decibels, abs=0.05) and told["high"] - told["low"] < 0.1
    ahead = best["curve"]["ahead"]
    assert len(ahead) == 3 and ahead[0]["mean"] == pytest.approx(20 * math.log10(0.4 / 0.2), abs=0.01)
    assert "versus" not in rows["iteration, mse"] and "ahead" not in rows["iteration, mse"]["curve"]


def test_slow_likenesses_get_the_first_faces(faces, monkeypatch):
    monkeypatch.setattr(recovery, "SLOW", 0.0)
    monkeypatch.setattr(recovery, "FEW", 3)
    method = Small(Predictor.presets["smoke"]).eval()
    report = run(method, faces)
    assert [row["faces"] for row in report["rows"]] == [6, 6, 3, 3, 3, 3]
    truth = faces.test.tensor(slice(0, 3))
    gain = (metrics.psnr(method.recover(truth, 10, "mse").images, truth) - metrics.psnr(method.recover(truth, 0).images, truth))
    assert report["rows"][5]["versus"]["predictor"]["psnr"]["mean"] == pytest.approx(gain.mean().item(), abs=1e-4)


def test_report_and_table_name_their_origin(faces, tmp_path, monkeypatch, capsys):
    method = Small(Predictor.presets["smoke"]).eval()
    method.card = {"sha256": "p", "generator": {"name": "lender", "sha256": "g"}}
    asked = {}

    def load(name, **settings):
        asked.update(settings, name=name)
        return faces

    monkeypatch.setattr(recovery, "load_faces", load)
    monkeypatch.setattr(recovery, "STEPS", 5)
    monkeypatch.setattr(pretrained, "load", lambda name: method)
    recovery.main("finder", "celeba", tmp_path / "celeba160", 4, 3, tmp_path / "r.json")
    assert asked == {"name": "celeba", "root": tmp_path / "celeba160", "size": 32}
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["command"] == "facelib evaluate --recover finder --data celeba --root celeba160 --n 4 --seed 3"
    assert written["weights"] == {"judge_attr": "judge 0", "judge_identity": "judge 1", "finder": "p", "lender": "g"}
    assert written["hardware"] and written["test_faces"] == 4 and written["steps"] == 5
    text = (tmp_path / "r.md").read_text()
    assert text == recovery.table(written) + "\n"
    assert "- gone: the weights of it could not be downloaded" in text and "| strangers" in text
    assert len([line for line in text.splitlines() if line.startswith("| mse")]) == 1
    assert "predictor, iteration, own" in capsys.readouterr().out


def test_one_face_is_too_few(faces):
    with pytest.raises(ValueError, match="on 2 test faces or more, synthetic gives 1; use a larger n"):
        run(Small(Predictor.presets["smoke"]), faces, n=1)
