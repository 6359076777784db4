"""Completing and controlling faces: the package that the book builds and imports."""

import importlib

__version__ = "0.1.0"
__all__ = ["load_faces", "fit", "load_pretrained", "show"]

_HOMES = {"load_faces": "facelib.data", "fit": "facelib.train", "load_pretrained": "facelib.pretrained",
          "show": "facelib.plots"}


def __getattr__(name):
    # Looked up on first use, so that `import facelib` needs neither matplotlib nor accelerate.
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'facelib' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__():
    return sorted([*globals(), *__all__])
