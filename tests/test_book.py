"""The book as a reader gets it: its sources are clean, and its built pages have no error, dead link or silent picture."""

import ast
import json
import re
from pathlib import Path
from urllib.parse import unquote, urlsplit

import publish_url
import pytest
import test_reference
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOKS = sorted((ROOT / "book").glob("*.ipynb"))
# What a page may ask of other hosts where npm could not fetch it for _vendor/ at build time, and nothing else.
PUBLIC_SCRIPTS = re.compile(
    r"https://cdn\.jsdelivr\.net/npm/(mathjax@|@jupyter-widgets/html-manager@|anywidget@)"
    r"|https://cdnjs\.cloudflare\.com/ajax/libs/require\.js/")


@pytest.fixture(scope="module")
def pages(html):
    """Every built page, parsed: path below _build/html -> its soup."""
    return {path.relative_to(html).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
            for path in sorted(html.rglob("*.html")) if "_static" not in path.parts}


def toc_files():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text())
    chapters = [chapter for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *(page["file"] for chapter in chapters for page in (chapter, *chapter.get("sections", ())))]


def test_toc_lists_every_source_once():
    listed = toc_files()
    sources = [*(ROOT / "book").iterdir(), *(ROOT / "book" / "api").iterdir()]
    there = sorted(p.relative_to(ROOT).with_suffix("").as_posix() for p in sources if p.suffix in (".md", ".ipynb"))
    assert sorted(listed) == there


def test_there_are_notebooks():
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_committed_clean_and_begins_with_the_head(path):
    book = json.loads(path.read_text(encoding="utf-8"))
    assert set(book["metadata"]) <= {"kernelspec", "language_info"}
    ids = [cell["id"] for cell in book["cells"]]
    assert len(ids) == len(set(ids)), "two cells have one id"
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None, f"cell {cell['id']} stores outputs"
    address = re.search(publish_url.SOURCE[1], (ROOT / "pyproject.toml").read_text())[1]
    title = "".join(book["cells"][0]["source"]).splitlines()[0]
    expected = publish_url.head(path, address, title)
    assert book["cells"][:2] == expected, "the head differs; run python tools/publish_url.py"
    headings = [line for cell in book["cells"] if cell["cell_type"] == "markdown"
                for line in re.sub(r"(?ms)^```.*?^```", "", "".join(cell["source"])).splitlines() if line.startswith("# ")]
    assert headings == [title], "a chapter has one title"


def test_bibliography_is_sorted_and_every_cited_key_is_in_it():
    entries = (ROOT / "book/references.bib").read_text(encoding="utf-8")
    assert "\\href" not in entries, "a page shows \\href as it is written, too wide for a phone; use howpublished = {arXiv:...}"
    keys = re.findall(r"(?m)^@\w+\{(\S+),", entries)
    assert keys == sorted(keys) and len(keys) == len(set(keys))
    for path in (ROOT / "book").iterdir():
        if path.suffix in (".md", ".ipynb"):
            for cited in re.findall(r"\{(?:foot)?cite(?::\w+)?\}`([^`]+)`", path.read_text(encoding="utf-8")):
                assert set(cited.replace(" ", "").split(",")) <= set(keys), f"{path.name} cites {cited}"


def test_every_source_has_its_page(pages):
    assert {f"{name}.html" for name in toc_files()} <= set(pages)


def test_reference_has_every_public_name(pages):
    """Each module, class, function, documented method and constant has its place, each field of a configuration its line."""
    found = {name: soup for name, soup in pages.items() if name.startswith("book/api/")}
    places = {tag["id"] for soup in found.values() for tag in soup.select("[id]")}
    missing = []
    for module, tree in test_reference.modules():
        missing += [module] if f"module-{module}" not in places else []
        for node in test_reference.public(tree.body):
            missing += [f"{module}.{node.name}"] if f"{module}.{node.name}" not in places else []
            if isinstance(node, ast.ClassDef):
                documented = [f.name for f in test_reference.public(node.body) if ast.get_docstring(f)]
                missing += [f"{module}.{node.name}.{name}" for name in documented if f"{module}.{node.name}.{name}" not in places]
                if "dataclass" in ast.unparse(ast.Module(node.decorator_list, [])):
                    soup = next(s for s in found.values() if s.find(id=f"{module}.{node.name}"))
                    told = soup.find(id=f"{module}.{node.name}").find_next_sibling("dd").get_text()
                    missing += [f"{module}.{node.name}.{name}" for name, _ in test_reference.constants(node.body)
                                if not re.search(rf"(?m)^{name}( =|$|:)", told)]
        missing += [f"{module}.{name}" for name, _ in test_reference.constants(tree.body) if f"{module}.{name}" not in places]
    assert not missing, "\n".join(missing)
    assert "/home/" not in str(found) and str(ROOT) not in str(found), "a default shows a path of this machine"


def test_no_page_shows_an_error_or_a_warning(pages):
    for name, soup in pages.items():
        assert not soup.select(".output.traceback, .output.error, .output.stderr, .system-message, .problematic"), name
        for output in soup.select(".cell_output"):
            assert "Traceback (most recent call last)" not in output.text, name


def test_no_markup_is_left_unread(pages):
    for name, soup in pages.items():
        for code in soup.select("pre, code, script, style"):
            code.extract()
        article = soup.select_one("article")
        text = article.get_text() if article else ""
        assert not re.search(r"\{[a-z]+(:[a-z]+)*\}`|\[\^\w+\]|(?m:^\s*:::|^\s*```)", text), name


def test_internal_links_and_files_resolve(pages, html):
    missing = []
    ids = {name: {tag[key] for key in ("id", "name") for tag in soup.select(f"[{key}]")} for name, soup in pages.items()}
    for name, soup in pages.items():
        for tag in soup.select("a[href], link[href], img[src], script[src], source[src], video[src]"):
            target = tag.get("href") or tag.get("src")
            parts = urlsplit(target)
            if parts.scheme or parts.netloc or target in ("", "#"):
                continue
            path = (html / name).parent / unquote(parts.path) if parts.path else html / name
            path = path.resolve()
            if path.is_dir():
                path /= "index.html"
            inside = path.relative_to(html.resolve()).as_posix() if path.is_relative_to(html.resolve()) else None
            if inside is None or not path.exists():
                missing.append(f"{name}: {target}")
            elif parts.fragment and inside in ids and unquote(parts.fragment) not in ids[inside]:
                missing.append(f"{name}: no such place: {target}")
    assert not missing, "\n".join(missing)


def test_every_picture_has_alt_text(pages):
    for name, soup in pages.items():
        for image in soup.select("img:not([role=presentation])"):   # those are marked as decoration
            alt = image.get("alt", "").strip()
            assert alt, f"{name}: {str(image)[:160]}"
            # Sphinx puts the file's address where nothing was said.
            assert not alt.startswith(("../", "_images", "data:")), f"{name}: alt is the address {alt[:80]!r}"


def test_alt_texts_of_figures_say_what_is_to_be_seen(pages):
    empty = re.compile(r"(?i)((an?|the|this) )?(figure|image|picture|photo|plot|chart|graph|screenshot)s? (of|show)")
    for name, soup in pages.items():
        said = {}
        # The pictures of a widget's steps have their words beside them.
        for image in soup.select("article figure img, article .cell_output .text_html > img"):
            alt = image["alt"].strip()
            assert len(alt.split()) >= 8 and not empty.match(alt), f"{name}: {alt!r}"
            assert said.setdefault(alt, image["src"]) == image["src"], f"{name}: two figures have the alt {alt!r}"
            beside = [image.find_previous(["h1", "h2", "h3", "h4"]), *image.find_parent().select("figcaption")]
            for words in (" ".join(tag.get_text(" ", strip=True).split()) for tag in beside):
                assert alt.casefold().strip(".") not in words.casefold(), f"{name}: the alt repeats {words!r}"


def test_pages_ask_nothing_of_other_hosts(pages, root):
    vendored = (root / "_vendor" / "assets").is_dir()
    for name, soup in pages.items():
        for tag in soup.select("img[src], script[src], link[rel=stylesheet][href], iframe[src], video[src], source[src]"):
            target = tag.get("src") or tag.get("href")
            if urlsplit(target).scheme in ("http", "https") or target.startswith("//"):
                assert not vendored and PUBLIC_SCRIPTS.match(target), f"{name} asks for {target}"


def test_launch_buttons_and_footer(pages):
    address = re.search(publish_url.SOURCE[1], (ROOT / "pyproject.toml").read_text())[1]
    slug = address.removeprefix("https://github.com/")
    for path in NOTEBOOKS:
        soup = pages[f"book/{path.stem}.html"]
        links = {a["href"] for a in soup.select("a[href*='colab.research.google.com']")}
        assert links == {f"https://colab.research.google.com/github/{slug}/blob/main/book/{path.name}"}
        assert soup.select_one("a[rel=license]")
    for name, soup in pages.items():
        if (ROOT / name).with_suffix(".md").exists():
            assert not soup.select(".dropdown-launch-buttons"), f"{name} offers to open a page on Colab that is no notebook"
