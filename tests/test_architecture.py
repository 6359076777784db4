"""The house keeps its shape: who may know whom, what an import costs, how long a room is, what may be committed."""

import ast
import json
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

import facelib

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "facelib"

# Every room and its floor. A room knows rooms of lower floors, and of its own as long as there is no circle.
FLOORS = [
    {"extras", "runs", "weights"},
    {"data", "masks", "layers", "losses", "features", "blending", "metrics", "plots", "classical",
     "latents", "recogniser", "recognition", "residual", "resolution"},
    {"train", "latent_search"},
    {"methods"},
    {"pretrained"},
    {"evaluate", "studies", "widgets", "check", "photo", "generation", "export"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
# Rooms that use methods by their verbs only: they are handed one, or ask `pretrained` for it.
BY_VERBS_ONLY = {"metrics", "plots", "widgets", "evaluate", "check", "generation"}
OPTIONAL = ("accelerate", "anywidget", "cv2", "dlib", "ipywidgets", "matplotlib", "scipy", "skimage", "sklearn", "tensorboard",
            "onnx", "onnxscript", "torchmetrics", "tyro")


def sources():
    return sorted(PACKAGE.rglob("*.py"))


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_of(path):
    """facelib/data/folder.py -> facelib.data.folder; a folder's __init__.py -> the folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module):
    """facelib.data.folder -> data; the package itself -> None."""
    return module.split(".")[1] if "." in module else None


MODULES = {module_of(path): path for path in sources()}


def imports(path):
    """Every module that a file imports, anywhere in it: statements, need("x") and import_module("x")."""
    package = module_of(path).split(".") if path.name == "__init__.py" else module_of(path).split(".")[:-1]
    for node in ast.walk(parse(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[:len(package) - node.level + 1] if node.level else []
            base = ".".join([*base, *([node.module] if node.module else [])])
            for alias in node.names:
                # `from facelib import masks` names a module, `from facelib.masks import make` a function of one, and
                # `from facelib import fit` a function that facelib looks up in another room.
                full = f"{base}.{alias.name}"
                yield full if full in MODULES else facelib._HOMES.get(alias.name, base) if base == "facelib" else base
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called in ("need", "import_module", "__import__"):
                yield str(node.args[0].value)


def own_imports(path):
    return sorted({name for name in imports(path) if name.split(".")[0] == "facelib"})


def where(path):
    return path.relative_to(ROOT).as_posix()


def test_the_walk_sees_every_kind_of_import(tmp_path, monkeypatch):
    """The other tests stand on `imports`: it finds imports in functions, relative ones, need() and import_module()."""
    room = tmp_path / "facelib" / "methods" / "new.py"
    room.parent.mkdir(parents=True)
    room.write_text("import torch\ndef f():\n    from facelib import masks, load_faces\n    from ..train import fit\n"
                    "    from . import glcic\n    need('cv2')\n    importlib.import_module('facelib.cli')\n")
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "MODULES", {"facelib.masks", "facelib.methods.glcic"})
    assert sorted(imports(room)) == ["cv2", "facelib.cli", "facelib.data", "facelib.masks", "facelib.methods.glcic",
                                     "facelib.train", "torch"]


def test_every_room_has_a_floor():
    unknown = {room_of(module) for module in MODULES} - {None} - set(FLOOR)
    assert not unknown, f"give these rooms a floor in FLOORS (CONTRIBUTING.md says who may know whom): {unknown}"


def test_arrows_point_downwards():
    wrong = []
    for module, path in MODULES.items():
        room = room_of(module)
        for name in own_imports(path):
            other = room_of(name)
            if room and other and other != room and FLOOR.get(other, 99) > FLOOR.get(room, 0):
                wrong.append(f"{where(path)} imports {name}")
    assert not wrong, "\n".join(wrong)


def test_no_circles_between_rooms():
    knows = defaultdict(set)
    for module, path in MODULES.items():
        knows[room_of(module)] |= {room_of(name) for name in own_imports(path)} - {room_of(module), None}
    left = {room: set(others) for room, others in knows.items()}
    while free := {room for room in left if not left[room] & set(left)}:  # rooms that know no room still in question
        left = {room: others for room, others in left.items() if room not in free}
    assert not left, f"these rooms know each other in a circle, or stand above one: {left}"


def test_classical_knows_masks_only():
    for path in [p for m, p in MODULES.items() if room_of(m) == "classical"]:
        assert {room_of(name) for name in own_imports(path)} <= {"classical", "masks", "extras"}, where(path)


def test_resolution_knows_no_other_room():
    assert {room_of(name) for name in own_imports(MODULES["facelib.resolution"])} <= {"resolution"}


def test_methods_never_know_each_other():
    for module, path in MODULES.items():
        if module.startswith("facelib.methods."):
            others = [name for name in own_imports(path) if room_of(name) == "methods" and name != module]
            assert not others, f"{where(path)} imports {others}; a method is handed another one, it does not import it"


def test_some_rooms_know_methods_by_their_verbs_only():
    for module, path in MODULES.items():
        if room_of(module) in BY_VERBS_ONLY:
            assert "methods" not in {room_of(name) for name in own_imports(path)}, where(path)


def test_nothing_imports_the_command_line():
    for module, path in MODULES.items():
        if room_of(module) not in ("cli", "__main__"):
            assert "cli" not in {room_of(name) for name in own_imports(path)}, where(path)


def test_only_train_imports_accelerate():
    users = {where(path) for path in sources() if "accelerate" in {name.split(".")[0] for name in imports(path)}}
    assert users <= {"facelib/train.py"}


def test_judges_are_never_a_loss():
    """No method, loss or search names a judge (but the module that trains them), and nothing judges by `perceptual`."""
    for module, path in MODULES.items():
        words = {str(node.value) for node in ast.walk(parse(path)) if isinstance(node, ast.Constant)}
        if room_of(module) in ("methods", "losses", "latent_search") and module != "facelib.methods.judges":
            if path.name != "__init__.py":
                assert not words & {"judge_attr", "judge_identity"}, where(path)
        if room_of(module) in ("metrics", "evaluate"):
            assert "perceptual" not in words, where(path)


def run_python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=300)


def test_import_facelib_is_light():
    done = run_python("import sys, facelib; print(*{name.split('.')[0] for name in sys.modules})")
    assert done.returncode == 0, done.stderr
    heavy = set(done.stdout.split()) & set(OPTIONAL)
    assert not heavy, f"import facelib pulls in {heavy}; import them in the functions that use them"


def test_every_room_can_be_imported_without_optional_packages():
    """As on a machine with torch, torchvision, numpy, pillow, safetensors and tqdm only."""
    code = f"""
import importlib, sys
for name in {OPTIONAL!r}:
    sys.modules[name] = None                    # importing it now raises ImportError
for name in {sorted(MODULES)!r}:
    if not name.endswith("__main__"):           # which run a command
        try:
            importlib.import_module(name)
        except ImportError as error:
            print(f"{{name}}: {{error}}")
"""
    done = run_python(code)
    assert done.returncode == 0, done.stderr
    assert not done.stdout, done.stdout


@pytest.mark.parametrize("path", sources(), ids=where)
def test_rooms_are_short(path):
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= 420, f"{where(path)} has {lines} lines; past about 400 a room becomes a folder of rooms"


def test_everything_public_has_a_docstring():
    silent = []
    for path in sources():
        tree = parse(path)
        if tree.body and not ast.get_docstring(tree):
            silent.append(where(path))
        silent += [f"{where(path)}:{node.lineno} {node.name}" for node in tree.body
                   if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
                   and not ast.get_docstring(node)]
    assert not silent, "without a docstring:\n" + "\n".join(silent)


def committed():
    """The files under version control; where there is none (an unpacked archive), every file outside build folders."""
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return listed.stdout.splitlines()
    built = {".venv", "_build", "runs", "node_modules", "__pycache__"}
    return [where(path) for path in ROOT.rglob("*") if path.is_file() and not built & set(path.parts)]


def test_no_celeba_image_is_committed():
    """CelebA's agreement forbids passing images on. Its files are called 000001.jpg and lie in img_align_celeba."""
    celeba = re.compile(r"(^|/)\d{6}\.(jpe?g|png|webp)$|img_(align_)?celeba|list_\w+_celeba|identity_CelebA", re.I)
    assert celeba.search("a/img_align_celeba/x.png") and celeba.search("book/figures/182638.jpg")
    found = [path for path in committed() if celeba.search(path)]
    assert not found, found


def test_notebooks_are_committed_without_outputs():
    for path in committed():
        if path.endswith(".ipynb") and (ROOT / path).exists():
            notebook = json.loads((ROOT / path).read_text(encoding="utf-8"))
            assert "widgets" not in notebook["metadata"], f"{path}: widget state is stored; clear it"
            stored = [i for i, c in enumerate(notebook["cells"]) if c.get("outputs") or c.get("execution_count")]
            assert not stored, f"{path}: cells {stored} hold outputs; clear them, the book runs every cell anyway"
