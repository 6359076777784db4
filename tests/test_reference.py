"""The reference pages: everything public is on them, and what they tell of weights, data and sources is so."""

import ast
import importlib
import inspect
import json
import re
import unicodedata
from pathlib import Path

import pytest
import reference
import yaml
from pybtex.database import parse_file

from facelib import classical, weights
from facelib.cli import COMMANDS
from facelib.methods import METHODS

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


def made(page):
    """The Markdown that a page is made into when the book is built."""
    source = (ROOT / f"{page}.md").read_text(encoding="utf-8")
    return reference.environment().from_string(source).render(reference.PAGES[page]())


def sections(page):
    """Heading of the second level -> the text below it."""
    return dict(part.split("\n", 1) for part in re.split(r"(?m)^## ", made(page))[1:])


def test_every_published_weights_have_their_card_on_the_page():
    told = sections("book/models")
    assert set(weights.names()) == set(told) - {"References"}
    for name in weights.names():
        card = weights.card(name)
        assert f"(model-{name.replace('_', '-')})=\n## {name}\n" in made("book/models")
        wanted = [card["sha256"], card["licence"], f"{card['steps']:,}", f"{card['images_seen']:,}", card["hardware"],
                  f'load_pretrained("{name}")', card.get("note", ""), card["metrics"].get("command", "")]
        assert all(part in told[name] for part in wanted), [part for part in wanted if part not in told[name]]
        for hole in ("center", "rectangle"):
            if hole in card["metrics"]:
                assert f"| {hole} | {card['metrics'][hole]['psnr_hole']['mean']:.2f} |" in told[name]


def test_what_is_written_about_weights_names_weights_and_chapters_that_exist():
    written = yaml.safe_load((ROOT / "book/models.yml").read_text(encoding="utf-8"))
    assert set(written) == set(weights.names())
    for name, said in written.items():
        assert set(said) == {"chapter", "use", "limits"} and (ROOT / f"book/{said['chapter']}.ipynb").exists(), name
        assert not re.search(r"\d[.,]\d|\d ?(%|dB)", str(said)), f"{name}: figures come from the card"


def test_the_page_on_data_counts_what_ships():
    told = made("book/datasets")
    held_out = len((ROOT / "facelib/weights/celeba_held_out.txt").read_text().split())
    subsets = json.loads((ROOT / "book/results/celeba_subsets.json").read_text(encoding="utf-8"))
    assert subsets["celeba160"]["test"]["pictures"] == held_out and f"The {held_out:,} pictures" in told
    tones = [int(count.replace(",", "")) for count in re.findall(r"(?m)^\| 0\.\d to [01]\.\d \| ([\d,]+) \|", told)]
    assert len(tones) == 5 and sum(tones) == 4096
    fifths = [int(share) for share in re.findall(r"(?m)^\| (?:above|below|\d+ to) \d+ \| (\d+)% \|", told)]
    assert len(fifths) == 5 and 98 <= sum(fifths) <= 102


def test_every_command_is_told_with_all_its_options():
    told = sections("book/api/commands")
    assert set(told) == {f"facelib {name}" for name in COMMANDS}
    for name, function in COMMANDS.items():
        for key, parameter in inspect.signature(function).parameters.items():
            flag = key.upper() if parameter.kind is parameter.POSITIONAL_ONLY else f"--(no-)?{key.replace('_', '-')}"
            assert re.search(rf"(?m)^- `{flag}( [^`]+)?`: \S", told[f"facelib {name}"]), f"{name}: {key}"


def plain(words):
    """Words without accents, as docstrings write names."""
    return "".join(c for c in unicodedata.normalize("NFKD", words) if not unicodedata.combining(c))


@pytest.fixture(scope="module")
def authors():
    """(surname of the first author, year) of every reference."""
    entries = parse_file(ROOT / "book/references.bib").entries.values()
    return {(plain(entry.persons["author"][0].rich_last_names[0].render_as("text")), entry.fields["year"]) for entry in entries}


def cited(text):
    """(surname, year) of what a text cites: "Name 2017", "Name et al. 2017", "Name and Name (2017)", "..., ICLR 2017"."""
    text = plain(" ".join(re.sub(r"\n\s*#", " ", text).split()))
    names = r"([A-Z][\w'-]+)(?: et al\.|(?:, [A-Z][\w-]+)* and [A-Z][\w-]+)?"
    return set(re.findall(rf"{names},? (?:(?:ICLR|ICCV|CVPR|NIPS|ACML|ACM ToG) )?\(?((?:19|20)\d\d)\b", text))


def sources_of():
    """Every method, completion without learning and study -> the docstrings that name its source."""
    for name, home in METHODS.items():
        module, cls = home.split(":")
        module = importlib.import_module(module)
        yield name, f"{module.__doc__} {getattr(module, cls).__doc__}"
    yield from ((name, function.__doc__) for name, function in classical.METHODS.items())
    for path in sorted((PACKAGE / "studies").glob("*.py")):
        if path.stem not in ("__init__", "study"):
            yield f"the study {path.stem}", importlib.import_module(f"facelib.studies.{path.stem}").__doc__


@pytest.mark.parametrize(("name", "said"), list(sources_of()), ids=lambda value: value if len(value) < 40 else "")
def test_every_method_names_a_source_of_the_bibliography(name, said, authors):
    assert cited(said) & authors, f"the docstring of {name} names no source that references.bib has"


def test_every_source_that_the_package_names_is_in_the_bibliography(authors):
    missing = {f"{name} {year}: {path.name}" for path in PACKAGE.rglob("*.py")
               for name, year in cited(path.read_text(encoding="utf-8")) - authors}
    assert not missing, missing


def test_glossary_sends_to_pages_that_use_the_word():
    """Each term is defined once, and stands in the chapter that its definition names at its end."""
    text = (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    body = re.search(r"(?s):sorted:\n\n(.*?)\n```", text)[1]
    terms = dict(re.findall(r"(?m)^(\S.*)\n((?:  .*\n?)+)", body))
    assert 80 <= len(terms) <= 120 and len(terms) == len(re.findall(r"(?m)^\S", body))
    lost = []
    for term, said in terms.items():
        page = re.search(r"\{doc\}`(\w+)`\s*$", said)[1]
        path = next(p for p in (ROOT / f"book/{page}.ipynb", ROOT / f"book/{page}.md") if p.exists())
        # Notebooks keep a line end as "\\n", and a word may be set off by quotes or stars.
        words = path.read_text(encoding="utf-8").lower().replace("\\n", " ").translate(str.maketrans('"*#', "   "))
        lost += [f"{term}: {page}"] if term.lower() not in " ".join(words.split()) else []
    assert not lost, lost


def test_notation_has_every_sign_of_the_displayed_equations():
    """Greek letters, letters with hats and single Latin letters; what only counts (i, j, k, l) and e need no line."""
    sign = (r"\\(?:hat|tilde)\{? ?\w\}?|\\(?:alpha|beta|gamma|delta|Delta|eta|theta|lambda|mu|nabla|pi|rho|sigma|Sigma|phi|"
            r"varphi|Omega|partial)(?![a-z])|(?<![\\a-zA-Z{])[A-Za-z](?![a-zA-Z])")

    def signs(text):
        text = re.sub(r"\\(?:mathrm|text|texttt|operatorname|mathbb|mathcal)\{[^}]*\}+|:label:.*|\\begin\S*|\\end\S*", " ", text)
        return {found.replace("{", " ").replace("}", "").replace("  ", " ") for found in re.findall(sign, text)}

    page = re.sub(r"(?s)\$\$.*?\$\$", "", (ROOT / "book/notation.md").read_text(encoding="utf-8"))
    listed = signs(" ".join(re.findall(r"\$[^$]+\$", page)))
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        text = "\n".join("".join(cell["source"]) for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]
                         if cell["cell_type"] == "markdown")
        used = signs("\n".join(re.findall(r"(?s)```\{math\}(.*?)```", text)))
        assert len(used) > 2, path.name
        missing = used - listed - set("ijkle")
        assert not missing, f"{path.stem}: {sorted(missing)} stand in equations and not in book/notation.md"
