"""The experiments on BEGAN (Berthelot et al. 2017) and Info-BEGAN (Poka et al. 2019), whose D is an autoencoder."""

import copy
from dataclasses import replace

import torch

from facelib import metrics
from facelib.methods import method_class
from facelib.studies.infogan import IMAGES, told
from facelib.studies.study import Study, samples

PAIRS = 512            # faces that are compared with as many others, to see how varied a set is
PLAYED = IMAGES // 16  # steps of 16 faces: as many faces as an InfoGAN sees in its study


@torch.no_grad()
def balanced(method, test, real, judges):
    """Faces drawn of latents as a set, how varied they are, and what D, an autoencoder, makes of them and of real faces.

    alike: MS-SSIM of faces paired at random, the less the more varied; alike_test: of test faces. real_error, fake_error:
    D's mean absolute error as training sees it, of batches of 16; real_error_alone: with the statistics of its batch norm
    averaged, as any network is used in the end, the same where it has none. k: at the end. See `study.samples`, `told`.
    """
    drawn = method.sample(2 * PAIRS, seed=1)
    D = copy.deepcopy(method.D).train()

    def error(images):
        parts = images[:256].split(16)
        return sum(float((D(part) - part).abs().mean()) for part in parts) / len(parts)

    figures = {"alike": float(metrics.ms_ssim(*drawn.split(PAIRS)).mean()),
               "alike_test": float(metrics.ms_ssim(*test[:len(test) // 2 * 2].chunk(2)).mean()),
               "real_error": error(test), "fake_error": error(drawn),
               "real_error_alone": float((method.D.eval()(test[:256]) - test[:256]).abs().mean()),
               "k": float(method.scalars["k"])}
    return samples(method, test, real, judges)[0] | figures | told(method, test), {}


def study():
    """The diversity ratio, the step size, D's layers, the start and the codes, on rendered faces with few channels.

    The paper plays 200,000 steps at most, with k moved by 0.001 of the difference; here 750 steps see as many faces as the
    runs of `facelib study infogan`, so that k moves faster.
    """
    base = replace(method_class("began").presets["book"], size=32, width=16, steps=(150, PLAYED - 150), gamma=0.5, batch_size=16,
                   lr=5e-4, lr_half=400, k_step=0.02, ema_decay=0.99)
    scratch, codes = {"steps": (0, PLAYED)}, {"z_dim": 52, "categorical": (10,), "continuous": 2}
    return Study("began", base, {
        "gamma 0.5": {},
        "gamma 0.3": {"gamma": 0.3},
        "gamma 0.7": {"gamma": 0.7},
        "k stays 0": {"k_step": 0.0},
        "smaller steps": {"lr": 1e-4},
        "larger steps": {"lr": 2e-3},
        "from scratch": scratch,
        "InfoGAN's layers": {"autoencoder": "infogan"},
        "InfoGAN's layers, from scratch": scratch | {"autoencoder": "infogan"},
        "codes": codes,
        "codes, from scratch": scratch | codes,
    }, {
        "gamma 0.3": "Lower values lead to lower image diversity (Berthelot et al. 2017, 3.3).",
        "gamma 0.7": "Lower values lead to lower image diversity (Berthelot et al. 2017, 3.3).",
        "k stays 0": "Not tried; without k, D only learns to reconstruct real faces (3.4 of the paper).",
        "smaller steps": "BEGAN may suffer from a slight mode collapse with the given set of hyperparameters (3.3.8).",
        "larger steps": "BEGAN may suffer from a slight mode collapse with the given set of hyperparameters (3.3.8).",
        "from scratch": "The way of the paper and of the project: G starts as it is drawn.",
        "InfoGAN's layers": "The structure of the previous subnetworks proved suboptimal to form an autoencoder (3.3.7).",
        "InfoGAN's layers, from scratch": "The structure of the previous subnetworks proved suboptimal to form an "
                                          "autoencoder (3.3.7).",
        "codes": "The images had better quality than before, but their properties could not be controlled (3.3.8).",
        "codes, from scratch": "The images had better quality than before, but their properties could not be controlled (3.3.8).",
    }, {"gamma 0.5": (0, 1)}, balanced, ("real", "fake", "M", "k", "mi", "recovery"))
