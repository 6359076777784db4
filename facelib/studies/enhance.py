"""The experiments on enlarging 8x8 faces in stages (Herbert 2017)."""

from dataclasses import replace

import torch

from facelib import metrics, resolution
from facelib.methods import method_class
from facelib.studies.study import Study, seen_by


def enlargements(method, test, real, judges):
    """8x8 test faces enlarged to 32x32, against the true faces; *_back: after back-projection to the 8x8 faces.

    See `study.completions`.
    """
    low = resolution.shrink(test)
    raw = torch.cat([method.upscale(part) for part in low.split(64)])
    figures, values = {}, {}
    for name, image in (("", raw), ("_back", resolution.back_project(raw, low))):
        seen = seen_by(judges, image)
        values[f"psnr{name}"] = metrics.psnr(image, test).numpy()
        figures |= {f"fd_attr{name}": metrics.frechet_distance(seen["features"], real["features"]),
                    f"identity{name}": float(metrics.identity_distance(seen["identity"], real["identity"]).mean())}
    edges = [sum(x.diff(dim=d).abs().mean() for d in (2, 3)) for x in (raw, test)]
    figures |= {"consistency": float(resolution.consistency(raw, low).mean()),
                "sharpness": float(edges[0] / edges[1]),                 # mean gradient, over the true faces'
                "parameters": sum(p.numel() for name in method.ships for p in getattr(method, name).parameters())}
    return figures, values


def study():
    """What each stage is worth, on rendered faces, with half the channels and few steps.

    The source trains one stage after the other, so its stages differ in training time too: "as long" gives the first
    stages all the steps that the three have.
    """
    cls = method_class("enhance")
    base = replace(cls.presets["book"], z_dim=64, width=12, e_width=32, c_width=24, d_width=16, steps=(300, 300, 500),
                   batch_size=32, ema_decay=0.99)
    vae = {"code": "vae", "code_weight": 0.001}
    return Study("enhance", base, {
        "A, B and C together": {},
        "A": {"steps": (300, 0, 0)},
        "A and B": {"steps": (300, 300, 0)},
        "A, as long": {"steps": (1100, 0, 0)},
        "A and B, as long": {"steps": (300, 800, 0)},
        "C on top, A and B frozen": {"together": False},
        "pixels for perceptual": {"perceptual": 0.0},
        "VAE: A, B and C together": vae,
        "VAE: A and B": vae | {"steps": (300, 300, 0)},
    }, {
        "A, B and C together": "Stage C sharpens, reduces noise and gives better color and lighting: an obvious and important "
                               "difference.",
        "A": "Lays out the rough, broad strokes of a profile.",
        "A and B": "More accurate head shape, hair colour and attributes than stage A alone.",
        "A, as long": "Not tried: stages were not compared after equally long training.",
        "A and B, as long": "Not tried: stages were not compared after equally long training.",
        "C on top, A and B frozen": "Separate models only trained together optionally at the end would be a natural fit.",
        "pixels for perceptual": "Perceptual loss has been shown to produce more realistic reconstructions; mine bear it out.",
        "VAE: A, B and C together": "In an earlier version with a VAE the final layer did not seem to improve results.",
        "VAE: A and B": "In an earlier version with a VAE the final layer did not seem to improve results.",
    }, {"A, B and C together": (0, 1)}, enlargements, ("rec", "perc", "adv", "code", "loss_D", "loss_D_code"))
