"""What the notebooks and book/solutions say about the exercises; the pages and the tests read it here.

An exercise is a `{exercise}` block in a markdown cell, `Predict: title`, `Modify: title` or `Derive: title`, with its slug as
label and `*About 10 minutes.*` as its first line; the next code cell holds what a reader starts from and ends with
`check.ex("slug", answer)`. Its solution is the section `## slug` of book/solutions/CHAPTER.md.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[1]
KINDS = ("Predict", "Modify", "Derive")
BLOCK = re.compile(r"```\{exercise\} (?P<kind>\w+): (?P<title>.+)\n:label: (?P<slug>\S+)\n\n"
                   r"\*About (?P<minutes>\d+) minutes\.\*")


@dataclass(frozen=True)
class Exercise:
    chapter: str   # the notebook's name, without .ipynb
    slug: str
    kind: str      # one of KINDS
    title: str     # after the kind
    minutes: int
    cell: int      # which of the notebook's cells holds the starter and the call of check.ex
    starter: str   # that cell's code


def chapters():
    """The notebooks' names in the order of _toc.yml, with their titles."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    paths = [ROOT / f"{chapter['file']}.ipynb" for part in toc["parts"] for chapter in part["chapters"]]
    return {path.stem: cells(path.stem)[0]["source"].splitlines()[0].removeprefix("# ") for path in paths if path.exists()}


def cells(chapter):
    """A notebook's cells, each with its source as one string."""
    book = json.loads((ROOT / "book" / f"{chapter}.ipynb").read_text(encoding="utf-8"))
    return [cell | {"source": "".join(cell["source"])} for cell in book["cells"]]


def exercises(chapter):
    """The exercises of one notebook, in its order. ValueError where a block or its cell does not keep to the form above."""
    found, book = [], cells(chapter)
    for number, cell in enumerate(book):
        if cell["cell_type"] != "markdown" or "```{exercise}" not in cell["source"]:
            continue
        match = BLOCK.search(cell["source"])
        if not match or match["kind"] not in KINDS or cell["source"].count("```{exercise}") > 1:
            raise ValueError(f"{chapter}, cell {number}: expected one exercise, its kind ({', '.join(KINDS)}), its label and "
                             f"*About N minutes.*; got {cell['source'][-300:]!r}")
        starter = book[number + 1]
        if starter["cell_type"] != "code" or f'check.ex("{match["slug"]}", answer);' not in starter["source"]:
            raise ValueError(f"{chapter}: the cell after {match['slug']} must call check.ex(\"{match['slug']}\", answer);")
        found.append(Exercise(chapter, match["slug"], match["kind"], match["title"], int(match["minutes"]), number + 1,
                              starter["source"]))
    return found


def solutions(chapter):
    """The sections of book/solutions/CHAPTER.md: slug -> Markdown."""
    text = (ROOT / "book" / "solutions" / f"{chapter}.md").read_text(encoding="utf-8")
    parts = re.split(r"(?m)^## (\S+)\n", text)[1:]
    return {slug: section.strip() for slug, section in zip(parts[::2], parts[1::2], strict=True)}


def code(section):
    """The Python of a solution's section, which defines `answer`."""
    blocks = re.findall(r"(?ms)^```python\n(.*?)^```$", section)
    if len(blocks) != 1:
        raise ValueError(f"expected one ```python block in a solution, got {len(blocks)}: {section[:200]!r}")
    return blocks[0]


def mistakes(section):
    """The usual wrong answers that a solution's section lists, each a Python expression at the head of a list item."""
    return re.findall(r"(?m)^- `([^`]+)`:", section)
