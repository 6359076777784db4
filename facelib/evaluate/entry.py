"""Who takes part in the benchmark: published networks, classical methods, the mean face; each with the verb `complete`."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from facelib import blending, classical, masks, weights
from facelib.data import to_float
from facelib.data.images import pair
from facelib.pretrained import load_pretrained, load_run

YARDSTICK = "glcic"         # this method comes first: paired differences and times are told against it
BLENDED = ("dcgan",)        # take part with blending too: semantic inpainting ends with it (Yeh et al. 2017, section 3.4)


@dataclass
class Blended:
    """A method whose completions are blended into their faces by `blending.poisson`."""

    method: object

    def complete(self, image, mask):
        """Completions (B, 3, H, W) without a seam."""
        return blending.poisson(image, self.method.complete(image, mask), mask)


@dataclass
class Resized:
    """A method for faces of another size: it completes them smaller or larger, and its answer is brought back.

    method: has `cfg.size`, an int or (height, width); an oblong method gets the middle of the square face, and what a hole
    covers beside it stays grey. No true pixel of a hole takes part: holes are painted over before anything is scaled, and
    a scaled pixel that a hole has touched is a hole.
    """

    method: object

    def complete(self, image, mask):
        """Completions (B, 3, H, W) of square faces; known pixels come back bit-identical."""
        height, width = pair(self.method.cfg.size)
        side, face = max(height, width), image.shape[-1]
        mask = mask.expand(len(image), -1, -1, -1)
        painted = masks.composite(image, mask, torch.zeros_like(image))
        if side <= face:
            small = F.interpolate(painted, (side, side), mode="area")
            hole = F.adaptive_max_pool2d(mask, side)
        else:
            small = F.interpolate(painted, (side, side), mode="bicubic", align_corners=False).clamp(-1, 1)
            wide = F.max_pool2d(mask, 5, 1, 2)          # cubic weights reach two pixels far: so far the paint may have come
            hole = F.interpolate(wide, (side, side), mode="nearest")
        top, left = (side - height) // 2, (side - width) // 2
        middle = (..., slice(top, top + height), slice(left, left + width))
        small[middle] = self.method.complete(small[middle].contiguous(), hole[middle].contiguous()).to(small)
        back = F.interpolate(small, (face, face), mode="bicubic", antialias=side > face, align_corners=False)
        return masks.composite(image, mask, back.clamp(-1, 1))


@dataclass
class Function:
    """A completion that is a function (image, mask), such as those of `classical.METHODS`."""

    complete: object


def entrants(names, faces, device="cpu"):
    """What completes under these names -> dict of name -> anything with `complete(image, mask)`, in their order.

    names: a name or several: of published weights, of `classical.METHODS`, "mean_face" (the hole filled with the mean of
    the train faces: a floor that no method should be below), any of these with "+poisson" (blended afterwards), or "all":

    - every method whose weights are published for faces of this size, if it has `complete`: under its own name NAME or as
      NAME_SIZE (such as glcic_64); on rendered faces the weights NAME_synthetic instead, where there are any of this size;
    - those of BLENDED with "+poisson" too, every classical method, and the mean face.

    Networks for faces of another size take part as `Resized`. faces: FaceData; the nearest face and the mean face come from
    its train split. device: of the networks. Raises ValueError for a name that nothing has, or weights that cannot complete.
    """
    found = {}
    for name in [names] if isinstance(names, str) else names:
        for each in _everybody(faces) if name == "all" else [name]:
            method = _entrant(each, faces, device, found)
            if hasattr(method, "complete"):
                size = getattr(getattr(method, "cfg", None), "size", faces.size)
                found[each] = method if pair(size) == tuple(faces.size) else Resized(method)
            elif name != "all":
                raise ValueError(f"{each} has no complete(image, mask), so it cannot take part; leave it out")
    return found


def own_size(name):
    """The longer side in pixels of the faces that a method was trained for; `load_faces`'s default for what has no size."""
    base = name.partition("+")[0]
    if _is_run(base):
        config = json.loads((Path(base) / "config.json").read_text())["config"]
    else:
        config = weights.card(base)["config"] if base in weights.names() else {}
    size = config.get("size", 64)
    return size if isinstance(size, int) else max(size)


def _is_run(name):
    """Whether a name stands for a run folder; published weights come first."""
    return name not in weights.names() and (Path(name) / "config.json").is_file()


def _everybody(faces):
    """The names that "all" stands for: networks for faces of this size, YARDSTICK's first, then what learns nothing."""
    height, width = faces.size
    side = height if height == width else f"{height}x{width}"
    fitting = {}                                            # weights for faces of this size -> their method
    for name in weights.names():
        card = weights.card(name)
        if "size" in card["config"] and pair(card["config"]["size"]) == (height, width):
            fitting[name] = card["method"]
    networks = []
    for method in sorted(set(fitting.values()), key=lambda method: (method != YARDSTICK, method)):
        own = [name for name in (method, f"{method}_{side}") if name in fitting]
        twin = f"{method}_synthetic"
        if own:                                             # other weights of a method (glcic_phase1) are for comparison
            networks.append(twin if faces.name == "synthetic" and twin in fitting else own[0])
            networks += [f"{networks[-1]}+poisson"] if method in BLENDED else []
    return [*networks, *classical.METHODS, "mean_face"]


def _entrant(name, faces, device, found):
    """What has this name; found: those that are there already, so that NAME+poisson blends what NAME completes."""
    base, plus, blend = name.partition("+")
    if plus:
        if blend != "poisson":
            raise ValueError(f"after + only poisson is known, got {name!r}")
        return Blended(found.get(base) or _entrant(base, faces, device, found))
    if name == "mean_face":
        return Function(partial(_paste, to_float(faces.train.images.mean(0, dtype=np.float64))))
    if name in classical.METHODS:
        function = classical.METHODS[name]
        return Function(partial(function, database=faces.train.images) if name == "nearest_face" else function)
    if _is_run(name):
        return load_run(name, device)
    if name not in weights.names():
        raise ValueError(f"no method is called {name!r}; there are: all, {', '.join(weights.names())}, "
                         f"{', '.join(classical.METHODS)}, mean_face, each with +poisson, and run folders")
    return load_pretrained(name, device)


def _paste(face, image, mask):
    """One face (3, H, W) pasted into every hole."""
    masks.check(image, mask)
    return masks.composite(image, mask, face.to(image))
