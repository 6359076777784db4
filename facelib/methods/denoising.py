"""Adversarial denoising autoencoder, the first of the student projects (Allen and Li 2016).

A convolutional autoencoder is given a face with a white rectangle in it and returns the whole face; a discriminator looks
at what came back. There is no mask channel: that the white part is a hole, the network must see for itself. `seed` is
the published network with the facts of the code it was built on; `book` keeps its shape and its white hole, and adds what
has been learnt since.

The walk of one face: image (3, 160, 128) -> its hole painted white -> four convolutions to (1024, 10, 8) -> four
fractionally strided ones and an output layer -> `pred` (3, 160, 128) -> D's logit. Batches go to D and G in turn.
"""

from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses, masks
from facelib.data.images import pair
from facelib.layers import conv, upconv
from facelib.train import Method, frozen


@dataclass(frozen=True)
class DenoisingConfig:
    """The defaults are the published configuration of the student project (preset `seed`).

    G's loss is g_cost_d + X enc_cost. What X multiplies is said by `reduction`: "sum" adds the squared errors of all
    pooled values of a face and takes the mean over the batch, as the code behind the project does, so that at 160x128
    one X weighs 3840 values; "mean" is the mean over values that the project's text could be read as.
    """

    size: object = (160, 128)           # pixels, the side or (height, width), multiples of 16
    widths: tuple = (128, 256, 512, 1024)       # channels of the encoder's four convolutions, and of D's
    up_widths: tuple = (512, 256, 256, 128)     # channels of the decoder's four
    d_widths: tuple = (128, 256, 512, 1024)     # channels of the discriminator's four
    kernel: int = 5                     # of all convolutions; the output layer needs an odd one
    batch_norm: bool = True             # after every convolution but the output
    spectral_norm: bool = False         # in D instead: keeps its gradients bounded (Miyato et al. 2018)
    init_std: float = 0.02              # of the first weights; 0 keeps the size of the signal instead (He et al. 2015)
    steps: tuple = (0, 20000)           # batches of the phases reconstruction (G alone) and adversarial (in turn)
    batch_size: int = 128               # images
    lr: float = 2e-4                    # Adam's step size
    d_lr: float = 2e-4                  # of the discriminator
    betas: tuple = (0.5, 0.999)         # of Adam
    weight_decay: float = 1e-5          # L2 in the optimisers
    adversarial: bool = True            # False: no discriminator, and every batch is G's
    composited: bool = False            # D sees the face with its known pixels put back; False: the raw output
    mse_weight: float = 1.0             # X
    reduction: str = "sum"              # what X multiplies, see above: "sum" or "mean"
    pooling: str = "average"            # of 4x4 pixels, before the error: "average", "max" or "none"
    known_weight: float = 1.0           # of an error outside the hole; inside it is 1
    dynamic: bool = False               # lower X when the reconstruction has stopped improving
    window: int = 500                   # updates of G whose mean enc_cost is compared with that of those before
    tolerance: float = 0.02             # "stopped improving": the mean fell by less than this share of it
    factor: float = 0.5                 # what X is then multiplied by
    floor: float = 0.01                 # X stays above this share of its first value
    ema_decay: float = 0.999            # per batch; the averaged network is the one that completes

    def __post_init__(self):
        if any(side % 16 for side in pair(self.size)):
            raise ValueError(f"size must be multiples of 16 pixels, got {self.size}")
        if self.pooling not in losses.POOLING:
            raise ValueError(f"pooling must be one of {', '.join(losses.POOLING)}, got {self.pooling!r}")
        if self.reduction not in ("sum", "mean"):
            raise ValueError(f"reduction must be sum or mean, got {self.reduction!r}")
        if not (0 < self.factor < 1 and self.floor > 0):
            raise ValueError(f"factor must lie between 0 and 1 and floor above 0, got {self.factor} and {self.floor}")


class Autoencoder(nn.Module):
    """Faces with a white hole (B, 3, H, W) in [-1, 1] -> pred (B, 3, H, W) in [-1, 1]."""

    def __init__(self, cfg):
        super().__init__()
        norm, k, down, up = cfg.batch_norm, cfg.kernel, (3, *cfg.widths), (cfg.widths[-1], *cfg.up_widths)
        self.encoder = nn.Sequential(*(conv(a, b, k, 2, norm=norm, act="leaky")
                                       for a, b in zip(down, down[1:], strict=False)))      # (B, 1024, H/16, W/16)
        self.decoder = nn.Sequential(*(upconv(a, b, k, norm) for a, b in zip(up, up[1:], strict=False)))
        self.out = conv(up[-1], 3, k - 1 + k % 2, act=None)                                 # (B, 3, H, W)

    def forward(self, painted):
        return torch.tanh(self.out(self.decoder(self.encoder(painted))).float())


class Discriminator(nn.Module):
    """Faces (B, 3, H, W) of the configured size -> logits (B, 1): above 0 means real."""

    def __init__(self, cfg):
        super().__init__()
        wrap = nn.utils.parametrizations.spectral_norm if cfg.spectral_norm else (lambda layer: layer)
        norm, down = cfg.batch_norm and not cfg.spectral_norm, (3, *cfg.d_widths)
        self.convs = nn.Sequential(*(conv(a, b, cfg.kernel, 2, norm=norm, act="leaky", spectral=cfg.spectral_norm)
                                     for a, b in zip(down, down[1:], strict=False)))
        height, width = pair(cfg.size)
        self.join = wrap(nn.Linear(down[-1] * (height // 16) * (width // 16), 1, bias=False))

    def forward(self, image):
        return self.join(self.convs(image).flatten(1)).float()


class DenoisingAutoencoder(Method):
    """`complete(image, mask)` fills the hole; `reconstruct(image, mask)` is the raw output, before compositing."""

    Config = DenoisingConfig
    presets = {
        "seed": DenoisingConfig(),
        "book": DenoisingConfig(size=64, widths=(24, 48, 96, 144), up_widths=(96, 48, 24, 24), d_widths=(16, 32, 64, 96),
                                kernel=4, batch_norm=False, spectral_norm=True, init_std=0.0, steps=(3500, 2000),
                                batch_size=16, lr=1e-3, d_lr=5e-4, betas=(0.5, 0.99), weight_decay=0.0, composited=True,
                                mse_weight=400.0, reduction="mean", pooling="none", known_weight=0.1),
        "today": DenoisingConfig(widths=(32, 64, 128, 192), up_widths=(128, 64, 32, 32), d_widths=(16, 32, 64, 96), kernel=4,
                                 batch_norm=False, spectral_norm=True, init_std=0.0, steps=(12000, 6000), batch_size=32,
                                 lr=1e-3, d_lr=5e-4, betas=(0.5, 0.99), weight_decay=0.0, composited=True, mse_weight=400.0,
                                 reduction="mean", pooling="none", known_weight=0.1),
        "smoke": DenoisingConfig(size=32, widths=(8, 8, 16, 16), up_widths=(16, 8, 8, 8), d_widths=(8, 8, 16, 16),
                                 kernel=4, batch_norm=False, spectral_norm=True, init_std=0.0, steps=(8, 16), batch_size=8,
                                 lr=2e-3, d_lr=1e-3, betas=(0.5, 0.99), weight_decay=0.0, dynamic=True, window=3,
                                 ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema",)

    def build(self, cfg):
        self.G = Autoencoder(cfg)
        networks = {"G": (self.G, cfg.lr)}
        if cfg.adversarial:
            self.D = Discriminator(cfg)
            networks["D"] = self.D, cfg.d_lr
        for name, (network, lr) in networks.items():
            if cfg.init_std:
                for layer in network.modules():
                    if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                        nn.init.normal_(layer.weight, std=cfg.init_std)
            setattr(self, f"opt_{name}", torch.optim.Adam(network.parameters(), lr, betas=cfg.betas,
                                                          weight_decay=cfg.weight_decay))
        # turns: batches of the adversarial phase; enc_*: the reconstruction's progress, see `watch`.
        self.scalars |= {"X": cfg.mse_weight, "turns": 0, "enc_sum": 0.0, "enc_count": 0, "enc_before": 0.0}

    def phases(self):
        return list(zip(("reconstruction", "adversarial"), self.cfg.steps, strict=True))

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        mask = self.draw(len(image), lambda n, g: masks.rectangle(n, pair(cfg.size), g)).to(image)
        plays = cfg.adversarial and phase == "adversarial"
        learner = "D" if plays and self.scalars["turns"] % 2 == 0 else "G"
        with self.autocast(), torch.set_grad_enabled(learner == "G"):
            pred = self.G(paint(image, mask))
        weight = mask + cfg.known_weight * (1 - mask)
        enc_cost = losses.encoding_cost(pred, image, cfg.pooling, cfg.reduction, weight)
        if cfg.reduction == "mean":
            enc_cost = self.share(weight.sum()) * enc_cost
        loss_G, log = self.scalars["X"] * enc_cost, {"enc_cost": enc_cost}

        if plays:
            self.scalars["turns"] += 1
            fake = masks.composite(image, mask, pred) if cfg.composited else pred
            with self.autocast(), torch.set_grad_enabled(learner == "D"):
                p_real = self.D(image)
            # One batch of real, one of generated faces: batch norm must not see them mixed (DCGAN guidelines).
            with self.autocast(), frozen(*[self.D] if learner == "G" else []):
                p_gen = self.D(fake)
            # -log D(real), -log(1 - D(pred)) and -log D(pred), under the source's names.
            log |= {"d_cost_real": losses.gan_G(p_real), "d_cost_gen": -losses.gan_G(p_gen, saturating=True),
                    "g_cost_d": losses.gan_G(p_gen)}
            loss_G = loss_G + log["g_cost_d"]

        if learner == "D":
            self.update(log["d_cost_real"] + log["d_cost_gen"], self.opt_D)
        else:
            self.update(loss_G, self.opt_G)
            if cfg.dynamic and plays:
                self.watch(enc_cost.detach())
        return log

    def watch(self, enc_cost):
        """Lower X by `factor` when the mean enc_cost of a window of updates is hardly below that of the window before.

        The source proposes to weigh the reconstruction less once it has converged, and leaves open how. After X fell, the
        next window only sets the new mark: a smaller X raises enc_cost, and that is not to lower X again.
        """
        if self.accelerator:
            enc_cost = self.accelerator.reduce(enc_cost, "mean")        # all processes must come to the same X
        state, cfg = self.scalars, self.cfg
        state["enc_sum"] += float(enc_cost)
        state["enc_count"] += 1
        if state["enc_count"] < cfg.window:
            return
        mean, before = state["enc_sum"] / cfg.window, state["enc_before"]
        state |= {"enc_sum": 0.0, "enc_count": 0, "enc_before": mean}
        if before and mean > (1 - cfg.tolerance) * before:
            state |= {"X": max(state["X"] * cfg.factor, cfg.floor * cfg.mse_weight), "enc_before": 0.0}

    @torch.no_grad()
    def reconstruct(self, image, mask):
        """The raw output for faces with holes: (B, 3, H, W) in [-1, 1], known pixels too made by the network.

        Arguments as for `complete`. The hole's own pixels are never read.
        """
        masks.check(image, mask)
        if image.shape[-2] % 16 or image.shape[-1] % 16:
            raise ValueError(f"height and width must be multiples of 16, got {tuple(image.shape[-2:])}; resize or pad")
        with self.evaluating():
            return self.G_ema(paint(image, mask).float()).to(image.dtype)

    def complete(self, image, mask):
        """Fill the holes: image (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) or (1, 1, H, W), 1 = hole -> (B, 3, H, W).

        H and W are multiples of 16 (the network is fully convolutional; it was trained at `cfg.size`). Known pixels come
        back bit-identical; the hole's own pixels are never read. Composited, not blended: see `facelib.blending`.
        """
        return masks.composite(image, mask, self.reconstruct(image, mask))

    def preview(self, image):
        """Rows for the sample sheet: painted, raw, completed and true faces, under a centred hole."""
        mask = masks.center(len(image), tuple(image.shape[-2:])).to(image)
        return [paint(image, mask), self.reconstruct(image, mask), self.complete(image, mask), image]


def paint(image, mask):
    """Faces (B, 3, H, W) with their holes painted white: all that the network learns of a mask (B, 1, H, W)."""
    return masks.composite(image, mask, torch.ones_like(image))
