"""A predictor of latents: finds [z, c] of a face, for a generator that is left as it is; so faces can be edited.

A GAN has no way back from a face to its latents. The project (Poka et al. 2019) first read the noise off its D's trunk,
then gave the predictor a network of its own and trained it on a generator that no longer changes. It learns on generated
faces, whose latents are known, and on real ones, for which the face that G makes of its answer is compared with the face.
From there `recover` goes on by gradient descent, `edit` moves the latents and makes a face of them again.

The walk of one face: (3, 64, 64) -> P: four convolutions of stride 2 -> (384, 4, 4) -> latents (115,) = z (100,), logits
of c_cat (10,), c_cont (5,) -> G, a frozen copy of the generator's -> face (3, 64, 64). To edit: latents + amount *
direction -> G.

Directions come from labelled faces in the phase "directions": the predicted latents are regressed on all 40 attributes
together, so that a direction is what changes with one attribute while the others stay (least squares; no gradient).
"""

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import nn

from facelib import latent_search, metrics
from facelib.data.faces import ATTRIBUTES
from facelib.features import PerceptualLoss, vgg
from facelib.latents import Layout
from facelib.layers import Generator, downs
from facelib.train import Method

LIKENESSES = ("mse", "ssim", "ms_ssim", "perceptual", "vgg16")
OF_GENERATOR = ("size", "z_dim", "categorical", "continuous", "latents", "kernel", "batch_norm")


@dataclass(frozen=True)
class PredictorConfig:
    """The first fields describe the generator that is inverted: `Predictor.config_for` takes them from it."""

    generator: str = "infogan"          # name of the weights, or run folder, of the generator
    size: int = 64                      # pixels of its faces
    z_dim: int = 100                    # length of its noise
    categorical: tuple = (10,)          # classes of each of its categorical codes
    continuous: int = 5                 # how many continuous codes it has
    latents: str = "normal"             # its noise: "uniform" in [-1, 1], or "normal" N(0, 1)
    g_width: int = 48                   # channels of its last layer but one
    kernel: int = 4                     # of its convolutions
    batch_norm: bool = False            # in it
    width: int = 40                     # channels of P's first layer; 8x at 4x4
    likeness: str = "perceptual"        # of the face that G makes again: mse, ssim, ms_ssim, perceptual or vgg16
    likeness_weight: float = 1.0        # of it, in P's loss
    pixels: float = 1.0                 # weight of the mean squared error beside it
    latent: float = 0.3                 # weight of the error of the latents of generated faces
    pull: float = 0.003                 # weight of the mean of z^2: a pull towards likely latents, in P's loss and in a search
    search_lr: float = 0.05             # Adam's first step size in `recover`
    steps: tuple = (10000, 300)         # optimiser steps of the phases predictor, directions
    batch_size: int = 32                # images
    lr: float = 5e-4                    # Adam's step size
    ema_decay: float = 0.999            # per step; the averaged predictor is the one that is used

    def __post_init__(self):
        if self.likeness not in LIKENESSES:
            raise ValueError(f"likeness must be one of {', '.join(LIKENESSES)}, got {self.likeness!r}")


class Likeness(nn.Module):
    """How unlike two faces are, by a name out of LIKENESSES: (B, 3, H, W) twice -> (B,), 0 for equal faces.

    mse: mean squared error. ssim, ms_ssim: 1 minus it (Zhao et al. 2017, eq. 5; Wang et al. 2003). perceptual: distance in
    `features.PerceptualLoss`. vgg16: mean squared error in VGG16's fourth pooling of faces at 224 pixels, 14x14x512, as
    the student project used it (after Abdal et al. 2019); its weights are downloaded.
    """

    def __init__(self, name):
        super().__init__()
        if name not in LIKENESSES:
            raise ValueError(f"likeness must be one of {', '.join(LIKENESSES)}, got {name!r}")
        self.name = name
        if name == "perceptual":
            self.perceptual = PerceptualLoss()
        elif name == "vgg16":
            self.maps = vgg(16)

    def forward(self, pred, image):
        if self.name == "mse":
            return (pred.float() - image).pow(2).flatten(1).mean(1)
        if self.name == "perceptual":
            return self.perceptual.each(pred, image)
        if self.name == "vgg16":
            a, b = (F.max_pool2d(self.maps(F.interpolate(x, size=224, mode="bilinear"))[3], 2) for x in (pred, image))
            return (a - b).pow(2).flatten(1).mean(1)
        return 1 - (metrics.ssim if self.name == "ssim" else metrics.ms_ssim)(pred.float(), image.float())


class Directions(nn.Module):
    """Where each of CelebA's 40 attributes leads in latent space: `found` (40, length), from having it not to having it.

    Least squares of latents (B, length) on the attributes (B, 40), 1 yes, 0 no, -1 unknown, from moments that are summed up.
    """

    def __init__(self, length):
        super().__init__()
        self.register_buffer("yy", torch.zeros(len(ATTRIBUTES) + 1, len(ATTRIBUTES) + 1))
        self.register_buffer("yz", torch.zeros(len(ATTRIBUTES) + 1, length))
        self.register_buffer("found", torch.zeros(len(ATTRIBUTES), length))

    @torch.no_grad()
    def follow(self, attributes, vector, accelerator=None):
        """Take a batch in; `found` is solved for anew."""
        y = torch.where(attributes < 0, 0, 2 * attributes - 1).float()                    # -1 no, 1 yes, 0 unknown
        y = F.pad(y, (1, 0), value=1.0)                                                   # the mean is regressed on as well
        yy, yz = y.T @ y, y.T @ vector.float()
        if accelerator is not None:
            yy, yz = accelerator.reduce(yy, "sum"), accelerator.reduce(yz, "sum")
        self.yy += yy
        self.yz += yz
        ridge = 1e-3 * self.yy.diagonal().mean() * torch.eye(len(self.yy)).to(self.yy)    # an attribute nobody has leads nowhere,
        ridge[0, 0] = 0                                                                   # and the mean stays the mean
        self.found.copy_(2 * torch.linalg.solve(self.yy + ridge, self.yz)[1:])


class Predictor(Method):
    """`encode(image)` finds latents, `recover(image)` finds better ones by search, `edit(image, attribute, amount)`."""

    Config = PredictorConfig
    presets = {
        "book": PredictorConfig(),
        "smoke": PredictorConfig(generator="", size=32, z_dim=16, continuous=2, g_width=8, width=8, likeness="ssim",
                                 steps=(12, 4), batch_size=8, lr=1e-3, ema_decay=0.9),
    }
    likenesses = LIKENESSES
    ema = ("P",)
    ships = ("P_ema", "directions")
    borrows = {"G": "G_ema"}        # a network of another method's weights, which `cfg.generator` names: it is not shipped again

    @classmethod
    def config_for(cls, cfg, generator, name):
        """A config for a generator: any method with a `layers.Generator` as G_ema. name: of its weights or run."""
        if not isinstance(getattr(generator, "G_ema", None), Generator):
            raise ValueError(f"the generator of a predictor must be one as infogan or dcgan have, {name} has none")
        theirs = {key: getattr(generator.cfg, key) for key in OF_GENERATOR if hasattr(generator.cfg, key)}
        return replace(cfg, **{"categorical": (), "continuous": 0, **theirs}, g_width=generator.cfg.width, generator=str(name))

    def build(self, cfg):
        self.layout = Layout(cfg.z_dim, cfg.categorical, cfg.continuous, cfg.latents)
        self.G = Generator(self.layout.length, cfg.g_width, cfg.size, cfg.kernel, cfg.batch_norm).eval().requires_grad_(False)
        trunk = downs(cfg.width, cfg.size)
        self.P = nn.Sequential(trunk, nn.Flatten(), nn.Linear(16 * trunk[-1][0].out_channels, self.layout.length))
        self.likeness = Likeness(cfg.likeness)
        self.directions = Directions(self.layout.length)
        self.opt_P = torch.optim.Adam(self.P.parameters(), cfg.lr, betas=(0.9, 0.99))

    def take(self, generator):
        """Keep a frozen copy of another method's generator, G_ema. ValueError where it does not fit the config."""
        theirs = generator.G_ema.state_dict()
        mine = self.G.state_dict()
        wrong = [k for k in mine.keys() | theirs.keys() if k not in mine or k not in theirs or mine[k].shape != theirs[k].shape]
        if wrong:
            raise ValueError(f"this predictor is built for another generator ({wrong[0]} differs); take its config from "
                             "Predictor.config_for(cfg, generator, name)")
        self.G.load_state_dict(theirs)

    def train(self, mode=True):
        """Training mode never reaches the frozen generator."""
        super().train(mode)
        self.G.eval()
        return self

    def phases(self):
        return list(zip(("predictor", "directions"), self.cfg.steps, strict=True))

    def adopt(self, faces):
        super().adopt(faces)
        if self.cfg.steps[1] and faces.train.attributes is None:
            raise ValueError(f"the phase directions needs faces with attributes, {faces.name} has none; set steps="
                             f"{self.cfg.steps[0]},0 for a predictor without attribute directions")

    def vector(self, found):
        """P's output (B, length) -> joined latents: softmax of the categorical logits."""
        z, cat, cont = found.float().split(list(self.layout.sizes.values()), 1)
        shares = [part.softmax(1) for part in cat.split(list(self.cfg.categorical), 1)] if self.cfg.categorical else []
        return torch.cat([z, *shares, cont], 1)

    def latent_error(self, found, truth):
        """Of P's output against known latents: squared error of z and c_cont, cross entropy of c_cat, one scalar."""
        z, cat, cont = found.float().split(list(self.layout.sizes.values()), 1)
        known = self.layout.split(truth)
        error = (z - known["z"]).pow(2).mean() + (cont - known["c_cont"]).pow(2).sum() / max(1, cont.numel())
        kinds = list(self.cfg.categorical)
        return error + sum(F.cross_entropy(a, b) for a, b in zip(cat.split(kinds, 1), known["c_cat"].split(kinds, 1),
                                                                 strict=True)) if kinds else error

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]                                             # (B, 3, H, W)
        if phase == "directions":
            with torch.no_grad(), self.evaluating():
                vector = self.vector(self.P_ema(image))
            self.directions.follow(batch["attributes"], vector, self.accelerator)
            return {"length": self.directions.found.norm(dim=1).mean()}
        truth = self.draw(len(image) // 2, self.layout.draw).to(image)
        with self.autocast():
            with torch.no_grad():
                fake = self.G(truth)
            found, found_fake = self.P(torch.cat([image, fake.to(image)])).split([len(image), len(fake)])
            vector = self.vector(found)
            pred = self.G(vector)
            unlike = self.likeness(pred, image).mean()
        rec = (pred - image).pow(2).mean()
        error = self.latent_error(found_fake, truth)
        pull = vector[:, :cfg.z_dim].pow(2).mean()
        loss = cfg.likeness_weight * unlike + cfg.pixels * rec + cfg.latent * error + cfg.pull * pull
        self.update(loss, self.opt_P)
        return {"loss": loss, "likeness": unlike, "rec": rec, "latent": error, "pull": pull}

    def _check(self, image):
        size = self.cfg.size
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, size, size):
            raise ValueError(f"image must be (B, 3, {size}, {size}), the faces of its generator, got {tuple(image.shape)}; "
                             "resize it, or add the batch axis")

    @torch.no_grad()
    def generate(self, latents):
        """Faces of latents -> (B, 3, size, size) in [-1, 1]. latents: a dict, or joined (B, layout.length)."""
        vector = latents if torch.is_tensor(latents) else self.layout.join(latents)
        return torch.cat([self.G(part) for part in vector.to(next(self.G.parameters())).split(256)])

    def draw_latents(self, n, seed=0, spread=1.0):
        """n latents of the prior, joined -> (n, layout.length) on the CPU; the same seed gives the same. spread: of z."""
        return self.layout.sample(n, seed, spread)

    @torch.no_grad()
    def encode(self, image):
        """Faces (B, 3, size, size) in [-1, 1] -> latents, a dict: z, c_cat (probabilities), c_cont. ValueError: other sizes."""
        self._check(image)
        with self.evaluating():
            return self.layout.split(self.vector(self.P_ema(image.float())))

    def recover(self, image, steps=100, likeness=None, start="predictor", every=0, progress=None):
        """The latents whose face is most like a face, by gradient descent -> latent_search.Found (latents joined).

        image: (B, 3, size, size) in [-1, 1]. steps: 0 is the start alone. likeness: a name out of LIKENESSES, or a
        `Likeness`; None is the predictor's own with its pixels. start: "predictor" begins with its answer, "mean" with the
        prior's mean, which needs no predictor. every: keep the faces of each so-manyth step in `.history`.
        progress: called with the number of every step that is done.
        """
        self._check(image)
        if start not in ("predictor", "mean"):
            raise ValueError(f"start must be predictor or mean, got {start!r}")
        image, cfg = image.float(), self.cfg
        if start == "predictor":
            first = self.layout.join(self.encode(image))
        else:
            shares = torch.cat([torch.zeros(cfg.z_dim), *(torch.full((k,), 1 / k) for k in cfg.categorical),
                                torch.zeros(cfg.continuous)])
            first = shares.to(image).expand(len(image), -1)
        own = likeness is None
        measure = self.likeness if own else (Likeness(likeness) if isinstance(likeness, str) else likeness).to(image.device)

        def objective(pred, vector):
            loss = measure(pred, image) * (cfg.likeness_weight if own else 1) + cfg.pull * vector[:, :cfg.z_dim].pow(2).mean(1)
            return loss + cfg.pixels * (pred - image).pow(2).flatten(1).mean(1) if own else loss

        return latent_search.search(self.G, objective, first, steps=steps, lr=cfg.search_lr, project=self.layout.likely,
                                    every=every, progress=progress)

    @property
    def attributes(self):
        """What `edit` and `move` can change: the attributes that directions were found for, and the generator's codes."""
        known = self.directions.found.norm(dim=1) > 1e-3                # less is what rounding leaves of one that nobody has
        return [name for name, there in zip(ATTRIBUTES, known.tolist(), strict=True) if there] + self.layout.codes

    def move(self, vector, attribute, amount):
        """Joined latents (B, length) with one thing changed -> (B, length).

        attribute: one of `attributes`. amount: for an attribute, 1 goes from faces without it to faces with it, -1 the other
        way; it is added to a continuous code; a categorical code is set to this class. ValueError for unknown attributes.
        """
        if attribute not in self.attributes:
            raise ValueError(f"attribute must be one of {', '.join(self.attributes)}, got {attribute!r}")
        if attribute in ATTRIBUTES:
            return vector + amount * self.directions.found[ATTRIBUTES.index(attribute)].to(vector)
        if attribute.startswith("c_cont"):
            place = self.cfg.z_dim + sum(self.cfg.categorical) + int(attribute.removeprefix("c_cont"))
            amount = (vector[:, place] + amount).clamp(-1, 1)
        return self.layout.set(vector, attribute, amount)

    @torch.no_grad()
    def edit(self, image, attribute, amount=1.0, steps=0, details=True):
        """Faces with one thing changed: image (B, 3, size, size) in [-1, 1] -> the same shape.

        attribute, amount: see `move`. steps: of `recover` before; 0 is the predictor alone. details: what G cannot make,
        the difference of the face and of G's version of it, is put back; False gives G's face of the moved latents.
        """
        self._check(image)
        vector = self.recover(image, steps).latents if steps else self.layout.join(self.encode(image))
        moved = self.generate(self.move(vector, attribute, amount)).to(image)
        if not details:
            return moved
        return (image + (moved - self.generate(vector).to(image))).clamp(-1, 1)     # amount 0: the face itself, bit for bit

    @torch.no_grad()
    def between(self, first, second, n=8, steps=0):
        """n faces on the straight way in latent space between two, (1, 3, size, size) each -> (n, 3, size, size)."""
        ends = [self.recover(x, steps).latents if steps else self.layout.join(self.encode(x)) for x in (first, second)]
        share = torch.linspace(0, 1, n, device=first.device)[:, None]
        return self.generate(ends[0] * (1 - share) + ends[1] * share)

    def preview(self, image):
        """Rows for the sample sheet: faces, what G makes of their latents, and of these a few steps of search later."""
        return [image, self.generate(self.encode(image)), self.recover(image, 20).images]
