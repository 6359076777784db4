"""What a study is, and how one is carried out: every variant trained from the same seed on the same faces, then measured."""

import dataclasses
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from facelib import masks, metrics
from facelib.data import load_faces
from facelib.evaluate import hardware, interval, judge, save
from facelib.methods import method_class
from facelib.pretrained import load_pretrained
from facelib.train import fit

CURVE_POINTS = 40      # of each training curve that is kept in the report
RESAMPLES = 2000       # bootstrap samples of the test faces


@dataclass(frozen=True)
class Study:
    """A set of runs of one method: a base configuration, and what each variant changes in it."""

    method: str
    base: object                        # the method's Config that every variant starts from
    variants: dict                      # name -> {field: value}; the first one is the default
    claims: dict                        # variant -> what the source says about it, in a sentence
    seeds: dict                         # variant -> seeds, where more than (0,) are run


def carry_out(name, study, out=None, runs=None, faces=None, quick=False):
    """Run a study -> its report, also written to `out` (default book/results/NAME.json; "" writes nothing).

    runs: the folder of the training runs, by default runs/study-NAME; one that is complete is only measured. faces:
    FaceData of the base's size, by default the rendered faces. quick: 12 steps a phase and 160 test faces, to see that
    everything works (default `out` is then nothing).
    """
    base = replace(study.base, steps=(12,) * len(study.base.steps)) if quick else study.base
    faces = load_faces(size=base.size) if faces is None else faces
    runs = Path(runs or f"runs/study-{name}{'-quick' if quick else ''}")
    out = ("" if quick else f"book/results/{name}.json") if out is None else out
    test = faces.test.tensor(slice(0, 160 if quick else None))
    judges = load_pretrained("judge_attr"), load_pretrained("judge_identity")
    real = judge(judges, test, "cpu")
    resamples = np.random.default_rng(0).multinomial(len(test), np.full(len(test), 1 / len(test)), RESAMPLES) / len(test)
    found, default = {}, None
    for variant, changes in study.variants.items():
        for seed in study.seeds.get(variant, (0,)):
            label = variant if seed == 0 else f"{variant}, seed {seed}"
            print(f"{label}: {changes or 'the base configuration'}", flush=True)
            folder = runs / f"{variant.replace(' ', '-').replace('.', '')}-{seed}"
            method = fit(method_class(study.method)(replace(base, **changes), seed), faces, folder, seed=seed, quiet=True)
            figures, values = measure(method, test, real, judges)
            default = values if default is None else default
            found[label] = {"changes": changes, "seed": seed, "claim": study.claims.get(variant, ""),
                            "hole_psnr": interval(values, resamples),
                            "hole_psnr_change": interval(values - default, resamples), **figures,
                            "curves": curves(folder / "log.jsonl")}
    report = {"command": f"facelib study {name}", "data": faces.name, "test_faces": len(test),
              "method": study.method, "base": dataclasses.asdict(base), "hole": "center", "variants": found,
              "hardware": hardware("cpu"), "torch": torch.__version__}
    if out:
        save(report, out)
    print(table(report))
    return report


def measure(method, test, real, judges):
    """A trained method on the test faces under the centred hole -> (figures, hole PSNR per face (N,))."""
    hole = masks.center(1, tuple(test.shape[-2:]))
    completed = torch.cat([method.cpu().complete(part, hole) for part in test.split(64)])
    seen = judge(judges, completed, "cpu")
    edges = [torch.stack([masks.cut(x, masks.boxes_of(hole).expand(len(x), -1)).diff(dim=d).abs().mean()
                          for d in (2, 3)]).mean() for x in (completed, test)]
    figures = {"fd_attr": metrics.frechet_distance(seen["features"], real["features"]),
               "sharpness": float(edges[0] / edges[1]),                 # mean gradient in the hole, over the truth's
               "identity": float(metrics.identity_distance(seen["identity"], real["identity"]).mean()),
               "parameters": sum(p.numel() for p in method.G.parameters())}
    return figures, metrics.psnr(completed, test, hole).numpy()


def curves(path):
    """The log of a run, thinned to CURVE_POINTS records: name -> list, None where a loss was not computed."""
    records = [json.loads(line) for line in Path(path).read_text().splitlines()]
    kept = [records[i] for i in np.unique(np.linspace(0, len(records) - 1, CURVE_POINTS).round().astype(int))]
    keys = ("step", "rec", "adv", "loss_G", "loss_D", "D_real", "D_fake")
    return {key: [record.get(key) for record in kept] for key in keys}


def table(report):
    """The report as text, a row for each run."""
    lines = [f"{'variant':<24}{'hole PSNR':>10}{'change':>8}{'95 %':>16}{'FD-attr':>9}{'sharpness':>11}"]
    for label, row in report["variants"].items():
        psnr, change = row["hole_psnr"], row["hole_psnr_change"]
        lines.append(f"{label:<24}{psnr['mean']:>10.2f}{change['mean']:>+8.2f}"
                     f"{change['low']:>+8.2f}{change['high']:>+8.2f}{row['fd_attr']:>9.2f}{row['sharpness']:>11.2f}")
    return "\n".join(lines)
