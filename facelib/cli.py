"""The command line: `facelib train|complete|upscale|generate|align|evaluate|study|publish|info`, also as `python -m facelib ...`.

A mistake of the user's ends with one line on stderr and exit code 2, a failure (no memory, diverged, disk full) with 1,
Ctrl-C with 130. `python -X dev -m facelib ...` shows the traceback of what went wrong.
"""

import dataclasses
import functools
import json
import math
import os
import platform
import sys
import typing
from pathlib import Path

from facelib.extras import need


def main(argv=None):
    """Run one command line (default: this process's) -> its exit code."""
    commands = {"train": train, "complete": complete, "upscale": upscale, "generate": generate, "align": align,
                "evaluate": evaluate, "study": study, "publish": publish, "info": info}
    try:
        tyro = need("tyro")
        code = tyro.extras.subcommand_cli_from_dict(commands, prog="facelib", args=argv,
                                                    description="Completing and controlling faces.")
    except KeyboardInterrupt as stop:
        print(f"facelib: {str(stop) or 'stopped'}", file=sys.stderr)
        return 130
    except (ValueError, ImportError, RuntimeError, OSError) as error:
        if sys.flags.dev_mode:
            raise
        print(f"facelib: {error}", file=sys.stderr)
        wrong = (ValueError, ImportError, FileNotFoundError, FileExistsError, NotADirectoryError, IsADirectoryError)
        return 2 if isinstance(error, wrong) else 1
    return code or 0


def train(method: str, /, *, preset: str = "book", data: tuple[str, ...] = ("synthetic",), root: str | None = None,
          out: str | None = None, steps: int | None = None, seed: int = 0, batch_size: int | None = None,
          precision: typing.Literal["no", "bf16", "fp16"] | None = None, tensorboard: bool = False,
          set: tuple[str, ...] = ()):
    """Train a method; the same command again goes on where it was stopped.

    Args:
        method: which method: glcic or judges.
        preset: which of the method's configurations: book, seed or smoke (seconds); judges: judge_attr, ...
        data: NAME[:ROOT][@FRAMING], several are joined, as in: celeba:celeba160 celeba:celeba64@aligned.
            NAME is synthetic, celeba, folder or digits; @aligned cuts whole aligned CelebA pictures to the faces' framing.
        root: the folder of the data, where --data does not name it; also a folder's name in FACELIB_DATA.
        out: the run folder, by default runs/METHOD-PRESET.
        steps: stop after so many optimiser steps; by default all of the configuration's.
        seed: of the first weights, the batches and the holes.
        batch_size: images per process; by default the configuration's.
        precision: float type of the networks; by default what pays on this device.
        tensorboard: also write a log for TensorBoard into the run folder.
        set: changes of the configuration, as in: alpha=0.001 skip_links=False.
    """
    from facelib.methods import method_class
    from facelib.train import fit, load_checkpoint

    cls = method_class(method)
    if preset not in cls.presets:
        raise ValueError(f"preset of {method} must be one of {', '.join(cls.presets)}, got {preset!r}")
    cfg = configure(cls.presets[preset], set)
    out = Path(out or f"runs/{method}-{preset}")
    done = load_checkpoint(out / "last.pt")["step"] if (out / "last.pt").exists() else 0
    faces = load_data(data, cfg.size, root)
    network = cls(cfg, seed)
    total = sum(length for _, length in network.phases())
    steps = total if steps is None else min(steps, total)
    # One of several processes speaks.
    say = functools.partial(print, flush=True) if os.environ.get("RANK", "0") == "0" else lambda _: None
    say(f"{faces}\n{faces.report}".strip())
    say(f"{out} holds {done} of {steps} steps: resuming there" if done else f"training {method} ({preset}), {steps} steps, "
        f"in {out}")
    fit(network, faces, out, steps=steps, seed=seed, batch_size=batch_size, precision=precision, tensorboard=tensorboard)
    say(f"done: {out}/last.pt, samples in {out}/samples, losses in {out}/log.jsonl")


def configure(cfg, changes):
    """A frozen config dataclass with changes "field=value", each read as the type that the field has."""
    types_of = {field.name: type(getattr(cfg, field.name)) for field in dataclasses.fields(cfg)}
    found = {}
    for change in changes:
        name, given, text = change.partition("=")
        if not given or name not in types_of:
            raise ValueError(f"--set takes FIELD=VALUE with a field out of {', '.join(types_of)}; got {change!r}")
        found[name] = _typed(text, types_of[name], getattr(cfg, name), name)
    return dataclasses.replace(cfg, **found)


def _typed(text, kind, example, name):
    wanted = {bool: "True or False", int: "a whole number", float: "a number", tuple: "values with commas between them"}
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()]
        if kind is tuple:
            inner = type(example[0]) if example else str
            return tuple(inner(part) for part in text.strip("()[]").split(",") if part.strip())
        return kind(text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{name} must be {wanted[kind]}, as {example!r} is now; got {text!r}") from error


def load_data(specs, size, root=None):
    """Data sets by their specs (see `parse_data`), joined. root: of a single spec that names none."""
    from facelib.data import join

    specs = [specs] if isinstance(specs, str) else list(specs)
    if root is not None and (len(specs) != 1 or ":" in specs[0]):
        raise ValueError("--root says where one data set is; with several, or where --data names the folder, write "
                         "NAME:ROOT for each")
    return functools.reduce(join, [parse_data(spec, size, root) for spec in specs])


def parse_data(spec, size, root=None):
    """A data set from NAME[:ROOT][@FRAMING] at `size` pixels -> FaceData, whose name says source and framing.

    "celeba:celeba64@aligned" means: whole aligned CelebA pictures (178x218, or squashed from it), cut to our faces' framing.
    """
    from facelib.data import load_faces
    from facelib.data.celeba import FRAMING

    named, at, framing = spec.rpartition("@") if "@" in spec else (spec, "", "")
    source, _, place = named.partition(":")
    if at and (framing != "aligned" or source not in ("celeba", "folder")):
        raise ValueError(f"the only framing is @aligned, of celeba and folder; got {spec!r}")
    faces = load_faces(source, root=place or root, size=size, box=FRAMING if framing else None)
    # The name goes into run folders and cards, and a licence follows from it: it must tell the source.
    name = faces.name if source in faces.name.lower() else f"{source}:{faces.name}"
    return dataclasses.replace(faces, name=f"{name}@{framing}" if framing else name)


def complete(photo: Path, /, *, hole: str | None = None, mask: Path | None = None, method: str = "glcic",
             eyes: str | None = None, out: Path | None = None, blend: bool = True, every: int | None = None,
             steps: int | None = None):
    """Fill a hole in the face of a photograph, or of every photograph of a folder.

    What appears in the hole is invented by a network: it is not what was there.

    Args:
        photo: a picture, or a folder of pictures.
        hole: the hole as x,y,width,height in pixels of the photograph; or centre, the middle of a picture that is nothing
            but an aligned face.
        mask: or the hole as a picture of the photograph's size, white where it is; for a folder of photographs also
            a folder of masks of the same names.
        method: the name of published weights (facelib info lists them), or a run folder.
        eyes: x,y,x,y in pixels, where no face is found or the wrong one.
        out: the picture to write, by default PHOTO-completed.png (a folder: PHOTO-completed/).
        blend: hide the seam of the hole (Poisson blending).
        every: of a method that searches (dcgan), also write each so-manyth step: beside NAME.png a folder NAME/ with
            0000.png, 0050.png, ...
        steps: with --every, how many steps such a search takes; by default its configuration's.
    """
    from facelib import photo as photos

    if steps is not None and every is None:
        raise ValueError("--steps goes with --every: it is the length of the search whose steps are kept")
    options = {"hole": hole if hole in photos.CENTRE else hole and numbers(hole, "--hole", "x,y,width,height"),
               "eyes": eyes and numbers(eyes, "--eyes", "x,y,x,y"), "blend": blend}
    if (hole is None) == (mask is None):
        raise ValueError("say where the hole is: either --hole x,y,width,height or --mask PICTURE")
    out = _place(photo, out, "completed")
    network = _network(method)
    if every is not None:
        photos.check_search(network, every, steps)
    if photo.is_dir():
        return _told(*photos.complete_folder(photo, out, network, every, steps, mask, **options), "completed", out)
    photos.complete_file(photo, out, network, every, steps, mask=mask, **options)
    print(out)


def _place(photo, out, what):
    """Where the result of a photograph, or of a folder of them, goes: `out`, or beside it under a name that says `what`."""
    if not photo.exists():
        raise FileNotFoundError(f"expected a picture or a folder, found no {photo}")
    if photo.is_dir():
        return out or photo.with_name(f"{photo.name}-{what}")
    out = out or photo.with_name(f"{photo.stem}-{what}.png")
    if out.exists() and out.samefile(photo):
        raise ValueError(f"--out would overwrite the photograph {photo}; choose another name")
    return out


def _told(done, skipped, what, out):
    """Say what became of a folder of photographs -> the exit code."""
    print(f"{done} of {done + len(skipped)} photographs {what}, in {out}")
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    return 0 if done else 1


def upscale(photo: Path, /, *, method: str = "enhance", eyes: str | None = None, aligned: bool = False,
            back_projection: bool = True, sheet: bool = False, out: Path | None = None):
    """Shrink the face of a photograph, or of every photograph of a folder, to 8x8 pixels, and enlarge it to 32x32.

    The details are invented by a network: the face that comes out identifies nobody.

    Args:
        photo: a picture, or a folder of pictures; one of 8x8 pixels is enlarged as it is.
        method: the name of published weights (facelib info lists them), a run folder, nearest or bicubic.
        eyes: x,y,x,y in pixels, where no face is found or the wrong one.
        aligned: the whole picture, which is square, is the face.
        back_projection: correct the result so that it shrinks to the same 8x8 pixels again.
        sheet: also write a comparison: the 8x8 pixels, bicubic, the result, the photograph's own face.
        out: the picture to write, 32x32 pixels, by default PHOTO-upscaled.png (a folder: PHOTO-upscaled/).
    """
    from facelib import photo as photos
    from facelib import resolution
    from facelib.evaluate.upscalers import Function

    options = {"eyes": eyes and numbers(eyes, "--eyes", "x,y,x,y"), "aligned": aligned, "back_projection": back_projection}
    out = _place(photo, out, "upscaled")
    network = Function(resolution.METHODS[method]) if method in resolution.METHODS else _network(method)
    photos.check_upscale(network)
    name = Path(method).name
    if photo.is_dir():
        done, skipped = photos.upscale_folder(photo, out, network, name, sheet, **options)
        print(photos.INVENTED)
        return _told(done, skipped, "enlarged", out)
    photos.upscale_file(photo, out, network, name, sheet, **options)
    print(f"{out}\n{photos.INVENTED}")


def numbers(text, option, form):
    """Numbers with commas between them, as many as `form` names -> tuple of float."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != len(form.split(",")) or not all(map(math.isfinite, found)):
        raise ValueError(f"{option} must be {form} in pixels of the photograph, got {text!r}")
    return found


def _network(name):
    from facelib.pretrained import load_pretrained, load_run

    return load_run(name) if Path(name).is_dir() else load_pretrained(name)


def generate(name: str, /, *, n: int = 16, seed: int = 0, spread: float = 1.0, out: Path = Path("generated"),
             screen: tuple[str, ...] = (), drop: tuple[int, ...] = ()):
    """Draw faces of nobody.

    Args:
        name: published weights of a method that draws faces (dcgan, vae), or a run folder.
        n: how many.
        seed: of the faces.
        spread: below 1 for more typical and less varied faces.
        out: a folder for PNG files; or a .jpg or .png file: one sheet, with its card beside it.
        screen: the faces that it was trained on, as --data of train: near-copies of them, and what is no face, are left out.
        drop: numbers of samples that you looked at and do not want.
    """
    from facelib import generation

    method = _network(name)
    faces = load_data(screen, method.cfg.size) if screen else None
    print(generation.main(name, method, n, seed, spread, out, faces, drop, screen))


def align(source: Path, target: Path, /, *, size: int = 64, template: str = "celeba", landmarks: Path | None = None):
    """Cut the aligned face out of every picture of a folder.

    Args:
        source: a folder of photographs.
        target: the folder for the faces, PNG.
        size: the faces' side in pixels.
        template: how they are framed: celeba, inner_eyes_and_bottom_lip or outer_eyes_and_nose.
        landmarks: CelebA's landmark file, used instead of a detector.
    """
    from facelib.data.align import align_folder

    written, skipped = align_folder(source, target, size, template, landmarks)
    print(f"{written} faces written to {target}, {len(skipped)} pictures skipped")
    for name, reason in skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    return 0 if written else 1


def evaluate(*, methods: tuple[str, ...] = ("glcic",), data: str = "synthetic", root: str | None = None, size: int = 64,
             holes: tuple[str, ...] = ("centre",), n: int | None = None, seed: int = 0, out: Path | None = None,
             samples: tuple[str, ...] = (), upscale: tuple[str, ...] = ()):
    """Measure methods on held-out faces: one table.

    Args:
        methods: published weights (facelib info lists them), classical methods, mean_face, any of them with +poisson
            (blended), or all. The first is the one that the others are compared with.
        data: synthetic, celeba, folder or digits.
        root: the folder of the data, or its name in FACELIB_DATA.
        size: side of the faces in pixels.
        holes: kinds of holes: centre, random (a rectangle), glcic, half, pattern, pixels, free (strokes).
        n: how many test faces; by default all under the centre hole, 128 under the others.
        seed: of the holes.
        out: a .json file for the report; the table goes beside it as .md. Rows that are there and still true are kept.
        samples: instead: weights that draw faces of nobody (dcgan, vae), whose samples are compared with real faces.
        upscale: instead: what enlarges faces from 8x8 to 32x32 pixels: published weights (enhance, ...), nearest, bicubic,
            any of them with +back_projection, or all.
    """
    from facelib import evaluate as benchmark
    from facelib import generation
    from facelib.evaluate import upscaling

    listed = lambda words: [part for word in words for part in word.split(",") if part]
    if samples and upscale:
        raise ValueError("--samples and --upscale are two reports; ask for one at a time")
    if samples:
        generation.main_quality(samples, data, root, size, seed, out)
        return
    if upscale:
        upscaling.main(listed(upscale), data, root, n, seed, out)
        return
    benchmark.main(listed(methods), data, root, size, listed(holes), n, seed, out)


def study(name: str, /, *, out: str | None = None, runs: str | None = None, quick: bool = False):
    """Repeat a source's experiments: short runs, one for each variant, and what they found beside what it claimed.

    Args:
        name: which study: glcic.
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
