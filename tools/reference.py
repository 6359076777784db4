"""A small Sphinx extension: reference pages that are made of the package, its weights' cards, its data and the bibliography.

These pages are Markdown with Jinja's `{{ ... }}` and `{% for ... %}`. What a page may name is the answer of its function in
PAGES, worked out when the page is built: no figure of theirs is typed.
"""

import functools
import importlib
import inspect
import json
import pkgutil
import re
from pathlib import Path

import jinja2
import numpy as np
import torch
import yaml

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
CHEEKS = (slice(34, 40), (slice(18, 25), slice(39, 46)))        # rows and columns in a face of 64x64 pixels


def escaped(words):
    """Plain words as Markdown that shows them; `code` stays code, and --options become it."""
    parts = re.split(r"`([^`]+)`|(?<![\w-])(--[a-z][\w-]*)", words)
    return "".join(re.sub(r"([\\*_<>\[\]{}|#])", r"\\\1", part) if i % 3 == 0 else f"`{part}`"
                   for i, part in enumerate(parts) if part)


def api():
    def modules(*rooms):
        """Rooms of the package, each with the rooms inside it; "" is the package alone."""
        names = []
        for room in rooms:
            names.append(f"facelib.{room}".rstrip("."))
            inside = getattr(importlib.import_module(names[-1]), "__path__", ()) if room else ()
            names += [m.name for m in pkgutil.walk_packages(inside, names[-1] + ".") if not m.name.endswith("__main__")]
        return "\n".join(f"## {name}\n\n```{{eval-rst}}\n.. automodule:: {name}\n```\n" for name in names)

    return {"modules": modules}


def commands():
    """The commands, each with its options, out of signature and docstring, which is where `--help` has them from too."""
    import docstring_parser

    from facelib.cli import COMMANDS

    found = []
    for name, function in COMMANDS.items():
        said = docstring_parser.parse(inspect.getdoc(function))
        told = {p.arg_name: " ".join(p.description.split()) for p in said.params}
        options = []
        for key, parameter in inspect.signature(function).parameters.items():
            place = parameter.kind is parameter.POSITIONAL_ONLY
            default = parameter.default
            if default is True:
                flag, default = f"--no-{key.replace('_', '-')}", None
            else:
                flag = key.upper() if place else "--" + key.replace("_", "-")
            if default in ("", ()) or default is None or default is False or default is parameter.empty:
                default = ""
            elif isinstance(default, tuple):
                default = " ".join(map(str, default))
            needed = not place and parameter.default is parameter.empty
            options.append({"flag": flag, "place": place, "default": default, "text": escaped(told[key]), "needed": needed})
        about = [" ".join(part.split()) for part in (said.short_description, *(said.long_description or "").split("\n\n"))]
        found.append({"name": name, "about": [escaped(part) for part in about if part], "options": options})
    return {"commands": found}


def bibliography():
    """Every entry of references.bib as Markdown, with the pages that cite it."""
    from pybtex.database import parse_file
    from pybtex.plugin import find_plugin

    style, markdown = find_plugin("pybtex.style.formatting", "unsrt")(), find_plugin("pybtex.backends", "markdown")()
    cited = {}
    for path in [*BOOK.glob("*.ipynb"), *BOOK.glob("*.md")]:
        for keys in re.findall(r"\{(?:foot)?cite(?::\w+)?\}`([^`]+)`", path.read_text(encoding="utf-8")):
            for key in keys.replace(" ", "").split(","):
                cited.setdefault(key, set()).add(path.stem)
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    order = [toc["root"], *(chapter["file"] for part in toc["parts"] for chapter in part["chapters"])]
    entries = parse_file(BOOK / "references.bib").entries.values()
    return {"entries": [{"key": entry.key, "text": " ".join(entry.text.render(markdown).split()),
                         "pages": [Path(page).stem for page in order if Path(page).stem in cited.get(entry.key, ())]}
                        for entry in style.format_entries(list(entries))]}


def models():
    """The cards of all published weights, with what models.yml says of them and what their methods do."""
    from facelib import weights
    from facelib.methods import method_class

    written = yaml.safe_load((BOOK / "models.yml").read_text(encoding="utf-8"))
    cards = []
    for name in weights.names():
        card = weights.card(name)
        about = (inspect.getdoc(method_class(card["method"])) or "").split("\n\n")[0]
        cards.append({**card, **written[name], "about": escaped(" ".join(about.split())), "measured": measured(card["metrics"]),
                      "config": json.dumps(card["config"], indent=1), "open": card["licence"].startswith(("CC", "BSD"))})
    return {"cards": cards, "total": sum(card["bytes"] for card in cards)}


def measured(metrics):
    """The chief figures of a card -> {"head": columns, "rows": rows of text}, without rows where it has none."""
    def cell(value, form):
        value = value["mean"] if isinstance(value, dict) else value
        return "" if value is None else format(value, form)

    tables = (
        ("psnr_hole", ("hole", "PSNR in the hole, dB", "FD-attr", "identity distance"),
         (("psnr_hole", ".2f"), ("fd_attr", ".1f"), ("identity", ".3f"))),
        ("consistency", ("answer", "PSNR, dB", "FD-attr", "consistency"),
         (("psnr", ".2f"), ("fd_attr", ".1f"), ("consistency", ".2f"))),
        ("fd_attr_train", ("of", "FD-attr", "KD-attr"), (("fd_attr", ".1f"), ("kd_attr", ".2f"))),
        ("majority", ("of", "right, mean of 40", "by the majority alone"), (("mean", ".1%"), ("majority", ".1%"))),
    )
    parts = {key: value for key, value in metrics.items() if isinstance(value, dict)}
    for mark, head, columns in tables:
        rows = [[key.replace("_", " "), *(cell(value[column], form) for column, form in columns)]
                for key, value in parts.items() if mark in value]
        if rows:
            return {"head": head, "rows": rows, "verification": parts.get("verification")}
    return {"head": (), "rows": [], "verification": None}


def datasets():
    """Counts and shares of the data sets that ship, and the committed ones of CelebA."""
    from facelib import features
    from facelib.data import ATTRIBUTES, load_faces
    from facelib.data.synthetic import FACTORS

    rendered, generated, digits = load_faces("synthetic"), load_faces("generated"), load_faces("digits")
    celeba = json.loads((BOOK / "results" / "celeba_attributes.json").read_text(encoding="utf-8"))
    with torch.no_grad():
        judged = (features.load("judge_attr").logits(generated.test.tensor()) > 0).double().mean(0).tolist()
    known = rendered.train.attributes
    attributes = [{"name": name.replace("_", " "), "celeba": celeba["yes"][name], "generated": judged[i],
                   "rendered": (known[:, i] == 1).sum() / max((known[:, i] >= 0).sum(), 1) if (known[:, i] >= 0).any() else None}
                  for i, name in enumerate(ATTRIBUTES)]
    tone = np.concatenate([split.factors["skin"][:, 0] for split in (rendered.train, rendered.val, rendered.test)])
    limits = np.quantile(brightness(rendered.train.images), (0.2, 0.4, 0.6, 0.8))
    fifth = np.bincount(np.searchsorted(limits, brightness(generated.test.images)), minlength=5) / len(generated.test)
    return {"rendered": rendered, "generated": generated, "digits": digits, "factors": len(FACTORS), "attributes": attributes,
            "sheet": json.loads((ROOT / "facelib/data/generated/faces.json").read_text(encoding="utf-8")),
            "pack": json.loads((ROOT / "facelib/data/synthetic/pack/pack.json").read_text(encoding="utf-8")),
            "tones": [((tone >= low) & (tone <= low + 0.2 if low > 0.7 else tone < low + 0.2)).sum() for low in
                      (0, 0.2, 0.4, 0.6, 0.8)], "total": len(tone), "fifth": fifth[::-1].tolist(), "limits": limits[::-1],
            "subsets": json.loads((BOOK / "results" / "celeba_subsets.json").read_text(encoding="utf-8")),
            "celeba": celeba, "held_out": len((ROOT / "facelib/weights/celeba_held_out.txt").read_text().split())}


def brightness(images):
    """How bright the cheeks of faces are, uint8 (N, 3, 64, 64) -> (N,) grey levels (Rec. 601) of 255."""
    rows, sides = CHEEKS
    patches = np.concatenate([np.asarray(images)[:, :, rows, side].reshape(len(images), 3, -1) for side in sides], 2)
    return np.median(np.einsum("ncp,c->np", patches, (0.299, 0.587, 0.114)), 1)


PAGES = {"book/api/commands": commands, "book/bibliography": bibliography, "book/models": models, "book/datasets": datasets}


@functools.cache
def environment():
    found = jinja2.Environment(undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    found.filters |= {"thousands": lambda number: f"{number:,}", "percent": lambda share: f"{share:.0%}",
                      "megabytes": lambda count: f"{count / 1e6:.2f} MB"}
    return found


def render(app, page, source):
    of_page = PAGES.get(page, api if page.startswith("book/api/") else None)
    if of_page is not None:
        source[0] = environment().from_string(source[0]).render(of_page())


def name_toggles(app, page, template, context, doctree):
    # The reference of the API is the one page with pages below it; the theme's button that unfolds these has no name.
    draw = context.get("generate_toctree_html")
    if draw is not None:
        context["generate_toctree_html"] = lambda *kinds, **options: str(draw(*kinds, **options)).replace(
            "<summary>", '<summary aria-label="Pages of the API reference">')


def setup(app):
    app.add_css_file("reference.css")
    app.connect("html-page-context", name_toggles, priority=950)
    app.connect("source-read", render)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
