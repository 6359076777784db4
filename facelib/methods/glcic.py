"""Globally and locally consistent image completion (Iizuka, Simo-Serra and Ishikawa, ACM ToG 2017).

A completion network fills the hole; a discriminator looks at the whole face and at a crop around the hole, and joins
what it saw in one layer. Three phases: the completion network alone, the discriminator alone, both together.

The walk of one face: image (3, 128, 128) in [-1, 1] and mask (1, 128, 128) -> the hole is painted with the training mean
-> completion network -> `pred` -> pasted into the image -> the whole (3, 128, 128) and its crop (3, 64, 64) go to D.

The published networks (`networks="dilated"`) and losses are the defaults. `networks="residual"` keeps the plan (a dilated
middle, a discriminator for the whole and one for the crop, three phases) and builds it as one would today.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from facelib import losses, masks
from facelib.data.images import pair
from facelib.features import PerceptualLoss
from facelib.layers import conv, upconv
from facelib.residual import PatchDiscriminator, ResidualCompletionNetwork
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
    # What has been learnt since. None of it is in the source, and each field's default switches it off.
    networks: str = "dilated"           # "residual": residual blocks, attention at 1/8 of the size, patches for D
    widths: tuple = (32, 64, 192)       # channels of the residual network at 1/2, 1/4 and 1/8 of the size
    d_widths: tuple = (16, 64, 128, 192, 256)   # of the global discriminator's convolutions; the local one leaves out the first
    adversary: str = "gan"              # D's game: "gan", "hinge" or "relativistic"
    r1: float = 0.0                     # weight of D's squared gradient at real and completed faces
    r1_every: int = 8                   # steps from one such penalty to the next, which weighs as much more
    squared: bool = True                # reconstruction by the squared error; False: by the absolute one
    perceptual: float = 0.0             # weight of the distance in the maps of the frozen network `perceptual`
    matching: float = 0.0               # weight of the distance in D's own maps
    holes: str = "glcic"                # kind of the training holes: "glcic" (rectangles) or "mixed" (every kind)
    margin: int = 0                     # pixels by which training faces are larger than size: random windows are cut out

    def __post_init__(self):
        step = 4 if self.networks == "dilated" else 8
        if any(side % step for side in pair(self.size)) or self.crop > min(pair(self.size)):
            raise ValueError(f"size must be a multiple of {step} and crop at most size, got {self.size} and {self.crop}")
        for field, known in (("networks", ("dilated", "residual")), ("adversary", ("gan", "hinge", "relativistic")),
                             ("holes", ("glcic", "mixed"))):
            if getattr(self, field) not in known:
                raise ValueError(f"{field} must be one of {', '.join(known)}, got {getattr(self, field)!r}")
        if self.networks == "residual" and self.semi_supervised:
            raise ValueError("the residual discriminator has no classes: set semi_supervised=False")
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
        "today": GLCICConfig(size=128, crop=64, networks="residual", margin=32, holes="mixed", steps=(1500, 100, 60000),
                             batch_size=32, dilations=(1, 2, 4, 2), d_widths=(16, 64, 128, 256, 256), d_features=256,
                             optimiser="adam", lr=3e-4, d_lr=3e-4, weight_decay=0.0, adversary="relativistic", r1=0.02,
                             alpha=0.1, squared=False, perceptual=0.1, matching=1.0, demean=False, semi_supervised=False,
                             batch_norm=False, label_smoothing=1.0),
        "smoke": GLCICConfig(size=32, crop=16, hole=(0.3, 0.6), width=8, dilations=(2, 4), d_width=8, d_layers=(3, 2),
                             d_features=32, batch_size=8, steps=(12, 4, 12), optimiser="adam", lr=2e-3, d_lr=1e-3,
                             weight_decay=0.0, alpha=4e-3, ema_decay=0.9),
    }
    ema = ("G",)
    ships = ("G_ema", "mean")

    def build(self, cfg):
        residual = cfg.networks == "residual"
        self.G = ResidualCompletionNetwork(cfg) if residual else CompletionNetwork(cfg)
        self.D = PatchDiscriminator(cfg) if residual else Discriminator(cfg)
        self.register_buffer("mean", torch.zeros(3))            # training mean pixel: what a hole is painted with
        if cfg.perceptual:
            self.perceptual = PerceptualLoss()
        if cfg.r1:
            self.scalars["turns"] = 0                           # of D, so that the penalty comes at every r1_every-th
        self.opt_G, self.opt_D = self.optimiser(self.G, cfg.lr), self.optimiser(self.D, cfg.d_lr)

    def optimiser(self, network, lr):
        """The optimiser that the configuration names, for the weights of a network."""
        if self.cfg.optimiser == "adam":
            return torch.optim.Adam(network.parameters(), lr, betas=(0.5, 0.99), weight_decay=self.cfg.weight_decay)
        return torch.optim.Adadelta(network.parameters(), lr, weight_decay=self.cfg.weight_decay)

    @property
    def training_size(self):
        """(height, width) in pixels of the faces that it is trained on: those of cfg.size and the margin around them."""
        height, width = pair(self.cfg.size)
        return height + self.cfg.margin, width + self.cfg.margin

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

    def windows(self, image):
        """Random windows of faces (B, 3, size + margin, ...), scaled to (B, 3, size, ...): a photograph is never framed exactly.

        All windows of a batch have one size, from all of the face down to four fifths of it, the larger ones more often.
        """
        height, width = image.shape[-2:]

        def boxes(n, generator):
            share = 1 - 0.2 * torch.rand((), generator=generator) ** 2
            h, w = round(float(share) * height), round(float(share) * width)
            place = torch.rand(n, 2, generator=generator) * torch.tensor([width - w + 1, height - h + 1])
            return torch.cat([place.long(), torch.tensor([[w, h]]).expand(n, 2)], 1)

        return self.scaled(masks.cut(image, self.draw(len(image), boxes)))

    def scaled(self, image):
        """Faces (B, 3, H, W) at the size of the networks, antialiased."""
        size = pair(self.cfg.size)
        if tuple(image.shape[-2:]) == size:
            return image
        return F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)

    def look(self, image, mask, boxes):
        """D's verdicts on images (B, 3, H, W) with masks (B, 1, H, W) and crops at boxes (B, 4) -> (list of logits, its maps).

        The first logits (B, classes) are the joint verdict of both towers. Those on patches, and the maps, are of the
        residual networks only.
        """
        image = self.normalise(image)
        with self.autocast():
            if self.cfg.networks == "residual":
                image = torch.cat([image, mask], 1)
                return self.D.look(image, masks.cut(image, boxes))
            return [self.D(image, masks.cut(image, boxes))], []

    def logits(self, image, boxes, mask=None):
        """D's joint logits (B, classes) of images (B, 3, H, W) and their crops at boxes (B, 4)."""
        return self.look(image, mask, boxes)[0][0]

    def loss_D(self, real, fake):
        """D's loss on its verdicts, lists of logits: the mean over the kinds of verdicts."""
        pairs = [(losses.real_logit(a), losses.real_logit(b)) for a, b in self.verdicts(real, fake)]
        if self.cfg.adversary == "hinge":
            terms = [losses.hinge_D(a, b) for a, b in pairs]
        elif self.cfg.adversary == "relativistic":
            terms = [losses.relativistic(a, b) for a, b in pairs]
        else:
            terms = [losses.gan_D(a, b, self.cfg.label_smoothing) for a, b in pairs]
        return sum(terms) / len(terms)

    def loss_adv(self, real, fake):
        """What D's verdicts on completed faces cost G; those on the real ones count only where the game is relativistic."""
        pairs = [(losses.real_logit(a.detach()), losses.real_logit(b)) for a, b in self.verdicts(real, fake)]
        if self.cfg.adversary == "hinge":
            terms = [losses.hinge_G(b) for _, b in pairs]
        elif self.cfg.adversary == "relativistic":
            terms = [losses.relativistic(b, a) for a, b in pairs]
        else:
            terms = [losses.gan_G(b, self.cfg.saturating_loss) for _, b in pairs]
        return sum(terms) / len(terms)

    @staticmethod
    def verdicts(real, fake):
        """Pairs of logits (B, classes): a tower's (B, patches) become (B * patches, 1), one verdict each."""
        one = lambda logits, i: logits if i == 0 else logits.reshape(-1, 1)
        return [(one(a, i), one(b, i)) for i, (a, b) in enumerate(zip(real, fake, strict=True))]

    def steepness(self, image, mask, boxes):
        """Squared gradient of D's verdicts at images (B, 3, H, W): the mean over the images, a scalar."""
        image = image.detach().requires_grad_()
        logits, _ = self.look(image, mask, boxes)
        return losses.r1(sum(verdict.float().mean(1, keepdim=True) for verdict in logits), image)

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        if cfg.margin:
            image = self.windows(image)
        cut_holes = (lambda n, g: masks.mixed(n, cfg.size, g)) if cfg.holes == "mixed" else (
            lambda n, g: masks.glcic(n, cfg.size, g, *cfg.hole))
        mask = self.draw(len(image), cut_holes)
        crop = masks.local_boxes(mask, cfg.crop)            # while the mask is on the CPU: the GPU is not waited for
        mask = mask.to(image)
        completes, log = phase != "discriminator", {}
        with self.autocast(), torch.set_grad_enabled(completes):
            pred = self.G(self.normalise(self.fill(image, mask)), mask)
        # D sees the composited face, so that it judges the fit of the hole and not a repainted surrounding.
        completed = masks.composite(image, mask, pred)

        if phase != "completion":
            real_crop = crop                                # paired: what was there, beside what G put there
            if cfg.networks == "dilated":
                real_crop = self.draw(len(image), lambda n, g: masks.random_boxes(n, cfg.size, cfg.crop, g))
            (real, real_maps), (fake, _) = self.look(image, mask, real_crop), self.look(completed.detach(), mask, crop)
            loss_D = self.loss_D(real, fake)
            if cfg.semi_supervised and "attributes" in batch:
                labels = self.classes(batch["attributes"])
                log["sup"] = self.share((labels >= 0).sum()) * losses.supervised(real[0], labels)
                loss_D = loss_D + log["sup"]
            if cfg.r1:
                if self.scalars["turns"] % cfg.r1_every == 0:           # of a quarter of the faces: it is expensive
                    few = slice(0, max(1, len(image) // 4))
                    penalty = sum(self.steepness(x[few], mask[few], crop[few]) for x in (image, completed))
                    loss_D = loss_D + cfg.r1_every * cfg.r1 / 2 * penalty
                self.scalars["turns"] += 1
            self.update(loss_D, self.opt_D)
            log |= {"loss_D": loss_D, "D_real": losses.real_logit(real[0]).sigmoid().mean(),
                    "D_fake": losses.real_logit(fake[0]).sigmoid().mean()}

        if completes:
            log["rec"] = self.share(mask.sum()) * losses.reconstruction(pred, image, mask, 2 if cfg.squared else 1)
            loss_G = log["rec"]
            if cfg.perceptual:
                with self.autocast():
                    log["perc"] = self.perceptual(completed, image)
                loss_G = loss_G + cfg.perceptual * log["perc"]
            if phase == "joint":
                with frozen(self.D):
                    fake, maps = self.look(completed, mask, crop)
                log["adv"] = self.loss_adv(real, fake)
                loss_G = loss_G + cfg.alpha * log["adv"]
                if cfg.matching:
                    log["match"] = losses.feature_matching(maps, real_maps)
                    loss_G = loss_G + cfg.matching * log["match"]
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

        H and W are multiples of 4, or of 8 for residual networks (both are fully convolutional; trained at `cfg.size`).
        Known pixels come back bit-identical; the hole's own pixels are never read. Composited, not blended: see
        `facelib.blending`.
        """
        masks.check(image, mask)
        step = 8 if self.cfg.networks == "residual" else 4
        if image.shape[-2] % step or image.shape[-1] % step:
            raise ValueError(f"height and width must be multiples of {step}, got {tuple(image.shape[-2:])}; resize or pad")
        mask = mask.expand(len(image), -1, -1, -1)
        with self.evaluating():
            pred = self.G_ema(self.normalise(self.fill(image, mask)).float(), mask.float())
        return masks.composite(image, mask, pred.to(image.dtype))

    def preview(self, image):
        """Rows for the sample sheet: masked, completed and true faces, under a centred hole."""
        image = self.scaled(image)
        mask = masks.center(len(image), tuple(image.shape[-2:])).to(image)
        return [self.fill(image, mask), self.complete(image, mask), image]
