"""Rendered portraits with known factors: nobody's faces, endless, deterministic by (seed, index).

`sample_factors` draws people, `render` shows them, `attributes` names what CelebA's labels would say of them, and
`load` returns the pack of 4,096 that ships with the package, `rendered` the same people at more pixels. Rooms: factors
(who), anatomy (the solid person), paint (what is drawn on it), light, camera, accessories, portrait (all of it in order),
pack, large (people of the pack rendered at a larger size).
"""

from .attributes import attributes
from .factors import FACTORS, sample_factors
from .large import Rendered, rendered, side_of
from .pack import load
from .portrait import render

__all__ = ["FACTORS", "Rendered", "attributes", "load", "render", "rendered", "sample_factors", "side_of"]
