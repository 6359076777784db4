"""Super-resolution with a critic, in one stage: what EnhanceGAN's three stages are compared with.

The network of `sr_regression`, trained as SRGAN (Ledig et al., CVPR 2017): first on the mean absolute error alone, then
on a perceptual loss and against a discriminator as well, which asks for a face that looks real instead of one that is
right on average.

The walk of one face: low (3, 8, 8) in [-1, 1] -> residual blocks at 8x8 -> two sub-pixel convolutions -> what to add to
the bicubic enlargement (3, 32, 32) -> face (3, 32, 32) -> D's logit.
"""

from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses, resolution
from facelib.features import PerceptualLoss
from facelib.layers import Upscaler, downs
from facelib.train import Method, frozen

HIGH = 32               # pixels


@dataclass(frozen=True)
class SRGANConfig:
    """The defaults are those of the published weights (preset `book`)."""

    size: int = HIGH            # pixels of the faces that are made
    width: int = 80             # channels of the residual blocks at 8x8, as in sr_regression
    blocks: int = 6             # how many
    d_width: int = 24           # channels of D's first layer; 4x at 4x4
    perceptual: float = 1.0     # weight of the perceptual loss
    pixel: float = 0.2          # weight of the mean absolute error
    adv: float = 0.03           # weight of the adversarial loss
    r1: float = 0.05            # penalty on D's slope at real faces (Mescheder et al. 2018)
    steps: tuple = (2000, 4000)     # optimiser steps of the phases regression and adversarial
    batch_size: int = 32        # images
    lr: float = 5e-4            # Adam's step size
    d_lr: float = 5e-4          # of the discriminator
    ema_decay: float = 0.998    # per step; the averaged network is the one that is used

    def __post_init__(self):
        if self.size != HIGH:
            raise ValueError(f"size must be {HIGH}: faces of 8x8 pixels are enlarged to it; got {self.size}")


class SRGAN(Method):
    """`upscale(low)` enlarges 8x8 faces."""

    Config = SRGANConfig
    presets = {"book": SRGANConfig(),
               "smoke": SRGANConfig(width=16, blocks=2, d_width=4, steps=(12, 12), batch_size=8, lr=2e-3, d_lr=2e-3,
                                    ema_decay=0.9)}
    ema = ("G",)
    ships = ("G_ema",)

    def build(self, cfg):
        self.G = Upscaler(cfg.width, cfg.blocks)
        trunk = downs(cfg.d_width, HIGH)
        self.D = nn.Sequential(trunk, nn.Flatten(), nn.Linear(16 * trunk[-1][0].out_channels, 1))
        self.perceptual = PerceptualLoss()
        self.opt_G = torch.optim.Adam(self.G.parameters(), cfg.lr, betas=(0.9, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), cfg.d_lr, betas=(0.5, 0.99))

    def phases(self):
        return list(zip(("regression", "adversarial"), self.cfg.steps, strict=True))

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, 32, 32)
        with self.autocast():
            pred = self.G(resolution.shrink(image))
        log = {"rec": (pred - image).abs().mean()}
        if phase == "regression":
            self.update(log["rec"], self.opt_G)
            return log

        with self.autocast():
            real, judged = self.D(image), self.D(pred.detach())
            few = image[:max(1, len(image) // 8)].detach().requires_grad_()
            log |= {"loss_D": losses.gan_D(real, judged), "D_real": real.float().sigmoid().mean(),
                    "D_fake": judged.float().sigmoid().mean()}
            slope = losses.r1(self.D(few), few)
        self.update(log["loss_D"] + cfg.r1 / 2 * slope, self.opt_D)
        with self.autocast(), frozen(self.D):
            log |= {"perc": self.perceptual(pred, image), "adv": losses.gan_G(self.D(pred))}
        log["loss_G"] = cfg.pixel * log["rec"] + cfg.perceptual * log["perc"] + cfg.adv * log["adv"]
        self.update(log["loss_G"], self.opt_G)
        return log

    @torch.no_grad()
    def upscale(self, low):
        """Enlarge faces: low (B, 3, 8, 8) in [-1, 1] -> (B, 3, 32, 32) in [-1, 1]. ValueError for another shape or range."""
        resolution.check(low)
        with self.evaluating():
            return self.G_ema(low.float()).clamp(-1, 1).to(low.dtype)

    def preview(self, image):
        """Rows for the sample sheet: 8x8 faces, enlarged, the true faces."""
        low = resolution.shrink(image)
        return [resolution.METHODS["nearest"](low), self.upscale(low), image]
