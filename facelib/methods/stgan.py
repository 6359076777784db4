"""ST-GAN, semantic transformation GAN: an encoder beside the generator, and edited images that are trained as well.

As section 2.2 of the student project describes it: Zhang, Zhong, Cao and Qin, ACML 2017 ("ST-GAN: Unsupervised Facial Image
Semantic Transformation Using Generative Adversarial Networks"). Its reference list names another work, the STGAN of Liu et
al., CVPR 2019, which transfers labelled attributes and has no latent codes.

InfoGAN bounds the information that images keep of their codes. Here an encoder E has to give back the whole [z, c] of an
image: it can only where nothing got lost. Then the edit itself is trained: codes c' take the place of c in E's answer, and
the altered image has to deceive D and to give back [z, c'].

The walk of one latent: [z, c] (64,) -> G -> image (3, 32, 32) -> E -> [z, c] again -> the codes replaced, [z, c'] -> G ->
altered image -> D, and E once more. A generator and an encoder as in `infogan` and `predictor`; the project neither built
nor measured an ST-GAN and says nothing of sizes, so that there is no preset `seed`.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses
from facelib.latents import Layout
from facelib.layers import Generator, downs
from facelib.train import Method, frozen


@dataclass(frozen=True)
class STGANConfig:
    """The defaults are ours: they take minutes on a CPU."""

    size: int = 32                      # pixels, a power of two
    z_dim: int = 52                     # length of the noise
    categorical: tuple = (10,)          # classes of each categorical code
    continuous: int = 2                 # how many continuous codes
    latents: str = "normal"             # the noise: "uniform" in [-1, 1], or "normal" N(0, 1)
    width: int = 16                     # channels of G's last layer but one; 8x at 4x4
    d_width: int = 16                   # channels of the first layer of D and of E; 8x at 4x4
    r1: float = 0.05                    # weight of the penalty on D's slope at real images (Mescheder et al. 2018)
    recovery: float = 1.0               # weight of the error of the recovered latents
    altered: float = 1.0                # weight of all that concerns altered images; 0 trains no edit
    steps: int = 4000                   # optimiser steps
    batch_size: int = 32                # images
    lr: float = 3e-4                    # Adam's step size, G and E
    d_lr: float = 1e-3                  # of the discriminator
    ema_decay: float = 0.999            # per step; the averaged networks are the ones that are used

    def __post_init__(self):
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two, 8 or more, got {self.size}")
        if not self.categorical and not self.continuous:
            raise ValueError("an ST-GAN alters codes and has none: set categorical or continuous")


class STGAN(Method):
    """`encode(image)` finds [z, c], `edit(image, code, value)` alters one code of it; `sample(n)`, `generate(latents)`."""

    Config = STGANConfig
    presets = {
        "book": STGANConfig(),
        "smoke": STGANConfig(z_dim=16, categorical=(4,), width=8, d_width=8, steps=12, batch_size=8, ema_decay=0.9),
    }
    ema = ("G", "E")
    ships = ("G_ema", "E_ema")

    def build(self, cfg):
        self.layout = Layout(cfg.z_dim, cfg.categorical, cfg.continuous, cfg.latents)
        self.G = Generator(self.layout.length, cfg.width, cfg.size, norm=False)
        self.E, self.D = self.reader(self.layout.length), self.reader(1)
        self.opt_G = torch.optim.Adam([*self.G.parameters(), *self.E.parameters()], cfg.lr, betas=(0.5, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), cfg.d_lr, betas=(0.5, 0.99))

    def reader(self, length):
        """A network from images (B, 3, size, size) to vectors (B, length): E, and D with one logit."""
        trunk = downs(self.cfg.d_width, self.cfg.size)
        return nn.Sequential(trunk, nn.Flatten(), nn.Linear(16 * trunk[-1][0].out_channels, length))

    def phases(self):
        return [("adversarial", self.cfg.steps)]

    def error(self, found, truth):
        """Of E's answer (B, length) against the latents of an image: squared error, cross entropy of classes; a scalar."""
        z, cat, cont = found.split(list(self.layout.sizes.values()), 1)
        known, kinds = self.layout.split(truth), list(self.cfg.categorical)
        classes = [F.cross_entropy(a, b) for a, b in zip(cat.split(kinds, 1), known["c_cat"].split(kinds, 1), strict=True)] \
            if kinds else []
        squares = (cont - known["c_cont"]).pow(2).mean() if self.cfg.continuous else 0
        return (z - known["z"]).pow(2).mean() + squares + sum(classes)

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        truth, other = (self.draw(len(image), self.layout.draw).to(image) for _ in range(2))
        with self.autocast():
            fake = self.G(truth)
            found = self.E(fake).float()                                                  # [z, c], as E reads it
            moved = torch.cat([found[:, :cfg.z_dim], other[:, cfg.z_dim:]], 1)            # [z, c']
            altered = self.G(moved)
            shown = torch.cat([fake, altered] if cfg.altered else [fake]).detach()
            real, judged = self.D(image), self.D(shown)
        loss_D = losses.gan_D(real, judged)
        few = image[:max(1, len(image) // 8)].detach().requires_grad_()     # a second derivative is dear
        self.update(loss_D + cfg.r1 / 2 * losses.r1(self.D(few), few), self.opt_D)

        with frozen(self.D), self.autocast():
            adv, recovery = losses.gan_G(self.D(fake)), self.error(found, truth)
            adv_altered = losses.gan_G(self.D(altered))
            # What went into G is what counts: E must not make it easier by giving another z for the first image.
            again = self.error(self.E(altered).float(), moved.detach())
        loss = adv + cfg.recovery * recovery + cfg.altered * (adv_altered + cfg.recovery * again)
        self.update(loss, self.opt_G)
        return {"loss_D": loss_D, "D_real": real.sigmoid().mean(), "D_fake": judged.sigmoid().mean(), "loss_G": loss,
                "adv": adv, "adv_altered": adv_altered, "recovery": recovery, "recovery_altered": again}

    def draw_latents(self, n, seed=0, spread=1.0):
        """n latents of the prior, joined -> (n, layout.length) on the CPU; the same seed gives the same. spread: of z."""
        return self.layout.sample(n, seed, spread)

    @torch.no_grad()
    def generate(self, latents):
        """Images of latents -> (B, 3, size, size) in [-1, 1]. latents: a dict, or joined (B, layout.length)."""
        vector = latents if torch.is_tensor(latents) else self.layout.join(latents)
        with self.evaluating():
            return torch.cat([self.G_ema(part) for part in vector.to(next(self.G.parameters())).split(256)])

    def sample(self, n, seed=0, spread=1.0):
        """n faces of nobody -> (n, 3, size, size) in [-1, 1]; the same seed gives the same faces. spread: of the noise z."""
        return self.generate(self.draw_latents(n, seed, spread))

    @torch.no_grad()
    def encode(self, image):
        """Faces (B, 3, size, size) in [-1, 1] -> latents, a dict: z, c_cat (probabilities), c_cont.

        E has only seen generated faces: of a real one it finds the latents of a generated face that looks like it to E.
        ValueError for images of another size.
        """
        size = self.cfg.size
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, size, size):
            raise ValueError(f"image must be (B, 3, {size}, {size}), what this ST-GAN was trained on, got "
                             f"{tuple(image.shape)}; resize it, or add the batch axis")
        with self.evaluating():
            found = self.layout.split(self.E_ema(image.float()).float())
        shares = [part.softmax(1) for part in found["c_cat"].split(list(self.cfg.categorical), 1)] if self.cfg.categorical else []
        return found | {"c_cat": torch.cat([*shares, found["c_cat"][:, :0]], 1), "c_cont": found["c_cont"].clamp(-1, 1)}

    def edit(self, image, code, value):
        """Faces (B, 3, size, size) with one code of their latents altered -> the same shape. code, value: see `Layout.set`."""
        return self.generate(self.layout.set(self.layout.join(self.encode(image)), code, value)).to(image)

    def preview(self, image):
        """Rows for the sample sheet: faces, G of their latents, the same with a code altered, and faces of nobody."""
        code = self.layout.codes[0]
        return [image, self.generate(self.encode(image)), self.edit(image, code, 1), self.sample(len(image)).to(image)]
