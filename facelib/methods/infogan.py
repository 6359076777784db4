"""InfoGAN (Chen et al., NIPS 2016): a generator whose codes mean something, because they can be read off its images.

Beside noise z the generator gets codes: categorical ones, such as which digit, and continuous ones, such as how slanted.
Nothing names them. A network Q, which shares its trunk with the discriminator, has to tell the codes from the image, and
the generator earns a reward where Q can: a lower bound of the mutual information of codes and images.

The walk of one latent: z (100,), c_cat (10,) one-hot, c_cont (5,) -> joined (115,) -> fully connected to (384, 4, 4) ->
four fractionally strided convolutions -> face (3, 64, 64) -> trunk of D (64,) -> one logit, and Q's answer: 10 logits, 5
means, 5 log-variances.

The switches of the student project: `recovery` reads the noise too, in the shared trunk or with a network of its own,
`d_noise` adds noise to D's input, whose power falls, `d_updates` lets D learn more often. For faces, the generator begins
as the decoder of a VAE and stays anchored to real faces as in `dcgan`; what code a real face has, Q says. Such a generator
needs no codes any more and would whisper them, in patterns that Q can read and nobody sees: see `InfoGAN.assign`.
"""

import math
from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses
from facelib.extras import need
from facelib.features import PerceptualLoss
from facelib.latents import Layout
from facelib.layers import Encoder, Generator, Whitening, downs
from facelib.train import Method, frozen

RECOVERIES = ("none", "trunk", "joint")
RECENT = 1024           # latents of real images, whose clusters the classes begin as


@dataclass(frozen=True)
class InfoGANConfig:
    """The defaults are the published configuration for MNIST (preset `seed`), at 32 pixels instead of 28."""

    size: int = 32                      # pixels, a power of two
    z_dim: int = 62                     # length of the noise
    categorical: tuple = (10,)          # classes of each categorical code
    continuous: int = 2                 # how many continuous codes
    latents: str = "uniform"            # the noise: "uniform" in [-1, 1], or "normal" N(0, 1)
    width: int = 32                     # channels of G's last layer but one; 8x at 4x4
    d_width: int = 64                   # channels of D's first layer; 8x at 4x4 at most
    d_features: int = 128               # length of the features that D and Q share
    kernel: int = 4                     # of all convolutions
    batch_norm: bool = True             # in both networks, but not at G's output and D's input
    r1: float = 0.0                     # instead of it in D: a penalty on its slope at real images (Mescheder et al. 2018)
    mi: float = 1.0                     # lambda: weight of the information about categorical codes
    mi_continuous: float = 0.1          # and about continuous ones
    recovery: str = "none"              # who recovers z: nobody, the shared "trunk", or a network of its own, "joint"
    recovery_weight: float = 0.1        # of its squared error
    d_noise: float = 0.0                # power (variance) of Gaussian noise on D's input at the start of the game
    d_noise_half: int = 500             # steps in which it falls to a half
    d_updates: int = 1                  # updates of D for each of G
    steps: tuple = (0, 0, 0, 20000)     # optimiser steps of the phases autoencoder, encoder, discriminator, adversarial
    batch_size: int = 128               # images
    lr: float = 1e-3                    # Adam's step size, G and Q
    d_lr: float = 2e-4                  # of the discriminator
    beta1: float = 0.5                  # of Adam in the game
    start_lr: float = 1e-3              # of the autoencoder and encoder phases
    noise: float = 0.7                  # standard deviation of a value that the autoencoder leaves unexplained
    anchor: float = 0.0                 # weight of the autoencoder's loss in the game; 0 builds no encoder
    perceptual: float = 0.0             # weight of the perceptual distance beside it
    ema_decay: float = 0.999            # per step; the averaged generator is the one that is used

    def __post_init__(self):
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"size must be a power of two, 8 or more, got {self.size}")
        if self.recovery not in RECOVERIES:
            raise ValueError(f"recovery must be one of {', '.join(RECOVERIES)}, got {self.recovery!r}")
        if any(self.steps[:2]) and not self.anchor:
            raise ValueError("the autoencoder and encoder phases need an encoder: set anchor above 0, or their steps to 0")
        if self.anchor and self.steps[1] * self.batch_size < RECENT:
            raise ValueError(f"with an anchor the encoder phase must see {RECENT} images, so that classes can begin as clusters "
                             f"of them: set steps[1] to {math.ceil(RECENT / self.batch_size)} or more, got {self.steps[1]}")
        if self.anchor and self.latents != "normal":
            raise ValueError('a VAE has normal latents: set latents="normal", or anchor to 0')
        if self.d_updates < 1:
            raise ValueError(f"d_updates must be at least 1, got {self.d_updates}")


class Discriminator(nn.Module):
    """Images (B, 3, size, size) -> features (B, d_features), and from them logits (B, 1): above 0 means real."""

    def __init__(self, cfg):
        super().__init__()
        trunk = downs(cfg.d_width, cfg.size, cfg.kernel, cfg.batch_norm)
        inner = 16 * trunk[-1][0].out_channels
        self.layers = nn.Sequential(trunk, nn.Flatten(), nn.Linear(inner, cfg.d_features),
                                    nn.LeakyReLU(0.2, inplace=True), nn.Linear(cfg.d_features, 1))

    def features(self, image):
        """Images (B, 3, size, size) in [-1, 1] -> the features (B, d_features) that Q reads as well."""
        return self.layers[:-1](image)

    def forward(self, image):
        return self.layers[-1](self.features(image)).float()


class CodeHead(nn.Module):
    """Q: D's features (B, d_features) -> its answer (B, sum(categorical) + 2 continuous), see `losses.information`."""

    def __init__(self, cfg):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(cfg.d_features, 128), nn.LeakyReLU(0.2, inplace=True),
                                    nn.Linear(128, sum(cfg.categorical) + 2 * cfg.continuous))

    def forward(self, features):
        return self.layers(features).float()


class InfoGAN(Method):
    """`sample(n)` draws images, `generate(latents)` makes them of given latents and codes, `encode(image)` reads codes."""

    Config = InfoGANConfig
    presets = {
        "seed": InfoGANConfig(),
        "digits": InfoGANConfig(size=16, z_dim=16, latents="normal", width=16, d_width=16, d_features=64, batch_norm=False,
                                r1=0.2, d_noise=0.1, d_noise_half=2000, steps=(1500, 100, 200, 3000), batch_size=64, lr=3e-4,
                                d_lr=1e-3, noise=0.7, anchor=1.0, ema_decay=0.998),
        "book": InfoGANConfig(size=64, z_dim=100, continuous=5, latents="normal", width=48, d_width=32, d_features=64,
                              batch_norm=False, r1=0.5, steps=(0, 1500, 400, 10700), batch_size=32, lr=1.5e-4,
                              d_lr=8e-4, anchor=5.0, perceptual=0.3),
        "smoke": InfoGANConfig(z_dim=16, width=8, d_width=8, d_features=16, batch_norm=False, latents="normal", r1=0.1,
                               steps=(12, 128, 4, 12), batch_size=8, lr=1e-3, d_lr=1e-3, anchor=1.0, ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema", "D", "Q")

    def build(self, cfg):
        self.layout = Layout(cfg.z_dim, cfg.categorical, cfg.continuous, cfg.latents)
        self.G = Generator(self.layout.length, cfg.width, cfg.size, cfg.kernel, cfg.batch_norm)
        self.D, self.Q = Discriminator(cfg), CodeHead(cfg)
        trained, readers = [*self.G.parameters()], [*self.Q.parameters()]
        if cfg.anchor:
            self.E = Encoder(cfg.z_dim, cfg.d_width, cfg.size)
            self.opt_AE = torch.optim.Adam([*self.G.parameters(), *self.E.parameters()], cfg.start_lr, betas=(0.9, 0.99))
            self.opt_E = torch.optim.Adam(self.E.parameters(), cfg.start_lr, betas=(0.9, 0.99))
            self.whitening = Whitening(cfg.z_dim)
            self.register_buffer("recent", torch.zeros(RECENT, cfg.z_dim))      # latents of faces that E found last
            self.scalars |= {"whitened": not cfg.steps[0], "assigned": False}
            trained += self.E.parameters()
        if cfg.recovery == "trunk":
            self.R = nn.Linear(cfg.d_features, cfg.z_dim)
        elif cfg.recovery == "joint":
            self.R = nn.Sequential(downs(cfg.d_width, cfg.size, cfg.kernel), nn.Flatten(),
                                   nn.Linear(self.D.layers[2].in_features, cfg.z_dim))
        if cfg.recovery != "none":
            readers += self.R.parameters()
        if cfg.perceptual:
            self.perceptual = PerceptualLoss()
        self.scalars["d_noise"] = cfg.d_noise
        self.opt_G = torch.optim.Adam([*trained, *readers], cfg.lr, betas=(cfg.beta1, 0.99))
        # The trunk learns from Q's reading as well: features that only tell real from fake would say little of the codes.
        self.opt_D = torch.optim.Adam([*self.D.parameters(), *readers], cfg.d_lr, betas=(cfg.beta1, 0.99))

    def phases(self):
        return list(zip(("autoencoder", "encoder", "discriminator", "adversarial"), self.cfg.steps, strict=True))

    def encoded(self, image):
        """Joined latents of faces: noise drawn from E's answer, codes as Q reads them -> (vector, mean, log-variance)."""
        mean, log_var = self.E(image)
        noise = self.draw(len(image), lambda n, g: torch.randn(n, self.cfg.z_dim, generator=g)).to(mean)
        codes = self._codes(image)
        sure = [nn.functional.one_hot(part.argmax(1), part.shape[1]).to(mean)
                for part in codes["c_cat"].split(list(self.cfg.categorical), 1)] if self.cfg.categorical else []
        z = mean + (log_var / 2).exp() * noise
        return torch.cat([z, *sure, codes["c_cont"].clamp(-1, 1)], 1), mean, log_var

    @torch.no_grad()
    def _codes(self, image):
        """Q's reading of images -> {"c_cat": probabilities (B, sum(categorical)), "c_cont": means (B, continuous)}."""
        answer = self.Q(self.D.features(image))
        kinds = [*self.cfg.categorical, self.cfg.continuous, self.cfg.continuous]
        *logits, mean, _ = answer.split(kinds, 1)
        return {"c_cat": torch.cat([part.softmax(1) for part in logits] + [answer[:, :0]], 1), "c_cont": mean}

    def autoencoding(self, pred, image, mean, log_var):
        """The anchor: the VAE's two terms, and the perceptual distance -> (loss, log)."""
        rec, kl = losses.elbo(pred, image, mean, log_var, self.cfg.noise)
        log, loss = {"rec": rec, "kl": kl}, rec + kl
        if self.cfg.perceptual:
            log["perc"] = self.perceptual(pred, image)
            loss = loss + self.cfg.perceptual * log["perc"]
        return loss, log

    def reading(self, image, features, latents):
        """What Q, and R, can tell of the latents that made images -> (loss, log): minus lambda L_I, and z's error."""
        cfg = self.cfg
        cat, cont = losses.information(self.Q(features), latents, cfg.categorical, cfg.continuous)
        loss, log = -cfg.mi * cat - cfg.mi_continuous * cont, {"mi": cat, "mi_cont": cont}
        if cfg.recovery != "none":
            found = self.R(features if cfg.recovery == "trunk" else image).float()
            log["recovery"] = (found - latents["z"]).pow(2).mean()
            loss = loss + cfg.recovery_weight * log["recovery"]
        return loss, log

    def disturbed(self, image):
        """Images with the noise on them that keeps D from winning at once."""
        power = self.scalars["d_noise"]
        if power < 1e-5:
            return image
        return image + power ** 0.5 * self.draw(len(image), lambda n, g: torch.randn(n, *image.shape[1:], generator=g)).to(image)

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        if self.scalars.get("whitened") is False and phase != "autoencoder":
            self.whitening.fold([self.E], [self.G, self.G_ema], self.accelerator)
            self.scalars["whitened"] = True
        if phase in ("autoencoder", "encoder"):
            with self.autocast():
                found, mean, log_var = self.encoded(image)
                loss, log = self.autoencoding(self.G(found), image, mean, log_var)
            self.update(loss, self.opt_AE if phase == "autoencoder" else self.opt_E)
            if phase == "autoencoder":
                self.whitening.follow(found[:, :cfg.z_dim])
            else:                               # what E found before the latents were whitened counts no more
                self.recent.copy_(torch.cat([self.recent, mean.detach()])[-RECENT:])
            return log
        if self.scalars.get("assigned") is False:
            self.assign()
            self.scalars["assigned"] = True

        for _ in range(cfg.d_updates):
            log = self.discriminate(image)
        if phase == "adversarial":
            log |= self.play(image)
            self.scalars["d_noise"] *= 0.5 ** (1 / cfg.d_noise_half)
        return log

    def assign(self):
        """Give the codes what z says of the images most plainly, and take it from z and from E.

        The classes of a categorical code begin as the clusters of the latents that E finds of real images (k-means), the
        continuous codes as the directions along which G's images change most: the first eigenvectors of the mean of J^T J,
        J the Jacobian of images weighted to their middle. The images stay what they were, but their codes are visible from
        the first step on. Ours; after Harkonen et al. 2020, who look for directions in a finished GAN.
        """
        cfg, d = self.cfg, self.cfg.z_dim
        device = next(self.G.parameters()).device
        recent = self.recent if self.accelerator is None else self.accelerator.gather(self.recent)  # alike in all processes
        rest, columns = torch.eye(d, device=device), []                 # what is left for z: a projection
        for k in cfg.categorical:
            latents = (recent @ rest).cpu().double().numpy()
            tries = [need("scipy.cluster.vq").kmeans2(latents, k, minit="++", seed=seed) for seed in range(10)]
            found = min(tries, key=lambda found: ((latents - found[0][found[1]]) ** 2).sum())[0]
            centres = torch.from_numpy(found).to(rest)
            columns.append(centres.T)
            rest = rest - self._onto(torch.linalg.svd((centres - centres.mean(0)).T)[0][:, :k - 1])
        generator = torch.Generator().manual_seed(cfg.size)
        vector = self.layout.draw(512, generator).to(device).requires_grad_()
        line = torch.linspace(-1.5, 1.5, cfg.size).square().neg().exp()
        probe = torch.randn(512, 3, cfg.size, cfg.size, generator=generator) * torch.outer(line, line)
        (slope,) = torch.autograd.grad((self.G(vector) * probe.to(device)).sum(), vector)
        slope = slope[:, :d] @ rest
        axes = torch.linalg.eigh(slope.T @ slope)[1].flip(1)[:, :cfg.continuous]
        columns.append(axes * 3 ** 0.5)                                 # uniform in [-1, 1] has the variance 1/3
        rest = rest - self._onto(axes)
        with torch.no_grad():
            for network in (self.G, self.G_ema):
                weight = network.first.weight
                weight[:, d:] = weight[:, :d] @ torch.cat(columns, 1)
                weight[:, :d] = weight[:, :d] @ rest
            self.E.vector.weight[:d] = rest @ self.E.vector.weight[:d]
            self.E.vector.bias[:d] = rest @ self.E.vector.bias[:d]

    @staticmethod
    def _onto(axes):
        """The projection onto orthonormal columns (d, n) -> (d, d)."""
        return axes @ axes.T

    def latents(self, image):
        """Latents of the prior, (B, length); with an anchor a quarter of them come from faces, the first of the batch."""
        some = image[:len(image) // 4] if self.cfg.anchor else image[:0]
        vector = self.draw(len(image) - len(some), self.layout.draw).to(image)
        if not len(some):
            return vector, some, None, None
        found, mean, log_var = self.encoded(some)
        return torch.cat([found.to(vector), vector]), some, mean, log_var

    def discriminate(self, image):
        """One update of D against G's images, and of Q and R, which read them through D's trunk."""
        cfg = self.cfg
        with self.autocast():
            with torch.no_grad():
                vector, *_ = self.latents(image)
                fake = self.disturbed(self.G(vector))
            image = self.disturbed(image)
            features = self.D.features(fake)                # not mixed: batch norm must not see both (DCGAN guidelines)
            real, judged = self.D(image), self.D.layers[-1](features).float()
            reading, _ = self.reading(fake, features, self.layout.split(vector))
        loss_D = losses.gan_D(real, judged)
        if cfg.r1:                              # at an eighth of the images: a second derivative is dear
            few = image[:max(1, len(image) // 8)].detach().requires_grad_()
            loss_D = loss_D + cfg.r1 / 2 * losses.r1(self.D(few), few)
        self.update(loss_D + reading, self.opt_D)
        return {"loss_D": loss_D, "D_real": real.sigmoid().mean(), "D_fake": judged.sigmoid().mean()}

    def play(self, image):
        """One update of G, Q and R, and of E where faces anchor G: eq. 6, minus V for non-saturating -log D."""
        cfg = self.cfg
        with frozen(self.D), self.autocast():
            vector, some, mean, log_var = self.latents(image)
            fake = self.G(vector)
            features = self.D.features(self.disturbed(fake))
            adv = losses.gan_G(self.D.layers[-1](features))
            reading, log = self.reading(fake, features, self.layout.split(vector.detach()))
            loss = adv + reading
            if len(some):
                anchor, terms = self.autoencoding(fake[:len(some)], some, mean, log_var)
                loss, log = loss + cfg.anchor * anchor, log | terms
        self.update(loss, self.opt_G)
        return {"adv": adv, "loss_G": loss, **log}

    @torch.no_grad()
    def generate(self, latents):
        """Images of latents -> (B, 3, size, size) in [-1, 1]. latents: a dict, or joined (B, layout.length)."""
        vector = latents if torch.is_tensor(latents) else self.layout.join(latents)
        with self.evaluating():
            return torch.cat([self.G_ema(part) for part in vector.to(next(self.G.parameters())).split(256)])

    def draw_latents(self, n, seed=0, spread=1.0):
        """n latents of the prior, joined -> (n, layout.length) on the CPU; the same seed gives the same. spread: of z."""
        return self.layout.sample(n, seed, spread)

    def sample(self, n, seed=0, spread=1.0):
        """n images of nothing in particular -> (n, 3, size, size) in [-1, 1]; the same seed gives the same.

        spread: the noise z is multiplied by it. Below 1 the images are more typical and less varied.
        """
        return self.generate(self.draw_latents(n, seed, spread))

    @torch.no_grad()
    def encode(self, image):
        """The codes that Q reads off images (B, 3, size, size) in [-1, 1].

        -> {"c_cat": probabilities (B, sum(categorical)), "c_cont": means (B, continuous)}. The noise cannot be read here:
        see `methods.predictor`. ValueError for images of another size.
        """
        size = self.cfg.size
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, size, size):
            raise ValueError(f"image must be (B, 3, {size}, {size}), what this InfoGAN was trained on, got "
                             f"{tuple(image.shape)}; resize it, or add the batch axis")
        with self.evaluating():
            return self._codes(image.float())

    def preview(self, image):
        """Rows for the sample sheet: samples; then one sample with each class, and with two continuous codes turned."""
        n = len(image)
        rows, one = [self.sample(n), self.sample(n, seed=1)], self.draw_latents(1, seed=2)
        for code in self.layout.codes[:4]:
            values = range(n) if code.startswith("c_cat") else torch.linspace(-1, 1, n).tolist()
            k = self.cfg.categorical[int(code[5:])] if code.startswith("c_cat") else n
            rows.append(self.generate(torch.cat([self.layout.set(one, code, value % k if code.startswith("c_cat") else value)
                                                 for value in values])))
        return [row.to(image) for row in rows]
