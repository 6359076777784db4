""""Run all" on a machine like Colab's: each chapter alone in an empty folder, its install cell unchanged, without data."""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import colab_machine
import publish_url
import pytest

ROOT = Path(__file__).resolve().parents[1]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
HELD = {"torch", "torchvision", "numpy", "ipywidgets"}


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """(the interpreter of the machine with Colab's packages, the book's public address, the repository that stands for it)."""
    found = colab_machine.interpreter()
    if found is None:
        pytest.skip("no Python 3.12, which Colab has, was found: no chapter was tried as on Colab. Install one (also with pyenv)")
    python, version = found
    if version != "3.12":
        warnings.warn(f"Colab has Python 3.12; none was found here, so the chapters run on Python {version}", stacklevel=1)
    return (colab_machine.machine(python), publish_url.current(ROOT),
            colab_machine.publish(tmp_path_factory.mktemp("published")))


@pytest.fixture
def session(published):
    """A fresh machine; nothing that it brought may have changed at the end, and nothing else may be broken."""
    with colab_machine.Session(*published) as session:
        before, broken = session.versions(), session.conflicts()
        assert HELD <= set(before) and before["ipywidgets"].startswith("7.7") and "facelib" not in before
        yield session
        after = session.versions()
        assert "facelib" in after
        assert {name: after[name] for name in before} == before
        assert session.conflicts() <= broken


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_run_all(chapter, session):
    content = session.folder / "content"  # the folder in which a notebook opens
    content.mkdir()
    shutil.copy(chapter, content)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "--rootdir=.", "-c", "/dev/null", "-p", "no:cacheprovider",
                           "--nbval-lax", f"--nbval-kernel-name={session.kernel}", "--nbval-cell-timeout=600", chapter.name],
                          cwd=content, env=session.env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert not done.returncode, done.stdout[-8000:]


# Colab shows a widget of ours only after it has been asked to: anywidget does so when the first one is made.
USE = """
import google.colab
from facelib import load_faces, load_pretrained, weights
from facelib.widgets.masking import MaskingDemo

assert len(load_faces("synthetic").test) and len(load_faces("generated").test)
for name in weights.names():
    load_pretrained(name)
MaskingDemo(load_pretrained("glcic_synthetic"))
assert google.colab.output._widgets._installed_url
"""


def test_the_package_installs_from_the_git_address(session, published):
    session.run("-m", "pip", "install", "-q", f"facelib[photos,train] @ git+{published[1]}")
    session.run("-c", USE)
