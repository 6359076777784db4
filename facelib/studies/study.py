"""What a study is, and how one is carried out: every variant trained from the same seed on the same faces, then measured."""

import base64
import dataclasses
import functools
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from facelib import masks, metrics
from facelib.data import load_faces, to_uint8
from facelib.evaluate import hardware, interval, judge, save
from facelib.features import at_size_of
from facelib.methods import method_class
from facelib.pretrained import load_pretrained, on_generator
from facelib.train import fit

CURVE_POINTS = 40      # of each training curve that is kept in the report
RESAMPLES = 2000       # bootstrap samples of the test faces
SAMPLES = 1024         # faces drawn of a generator, and train faces drawn for the floor, to compare with the test faces


def seen_by(judges, images):
    """What the judges see in faces (N, 3, H, W) of any size -> as `evaluate.judge`."""
    return judge(judges, images, "cpu")


def completions(method, test, real, judges):
    """Completions of the test faces under the centred hole, against these faces.

    -> (figures of the set, figures per face: name -> (N,)). So is every function that a `Study` measures with; `real`
    is what the `judges` see in the test faces (N, 3, H, W).
    """
    hole = masks.center(1, tuple(test.shape[-2:]))
    completed = torch.cat([method.complete(part, hole) for part in test.split(64)])
    seen = seen_by(judges, completed)
    edges = [torch.stack([masks.cut(x, masks.boxes_of(hole).expand(len(x), -1)).diff(dim=d).abs().mean()
                          for d in (2, 3)]).mean() for x in (completed, test)]
    figures = {"fd_attr": metrics.frechet_distance(seen["features"], real["features"]),
               "sharpness": float(edges[0] / edges[1]),                 # mean gradient in the hole, over the truth's
               "identity": float(metrics.identity_distance(seen["identity"], real["identity"]).mean()),
               "parameters": sum(p.numel() for p in method.G.parameters())}
    return figures, {"hole_psnr": metrics.psnr(completed, test, hole).numpy()}


def samples(method, test, real, judges):
    """Faces that the generator draws of latents, as a set against the set of the test faces; see `completions`.

    The figures hold the first eight as well, side by side: a JPEG in base64.
    """
    drawn, picture = method.sample(SAMPLES), io.BytesIO()
    Image.fromarray(to_uint8(drawn[:8]).permute(2, 0, 3, 1).flatten(1, 2).numpy()).save(picture, "jpeg", quality=92)
    edges = [sum(x.diff(dim=d).abs().mean() for d in (2, 3)) for x in (drawn, test)]
    with torch.no_grad():
        features = torch.cat([judges[0].features(at_size_of(judges[0], part)) for part in drawn.split(64)])
    figures = {"fd_attr": metrics.frechet_distance(features, real["features"]),
               "sharpness": float(edges[0] / edges[1]),                 # mean gradient, over the test faces'
               "spread": float(drawn.std(0).mean() / test.std(0).mean()),       # from face to face, over the test faces'
               "parameters": sum(p.numel() for p in method.G.parameters()),
               "faces": base64.b64encode(picture.getvalue()).decode()}
    return figures, {}


@dataclass(frozen=True)
class Study:
    """A set of runs of one method: a base configuration, and what each variant changes in it."""

    method: str
    base: object                        # the method's Config that every variant starts from
    variants: dict                      # name -> {field: value}; the first one is the default
    claims: dict                        # variant -> what the source says about it, in a sentence
    seeds: dict                         # variant -> seeds, where more than (0,) are run
    measure: Callable = completions
    curves: tuple = ("rec", "adv", "loss_G", "loss_D", "D_real", "D_fake")      # what is kept of the runs' logs
    skips: dict = field(default_factory=dict)       # variant -> a function of the method that does nothing in its runs
    generators: dict = field(default_factory=dict)  # what a config's `generator` names -> (method, Config): trained first


def carry_out(name, study, out=None, runs=None, faces=None, quick=False):
    """Run a study -> its report, also written to `out` (default book/results/NAME.json; "" writes nothing).

    runs: the folder of the training runs, by default runs/study-NAME; one that is complete is only measured. faces:
    FaceData of the base's size, by default the rendered faces, in each size that a variant asks for. quick: 32 steps a
    phase and 160 test faces, to see that everything works (default `out` is then nothing).
    """
    runs = Path(runs or f"runs/study-{name}{'-quick' if quick else ''}")
    out = ("" if quick else f"book/results/{name}.json") if out is None else out
    judges = load_pretrained("judge_attr"), load_pretrained("judge_identity")

    @functools.cache
    def ground(size):
        """Faces of one size, those of the test split, and what the judges see in these."""
        sized = load_faces(size=size) if faces is None else faces
        test = sized.test.tensor(slice(0, 160 if quick else None))
        return sized, test, seen_by(judges, test)

    shown, test, real = ground(study.base.size)
    train = seen_by(judges, shown.train.tensor(slice(0, SAMPLES)))
    floor = metrics.frechet_distance(train["features"], real["features"])

    @functools.cache
    def resamples(n):
        return np.random.default_rng(0).multinomial(n, np.full(n, 1 / n), RESAMPLES) / n

    found, default = {}, None
    for variant, changes in study.variants.items():
        for seed in study.seeds.get(variant, (0,)):
            label = variant if seed == 0 else f"{variant}, seed {seed}"
            print(f"{label}: {changes or 'the base configuration'}", flush=True)
            folder = runs / f"{slug(variant)}-{seed}"
            method = prepared(study, shortened(replace(study.base, **changes), quick), seed, ground, runs, quick)
            if variant in study.skips:
                setattr(method, study.skips[variant], lambda *_: None)
            sized, test, real = ground(getattr(method.cfg, "size", study.base.size))
            method = fit(method, sized, folder, seed=seed, quiet=True).cpu()
            figures, values = study.measure(method, test, real, judges)
            default = values if default is None else default
            found[label] = {"changes": changes, "seed": seed, "claim": study.claims.get(variant, ""),
                            **({"skips": study.skips[variant]} if variant in study.skips else {}),
                            **{key: interval(value, resamples(len(value))) for key, value in values.items()},
                            **{f"{key}_change": interval(value - default[key], resamples(len(value)))
                               for key, value in values.items()},
                            **figures, "curves": curves(folder / "log.jsonl", study.curves)}
    report = {"command": f"facelib study {name}", "data": shown.name, "test_faces": len(test),
              "method": study.method, "base": dataclasses.asdict(study.base),
              **({"generators": {key: {"method": kind, "config": dataclasses.asdict(config)}
                                 for key, (kind, config) in study.generators.items()}} if study.generators else {}),
              "variants": found,
              "measured": study.measure.__doc__.splitlines()[0],
              "floor": {"fd_attr": floor},
              "hardware": hardware("cpu"), "torch": torch.__version__}
    if out:
        save(report, out)
    print(table(report))
    return report


def slug(name):
    """A variant's name as a folder's."""
    return name.replace(" ", "-").replace(".", "").replace("/", "-")


def shortened(config, quick):
    """The config, with 32 steps a phase at most where it has to be quick (an InfoGAN's encoder must see 1024 faces)."""
    return replace(config, steps=tuple(min(n, 32) for n in config.steps)) if quick else config


def prepared(study, config, seed, ground, runs, quick):
    """A new method for one run; one that borrows a generator gets the one that its config names, trained first."""
    cls = method_class(study.method)
    if not study.generators:
        return cls(config, seed)
    kind, theirs = study.generators[config.generator]
    theirs, folder = shortened(theirs, quick), runs / f"generator-{slug(config.generator)}"
    fit(method_class(kind)(theirs), ground(theirs.size)[0], folder, quiet=True)
    return on_generator(cls, config, folder, seed)


def curves(path, keys):
    """The log of a run, thinned to CURVE_POINTS records: name -> list, None where a loss was not computed."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    kept = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, CURVE_POINTS).round().astype(int))]
    return {key: [record.get(key) for record in kept] for key in ("step", *keys)}


def table(report):
    """The report as text, a row for each run: means with their 95 % interval, then the figures of the set."""
    first = next(iter(report["variants"].values()))
    means = [key for key, value in first.items() if isinstance(value, dict) and "mean" in value]
    whole = [key for key, value in first.items() if isinstance(value, float)]
    wide = {key: max(11, len(key) + 2) for key in whole}
    lines = [f"{'variant':<28}" + "".join(f"{key:>26}" for key in means) + "".join(f"{key:>{wide[key]}}" for key in whole)]
    for label, row in report["variants"].items():
        each = (f"{row[key]['mean']:.2f} ({row[key]['low']:.2f} to {row[key]['high']:.2f})" for key in means)
        lines.append(f"{label:<28}" + "".join(f"{cell:>26}" for cell in each)
                     + "".join(f"{row[key]:>{wide[key]}.2f}" for key in whole))
    return "\n".join(lines)
