"""The published weights: NAME.safetensors (float16) beside NAME.json, the card that says where they come from."""

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
    return {k: v.float() if v.is_floating_point() else v for k, v in load(data).items()}, about


def write(name, tensors, about, folder=FOLDER):
    """Write tensors as float16 and their card `about` (sha256 and bytes are added here) -> the path of the weights."""
    from safetensors.torch import save

    half = {k: (v.detach().cpu().to(torch.float16) if v.is_floating_point() else v.detach().cpu()).contiguous()
            for k, v in tensors.items()}
    data, path = save(half), Path(folder) / f"{name}.safetensors"
    path.write_bytes(data)
    about = {"name": name, **about, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(about, indent=1) + "\n")
    return path
