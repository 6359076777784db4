"""A small Sphinx extension: the pages of the reference that are made of the package, its weights' cards and its data.

These pages are Markdown with Jinja's `{{ ... }}` and `{% for ... %}`; what they may name is in PAGES.
"""

import importlib
import pkgutil

import jinja2


def modules(*rooms):
    """Markdown that describes these rooms of the package, each with the rooms inside it."""
    names = []
    for room in rooms:
        name = f"facelib.{room}" if room else "facelib"
        module = importlib.import_module(name)
        names.append(name)
        if room and hasattr(module, "__path__"):
            names += [m.name for m in pkgutil.walk_packages(module.__path__, name + ".") if not m.name.endswith("__main__")]
    return "\n".join(f"## `{name}`\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in names)


def of_page(name):
    """What a page may name."""
    if name.startswith("book/api/"):
        return {"modules": modules}
    return None


def render(app, page, source):
    names = of_page(page)
    if names is not None:
        environment = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
        source[0] = environment.from_string(source[0]).render(names)


def setup(app):
    app.connect("source-read", render)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
