"""What holds for every test: no window is opened, and nothing is written outside the repository's own folders."""

import datetime
import io
import os
import shutil
import tempfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

os.environ.setdefault("MPLBACKEND", "agg")
if "FACELIB_CACHE" not in os.environ:
    # The user's cache folder must neither help a test to pass nor be filled by one. Removed when the interpreter ends.
    _cache = tempfile.TemporaryDirectory(prefix="facelib-tests-")
    os.environ["FACELIB_CACHE"] = _cache.name


@pytest.fixture(scope="session")
def root():
    """The repository's top folder."""
    return ROOT


@pytest.fixture(scope="session")
def html(root):
    """The built book, _build/html."""
    folder = root / "_build" / "html"
    if not (folder / "index.html").exists():
        pytest.fail(f"the book has not been built: {folder.relative_to(root)} holds no index.html; run make book first")
    return folder


@pytest.fixture(scope="module")
def browser():
    """A browser for pages made by a test; without one the test is skipped."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = os.environ.get("FACELIB_CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    with playwright.sync_playwright() as p:
        try:
            browser = p.chromium.launch(executable_path=path, args=["--no-sandbox"])
        except playwright.Error as error:
            pytest.skip(f"no browser to run: {error}")
        yield browser
        browser.close()


@pytest.fixture
def upload():
    """upload(part, name, content): what a browser does with a file for a `widgets.upload.Upload`.

    content: bytes, or a picture, uint8 (H, W, 3), which goes as JPEG. ipywidgets 8 gets the value, 7 the parts of which it
    makes the value.
    """
    from PIL import Image

    def upload(part, name, content):
        if not isinstance(content, bytes):
            buffer = io.BytesIO()
            Image.fromarray(content).save(buffer, "JPEG")
            content = buffer.getvalue()
        if hasattr(part.button, "metadata"):
            part.button.metadata, part.button.data = [{"name": name}], [content]
            part.button._counter += 1
        else:
            part.button.value = ({"name": name, "type": "image/jpeg", "size": len(content), "content": content,
                                  "last_modified": datetime.datetime.now(datetime.UTC)},)

    return upload
