"""BEGAN, boundary equilibrium GAN (Berthelot, Schumm and Metz 2017), and Info-BEGAN, which has codes and a predictor.

The discriminator is an autoencoder: what it reconstructs badly counts as generated. It learns to reconstruct real faces
well and generated ones badly, the generator wants its faces to be reconstructed well. A number k, from 0 to 1, sets how
much D cares for generated faces, and is moved so that their error stays gamma times the real ones': gamma, the diversity
ratio, is the equilibrium.

The walk of one latent: z (64,) -> fully connected to (width, 8, 8) -> 3x3 convolutions with ELU, twice at each size, and
nearest neighbours between sizes -> face (3, 64, 64) -> D's encoder, the mirror image of it -> code (64,) -> D's decoder, a
network like G -> face (3, 64, 64) -> mean absolute error: one number.

`autoencoder="infogan"` is the student project's step that failed: D's layers encode, G's layers decode. With codes, a
predictor P recovers them from generated faces (Info-BEGAN). `book` starts G as D's decoder after D has learnt to
autoencode, and looks at blocks of 4x4 pixels: with 3x3 convolutions at full size BEGAN is dear.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses
from facelib.latents import Layout
from facelib.layers import Generator, Whitening, downs
from facelib.train import Method, frozen

AUTOENCODERS = ("began", "infogan")
SPREAD = 0.3            # standard deviation of the noise on D's codes while it begins as an autoencoder


@dataclass(frozen=True)
class BEGANConfig:
    """The defaults are the published configuration (preset `seed`)."""

    size: int = 64                      # pixels, 8 * patch times a power of two
    z_dim: int = 64                     # length of the noise, and of D's code
    categorical: tuple = ()             # classes of each categorical code; codes make it an Info-BEGAN
    continuous: int = 0                 # how many continuous codes
    latents: str = "uniform"            # the noise: "uniform" in [-1, 1], or "normal" N(0, 1)
    width: int = 128                    # channels of G; the encoder has once, twice, ... as many at each smaller size
    patch: int = 1                      # side of the blocks of pixels that become channels; 2 quarters the cost
    autoencoder: str = "began"          # D's layers; "infogan": an InfoGAN's D encodes, its G decodes
    gamma: float = 0.5                  # diversity ratio: the error of generated faces over the real ones'
    k_step: float = 0.001               # lambda_k: how fast k follows
    info: float = 0.1                   # with codes: weight of the predictor's loss in G's
    steps: tuple = (0, 200000)          # optimiser steps of the phases autoencoder, adversarial
    batch_size: int = 16                # images
    lr: float = 8e-5                    # Adam's step size
    lr_half: int = 100000               # steps after which it is halved, again and again
    start_lr: float = 5e-4              # of the autoencoder phase
    ema_decay: float = 0.999            # per step; the averaged generator is the one that is used

    def __post_init__(self):
        blocks = self.size // (8 * self.patch)
        if self.size % (8 * self.patch) or blocks & (blocks - 1) or not blocks:
            raise ValueError(f"size must be 8 * patch = {8 * self.patch} times a power of two, got {self.size}")
        if self.autoencoder not in AUTOENCODERS:
            raise ValueError(f"autoencoder must be one of {', '.join(AUTOENCODERS)}, got {self.autoencoder!r}")
        if not 0 < self.gamma <= 1:
            raise ValueError(f"gamma must be in (0, 1], got {self.gamma}")
        if self.steps[0] and self.latents != "normal":
            raise ValueError('G can start as D\'s decoder for normal latents only: set latents="normal", or steps[0] to 0')


def block(inner, outer):
    """Two 3x3 convolutions with ELU: (B, inner, H, W) -> (B, outer, H, W)."""
    return nn.Sequential(nn.Conv2d(inner, outer, 3, padding=1), nn.ELU(inplace=True),
                         nn.Conv2d(outer, outer, 3, padding=1), nn.ELU(inplace=True))


class Decoder(nn.Module):
    """Latents (B, length) -> faces (B, 3, size, size), about [-1, 1]: BEGAN's generator, and the decoder of its D."""

    def __init__(self, length, cfg):
        super().__init__()
        self.first = nn.Linear(length, cfg.width * 64)
        doublings = (cfg.size // (8 * cfg.patch)).bit_length() - 1
        self.blocks = nn.ModuleList(block(cfg.width, cfg.width) for _ in range(doublings + 1))
        self.last = nn.Sequential(nn.Conv2d(cfg.width, 3 * cfg.patch ** 2, 3, padding=1), nn.PixelShuffle(cfg.patch))

    def forward(self, z):
        x = self.first(z).unflatten(1, (-1, 8, 8))                                        # (B, width, 8, 8)
        for i, layers in enumerate(self.blocks):
            x = layers(F.interpolate(x, scale_factor=2) if i else x)
        return self.last(x).float()


class Encoder(nn.Module):
    """Faces (B, 3, size, size) -> vectors (B, length): the first half of D, and Info-BEGAN's predictor."""

    def __init__(self, length, cfg):
        super().__init__()
        sizes = (cfg.size // (8 * cfg.patch)).bit_length()
        layers = [nn.PixelUnshuffle(cfg.patch), nn.Conv2d(3 * cfg.patch ** 2, cfg.width, 3, padding=1), nn.ELU(inplace=True)]
        for i in range(1, sizes + 1):
            layers.append(block(i * cfg.width, i * cfg.width))
            if i < sizes:
                layers += [nn.Conv2d(i * cfg.width, (i + 1) * cfg.width, 3, 2, 1), nn.ELU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten(), nn.Linear(sizes * cfg.width * 64, length))

    def forward(self, image):
        return self.layers(image).float()


class Autoencoder(nn.Module):
    """D: faces (B, 3, size, size) -> their reconstructions, through codes (B, z_dim)."""

    def __init__(self, cfg):
        super().__init__()
        if cfg.autoencoder == "began":
            self.encoder, self.decoder = Encoder(cfg.z_dim, cfg), Decoder(cfg.z_dim, cfg)
        else:
            trunk = downs(cfg.width, cfg.size, norm=True)
            self.encoder = nn.Sequential(trunk, nn.Flatten(), nn.Linear(16 * trunk[-1][0].out_channels, cfg.z_dim))
            self.decoder = Generator(cfg.z_dim, cfg.width, cfg.size)

    def forward(self, image):
        return self.decoder(self.encoder(image))


class BEGAN(Method):
    """`sample(n)` draws faces, `generate(latents)` makes them of given latents; with codes, `encode(image)` recovers these."""

    Config = BEGANConfig
    presets = {
        "seed": BEGANConfig(),
        "book": BEGANConfig(latents="normal", width=64, patch=4, gamma=0.7, k_step=0.02, steps=(6000, 10275), lr=2e-4,
                            lr_half=8000),
        "smoke": BEGANConfig(size=32, z_dim=16, latents="normal", width=8, patch=2, categorical=(4,), continuous=2,
                             steps=(12, 12), batch_size=8, lr=1e-3, ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema", "P")      # without codes there is no P

    def build(self, cfg):
        self.layout = Layout(cfg.z_dim, cfg.categorical, cfg.continuous, cfg.latents)
        self.G = Decoder(self.layout.length, cfg) if cfg.autoencoder == "began" else \
            Generator(self.layout.length, cfg.width, cfg.size)
        self.D = Autoencoder(cfg)
        players = [*self.G.parameters()]
        if self.layout.codes:
            self.P = Encoder(cfg.z_dim + sum(cfg.categorical) + 2 * cfg.continuous, cfg)
            players += self.P.parameters()
        if cfg.steps[0]:
            self.whitening = Whitening(cfg.z_dim)
        self.opt_start = torch.optim.Adam(self.D.parameters(), cfg.start_lr, betas=(0.9, 0.99))
        self.opt_G = torch.optim.Adam(players, cfg.lr, betas=(0.5, 0.99))
        self.opt_D = torch.optim.Adam(self.D.parameters(), cfg.lr, betas=(0.5, 0.99))
        self.scalars |= {"k": 0.0, "played": 0}

    def phases(self):
        return list(zip(("autoencoder", "adversarial"), self.cfg.steps, strict=True))

    def begin(self):
        """G becomes D's decoder, made for latents N(0, 1) by whitening; weights of the codes stay as they were drawn."""
        for network in (self.G, self.G_ema):
            theirs = dict(self.D.decoder.named_parameters())
            with torch.no_grad():
                for name, mine in network.named_parameters():
                    mine[tuple(map(slice, theirs[name].shape))] = theirs[name]
        self.whitening.fold([], [self.G, self.G_ema], self.accelerator)

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        if phase == "autoencoder":
            noise = self.draw(len(image), lambda n, g: torch.randn(n, cfg.z_dim, generator=g)).to(image)
            with self.autocast():
                code = self.D.encoder(image).float()
                pred = self.D.decoder(code + SPREAD * noise)
            # A VAE whose clouds all have one size: enough to make the codes a cloud without holes.
            _, kl = losses.elbo(pred, image, code, torch.full_like(code, SPREAD).log() * 2, 1.0)
            rec = (pred - image).abs().mean()
            self.update(rec + kl, self.opt_start)
            self.whitening.follow(code.detach())
            return {"real": rec, "kl": kl}
        if cfg.steps[0] and not self.scalars["played"]:
            self.begin()
        for optimiser in (self.opt_G, self.opt_D):
            optimiser.param_groups[0]["lr"] = cfg.lr * 0.5 ** (self.scalars["played"] // cfg.lr_half)
        self.scalars["played"] += 1

        vector = self.draw(len(image), self.layout.draw).to(image)
        with self.autocast():
            fake = self.G(vector)
            real_error = (self.D(image) - image).abs().mean()
            held = fake.detach()
            fake_error = (self.D(held) - held).abs().mean()
        self.update(real_error - self.scalars["k"] * fake_error, self.opt_D)              # eq. 5

        with frozen(self.D), self.autocast():
            loss_G = (self.D(fake) - fake).abs().mean()
            total, log = loss_G, {}
            if self.layout.codes:
                reading, log = self.reading(fake, self.layout.split(vector))
                total = loss_G + cfg.info * reading
        self.update(total, self.opt_G)
        difference = losses.balance(real_error.detach(), loss_G.detach(), cfg.gamma)
        self.scalars["k"] = min(max(self.scalars["k"] + cfg.k_step * float(difference), 0.0), 1.0)
        return {"real": real_error, "fake": loss_G, "M": losses.convergence(real_error, loss_G, cfg.gamma).detach(), **log}

    def reading(self, fake, latents):
        """The predictor's loss on faces of known latents -> (loss, log): the codes' information, and z's squared error."""
        cfg = self.cfg
        z, answer = self.P(fake).split([cfg.z_dim, sum(cfg.categorical) + 2 * cfg.continuous], 1)
        cat, cont = losses.information(answer, latents, cfg.categorical, cfg.continuous)
        recovery = (z - latents["z"]).pow(2).mean()
        return recovery - cat - 0.1 * cont, {"mi": cat, "mi_cont": cont, "recovery": recovery}

    @torch.no_grad()
    def generate(self, latents):
        """Faces of latents -> (B, 3, size, size) in [-1, 1]. latents: a dict, or joined (B, layout.length)."""
        vector = latents if torch.is_tensor(latents) else self.layout.join(latents)
        with self.evaluating():
            return torch.cat([self.G_ema(part).clamp(-1, 1) for part in vector.to(next(self.G.parameters())).split(256)])

    def draw_latents(self, n, seed=0, spread=1.0):
        """n latents of the prior, joined -> (n, layout.length) on the CPU; the same seed gives the same. spread: of z."""
        return self.layout.sample(n, seed, spread)

    def sample(self, n, seed=0, spread=1.0):
        """n faces of nobody -> (n, 3, size, size) in [-1, 1]; the same seed gives the same faces. spread: of the noise z."""
        return self.generate(self.draw_latents(n, seed, spread))

    @torch.no_grad()
    def encode(self, image):
        """Info-BEGAN's predictor: faces (B, 3, size, size) in [-1, 1] -> latents, a dict; c_cat holds probabilities.

        ValueError for images of another size, and for a BEGAN without codes, which has no predictor.
        """
        cfg = self.cfg
        if not self.layout.codes:
            raise ValueError("this BEGAN has no codes and no predictor (section 2.3 of the source: D's own code is another "
                             "one than G's latent); use one with categorical or continuous codes, or methods.predictor")
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, cfg.size, cfg.size):
            raise ValueError(f"image must be (B, 3, {cfg.size}, {cfg.size}), what this BEGAN was trained on, got "
                             f"{tuple(image.shape)}; resize it, or add the batch axis")
        with self.evaluating():
            z, *logits, mean, _ = self.P(image.float()).split([cfg.z_dim, *cfg.categorical, cfg.continuous, cfg.continuous], 1)
        return {"z": z, "c_cat": torch.cat([part.softmax(1) for part in logits] + [z[:, :0]], 1), "c_cont": mean.clamp(-1, 1)}

    @torch.no_grad()
    def reconstruct(self, image):
        """What D makes of faces (B, 3, size, size): its idea of them, in [-1, 1]. Of a run: published weights leave D out."""
        with self.evaluating():
            return self.D(image).clamp(-1, 1)

    def preview(self, image):
        """Rows for the sample sheet: faces, what D makes of them, faces of nobody twice, and what D makes of the last."""
        drawn = self.sample(2 * len(image)).to(image).split(len(image))
        return [image, self.reconstruct(image), *drawn, self.reconstruct(drawn[1])]
