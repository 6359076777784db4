"""Training the networks that look at faces (`facelib.features`): attributes, identities (Wang et al. 2018), or both.

Not a generative method, but trained by the same loop and the same commands, so that everything that ships can be made
again. The presets are named after the weights they make.
"""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from facelib.data.faces import ATTRIBUTES
from facelib.features import FeatureNetwork
from facelib.train import Method


@dataclass(frozen=True)
class JudgesConfig:
    """The defaults are those of `judge_attr`."""

    targets: tuple = ("attributes",)    # what is learnt: "attributes", "identities" or both
    width: int = 24                     # channels of the first stage
    length: int = 128                   # of the feature vector; about a thousand test faces support no more
    residual: bool = True               # residual blocks, or plain convolutions
    size: int = 64                      # pixels
    steps: int = 3500                   # optimiser steps
    batch_size: int = 64                # images
    lr: float = 2e-3                    # highest step size of AdamW; one cosine from there to 0
    weight_decay: float = 0.05          # of AdamW
    shift: int = 4                      # pixels that a training face is moved at random, each way
    people: int = 10178                 # CelebA's identity numbers are 1..10177
    scale: float = 24.0                 # of the cosine logits of identities (Wang et al. 2018, CosFace)
    margin: float = 0.2                 # by which the true identity's cosine must win
    ema_decay: float = 0.999            # per step


class Judges(Method):
    """`features(image)` -> (B, 128), `logits(image)` -> (B, 40)."""

    Config = JudgesConfig
    presets = {
        "judge_attr": JudgesConfig(),
        "judge_identity": JudgesConfig(targets=("attributes", "identities")),
        "perceptual": JudgesConfig(targets=("attributes", "identities"), residual=False),
        "smoke": JudgesConfig(targets=("attributes", "identities"), width=4, length=16, size=32, steps=30, batch_size=8,
                              people=4096, ema_decay=0.9),
    }
    ema = ("net",)
    ships = ("net_ema",)

    def build(self, cfg):
        self.net = FeatureNetwork(cfg.width, cfg.length, cfg.residual)
        self.people = torch.nn.Parameter(torch.randn(cfg.people, cfg.length) * 0.05)
        trained = [*self.net.parameters(), *([self.people] if "identities" in cfg.targets else [])]
        self.opt = torch.optim.AdamW(trained, cfg.lr, weight_decay=cfg.weight_decay)
        self.scalars["step"] = 0

    def adopt(self, faces):
        for target in self.cfg.targets:
            if getattr(faces.train, target) is None:
                raise ValueError(f"this network learns {target}, and {faces.name} has none; use celeba, or other targets")
        if "identities" in self.cfg.targets and faces.train.identities.max() >= self.cfg.people:
            raise ValueError(f"identities must be below people = {self.cfg.people}, got {faces.train.identities.max()} in "
                             f"{faces.name}; raise people in the config")

    def phases(self):
        return [("supervised", self.cfg.steps)]

    def step(self, batch, phase):
        cfg, image = self.cfg, batch["image"]
        x, y = torch.randint(-cfg.shift, cfg.shift + 1, (2,), generator=self.generator).tolist()
        image = torch.roll(F.pad(image, (cfg.shift,) * 4, mode="replicate"), (y, x), (2, 3))
        image = image[..., cfg.shift:-cfg.shift, cfg.shift:-cfg.shift]
        with self.autocast():
            vector = self.net.features(image).float()
            attributes = self.net.attributes(F.relu(vector)).float()
        log, loss = {}, 0
        if "attributes" in cfg.targets:
            target, known = batch["attributes"].float(), batch["attributes"] >= 0
            errors = F.binary_cross_entropy_with_logits(attributes, target.clamp(min=0), reduction="none")
            log["attributes"] = (errors * known).sum() / known.sum().clamp(min=1)
            loss = loss + log["attributes"]
        if "identities" in cfg.targets:
            log["identities"] = self.identity_loss(vector, batch["identities"])
            loss = loss + 0.1 * log["identities"] if len(cfg.targets) > 1 else log["identities"]
        for group in self.opt.param_groups:
            group["lr"] = cfg.lr * 0.5 * (1 + torch.cos(torch.tensor(torch.pi * self.scalars["step"] / cfg.steps)).item())
        self.scalars["step"] += 1
        self.update(loss, self.opt)
        return {"loss": loss, **log}

    def identity_loss(self, vector, people):
        """Cross entropy of cosine logits with a margin on the true person (CosFace, eq. 4); -1 is an unknown person."""
        cosine = F.normalize(vector, dim=1) @ F.normalize(self.people, dim=1).T           # (B, people)
        wanted = F.one_hot(people.clamp(min=0), self.cfg.people)
        logits = self.cfg.scale * (cosine - self.cfg.margin * wanted)
        total = F.cross_entropy(logits, people, ignore_index=-1, reduction="sum")
        return total / (people >= 0).sum().clamp(min=1)

    @torch.no_grad()
    def features(self, image):
        """Faces (B, 3, H, W) in [-1, 1] -> vectors (B, length): what its last layers see."""
        with self.evaluating():
            return self.net_ema.features(image)

    @torch.no_grad()
    def logits(self, image):
        """Faces (B, 3, H, W) in [-1, 1] -> logits (B, 40) of CelebA's attributes."""
        with self.evaluating():
            return self.net_ema.logits(image)


@torch.no_grad()
def attribute_accuracy(network, split):
    """How often a FeatureNetwork is right about held-out faces -> {"mean", "majority", "attributes": {name: share}}.

    Shares of the faces whose attribute is known, in [0, 1]; attributes unknown everywhere are left out. "majority" is the
    mean of always giving each attribute's commoner answer on these faces: most attributes are rare, so a share of 0.9
    says little on its own. Raises ValueError for a split without attributes.
    """
    if split.attributes is None or not (split.attributes >= 0).any():
        raise ValueError("attribute accuracy needs a split with faces whose attributes are known")
    truth = torch.from_numpy(np.asarray(split.attributes))
    logits = torch.cat([network.logits(image) for image in _batches(network, split)]).cpu()
    known = truth >= 0
    count = known.sum(0)
    right = (((logits > 0) == (truth > 0)) & known).sum(0) / count
    yes = ((truth > 0) & known).sum(0) / count
    kept = count > 0
    return {"mean": round(float(right[kept].mean()), 4), "majority": round(float(torch.maximum(yes, 1 - yes)[kept].mean()), 4),
            "attributes": {name: round(float(right[i]), 4) for i, name in enumerate(ATTRIBUTES) if kept[i]}}


@torch.no_grad()
def verification_accuracy(network, split_val, split_test, pairs=4000, seed=0):
    """Are two held-out faces the same person? -> {"accuracy", "threshold", "pairs", "people"}.

    Half of the pairs are two faces of one person, half of two people; a pair is called one person where the cosine of
    their vectors is above a threshold, chosen on `split_val` and measured on `split_test`, whose `people` with at least
    two faces were drawn from. Chance is 0.5. Raises ValueError where no person has two faces.
    """
    cosine, same, _ = _pairs(network, split_val, pairs, seed)
    order = torch.argsort(cosine)
    # Everything above the i-th cosine is called one person: right are the different pairs up to it, the same ones above.
    right = (~same[order]).cumsum(0) + same.sum() - same[order].cumsum(0)
    threshold = float(cosine[order][right.argmax()])
    cosine, same, people = _pairs(network, split_test, pairs, seed)
    return {"accuracy": round(float(((cosine > threshold) == same).float().mean()), 4), "threshold": round(threshold, 4),
            "pairs": pairs, "people": people}


def _pairs(network, split, pairs, seed):
    """Cosines (pairs,) of random pairs of faces, whether each is one person, and how many people have two faces."""
    people = {} if split.identities is None else {person: np.flatnonzero(split.identities == person)
                                                  for person in np.unique(split.identities) if person >= 0}
    several = [faces for faces in people.values() if len(faces) > 1]
    if not several or len(people) < 2:
        raise ValueError("verification needs a split with two people at least, one of them with two faces")
    generator, people = np.random.default_rng(seed), list(people.values())
    chosen = [generator.choice(several[generator.integers(len(several))], 2, replace=False) for _ in range(pairs // 2)]
    for _ in range(pairs - len(chosen)):
        a, b = generator.choice(len(people), 2, replace=False)
        chosen.append((generator.choice(people[a]), generator.choice(people[b])))
    a, b = torch.from_numpy(np.array(chosen)).T
    vectors = F.normalize(torch.cat([network.features(image) for image in _batches(network, split)]).float().cpu(), dim=1)
    return (vectors[a] * vectors[b]).sum(1), torch.arange(pairs) < pairs // 2, len(several)


def _batches(network, split, size=256):
    device = next(network.parameters()).device
    for start in range(0, len(split), size):
        yield split.tensor(slice(start, start + size)).to(device)
