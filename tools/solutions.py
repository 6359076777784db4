"""A Sphinx extension: the page of all exercises, and the instructors' edition of the book.

The table of book/exercises.md is made from the notebooks. With FACELIB_BOOK=instructor in the environment, as in
`make book-instructor`, each exercise is followed by its solution, closed, and each page says which edition it is. Cells are
added while Sphinx reads a notebook, and markdown cells only: the cache of executed notebooks, which knows code, still fits.
"""

import json
import os

from exercises import KINDS, ROOT, chapters, exercises, solutions

INSTRUCTOR = os.environ.get("FACELIB_BOOK") == "instructor"
MARK = "<!-- all exercises -->"
NOTICE = "Instructors' edition, with solutions. Students read the other one."


def table():
    """Markdown: what each chapter asks for, then its exercises one by one."""
    head = ["| chapter | minutes | " + " | ".join(kind.lower() for kind in KINDS) + " |", "| :-- | --: | --: | --: | --: |"]
    parts, every = [], []
    for chapter, title in chapters().items():
        here = exercises(chapter)
        every += here
        head.append(row(f"{{doc}}`{chapter}`", here))
        parts += ["", f"## {title}", "", "| exercise | kind | minutes | slug |", "| :-- | :-- | --: | :-- |"]
        parts += [f"| {{ref}}`{e.title} <{e.slug}>` | {e.kind.lower()} | {e.minutes} | `{e.slug}` |" for e in here]
    return "\n".join([*head, row("all", every), *parts, ""])


def row(name, some):
    counts = [sum(e.kind == kind for e in some) for kind in KINDS]
    return f"| {name} | " + " | ".join(str(n) for n in [sum(e.minutes for e in some), *counts]) + " |"


def fill_table(app, docname, source):
    if MARK in source[0]:
        for chapter in chapters():
            app.env.note_dependency(f"book/{chapter}.ipynb")
        source[0] = source[0].replace(MARK, table())


def add_solutions(app, docname, source):
    chapter = docname.removeprefix("book/")
    if chapter not in chapters():
        return
    app.env.note_dependency(f"book/solutions/{chapter}.md")
    book, solved = json.loads(source[0]), solutions(chapter)
    for exercise in reversed(exercises(chapter)):
        text = f"::::{{dropdown}} Solution: {exercise.slug}\n\n{solved[exercise.slug]}\n::::"
        book["cells"].insert(exercise.cell + 1, {"cell_type": "markdown", "id": f"solution-{exercise.slug}", "metadata": {},
                                                 "source": text})
    source[0] = json.dumps(book)


def share_the_cache(app, config):
    config.nb_execution_cache_path = str(ROOT / "_build" / ".jupyter_cache")


def say_which_edition(app, config):
    config.html_theme_options["announcement"] = NOTICE


def setup(app):
    app.connect("source-read", fill_table)
    if INSTRUCTOR:
        app.connect("config-inited", share_the_cache, priority=400)
        app.connect("config-inited", say_which_edition, priority=400)
        app.connect("source-read", add_solutions)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
