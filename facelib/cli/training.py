"""The commands that train, and those for what was trained: `facelib train, study, publish, export, info`."""

import dataclasses
import functools
import json
import os
import platform
import typing
from pathlib import Path

from facelib.cli.words import configure
from facelib.data.specs import load_data
from facelib.runs import run_folder


def train(method: str, /, *, preset: str = "book", data: tuple[str, ...] = ("synthetic",), root: str | None = None,
          out: str | None = None, steps: int | None = None, seed: int = 0, batch_size: int | None = None,
          precision: typing.Literal["no", "bf16", "fp16"] | None = None, tensorboard: bool = False,
          start: str | None = None, generator: str | None = None, set: tuple[str, ...] = ()):
    """Train a method; the same command again goes on where it was stopped.

    Args:
        method: which method: glcic, infogan, predictor, ... or judges; a name that is none gets a list of them.
        preset: which of the method's configurations: book, seed or smoke (seconds); judges: judge_attr, ...
        data: NAME[:ROOT][@FRAMING], several are joined, as in: celeba:celeba160 celeba:celeba64@aligned.
            NAME is synthetic, celeba, folder or digits; @aligned cuts whole aligned CelebA pictures to the faces' framing.
        root: the folder of the data, where --data does not name it; also a folder's name in FACELIB_DATA.
        out: the run folder, by default METHOD-PRESET in the folder that FACELIB_RUNS names, else in runs;
            on Colab in your Google Drive, once a cell has shown it.
        steps: stop after so many optimiser steps; by default all of the configuration's.
        seed: of the first weights, the batches and the holes.
        batch_size: images per process; by default the configuration's.
        precision: float type of the networks; by default what pays on this device.
        tensorboard: also write a log for TensorBoard into the run folder.
        start: published weights, or a run folder, to begin with, as in: train infogan --start dcgan.
        generator: of a method that works with another's generator (predictor): the published weights, or the run folder,
            of that other; by default what its configuration names.
        set: changes of the configuration, as in: alpha=0.001 skip_links=False.
    """
    from facelib import pretrained
    from facelib.methods import method_class
    from facelib.train import fit, load_checkpoint

    cls = method_class(method)
    if preset not in cls.presets:
        raise ValueError(f"preset of {method} must be one of {', '.join(cls.presets)}, got {preset!r}")
    network = _new(cls, configure(cls.presets[preset], set), generator, seed)
    out = Path(out) if out else run_folder(f"{method}-{preset}")
    done = load_checkpoint(out / "last.pt")["step"] if (out / "last.pt").exists() else 0
    faces = load_data(data, network.training_size, root)
    total = sum(length for _, length in network.phases())
    steps = total if steps is None else min(steps, total)
    # One of several processes speaks.
    say = functools.partial(print, flush=True) if os.environ.get("RANK", "0") == "0" else lambda _: None
    say(f"{faces}\n{faces.report}".strip())
    say(f"{out} holds {done} of {steps} steps: resuming there" if done else f"training {method} ({preset}), {steps} steps, "
        f"in {out}")
    if start is not None and not done:
        say(f"beginning with {pretrained.start(network, start)} tensors of {start}")
    fit(network, faces, out, steps=steps, seed=seed, batch_size=batch_size, precision=precision, tensorboard=tensorboard)
    say(f"done: {out}/last.pt, samples in {out}/samples, losses in {out}/log.jsonl")


def _new(cls, cfg, generator, seed):
    """A new method, on the generator that the command line or else its configuration names where it borrows one."""
    from facelib import pretrained, weights

    if generator is None and not cls.borrows:
        return cls(cfg, seed)
    name = generator or getattr(cfg, "generator", "")
    if generator is None and name not in weights.names() and not Path(name or "none").is_dir():
        missing = f"no weights called {name!r} come with this version" if name else "this configuration names none"
        raise ValueError(f"{cls.__name__} works with another method's generator, and {missing}: say with --generator which "
                         "published weights (facelib info lists them), or which run folder, of infogan or dcgan")
    return pretrained.on_generator(cls, cfg, name, seed)


def study(name: str, /, *, out: str | None = None, runs: str | None = None, quick: bool = False):
    """Repeat a source's experiments: short runs, one for each variant, and what they found beside what it claimed.

    Args:
        name: which study: dcgan, denoising, enhance, glcic, ...; a name that is none gets a list of them.
        out: a .json file for the report, by default book/results/NAME.json.
        runs: the folder of the training runs; those that are there are not trained again.
        quick: a few steps only, to see that everything works.
    """
    from facelib import studies

    studies.run(name, out=out, runs=runs, quick=quick)


def publish(run: Path, /, *, name: str, data: tuple[str, ...] = (), report: tuple[Path, ...] = (),
            licence: str | None = None, note: str = ""):
    """Make the package's weights of a run, with their card.

    Args:
        run: a run folder.
        name: what the weights shall be called.
        data: for judges: the faces on whose held-out splits they are measured, as for train.
        report: for other methods: reports of facelib evaluate, whose figures go into the card.
        licence: of the weights, where it does not follow from the data.
        note: what a reader of the card must know besides.
    """
    from facelib import pretrained
    from facelib.evaluate.report import card_figures

    metrics = _judge_metrics(run, data) if data else {}
    for path in report:
        metrics |= card_figures(json.loads(path.read_text()), name)
    print(pretrained.publish(run, name, metrics=metrics, licence=licence, note=note))


def _judge_metrics(run, data):
    """Accuracy per attribute on val and test faces, and verification on people of val (threshold) and of test."""
    import numpy as np

    from facelib.data import join
    from facelib.methods.judges import attribute_accuracy, verification_accuracy
    from facelib.pretrained import load_run

    method = load_run(run)
    if not hasattr(method, "net_ema"):
        raise ValueError("--data measures judges; for other methods give --report, a report of facelib evaluate")
    faces = load_data(data, method.cfg.size)
    metrics = {"faces": f"val and test of {faces.name}, {len(faces.val) + len(faces.test)} faces"}
    if "attributes" in method.cfg.targets:
        parts = [dataclasses.replace(faces, train=split) for split in (faces.val, faces.test)]
        metrics["attributes"] = attribute_accuracy(method.net_ema, join(*parts).train)
    if "identities" in method.cfg.targets:
        train, val, test = ({*np.unique(s.identities).tolist()} - {-1} if s.identities is not None else set()
                            for s in (faces.train, faces.val, faces.test))
        if shared := test & (train | val):
            raise ValueError(f"{len(shared)} people of the test split are in train or val too: verification would not be "
                             "measured on people that are held out")
        metrics["verification"] = verification_accuracy(method.net_ema, faces.val, faces.test)
    return metrics


def export(name: str, /, *, out: Path):
    """Write published weights as one ONNX file, which runs without PyTorch, also in a browser.

    Args:
        name: of the weights, such as glcic, infogan or predictor; a name that cannot be exported gets a list of those that can.
        out: the .onnx file to write.
    """
    from facelib.export import export, verb_of

    verb = verb_of(name)
    written = export(name, out)
    print(f"{written}: {verb} of {name}, {written.stat().st_size / 2**20:.1f} MB")


def info():
    """Show versions, devices, published weights, and the data that is found."""
    import numpy
    import torch

    import facelib
    from facelib import weights
    from facelib.data import pack
    from facelib.pretrained import hardware

    print(f"facelib {facelib.__version__}, Python {platform.python_version()}, torch {torch.__version__}, "
          f"numpy {numpy.__version__}")
    print(f"device: {hardware()}")
    print("weights:" if weights.names() else "weights: none")
    for name in weights.names():
        card = weights.card(name)
        figures = ", ".join(f"{key} {value:.4g}" for key, value in _figures(card.get("metrics", {})))
        print(f"  {name}: {card.get('method')}, {card.get('bytes', 0) / 2**20:.1f} MB, {card.get('data')}, "
              f"{card.get('steps')} steps{f'; {figures}' if figures else ''}; {card.get('licence')}")
    places = [Path(p).expanduser() for p in os.environ.get("FACELIB_DATA", "").split(os.pathsep) if p]
    print(f"FACELIB_DATA: {os.pathsep.join(map(str, places)) or 'not set'}")
    for place in places:
        for folder in sorted({found.parent for pattern in ("img_align_celeba", "*/img_align_celeba")
                              for found in place.glob(pattern)}):
            print(f"  celeba in {folder}")
    print(f"packed copies: {pack.cache_folder()}")


def _figures(metrics, prefix=""):
    """The handful of numbers of a card that a line has room for."""
    wanted = ("psnr_hole", "fd_attr", "attributes", "verification", "mean", "accuracy", "center", "samples", "upscale")
    for key, value in metrics.items():
        if key in wanted and isinstance(value, dict):
            inner = value.get("mean", value.get("accuracy"))
            if inner is None:
                yield from _figures(value, f"{key} ")
            else:
                yield f"{prefix}{key}", inner
        elif key in wanted and isinstance(value, int | float):
            yield f"{prefix}{key}", value
