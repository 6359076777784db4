"""Pixel recursive super resolution (Dahl, Norouzi and Shlens, ICCV 2017): a face of 32x32 drawn value by value.

A regression answers 8x8 pixels with the average of the faces they may come from. Here the answer is one of these faces:
every value is drawn from a distribution that knows `low` and all values drawn before. Two networks share the work: the
conditioning network sees low, the prior network sees the values so far. Their logits are added up before the softmax.

The walk of one face: low (3, 8, 8) in [-1, 1] -> residual blocks at 8x8 -> logits A of every value (32, 32, 3, levels).
Values so far, row by row, in a pixel red, green, blue -> gated masked convolutions (van den Oord et al. 2016) -> logits B
of the next one (levels,). It is drawn from softmax(A + B), and the next one is asked for: 3,072 times.

There is no preset `seed`: the student project that this one is compared with names no sizes.
"""

import copy
import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from facelib import resolution
from facelib.layers import conv
from facelib.train import Method, mix

LOW, HIGH = 8, 32       # pixels


@dataclass(frozen=True)
class PixelRecursiveConfig:
    """The defaults are those of the published weights (preset `book`)."""

    size: int = HIGH            # pixels of the faces that are made
    levels: int = 32            # a value is one of so many; rounding to 32 alone leaves 40.9 dB, the paper has 256 levels
    width: int = 48             # channels of the conditioning network at 8x8
    blocks: int = 3             # its residual blocks
    prior_width: int = 32       # channels of the prior network, which works at 32x32
    layers: int = 7             # its gated layers; with its first one it sees 10 pixels far
    temperature: float = 0.9    # of a draw: logits are divided by it, 0 takes the likeliest level; the paper's tau is 1 / it
    steps: int = 2500           # optimiser steps
    batch_size: int = 32        # images
    lr: float = 1e-3            # Adam's step size
    ema_decay: float = 0.999    # per step; the averaged networks are the ones that are used

    def __post_init__(self):
        if self.size != HIGH:
            raise ValueError(f"size must be {HIGH}: faces of {LOW}x{LOW} pixels are enlarged to it; got {self.size}")
        if not 2 <= self.levels <= 256:
            raise ValueError(f"levels must be from 2 to 256, those of a picture's bytes, got {self.levels}")
        if not self.temperature >= 0:
            raise ValueError(f"temperature must be 0 (always the likeliest level) or more, got {self.temperature}")


def quantise(image, levels):
    """Values in [-1, 1] -> the whole number of their level in [0, levels - 1], same shape."""
    return ((image.float() + 1) * (levels / 2)).floor().clamp(0, levels - 1).long()


def dequantise(level, levels):
    """Numbers of levels -> the values in the middle of them, in (-1, 1), same shape."""
    return (2 * level + 1) / levels - 1


def bits(logits, level):
    """-log2 p(level) of each value: logits (B, H, W, 3, levels), level (B, 3, H, W) -> (B, H, W, 3)."""
    return F.cross_entropy(logits.float().movedim(-1, 1), level.permute(0, 2, 3, 1), reduction="none") / math.log(2)


class Conditioning(nn.Module):
    """Faces (B, 3, 8, 8) -> logits A of every value (B, 32, 32, 3, levels), each on its own: they know no neighbour.

    Residual blocks at 8x8, then two sub-pixel convolutions (Shi et al. 2016); the paper's has the same parts. The faces are
    aligned, so every place has features of its own (`places`).
    """

    def __init__(self, cfg):
        super().__init__()
        width, half = cfg.width, cfg.width // 2
        self.levels = cfg.levels
        self.places = nn.Parameter(0.1 * torch.randn(1, width, LOW, LOW))
        self.first = conv(3, width, act=None)
        self.blocks = nn.ModuleList(nn.Sequential(conv(width, width), conv(width, width, act=None)) for _ in range(cfg.blocks))
        self.up = nn.Sequential(conv(width, 4 * half), nn.PixelShuffle(2), conv(half, 4 * half), nn.PixelShuffle(2))
        self.last = nn.Conv2d(half, 3 * cfg.levels, 1)
        for block in self.blocks:                               # sums without a norm would grow
            nn.init.zeros_(block[1][0].weight)

    def forward(self, low):
        x = F.relu(self.first(low) + self.places)                                         # (B, width, 8, 8)
        for block in self.blocks:
            x = F.relu(x + block(x))
        return self.last(self.up(x)).permute(0, 2, 3, 1).unflatten(-1, (3, self.levels))


def gate(x):
    """Half of the maps say what, the other half how much of it: (B, 2n, H, W) -> (B, n, H, W). van den Oord et al., eq. 2."""
    what, how_much = x.chunk(2, 1)
    return torch.tanh(what) * torch.sigmoid(how_much)


class GatedLayer(nn.Module):
    """One layer of the prior: a vertical stack that sees the rows above, and a horizontal one for the pixels to the left.

    One stack of masked kernels would leave a blind spot to the upper right (van den Oord et al. 2016, section 2.2). The
    kernels end at the pixel in question instead of being masked: what comes after it is never computed. Both functions
    take their input with one more row (column) before it: zeros at the border, or what was computed before.
    """

    def __init__(self, n):
        super().__init__()
        self.down, self.link = nn.Conv2d(n, 2 * n, (2, 3), padding=(0, 1)), nn.Conv2d(2 * n, 2 * n, 1)
        self.across, self.out = nn.Conv2d(n, 2 * n, (1, 2)), nn.Conv2d(n, n, 1)

    def vertical(self, v):
        """(B, n, H + 1, W) -> the next v (B, n, H, W), and what the horizontal stack gets to know (B, 2n, H, W)."""
        x = self.down(v)
        return v[:, :, 1:] + gate(x), self.link(x)

    def horizontal(self, h, link):
        """(B, n, H, W + 1) and link (B, 2n, H, W) -> the next h (B, n, H, W)."""
        return h[..., 1:] + self.out(gate(self.across(h) + link))


class Prior(nn.Module):
    """Levels (B, 3, 32, 32) -> logits B of every value (B, 32, 32, 3, levels), each out of the values before it.

    The layers work pixel by pixel; what is already known of a pixel, its red and its green, comes in at the end through
    embeddings, so that its three values cost one pass. `forward` takes a whole face, for training; `draw` makes one.
    """

    def __init__(self, cfg):
        super().__init__()
        n, self.levels = cfg.prior_width, cfg.levels
        self.rows, self.link = nn.Conv2d(3, n, (3, 7)), nn.Conv2d(n, 2 * n, 1)            # the three rows above
        self.columns, self.enter = nn.Conv2d(3, 2 * n, (1, 3)), nn.Conv2d(n, n, 1)        # the three pixels to the left
        self.layers = nn.ModuleList(GatedLayer(n) for _ in range(cfg.layers))
        self.parts = nn.Conv2d(n, 3 * n, 1)                                               # n features for each channel
        self.known = nn.ModuleList(nn.ModuleList(nn.Embedding(cfg.levels, n) for _ in range(c)) for c in range(3))
        self.heads = nn.ModuleList(nn.Linear(n, cfg.levels) for _ in range(3))
        for layer in (m for m in self.modules() if isinstance(m, nn.Conv2d)):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="linear")        # gates damp; torch's default damps too
        for embedding in (m for m in self.modules() if isinstance(m, nn.Embedding)):
            value = dequantise(torch.arange(cfg.levels), cfg.levels)            # near levels start near each other
            embedding.weight.data.copy_(value[:, None] * torch.randn(n))

    def channel(self, c, h, level):
        """Logits of channel c: h (B, H, W, 3n) from `parts`, and the channels before it of level (B, 3, H, W)."""
        x = h.chunk(3, -1)[c]
        for embedding, value in zip(self.known[c], level.unbind(1), strict=False):
            x = x + embedding(value).to(x.dtype)
        return self.heads[c](F.relu(x))

    def trunk(self, image):
        """Values (B, 3, 32, 32) -> what the values before each pixel say about it (B, n, 32, 32)."""
        v = F.relu(self.rows(F.pad(image, (3, 3, 3, 0))[:, :, :-1]))
        h = self.enter(gate(self.columns(F.pad(image, (3, 0))[..., :-1]) + self.link(v)))
        for layer in self.layers:
            v, link = layer.vertical(F.pad(v, (0, 0, 1, 0)))
            h = layer.horizontal(F.pad(h, (1, 0)), link)
        return h

    def forward(self, level):
        image = dequantise(level, self.levels).to(self.rows.weight)
        h = self.parts(F.relu(self.trunk(image))).permute(0, 2, 3, 1)
        return torch.stack([self.channel(c, h, level) for c in range(3)], 3)

    @torch.no_grad()
    def draw(self, A, noise):
        """Draw faces, value after value: the same layers as `forward`, but each pixel is computed once, when its turn comes.

        A: logits of the conditioning network (B, H, W, 3, levels); noise, added to the logits A + B before the largest is
        chosen, (B or 1, H, W, 3, levels). Returns levels (B, 3, H, W). What a later pixel needs of an earlier one is kept
        (`above`, `left`), so the cost is that of one pass over the image (Ramachandran et al. 2017).
        """
        n, (H, W) = self.enter.out_channels, A.shape[1:3]
        image = A.new_zeros(len(A), 3, H + 3, W + 6)                                      # 3 pixels of margin, but below
        level = torch.zeros(len(A), 3, H, W, dtype=torch.long, device=A.device)
        above = [A.new_zeros(len(A), n, 1, W)] * len(self.layers)
        for i in range(H):
            v = F.relu(self.rows(image[:, :, i:i + 3]))
            links = [self.link(v)]
            for k, layer in enumerate(self.layers):
                both, above[k] = torch.cat([above[k], v], 2), v
                v, link = layer.vertical(both)
                links.append(link)
            left = [A.new_zeros(len(A), n, 1, 1)] * len(self.layers)
            for j in range(W):
                here = [link[..., j:j + 1] for link in links]
                h = self.enter(gate(self.columns(image[:, :, i + 3:i + 4, j:j + 3]) + here[0]))
                for k, layer in enumerate(self.layers):
                    both, left[k] = torch.cat([left[k], h], 3), h
                    h = layer.horizontal(both, here[k + 1])
                h = self.parts(F.relu(h)).permute(0, 2, 3, 1)
                pixel = level[:, :, i:i + 1, j:j + 1]                                     # a view: what is chosen is written
                for c in range(3):
                    logits = A[:, i, j, c] + self.channel(c, h, pixel)[:, 0, 0]
                    pixel[:, c, 0, 0] = (logits + noise[:, i, j, c]).argmax(-1)
                image[:, :, i + 3, j + 3] = dequantise(pixel[..., 0, 0], self.levels).to(A)
        return level


class PixelRecursive(Method):
    """`upscale(low)` enlarges 8x8 faces, `variants` gives several answers to one, `nll(image)` says how likely faces are."""

    Config = PixelRecursiveConfig
    presets = {
        "book": PixelRecursiveConfig(),
        "smoke": PixelRecursiveConfig(levels=8, width=16, blocks=1, prior_width=8, layers=2, steps=24, batch_size=8, lr=5e-3,
                                      ema_decay=0.9),
    }
    ema = ("conditioning", "prior")
    ships = ("conditioning_ema", "prior_ema")

    def build(self, cfg):
        self.conditioning, self.prior = Conditioning(cfg), Prior(cfg)
        self.opt = torch.optim.Adam([*self.conditioning.parameters(), *self.prior.parameters()], cfg.lr, betas=(0.9, 0.99))

    def phases(self):
        return [("likelihood", self.cfg.steps)]

    def step(self, batch, phase):
        image = batch["image"]                                                            # (B, 3, 32, 32)
        level = quantise(image, self.cfg.levels)
        with self.autocast():
            A = self.conditioning(resolution.shrink(image))
            B = self.prior(level)
        loss, alone = bits(A.float() + B.float(), level).mean(), bits(A, level).mean()
        # With the sum alone, the prior learns to do without A: a wrong A costs little once the neighbours are known. So A
        # is also asked to predict every value on its own, as in the paper.
        self.update(loss + alone, self.opt)
        return {"loss": loss, "conditioning": alone}                                      # bits per value (dimension)

    def noise(self, seed):
        """A Gumbel field (1, 32, 32, 3, levels), float64: the largest of logits + noise is a draw from their softmax."""
        empty = torch.empty(1, HIGH, HIGH, 3, self.cfg.levels, dtype=torch.float64)
        return -empty.exponential_(generator=torch.Generator().manual_seed(seed)).log()

    def draw(self, low, noise, temperature):
        """low (B, 3, 8, 8), noise (B or 1, 32, 32, 3, levels) -> faces (B, 3, 32, 32) like low.

        In float64 and on the CPU: there, rounding, which differs from batch to batch and from device to device, practically
        never tips a choice, and thousands of small steps one after the other leave a GPU idle.
        """
        conditioning, prior = (copy.deepcopy(network).cpu().double() for network in (self.conditioning_ema, self.prior_ema))
        level = prior.draw(conditioning(low.cpu().double()), temperature * noise)
        return dequantise(level, self.cfg.levels).to(low)

    @torch.no_grad()
    def upscale(self, low, seed=0):
        """Enlarge faces: low (B, 3, 8, 8) in [-1, 1] -> (B, 3, 32, 32) in [-1, 1]. ValueError for another shape or range.

        All faces are drawn with the same noise: the answer depends on a face and the seed alone, not on its batch.
        """
        resolution.check(low)
        noise = self.noise(mix(seed, 0))
        return torch.cat([low.new_zeros(0, 3, HIGH, HIGH), *(self.draw(part, noise, self.cfg.temperature)
                                                             for part in low.split(128) if len(part))])

    @torch.no_grad()
    def variants(self, low, n, seed=0, spread=None):
        """n answers to one face: low (1, 3, 8, 8) in [-1, 1] -> (n, 3, 32, 32); the first one is `upscale(low, seed)`.

        spread: the temperature, by default the config's; 0 makes all answers the same, more than 1 makes noise.
        """
        resolution.check(low)
        if len(low) != 1 or n < 1:
            raise ValueError(f"variants gives n >= 1 answers to one face, got n = {n} and {len(low)} faces; use low[:1]")
        spread = self.cfg.temperature if spread is None else spread
        noise = torch.cat([self.noise(mix(seed, i)) for i in range(n)])
        return self.draw(low.expand(n, -1, -1, -1), noise, spread)

    @torch.no_grad()
    def nll(self, image):
        """Bits that a value of each face costs, given its low: image (B, 3, 32, 32) in [-1, 1] -> (B,).

        Guessing costs log2(levels). It says nothing about how alike levels are, so compare runs of equal `levels` only.
        """
        if image.ndim != 4 or tuple(image.shape[1:]) != (3, HIGH, HIGH):
            raise ValueError(f"image must be (B, 3, {HIGH}, {HIGH}), got {tuple(image.shape)}; resize it, or add the batch axis")
        level = quantise(image, self.cfg.levels)
        with self.evaluating():
            logits = self.conditioning_ema(resolution.shrink(image.float())).float() + self.prior_ema(level).float()
        return bits(logits, level).flatten(1).mean(1)

    def preview(self, image):
        """Rows for the sample sheet: 8x8 faces, enlarged, the true faces."""
        low = resolution.shrink(image)
        return [resolution.METHODS["nearest"](low), self.upscale(low), image]
