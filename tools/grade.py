"""Give an assignment and grade what comes back: what `make assignment` and `make grade` do, on top of nbgrader.

    python tools/grade.py release NAME             the students' version, without solutions and hidden tests
    python tools/grade.py grade NAME SUBMISSIONS   a folder of STUDENT.ipynb -> grades.csv, and a report for each student

NAME is an assignment of book/assignments, or the path of a folder like theirs. Every submission runs in a folder of its own,
which is thrown away afterwards, under `supervise`: limits of time and memory, and nothing that it has started is left. It
sees neither the others, nor the solutions, nor the environment variables of who grades. That keeps accidents apart; run
code that you do not trust in a container, see book/assignments/README.md.
"""

import argparse
import csv
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import time
import unicodedata
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

from supervise import MEMORY_UP, STUCK, TIME_UP

ROOT = Path(__file__).resolve().parents[1]
ASSIGNMENTS = ROOT / "book" / "assignments"
BUILD = ROOT / "_build" / "assignments"
HERE = Path(__file__).resolve().parent
KEPT = ("PATH", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "VIRTUAL_ENV")     # of the environment, for a submission
MINUTES, CELL_MINUTES, GIGABYTES = 20, 5, 4                                   # limits of one submission
ONE = "student"         # what a submission's author is called inside its own copy


def find(name):
    """The folder of an assignment. Exits with the names that there are, if there is none of this name."""
    names = sorted(path.parent.name for path in ASSIGNMENTS.glob("*/*.ipynb") if path.stem == path.parent.name)
    if name in names:
        return ASSIGNMENTS / name
    folder = Path(name or "").resolve()
    if name and (folder / f"{folder.name}.ipynb").is_file():
        return folder
    sys.exit(f"NAME must be one of {', '.join(names)}, or the path of a folder NAME that holds NAME.ipynb; "
             f"got {name or 'none'}. For example: NAME={names[0] if names else 'path/to/folder'}")


# nbgrader, in a course of one assignment

def configured(course, name, cell_minutes=CELL_MINUTES):
    """nbgrader's settings for the course folder, and its directory."""
    from nbgrader.coursedir import CourseDirectory
    from traitlets.config import Config

    # nbgrader asks alembic, which lies beside this Python, for the version of its tables.
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    config = Config()
    config.CourseDirectory.update(root=str(course), assignment_id=name, student_id=ONE)
    config.Execute.update(timeout=round(60 * cell_minutes), startup_timeout=180, iopub_timeout=30)
    # A warning on the error stream is no failure: without this, nbgrader gives 0 points to a test during which one came.
    config.IgnorePattern.update(enabled=True, pattern=r"[\s\S]")
    return config, CourseDirectory(config=config)


def make_course(source, course):
    """A course in the empty folder `course` with one assignment, generated from its folder `source` -> path of the release."""
    from nbgrader.converters import GenerateAssignment

    name = source.name
    shutil.copytree(source, course / "source" / name, ignore=shutil.ignore_patterns("*.md", ".*"))
    config, directory = configured(course, name)
    GenerateAssignment(coursedir=directory, config=config).start()
    shutil.rmtree(course / "source" / name)                 # a submission's copy of the course holds no solution
    (course / "source" / name).mkdir()
    return course / "release" / name / f"{name}.ipynb"


def release(name):
    """Write the students' version and the rubric to _build/assignments/NAME/release -> its path."""
    source = find(name)
    target = BUILD / source.name / "release"
    with tempfile.TemporaryDirectory() as course:
        made = make_course(source, Path(course))
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        shutil.copy(made, target)
    if (source / "rubric.md").exists():
        shutil.copy(source / "rubric.md", target)
    return target / made.name


def marked(notebook):
    """Cells of a notebook that nbgrader knows: name -> cell."""
    cells = ((cell.get("metadata", {}).get("nbgrader", {}), cell) for cell in notebook.get("cells", []))
    return {about["grade_id"]: cell for about, cell in cells if "grade_id" in about}


def tasks(release):
    """What is graded, from the release: name -> {"points", "written": is it marked by hand}."""
    cells = marked(json.loads(release.read_text(encoding="utf-8")))
    about = {name: cell["metadata"]["nbgrader"] for name, cell in cells.items()}
    return {name: {"points": float(one["points"]), "written": bool(one["solution"])} for name, one in about.items()
            if one["grade"]}


def source_of(cell):
    return "".join(cell["source"]).strip()


def look_over(text, release):
    """A submitted notebook before it runs -> (status, message): is it one, of this assignment, and what was changed?"""
    try:
        cells = json.loads(text)
        mine = marked(cells)
    except (ValueError, TypeError, AttributeError) as error:
        return "not a notebook", f"it cannot be read as a notebook: {error}"
    theirs = marked(json.loads(release.read_text(encoding="utf-8")))
    if not any(theirs[name]["metadata"]["nbgrader"]["grade"] for name in mine.keys() & theirs):
        return "wrong assignment", f"none of the cells that are graded in {release.stem} are in it"
    gone = [name for name in theirs if name not in mine]
    changed = [name for name, cell in theirs.items() if name in mine and not cell["metadata"]["nbgrader"]["solution"]
               and source_of(cell) != source_of(mine[name])]
    said = [f"deleted, so without points: {', '.join(gone)}"] if gone else []
    return "graded", "; ".join(said + ([f"changed, put back: {', '.join(changed)}"] if changed else []))


def autograde(course, name, cell_minutes):
    """Run and grade the one submission of a course, in this process; result.json beside it says how it went."""
    release, result = course / "release" / name / f"{name}.ipynb", {}
    submitted = course / "submitted" / ONE / name / f"{name}.ipynb"
    status, message = look_over(submitted.read_text(encoding="utf-8", errors="replace"), release)
    if status == "graded":
        logging.basicConfig(format="%(message)s")           # nbgrader's tracebacks: `why` looks for the reason in them
        from nbgrader.api import Gradebook
        from nbgrader.converters import Autograde

        config, directory = configured(course, name, cell_minutes)
        # Where it stands, for the message about a notebook that does not come to an end.
        config.Execute.on_cell_start = lambda cell, cell_index: (course / "cell.txt").write_text(
            f"cell {cell_index + 1} ({source_of(cell).partition(chr(10))[0][:60]})", encoding="utf-8")
        Autograde(coursedir=directory, config=config).start()
        done = marked(json.loads((course / "autograded" / ONE / name / f"{name}.ipynb").read_text(encoding="utf-8")))
        with Gradebook(directory.db_url) as book:
            grades = book.find_submission_notebook(name, name, ONE).grades
            result = {grade.name: score(grade.auto_score, done.get(grade.name)) for grade in grades}
    (course / "result.json").write_text(json.dumps({"status": status, "message": message, "tasks": result}))


def score(points, cell):
    """A graded cell as it was run -> {"points": a number, or None where a person marks, "said": what a failed test said}."""
    if cell is None:
        return {"points": 0.0, "said": "the cell is missing"}
    if cell["cell_type"] == "markdown":
        return {"points": points, "said": "" if points is None else "no answer"}
    if cell["execution_count"] is None:                     # a tag can make nbclient pass over a cell: no error, no points
        return {"points": 0.0, "said": "the cell was not run"}
    errors = [output for output in cell["outputs"] if output["output_type"] == "error"]
    said = " ".join(f"{errors[0]['ename']}: {errors[0]['evalue']}".split())[:300] if errors else ""
    return {"points": points or 0.0, "said": said}


# A folder of submissions

def submissions(folder):
    """Everything in the folder, student -> path; files that begin with a dot are not meant."""
    if not folder.is_dir():
        sys.exit(f"SUBMISSIONS must be a folder of notebooks STUDENT.ipynb, got {folder}, which is no folder")
    paths = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    if not paths:
        sys.exit(f"{folder} is empty; put one notebook for each student into it, named STUDENT.ipynb")
    named = {path: path.stem if path.suffix == ".ipynb" else path.name for path in paths}
    return {unicodedata.normalize("NFC", name): path for path, name in named.items()}


def grade_one(path, course, minutes, cell_minutes, gigabytes, threads, running):
    """Grade one submission in a fresh copy of the course -> {"status", "message", "tasks", "seconds", "notebook"}.

    running: the set of supervisors, in which its own is while it runs.
    """
    began, name = time.monotonic(), next((course / "release").iterdir()).name
    if path.suffix != ".ipynb" or not path.is_file():
        message = "a folder" if path.is_dir() else "no file" if not path.is_file() else "its name does not end in .ipynb"
        return {"status": "not a notebook", "message": f"{message}; expected a file STUDENT.ipynb", "tasks": {}, "seconds": 0}
    with tempfile.TemporaryDirectory(prefix="grade-", ignore_cleanup_errors=True) as folder:
        own, notebook = Path(folder) / "course", None
        shutil.copytree(course, own)
        (own / "submitted" / ONE / name).mkdir(parents=True)
        shutil.copy(path, own / "submitted" / ONE / name / f"{name}.ipynb")
        (own / "tmp").mkdir()
        home = {"HOME": str(own), "TMPDIR": str(own / "tmp"), "OMP_NUM_THREADS": str(threads)}
        environment = {key: os.environ[key] for key in KEPT if key in os.environ} | home
        command = [sys.executable, HERE / "supervise.py", str(60 * minutes), str(gigabytes),
                   sys.executable, __file__, "autograde", own, name, str(cell_minutes)]
        with open(own / "log.txt", "wb") as log:
            # Its standard input closes when we end, however that happens, and the supervisor ends everything then.
            with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=environment, cwd=own,
                                  start_new_session=True) as process:
                running.add(process)
                code = process.wait()
                running.discard(process)
        result = {"status": "crashed", "message": why(own, code, minutes, gigabytes), "tasks": {}}
        if code in (TIME_UP, MEMORY_UP):
            result["status"] = "timed out" if code == TIME_UP else "out of memory"
        elif code == 0 and (own / "result.json").is_file():
            result = json.loads((own / "result.json").read_text())
            ran = own / "autograded" / ONE / name / f"{name}.ipynb"
            notebook = ran.read_bytes() if ran.is_file() else None
    return result | {"seconds": round(time.monotonic() - began, 1), "notebook": notebook}


def why(course, code, minutes, gigabytes):
    """Why a submission was not graded, in a sentence."""
    cell = course / "cell.txt"
    where = f"in {cell.read_text(encoding='utf-8')}" if cell.is_file() else "before the first cell ran"
    log = (course / "log.txt").read_text(encoding="utf-8", errors="replace")
    errors = [line for line in log.splitlines() if line.partition(":")[0].rpartition(".")[2].endswith("Error")]
    return {TIME_UP: f"not done after {minutes:g} minutes, stopped {where}",
            MEMORY_UP: f"needed more than {gigabytes:g} GB of memory, stopped {where}",
            STUCK: f"some of its processes could not be ended; stopped {where}"}.get(
        code, f"Python died {where}" if "DeadKernelError" in log else
        f"could not be run: {errors[-1] if errors else 'nbgrader ended with status ' + str(code)}"[:300])


def row(student, result, graded):
    """A line of the table: points of every task, empty where a person marks or nothing was graded."""
    found = {name: result["tasks"].get(name, {}).get("points") for name in graded} if result["tasks"] else {}
    auto = [name for name, about in graded.items() if not about["written"]]
    by_hand = sum(about["points"] for name, about in graded.items() if about["written"] and name in found and
                  found[name] is None)
    plain = lambda value: "" if value is None else f"{value:g}"
    return ({"student": student} | {name: plain(found.get(name)) for name in graded}
            | {"autograded": plain(sum(found[name] or 0 for name in auto) if found else None),
               "max": plain(sum(graded[name]["points"] for name in auto)), "to_mark": plain(by_hand),
               "status": result["status"], "message": result["message"], "seconds": plain(result["seconds"])})


def report(student, name, result, graded):
    """What a student may be sent, as Markdown: points, what the failed tests said, and the answers that are to be marked."""
    lines = [f"# {name}: {student}", "", f"{result['status']}" + (f": {result['message']}" if result["message"] else ""), ""]
    if result["tasks"]:
        lines += ["| task | points | of | |", "| :--- | ---: | ---: | :--- |"]
    for task, about in graded.items() if result["tasks"] else ():
        one = result["tasks"].get(task, {"points": 0, "said": "the cell is missing"})
        points = "to be marked" if one["points"] is None else f"{one['points']:g}"
        lines.append(f"| {task} | {points} | {about['points']:g} | {one['said'].replace('|', '/')} |")
    if result.get("notebook"):
        cells = marked(json.loads(result["notebook"]))
        for task in (task for task, about in graded.items() if about["written"] and task in cells):
            lines += ["", f"## {task}", "", source_of(cells[task])]
    return "\n".join(lines) + "\n"


def reports_of(out):
    """The folder of reports beside a table."""
    return Path(out).with_name(f"{Path(out).stem}-reports")


def write(path, text, encoding="utf-8"):
    """Whole or not at all: an interrupted run leaves the table of those that were done."""
    path.with_name(f"{path.name}.part").write_text(text, encoding=encoding, newline="")
    os.replace(path.with_name(f"{path.name}.part"), path)


def grade(name, folder, out, force=False, jobs=2, minutes=MINUTES, cell_minutes=CELL_MINUTES, gigabytes=GIGABYTES):
    """Grade a folder of submissions -> rows of the table, which is written to `out` after each; see the module."""
    source, found, out = find(name), submissions(Path(folder)), Path(out)
    reports = reports_of(out)
    for there in (out, reports):
        if there.exists() and not force:
            sys.exit(f"{there} exists, perhaps with marks in it; say OUT=another.csv, or FORCE=1 to write over it")
    reports.mkdir(parents=True, exist_ok=True)
    rows, running = {}, set()
    with tempfile.TemporaryDirectory(prefix="course-") as course, ThreadPoolExecutor(jobs) as pool:
        graded = tasks(make_course(source, Path(course)))
        threads = max(1, (os.cpu_count() or 1) // jobs)
        waiting = {pool.submit(grade_one, path, Path(course), minutes, cell_minutes, gigabytes, threads, running): student
                   for student, path in found.items()}
        try:
            for done in as_completed(waiting):
                student = waiting[done]
                try:
                    result = done.result()
                    rows[student], text = row(student, result, graded), report(student, source.name, result, graded)
                except Exception as error:              # a file that cannot be read, a result that was tampered with
                    said = f"{type(error).__name__}: {error}"[:300]
                    result = {"status": "crashed", "message": said, "tasks": {}, "seconds": 0}
                    rows[student], text = row(student, result, graded), report(student, source.name, result, graded)
                print(f"{len(rows)} of {len(found)}: {student}: {result['status']}"
                      f"{', ' + rows[student]['autograded'] + ' of ' + rows[student]['max'] if result['tasks'] else ''} "
                      f"({result['seconds']:.0f} s) {result['message']}", flush=True)
                write(reports / f"{student}.md", text)
                (reports / f"{student}.ipynb").unlink(missing_ok=True)
                if result.get("notebook"):
                    (reports / f"{student}.ipynb").write_bytes(result["notebook"])
                table = io.StringIO()
                writer = csv.DictWriter(table, list(rows[student]))
                writer.writeheader()
                writer.writerows(rows[one] for one in found if one in rows)
                write(out, table.getvalue(), encoding="utf-8-sig")      # the mark by which Excel knows UTF-8
        except BaseException:                                           # Ctrl-C too: end what runs, keep what is done
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(one.done() for one in waiting):
                for process in list(running):
                    process.terminate()
                time.sleep(0.1)
            raise
    return [rows[student] for student in found]


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("release", help="write the students' version")
    verb.add_argument("name", nargs="?", default="")
    verb = verbs.add_parser("grade", help="grade a folder of submissions")
    verb.add_argument("name", nargs="?", default="")
    verb.add_argument("submissions", nargs="?", default="", help="folder of STUDENT.ipynb")
    verb.add_argument("--out", default="grades.csv", help="the table; reports go into a folder beside it (%(default)s)")
    verb.add_argument("--force", action="store_true", help="write over a table that is there")
    verb.add_argument("--jobs", type=int, default=2, help="submissions at one time (%(default)s)")
    verb.add_argument("--minutes", type=float, default=MINUTES, help="limit for a submission (%(default)s)")
    verb.add_argument("--cell-minutes", type=float, default=CELL_MINUTES, help="limit for one cell (%(default)s)")
    verb.add_argument("--gigabytes", type=float, default=GIGABYTES, help="limit of memory (%(default)s)")
    verb = verbs.add_parser("autograde")                    # what runs under the supervisor, in a submission's own copy
    verb.add_argument("course", type=Path)
    verb.add_argument("name")
    verb.add_argument("cell_minutes", type=float)
    args = vars(parser.parse_args())
    verb = args.pop("verb")
    if verb == "autograde":
        autograde(**args)
    elif verb == "release":
        print(f"for the students: {release(**args)}")
    elif not args["submissions"]:
        find(args["name"])
        sys.exit(f"SUBMISSIONS is missing: make grade NAME={args['name']} SUBMISSIONS=folder-of-STUDENT.ipynb")
    else:
        grade(args.pop("name"), args.pop("submissions"), **args)
        print(f"the table: {args['out']}; for each student a report and the notebook as it ran: {reports_of(args['out'])}/")


if __name__ == "__main__":
    main()
