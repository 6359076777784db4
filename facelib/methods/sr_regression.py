"""Super-resolution by regression: the network that EnhanceGAN is compared with, as large and trained without a critic.

The network is near to SRResNet (Ledig et al. 2017, see `facelib.layers.Upscaler`). It minimises the mean absolute error,
so of all faces that shrink to the same 8x8 pixels it answers with their median, pixel by pixel: nearest to the truth on
average, and smooth where the faces differ.

The walk of one face: low (3, 8, 8) in [-1, 1] -> residual blocks at 8x8 -> two sub-pixel convolutions -> what to add to
the bicubic enlargement (3, 32, 32) -> face (3, 32, 32).
"""

from dataclasses import dataclass

import torch

from facelib import resolution
from facelib.layers import Upscaler
from facelib.train import Method

HIGH = 32               # pixels


@dataclass(frozen=True)
class SRRegressionConfig:
    """The defaults are those of the published weights (preset `book`)."""

    size: int = HIGH            # pixels of the faces that are made
    width: int = 80             # channels of the residual blocks at 8x8
    blocks: int = 6             # how many
    steps: int = 9000           # optimiser steps
    batch_size: int = 32        # images
    lr: float = 5e-4            # Adam's step size
    ema_decay: float = 0.999    # per step; the averaged network is the one that is used

    def __post_init__(self):
        if self.size != HIGH:
            raise ValueError(f"size must be {HIGH}: faces of 8x8 pixels are enlarged to it; got {self.size}")


class SRRegression(Method):
    """`upscale(low)` enlarges 8x8 faces."""

    Config = SRRegressionConfig
    presets = {"book": SRRegressionConfig(),
               "smoke": SRRegressionConfig(width=16, blocks=2, steps=24, batch_size=8, lr=2e-3, ema_decay=0.9)}
    ema = ("G",)
    ships = ("G_ema",)

    def build(self, cfg):
        self.G = Upscaler(cfg.width, cfg.blocks)
        self.opt = torch.optim.Adam(self.G.parameters(), cfg.lr, betas=(0.9, 0.99))

    def phases(self):
        return [("regression", self.cfg.steps)]

    def step(self, batch, phase):
        image = batch["image"]                                                            # (B, 3, 32, 32)
        with self.autocast():
            pred = self.G(resolution.shrink(image))
        rec = (pred - image).abs().mean()
        self.update(rec, self.opt)
        return {"rec": rec}

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
