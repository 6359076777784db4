"""The experiments on the adversarial denoising autoencoder, and the dynamic X of its authors (Allen and Li 2016)."""

from dataclasses import replace

import torch

from facelib import masks, metrics
from facelib.methods import method_class
from facelib.studies.study import Study, completions

VALUES = 40 * 32 * 3    # pooled values of a face of 160x128: the squared error that the source's X multiplies is their sum


def study():
    """The source's base setup and its three control experiments, what explains them, and the dynamic X.

    The published network sees 160x128 pixels and more than 15,000 batches of 128. Here every run is small and short, so that
    all of them take minutes on a CPU, with a larger step size for G (with that for D too, D knew every face at once). So
    that X means what it means in the source, a mean over values is multiplied by X times the number of values there: 3840
    with pooling, 16 times as many without. Without D, every batch is G's: half of them are as many updates of G as the
    base's.
    """
    cls = method_class("denoising")
    base = replace(cls.presets["seed"], size=32, widths=(16, 32, 64, 96), up_widths=(64, 32, 16, 16),
                   d_widths=(16, 32, 64, 96), kernel=4, steps=(0, 1000), batch_size=16, lr=1e-3, d_lr=2e-4, ema_decay=0.99,
                   reduction="mean", mse_weight=float(VALUES))
    return Study("denoising", base, {
        "base, X = 1": {},
        "without discriminator": {"adversarial": False, "steps": (0, 500)},
        "X = 0.01": {"mse_weight": 0.01 * VALUES},
        "without pooling": {"pooling": "none", "mse_weight": 16.0 * VALUES},
        "without pooling, same weight": {"pooling": "none"},
        "max pooling": {"pooling": "max"},
        "dynamic X": {"dynamic": True, "window": 50, "tolerance": 0.05},
    }, {
        "without discriminator": "The discriminator does help with reconstruction, though its objective is another.",
        "X = 0.01": "The reconstruction stops at a much higher error, G learns more from D and reaches an equilibrium "
                    "quickly; slightly worse reconstruction.",
        "without pooling": "Brings back a blurred look in the hole; outside of it mostly clear of artefacts, which are often "
                           "there with pooling.",
        "without pooling, same weight": "Not tried: without pooling a sum has 16 times as many terms, so that X changed too.",
        "max pooling": "Called max pooling in the text; the code it builds on takes the average of 4x4 pixels.",
        "dynamic X": "Proposed: weigh the error less once it has converged; may lead to more stable training.",
    }, {"base, X = 1": (0, 1, 2)}, raw_and_completed, ("X", "enc_cost", "g_cost_d", "d_cost_real", "d_cost_gen"))


def raw_and_completed(method, test, real, judges):
    """Completions of the test faces under the centred hole, and the raw outputs outside it, against these faces.

    -> as `completions`, with the PSNR of the raw output's known pixels, and their mean gradient over the truth's: below 1
    they are blurred, above 1 there is detail that is not in the face.
    """
    figures, values = completions(method, test, real, judges)
    size = tuple(test.shape[-2:])
    hole = masks.center(1, size)
    raw = torch.cat([method.reconstruct(part, hole) for part in test.split(64)])
    wider = torch.nn.functional.max_pool2d(hole, 3, 1, 1)       # no difference across the hole's border is counted
    values["outside_psnr"] = metrics.psnr(raw, test, 1 - hole).numpy()
    edges = [sum((x.diff(dim=d) * (1 - wider).narrow(d, 0, size[d - 2] - 1)).abs().mean() for d in (2, 3))
             for x in (raw, test)]
    return figures | {"outside_sharpness": float(edges[0] / edges[1])}, values
