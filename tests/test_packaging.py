"""What is installed and how: ranges, extras, environment.yml, the wheel, Colab, and the one place of the public address."""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import colab
import publish_url
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from facelib.extras import EXTRAS

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRA = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
ALL = [Requirement(line) for line in PROJECT["dependencies"]] + [r for lines in EXTRA.values() for r in lines]


@pytest.mark.parametrize("requirement", ALL, ids=lambda r: r.name)
def test_range_is_bounded_and_holds_the_tested_version(requirement):
    operators = {specifier.operator for specifier in requirement.specifier}
    assert ">=" in operators and "<" in operators and "==" not in operators, str(requirement)
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    pins = {canonicalize_name(name): version for name, version in pins.items()}
    assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), str(requirement)


def test_ranges_that_are_known_to_bite():
    ranges = {r.name: r.specifier for r in ALL}
    assert not ranges["torch"].contains("2.13.0") and not ranges["torch"].contains("2.13.1+cpu")
    assert not ranges["jupyter-book"].contains("0.6.5") and not ranges["jupyter-book"].contains("2.0.0")
    assert ranges["ipywidgets"].contains("7.7.1") and ranges["ipywidgets"].contains("8.1.9")
    assert not ranges["opencv-python-headless"].contains("5.0.0")


def test_extras_agree_with_the_package():
    for module, (package, extra) in EXTRAS.items():
        assert package in {r.name for r in EXTRA[extra]}, f"facelib/extras.py says {module} comes with [{extra}]"


def test_environment_takes_all_from_pip():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    conda = [line for line in environment["dependencies"] if isinstance(line, str)]
    pip = [line["pip"] for line in environment["dependencies"] if isinstance(line, dict)]
    # name, then comma-separated bounds: valid as conda's match specification and as a pip requirement alike.
    for line in conda:
        assert re.fullmatch(r"[a-z0-9_.-]+((>=|<|==|!=)[0-9.*]+(,(>=|<|==|!=)[0-9.*]+)*)?", line), line
    assert [Requirement(line).name for line in conda] == ["python", "pip"]
    python = Requirement(conda[0]).specifier
    assert python.contains("3.11.0") and not python.contains("3.10.9")
    assert Requirement("x" + PROJECT["requires-python"]).specifier.contains("3.11.0")
    (editable,) = [line for line in pip[0] if line.startswith("-e")]
    assert set(re.search(r"\[(.*)\]", editable)[1].split(",")) == set(EXTRA)
    for line in pip[0]:
        if line.startswith("-c"):
            assert (ROOT / line.split()[1]).exists()


def test_console_script_is_there():
    module, function = PROJECT["scripts"]["facelib"].split(":")
    assert callable(getattr(importlib.import_module(module), function))


def test_wheel_holds_what_the_package_reads(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    shutil.copytree(ROOT / "facelib", source / "facelib", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(tmp_path),
                    str(source)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("facelib-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name: archive.getinfo(name).file_size for name in archive.namelist()}
    for path in (source / "facelib").rglob("*"):
        if path.is_file():
            assert path.relative_to(source).as_posix() in inside
    assert any(name.endswith("LICENSE") and "weights" in name for name in inside)
    weights = sum(size for name, size in inside.items() if name.startswith("facelib/weights/"))
    assert weights < 64 * 2**20


def test_colab_install_changes_nothing_that_is_there(monkeypatch):
    seen = {}

    def run(command, check):
        seen.update(command=command, held=Path(command[command.index("-c") + 1]).read_text().split())

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.chdir(ROOT)
    colab.main()
    assert Path.cwd() == ROOT / "book"
    installed = {line.split("==")[0]: line.split("==")[1] for line in seen["held"]}
    for name in ("torch", "torchvision", "numpy", "ipywidgets"):
        assert installed[name] == importlib.metadata.version(name)
    (wanted,) = [word for word in seen["command"] if word.startswith(f"{ROOT}[")]
    assert set(re.search(r"\[(.*)\]", wanted)[1].split(",")) <= set(EXTRA)


def notebooks(root):
    return [*(root / "book").glob("*.ipynb"), *(root / "book").glob("assignments/*/*.ipynb")]


def addresses(root):
    """Every address that the publishing command carries, by file."""
    found = {name: re.findall(pattern, (root / name).read_text()) for name, pattern in
             [publish_url.SOURCE, *publish_url.PLACES]}
    for path in notebooks(root):
        text = path.read_text()
        found[path.name] = re.findall(r"git clone -q --depth 1 (\S+)", text) + [
            "https://github.com/" + slug for slug in re.findall(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)", text)]
    return found


def test_the_address_agrees_everywhere():
    found = addresses(ROOT)
    assert all(found.values()) and len({address for group in found.values() for address in group}) == 1, found
    # ... and stands nowhere else, where the command would miss it.
    (address,) = found["pyproject.toml"]
    slug = address.removeprefix("https://github.com/")
    known = set(found) | {"publish_url.py"}
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    for name in listed.stdout.split("\n"):
        path = ROOT / name
        if path.suffix in (".py", ".md", ".yml", ".toml", ".ipynb", ".cff", ".txt", "") and path.is_file():
            if slug in path.read_text(encoding="utf-8", errors="ignore"):
                assert name in known or path.name in known, f"{name} holds the address but make publish-url passes it by"


def copy(tmp_path):
    for name in [publish_url.SOURCE[0], *(name for name, _ in publish_url.PLACES)]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    for path in notebooks(ROOT):
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    for name in ("Makefile", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "tools", tmp_path / "tools")
    return tmp_path


def test_publish_url_carries_a_new_address(tmp_path):
    root = copy(tmp_path)
    before = {path: path.read_text() for path in root.rglob("*") if path.is_file() and path.suffix != ".pyc"}
    address = "https://github.com/some-school/its.copy"
    subprocess.run(["make", "publish-url", f"URL={address}", f"PYTHON={sys.executable}"], cwd=root, check=True,
                   capture_output=True, env={**os.environ, "MAKEFLAGS": ""})
    found = addresses(root)
    assert {a for group in found.values() for a in group} == {address}
    old = re.search(publish_url.SOURCE[1], (ROOT / "pyproject.toml").read_text())[1]
    assert publish_url.carry(root, old) == old
    for path, text in before.items():  # there and back again changes nothing
        assert path.read_text() == text, path.name


@pytest.mark.parametrize("address", ["http://github.com/a/b", "https://github.com/a", "https://github.com/a/b/",
                                     "https://github.com/a/b.git", "https://example.org/a/b"])
def test_publish_url_refuses_other_addresses(tmp_path, address):
    root = copy(tmp_path)
    with pytest.raises(SystemExit, match="https://github.com/OWNER/NAME"):
        publish_url.carry(root, address)


def test_head_is_given_to_a_new_notebook(tmp_path):
    import nbformat

    root = copy(tmp_path)
    path = root / "book" / "new.ipynb"
    cells = [nbformat.v4.new_markdown_cell("# New\n\nWhat it is about."),
             nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.v4.new_output("stream", text="2")], execution_count=3)]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"widgets": {}}), path)
    publish_url.carry(root)
    once = path.read_text()
    publish_url.carry(root)
    assert path.read_text() == once
    book = nbformat.reads(once, as_version=4)
    nbformat.validate(book)
    assert [cell.source.splitlines()[0] for cell in book.cells] == ["# New", "import sys", "What it is about.", "1 + 1"]
    assert book.cells[3].outputs == [] and book.cells[3].execution_count is None and "widgets" not in book.metadata
    path.write_text(once.replace("# New", "No title"))
    with pytest.raises(SystemExit, match="give the chapter a title"):
        publish_url.carry(root)


def test_make_help_lists_the_two_commands_and_an_old_python_is_refused(tmp_path):
    def make(*arguments):
        return subprocess.run(["make", *arguments], cwd=copy(tmp_path / arguments[0]), capture_output=True, text=True,
                              env={**os.environ, "MAKEFLAGS": ""})

    (tmp_path / "help").mkdir()
    shown = make("help").stdout
    assert "make book" in shown and "make test" in shown
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.1" && exit 0\nexit 1\n')
    old.chmod(0o755)
    (tmp_path / "setup").mkdir()
    refused = make("setup", f"PYTHON={old}")
    assert refused.returncode != 0 and "Python 3.11 or newer is needed" in refused.stderr and "3.9.1" in refused.stderr
