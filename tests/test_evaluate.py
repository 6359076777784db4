"""The benchmark on small made-up faces, with stand-ins for methods and judges: figures, intervals, report, table."""

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from facelib import blending, classical, evaluate, masks, metrics, weights
from facelib.data import FaceData, Split
from facelib.evaluate import benchmark, entry


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
        return {"judge_attr": Judge(0), "judge_identity": Judge(1)}[name]

    monkeypatch.setattr(benchmark, "load_pretrained", load)


@pytest.fixture
def published(monkeypatch):
    """Weights for 32 pixels: two methods that complete, a variant, a twin, one that only draws, one for other sizes."""
    about = {"sha256": "abc", "data": "made up", "images_seen": 5, "wall_time_minutes": 0.5, "hardware": "a machine"}
    cards = {name: {"method": method, "config": {"size": size}, **about} for name, method, size in (
        ("dcgan", "dcgan", 32), ("glcic", "glcic", 32), ("glcic_first", "glcic", 32), ("glcic_synthetic", "glcic", 32),
        ("large", "large", 64), ("vae", "vae", 32))}

    def load(name, device="cpu"):
        return Judge(0) if name == "vae" else Network(cards[name])

    monkeypatch.setattr(entry, "load_pretrained", load)
    monkeypatch.setattr(weights, "names", lambda: sorted(cards))
    monkeypatch.setattr(weights, "card", cards.get)


class Flat:
    """Fills the hole with one grey."""

    def __init__(self, grey):
        self.grey = grey

    def complete(self, image, mask):
        return masks.composite(image, mask, torch.full_like(image, self.grey))


class Network(nn.Module):
    """One convolution that completes, and a discriminator that must not be counted."""

    def __init__(self, card):
        super().__init__()
        torch.manual_seed(0)
        self.G, self.D = nn.Conv2d(4, 3, 3, padding=1), nn.Linear(1000, 10)
        self.card, self.cfg = card, SimpleNamespace(**card["config"])

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
        return [{key: value for key, value in row.items() if key not in ("milliseconds", "time_ratio")}
                for row in report["rows"]]

    assert figures(run(faces, holes=("strokes",), n=20)) == figures(run(faces, holes=("strokes",), n=20))
    assert figures(run(faces, holes=("strokes",), n=20)) != figures(run(faces, holes=("strokes",), n=20, seed=1))


def test_report_is_written_whole_and_names_its_origin(faces, tmp_path, published):
    path = tmp_path / "new" / "glcic.json"
    report = evaluate.evaluate("glcic", faces, n=5, out=path, command="facelib evaluate --methods glcic", quiet=True)
    written = json.loads(path.read_text())
    assert written["command"] == "facelib evaluate --methods glcic" and written["test_faces"] == 5
    assert written["data"] == "made up" and written["weights"] == {"glcic": "abc", "judge_attr": "judge 0",
                                                                  "judge_identity": "judge 1"}
    assert set(written["versions"]) == {"facelib", "torch", "numpy", "python"} and written["hardware"]
    assert written["training"] == {"glcic": {"data": "made up", "images_seen": 5, "wall_time_minutes": 0.5,
                                             "hardware": "a machine"}}
    assert sorted(p.name for p in path.parent.iterdir()) == ["glcic.json", "glcic.md"]   # no temporary file is left
    row = written["rows"][0]
    assert row["parameters"] == 4 * 3 * 9 + 3 and row["milliseconds"] > 0 and row["time_ratio"] == 1
    assert row["fd_attr"] is None                                                        # 5 faces, 8 dimensions
    assert row["psnr"]["mean"] == pytest.approx(report["rows"][0]["psnr"]["mean"], rel=1e-5)
    assert len(row["slice"]) == 5 and np.mean(row["slice"]) == pytest.approx(row["psnr_hole"]["mean"], abs=0.01)
    assert path.with_suffix(".md").read_text() == evaluate.table(written) + "\n"


def test_the_centred_hole_gets_all_faces_and_the_others_a_few(faces, monkeypatch):
    monkeypatch.setattr(benchmark, "FEW", 12)
    report = run(faces, holes=("centre", "random", "free"))
    assert [(row["hole"], row["faces"]) for row in report["rows"][::2]] == [("center", 40), ("rectangle", 12), ("strokes", 12)]
    assert (report["test_faces"], report["faces"], report["few"]["faces"]) == (40, 40, 12)
    few = run(faces, holes=("random",), n=12)
    assert [row["psnr"] for row in few["rows"]] == [row["psnr"] for row in report["rows"][2:4]]
    assert few["floor"] == pytest.approx(report["few"]["floor"], rel=1e-3, abs=1e-5) and "few" not in few


class Counting(Flat):
    """A Flat that counts the faces it completes; its weights have a name."""

    def __init__(self, grey, sha256="1"):
        super().__init__(grey)
        self.card, self.seen = {"sha256": sha256}, 0

    def complete(self, image, mask):
        self.seen += len(image)
        return super().complete(image, mask)


def test_rows_that_still_hold_are_kept(faces, tmp_path):
    """As after an interruption: only what is missing, or comes out otherwise, is measured again."""
    def again(**changed):
        methods = {"first": Counting(0.0), "second": Counting(0.3), "third": Counting(0.5)} | changed
        report = evaluate.evaluate(methods, faces, out=tmp_path / "r.json", quiet=True)
        return report, [method.seen for method in methods.values()]

    report, seen = again()
    assert seen == [40 * 3, 40, 40]                           # the first tells the pace too
    assert again()[1] == [16 + 40, 16, 16]                    # only looked at
    other, seen = again(third=Counting(0.6))
    assert seen[1:] == [16, 16 + 40] and other["rows"][1] == json.loads((tmp_path / "r.json").read_text())["rows"][1]
    assert again(third=Counting(0.6, sha256="2"))[1][1:] == [16, 40]
    assert again(first=Counting(0.1), third=Counting(0.6, sha256="2"))[1][1:] == [40, 40]  # another yardstick
    again(first=Counting(0.1), third=Counting(0.6, sha256="2"))
    report = json.loads((tmp_path / "r.json").read_text())
    report["rows"].pop()
    evaluate.save(report, tmp_path / "r.json")
    assert again(first=Counting(0.1), third=Counting(0.6, sha256="2"))[1][1:] == [16, 40]
    with pytest.raises(KeyboardInterrupt):
        again(first=Counting(0.2), third=Stopped(0.6))
    assert [row["method"] for row in json.loads((tmp_path / "r.json").read_text())["rows"]] == ["first", "second"]
    assert again(first=Counting(0.2))[1][1:] == [16, 40]


class Stopped(Counting):
    def complete(self, image, mask):
        raise KeyboardInterrupt


def test_who_takes_part(faces, published):
    """Every method whose weights fit and can complete, the first one first, then what learns nothing."""
    found = evaluate.entrants("all", faces)
    assert list(found) == ["glcic", "dcgan", "dcgan+poisson", *classical.METHODS, "mean_face"]
    assert found["dcgan+poisson"].method is found["dcgan"]
    rendered = evaluate.entrants(["all"], FaceData("synthetic", faces.train, faces.val, faces.test))
    assert list(rendered)[:3] == ["glcic_synthetic", "dcgan", "dcgan+poisson"]
    large = FaceData("rendered", *(Split(np.zeros((3, 3, 64, 64), np.uint8)) for _ in range(3)))
    assert list(evaluate.entrants("all", large))[:2] == ["large", next(iter(classical.METHODS))]
    image, mask = faces.test.tensor(slice(0, 3)), masks.center(3, 32)
    for name in ("mean_face", "nearest_face", "glcic", "glcic+poisson", "mean_face+poisson"):
        completed = evaluate.entrants(name, faces)[name].complete(image, mask)
        assert torch.equal(completed * (1 - mask), image * (1 - mask)) and not torch.equal(completed, image)
    mean = faces.train.tensor().mean(0, keepdim=True).expand_as(image)
    assert torch.allclose(evaluate.entrants("mean_face", faces)["mean_face"].complete(image, mask),
                          masks.composite(image, mask, mean), atol=1e-6)
    with pytest.raises(ValueError, match="no method is called 'began'; there are: all, dcgan, .*mean_face"):
        evaluate.entrants("began", faces)
    with pytest.raises(ValueError, match="after . only poisson is known"):
        evaluate.entrants("glcic+wavelets", faces)
    with pytest.raises(ValueError, match="vae has no complete"):
        evaluate.entrants("vae", faces)


def test_all_takes_the_weights_of_the_faces_size(monkeypatch):
    """GLCIC for faces of 64 pixels is glcic_64, for 128 it is glcic; the rendered twin stands in where it has that size."""
    cards = {name: {"method": method, "config": {"size": size}} for name, method, size in (
        ("context_encoder", "context_encoder", [128, 128]), ("context_encoder_64", "context_encoder", 64), ("dcgan", "dcgan", 64),
        ("denoising", "denoising", [128, 96]), ("denoising_64", "denoising", [64, 64]), ("glcic", "glcic", 128),
        ("glcic_64", "glcic", [64, 64]), ("glcic_phase1", "glcic", 64), ("glcic_synthetic", "glcic", 64))}
    cards["judges"] = {"method": "judges", "config": {}}    # a network need not say its size
    monkeypatch.setattr(entry, "load_pretrained", lambda name, device="cpu": Flat(0.0))
    monkeypatch.setattr(weights, "names", lambda: sorted(cards))
    monkeypatch.setattr(weights, "card", cards.get)

    def networks(name, *size):
        split = Split(np.zeros((3, 3, *size), np.uint8))
        rest = [*classical.METHODS, "mean_face"]
        found = list(evaluate.entrants("all", FaceData(name, split, split, split)))
        assert found[-len(rest):] == rest
        return found[:-len(rest)]

    assert networks("celeba", 64, 64) == ["glcic_64", "context_encoder_64", "dcgan", "dcgan+poisson", "denoising_64"]
    assert networks("celeba", 128, 128) == ["glcic", "context_encoder"]
    assert networks("celeba", 128, 96) == ["denoising"]
    assert networks("synthetic", 64, 64)[:2] == ["glcic_synthetic", "context_encoder_64"]
    assert networks("synthetic", 128, 128) == ["glcic", "context_encoder"], "the rendered twin is for 64 pixels"


def test_blending_does_not_complete_twice(faces):
    """The blended row is that of the blended completions; its time holds both."""
    method = Counting(0.4)
    report = evaluate.evaluate({"grey": Flat(0.0), "light": method, "light+poisson": entry.Blended(method)}, faces, quiet=True)
    assert method.seen == 40
    truth, mask = faces.test.tensor(), masks.center(40, 32)
    blended = blending.poisson(truth, Flat(0.4).complete(truth, mask), mask)
    light, row = report["rows"][1:]
    assert row["psnr"]["mean"] == pytest.approx(metrics.psnr(blended, truth).mean().item(), rel=1e-5)
    assert row["milliseconds"] > light["milliseconds"] and report["weights"]["light"] == "1"


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


def test_table_is_markdown_that_reads_as_text(faces, monkeypatch):
    monkeypatch.setattr(benchmark, "FEW", 12)
    report = run(faces, holes=("center", "half"), command="facelib evaluate")
    report["training"]["white"] = {"data": "snow", "images_seen": 1234, "wall_time_minutes": 2.2, "hardware": "a sledge"}
    lines = evaluate.table(report).splitlines()
    assert lines[0] == "`facelib evaluate`" and "made up: 40 held-out test faces of 32x32" in lines[2]
    grid = lines[lines.index("Hole: center, 40 faces") + 2:][:6]
    assert [line.split("|")[1].strip() for line in grid] == ["method", ":-----------", "grey", "white",
                                                             "real faces", "strangers"]
    assert len({len(line) for line in grid}) == 1 and grid[0].count("|") == grid[1].count("|") == 19
    assert "±" in grid[2] and "1,234" in grid[3] and "- white: trained on snow; a sledge" in lines
    assert "Hole: half, 12 faces" in lines


class Blur:
    """Completes faces of 16 pixels with their own known mean, and remembers what it was given."""

    cfg = SimpleNamespace(size=16)

    def complete(self, image, mask):
        self.image, self.mask = image, mask
        known = (image * (1 - mask)).sum((2, 3), keepdim=True) / (1 - mask).sum((2, 3), keepdim=True)
        return masks.composite(image, mask, known.expand_as(image))


@pytest.mark.parametrize("size", [16, 64, (20, 16), (40, 64)])
def test_methods_for_another_size_take_part_and_see_nothing_of_the_hole(size):
    method = Blur()
    method.cfg = SimpleNamespace(size=size)
    resized, image = entry.Resized(method), torch.rand(2, 3, 32, 32) * 2 - 1
    mask = masks.from_boxes(torch.tensor([[9, 11, 8, 7], [5, 3, 12, 20]]), 32)
    completed, hole = resized.complete(image, mask), mask.expand(2, 3, 32, 32) > 0.5
    assert method.image.shape[-2:] == ((size, size) if isinstance(size, int) else size)
    assert torch.equal(completed[~hole], image[~hole]) and not torch.equal(completed[hole], image[hole])
    assert torch.equal(resized.complete(torch.where(hole, torch.rand_like(image), image), mask), completed)
    # Where the hole and all around it has one colour, so has the answer; (40, 64) does not see all of these holes.
    even = torch.full_like(image, 0.25)
    assert size == (40, 64) or torch.allclose(resized.complete(even, mask), even, atol=1e-5)


def test_entrants_for_other_faces_are_resized(faces, published):
    found = entry.entrants(["large", "glcic", "mean_face"], faces)
    assert isinstance(found["large"], entry.Resized) and not isinstance(found["glcic"], entry.Resized)
    assert benchmark.network_of(found["large"]) is found["large"].method


def test_main_writes_a_command_without_machine_paths(faces, tmp_path, monkeypatch, capsys, published):
    asked = {}

    def load_faces(name, **settings):
        asked.update(settings, name=name)
        return faces

    monkeypatch.setattr("facelib.data.load_faces", load_faces)
    report = evaluate.main(["glcic"], "celeba", tmp_path / "celeba160", 32, ["centre", "half"], 6, 3, tmp_path / "r.json")
    assert report["command"] == ("facelib evaluate --methods glcic --data celeba --root celeba160 --size 32 --holes centre half "
                                 "--seed 3 --n 6")
    assert asked == {"name": "celeba", "root": tmp_path / "celeba160", "size": 32, "box": None}
    assert "glcic" in capsys.readouterr().out and (tmp_path / "r.json").exists()


def test_only_held_out_celeba_faces_are_scored():
    """The weights saw parts of CelebA's official test partition: of it, the committed list alone is scored."""
    listed = evaluate.HELD_OUT.read_text().split()
    assert len(listed) == len(set(listed)) == 1007
    names = ["182638.jpg", listed[0], listed[1].replace("jpg", "png"), "170000.jpg"]     # seen, 2 held out, official val
    attributes = np.zeros((4, 40), np.int8)
    split = made_up(4, 0, names=names, attributes=attributes)
    assert evaluate.held_out(split).names == names[1:]
    further = made_up(2, 0, names=["500001.jpg", "500002.jpg"], attributes=attributes[:2])    # numbers beyond CelebA's
    assert evaluate.held_out(further) is further
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
