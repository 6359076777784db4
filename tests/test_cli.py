"""The command line: what it does, what it prints, and how it ends when something is wrong."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from facelib import cli, weights
from facelib.methods import METHODS
from facelib.methods.glcic import GLCIC

MOUTH = "205,130,45,35"            # x,y,width,height in the astronaut's photograph
EYES = "202.4,100.3,247.2,103.1"


def noise_picture(seed, width=40, height=40):
    pixels = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A folder of 24 pictures of nothing."""
    folder = tmp_path_factory.mktemp("data") / "blots"
    folder.mkdir()
    for i in range(24):
        noise_picture(i).save(folder / f"{i:02}.png")
    return folder


def celeba_like(folder, pictures=40, first=1):
    """Pictures of nothing in CelebA's layout, with labels: train, val and test, four pictures a person."""
    (folder / "img_align_celeba").mkdir(parents=True)
    names = [f"{i:06}.jpg" for i in range(first, first + pictures)]
    generator = np.random.default_rng(0)
    for i, name in enumerate(names):
        noise_picture(i).save(folder / "img_align_celeba" / name)
    splits = np.repeat([0, 1, 2], [pictures - 16, 8, 8])
    (folder / "list_eval_partition.txt").write_text("".join(f"{n} {s}\n" for n, s in zip(names, splits, strict=True)))
    (folder / "identity_CelebA.txt").write_text("".join(f"{n} {i // 4 + 1}\n" for i, n in enumerate(names)))
    from facelib.data import ATTRIBUTES

    rows = "".join(f"{n} {' '.join(map(str, generator.choice([-1, 1], 40)))}\n" for n in names)
    (folder / "list_attr_celeba.txt").write_text(f"{pictures}\n{' '.join(ATTRIBUTES)}\n{rows}")
    return folder


@pytest.fixture(scope="module")
def run(pictures, tmp_path_factory):
    """A run folder of GLCIC, five steps on pictures of nothing."""
    out = tmp_path_factory.mktemp("runs") / "glcic"
    assert cli.main(["train", "glcic", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", str(out),
                     "--steps", "5", "--precision", "no"]) == 0
    return out


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photo") / "astronaut.png"
    Image.fromarray(pytest.importorskip("skimage.data").astronaut()).save(path)
    return path


def fails(capsys, *argv, code=2):
    """Run a command that must fail with this exit code and one line on stderr -> that line."""
    capsys.readouterr()
    assert cli.main([str(a) for a in argv]) == code
    said = capsys.readouterr().err
    lines = [line for line in said.splitlines() if line.startswith("facelib: ")]
    assert len(lines) == 1 and "Traceback" not in said, said
    return lines[0]


@pytest.mark.parametrize("command", ["train", "complete", "upscale", "edit", "generate", "align", "evaluate", "study", "publish",
                                     "info"])
def test_every_command_explains_itself(command, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([command, "--help"])
    assert stop.value.code == 0 and f"facelib {command}" in capsys.readouterr().out


def test_unknown_options_end_with_2(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["train", "glcic", "--stepz", "3"])
    assert stop.value.code == 2 and "--stepz" in capsys.readouterr().err


def test_training_again_resumes_and_another_run_is_refused(run, pictures, capsys):
    assert {"config.json", "log.jsonl", "last.pt", "samples"} <= {p.name for p in run.iterdir()}
    again = ["train", "glcic", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", run, "--steps", "7",
             "--precision", "no"]
    capsys.readouterr()
    assert cli.main([str(a) for a in again]) == 0
    assert f"{run} holds 5 of 7 steps: resuming there" in capsys.readouterr().out
    assert json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"] == 7
    assert "seed is 0 there and 1 here" in fails(capsys, *again, "--seed", "1")
    assert "alpha is 0.004 there and 0.1 here" in fails(capsys, *again, "--set", "alpha=0.1")
    (run.parent / "other").mkdir(exist_ok=True)
    (run.parent / "other" / "thesis.txt").touch()
    again[again.index(run)] = run.parent / "other"
    assert "is not empty and holds no run" in fails(capsys, *again)


def test_what_train_does_not_know(pictures, capsys, tmp_path):
    assert f"method must be one of {', '.join(METHODS)}" in fails(capsys, "train", "glcik")
    assert "preset of glcic must be one of seed, book, today, smoke" in fails(capsys, "train", "glcic", "--preset", "large")
    assert 'name must be "synthetic"' in fails(capsys, "train", "glcic", "--data", "celebs", "--out", tmp_path / "a")
    line = fails(capsys, "train", "glcic", "--preset", "smoke", "--data", f"folder:{tmp_path / 'none'}", "--out", tmp_path / "a")
    assert "expected a folder of pictures" in line
    assert "alpha, skip_links" in fails(capsys, "train", "glcic", "--set", "alfa=1")
    small = ["train", "glcic", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", tmp_path / "a"]
    assert "fewer than one batch of 64" in fails(capsys, *small, "--batch-size", "64")
    assert not (tmp_path / "a" / "last.pt").exists()


def test_a_diverged_run_ends_with_1(pictures, capsys, tmp_path):
    line = fails(capsys, "train", "glcic", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", tmp_path / "a",
                 "--steps", "4", "--precision", "no", "--set", "lr=1e38", "batch_norm=False", code=1)
    assert "became" in line and "the last good checkpoint" in line


def test_changes_are_read_as_their_fields_types():
    cfg = cli.configure(GLCIC.presets["smoke"], ["alpha=1e-3", "skip_links=False", "width=4", "dilations=2,4,8",
                                                 "hole=(0.1, 0.5)", "optimiser=adadelta"])
    assert (cfg.alpha, cfg.skip_links, cfg.width, cfg.dilations, cfg.hole, cfg.optimiser) == (
        1e-3, False, 4, (2, 4, 8), (0.1, 0.5), "adadelta")
    for change, message in [("skip_links=maybe", "skip_links must be True or False, as True is now; got 'maybe'"),
                            ("width=4.5", "width must be a whole number"), ("alpha=much", "alpha must be a number"),
                            ("hole=a,b", r"hole must be values with commas between them, as \(0.3, 0.6\) is now"),
                            ("alpha", "takes FIELD=VALUE"),
                            ("optimiser=sgd", "optimiser must be adadelta or adam")]:
        with pytest.raises(ValueError, match=message):
            cli.configure(GLCIC.presets["smoke"], [change])


def test_data_specs(tmp_path, pictures, monkeypatch):
    celeba_like(tmp_path / "celeba160")
    celeba_like(tmp_path / "part", first=100)
    one = cli.load_data("celeba", 32, root=str(tmp_path / "celeba160"))
    assert (one.name, len(one.train), len(one.val), len(one.test)) == ("celeba160", 24, 8, 8)
    monkeypatch.setenv("FACELIB_DATA", str(tmp_path))
    both = cli.load_data(["celeba:celeba160", "celeba:part@aligned"], 32)
    # A folder whose name hides where it comes from is named after its source, because a licence follows from the name.
    assert (both.name, len(both.train), both.size) == ("celeba160+celeba:part@aligned", 48, (32, 32))
    whole = cli.load_data(f"folder:{pictures}", 32)
    assert whole.name == "folder:blots" and whole.size == (32, 32)
    aligned = cli.load_data("celeba:celeba160@aligned", 32)
    assert not np.array_equal(aligned.train.images, one.train.images)
    for spec, root, message in [("celeba:celeba160@square", None, "the only framing is @aligned"),
                                ("synthetic@aligned", None, "the only framing is @aligned, of celeba and folder"),
                                ("celeba:celeba160", "elsewhere", "--root says where one data set is"),
                                (["celeba", "digits"], "elsewhere", "--root says where one data set is")]:
        with pytest.raises(ValueError, match=message):
            cli.load_data(spec, 32, root=root)


def test_complete_writes_the_photograph_back(photo, run, tmp_path, capsys):
    out = tmp_path / "new" / "done.png"
    assert cli.main(["complete", str(photo), "--hole", MOUTH, "--method", str(run), "--out", str(out)]) == 0
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(out))
    changed = np.argwhere((before != after).any(2))
    assert changed.min(0).tolist() >= [130, 205] and changed.max(0).tolist() <= [164, 249]
    assert str(out) in capsys.readouterr().out

    mask = np.zeros(before.shape[:2], np.uint8)
    mask[130:165, 205:250] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    assert cli.main(["complete", str(photo), "--mask", str(tmp_path / "mask.png"), "--eyes", EYES, "--no-blend",
                     "--method", str(run)]) == 0
    assert photo.with_name("astronaut-completed.png").exists()


def test_what_complete_refuses(photo, run, tmp_path, capsys):
    command = ["complete", photo, "--method", run]
    assert "either --hole x,y,width,height or --mask" in fails(capsys, *command)
    assert "either --hole" in fails(capsys, *command, "--hole", MOUTH, "--mask", photo)
    assert "--hole must be x,y,width,height in pixels" in fails(capsys, *command, "--hole", "1,2,3")
    assert "--eyes must be x,y,x,y" in fails(capsys, *command, "--hole", MOUTH, "--eyes", "left,right")
    assert f"{photo}: 100.0% of the hole lies outside" in fails(capsys, *command, "--hole", "5,450,30,30")
    assert "there are: " in fails(capsys, "complete", photo, "--hole", MOUTH, "--method", "glcik")
    assert "would overwrite the photograph" in fails(capsys, *command, "--hole", MOUTH, "--out", photo)
    assert "--out must end in one of .jpg" in fails(capsys, *command, "--hole", MOUTH, "--out", tmp_path / "a.svg")
    assert "expected a picture or a folder" in fails(capsys, "complete", tmp_path / "no.jpg", "--hole", MOUTH)
    noise_picture(0, 200, 200).save(tmp_path / "noface.png")
    line = fails(capsys, "complete", tmp_path / "noface.png", "--hole", "9,9,9,9", "--method", run)
    assert "noface.png: no face was found" in line and '--eyes "x,y,x,y"' in line
    Image.new("L", (50, 50), 255).save(tmp_path / "small.png")
    assert "512x512 pixels, got 50x50" in fails(capsys, *command, "--mask", tmp_path / "small.png")


def test_complete_does_a_folder_and_skips_what_is_bad(photo, run, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "deep").mkdir(parents=True)
    Image.open(photo).save(photos / "deep" / "a.jpg")
    (photos / "bad.jpg").write_bytes(b"")
    command = ["complete", str(photos), "--method", str(run), "--out", str(out)]
    assert cli.main([*command, "--hole", MOUTH]) == 0
    said = capsys.readouterr()
    assert "1 of 2 photographs completed" in said.out and "skipped bad.jpg: empty, 0 bytes" in said.err
    assert Image.open(out / "deep" / "a.png").size == (512, 512)

    (tmp_path / "masks").mkdir()
    assert cli.main([*command, "--mask", str(tmp_path / "masks")]) == 1                     # nothing could be done
    assert "no mask of this name" in capsys.readouterr().err
    assert "another folder" in fails(capsys, *command[:-1], photos / "in", "--hole", MOUTH)
    (tmp_path / "empty").mkdir()
    assert "expected pictures in" in fails(capsys, "complete", tmp_path / "empty", "--hole", MOUTH, "--method", run)


@pytest.fixture(scope="module")
def searching(pictures, tmp_path_factory):
    """A run folder of DCGAN, which completes by a search of ten steps; after two steps on pictures of nothing."""
    out = tmp_path_factory.mktemp("runs") / "dcgan"
    assert cli.main(["train", "dcgan", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", str(out),
                     "--steps", "2", "--precision", "no"]) == 0
    return out


def test_every_keeps_the_steps_of_a_search(photo, pictures, run, searching, tmp_path, capsys):
    """As the student project's program: a folder of aligned faces, their middle, a picture each so-manyth step."""
    few, out = tmp_path / "faces", tmp_path / "completed"
    few.mkdir()
    for i in range(2):
        noise_picture(i).save(few / f"{i}.png")
    noise_picture(2, 40, 30).save(few / "wide.png")
    assert cli.main(["complete", str(few), "--method", str(searching), "--hole", "centre", "--out", str(out),
                     "--every", "4"]) == 0
    said = capsys.readouterr()
    assert "2 of 3 photographs completed" in said.out and "skipped wide.png: a centre hole is for aligned faces" in said.err
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*.png")) == sorted(
        ["0.png", "1.png", *(f"{i}/{step:04}.png" for i in range(2) for step in (0, 4, 8))])
    truth, result, start = (np.asarray(Image.open(p)) for p in (few / "0.png", out / "0.png", out / "0" / "0000.png"))
    for changed in (result != truth, start != truth):
        changed = np.argwhere(changed.any(2))
        assert changed.min(0).tolist() == [10, 10] and changed.max(0).tolist() == [29, 29]      # 20x20 of 40x40
    assert not np.array_equal(result, start)

    one = ["complete", photo, "--hole", MOUTH, "--eyes", EYES, "--every"]
    assert cli.main([str(a) for a in (*one, "5", "--method", searching, "--out", tmp_path / "one.png")]) == 0
    assert {p.name for p in (tmp_path / "one").iterdir()} == {"0000.png", "0005.png", "0010.png"}
    assert cli.main([str(a) for a in (*one, "2", "--steps", "3", "--method", searching, "--out", tmp_path / "few.png")]) == 0
    assert {p.name for p in (tmp_path / "few").iterdir()} == {"0000.png", "0002.png"}
    assert "steps must be a number of steps, 1 or more, got 0" in fails(capsys, *one, "2", "--steps", "0", "--method", searching)
    assert "--steps goes with --every" in fails(capsys, *one[:-1], "--steps", "9", "--method", searching)
    assert "GLCIC completes in one pass and has no intermediate results; leave out every" in fails(
        capsys, *one, "5", "--method", run)
    assert "every must be a number of steps, 1 or more, got 0" in fails(capsys, *one, "0", "--method", searching)


@pytest.fixture(scope="module")
def enlarging(pictures, tmp_path_factory):
    """A run folder of a method that enlarges, after two steps on pictures of nothing."""
    out = tmp_path_factory.mktemp("runs") / "sr_regression"
    assert cli.main(["train", "sr_regression", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", str(out),
                     "--steps", "2", "--precision", "no"]) == 0
    return out


def test_upscale_writes_a_face_and_says_that_it_is_invented(photo, enlarging, tmp_path, capsys):
    capsys.readouterr()
    command = ["upscale", str(photo), "--eyes", EYES, "--method"]
    assert cli.main([*command, str(enlarging), "--sheet", "--out", str(tmp_path / "new" / "face.png")]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == str(tmp_path / "new" / "face.png") and "invented" in said[1] and "nobody can be identified" in said[1]
    assert len(said) == 2
    assert Image.open(tmp_path / "new" / "face.png").size == (32, 32)
    assert Image.open(tmp_path / "new" / "face-sheet.png").width > 4 * 32
    assert cli.main([*command, "nearest"]) == 0
    blocks = np.asarray(Image.open(photo.with_name("astronaut-upscaled.png")))
    low = blocks[::4, ::4]
    assert np.array_equal(low.repeat(4, 0).repeat(4, 1), blocks)
    Image.fromarray(low).save(tmp_path / "low.png")
    for options in ([], ["--no-back-projection"]):
        assert cli.main(["upscale", str(tmp_path / "low.png"), "--method", "bicubic", *options]) == 0
        large = np.asarray(Image.open(tmp_path / "low-upscaled.png"), np.float64)
        wrong = np.abs(large.reshape(8, 4, 8, 4, 3).mean((1, 3)) - low).max()
        assert wrong > 3 if options else wrong < 0.6                                      # grey levels


def test_upscale_does_a_folder_and_refuses_what_it_must(photo, pictures, run, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "deep").mkdir(parents=True)
    Image.open(photo).save(photos / "deep" / "a.jpg")
    noise_picture(0).save(photos / "b.png")
    (photos / "bad.jpg").write_bytes(b"")
    command = ["upscale", str(photos), "--method", "bicubic", "--out", str(out)]
    assert cli.main(command) == 0
    said = capsys.readouterr()
    assert "1 of 3 photographs enlarged" in said.out and "invented" in said.out
    assert "skipped bad.jpg: empty, 0 bytes" in said.err and "skipped b.png: no face was found" in said.err
    assert [p.relative_to(out).as_posix() for p in out.rglob("*.png")] == ["deep/a.png"]
    assert cli.main(["upscale", str(pictures), "--aligned", "--method", "bicubic", "--out", str(tmp_path / "all")]) == 0
    assert len(list((tmp_path / "all").iterdir())) == 24

    one = ["upscale", photo, "--eyes", EYES, "--method"]
    assert "GLCIC has no upscale(low): it does not enlarge faces" in fails(capsys, *one, run)
    assert "would overwrite the photograph" in fails(capsys, *one, "bicubic", "--out", photo)
    assert "--out must end in one of .jpg" in fails(capsys, *one, "bicubic", "--out", tmp_path / "a.svg")
    assert "--eyes must be x,y,x,y" in fails(capsys, "upscale", photo, "--eyes", "1,2", "--method", "bicubic")
    assert "another folder" in fails(capsys, *command[:-1], photos / "in")
    assert "expected a picture or a folder" in fails(capsys, "upscale", tmp_path / "no.jpg", "--method", "bicubic")
    assert f"{photo}: a picture that is nothing but" not in fails(capsys, *one, "bicubic", "--aligned")
    line = fails(capsys, "upscale", photos / "b.png", "--method", "bicubic")
    assert "b.png: no face was found" in line or "no face was found in" in line
    assert line.endswith("on the command line --aligned")


def last_pt(run):
    return torch.load(Path(run) / "last.pt", weights_only=True)["nets"]


@pytest.fixture(scope="module")
def lending(pictures, tmp_path_factory):
    """A run folder of InfoGAN, whose generator can be borrowed, after two steps on pictures of nothing."""
    out = tmp_path_factory.mktemp("runs") / "infogan"
    assert cli.main(["train", "infogan", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", str(out),
                     "--steps", "2", "--precision", "no"]) == 0
    return out


@pytest.fixture(scope="module")
def editing(lending, tmp_path_factory):
    """A run folder of a predictor on that generator, stopped and gone on with; its directions are of no faces."""
    folder = tmp_path_factory.mktemp("predictor")
    faces = celeba_like(folder / "celeba160")
    command = ["train", "predictor", "--preset", "smoke", "--generator", str(lending), "--data", f"celeba:{faces}", "--out",
               str(folder / "run"), "--set", "steps=2,2", "--precision", "no"]
    assert cli.main([*command, "--steps", "1"]) == 0
    assert cli.main(command) == 0
    return folder / "run"


def test_a_predictor_borrows_the_generator_that_is_named(lending, editing, run, pictures, tmp_path, capsys, monkeypatch):
    assert json.loads((editing / "config.json").read_text())["config"]["generator"] == str(lending)
    assert [json.loads(line)["step"] for line in (editing / "log.jsonl").read_text().splitlines()] == [1, 4]
    theirs = torch.load(lending / "last.pt", weights_only=True)["ema"]
    mine = {k: v for k, v in last_pt(editing).items() if k.startswith("G.")}
    assert mine and all(torch.equal(v, theirs[k.replace("G.", "G_ema.", 1)]) for k, v in mine.items())

    small = ["train", "predictor", "--preset", "smoke", "--data", f"folder:{pictures}", "--out", tmp_path / "a", "--precision",
             "no"]
    line = fails(capsys, *small)
    assert "Predictor works with another method's generator, and this configuration names none: say with --generator" in line
    assert "must be one as infogan or dcgan have" in fails(capsys, *small, "--generator", run)
    assert "expected a run folder with" in fails(capsys, *small, "--generator", tmp_path)
    assert "GLCIC has its own generator and is not handed one; leave --generator out" in fails(
        capsys, "train", "glcic", "--preset", "smoke", "--generator", lending)
    monkeypatch.setattr(weights, "FOLDER", tmp_path / "shelf")
    (tmp_path / "shelf").mkdir()
    assert "no weights called 'infogan' come with this version: say with" in fails(capsys, "train", "predictor")
    assert not (tmp_path / "a").exists()
    named = [*small[:4], "--set", "generator=infogan", "steps=1,0", *small[4:]]
    assert cli.main(["publish", str(lending), "--name", "infogan", "--licence", "none"]) == 0
    assert cli.main([str(a) for a in named]) == 0                       # what the configuration names is there now
    assert json.loads((tmp_path / "a" / "config.json").read_text())["config"]["generator"] == "infogan"


def test_a_run_begins_with_weights_once(searching, run, pictures, tmp_path, capsys):
    """DCGAN's generator, before InfoGAN's codes; a run that goes on does not begin again."""
    command = ["train", "infogan", "--preset", "smoke", "--data", f"folder:{pictures}", "--precision", "no", "--start",
               str(searching), "--out"]
    capsys.readouterr()
    assert cli.main([*command, str(tmp_path / "a"), "--steps", "1"]) == 0
    first = capsys.readouterr().out
    assert "beginning with " in first and f" tensors of {searching}" in first
    assert cli.main([*command, str(tmp_path / "a"), "--steps", "3"]) == 0
    again = capsys.readouterr().out
    assert "holds 1 of 3 steps: resuming there" in again and "beginning" not in again
    assert cli.main([*command, str(tmp_path / "b"), "--steps", "3"]) == 0
    one, other = last_pt(tmp_path / "a"), last_pt(tmp_path / "b")
    assert all(torch.equal(one[k], other[k]) for k in one | other)
    assert cli.main([*command[:-3], "--out", str(tmp_path / "c"), "--steps", "3"]) == 0
    assert not torch.equal(one["G.first.weight"], last_pt(tmp_path / "c")["G.first.weight"])
    assert "no weights called 'nothing' come with" in fails(capsys, *command[:-2], "nothing", "--out", tmp_path / "d")
    assert "fits InfoGAN; start from weights of a method that has the same networks" in fails(
        capsys, *command[:-2], run, "--out", tmp_path / "d")
    assert not (tmp_path / "d").exists()


def test_edit_changes_the_face_and_says_that_it_is_invented(photo, editing, tmp_path, capsys):
    capsys.readouterr()
    out = tmp_path / "new" / "face.png"
    command = ["edit", str(photo), "--attribute", "c_cont0", "--steps", "2", "--method", str(editing), "--eyes", EYES]
    assert cli.main([*command, "--amount", "-1.5", "--strip", "--out", str(out)]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == str(out) and "invented" in said[1] and "not what this person looks like" in said[1] and len(said) == 2
    before, after = np.asarray(Image.open(photo)), np.asarray(Image.open(out))
    changed = np.argwhere((before != after).any(2))
    assert len(changed) and changed.min(0).tolist() > [10, 120] and changed.max(0).tolist() < [230, 330]
    assert Image.open(out.with_name("face-strip.png")).width > 5 * 128
    assert cli.main([*command, "--no-details"]) == 0
    assert not np.array_equal(np.asarray(Image.open(photo.with_name("astronaut-edited.png"))), after)


def test_edit_does_a_folder_and_refuses_what_it_must(photo, editing, run, tmp_path, capsys):
    photos, out = tmp_path / "photos", tmp_path / "out"
    (photos / "deep").mkdir(parents=True)
    noise_picture(0).save(photos / "deep" / "a.png")
    noise_picture(1, 40, 30).save(photos / "wide.png")
    command = ["edit", str(photos), "--aligned", "--attribute", "Young", "--steps", "0", "--method", str(editing), "--out"]
    assert cli.main([*command, str(out)]) == 0
    said = capsys.readouterr()
    assert "1 of 2 photographs edited" in said.out and "invented" in said.out
    assert "skipped wide.png: a picture that is nothing but" in said.err
    assert [p.relative_to(out).as_posix() for p in out.rglob("*.png")] == ["deep/a.png"]

    one = ["edit", photo, "--eyes", EYES, "--method", editing]
    assert "attribute must be one of 5_o_Clock_Shadow, " in fails(capsys, *one, "--attribute", "Grinning")
    assert "GLCIC has no edit(image, attribute, amount)" in fails(capsys, *one[:-1], run)
    assert "would overwrite the photograph" in fails(capsys, *one, "--out", photo)
    assert "--out must end in one of .jpg" in fails(capsys, *one, "--out", tmp_path / "a.svg")
    assert "c_cat0 has classes instead; leave out the strip" in fails(capsys, *one, "--attribute", "c_cat0", "--strip")
    assert f"{photo}: c_cat0 has the classes 0 to 9, got 12" in fails(capsys, *one, "--attribute", "c_cat0", "--amount", "12")
    assert "another folder" in fails(capsys, *command, photos / "in")
    assert "expected a picture or a folder" in fails(capsys, "edit", tmp_path / "no.jpg", "--method", editing)


def test_align_does_a_folder(photo, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.open(photo).save(tmp_path / "in" / "a.jpg")
    (tmp_path / "in" / "b.jpg").write_text("no picture")
    assert cli.main(["align", str(tmp_path / "in"), str(tmp_path / "out"), "--size", "48"]) == 0
    said = capsys.readouterr()
    assert "1 faces written" in said.out and "skipped b.jpg" in said.err
    assert Image.open(tmp_path / "out" / "a.png").size == (48, 48)
    assert "which is no folder" in fails(capsys, "align", tmp_path / "none", tmp_path / "out")


def test_publish_and_info(run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    report = {"command": "facelib evaluate mine", "data": "blots", "size": [32, 32], "test_faces": 9, "seed": 0, "rows": [
        {"method": "mine", "hole": "center", "psnr_hole": {"mean": 19.75, "low": 19, "high": 20}, "fd_attr": 3.5, "versus": {},
         "milliseconds": 3}, {"method": "mine+poisson", "hole": "center", "fd_attr": 3.4, "slice": [19.5]}]}
    (tmp_path / "report.txt").write_text(json.dumps(report))
    assert "say it with licence=" in fails(capsys, "publish", run, "--name", "mine")
    command = ["publish", str(run), "--name", "mine", "--licence", "none", "--report", str(tmp_path / "report.txt")]
    assert cli.main(command) == 0
    assert weights.card("mine")["metrics"]["center"] == {"psnr_hole": {"mean": 19.75, "low": 19, "high": 20}, "fd_attr": 3.5}
    assert weights.card("mine")["metrics"]["center+poisson"] == {"fd_attr": 3.4}
    assert "no rows of 'yours'" in fails(capsys, *command[:3], "yours", *command[4:])
    assert "--data measures judges" in fails(capsys, *command[:-2], "--data", "synthetic")

    monkeypatch.setenv("FACELIB_DATA", str(tmp_path))
    celeba_like(tmp_path / "celeba160")
    capsys.readouterr()
    assert cli.main(["info"]) == 0
    said = capsys.readouterr().out
    assert "mine: glcic" in said and "center psnr_hole 19.75, center fd_attr 3.5" in said
    assert f"celeba in {tmp_path / 'celeba160'}" in said and "torch" in said and "cores" in said

    report["rows"] = [{"method": "mine", "psnr": {"mean": 21.5}, "groups": {}}, {"method": "mine+back_projection", "psnr": 1}]
    (tmp_path / "report.txt").write_text(json.dumps(report))
    assert cli.main(command) == 0
    assert weights.card("mine")["metrics"]["upscale"] == {"psnr": {"mean": 21.5}}
    assert weights.card("mine")["metrics"]["upscale+back_projection"] == {"psnr": 1}


def test_judges_are_measured_when_they_are_published(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    celeba_like(tmp_path / "celeba160")
    data = ["--data", f"celeba:{tmp_path / 'celeba160'}"]
    out = str(tmp_path / "run")
    assert cli.main(["train", "judges", "--preset", "smoke", *data, "--out", out, "--steps", "2", "--precision", "no"]) == 0
    assert cli.main(["publish", out, "--name", "judge_identity", *data]) == 0
    metrics = weights.card("judge_identity")["metrics"]
    assert metrics["faces"] == "val and test of celeba160, 16 faces" and metrics["verification"]["people"] == 2
    assert len(metrics["attributes"]["attributes"]) == 40
    partition = tmp_path / "celeba160" / "list_eval_partition.txt"
    partition.write_text(partition.read_text().replace("000040.jpg 2", "000040.jpg 0"))
    assert "1 people of the test split are in train or val too" in fails(capsys, "publish", out, "--name", "judge_attr", *data)


def test_evaluate_and_study_pass_on_what_was_asked(monkeypatch, capsys):
    from facelib import evaluate, studies
    from facelib.evaluate import upscaling

    asked = []
    monkeypatch.setattr(evaluate, "main", lambda *args: asked.append(args))
    monkeypatch.setattr(upscaling, "main", lambda *args: asked.append(args))
    monkeypatch.setattr(studies, "run", lambda *args, **options: asked.append((*args, options)))
    assert cli.main(["evaluate", "--methods", "glcic,mine", "--data", "celeba", "--root", "celeba160", "--holes", "centre",
                     "half", "--n", "9"]) == 0
    assert cli.main(["study", "glcic", "--quick"]) == 0
    assert asked[0] == (["glcic", "mine"], "celeba", "celeba160", None, ["centre", "half"], 9, 0, None, None)
    assert asked[1] == ("glcic", {"out": None, "runs": None, "quick": True})
    assert cli.main(["evaluate", "--upscale", "nearest", "all", "--n", "9", "--out", "r.json"]) == 0
    assert asked[2] == (["nearest", "all"], "synthetic", None, 9, 0, Path("r.json"))
    for option, module in (("--recover", "recovery"), ("--edits", "editing")):
        monkeypatch.setattr(f"facelib.evaluate.{module}.main", lambda *args, module=module: asked.append((module, *args)))
        assert cli.main(["evaluate", option, "finder", "--data", "celeba", "--root", "celeba160", "--n", "9", "--seed", "2",
                         "--out", "r.json"]) == 0
        assert asked[-1] == (module, "finder", "celeba", "celeba160", 9, 2, Path("r.json"))
    monkeypatch.undo()
    assert "--recover and --edits are separate reports" in fails(capsys, "evaluate", "--recover", "a", "--edits", "b")
    assert "--samples and --upscale are separate reports" in fails(capsys, "evaluate", "--upscale", "all", "--samples", "vae")
    assert "no method is called 'glcik'" in fails(capsys, "evaluate", "--upscale", "glcik")
    assert f"study must be one of {', '.join(studies.STUDIES)}" in fails(capsys, "study", "began_or_not")


def test_ctrl_c_saves_and_the_same_command_goes_on(tmp_path):
    """In a process of its own, on the faces that come with the package."""
    command = [sys.executable, "-m", "facelib", "train", "glcic", "--preset", "smoke", "--set", "steps=5000,4,12",
               "--precision", "no", "--out", str(tmp_path / "run")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    environment.pop("FACELIB_DATA", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    deadline = time.monotonic() + 240
    while not (tmp_path / "run" / "log.jsonl").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=240)
    assert process.returncode == 130, err
    last = err.strip().splitlines()[-1]
    assert "which is saved: run the same command again to go on from there" in last and "Traceback" not in err
    done = int(last.split("stopped after step ")[1].split(",")[0])
    again = subprocess.run([*command, "--steps", str(done + 2)], capture_output=True, text=True, timeout=240, env=environment)
    assert again.returncode == 0, again.stderr
    assert f"holds {done} of {done + 2} steps: resuming there" in again.stdout
