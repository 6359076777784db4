"""EnhanceGAN: from 8x8 to 32x32 pixels in three stages, after an article that published no code (Herbert 2017).

Stage A guesses a face of 32x32 out of 8x8, stage B takes A's guess and makes a better one, stage C, six residual blocks,
refines both. A and B are autoencoders that see the face through a code: a perceptual loss asks for the true face, a GAN
on the decoder's output for a real one, and an adversarial autoencoder (Makhzani et al. 2015) for codes that look like
draws of N(0, 1), so that the prior can be sampled. At the end all three are trained on together, without the GAN.

The walk of one face: low (3, 8, 8) in [-1, 1] -> A: code (128,) -> face (3, 32, 32) -> B: code (128,) -> face
(3, 32, 32) -> C sees both faces, (6, 32, 32), and says what to change in B's -> face (3, 32, 32).

There is no preset `seed`: the source publishes the architecture in words and no size of anything.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses, resolution
from facelib.features import PerceptualLoss, vgg
from facelib.layers import Generator, Whitening, conv, downs
from facelib.train import Method, frozen

LOW, HIGH = 8, 32       # pixels
STAGES = ("A", "B", "joint")


@dataclass(frozen=True)
class EnhanceConfig:
    """The defaults are those of the published weights (preset `book`)."""

    size: int = HIGH                # pixels of the faces that are made
    z_dim: int = 128                # length of a stage's code
    width: int = 20                 # channels of the decoders' last layer but one is twice this; 8x at 4x4
    e_width: int = 64               # channels of the encoders' last layer, at 4x4
    c_width: int = 40               # channels of stage C
    d_width: int = 24               # channels of the discriminators' first layer; 4x at 4x4
    features: str = "perceptual"    # what the perceptual loss compares: perceptual, or vgg19 (the source's, downloads)
    perceptual: float = 1.0         # weight of the perceptual loss
    pixel: float = 0.2              # weight of the mean absolute error beside it
    adv: float = 0.03               # weight of the GAN on the decoders' output; stages A and B only
    code: str = "aae"               # what keeps the codes near N(0, 1): aae, or vae (the author's earlier version)
    code_noise: float = 0.05        # standard deviation of the noise on an AAE's codes: what is finer than it is lost
    code_weight: float = 0.1        # of the loss that keeps them there
    code_r1: float = 1.0            # penalty on the slope of the codes' discriminator at draws of N(0, 1)
    r1: float = 0.05                # penalty on the slope of the discriminators at real faces (Mescheder et al. 2018)
    together: bool = True           # the last stage trains A and B on; False: C alone
    steps: tuple = (2500, 2500, 6500)   # optimiser steps of stage A, of stage B, and of all three together
    batch_size: int = 32            # images
    lr: float = 5e-4                # Adam's step size
    d_lr: float = 5e-4              # of the discriminators
    ema_decay: float = 0.998        # per step; the averaged networks are the ones that are used

    def __post_init__(self):
        if self.size != HIGH:
            raise ValueError(f"size must be {HIGH}: the stages enlarge {LOW}x{LOW} pixels to it; got {self.size}")
        for name, value, known in (("features", self.features, ("perceptual", "vgg19")), ("code", self.code, ("aae", "vae"))):
            if value not in known:
                raise ValueError(f"{name} must be {' or '.join(known)}, got {value!r}")
        if self.steps[2] and not self.steps[1]:
            raise ValueError("stage C refines what A and B make: give stage B steps, or the joint stage none")


class Stage(nn.Module):
    """Stages A and B: pictures (B, 3, inner, inner) -> faces (B, 3, 32, 32) in [-1, 1], seen through a code (B, z_dim).

    A sigmoid in [0, 1] is a tanh in [-1, 1]. B's encoder has two convolutions more than A's, for its larger input.
    """

    def __init__(self, cfg, inner):
        super().__init__()
        self.variational = cfg.code == "vae"
        self.downs = downs(cfg.e_width * LOW // inner, inner)
        self.vector = nn.Linear(16 * cfg.e_width, cfg.z_dim * (2 if self.variational else 1))
        self.G = Generator(cfg.z_dim, cfg.width, HIGH, norm=False)

    def encode(self, image):
        """Pictures -> the mean of their codes and, in a VAE, the log-variance (else None)."""
        code = self.vector(self.downs(image).flatten(1)).float()
        return code.chunk(2, 1) if self.variational else (code, None)

    def forward(self, image):
        return self.G(self.encode(image)[0])


class Refinement(nn.Module):
    """Stage C: the faces of A and B (B, 3, 32, 32) each -> B's face, changed (B, 3, 32, 32); not clamped.

    Six residual blocks, each followed by a ReLU but the last; no change of size. It starts as B's face unchanged.
    """

    def __init__(self, width):
        super().__init__()
        self.first = conv(6, width)
        self.blocks = nn.ModuleList(nn.Sequential(conv(width, width), conv(width, width, act=None)) for _ in range(6))
        self.last = nn.Conv2d(width, 3, 3, padding=1)
        for block in self.blocks:                           # six sums without a norm would grow
            nn.init.zeros_(block[1][0].weight)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, first, second):
        x = self.first(torch.cat([first, second], 1))
        for block in self.blocks[:-1]:
            x = F.relu(x + block(x))
        return second.float() + self.last(x + self.blocks[-1](x)).float()


class Critics(nn.Module):
    """The discriminators of a stage: `image` tells its faces from real ones, `code` its codes from draws of N(0, 1)."""

    def __init__(self, cfg):
        super().__init__()
        trunk = downs(cfg.d_width, HIGH)
        self.image = nn.Sequential(trunk, nn.Flatten(), nn.Linear(16 * trunk[-1][0].out_channels, 1))
        self.code = nn.Sequential(nn.Linear(cfg.z_dim, 128), nn.LeakyReLU(0.2), nn.Linear(128, 128), nn.LeakyReLU(0.2),
                                  nn.Linear(128, 1))


class EnhanceGAN(Method):
    """`upscale(low)` enlarges 8x8 faces, `variants` gives several answers to one, `sample(n)` draws faces of nobody."""

    Config = EnhanceConfig
    presets = {
        "book": EnhanceConfig(),
        "smoke": EnhanceConfig(z_dim=16, width=4, e_width=16, c_width=8, d_width=4, steps=(8, 8, 8), batch_size=8,
                               lr=2e-3, d_lr=2e-3, ema_decay=0.9),
    }
    ema = ("A", "B", "C")
    ships = ("A_ema", "B_ema", "C_ema")

    def build(self, cfg):
        self.A, self.B, self.C = Stage(cfg, LOW), Stage(cfg, HIGH), Refinement(cfg.c_width)
        self.D_A, self.D_B = Critics(cfg), Critics(cfg)
        self.whitening = nn.ModuleDict({"A": Whitening(cfg.z_dim), "B": Whitening(cfg.z_dim)})
        self.perceptual = PerceptualLoss(vgg(19) if cfg.features == "vgg19" else None) if cfg.perceptual else None
        adam = lambda parameters, lr: torch.optim.Adam(parameters, lr, betas=(0.5, 0.99))
        self.opt_A, self.opt_B = adam(self.A.parameters(), cfg.lr), adam(self.B.parameters(), cfg.lr)
        trained = (self.A, self.B, self.C) if cfg.together else (self.C,)
        self.opt_joint = adam([p for network in trained for p in network.parameters()], cfg.lr)
        self.opt_D_A, self.opt_D_B = (adam(D.parameters(), cfg.d_lr) for D in (self.D_A, self.D_B))
        self.scalars["saved"] = 0                           # stages that are done: the next ones start from what they saved

    def phases(self):
        return list(zip(STAGES, self.cfg.steps, strict=True))

    def prior(self, n, generator):
        """n codes of the prior N(0, 1), drawn on the CPU -> (n, z_dim)."""
        return torch.randn(n, self.cfg.z_dim, generator=generator)

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, 32, 32)
        low = resolution.shrink(image)                                                    # (B, 3, 8, 8)
        self.save_stages(phase)
        if phase == "joint":
            return self.step_joint(image, low)
        stage, D, opt, opt_D = ((self.A, self.D_A, self.opt_A, self.opt_D_A) if phase == "A" else
                                (self.B, self.D_B, self.opt_B, self.opt_D_B))
        with self.autocast():
            if phase == "B":
                with torch.no_grad():
                    low = self.A(low)                                                     # what the saved stage A makes of it
            z, code_loss = self.coded(stage, low)
            # Half as many codes of the prior are decoded too: the GAN asks for faces there as well.
            drawn = self.draw(len(image) // 2, self.prior).to(image)
            made = stage.G(torch.cat([z, drawn]))
            pred = made[:len(image)]
        self.whitening[phase].follow(z.detach())
        log = self.update_critics(D, opt_D, z, image, made)
        with self.autocast(), frozen(D):
            loss, terms = self.distance(pred, image)
            log["adv"] = losses.gan_G(D.image(made))
            log["code"] = losses.gan_G(D.code(z)) if code_loss is None else code_loss
            loss = loss + cfg.adv * log["adv"] + cfg.code_weight * log["code"]
        self.update(loss, opt)
        return log | terms | {"loss_G": loss}

    def step_joint(self, image, low):
        """All three together on the total error of C's face; no GAN on the decoders, the codes' losses stay."""
        cfg = self.cfg
        with self.autocast():
            with torch.set_grad_enabled(cfg.together):
                z_A, kl_A = self.coded(self.A, low)
                first = self.A.G(z_A)
                z_B, kl_B = self.coded(self.B, first)
                second = self.B.G(z_B)
            pred = self.C(first, second)
            loss, log = self.distance(pred, image)
        if cfg.together:
            for name, D, opt_D, z, kl in (("A", self.D_A, self.opt_D_A, z_A, kl_A), ("B", self.D_B, self.opt_D_B, z_B, kl_B)):
                if kl is None:
                    log |= {f"{k}_{name}": v for k, v in self.update_critics(D, opt_D, z).items()}
                    with frozen(D):
                        kl = losses.gan_G(D.code(z))
                log[f"code_{name}"] = kl
                loss = loss + cfg.code_weight * kl
        self.update(loss, self.opt_joint)
        return log | {"loss_G": loss}

    def save_stages(self, phase):
        """At the start of a stage: the averaged networks of the stage before are what was saved, so it starts from them.

        Their codes are whitened: the discriminator of codes, no more than a critic of single ones, leaves their covariance
        far from the prior's.
        """
        while self.scalars["saved"] < STAGES.index(phase):
            name = "AB"[self.scalars["saved"]]
            stage, saved = getattr(self, name), getattr(self, f"{name}_ema")
            stage.load_state_dict(saved.state_dict())
            self.whitening[name].fold([stage, saved], [stage.G, saved.G], self.accelerator)
            self.scalars["saved"] += 1

    def coded(self, stage, image):
        """The codes of pictures (B, z_dim) and the loss on them: None for an AAE, whose loss its discriminator gives."""
        mean, log_var = stage.encode(image)
        noise = self.draw(len(image), self.prior).to(image)
        if log_var is None:
            return mean + self.cfg.code_noise * noise, None
        log_var = log_var.clamp(-10, 10)
        kl = 0.5 * (mean ** 2 + log_var.exp() - 1 - log_var).sum(1).mean()
        return mean + (log_var / 2).exp() * noise, kl

    def update_critics(self, D, opt_D, z, image=None, made=None):
        """One step of a stage's discriminators, on codes and, where they are given, on faces -> log."""
        cfg, log, loss = self.cfg, {}, 0.0
        with self.autocast():
            if made is not None:
                real, judged = D.image(image), D.image(made.detach())
                log = {"loss_D": losses.gan_D(real, judged), "D_real": real.sigmoid().mean(), "D_fake": judged.sigmoid().mean()}
                few = image[:max(1, len(image) // 8)].detach().requires_grad_()
                loss = log["loss_D"] + cfg.r1 / 2 * losses.r1(D.image(few), few)
            if cfg.code == "aae":
                drawn = self.draw(len(z), self.prior).to(z).requires_grad_()
                judged = D.code(drawn)
                log["loss_D_code"] = losses.gan_D(judged, D.code(z.detach()))
                loss = loss + log["loss_D_code"] + cfg.code_r1 / 2 * losses.r1(judged, drawn)
        self.update(loss, opt_D)
        return log

    def distance(self, pred, image):
        """What a face is from the true one: pixels and perceptual features -> (loss, log)."""
        log = {"rec": (pred.float() - image).abs().mean()}
        loss = self.cfg.pixel * log["rec"]
        if self.perceptual is not None:
            log["perc"] = self.perceptual(pred, image)
            loss = loss + self.cfg.perceptual * log["perc"]
        return loss, log

    def stages(self, low):
        """What every stage that has been trained makes of low (B, 3, 8, 8) -> {"A": faces, "B": faces, "C": faces}."""
        resolution.check(low)
        with torch.no_grad(), self.evaluating():
            return self.walk(self.A_ema(low.float()))

    def walk(self, first):
        """From A's faces on through the stages that have been trained -> as `stages`."""
        made = {"A": first}
        if self.cfg.steps[1]:
            made["B"] = self.B_ema(first)
        if self.cfg.steps[2]:
            made["C"] = self.C_ema(made["A"], made["B"]).clamp(-1, 1)
        return made

    def upscale(self, low):
        """Enlarge faces: low (B, 3, 8, 8) in [-1, 1] -> (B, 3, 32, 32) in [-1, 1], the last stage's answer.

        It is invented: many faces shrink to the same 8x8 pixels. `resolution.back_project` makes it shrink to `low`
        exactly. Raises ValueError for another shape or range.
        """
        return list(self.stages(low).values())[-1].to(low.dtype)

    @torch.no_grad()
    def variants(self, low, n, seed=0, spread=0.7):
        """n answers to one face: low (1, 3, 8, 8) in [-1, 1] -> (n, 3, 32, 32); the same seed gives the same faces.

        N(0, spread^2) is added to stage A's code. Back-projected, all of them shrink to `low`.
        """
        resolution.check(low)
        noise = self.prior(n, torch.Generator().manual_seed(seed)).to(low)
        with self.evaluating():
            z = self.A_ema.encode(low[:1].float())[0]
            return list(self.walk(self.A_ema.G(z + spread * noise)).values())[-1]

    @torch.no_grad()
    def sample(self, n, seed=0, spread=1.0):
        """n faces of nobody, decoded from the code's prior -> (n, 3, 32, 32) in [-1, 1]; spread multiplies the codes."""
        z = self.prior(n, torch.Generator().manual_seed(seed)).to(next(self.A.parameters()).device)
        with self.evaluating():
            return torch.cat([list(self.walk(self.A_ema.G(part)).values())[-1] for part in (spread * z).split(256)])

    def preview(self, image):
        """Rows for the sample sheet: 8x8 faces, what the stages make of them, the true faces, faces of nobody."""
        low = resolution.shrink(image)
        return [resolution.METHODS["nearest"](low), *self.stages(low).values(), image, self.sample(len(image)).to(image)]
