"""The experiments on generating faces of nobody: the DCGAN of a student project (Kumar 2018), and what helps it."""

from dataclasses import asdict, replace

from facelib.methods import method_class
from facelib.studies.study import Study, samples

IMAGES = 30_000        # that every run sees, however it groups them into steps


def study():
    """The student project's configuration, and what separates it from `book`, taken back one by one.

    The project saw 60,000 photographs 25 times. Here every run has 32 pixels and few channels and sees 30,000 rendered
    faces, so that all of them take minutes on a CPU. What that takes: no perceptual distance, the project's step size
    for every G, and a larger one for D. Where a variant has no autoencoder, its steps go to the game.
    """
    cls = method_class("dcgan")
    small = {"size": 32, "width": 16, "d_width": 16, "ema_decay": 0.99}
    base = replace(cls.presets["book"], **small, z_dim=64, steps=(312, 25, IMAGES // 32 - 337), batch_size=32, lr=3e-4,
                   d_lr=1e-3, spectral_norm=False, r1=0.05, noise=0.7, anchor=5.0, perceptual=0.0)
    seed = replace(cls.presets["seed"], **small, steps=(0, 0, IMAGES // 300))
    published = {key: value for key, value in asdict(seed).items() if value != getattr(base, key)}
    alone = {"anchor": 0.0, "steps": (0, 0, IMAGES // 32)}
    return Study("dcgan", base, {
        "book": {},
        "seed": published,
        "seed in batches of 32": published | {"batch_size": 32, "steps": (0, 0, IMAGES // 32)},
        "without autoencoder": alone,
        "spectral norm for R1": {"spectral_norm": True, "r1": 0.0},
        "neither of the two": {"r1": 0.0},
        "saturating loss": {"saturating_loss": True},
        "kernel 5": {"kernel": 5},
    }, {
        "seed": "Complex networks could not be afforded; this one gave comparable results on the whole training set (4).",
        "seed in batches of 32": "Batches of 300; other sizes could not be tried, for lack of memory (5).",
        "without autoencoder": "Not tried; the generator starts from nothing (4).",
        "spectral norm for R1": "Not tried; batch normalisation in both networks (4).",
        "neither of the two": "Not tried; batch normalisation in both networks (4).",
        "saturating loss": "The prior loss, log(1 - D(G(z))), is called identical to the GAN loss (3.1).",
        "kernel 5": "Transposed convolutions with 5x5 filters and stride 2 (4).",
    }, {"book": (0, 1)}, samples)
