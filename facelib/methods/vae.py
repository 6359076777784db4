"""Variational autoencoder (Kingma and Welling, ICLR 2014), to be compared with the DCGAN of the same size.

An encoder turns a face into a cloud of latents, a generator turns a latent into a face. The loss asks for the face back
and keeps the clouds near the prior, so that a latent drawn from the prior makes a face too. It is smooth: where several
faces would do, the mean squared error is smallest for their average. Nothing tells the generator that averages look
like nobody; a discriminator would.

The walk of one face: (3, 64, 64) in [-1, 1] -> E: mean and log-variance (100,) each -> z (100,) drawn from them -> G:
fully connected to (256, 4, 4), four fractionally strided convolutions -> face (3, 64, 64).

There is no preset `seed`: the sources show samples of a VAE and publish no configuration of it.
"""

from dataclasses import dataclass

import torch

from facelib import losses
from facelib.layers import Encoder, Generator, Whitening
from facelib.train import Method


@dataclass(frozen=True)
class VAEConfig:
    """The defaults are those of the published weights (preset `book`)."""

    size: int = 64              # pixels, a power of two
    z_dim: int = 100            # length of the latent, as in the DCGAN
    width: int = 32             # channels of G's last layer but one; 8x at 4x4
    e_width: int = 16           # channels of E's first layer; 8x at 4x4
    batch_norm: bool = False    # in both networks; it hurts the averaged ones
    noise: float = 0.7          # standard deviation of a value that the latent leaves unexplained, see `losses.elbo`
    steps: int = 2400           # optimiser steps
    batch_size: int = 32        # images
    lr: float = 1e-3            # Adam's step size
    ema_decay: float = 0.999    # per step; the averaged networks are the ones that are used

    def __post_init__(self):
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two, 8 or more, got {self.size}")


class VAE(Method):
    """`sample(n)` draws faces of nobody, `encode(image)` finds latents, `reconstruct(image)` goes there and back."""

    Config = VAEConfig
    presets = {
        "book": VAEConfig(),
        "smoke": VAEConfig(size=32, z_dim=16, width=8, e_width=8, steps=24, batch_size=8, ema_decay=0.9),
    }
    ema = ("G", "E")
    ships = ("G_ema", "E_ema")

    def build(self, cfg):
        self.G = Generator(cfg.z_dim, cfg.width, cfg.size, norm=cfg.batch_norm)
        self.E = Encoder(cfg.z_dim, cfg.e_width, cfg.size, norm=cfg.batch_norm)
        self.whitening = Whitening(cfg.z_dim)
        self.opt = torch.optim.Adam([*self.G.parameters(), *self.E.parameters()], cfg.lr, betas=(0.9, 0.99))

    def phases(self):
        return [("autoencoder", self.cfg.steps), ("whitening", 1)]

    def prior(self, n, generator):
        """n latents of the prior N(0, 1), drawn on the CPU -> (n, z_dim)."""
        return torch.randn(n, self.cfg.z_dim, generator=generator)

    def step(self, batch, phase):
        if phase == "whitening":                        # no training: the latents that were found become N(0, 1)
            self.whitening.fold([self.E, self.E_ema], [self.G, self.G_ema], self.accelerator)
            return {}
        image = batch["image"]                                                            # (B, 3, H, W)
        noise = self.draw(len(image), self.prior).to(image)
        with self.autocast():
            mean, log_var = self.E(image)
            # The latent is drawn outside the networks, so that gradients flow through its mean and variance (section 2.4).
            z = mean + (log_var / 2).exp() * noise
            pred = self.G(z)
        self.whitening.follow(z.detach())
        rec, kl = losses.elbo(pred, image, mean, log_var, self.cfg.noise)
        self.update(rec + kl, self.opt)
        return {"loss": rec + kl, "rec": rec, "kl": kl}

    @torch.no_grad()
    def sample(self, n, seed=0, spread=1.0):
        """n faces of nobody -> (n, 3, size, size) in [-1, 1]; the same seed gives the same faces.

        spread: latents are multiplied by it. Below 1 the faces are more typical and less varied.
        """
        z = self.prior(n, torch.Generator().manual_seed(seed)).to(next(self.G.parameters()).device)
        with self.evaluating():
            return torch.cat([self.G_ema(part) for part in (spread * z).split(256)])

    @torch.no_grad()
    def encode(self, image):
        """Faces (B, 3, size, size) in [-1, 1] -> {"z": (B, z_dim)}, the mean of q(z|x). ValueError for another size."""
        size = self.cfg.size
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, size, size):
            raise ValueError(f"image must be (B, 3, {size}, {size}), what this VAE was trained on, got "
                             f"{tuple(image.shape)}; resize it, or add the batch axis")
        with self.evaluating():
            return {"z": self.E_ema(image.float())[0]}

    @torch.no_grad()
    def reconstruct(self, image):
        """Faces there and back: G of the mean latent, (B, 3, size, size) -> the same shape, in [-1, 1]."""
        z = self.encode(image)["z"]
        with self.evaluating():
            return self.G_ema(z)

    def preview(self, image):
        """Rows for the sample sheet: faces, the same after going there and back, and as many of nobody."""
        return [image, self.reconstruct(image), self.sample(len(image)).to(image)]
