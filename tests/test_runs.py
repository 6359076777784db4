"""Where long runs lie, and the cell of each chapter that trains one there."""

import ast
import functools
import json
import sys
from pathlib import Path

import pytest

from facelib import runs
from facelib.cli import training
from facelib.train import fit

ROOT = Path(__file__).resolve().parents[1]
LONGER = {}  # chapter -> the cells before that cell, and it
for path in sorted((ROOT / "book").glob("*.ipynb")):
    cells = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code" and c["id"] != "install"]
    texts = {c["id"]: "".join(c["source"]) for c in cells}
    if "longer" in texts:
        LONGER[path.stem] = [text for key, text in texts.items() if key != "longer"], texts["longer"]


@pytest.fixture
def colab(monkeypatch, tmp_path):
    """A kernel on Colab, whose Drive lies in a temporary folder and is not shown yet -> where it will be."""
    monkeypatch.delenv("FACELIB_RUNS", raising=False)
    monkeypatch.syspath_prepend(ROOT / "tests" / "colab")
    monkeypatch.setattr(runs, "DRIVE", tmp_path / "drive")
    import google.colab

    yield runs.DRIVE
    for name in ("google.colab", *(f"google.colab.{part}" for part in google.colab.__all__)):
        sys.modules.pop(name)


def test_runs_lie_where_they_outlast_the_machine(colab, monkeypatch, tmp_path):
    assert runs.run_folder("a") == colab / "MyDrive/facelib-runs/a" and (colab / "MyDrive").is_dir()
    monkeypatch.setenv("FACELIB_RUNS", str(tmp_path / "mine"))
    assert runs.run_folder("a") == tmp_path / "mine/a"


def test_without_drive_runs_lie_here_and_that_is_said(colab, capsys):
    colab.write_text("Drive cannot be shown in the place of a file")
    assert runs.run_folder("a") == Path("runs/a")
    said = capsys.readouterr().out
    assert "lost" in said and "FACELIB_RUNS" in said


def test_elsewhere_runs_lie_in_the_current_folder(monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("FACELIB_RUNS", raising=False)
    monkeypatch.setattr(runs, "DRIVE", tmp_path / "drive")
    assert runs.run_folder("a") == Path("runs/a") and not capsys.readouterr().out
    (tmp_path / "drive/MyDrive").mkdir(parents=True)  # on Colab, in a command that a cell has started
    assert runs.run_folder("a") == tmp_path / "drive/MyDrive/facelib-runs/a"


def test_every_training_chapter_has_the_cell():
    assert set(LONGER) == {"training", "gan", "denoising", "glcic", "enhance", "infogan", "began", "recovery"}


def train(chapter, steps):
    """Run the chapter's cell, switched on, after its imports; `fit` stops after some steps."""
    before, cell = LONGER[chapter]
    assert cell.startswith("TRAIN = False")
    imports = [node for text in before for node in ast.parse(text).body if isinstance(node, (ast.Import, ast.ImportFrom))]
    names = {}
    exec(compile(ast.Module(imports, []), chapter, "exec"), names)
    names["fit"] = functools.partial(fit, steps=steps, log_every=1, precision="no")
    exec(cell.replace("TRAIN = False", "TRAIN = True"), names)


@pytest.mark.parametrize("chapter", LONGER)
def test_a_chapter_trains_longer_and_resumes(chapter, monkeypatch, tmp_path):
    monkeypatch.setenv("FACELIB_RUNS", str(tmp_path))
    for steps in (1, 3):  # the machine is taken away after the first step
        train(chapter, steps)
        (run,) = tmp_path.iterdir()
        done = [json.loads(line)["step"] for line in (run / "log.jsonl").read_text().splitlines()]
        assert done == list(range(1, steps + 1))


def test_the_command_goes_on_with_the_run_of_the_cell(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("FACELIB_RUNS", str(tmp_path))
    train("glcic", 1)
    training.train("glcic", steps=2, precision="no")
    assert "holds 1 of 2 steps: resuming there" in capsys.readouterr().out
