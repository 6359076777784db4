"""The published weights: NAME.safetensors beside NAME.json, the card that says where they come from.

Matrices and kernels are kept as int8 with a float16 scale for each output channel, which halves them (Jacob et al. 2018,
section 2.1, without a zero point); vectors are float16. Files that were written before hold float16 only.
"""

import hashlib
import json
from pathlib import Path

import torch

FOLDER = Path(__file__).parent


def names():
    """The names of all weights that are here."""
    return sorted(p.stem for p in FOLDER.glob("*.json"))


def card(name):
    """The card of published weights, a dict; an unknown name gets an error that lists what there is."""
    path = FOLDER / f"{name}.json"
    if not path.exists():
        raise ValueError(f"no weights called {name!r} come with this version; there are: {', '.join(names()) or 'none'}")
    return json.loads(path.read_text())


def read(name):
    """(tensors in float32, card) of published weights, after checking the file against the card's sha256."""
    from safetensors.torch import load

    about = card(name)
    data = (FOLDER / f"{name}.safetensors").read_bytes()
    if hashlib.sha256(data).hexdigest() != about["sha256"]:
        raise ValueError(f"the weights {name}.safetensors do not match their card (sha256): the file was changed or cut "
                         "off; install the package again")
    return unpacked(load(data)), about


SCALE = ":scale"        # what a tensor's scales are called: no parameter has a colon in its name


def packed(tensors):
    """Tensors as a file keeps them: floats of two axes or more as int8 and a scale for each index of the first, others half."""
    found = {}
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        if not tensor.is_floating_point():
            found[name] = tensor
        elif tensor.ndim < 2:
            found[name] = tensor.half()
        else:
            scale = (tensor.float().abs().flatten(1).amax(1) / 127).half().clamp(min=2 ** -24)       # the least half > 0
            found[name] = (tensor.float() / _beside(scale, tensor)).round().clamp(-127, 127).to(torch.int8)
            found[name + SCALE] = scale
    return found


def unpacked(tensors):
    """The inverse of `packed`, in float32, up to the rounding."""
    return {name: tensor.float() * _beside(tensors[name + SCALE], tensor) if name + SCALE in tensors
            else tensor.float() if tensor.is_floating_point() else tensor
            for name, tensor in tensors.items() if not name.endswith(SCALE)}


def _beside(scale, tensor):
    return scale.float().view(-1, *[1] * (tensor.ndim - 1))


def write(name, tensors, about, folder=FOLDER):
    """Write tensors (see `packed`) and their card `about` (sha256 and bytes are added here) -> the path of the weights."""
    from safetensors.torch import save

    data, path = save(packed(tensors)), Path(folder) / f"{name}.safetensors"
    path.write_bytes(data)
    about = {"name": name, **about, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    return path
