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
    "lfw": "derived from CelebA and Labeled Faces in the Wild: non-commercial research and education only, see "
           "facelib/weights/LICENSE",
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
    if method.borrows:
        lender = card["generator"]
        if weights.card(lender["name"])["sha256"] != lender["sha256"]:
            raise ValueError(f"{name} was trained on other weights of {lender['name']} than those that are here; train and "
                             "publish it again, or install the version of the package that both came with")
        method.take(load_pretrained(lender["name"]))
    method.card = card
    return method.to(device).eval()


def load(name):
    """What a name stands for on the command line: a run folder, or else published weights."""
    return load_run(name) if Path(name).is_dir() else load_pretrained(name)


def on_generator(cls, cfg, name, seed=0):
    """A new method of a class that borrows a generator (a predictor), on a frozen copy of that of weights or a run folder.

    ValueError where the class keeps none, or the generator has another form than it can keep.
    """
    if not cls.borrows:
        raise ValueError(f"{cls.__name__} has its own generator and is not handed one; leave --generator out")
    generator = load(name)
    method = cls(cls.config_for(cfg, generator, name), seed)
    method.take(generator)
    return method


def start(method, name):
    """Let a new `method` begin with what published weights, or a run folder, know -> how many of its tensors that were.

    Every tensor that has the name and the number of axes of one of theirs takes its values over; of a larger one only the
    corner, the rest stays as it was drawn: a generator that gets codes behind its noise begins as one without them. A network
    that `method` has borrowed stays as it is. Raises ValueError where nothing fits.
    """
    theirs, found = load(name).state_dict(), 0
    for key, mine in method.state_dict().items():
        theirs_too = None if key.split(".")[0] in method.borrows else theirs.get(key)
        if theirs_too is not None and mine.is_floating_point() and theirs_too.ndim == mine.ndim:
            corner = tuple(slice(min(a, b)) for a, b in zip(mine.shape, theirs_too.shape, strict=True))
            mine[corner] = theirs_too[corner].to(mine)
            found += 1
    if not found:
        raise ValueError(f"no tensor of {name} fits {type(method).__name__}; start from weights of a method that has the same "
                         "networks")
    return found


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

    Only what inference needs is kept (`Method.ships`), see `weights.packed`; a generator that a method borrows must have
    been published before. metrics: a dict for the card, measured by the caller. licence, data, split: as the card shall
    say them; by default the data set's name, its train split, and the licence that follows from it. note: what a reader
    of the card must know besides. Hardware and commit are those at hand now: publish on the machine that trained.

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
    lender = about["config"]["generator"] if method.borrows else None
    lent = f"+{weights.card(lender)['data']}" if lender in weights.names() else ""
    licence = licence or _licence(data + lent)                  # what a borrowed generator has seen, these weights know too
    note = f"{OFFICIAL_TEST if 'celeba160' in data else ''} {note}".strip()

    state = load_checkpoint(Path(run) / "last.pt")
    everything = {**state["nets"], **state["ema"]}
    tensors = {k: v for k, v in everything.items() if k.split(".")[0] in method.ships}
    if len(method.ships) == 1:                              # one network alone: FeatureNetwork's keys, not Judges'
        tensors = {k.removeprefix(f"{method.ships[0]}."): v for k, v in tensors.items()}
    too_large = [k.removesuffix(weights.SCALE) for k, v in weights.packed(tensors).items()
                 if v.is_floating_point() and not v.isfinite().all()]
    if too_large:
        raise ValueError(f"these weights are not finite as float16: {too_large[:3]}; the run has diverged")

    config = config_of(method, about["config"])
    preset = next((k for k, v in method.presets.items() if v == config), None)
    card = {"method": key, **({"preset": preset} if preset else {}), "config": dataclasses.asdict(config), "data": data,
            "split": split or f"train, {about['faces']} faces", "seed": about["seed"], "steps": state["step"],
            "images_seen": state["step"] * about["batch_size"], "hardware": hardware(),
            "wall_time_minutes": round(_seconds(Path(run) / "log.jsonl") / 60, 1), "commit": _commit(),
            "metrics": metrics or {}, "licence": licence,
            **({"generator": _lender(method, config, everything)} if method.borrows else {}), **({"note": note} if note else {}),
            "versions": {"python": platform.python_version(), "torch": torch.__version__, "numpy": np.__version__,
                         "facelib": facelib.__version__}}
    return weights.write(name, tensors, card, weights.FOLDER)


def _lender(method, config, tensors):
    """What a card says of the generator that a run borrowed. ValueError unless the very same has been published."""
    name = config.generator
    if name not in weights.names():
        raise ValueError(f"the run borrowed its generator from {name!r}, which is not published (there are: "
                         f"{', '.join(weights.names()) or 'none'}); publish that, and train with its name as --generator")
    lender = load_pretrained(name)
    for mine, theirs in method.borrows.items():
        if not all(torch.equal(tensors[f"{mine}.{k}"], v) for k, v in getattr(lender, theirs).state_dict().items()):
            raise ValueError(f"the run borrowed another generator than that of the weights {name} as they are now; train again "
                             f"with --generator {name}")
    return {"name": name, "sha256": lender.card["sha256"]}


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
        return LICENCES["lfw" if "lfw" in data.lower() else "celeba"]
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
