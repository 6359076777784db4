"""Rendered portraits with known factors: nobody's faces, endless, deterministic by (seed, index).

`sample_factors` draws people, `render` shows them, `attributes` names what CelebA's labels would say of them, and
`load` returns the pack of 4,096 that ships with the package. Rooms: factors (who), anatomy (the solid person), paint
(what is drawn on it), light, camera, accessories, portrait (all of it in order), pack.
"""

from .attributes import attributes
from .factors import FACTORS, sample_factors
from .pack import load
from .portrait import render

__all__ = ["FACTORS", "attributes", "load", "render", "sample_factors"]
