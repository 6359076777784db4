"""Install facelib on Colab; the first code cell of each chapter runs this with %run.

Colab brings its own torch, numpy and ipywidgets, built for its GPU and its front end. A course breaks when pip replaces one of
them, so every package below that is there is held at the version that is there: pip can add packages, not change these, and
fails with a message where that is impossible.
"""

import importlib
import os
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HELD = ("torch", "torchvision", "numpy", "ipywidgets", "pillow", "scipy", "matplotlib", "scikit-image", "scikit-learn",
        "opencv-python-headless", "safetensors", "accelerate", "tensorboard")
ROOT = Path(__file__).resolve().parents[1]


def held():
    """The installed ones of HELD, as lines of a pip constraints file."""
    lines = []
    for name in HELD:
        try:
            lines.append(f"{name}=={version(name)}\n")
        except PackageNotFoundError:  # not there: pip is free to choose one
            continue
    return lines


def main():
    with tempfile.TemporaryDirectory() as folder:
        constraints = Path(folder) / "held.txt"
        constraints.write_text("".join(held()))
        # Not the [book] extra: it would bring Sphinx, which nobody needs to run a chapter.
        subprocess.run([sys.executable, "-m", "pip", "install", "-q", "-c", str(constraints),
                        f"{ROOT}[photos,train]", "matplotlib", "ipywidgets", "anywidget"], check=True)
    importlib.invalidate_caches()
    os.chdir(ROOT / "book")  # the chapters read results/ and figures/ beside them


if __name__ == "__main__":
    main()
