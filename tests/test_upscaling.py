"""The benchmark of super-resolution on made-up and rendered faces: figures, pairs, groups, what is kept, the table."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from test_evaluate import Judge, made_up
from torch import nn

from facelib import evaluate, load_faces, metrics, resolution, weights
from facelib.data import ATTRIBUTES, FaceData
from facelib.evaluate import groups, upscalers, upscaling
from facelib.features import at_size_of

NEAREST, BICUBIC = (upscalers.Function(resolution.METHODS[name]) for name in ("nearest", "bicubic"))


class SmallJudge(Judge):
    """Stands in for both judges; it must see every face at 64 pixels."""

    size = 64

    def __init__(self, seed, verification=None):
        super().__init__(seed)
        self.net = nn.Sequential(nn.AvgPool2d(2), *self.net)
        self.card |= {"metrics": {"verification": verification} if verification else {}}

    def features(self, images):
        assert images.shape[-2:] == (64, 64)
        return super().features(images)

    def logits(self, images):
        assert images.shape[-2:] == (64, 64)
        return super().logits(images)


@pytest.fixture
def faces():
    """Soft pictures of ten people, with labels."""
    generator = np.random.default_rng(0)

    def split(n, seed):
        return made_up(n, seed, attributes=generator.integers(0, 2, (n, 40), dtype=np.int8), identities=np.arange(n) % 10)

    return FaceData("made up", split(60, 1), split(30, 2), split(70, 3))


@pytest.fixture(autouse=True)
def judges(monkeypatch):
    def load(name, device="cpu"):
        return {"judge_attr": SmallJudge(0), "judge_identity": SmallJudge(1, {"threshold": 0.9, "accuracy": 0.8})}[name]

    monkeypatch.setattr(upscaling, "load_pretrained", load)


class Truth:
    """Knows the faces and gives them back, batch after batch."""

    def __init__(self, truth):
        self.truth, self.low = truth, resolution.shrink(truth)

    def upscale(self, low):
        return torch.stack([self.truth[(self.low - one).abs().flatten(1).sum(1).argmin()] for one in low])


class Network(nn.Module):
    """One convolution over bicubic, a discriminator that must not be counted, and a count of the faces enlarged."""

    def __init__(self, sha256="abc", gain=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.G, self.D = nn.Conv2d(3, 3, 3, padding=1), nn.Linear(1000, 10)
        self.card, self.gain, self.seen = {"sha256": sha256}, gain, 0

    @torch.no_grad()
    def upscale(self, low):
        self.seen += len(low)
        large = resolution.METHODS["bicubic"](low)
        return (large + self.gain * torch.tanh(self.G(large))).clamp(-1, 1)


def run(faces, methods=None, **settings):
    methods = methods or {"bicubic": BICUBIC, "nearest": NEAREST, "net": (net := Network()),
                          "net+back_projection": upscalers.Corrected(net)}
    return upscaling.evaluate(methods, faces, quiet=True, **settings)


def test_figures_are_those_of_metrics(faces):
    """Each figure recomputed: whole batch at once."""
    report = run(faces)
    assert [row["method"] for row in report["rows"]] == ["bicubic", "nearest", "net", "net+back_projection"]
    truth = faces.test.tensor()
    low = resolution.shrink(truth)
    made = resolution.back_project(Network().upscale(low), low)
    row = report["rows"][3]
    for key in ("psnr", "ssim", "l1"):
        values = getattr(metrics, key)(made, truth)
        assert row[key]["mean"] == pytest.approx(values.mean().item(), rel=1e-5)
        assert row[key]["low"] < row[key]["mean"] < row[key]["high"]
        error = 1.96 * values.std().item() / math.sqrt(70)
        assert row[key]["high"] - row[key]["low"] == pytest.approx(2 * error, rel=0.2)
    judges, large = (SmallJudge(0), SmallJudge(1)), [nn.functional.interpolate(x, size=64, mode="bilinear") for x in
                                                    (made, truth, faces.train.tensor())]
    with torch.no_grad():
        seen, real, train = (judges[0].features(x) for x in large)
        distance = metrics.identity_distance(*(judges[1].features(x) for x in large[:2]))
        agreement = metrics.attribute_agreement(*(judges[0].logits(x) for x in large[:2]))
    assert row["fd_attr"] == pytest.approx(metrics.frechet_distance(seen, real), rel=1e-3)
    assert row["fd_attr_train"] == pytest.approx(metrics.frechet_distance(seen, train), rel=1e-3)
    assert row["kd_attr"] == pytest.approx(metrics.kernel_distance(seen, real), rel=1e-3, abs=1e-6)
    assert report["floor"]["fd_attr_train"] == pytest.approx(metrics.frechet_distance(real, train), rel=1e-3)
    assert row["identity"]["mean"] == pytest.approx(distance.mean().item(), rel=1e-3)
    assert row["attributes"]["mean"] == pytest.approx(agreement.mean().item(), rel=1e-5)
    assert report["threshold"]["distance"] == pytest.approx(0.1) and "card" in report["threshold"]["from"]
    assert row["recognised"]["mean"] == pytest.approx((distance < 0.1).double().mean().item(), abs=1e-9)
    for kind, key in enumerate(("recognised_stranger", "recognised_other")):
        a, b = upscaling.partners(faces.test, 0)[kind]
        with torch.no_grad():
            apart = metrics.identity_distance(judges[1].features(large[0][a]), judges[1].features(large[1][b]))
        assert row[key]["mean"] == pytest.approx((apart < 0.1).double().mean().item(), abs=1e-9)
    assert row["consistency"]["mean"] < 0.25 < report["rows"][2]["consistency"]["mean"]
    assert row["parameters"] == 3 * 3 * 9 + 3 and report["rows"][0]["parameters"] is None
    assert row["milliseconds"] > report["rows"][2]["milliseconds"] > 0 and row["milliseconds_alone"] > 0
    assert len(row["slice"]) == 16 and row["faces"] == 70


def test_differences_are_paired_with_the_first(faces):
    report = run(faces)
    truth, low = faces.test.tensor(), resolution.shrink(faces.test.tensor())
    assert "versus" not in report["rows"][0]
    one, two = (metrics.psnr(method.upscale(low), truth).numpy() for method in (BICUBIC, NEAREST))
    told = report["rows"][1]["versus"]["psnr"]
    assert told["mean"] == pytest.approx((two - one).mean(), rel=1e-4)
    assert told["high"] - told["low"] == pytest.approx(2 * 1.96 * (two - one).std() / math.sqrt(70), rel=0.2)


def test_the_truth_is_perfect(faces, tmp_path):
    """And is no better for being back-projected; what is infinite becomes null."""
    truth = Truth(faces.test.tensor())
    report = run(faces, {"bicubic": BICUBIC, "truth": truth, "truth+back_projection": upscalers.Corrected(truth)},
                 out=tmp_path / "r.json")
    for row in report["rows"][1:]:
        assert row["psnr"]["mean"] == math.inf and row["ssim"]["mean"] == pytest.approx(1) and row["l1"]["mean"] == 0
        assert row["fd_attr"] < 1e-6 and row["identity"]["mean"] == pytest.approx(0, abs=1e-6)
        assert row["recognised"]["mean"] == row["attributes"]["mean"] == 1 and row["consistency"]["mean"] < 1e-3
        assert row["fd_attr_train"] == pytest.approx(report["floor"]["fd_attr_train"], rel=1e-3)
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["rows"][1]["psnr"]["mean"] is None and written["rows"][1]["slice"] == [None] * 16
    assert "inf" in upscaling.table(report) and "nan" in (tmp_path / "r.md").read_text()


def test_rendered_faces_are_enlarged_better_by_bicubic_than_by_nearest():
    faces = load_faces(size=32)
    first, second = run(faces, {"bicubic": BICUBIC, "nearest": NEAREST}, n=40)["rows"]
    assert first["psnr"]["mean"] > second["psnr"]["mean"] + 0.5 and second["versus"]["psnr"]["high"] < 0
    assert second["consistency"]["mean"] < 0.01 and 1 < first["consistency"]["mean"] < 10


def test_pairs_are_of_two_people_or_of_one(faces):
    who = faces.test.identities
    (a, b), (c, d) = upscaling.partners(faces.test, 3)
    assert a.tolist() == c.tolist() == list(range(70)) and (who[a] != who[b]).all()
    assert (who[c] == who[d]).all() and (c != d).all()
    report = run(faces)
    features = torch.cat([SmallJudge(1).features(at_size_of(SmallJudge(1), faces.test.tensor()))]).detach()
    a, b = upscaling.partners(faces.test, report["seed"])[0]
    distance = metrics.identity_distance(features[a], features[b])
    assert report["strangers"]["identity"]["mean"] == pytest.approx(distance.mean().item(), rel=1e-3)
    assert report["strangers"]["recognised"]["mean"] == pytest.approx((distance < 0.1).double().mean().item(), abs=1e-9)
    nobody = replace(faces.test, identities=None)
    (a, b), (c, _) = upscaling.partners(nobody)
    assert len(a) == 70 and (a != b).all() and not len(c)
    unknown = replace(faces.test, identities=np.where(who < 5, -1, who))
    (a, _), (c, _) = upscaling.partners(unknown)
    assert len(a) == 70 and (unknown.identities[c] >= 5).all()
    report = run(replace(faces, test=nobody), {"bicubic": BICUBIC})
    assert report["same_person"] is None and "recognised_other" not in report["rows"][0]


def test_the_threshold_without_a_card_is_that_of_equal_error(faces):
    judges = SmallJudge(0), SmallJudge(1)
    limit, origin = upscaling.threshold(judges, faces.val)
    with torch.no_grad():
        seen = judges[1].features(at_size_of(judges[1], faces.val.tensor()))
    apart, one = (metrics.identity_distance(seen[a], seen[b]) for a, b in upscaling.partners(faces.val))
    assert "equal error" in origin
    assert float((apart < limit).double().mean()) == pytest.approx(float((one >= limit).double().mean()), abs=0.05)
    limit, origin = upscaling.threshold(judges, replace(faces.val, identities=None))
    assert math.isnan(limit) and "not known" in origin


def test_without_a_threshold_nobody_is_recognised(faces, monkeypatch, tmp_path):
    monkeypatch.setattr(upscaling, "load_pretrained", lambda name, device="cpu": SmallJudge(int(name == "judge_identity")))
    unnamed = replace(faces, val=replace(faces.val, identities=None))
    report = run(unnamed, out=tmp_path / "r.json")
    assert "recognised" not in report["rows"][0] | report["strangers"] and "recognised:" not in upscaling.table(report)
    assert json.loads((tmp_path / "r.json").read_text())["threshold"]["distance"] is None


def test_groups_are_told_apart(faces):
    report, labels = run(faces), faces.test.attributes
    glasses = labels[:, ATTRIBUTES.index("Eyeglasses")] == 1
    hairy = (labels[:, ATTRIBUTES.index("No_Beard")] == 0) | (labels[:, ATTRIBUTES.index("Mustache")] == 1)
    assert report["groups"]["eyeglasses"] == glasses.sum() and report["groups"]["beard or moustache"] == hairy.sum()
    assert report["groups"]["male"] + report["groups"]["not male"] == 70
    assert groups.ASYMMETRIC not in report["groups"]                                    # 7 of 70 are too few
    truth, low = faces.test.tensor(), resolution.shrink(faces.test.tensor())
    values = [metrics.psnr(method.upscale(low), truth).numpy()[glasses] for method in (BICUBIC, NEAREST)]
    told = report["rows"][1]["groups"]["eyeglasses"]
    assert told["faces"] == glasses.sum() and told["psnr"]["mean"] == pytest.approx(values[1].mean(), rel=1e-5)
    assert told["versus"]["psnr"]["mean"] == pytest.approx((values[1] - values[0]).mean(), rel=1e-4)
    assert set(groups.groups(replace(faces.test, attributes=None), faces.test.tensor())) == set()
    unknown = replace(faces.test, attributes=np.full((70, 40), -1, np.int8))
    assert set(groups.groups(unknown, faces.test.tensor())) == set()


def test_asymmetry_finds_what_is_not_its_mirror_image():
    picture = made_up(120, 5)
    images = picture.tensor()
    even = (images + images.flip(3)) / 2
    even[7:19] = images[7:19]                                                           # 12, the tenth of 120
    found = groups.groups(picture, even)[groups.ASYMMETRIC]
    assert found.sum() == 12 and found[7:19].all()
    assert float(groups.asymmetry(even)[:7].max()) < 1e-5
    assert torch.allclose(groups.asymmetry(images), groups.asymmetry(images.flip(3)), atol=1e-5)
    assert torch.allclose(groups.asymmetry(images), groups.asymmetry(images * 0.3 + 0.2), atol=1e-3)   # contrast, brightness


def test_slow_methods_get_the_first_faces_only(faces, monkeypatch):
    """As many as FEW, compared with the yardstick on these faces."""
    monkeypatch.setattr(upscaling, "SLOW", 0.0)
    monkeypatch.setattr(upscaling, "FEW", 66)
    few = run(faces)["rows"]
    assert [row["faces"] for row in few] == [66] * 4
    monkeypatch.undo()
    monkeypatch.setattr(upscaling, "load_pretrained", lambda name, device="cpu": SmallJudge(int(name == "judge_identity")))
    values = run(faces, n=66)["rows"]
    assert [row["psnr"] for row in values] == [row["psnr"] for row in few]
    monkeypatch.setattr(upscaling, "FEW", 20)

    def enlarge(upscale, low, device):
        made = upscale(low[:20] if getattr(upscale, "__self__", None) is slow else low)
        return upscaling.Enlarged(made, 1.0, 1.0)

    slow = Network()
    monkeypatch.setattr(upscaling, "enlarge", enlarge)
    rows = run(faces, {"bicubic": BICUBIC, "slow": slow, "slow+back_projection": upscalers.Corrected(slow)})["rows"]
    assert [row["faces"] for row in rows] == [70, 20, 20]
    low, truth = resolution.shrink(faces.test.tensor(slice(0, 20))), faces.test.tensor(slice(0, 20))
    difference = metrics.psnr(slow.upscale(low), truth) - metrics.psnr(BICUBIC.upscale(low), truth)
    assert rows[1]["versus"]["psnr"]["mean"] == pytest.approx(difference.mean().item(), rel=1e-4)


def test_a_corrected_method_does_not_enlarge_twice(faces):
    net = Network()
    run(faces, {"bicubic": BICUBIC, "net": net, "net+back_projection": upscalers.Corrected(net)})
    assert net.seen == 70 + 1 + upscaling.AGAIN + 2                     # all; alone; and one each to count parameters


def test_rows_that_still_hold_are_kept(faces, tmp_path):
    """As after an interruption: only what is missing, or comes out otherwise, is measured again."""
    def again(**changed):
        methods = {"first": Network("1", 0.0), "second": Network("2"), "third": Network("3")} | changed
        report = run(faces, methods, out=tmp_path / "r.json")
        return report, [method.seen for method in methods.values()]

    whole = 70 + 2 + upscaling.AGAIN
    report, seen = again()
    assert seen == [whole] * 3
    other, seen = again()
    assert seen == [whole + 64, 64, 64]                                 # the first is always measured; two only looked at
    assert other["rows"][1:] == json.loads((tmp_path / "r.json").read_text())["rows"][1:]
    assert again(third=Network("3", 0.4))[1][1:] == [64, 64 + whole]    # the same name of weights, another outcome
    assert again(third=Network("4", 0.4))[1][1:] == [64, whole]
    report = json.loads((tmp_path / "r.json").read_text())
    report["rows"].pop()
    evaluate.save(report, tmp_path / "r.json")
    assert again(third=Network("4", 0.4))[1][1:] == [64, whole]
    assert again(first=Network("5", 0.1))[1][1:] == [whole, whole]      # another yardstick
    with pytest.raises(KeyboardInterrupt):
        again(first=Network("6", 0.1), third=upscalers.Function(stop))
    assert [row["method"] for row in json.loads((tmp_path / "r.json").read_text())["rows"]] == ["first", "second"]
    assert again(first=Network("6", 0.1))[1][1:] == [64, whole]


def stop(low):
    raise KeyboardInterrupt


def test_who_takes_part(faces, monkeypatch):
    cards = {name: {"config": {"size": size}} for name, size in (
        ("enhance", 32), ("enhance_synthetic", 32), ("sr_gan", 32), ("drawing", 32), ("glcic", 64), ("perceptual", 64))}
    monkeypatch.setattr(upscalers, "load_pretrained", lambda name, device="cpu": (
        Judge(0) if name in ("drawing", "glcic") else Network(name)))
    monkeypatch.setattr(weights, "names", lambda: sorted(cards))
    monkeypatch.setattr(weights, "card", cards.get)
    found = upscalers.entrants(["all"], faces)
    assert list(found) == ["bicubic", "nearest", "enhance", "enhance+back_projection", "sr_gan", "sr_gan+back_projection"]
    assert found["enhance+back_projection"].method is found["enhance"]
    rendered = upscalers.entrants("all", replace(faces, name="synthetic"))
    assert list(rendered)[2:4] == ["enhance_synthetic", "enhance_synthetic+back_projection"]
    low = resolution.shrink(faces.test.tensor(slice(0, 3)))
    for name in ("nearest+back_projection", "sr_gan+back_projection"):
        assert float(resolution.consistency(upscalers.entrants(name, faces)[name].upscale(low), low).max()) < 0.25
    with pytest.raises(ValueError, match="no method is called 'began'; there are: all, nearest, bicubic, drawing, .*sr_gan"):
        upscalers.entrants("began", faces)
    with pytest.raises(ValueError, match="after . only back_projection is known"):
        upscalers.entrants("sr_gan+poisson", faces)
    with pytest.raises(ValueError, match="glcic has no upscale"):
        upscalers.entrants("glcic", faces)


def test_report_and_table_name_their_origin(faces, tmp_path, monkeypatch, capsys):
    asked = {}

    def load(name, **settings):
        asked.update(settings, name=name)
        return faces

    monkeypatch.setattr(upscaling, "load_faces", load)
    report = upscaling.main(["nearest", "bicubic+back_projection"], "celeba", tmp_path / "celeba160", 50, 3, tmp_path / "r.json")
    assert asked == {"name": "celeba", "root": tmp_path / "celeba160", "size": 32}
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["command"] == ("facelib evaluate --upscale nearest bicubic+back_projection --data celeba --root celeba160 "
                                  "--seed 3 --n 50")
    assert written["weights"] == {"judge_attr": "judge 0", "judge_identity": "judge 1"} and written["hardware"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["r.json", "r.md"]
    assert (tmp_path / "r.md").read_text() == upscaling.table(written) + "\n"
    report["training"]["nearest"] = {"data": "snow", "images_seen": 1234, "wall_time_minutes": 2.2, "hardware": "a sledge"}
    lines = upscaling.table(report).splitlines()
    assert "made up: 50 held-out test faces of 32x32, shrunk to 8x8" in lines[2]
    assert [line.split("|")[1].strip() for line in lines[4:11]] == [
        "method", ":------------------------", "nearest", "bicubic+back_projection", "real faces", "strangers", "same person"]
    assert len({len(line) for line in lines[4:11]}) == 1 and "1,234" in lines[6] and "±" in lines[7]
    assert "PSNR by group" in lines and "- nearest: trained on snow; a sledge" in lines
    assert "nearest" in capsys.readouterr().out


def test_bad_input_is_refused(faces):
    with pytest.raises(ValueError, match="faces must have 32x32 pixels.*synthetic has 64x64: load it with size=32"):
        run(load_faces())
    with pytest.raises(ValueError, match="at least 2 held-out test faces and 2 train faces, made up gives 1 and 60"):
        run(faces, n=1)
