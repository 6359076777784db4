"""Deep convolutional generative adversarial network (Radford, Metz and Chintala, ICLR 2016), for semantic inpainting.

A generator makes faces of latents, a discriminator tells them from real ones. `seed` is the network of the student
project; `book` keeps its shape and adds what has been learnt since: spectral normalisation instead of batch norm, kernels
without a checkerboard, averaged weights, and a generator that begins as the decoder of a VAE and stays anchored to real
faces through its encoder (Larsen et al. 2016), so that a modest training already knows what a face is.

The walk of one latent: z (100,) -> fully connected to (256, 4, 4) -> four fractionally strided convolutions -> face
(3, 64, 64) in [-1, 1] -> D's logit. Completion goes the other way: see `complete`.
"""

from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses, masks
from facelib.features import PerceptualLoss
from facelib.latent_search import search
from facelib.layers import Encoder, Generator, Whitening, downs
from facelib.train import Method, frozen

CANDIDATES = 7_340_033     # seed of the latents that a search may start from


@dataclass(frozen=True)
class DCGANConfig:
    """The defaults are the published configuration of the student project (preset `seed`)."""

    size: int = 64                      # pixels, 4 times a power of two
    z_dim: int = 100                    # length of the latent
    latents: str = "uniform"            # "uniform" in [-1, 1], or "normal" N(0, 1)
    width: int = 16                     # channels of G's last layer but one; 8x at 4x4
    d_width: int = 16                   # channels of D's first layer; 8x at 4x4
    d_features: int = 64                # length of D's fully connected layer
    kernel: int = 5                     # of all convolutions
    batch_norm: bool = True             # in both networks, but not at G's output and D's input
    spectral_norm: bool = False         # in D instead: keeps its gradients bounded (Miyato et al. 2018)
    r1: float = 0.0                     # or a penalty on D's slope at real faces (Mescheder et al. 2018)
    steps: tuple = (0, 0, 5000)         # optimiser steps of the phases autoencoder, discriminator, adversarial
    batch_size: int = 300               # images
    lr: float = 3e-4                    # Adam's step size
    d_lr: float = 3e-4                  # of the discriminator
    beta1: float = 0.5                  # of Adam in the adversarial phases
    start_lr: float = 1e-3              # of the autoencoder phase
    saturating_loss: bool = False       # False is -log D(fake), True log(1 - D(fake))
    label_smoothing: float = 1.0        # D's target for real faces; 1 switches it off
    noise: float = 0.35                 # standard deviation of a value that the autoencoder leaves unexplained
    anchor: float = 0.0                 # weight of the autoencoder's loss in the adversarial phase; 0 builds no encoder
    perceptual: float = 0.0             # weight of the perceptual distance beside it
    ema_decay: float = 0.999            # per step; the averaged generator is the one that is used
    search_steps: int = 50              # of the search for the latents of a face with a hole; 450 in the source
    search_lr: float = 0.15             # Adam's first step size in it
    search_window: int = 7              # pixels, odd: what is a known pixel's neighbourhood for the context loss
    search_prior: float = 0.1           # lambda: weight of log(1 - D(face)) beside the context loss
    search_pull: float = 0.3            # weight of ||z||^2 beside it: a pull towards the most likely latents
    search_candidates: int = 128        # latents that are tried before a search
    search_starts: int = 1              # of them, the best for a face, from which it is searched for

    def __post_init__(self):
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two, 8 or more, got {self.size}")
        if self.latents not in ("uniform", "normal"):
            raise ValueError(f"latents must be uniform or normal, got {self.latents!r}")
        if self.steps[0] and not self.anchor:
            raise ValueError("the autoencoder phase needs an encoder: set anchor above 0, or steps[0] to 0")


class Discriminator(nn.Module):
    """Faces (B, 3, size, size) -> logits (B, 1): above 0 means real."""

    def __init__(self, cfg):
        super().__init__()
        wrap = nn.utils.parametrizations.spectral_norm if cfg.spectral_norm else (lambda layer: layer)
        trunk = downs(cfg.d_width, cfg.size, cfg.kernel, cfg.batch_norm and not cfg.spectral_norm, cfg.spectral_norm)
        inner = 16 * trunk[-1][0].out_channels
        # The last layer is not normalised: it sets how sure of itself D may be. Bounded too, D hardly left 0.5.
        self.layers = nn.Sequential(trunk, nn.Flatten(), wrap(nn.Linear(inner, cfg.d_features)),
                                    nn.LeakyReLU(0.2, inplace=True), nn.Linear(cfg.d_features, 1))

    def forward(self, image):
        return self.layers(image).float()


class DCGAN(Method):
    """`sample(n)` draws faces of nobody."""

    Config = DCGANConfig
    presets = {
        "seed": DCGANConfig(),
        "book": DCGANConfig(latents="normal", width=48, d_width=32, kernel=4, batch_norm=False, r1=0.5,
                            steps=(4500, 200, 21300), batch_size=32, lr=1.5e-4, d_lr=8e-4, noise=0.7, anchor=5.0,
                            perceptual=0.3, ema_decay=0.999),
        "smoke": DCGANConfig(size=32, z_dim=16, latents="normal", width=8, d_width=8, d_features=16, kernel=4,
                             batch_norm=False, spectral_norm=True, steps=(12, 4, 12), batch_size=8, lr=1e-3, d_lr=1e-3,
                             anchor=1.0, ema_decay=0.9, search_steps=10, search_candidates=8, search_starts=2),
    }
    ema = ("G",)
    ships = ("G_ema", "D")

    def build(self, cfg):
        self.G = Generator(cfg.z_dim, cfg.width, cfg.size, cfg.kernel, cfg.batch_norm)
        self.D = Discriminator(cfg)
        trained = [*self.G.parameters()]
        if cfg.anchor:
            self.E = Encoder(cfg.z_dim, cfg.d_width, cfg.size)
            trained += self.E.parameters()
            self.opt_E = torch.optim.Adam(trained, cfg.start_lr, betas=(0.9, 0.99))
            self.whitening = Whitening(cfg.z_dim)
            self.scalars["whitened"] = False
        if cfg.perceptual:
            self.perceptual = PerceptualLoss()
        self.opt_G = torch.optim.Adam(trained, cfg.lr, betas=(cfg.beta1, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), cfg.d_lr, betas=(cfg.beta1, 0.99))

    def phases(self):
        return list(zip(("autoencoder", "discriminator", "adversarial"), self.cfg.steps, strict=True))

    def prior(self, n, generator):
        """n latents of the prior, drawn on the CPU -> (n, z_dim)."""
        if self.cfg.latents == "uniform":
            return torch.rand(n, self.cfg.z_dim, generator=generator) * 2 - 1
        return torch.randn(n, self.cfg.z_dim, generator=generator)

    def encoded(self, image):
        """Latents drawn from the encoder's answer to faces, and its mean and log-variance: (B, z_dim) each."""
        mean, log_var = self.E(image)
        noise = self.draw(len(image), lambda n, g: torch.randn(n, self.cfg.z_dim, generator=g)).to(mean)
        return mean + (log_var / 2).exp() * noise, mean, log_var

    def autoencoding(self, pred, image, mean, log_var, perceptual=0.0):
        """The anchor: the VAE's two terms, and the perceptual distance -> (loss, log)."""
        rec, kl = losses.elbo(pred, image, mean, log_var, self.cfg.noise)
        log, loss = {"rec": rec, "kl": kl}, rec + kl
        if perceptual:
            log["perc"] = self.perceptual(pred, image)
            loss = loss + perceptual * log["perc"]
        return loss, log

    def step(self, batch, phase):
        cfg, image, log = self.cfg, batch["image"], {}                                    # (B, 3, H, W)
        if phase == "autoencoder":
            with self.autocast():
                z, mean, log_var = self.encoded(image)
                loss, log = self.autoencoding(self.G(z), image, mean, log_var)
            self.update(loss, self.opt_E)
            self.whitening.follow(z)
            return log
        if self.scalars.get("whitened") is False:
            self.whitening.fold([self.E], [self.G, self.G_ema], self.accelerator)
            self.scalars["whitened"] = True

        # With an anchor, a quarter of the latents come from real faces, and G must make these faces of them again.
        some = image[:len(image) // 4] if cfg.anchor else image[:0]
        z = self.draw(len(image) - len(some), self.prior).to(image)
        with self.autocast(), torch.set_grad_enabled(phase == "adversarial"):
            if len(some):
                found, mean, log_var = self.encoded(some)
                z = torch.cat([found, z])
            fake = self.G(z)
        with self.autocast():
            # One batch of real, one of fake faces: batch norm must not see them mixed (DCGAN guidelines).
            real, judged = self.D(image), self.D(fake.detach())
        loss_D = losses.gan_D(real, judged, cfg.label_smoothing)
        if cfg.r1:                          # at an eighth of the faces: a second derivative is dear
            few = image[:max(1, len(image) // 8)].detach().requires_grad_()
            loss_D = loss_D + cfg.r1 / 2 * losses.r1(self.D(few), few)
        self.update(loss_D, self.opt_D)
        log = {"loss_D": loss_D, "D_real": real.sigmoid().mean(), "D_fake": judged.sigmoid().mean()}

        if phase == "adversarial":
            with frozen(self.D), self.autocast():
                log["adv"] = loss_G = losses.gan_G(self.D(fake), cfg.saturating_loss)
                if len(some):
                    loss, terms = self.autoencoding(fake[:len(some)], some, mean, log_var, cfg.perceptual)
                    loss_G, log = loss_G + cfg.anchor * loss, log | terms
            self.update(loss_G, self.opt_G)
            log["loss_G"] = loss_G
        return log

    @torch.no_grad()
    def sample(self, n, seed=0, spread=1.0):
        """n faces of nobody -> (n, 3, size, size) in [-1, 1]; the same seed gives the same faces.

        spread: latents are multiplied by it. Below 1 the faces are more typical and less varied (the truncation of
        Brock et al. 2019, without its threshold).
        """
        z = self.prior(n, torch.Generator().manual_seed(seed)).to(next(self.G.parameters()).device)
        with self.evaluating():
            return torch.cat([self.G_ema(part) for part in (spread * z).split(256)])

    def project(self, z):
        """Latents back to where G knows them: the cube of uniform ones, the ball near whose surface normal ones lie."""
        if self.cfg.latents == "uniform":
            return z.clamp(-1, 1)
        return z * (self.cfg.z_dim ** 0.5 / z.norm(dim=1, keepdim=True).clamp(min=1e-9)).clamp(max=1)

    def search(self, image, mask, steps=None, every=0):
        """The generated faces that fit the known pixels: a search for the latents of each -> latent_search.Found.

        image, mask: as for `complete`. steps: by default the configuration's. every: keep the faces of each so-manyth
        step in `.history`. What is minimised is ||W (G(z) - y)||_1 + lambda log(1 - D(G(z))) (Yeh et al. 2017, eq. 3-5)
        and a pull of ||z||^2, over z in the cube or ball that `project` keeps it in.
        """
        masks.check(image, mask)
        cfg = self.cfg
        if tuple(image.shape[-2:]) != (cfg.size, cfg.size):
            raise ValueError(f"height and width must be {cfg.size}, the size of this DCGAN's faces, got "
                             f"{tuple(image.shape[-2:])}; resize or pad")
        mask = mask.float().expand(len(image), -1, -1, -1)
        known = masks.composite(image.float(), mask, torch.zeros(1).to(mask))             # no true pixel of the hole goes on
        weights = losses.context_weights(mask, cfg.search_window)

        def unlikely(pred, z):
            return cfg.search_prior * losses.prior(self.D(pred)) + cfg.search_pull * z.pow(2).sum(1)

        with self.evaluating(), frozen(self.D):
            # All faces choose among the same candidates, so that none depends on the others of its batch. They are not
            # those of `sample` with a likely seed: the search would start from the answer to a generated face.
            z = self.prior(cfg.search_candidates, torch.Generator().manual_seed(CANDIDATES)).to(known)
            z = torch.cat([torch.zeros_like(z[:1]), z])
            with torch.no_grad():
                faces = self.G_ema(z)
                alone = unlikely(faces, z)
                loss = torch.stack([losses.context(faces, *one) + alone for one in zip(known, weights, strict=True)])
            chosen = loss.topk(cfg.search_starts, largest=False).indices                  # (B, starts)
            return search(self.G_ema, lambda pred, z: losses.context(pred, known, weights) + unlikely(pred, z),
                          *z[chosen].unbind(1), steps=cfg.search_steps if steps is None else steps, lr=cfg.search_lr,
                          project=self.project, every=every)

    @torch.no_grad()
    def complete(self, image, mask):
        """Fill the holes: image (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) or (1, 1, H, W), 1 = hole -> (B, 3, H, W).

        H and W are `cfg.size`. The holes may have any form: the networks were trained without one. Known pixels come back
        bit-identical; the hole's own pixels are never read. Composited: `facelib.blending` hides the seam.
        """
        found = self.search(image, mask)
        return masks.composite(image, mask, found.images.to(image.dtype))

    def preview(self, image):
        """Rows for the sample sheet: eight faces of nobody twice, the same at every step."""
        return list(self.sample(2 * len(image)).to(image).split(len(image)))
