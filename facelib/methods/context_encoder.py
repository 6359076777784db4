"""Context encoder (Pathak, Krähenbühl, Donahue, Darrell and Efros, CVPR 2016): predict what a hole hides from what is around it.

An encoder squeezes the face with its painted hole into small maps; a channel-wise fully connected layer carries what it
found from every place to every other; a decoder makes a face of it. The loss is the squared error over the hole and a
little of a discriminator that sees only the hole's content. The network needs its holes at training time: it was trained
with the centre hole alone, and where another hole lies it has never learnt to predict anything.

The walk of one face: image (3, 64, 64) in [-1, 1] and mask (1, 64, 64) -> the hole is painted with the training mean
-> encoder (8 width, 4, 4) -> channel-wise fully connected, 1x1 convolution -> decoder -> `pred` (3, 64, 64) -> its cut
at the hole (3, 32, 32) -> D's logit.

Unlike the paper's, which predicts the hole's rectangle alone, it predicts the whole face, so that any mask can be asked
for, and counts the loss over the hole; the paper's rim of 7 known pixels in the loss is left out.
"""

from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses, masks
from facelib.layers import conv, downs, upconv
from facelib.train import Method, frozen


@dataclass(frozen=True)
class ContextEncoderConfig:
    """The defaults are the published configuration, as far as it applies to faces (preset `seed`)."""

    size: int = 128             # pixels, a power of two
    hole: float = 0.5           # side of the centred hole that it is trained with, share of the image's
    width: int = 64             # channels of the encoder's first and the decoder's last layer; 8x at 4x4
    d_width: int = 64           # channels of the discriminator's first layer; 8x at 4x4
    batch_norm: bool = True     # in both networks
    spectral_norm: bool = False # in D instead: keeps its gradients bounded (Miyato et al. 2018)
    rec: float = 0.999          # weight of the mean squared error over the hole
    adv: float = 0.001          # weight of the adversarial loss; 0 trains no discriminator
    steps: int = 100_000        # optimiser steps
    batch_size: int = 64        # images
    lr: float = 2e-3            # Adam's step size: ten times the discriminator's
    d_lr: float = 2e-4          # of the discriminator
    ema_decay: float = 0.999    # per step; the averaged network is the one that completes

    def __post_init__(self):
        if self.size < 16 or self.size & (self.size - 1) or self.hole not in (0.25, 0.5):
            raise ValueError("size must be a power of two, 16 or more, and hole 0.25 or 0.5, so that the discriminator's "
                             f"view of the hole can be halved down to 4x4; got {self.size} and {self.hole}")


class ContextNetwork(nn.Module):
    """Image with a painted hole (B, 3, size, size) -> pred (B, 3, size, size) in [-1, 1]."""

    def __init__(self, cfg):
        super().__init__()
        self.encoder = downs(cfg.width, cfg.size, norm=cfg.batch_norm)
        channels = self.encoder[-1][0].out_channels
        # Every map has 16 x 16 weights of its own from place to place; the 1x1 convolution then mixes the maps. A full
        # connection would have as many weights for every pair of maps (section 3.1).
        self.channelwise = nn.Conv2d(channels, 16 * channels, 4, groups=channels)
        self.mix = nn.Sequential(nn.LeakyReLU(0.2), conv(channels, channels, 1, norm=cfg.batch_norm))
        widths = [layer[0].out_channels for layer in self.encoder][::-1]
        self.decoder = nn.Sequential(
            *(upconv(a, b, norm=cfg.batch_norm) for a, b in zip(widths, widths[1:], strict=False)),
            upconv(widths[-1], 3, act=None))

    def forward(self, filled):
        code = self.encoder(filled)                                                       # (B, 8 width, 4, 4)
        code = self.channelwise(code).view(code.shape)
        return torch.tanh(self.decoder(self.mix(code)).float())


class Discriminator(nn.Module):
    """What fills a hole, (B, 3, side, side), true or predicted -> logits (B, 1): above 0 means true."""

    def __init__(self, cfg):
        super().__init__()
        spectral, side = cfg.spectral_norm, round(cfg.size * cfg.hole)
        trunk = downs(cfg.d_width, side, norm=cfg.batch_norm and not spectral, spectral=spectral)
        last = nn.Linear(16 * trunk[-1][0].out_channels, 1)
        last = nn.utils.parametrizations.spectral_norm(last) if spectral else last
        self.layers = nn.Sequential(trunk, nn.Flatten(), last)

    def forward(self, content):
        return self.layers(content).float()


class ContextEncoder(Method):
    """Completion of the hole that it was trained with; `complete(image, mask)` takes any, and fails on others."""

    Config = ContextEncoderConfig
    presets = {
        "seed": ContextEncoderConfig(),
        "book": ContextEncoderConfig(size=64, width=22, d_width=16, batch_norm=False, spectral_norm=True, steps=2400,
                                     batch_size=32, lr=1e-3, d_lr=5e-4),
        "today": ContextEncoderConfig(size=128, width=24, d_width=16, batch_norm=False, spectral_norm=True, steps=40_000,
                                      batch_size=32, lr=1e-3, d_lr=5e-4),
        "smoke": ContextEncoderConfig(size=32, width=8, d_width=8, batch_norm=False, spectral_norm=True, steps=24,
                                      batch_size=8, d_lr=1e-3, ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema", "mean")

    def build(self, cfg):
        self.G, self.D = ContextNetwork(cfg), Discriminator(cfg)
        self.register_buffer("mean", torch.zeros(3))            # training mean pixel: what a hole is painted with
        self.opt_G = torch.optim.Adam(self.G.parameters(), cfg.lr, betas=(0.5, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), cfg.d_lr, betas=(0.5, 0.99))

    def adopt(self, faces):
        super().adopt(faces)
        self.mean.copy_(faces.mean)

    def phases(self):
        return [("joint", self.cfg.steps)]

    def fill(self, image, mask):
        """The image with its hole painted over: no true pixel of the hole goes on from here."""
        return masks.composite(image, mask, self.mean.view(1, 3, 1, 1).to(image))

    def step(self, batch, phase):
        cfg, image, log = self.cfg, batch["image"], {}                                    # (B, 3, H, W)
        mask = masks.center(len(image), cfg.size, hole=cfg.hole)
        box, mask = masks.boxes_of(mask), mask.to(image)
        with self.autocast():
            pred = self.G(self.fill(image, mask))
        # D sees the hole's content alone: shown the surroundings too, it would only learn to find the seam (section 3.2).
        truth, content = masks.cut(image, box), masks.cut(pred, box)                      # (B, 3, side, side)
        if cfg.adv:
            with self.autocast():
                real, fake = self.D(truth), self.D(content.detach())
            loss_D = losses.gan_D(real, fake)
            self.update(loss_D, self.opt_D)
            log = {"loss_D": loss_D, "D_real": real.sigmoid().mean(), "D_fake": fake.sigmoid().mean()}

        log["rec"] = losses.reconstruction(pred, image, mask)
        loss_G = cfg.rec * log["rec"]
        if cfg.adv:
            with frozen(self.D), self.autocast():
                log["adv"] = losses.gan_G(self.D(content))
            loss_G = loss_G + cfg.adv * log["adv"]
        self.update(loss_G, self.opt_G)
        return log | {"loss_G": loss_G}

    @torch.no_grad()
    def complete(self, image, mask):
        """Fill the holes: image (B, 3, size, size) in [-1, 1], mask (B, 1, size, size) or (1, ...), 1 = hole -> image's shape.

        Only `cfg.size` is taken: the fully connected layer has no other. Known pixels come back bit-identical; the hole's
        own pixels are never read. Composited, not blended: see `facelib.blending`.
        """
        masks.check(image, mask)
        size = self.cfg.size
        if tuple(image.shape[-2:]) != (size, size):
            raise ValueError(f"height and width must be {size}, which this network was trained at, got "
                             f"{tuple(image.shape[-2:])}; resize")
        mask = mask.expand(len(image), -1, -1, -1)
        with self.evaluating():
            pred = self.G_ema(self.fill(image, mask).float())
        return masks.composite(image, mask, pred.to(image.dtype))

    def preview(self, image):
        """Rows for the sample sheet: masked, completed and true faces, under the hole that it is trained with."""
        mask = masks.center(len(image), self.cfg.size, hole=self.cfg.hole).to(image)
        return [self.fill(image, mask), self.complete(image, mask), image]
