"""The experiments on globally and locally consistent completion (Iizuka et al. 2017), as Pal and Rastogi 2017 did it."""

from dataclasses import replace

from facelib.methods import method_class
from facelib.studies.study import Study


def study():
    """The six changes of Pal and Rastogi, each taken back alone, the deeper generator, and the overpowered D.

    The published configuration took 4 days on a Titan X. Here every run is short and small, so that all of them take
    minutes on a CPU, and the weight of the adversarial loss and the optimiser are those of the `book` preset: with
    alpha = 0.0004 and Adadelta at 0.001 nothing that concerns D would show in so few steps.
    """
    cls = method_class("glcic")
    base = replace(cls.presets["book"], width=16, d_width=16, d_features=64, batch_size=16, steps=(400, 60, 500),
                   lr=1e-3, d_lr=1e-3, alpha=1e-2, demean=True, semi_supervised=True, batch_norm=True,
                   spectral_norm=False, label_smoothing=0.75, ema_decay=0.99)
    return Study("glcic", base, {
        "default": {},
        "without skip links": {"skip_links": False},
        "deeper generator": {"deeper": True},
        "without classes": {"semi_supervised": False},
        "inputs 0..255": {"input_range": "bytes"},
        "mean not subtracted": {"demean": False},
        "saturating loss": {"saturating_loss": True},
        "without batch norm": {"batch_norm": False},
        "without smoothing": {"label_smoothing": 1.0},
        "large, fast D": {"d_width": 48, "d_lr": 4e-3, "label_smoothing": 1.0, "alpha": 5e-2},
        "overpowered D": {"d_width": 48, "label_smoothing": 1.0, "alpha": 2e-3},
        "without D": {"alpha": 0.0},
    }, {
        "without skip links": "Links to lower layers help to predict finer details and give much finer images (4.4, 1).",
        "deeper generator": "More dilated convolutions and links would give a richer completed region (7).",
        "without classes": "A discriminator that also classifies can be trained supervised; no result is given (4.4, 2).",
        "inputs 0..255": "Inputs in [-1, 1] instead of 0..255 reduced the reconstruction loss significantly (4.4, 3).",
        "mean not subtracted": "The images are de-meaned before anything else; no comparison is given (5.1).",
        "saturating loss": "min log(1 - D) has vanishing gradients early on; max log D is used instead (4.4, 4).",
        "without batch norm": "Batch normalisation helps the gradients to propagate (4.4, 5).",
        "without smoothing": "Smoothing the positive labels to 0.75 makes networks less vulnerable (4.4, 6).",
        "large, fast D": "A first guess at figure 5: three times the channels and four times the step size for D.",
        "overpowered D": "In the first training D got too strong: its loss kept falling while G's rose (6, figure 5).",
        "without D": "The adversarial loss improves sharpness and realism (4.3).",
    }, {"default": (0, 1, 2)})
