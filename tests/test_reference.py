"""The reference pages: everything public is on them, and what they tell of weights, data and sources is so."""

import ast
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "facelib"
# Told by their class: a network's docstring says what `forward` takes and gives, `Method` what the others are for.
BY_CLASS = {"forward", "build", "phases", "step", "adopt", "preview"}
# A parameter of this name is a tensor, and whoever takes it says of which shape.
TENSORS = {"image", "images", "mask", "masks", "latents", "completed", "pred"}


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__":
            yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), ast.parse(path.read_text(encoding="utf-8"))


def public(body):
    return [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


def constants(body):
    """Names that a module or a class assigns, with the statement."""
    for node in body:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        yield from ((n.id, node) for t in targets for n in ast.walk(t) if isinstance(n, ast.Name) and not n.id.startswith("_"))


def test_public_methods_have_a_docstring_or_are_told_by_their_class():
    silent = []
    for module, tree in modules():
        for cls in [n for n in public(tree.body) if isinstance(n, ast.ClassDef)]:
            silent += [f"{module}.{cls.name}.{f.name}" for f in public(cls.body) if f.name not in BY_CLASS
                       and not ast.get_docstring(f) and f"`{f.name}`" not in ast.get_docstring(cls)]
    assert not silent, "\n".join(silent)


def test_docstrings_of_what_takes_tensors_say_their_shape():
    """Its own docstring, its class's or its room's, whose convention it shares, holds a shape such as (B, 3, H, W)."""
    shape = re.compile(r"\((B|N|n|1|P|\.\.\.)(, [\w .*/+-]+)*,?\)|same shape")
    silent = []
    for module, tree in modules():
        if module.startswith(("facelib.cli", "facelib.photo")):  # their pictures and masks are files
            continue
        of_module = ast.get_docstring(tree) or ""
        for node in public(tree.body):
            for f in [node] if isinstance(node, ast.FunctionDef) else public(node.body):
                said = ast.get_docstring(f) or ""
                if said and f.name not in BY_CLASS and TENSORS & {a.arg for a in f.args.args + f.args.kwonlyargs}:
                    of_class = "" if f is node else ast.get_docstring(node) or ""
                    if not shape.search(said + of_class + of_module):
                        silent.append(f"{module}.{'' if f is node else node.name + '.'}{f.name}")
    assert not silent, "\n".join(silent)
