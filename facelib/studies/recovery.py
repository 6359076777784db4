"""The experiments on the way back (Poka et al. 2019): latents of a given face, by a predictor, by search, and by both."""

from dataclasses import replace

import torch
import torch.nn.functional as F

from facelib import metrics
from facelib.features import at_size_of
from facelib.methods import method_class
from facelib.studies.infogan import ASKED, BOOK, small
from facelib.studies.study import Study

FACES, STEPS = 96, 40       # test faces whose latents are looked for, and steps of each search
IMAGES = 8000               # that every predictor sees


@torch.no_grad()
def recovered(method, test, real, judges):
    """The first 96 test faces, made again from the latents that were found for them, against these faces.

    psnr, ssim: by the predictor alone. psnr_searched, ssim_searched: 40 steps of search later, with the predictor's own
    likeness; psnr_unpredicted: as many from the prior's mean. psnr_32: of the searched ones, both faces shrunk to 32x32.
    noise_error: of the predictor on generated faces; 1 is knowing nothing. identity: distance of the searched faces.
    """
    image = test[:FACES]
    vector = method.draw_latents(ASKED, seed=1)
    z = torch.cat([method.encode(part)["z"] for part in method.generate(vector).split(128)])
    first = method.generate(method.encode(image))
    searched, unpredicted = (method.recover(image, STEPS, start=start).images for start in ("predictor", "mean"))
    seen = torch.cat([judges[1].features(at_size_of(judges[1], part)) for part in searched.split(64)])
    shrunk = [F.avg_pool2d(x, x.shape[-1] // 32) for x in (searched, image)]
    values = {"psnr": metrics.psnr(first, image), "ssim": metrics.ssim(first, image), "psnr_32": metrics.psnr(*shrunk),
              "psnr_searched": metrics.psnr(searched, image), "ssim_searched": metrics.ssim(searched, image),
              "psnr_unpredicted": metrics.psnr(unpredicted, image)}
    figures = {"noise_error": float((z - method.layout.split(vector)["z"]).pow(2).mean()), "faces": len(image),
               "identity": float(metrics.identity_distance(seen, real["identity"][:FACES]).mean())}
    return figures, {key: value.numpy() for key, value in values.items()}


def study():
    """Larger faces, other likenesses, and the generator of the project's kind, read by a predictor of its own.

    The generators are those of `facelib study infogan`, whose "noise in the trunk" and "noise by a network" are the other
    two ways to read the noise. All are trained alike, searched alike, and not trained any more when a predictor learns.
    """
    generators = {"32 pixels": small(**BOOK), "64 pixels": small(**BOOK, size=64), "project": small()}
    theirs = {key: getattr(generators["32 pixels"], key) for key in ("size", "z_dim", "continuous", "latents", "batch_norm")}
    base = replace(method_class("predictor").presets["book"], **theirs, g_width=generators["32 pixels"].width, width=16,
                   generator="32 pixels", likeness="mse", steps=(IMAGES // 32, 0), ema_decay=0.98)
    return Study("predictor", base, {
        "mse": {},
        "ssim": {"likeness": "ssim"},
        "ms_ssim": {"likeness": "ms_ssim"},
        "perceptual": {"likeness": "perceptual"},
        "latents only": {"likeness_weight": 0.0, "pixels": 0.0, "latent": 1.0},
        "64 pixels": {"generator": "64 pixels"},
        "project": {"generator": "project"},
    }, {
        "ssim": "SSIM is used extensively for iterative approximation and proved better than MSE (3.3.9).",
        "ms_ssim": "Multi-scale SSIM further improves the quality, especially at 128 pixels (3.3.9).",
        "perceptual": "Comparing embeddings is new and promising; no time to complete its integration (3.4).",
        "latents only": "The predictor's first loss: noise and codes of generated images (3.3).",
        "64 pixels": "Quality of recovery depends on the resolution: 64x64 against 32x32 proves the hypothesis (3.3.5).",
        "project": "A network of its own, trained on a finished generator: the trunk cannot serve three objectives (3.3.3).",
    }, {}, recovered, ("loss", "rec", "likeness", "latent"),
        generators={name: ("infogan", config) for name, config in generators.items()})
