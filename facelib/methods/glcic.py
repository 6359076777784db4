"""Globally and locally consistent image completion (Iizuka, Simo-Serra and Ishikawa, ACM ToG 2017).

A completion network fills the hole; a discriminator looks at the whole face and at a crop around the hole, and joins
what it saw in one layer. Three phases: the completion network alone, the discriminator alone, both together.

The walk of one face: image (3, 64, 64) in [-1, 1] and mask (1, 64, 64) -> the hole is painted with the training mean
-> completion network -> `pred` -> pasted into the image -> the whole (3, 64, 64) and its crop (3, 32, 32) go to D.
"""

from dataclasses import dataclass

import torch
from torch import nn

from facelib import losses, masks
from facelib.layers import conv, upconv
from facelib.train import Method, frozen

# The classes of the semi-supervised discriminator: CelebA's attributes are not exclusive, so a class is a combination
# of these frequent ones (Male, Smiling, Young: 8 classes). Indices into facelib.data.ATTRIBUTES.
CLASS_ATTRIBUTES = (20, 31, 39)


@dataclass(frozen=True)
class GLCICConfig:
    """The defaults are the published configuration of the student project (preset `seed`)."""

    size: int = 160                     # pixels, a multiple of 4
    crop: int = 80                      # pixels, side of the local discriminator's view
    hole: tuple = (0.2875, 0.575)       # shortest and longest side of a hole, share of the image: 46..92 of 160 pixels
    steps: tuple = (9000, 1000, 40000)  # optimiser steps of the phases completion, discriminator, joint
    batch_size: int = 64                # images
    width: int = 64                     # channels at full resolution; 2x at half, 4x at a quarter
    dilations: tuple = (2, 4, 8, 16)    # of the layers at a quarter of the resolution
    d_width: int = 64                   # channels of the discriminators' first layer
    d_layers: tuple = (6, 5)            # stride-2 layers of the global and the local discriminator
    d_features: int = 1024              # length of each discriminator's vector
    optimiser: str = "adadelta"         # or "adam" (betas 0.5, 0.99)
    lr: float = 1e-3                    # step size
    d_lr: float = 1e-3                  # step size of the discriminator
    weight_decay: float = 4e-4          # L2 in the optimisers
    alpha: float = 4e-4                 # weight of the adversarial loss beside the mean squared error over the hole
    skip_links: bool = True             # change 1: lower layers are added to the layers of the way up (FCN)
    deeper: bool = False                # the deeper generator it proposes: the dilated layers once more
    semi_supervised: bool = True        # change 2: D tells 8 kinds of real faces and the generated one apart
    demean: bool = True                 # the training mean pixel is taken from what the networks see
    input_range: str = "symmetric"      # change 3: networks see a range of [-1, 1]; "bytes" gives them 0..255
    saturating_loss: bool = False       # change 4: False is -log D(fake), True log(1 - D(fake))
    batch_norm: bool = True             # change 5: after every convolution but the last ones
    label_smoothing: float = 0.75       # change 6: D's target for real faces; 1 switches it off
    spectral_norm: bool = False         # not in the source: keeps D's gradients bounded (Miyato et al. 2018)
    ema_decay: float = 0.999            # per step; the averaged network is the one that completes

    def __post_init__(self):
        if self.size % 4 or self.crop > self.size:
            raise ValueError(f"size must be a multiple of 4 and crop at most size, got {self.size} and {self.crop}")
        if self.input_range not in ("symmetric", "bytes"):
            raise ValueError(f"input_range must be symmetric or bytes, got {self.input_range!r}")
        if self.optimiser not in ("adadelta", "adam"):
            raise ValueError(f"optimiser must be adadelta or adam, got {self.optimiser!r}")


class CompletionNetwork(nn.Module):
    """Image with a mean-filled hole, normalised (B, 3, H, W), and mask (B, 1, H, W) -> pred (B, 3, H, W) in [-1, 1]."""

    def __init__(self, cfg):
        super().__init__()
        w, norm = cfg.width, cfg.batch_norm
        dilations = cfg.dilations * (2 if cfg.deeper else 1)
        self.skip_links = cfg.skip_links
        self.fine = conv(4, w, kernel=5, norm=norm)                                       # (B, w, H, W)
        self.middle = nn.Sequential(conv(w, 2 * w, stride=2, norm=norm), conv(2 * w, 2 * w, norm=norm))
        self.coarse = nn.Sequential(
            conv(2 * w, 4 * w, stride=2, norm=norm), *(conv(4 * w, 4 * w, norm=norm) for _ in range(2)),
            *(conv(4 * w, 4 * w, dilation=d, norm=norm) for d in dilations),
            *(conv(4 * w, 4 * w, norm=norm) for _ in range(2)))                           # (B, 4w, H/4, W/4)
        self.to_middle, self.middle_up = upconv(4 * w, 2 * w, norm=norm), conv(2 * w, 2 * w, norm=norm)
        self.to_fine, self.fine_up = upconv(2 * w, w, norm=norm), conv(w, w // 2, norm=norm)
        self.out = conv(w // 2, 3, act=None)

    def forward(self, filled, mask):
        fine = self.fine(torch.cat([filled, mask], 1))
        middle = self.middle(fine)
        up = self.to_middle(self.coarse(middle))
        up = self.to_fine(self.middle_up(up + middle if self.skip_links else up))
        return torch.tanh(self.out(self.fine_up(up + fine if self.skip_links else up)).float())


class Discriminator(nn.Module):
    """Image (B, 3, H, W) and its crop (B, 3, c, c), completed or real -> logits (B, classes)."""

    def __init__(self, cfg):
        super().__init__()
        # With spectral normalisation D needs no batch norm, and its verdict on a face depends on no other face.
        options = (cfg.batch_norm and not cfg.spectral_norm, cfg.spectral_norm)
        self.whole = self.tower(cfg.size, cfg.d_layers[0], cfg.d_width, cfg.d_features, *options)
        self.local = self.tower(cfg.crop, cfg.d_layers[1], cfg.d_width, cfg.d_features, *options)
        classes = 2 ** len(CLASS_ATTRIBUTES) + 1 if cfg.semi_supervised else 1
        self.join = nn.Linear(2 * cfg.d_features, classes)

    @staticmethod
    def tower(size, layers, width, features, norm, spectral):
        """Convolutions that halve the size, then one vector: (B, 3, size, size) -> (B, features)."""
        blocks, inner = [], 3
        for i in range(layers):
            outer = min(width * 2 ** i, 8 * width)
            blocks.append(conv(inner, outer, 5, stride=2, norm=norm, act="leaky", spectral=spectral))
            inner, size = outer, (size + 1) // 2
        return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(inner * size * size, features), nn.LeakyReLU(0.2))

    def forward(self, image, crop):
        return self.join(torch.cat([self.whole(image), self.local(crop)], 1))


class GLCIC(Method):
    """Completion with a global and a local discriminator; `complete(image, mask)` fills the hole."""

    Config = GLCICConfig
    presets = {
        "seed": GLCICConfig(),
        "book": GLCICConfig(size=64, crop=32, hole=(0.25, 0.625), width=24, dilations=(2, 4, 8),
                            d_width=32, d_layers=(4, 3), d_features=128,
                            batch_size=32, steps=(5000, 300, 12200), optimiser="adam", lr=5e-4, d_lr=5e-4,
                            weight_decay=0.0, alpha=1.5e-3, demean=False, semi_supervised=False, batch_norm=False,
                            spectral_norm=True),
        "smoke": GLCICConfig(size=32, crop=16, hole=(0.3, 0.6), width=8, dilations=(2, 4), d_width=8, d_layers=(3, 2),
                             d_features=32, batch_size=8, steps=(12, 4, 12), optimiser="adam", lr=2e-3, d_lr=1e-3,
                             weight_decay=0.0, alpha=4e-3, ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema", "mean")

    def build(self, cfg):
        self.G, self.D = CompletionNetwork(cfg), Discriminator(cfg)
        self.register_buffer("mean", torch.zeros(3))            # training mean pixel: what a hole is painted with
        self.opt_G, self.opt_D = self.optimiser(self.G, cfg.lr), self.optimiser(self.D, cfg.d_lr)

    def optimiser(self, network, lr):
        """The optimiser that the configuration names, for the weights of a network."""
        if self.cfg.optimiser == "adam":
            return torch.optim.Adam(network.parameters(), lr, betas=(0.5, 0.99), weight_decay=self.cfg.weight_decay)
        return torch.optim.Adadelta(network.parameters(), lr, weight_decay=self.cfg.weight_decay)

    def adopt(self, faces):
        super().adopt(faces)
        self.mean.copy_(faces.mean)

    def phases(self):
        return list(zip(("completion", "discriminator", "joint"), self.cfg.steps, strict=True))

    def fill(self, image, mask):
        """The image with its hole painted over: no true pixel of the hole goes on from here."""
        return masks.composite(image, mask, self.mean.view(1, 3, 1, 1).to(image))

    def normalise(self, image):
        """What the networks are given of an image (B, 3, H, W) in [-1, 1]: less the mean pixel, in the input range."""
        cfg = self.cfg
        if cfg.demean:
            image = image - self.mean.view(1, 3, 1, 1).to(image)
        if cfg.input_range == "bytes":
            image = (image if cfg.demean else image + 1) * 127.5
        return image

    def logits(self, image, boxes):
        """D's logits (B, classes) of images (B, 3, H, W) and their crops at boxes (B, 4)."""
        image = self.normalise(image)
        with self.autocast():
            return self.D(image, masks.cut(image, boxes))

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        mask = self.draw(len(image), lambda n, g: masks.glcic(n, cfg.size, g, *cfg.hole))
        crop = masks.local_boxes(mask, cfg.crop)            # while the mask is on the CPU: the GPU is not waited for
        mask = mask.to(image)
        completes, log = phase != "discriminator", {}
        with self.autocast(), torch.set_grad_enabled(completes):
            pred = self.G(self.normalise(self.fill(image, mask)), mask)
        # D sees the composited face, so that it judges the fit of the hole and not a repainted surrounding.
        completed = masks.composite(image, mask, pred)

        if phase != "completion":
            elsewhere = self.draw(len(image), lambda n, g: masks.random_boxes(n, cfg.size, cfg.crop, g))
            real, fake = self.logits(image, elsewhere), self.logits(completed.detach(), crop)
            loss_D = losses.gan_D(losses.real_logit(real), losses.real_logit(fake), cfg.label_smoothing)
            if cfg.semi_supervised and "attributes" in batch:
                labels = self.classes(batch["attributes"])
                log["sup"] = self.share((labels >= 0).sum()) * losses.supervised(real, labels)
                loss_D = loss_D + log["sup"]
            self.update(loss_D, self.opt_D)
            log |= {"loss_D": loss_D, "D_real": losses.real_logit(real).sigmoid().mean(),
                    "D_fake": losses.real_logit(fake).sigmoid().mean()}

        if completes:
            loss_G = log["rec"] = self.share(mask.sum()) * losses.reconstruction(pred, image, mask)
            if phase == "joint":
                with frozen(self.D):
                    fake = self.logits(completed, crop)
                log["adv"] = losses.gan_G(losses.real_logit(fake), cfg.saturating_loss)
                loss_G = loss_G + cfg.alpha * log["adv"]
            self.update(loss_G, self.opt_G)
            log["loss_G"] = loss_G
        return log

    def classes(self, attributes):
        """Attributes (B, 40) of 1 / 0 / -1 -> class (B,) in 0..7, -1 where one of the three is unknown."""
        chosen = attributes[:, list(CLASS_ATTRIBUTES)].long()
        index = (chosen * torch.tensor([4, 2, 1], device=chosen.device)).sum(1)
        return torch.where((chosen >= 0).all(1), index, -1)

    @torch.no_grad()
    def complete(self, image, mask):
        """Fill the holes: image (B, 3, H, W) in [-1, 1], mask (B, 1, H, W) or (1, 1, H, W), 1 = hole -> (B, 3, H, W).

        H and W are multiples of 4 (the network is fully convolutional; it was trained at `cfg.size`). Known pixels come
        back bit-identical; the hole's own pixels are never read. Composited, not blended: see `facelib.blending`.
        """
        masks.check(image, mask)
        if image.shape[-2] % 4 or image.shape[-1] % 4:
            raise ValueError(f"height and width must be multiples of 4, got {tuple(image.shape[-2:])}; resize or pad")
        mask = mask.expand(len(image), -1, -1, -1)
        with self.evaluating():
            pred = self.G_ema(self.normalise(self.fill(image, mask)).float(), mask.float())
        return masks.composite(image, mask, pred.to(image.dtype))

    def preview(self, image):
        """Rows for the sample sheet: masked, completed and true faces, under a centred hole."""
        mask = masks.center(len(image), tuple(image.shape[-2:])).to(image)
        return [self.fill(image, mask), self.complete(image, mask), image]
