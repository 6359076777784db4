"""A small Sphinx extension: figures in the prose of .md pages, read from the committed results when the page is built.

    {found}`glcic > variants > saturating loss > hole_psnr_change`       0.41 (0.37 to 0.44)
    {found}`benchmark > rows > method=glcic_64 hole=center > psnr_hole`  a row of a list, by what it holds
    {found}`card glcic_64 > images_seen : ,`                             a format; without one, two decimals
    {minutes}`holes-leak`                                                an exercise, and how long it takes
    {made}`glcic`                                                        the command that wrote the file

The first word is a file of book/results, or with "card" before it a card of facelib/weights. A mean comes with its 95 %
interval. A key that is not there is a warning, and warnings are errors: a figure cannot go stale silently.
"""

import json
import re
from functools import cache
from pathlib import Path

import exercises
from docutils import nodes
from sphinx.util import logging

ROOT = Path(__file__).resolve().parents[1]


@cache
def read(name):
    """A file of results, or the card of published weights. KeyError for neither."""
    card, _, weights = name.partition("card ")
    path = ROOT / "book" / "results" / f"{name}.json" if card else ROOT / "facelib" / "weights" / f"{weights}.json"
    if not path.is_file():
        raise KeyError(name)
    return json.loads(path.read_text(encoding="utf-8"))


def look(path):
    """The value at "file > key > key"; in a list "key=text key=text" names a row. KeyError, says which."""
    name, *steps = (step.strip() for step in path.split(" > "))
    value = read(name)
    for step in steps:
        try:
            if isinstance(value, list):
                wanted = dict(re.findall(r"(\w+)=(.+?)(?= \w+=|$)", step))
                value = next(row for row in value if wanted and all(str(row.get(k)) == text for k, text in wanted.items()))
            else:
                value = value[step]
        except (KeyError, TypeError, ValueError, StopIteration):
            raise KeyError(f"{step!r} of {path!r}") from None
    return value


def told(text):
    """What a role says: "path" or "path : format" -> the figure as text, a mean with its interval."""
    path, _, form = text.partition(" : ")
    value = look(path.strip())
    say = lambda number: format(number, form.strip() or ".2f").replace("-", "\N{MINUS SIGN}")
    if isinstance(value, dict):
        return f"{say(value['mean'])} ({say(value['low'])} to {say(value['high'])})"
    return value if isinstance(value, str) else say(value)


@cache
def times():
    """How many minutes each exercise takes: slug -> minutes."""
    return {each.slug: each.minutes for chapter in exercises.chapters() for each in exercises.exercises(chapter)}


def role(say):
    """A role out of a function: the role's text -> nodes. A key that is not there becomes a warning."""
    def read_role(name, rawtext, text, lineno, inliner, options=None, content=None):
        try:
            return say(text.strip()), []
        except (KeyError, ValueError) as error:
            place = inliner.document["source"], lineno
            logging.getLogger(__name__).warning("nothing to say for %s: %s", rawtext, error, location=place)
            return [nodes.problematic(rawtext, rawtext)], []

    return read_role


def setup(app):
    app.add_role("found", role(lambda text: [nodes.inline(text, told(text), classes=["figure-found"])]))
    app.add_role("made", role(lambda text: [nodes.literal(text, read(text)["command"])]))
    app.add_role("minutes", role(lambda text: [nodes.literal(text, text), nodes.Text(f" ({times()[text]} min)")]))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
