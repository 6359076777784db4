"""What holds for every test: no window is opened, and nothing is written outside the repository's own folders."""

import datetime
import functools
import io
import os
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import browser as browser_tool
import pytest

ROOT = Path(__file__).resolve().parents[1]
WIDTHS = {"desktop": (1280, 900), "phone": (360, 740)}  # of a page, in CSS pixels

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
    """A Chromium; without one the test is skipped (`make browser` has looked for one before)."""
    playwright = pytest.importorskip("playwright.sync_api")
    path = browser_tool.find()
    if path is None:
        pytest.skip("no Chromium was found; install one (Debian: apt-get install chromium) or set CHROMIUM to its path")
    with playwright.sync_playwright() as p:
        # A root user, as in a container, has no sandbox to run it in.
        browser = p.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-dev-shm-usage"])
        yield browser
        browser.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


class Server(ThreadingHTTPServer):
    request_queue_size = 128  # a page asks for more at once than the five that would be kept waiting


@pytest.fixture(scope="module")
def address(html):
    server = Server(("127.0.0.1", 0), functools.partial(Quiet, directory=html))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def open_page(browser, address, name, width):
    """-> (the opened page, its errors, the requests it made to other hosts, which are refused)."""
    size = dict(zip(("width", "height"), WIDTHS[width], strict=True))
    context = browser.new_context(viewport=size, is_mobile=width == "phone", has_touch=width == "phone", reduced_motion="reduce")
    page, errors, outside = context.new_page(), [], []
    # The pages must stand alone: other hosts are never reached from a test.
    page.route(lambda url: not url.startswith((address, "data:", "blob:")),
               lambda route: (outside.append(route.request.url), route.abort()))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text)
            if message.type == "error" and message.location.get("url", "").startswith(address) else None)
    page.on("response", lambda response: errors.append(f"{response.status}: {response.url}")
            if response.status >= 400 else None)
    page.goto(f"{address}/{name}", wait_until="load")
    page.wait_for_load_state("networkidle")
    return page, errors, outside


@pytest.fixture
def visit(browser, address):
    """visit(page, width) -> (the opened page, its errors, the requests it made to other hosts, which are refused)."""
    contexts = []

    def visit(name, width):
        found = open_page(browser, address, name, width)
        contexts.append(found[0].context)
        return found

    yield visit
    for context in contexts:
        context.close()


@pytest.fixture(scope="session")
def axe(root):
    """axe(page, **options) -> what axe-core finds wrong with an opened page as it stands, a line each; options: axe.run's."""
    script = root / "_vendor" / "test" / "axe.min.js"
    if not script.exists():
        pytest.skip("axe-core is not there: tools/vendor.sh fetches it where npm reaches its registry")

    def axe(page, **options):
        if not page.evaluate("() => Boolean(window.axe)"):
            page.evaluate(script.read_text(encoding="utf-8"))
        return page.evaluate("""async (options) => (await axe.run(document, options)).violations.flatMap((rule) =>
          rule.nodes.map((node) => `${rule.impact} ${rule.id}: ${node.target}: ${node.failureSummary}`))""",
                             {"resultTypes": ["violations"], **options})

    return axe


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
