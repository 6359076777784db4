"""Published weights: `load_pretrained` brings a trained method back, `publish` makes weights and a card of a run."""

import dataclasses
import json
import os
import platform
import subprocess
from pathlib import Path

import numpy as np
import torch

import facelib
from facelib import features, weights
from facelib.methods import METHODS, method_class
from facelib.train import load_checkpoint

LICENCES = {
    "celeba": "derived from CelebA: non-commercial research and education only, see facelib/weights/LICENSE",
    "synthetic": "CC BY 4.0",
}
OFFICIAL_TEST = ("celeba160 comes from CelebA's official test partition, so these weights may not be scored on that "
                 "partition; score them on celeba160's own test split, whose people they have not seen.")


def config_of(method, fields):
    """A method class's `Config` from a dict as JSON holds it: lists become tuples again."""
    return method.Config(**{k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()})


def load_pretrained(name, device="cpu"):
    """A published network by name, ready to use: in evaluation mode, on `device`, with its card (a dict) as `.card`.

    "judge_attr", "judge_identity" and "perceptual" give a frozen `features.FeatureNetwork`, other names a method, whose
    verbs can be called (`complete(image, mask)`). A method's averaged networks are what was published; its networks in
    training start from them, so that `fit` fine-tunes; networks that only training needs (a discriminator) are new.

    Raises ValueError for an unknown name (the message lists what there is) and for a damaged file.
    """
    if name in features.NAMES:
        return features.load(name, device)
    tensors, card = weights.read(name)
    method = method_class(card["method"])
    method = method(config_of(method, card["config"]))
    if len(method.ships) == 1:                              # published without its prefix, see `publish`
        tensors = {f"{method.ships[0]}.{k}": v for k, v in tensors.items()}
    for network in method.ema:
        twin = f"{network}_ema."
        tensors |= {f"{network}.{k.removeprefix(twin)}": v for k, v in tensors.items() if k.startswith(twin)}
    found = method.load_state_dict(tensors, strict=False)
    missing = [k for k in found.missing_keys if k.split(".")[0] in method.ships]
    if missing or found.unexpected_keys:
        raise ValueError(f"the weights {name} do not fit {card['method']} of this version: missing {missing[:3]}, "
                         f"unknown {found.unexpected_keys[:3]}; install the version of the package that they came with")
    method.card = card
    return method.to(device).eval()


def load_run(run, device="cpu"):
    """The method of a run folder as its last checkpoint left it, in evaluation mode. ValueError for a damaged one."""
    about, _, method = _read_run(run)
    method = method(config_of(method, about["config"]))
    method.restore(load_checkpoint(Path(run) / "last.pt"))
    return method.to(device).eval()


def _read_run(run):
    """config.json of a run, the name of its method in METHODS, and the method's class."""
    for file in ("config.json", "last.pt", "log.jsonl"):
        if not (Path(run) / file).is_file():
            raise FileNotFoundError(f"expected a run folder with {file}, got {run}; train first or name another")
    about = json.loads((Path(run) / "config.json").read_text())
    key = next((k for k, home in METHODS.items() if home.endswith(f":{about['method']}")), about["method"])
    return about, key, method_class(key)


def publish(run, name, metrics=None, licence=None, data=None, split=None, note=""):
    """Make published weights of a run folder -> the path of facelib/weights/NAME.safetensors; its card lies beside it.

    Only what inference needs is kept (`Method.ships`), as float16. metrics: a dict for the card, measured by the
    caller. licence, data, split: as the card shall say them; by default the data set's name, its train split, and the
    licence that follows from it. note: what a reader of the card must know besides. Hardware and commit are those at
    hand now: publish on the machine that trained.

    Raises FileNotFoundError where there is no run, ValueError where the run's kind does not fit the name, a weight does
    not fit into float16, or the licence does not follow from the data.
    """
    about, key, method = _read_run(run)
    if (name in features.NAMES) != (key == "judges"):
        raise ValueError(f"the names {', '.join(features.NAMES)} are for runs of judges only, got {name!r} for "
                         f"a run of {key}")
    if not method.ships:
        raise ValueError(f"{about['method']} does not say what is published of it; set `ships` in its class")
    data = data or about["data"]
    licence = licence or _licence(data)
    note = f"{OFFICIAL_TEST if 'celeba160' in data else ''} {note}".strip()

    state = load_checkpoint(Path(run) / "last.pt")
    everything = {**state["nets"], **state["ema"]}
    tensors = {k: v for k, v in everything.items() if k.split(".")[0] in method.ships}
    if len(method.ships) == 1:                              # one network alone: FeatureNetwork's keys, not Judges'
        tensors = {k.removeprefix(f"{method.ships[0]}."): v for k, v in tensors.items()}
    too_large = [k for k, v in tensors.items() if v.is_floating_point() and not v.half().isfinite().all()]
    if too_large:
        raise ValueError(f"these weights are not finite as float16: {too_large[:3]}; the run has diverged")

    config = config_of(method, about["config"])
    preset = next((k for k, v in method.presets.items() if v == config), None)
    card = {"method": key, **({"preset": preset} if preset else {}), "config": dataclasses.asdict(config), "data": data,
            "split": split or f"train, {about['faces']} faces", "seed": about["seed"], "steps": state["step"],
            "images_seen": state["step"] * about["batch_size"], "hardware": hardware(),
            "wall_time_minutes": round(_seconds(Path(run) / "log.jsonl") / 60, 1), "commit": _commit(),
            "metrics": metrics or {}, "licence": licence,
            **({"note": note} if note else {}),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                         "facelib": facelib.__version__}}
    return weights.write(name, tensors, card, weights.FOLDER)


def hardware(device=None):
    """This machine in words: the model and number of its GPUs, or of its processor and cores with device="cpu"."""
    if torch.cuda.is_available() if device is None else "cuda" in str(device):
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    model = platform.processor() or platform.machine()
    if os.path.exists("/proc/cpuinfo"):
        names = [line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines()
                 if line.startswith("model name")]
        model = names[0] if names else model
    return f"CPU, {os.cpu_count()} cores, {model}"


def _licence(data):
    if "celeba" in data.lower():
        return LICENCES["celeba"]
    if set(data.split("+")) == {"synthetic"}:
        return LICENCES["synthetic"]
    raise ValueError(f"no licence is known for weights trained on {data!r}; say it with licence=")


def _seconds(log):
    """Time spent in training, from the images and the speeds that the log holds."""
    seconds, before = 0.0, 0
    for line in log.read_text().splitlines():
        record = json.loads(line)
        seconds += (record["images"] - before) / max(record["images_per_second"], 0.1)
        before = record["images"]
    return seconds


def _commit():
    """The commit of the package's checkout, None outside one."""
    here = Path(__file__).parent
    try:
        git = subprocess.run(["git", "-C", here, "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return git.stdout.strip() if git.returncode == 0 else None
