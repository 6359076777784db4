"""Assignments are given and graded: what students get, full points and none, and submissions that crash, hang or cheat."""

import csv
import functools
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

grade = pytest.importorskip("grade")
pytest.importorskip("nbgrader")

NAMES = sorted(path.name for path in grade.ASSIGNMENTS.iterdir() if path.is_dir())
TOOL = Path(grade.__file__)


def read(path):
    return json.loads(Path(path).read_text(encoding="utf-8"))


def solved(release, source):
    """The students' version with all solutions filled in, and nothing else touched."""
    answers = {name: cell["source"] for name, cell in grade.marked(read(source)).items()
               if cell["metadata"]["nbgrader"]["solution"]}
    book = read(release)
    for name, cell in grade.marked(book).items():
        cell["source"] = answers.get(name, cell["source"])
    return book


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """given(name): the students' version of an assignment, made once."""
    build, grade.BUILD = grade.BUILD, tmp_path_factory.mktemp("build")
    yield functools.cache(grade.release)
    grade.BUILD = build


@pytest.mark.parametrize("name", NAMES)
def test_students_get_no_solutions_and_no_hidden_tests(name, given):
    book, source = read(given(name)), read(grade.ASSIGNMENTS / name / f"{name}.ipynb")
    text = json.dumps(book)
    assert "SOLUTION" not in text and "HIDDEN" not in text and "model answer" not in text
    cells, whole = grade.marked(book), grade.marked(source)
    assert cells.keys() == whole.keys()
    for task, cell in cells.items():
        about, full = cell["metadata"]["nbgrader"], grade.source_of(whole[task])
        if about["solution"]:
            assert ("YOUR CODE HERE" if cell["cell_type"] == "code" else "YOUR ANSWER HERE") in grade.source_of(cell)
        else:
            assert cell["metadata"]["editable"] is False and cell["metadata"]["deletable"] is False, task
        if about["grade"] and not about["solution"]:
            visible, _, hidden = full.partition("### BEGIN HIDDEN TESTS")
            assert "assert" in visible and "assert" in hidden and grade.source_of(cell) == visible.strip(), task


@pytest.mark.parametrize("name", NAMES)
def test_points_and_rubric_add_up(name, given):
    tasks, rubric = grade.tasks(given(name)), (given(name).parent / "rubric.md").read_text()
    written = {task: about["points"] for task, about in tasks.items() if about["written"]}
    assert sum(about["points"] for about in tasks.values()) == 100 and 1 <= len(written) <= 2
    assert 5 <= len(tasks) - len(written) <= 8
    for task, points in written.items():
        rows = rubric.split(f"## `{task}`")[1].split("## ")[0]
        assert sum(int(row) for row in re.findall(r"(?m)^\| [^|]+ \| (\d+) \|", rows)) == points


@pytest.mark.parametrize("name", NAMES)
def test_solutions_get_full_points_and_an_untouched_copy_none(name, given, tmp_path):
    """The starter runs from end to end, and every task fails by a test that the student can see."""
    source, folder = grade.ASSIGNMENTS / name / f"{name}.ipynb", tmp_path / "submissions"
    folder.mkdir()
    (folder / "perfect.ipynb").write_text(json.dumps(solved(given(name), source)))
    (folder / "untouched.ipynb").write_bytes(given(name).read_bytes())
    perfect, untouched = grade.grade(name, folder, tmp_path / "grades.csv")
    assert (perfect["status"], perfect["message"]) == ("graded", "") and perfect["autograded"] == perfect["max"] == "80", perfect
    assert perfect["to_mark"] == "20" and (untouched["autograded"], untouched["to_mark"]) == ("0", "0"), untouched
    assert (untouched["status"], untouched["message"]) == ("graded", "")
    for task, cell in grade.marked(read(tmp_path / "grades-reports" / "untouched.ipynb")).items():
        about = cell["metadata"]["nbgrader"]
        if about["grade"] and cell["cell_type"] == "code":
            (error,) = [output for output in cell["outputs"] if output["output_type"] == "error"]
            line = int(re.search(r"Cell.*?line.*?(\d+)", re.sub(r"\x1b\[[\d;]*m", "", "\n".join(error["traceback"])))[1])
            visible = "".join(cell["source"]).partition("### BEGIN HIDDEN TESTS")[0].count("\n")
            assert line <= visible, f"{task} fails for the untouched copy in a hidden test only"


# An assignment that takes no time, for submissions that do what they should not

def cell(kind, source, name=None, points=None, solution=False):
    made = {"cell_type": kind, "id": name or "text", "metadata": {}, "source": source}
    if kind == "code":
        made |= {"execution_count": None, "outputs": []}
    if name:
        made["metadata"]["nbgrader"] = {"grade": points is not None, "grade_id": name, "locked": not solution, "task": False,
                                        "schema_version": 3, "solution": solution, **({"points": points} if points else {})}
    return made


def tiny(prefix=""):
    hide = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS".format
    solve = "### BEGIN SOLUTION\n    return {}\n    ### END SOLUTION".format
    warns = "import warnings\nwarnings.warn('this is no failure')\n"
    cells = [cell("markdown", "# Tiny"),
             cell("code", f"def double(x):\n    {solve('2 * x')}", f"{prefix}double-answer", solution=True),
             cell("code", f"assert double(1) == 2\n{hide('assert double(-3) == -6')}", f"{prefix}double", 6),
             cell("code", f"def half(x):\n    {solve('x / 2')}", f"{prefix}half-answer", solution=True),
             cell("code", f"{warns}assert half(4) == 2", f"{prefix}half", 4),
             cell("markdown", "### BEGIN SOLUTION\nbecause\n### END SOLUTION", f"{prefix}why", 5, True)]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
              "language_info": {"name": "python"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


@pytest.fixture(scope="module")
def small(tmp_path_factory, given):
    """(folder of the tiny assignment, its solved students' version as a fresh notebook on each call)."""
    folder = tmp_path_factory.mktemp("course") / "tiny"
    folder.mkdir()
    (folder / "tiny.ipynb").write_text(json.dumps(tiny()))
    release = grade.release(str(folder))
    return folder, lambda: solved(release, folder / "tiny.ipynb")


def submit(folder, name, book):
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.ipynb").write_text(json.dumps(book), encoding="utf-8")


def put(book, name, source):
    grade.marked(book)[name]["source"] = source
    return book


def escaping(where):
    """Code that starts a process in a session of its own, whose parent is gone at once, and writes its number to `where`."""
    inner = f"echo $$ > '{where}'; exec sleep 3600"
    return (f"import os, subprocess, time\ninner = {inner!r}\n"
            "subprocess.Popen(['sh', '-c', 'setsid sh -c \"$0\" & exit', inner], env={})\n"
            f"while not os.path.exists('{where}'):\n    time.sleep(0.05)\n")


FOR_EVER = "while True:\n    try:\n        time.sleep(1)\n    except BaseException:\n        pass\n"


# What a submission finds: neither the solutions nor what is only in the environment of who grades.
LOOKS = """import os
assert "COURSE_PASSWORD" not in os.environ and os.path.isdir("../../../source")
assert not os.path.exists("../../../source/tiny/tiny.ipynb")
def half(x):
    return x / 2"""


def gone(where):
    """Whether the process of `escaping` has been there, and is there no more."""
    number = int(where.read_text())
    return not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE


def test_submissions_that_misbehave_are_told_and_stop_no_other(small, tmp_path, monkeypatch):
    source, fresh = small
    folder, out, child, other = tmp_path / "von allen", tmp_path / "grades.csv", tmp_path / "child", tmp_path / "other"

    submit(folder, "José Müller", fresh())
    submit(folder, "raises", put(fresh(), "double-answer", "raise RuntimeError('mine')"))
    submit(folder, "leaves a process", put(fresh(), "half-answer", escaping(other) + "def half(x):\n    return x / 2"))
    submit(folder, "dies", put(fresh(), "half-answer", "import os\nos._exit(0)"))
    submit(folder, "for ever", put(fresh(), "half-answer", escaping(child) + FOR_EVER))
    submit(folder, "hungry", put(fresh(), "half-answer", "import time\nkept = bytearray(b'x' * 3_000_000_000)"))
    changed = put(fresh(), "double", "pass")
    grade.marked(changed)["half"]["metadata"]["nbgrader"]["points"] = 400
    grade.marked(changed)["half"]["metadata"].update(tags=["skip-execution"])
    mangled = fresh()
    del grade.marked(mangled)["half"]["metadata"]["nbgrader"]["locked"]
    submit(folder, "mangles", mangled)
    submit(folder, "curious", put(fresh(), "half-answer", LOOKS))
    monkeypatch.setenv("COURSE_PASSWORD", "open sesame")
    submit(folder, "changes tests", put(changed, "double-answer", "def double(x):\n    return 2"))
    deleted = fresh()
    deleted["cells"] = [one for one in deleted["cells"] if one["id"] != "double"]
    submit(folder, "deletes", deleted)
    (folder / "broken.ipynb").write_text("{")
    submit(folder, "other", tiny("other-"))
    (folder / "essay.docx").write_text("words")
    began = time.monotonic()
    rows = {row["student"]: row for row in grade.grade(str(source), folder, out, minutes=1, gigabytes=1.5)}
    assert time.monotonic() - began < 400

    points = {name: (row["status"], row["double"], row["half"], row["autograded"]) for name, row in rows.items()}
    assert points["José Müller"] == ("graded", "6", "4", "10") and rows["José Müller"]["to_mark"] == "5"
    assert points["raises"] == ("graded", "0", "4", "4")
    assert points["leaves a process"] == ("graded", "6", "4", "10")
    assert points["curious"] == ("graded", "6", "4", "10")
    assert points["mangles"][0] == "crashed" and "Error" in rows["mangles"]["message"]
    assert points["dies"][0] == "crashed" and "Python died in cell 4 (import os)" in rows["dies"]["message"]
    assert points["for ever"] == ("timed out", "", "", "") and "in cell 4" in rows["for ever"]["message"]
    assert points["hungry"] == ("graded", "6", "0", "6") or points["hungry"][0] == "out of memory"
    assert points["changes tests"][1] == "0" and points["changes tests"][2] == "0", rows["changes tests"]
    assert "double" in rows["changes tests"]["message"]
    assert points["deletes"] == ("graded", "0", "4", "4") and "deleted, so without points: double" in rows["deletes"]["message"]
    assert [points[name][0] for name in ("broken", "other", "essay.docx")] == ["not a notebook", "wrong assignment",
                                                                               "not a notebook"]
    assert gone(child) and gone(other)

    with open(out, encoding="utf-8-sig", newline="") as table:
        assert list(csv.DictReader(table)) == list(rows.values())
    report = (tmp_path / "grades-reports" / "raises.md").read_text()
    assert "| double | 0 | 6 | NameError" in report and "because" in report and "-6" not in report


def test_a_cell_without_end_costs_its_own_task_only(small, tmp_path):
    source, fresh = small
    submit(tmp_path / "in", "slow", put(fresh(), "double-answer", "while True:\n    pass"))
    (row,) = grade.grade(str(source), tmp_path / "in", tmp_path / "out.csv", cell_minutes=0.05)
    assert (row["status"], row["double"], row["half"]) == ("graded", "0", "4")


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a process that has left its parent may not be found")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_runs_on_when_grading_is_stopped(how, small, tmp_path):
    source, fresh = small
    submit(tmp_path / "in", "a", put(fresh(), "half-answer", escaping(tmp_path / "child") + FOR_EVER))
    # Tests that run in the background are deaf to Ctrl-C, and what they start would be too.
    grading = subprocess.Popen([sys.executable, TOOL, "grade", source, tmp_path / "in", "--out", tmp_path / "out.csv"],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    try:
        until = time.monotonic() + 90
        while not (tmp_path / "child").exists() and grading.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        started = psutil.Process(grading.pid).children(recursive=True)
        grading.send_signal(how)
        grading.wait(30)
        until = time.monotonic() + 30
        while not gone(tmp_path / "child") and time.monotonic() < until:
            time.sleep(0.1)
    finally:
        grading.kill()
    assert gone(tmp_path / "child") and started
    assert not psutil.wait_procs(started, timeout=15)[1], "a supervisor, a grader or a kernel is still there"


def test_a_table_is_not_written_over_silently(small, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "note.txt").write_text("no notebook")
    out = tmp_path / "marks.csv"
    out.write_text("marks by hand")
    with pytest.raises(SystemExit, match="FORCE=1"):
        grade.grade(str(small[0]), tmp_path / "in", out)
    assert out.read_text() == "marks by hand"
    (row,) = grade.grade(str(small[0]), tmp_path / "in", out, force=True)
    assert row["student"] == "note.txt" and "note.txt" in out.read_text(encoding="utf-8-sig")


@pytest.mark.parametrize("arguments, said", [
    (["release"], "NAME must be one of"), (["release", "nothing"], "completing, controlling, foundations"),
    (["grade", "completing"], "SUBMISSIONS is missing"), (["grade", "completing", "nowhere"], "no folder")])
def test_what_is_missing_is_said(arguments, said):
    run = subprocess.run([sys.executable, TOOL, *arguments], capture_output=True, text=True)
    assert run.returncode and said in run.stderr and "Traceback" not in run.stderr
