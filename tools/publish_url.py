"""Carry the repository's public address from pyproject.toml to every place that shows it.

    python tools/publish_url.py                                      carry the address of pyproject.toml again
    python tools/publish_url.py https://github.com/OWNER/NAME        write a new address there first

The address is written in one place, `Repository` under [project.urls] in pyproject.toml. This command copies it to the files
in PLACES, and gives every notebook in book/ its two head cells: the title with the Colab badge, and the install cell.
It needs nothing but Python, so it also serves to start a new chapter.
"""

import json
import re
import sys
from pathlib import Path

SOURCE = "pyproject.toml", r'(?m)^Repository = "(\S+)"$'
PLACES = [
    ("_config.yml", r"(?m)^  url: (\S+)$"),
    ("CITATION.cff", r"(?m)^repository-code: (\S+)$"),
    ("README.md", r"git clone (\S+)"),
    ("book/welcome.md", r"git clone (\S+)"),
]

BADGE = "[![Open this chapter in Colab](figures/open-in-colab.svg)]"
INSTALL = """\
import sys

if "google.colab" in sys.modules:  # on Colab: fetch the book, add what is missing; Colab's torch, numpy, ipywidgets stay
    ![ -d ~/facelib-book ] || git clone -q --depth 1 {address} ~/facelib-book
    %run ~/facelib-book/tools/colab.py"""


def head(path, address, title):
    """The two cells that every notebook begins with, as the notebook format's dictionaries."""
    colab = address.replace("https://github.com/", "https://colab.research.google.com/github/")
    badge = f"{title}\n\n{BADGE}({colab}/blob/main/book/{path.name})"
    return [
        {"cell_type": "markdown", "id": "title", "metadata": {}, "source": badge.splitlines(keepends=True)},
        {"cell_type": "code", "execution_count": None, "id": "install", "metadata": {"tags": ["remove-cell"]},
         "outputs": [], "source": INSTALL.format(address=address).splitlines(keepends=True)},
    ]


def notebook(path, address):
    """Write the head cells into one notebook; outputs and widget state, which are made at build time, are dropped."""
    book = json.loads(path.read_text(encoding="utf-8"))
    cells = book["cells"]
    first = "".join(cells[0]["source"]) if cells else ""
    title = first.splitlines()[0] if first.startswith("# ") else ""
    if not title:
        raise SystemExit(f"{path}: the first cell must be markdown that begins with '# Title', got {first[:40]!r}; "
                         "give the chapter a title first")
    rest = cells[1:]
    if rest and ("google.colab" in "".join(rest[0]["source"]) or rest[0].get("id") == "install"):
        rest = rest[1:]
    for cell in rest:
        if cell["cell_type"] == "code":
            cell.update(execution_count=None, outputs=[])
    # What an author wrote under the title in the first cell stays, in a cell of its own.
    below = [line for line in first.splitlines()[1:] if "open-in-colab.svg" not in line]
    text = "\n".join(below).strip()
    if text:
        rest.insert(0, {"cell_type": "markdown", "id": "opening", "metadata": {},
                        "source": text.splitlines(keepends=True)})
    book["cells"] = head(path, address, title) + rest
    book["metadata"] = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
                        "language_info": {"name": "python"}}
    book.update(nbformat=4, nbformat_minor=5)
    write(path, json.dumps(book, indent=1, ensure_ascii=False) + "\n")


def install(path, address):
    """Write the install cell of an assignment; all else in it is nbgrader's and its author's."""
    book = json.loads(path.read_text(encoding="utf-8"))
    for cell in book["cells"]:
        if cell.get("id") == "install":
            cell["source"] = INSTALL.format(address=address).splitlines(keepends=True)
    write(path, json.dumps(book, indent=1, ensure_ascii=False) + "\n")


def write(path, text):
    if path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
        print("written:", path)


def replace(path, pattern, address):
    """Put `address` where `pattern`'s group matches in the file, everywhere it matches."""
    text = path.read_text(encoding="utf-8")
    if not re.search(pattern, text):
        raise SystemExit(f"{path}: no line matches {pattern!r}, so the address has no place there; restore that line")
    write(path, re.sub(pattern, lambda m: m[0].replace(m[1], address), text))


def current(root):
    """The address that pyproject.toml names."""
    return re.search(SOURCE[1], (root / SOURCE[0]).read_text(encoding="utf-8"))[1]


def carry(root, address=None):
    """Copy the address (default: the one in pyproject.toml) to all places under `root` and return it."""
    source, pattern = root / SOURCE[0], SOURCE[1]
    if address is not None:
        if not re.fullmatch(r"https://github\.com/[\w.-]+/[\w.-]+", address) or address.endswith(".git"):
            raise SystemExit(f"URL must look like https://github.com/OWNER/NAME (Colab opens notebooks from GitHub), "
                             f"got {address!r}; leave out a closing slash or .git")
        replace(source, pattern, address)
    address = current(root)
    for name, place in PLACES:
        replace(root / name, place, address)
    for path in sorted((root / "book").glob("*.ipynb")):
        notebook(path, address)
    for path in sorted((root / "book").glob("assignments/*/*.ipynb")):
        install(path, address)
    return address


if __name__ == "__main__":
    print("address:", carry(Path(__file__).resolve().parents[1], *sys.argv[1:2]))
