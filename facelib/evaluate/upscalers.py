"""Who takes part in the benchmark of super-resolution: published networks, enlarging without learning; all `upscale(low)`."""

from dataclasses import dataclass

from facelib import resolution, weights
from facelib.pretrained import load_pretrained

SIDE = 32               # pixels of the faces that are made
CORRECTED = "back_projection"
YARDSTICK = "bicubic"   # comes first: the others' paired differences are told against it


@dataclass
class Corrected:
    """A method whose enlargements are back-projected, so that they shrink to what they were made of."""

    method: object

    def upscale(self, low):
        """(B, 3, 8, 8) -> (B, 3, 32, 32)."""
        return resolution.back_project(self.method.upscale(low), low)


@dataclass
class Function:
    """An enlargement that is a function of low, such as those of `resolution.METHODS`."""

    upscale: object


def entrants(names, faces, device="cpu"):
    """What enlarges under these names -> dict of name -> anything with `upscale(low)`, in their order.

    names: a name or several: of published weights, of `resolution.METHODS`, any of these with "+back_projection", or
    "all": bicubic, nearest, and all published weights that can upscale, raw and with "+back_projection". On rendered
    faces NAME_synthetic stands for NAME where it is published. Raises ValueError for a name that nothing has.
    """
    found = {}
    for name in [names] if isinstance(names, str) else names:
        for each in _everybody(faces) if name == "all" else [name]:
            base, plus, correction = each.partition("+")
            if plus and correction != CORRECTED:
                raise ValueError(f"after + only {CORRECTED} is known, got {each!r}")
            method = _entrant(base, device, found)
            if hasattr(method, "upscale"):
                found[each] = Corrected(method) if plus else method
            elif name != "all":
                raise ValueError(f"{each} has no upscale(low), so it cannot take part; leave it out")
    return found


def _everybody(faces):
    """The names that "all" stands for; networks for other sizes, which cannot upscale, are left out already."""
    published = {name for name in weights.names() if weights.card(name)["config"].get("size") == SIDE}
    rendered = faces.name == "synthetic"
    networks = [name for name in sorted(published)
                if (f"{name}_synthetic" not in published if rendered else not name.endswith("_synthetic"))]
    ours = sorted(resolution.METHODS, key=lambda name: name != YARDSTICK)
    return [*ours, *(each for name in networks for each in (name, f"{name}+{CORRECTED}"))]


def _entrant(name, device, found):
    if name in found:
        return found[name]
    if name in resolution.METHODS:
        return Function(resolution.METHODS[name])
    if name not in weights.names():
        raise ValueError(f"no method is called {name!r}; there are: all, {', '.join(resolution.METHODS)}, "
                         f"{', '.join(weights.names())}, and each with +{CORRECTED}")
    return load_pretrained(name, device)
