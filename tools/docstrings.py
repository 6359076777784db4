"""A small Sphinx extension: the package's docstrings and comments as autodoc shows them on the pages of the API reference.

Docstrings are plain text with `code` in backticks, so that they read well in a terminal and on Colab. Here they become
reStructuredText, and the fields of configurations and the constants of a module get the comments that stand beside them.
"""

import ast
import dataclasses
import functools
import inspect
import io
import re
import sys
import tokenize
from pathlib import Path

NAME = re.compile(r"[A-Za-z_][\w.]*")


def text(words):
    """A paragraph: `code` becomes code, a link where it is a name that the reference has; all else stays as it is."""
    parts = []
    for i, part in enumerate(re.split(r"`([^`]+)`", words)):
        if i % 2 == 0:
            # Strings and options of the command line are code too: quotation marks stay straight, and "--" two hyphens.
            for j, piece in enumerate(re.split(r'((?<!\w)"[^\s"]+"(?!\w)|(?<![\w-])--[a-z][\w-]*)', part)):
                parts.append(rf"\ ``{piece}``\ " if j % 2 else re.sub(r"([\\*|_`])", r"\\\1", piece))
        elif NAME.fullmatch(part):
            parts.append(rf"\ :py:obj:`{part}`\ ")
        else:
            parts.append(rf"\ ``{part}``\ ")
    # A paragraph of a docstring is no list and no field, whatever it begins with.
    line = "".join(parts).strip().removeprefix("\\ ")
    return "\\" + line if re.match(r"[-+:.]", line) else line


def rst(docstring):
    """The lines of a docstring as reStructuredText: paragraphs, lists with "- ", and blocks that are set in."""
    lines = []
    for block in re.split(r"\n\s*\n", docstring.rstrip()):
        if block.startswith("    "):
            lines += [".. code-block:: text", "", *block.split("\n"), ""]
        elif block.startswith("- "):
            lines += [f"- {text(' '.join(item.split()))}" for item in re.split(r"(?:^|\n)- ", block)[1:]] + [""]
        else:
            lines += [text(" ".join(block.split())), ""]
    return lines


@functools.cache
def comments(path):
    """Line number -> (column, words) of every comment of a file."""
    tokens = tokenize.generate_tokens(io.StringIO(Path(path).read_text(encoding="utf-8")).readline)
    return {t.start[0]: (t.start[1], t.string.lstrip("# ")) for t in tokens if t.type == tokenize.COMMENT}


def assignments(path, body):
    """The public names that statements assign -> [(name, the statement, the comment beside or above it)]."""
    said, source = comments(path), Path(path).read_text(encoding="utf-8").splitlines()

    def alone(line):
        return line in said and source[line - 1].lstrip().startswith("#")

    found = []
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        names = [n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and not n.id.startswith("_")]
        beside = [line for line in (node.lineno, node.end_lineno) if line in said][:1]
        if beside:
            last = node.end_lineno
            while alone(last + 1) and said[last + 1][0] > node.col_offset:  # the comment goes on below
                beside.append(last := last + 1)
        else:
            first = node.lineno
            while alone(first - 1) and said[first - 1][0] == node.col_offset:
                beside.insert(0, first := first - 1)
        found += [(name, node, " ".join(said[line][1] for line in beside)) for name in names]
    return found


def constants(found):
    """Lines that describe the constants of a module: each with its value, where that is short, and its comment."""
    lines = []
    for name, node, said in found:
        value = ast.unparse(node.value)
        lines += [f".. py:data:: {name}", *([f"   :value: {value}"] if len(value) <= 60 else []), "", f"   {text(said)}", ""]
    return lines


def fields(found):
    """A list of the fields of a dataclass: each with its default and its reason."""
    lines = []
    for name, node, said in found:
        default = "" if node.value is None else f" = {ast.unparse(node.value)}"
        lines.append(f"- ``{name}{default}``{': ' if said else ''}{text(said)}")
    return [*lines, ""]


def body_of(obj):
    """(file, statements) of a module or class."""
    path = inspect.getsourcefile(obj)
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    if inspect.ismodule(obj):
        return path, tree.body
    return path, next(n.body for n in tree.body if isinstance(n, ast.ClassDef) and n.name == obj.__name__)


def elsewhere(module):
    """A line about the names that a package offers from its rooms, with links to where they are described."""
    homes = dict(getattr(module, "_HOMES", {}))
    for node in body_of(module)[1]:
        if isinstance(node, ast.ImportFrom):
            home = ".".join([module.__name__, *([node.module] if node.module else [])]) if node.level else node.module
            homes |= {alias.asname or alias.name: home for alias in node.names}
    names = [name for name in getattr(module, "__all__", ()) if homes.get(name, "").startswith("facelib")]
    links = ", ".join(f":py:obj:`{name} <{homes[name]}.{name}>`" for name in names
                      if hasattr(sys.modules.get(homes[name], module), name) and homes[name] != module.__name__)
    return [f"Offered here as well: {links}.", ""] if links else []


def show(app, what, name, obj, options, lines):
    lines[:] = rst("\n".join(lines)) if "".join(lines).strip() else []
    if what == "module":
        lines += elsewhere(obj) if hasattr(obj, "__path__") else []
        lines += constants(assignments(*body_of(obj)))
    elif what == "class" and dataclasses.is_dataclass(obj):
        lines += fields(assignments(*body_of(obj)))


def shorten(app, what, name, obj, options, signature, returned):
    # The fields of a dataclass follow with their values and reasons.
    return ("", returned) if what == "class" and dataclasses.is_dataclass(obj) else None


def skip(app, what, name, obj, skipped, options):
    # A field whose default is a function is described as a field.
    return True if what == "class" and inspect.isfunction(obj) and "." not in obj.__qualname__ else None


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", show)
    app.connect("autodoc-process-signature", shorten)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
