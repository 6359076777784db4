"""A completion network and its discriminator as one would build them today: residual blocks, attention, verdicts on patches.

The walk of one face: image (3, 128, 128) and mask (1, 128, 128) -> four neighbours become channels (16, 64, 64) -> maps at
1/2, 1/4 and 1/8 of the size -> dilated residual blocks and one attention layer at (192, 16, 16) -> back up, the maps of the
way down added -> `pred` (3, 128, 128). With its mask, the completed face and its crop (4, 64, 64) go to the discriminator.
"""

import torch
from torch import nn

from facelib.data.images import pair
from facelib.layers import Attention, ResidualBlock, conv


class ResidualCompletionNetwork(nn.Module):
    """Image with a mean-filled hole (B, 3, H, W) and mask (B, 1, H, W) -> pred (B, 3, H, W) in [-1, 1]; H, W multiples of 8.

    What GLCIC's published `CompletionNetwork` does, built as one would today. Most of its work is done at 1/8 and 1/4 of
    the size, where it is cheap. No pixel is thrown away on the way down: four neighbours become channels (Shi et al. 2016,
    backwards), and links carry the maps of 1/2 and 1/4 over to the way up. The middle is dilated as in the source, and one
    attention layer lets an eye know the other. A face's parts have their places, so the maps at 1/8 are told their
    coordinates (Liu et al. 2018).
    """

    def __init__(self, cfg):
        super().__init__()
        half, quarter, eighth = cfg.widths
        leaky = {"act": "leaky"}
        self.to_half = nn.Sequential(nn.PixelUnshuffle(2), conv(16, half, **leaky))          # (B, half, H/2, W/2)
        self.to_quarter = nn.Sequential(conv(half, quarter, stride=2, act=None), ResidualBlock(quarter))
        self.to_eighth = conv(quarter, eighth, stride=2, act=None)                           # (B, eighth, H/8, W/8)
        self.places = nn.Conv2d(2, eighth, 1)
        self.middle = nn.Sequential(
            *(block for i, d in enumerate(cfg.dilations)
              for block in (ResidualBlock(eighth, d), *([Attention(eighth)] if i == len(cfg.dilations) // 2 else []))))
        self.up_quarter = nn.Sequential(conv(eighth, 4 * quarter, 1, act=None), nn.PixelShuffle(2))
        self.quarter_blocks = nn.Sequential(*(ResidualBlock(quarter) for _ in range(2)))
        self.up_half = nn.Sequential(conv(quarter, 4 * half, act=None), nn.PixelShuffle(2))
        self.half_block = ResidualBlock(half)
        self.out = nn.Sequential(nn.LeakyReLU(0.2), nn.Conv2d(half, 12, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, filled, mask):
        half = self.to_half(torch.cat([filled, mask], 1))
        quarter = self.to_quarter(half)
        eighth = self.to_eighth(quarter)
        size = eighth.shape[-2:]
        down, across = (torch.linspace(-1, 1, n, device=mask.device, dtype=mask.dtype) for n in size)
        grid = torch.stack([down[:, None].expand(size), across[None].expand(size)])[None]  # (1, 2, H/8, W/8)
        up = self.up_quarter(self.middle(eighth + self.places(grid)))
        up = self.up_half(self.quarter_blocks(up + quarter))
        return torch.tanh(self.out(self.half_block(up + half)).float())


class PatchDiscriminator(nn.Module):
    """Image with its mask (B, 4, H, W) and their crop (B, 4, c, c) -> logits (B, 1), (B, patches) and (B, patches).

    Two towers as in GLCIC's published `Discriminator`. Next to the joint verdict on the whole face, each tower gives one
    for every patch that it sees (Isola et al. 2017), which tells G where something is wrong. D is told where the hole is
    (Yu et al. 2019).
    """

    def __init__(self, cfg):
        super().__init__()
        self.spectral = cfg.spectral_norm
        height, width = pair(cfg.size)
        self.whole, self.whole_patch, whole = self.tower(cfg.d_widths, height, width, cfg.d_features)
        self.local, self.local_patch, local = self.tower(cfg.d_widths[1:], cfg.crop, cfg.crop, cfg.d_features)
        self.whole_vector, self.local_vector = whole, local
        self.join = nn.Linear(2 * cfg.d_features, 1)

    def tower(self, widths, height, width, features):
        """Convolutions that halve the size, a verdict on each patch of the last map but one, and a vector of the last."""
        wrap = nn.utils.parametrizations.spectral_norm if self.spectral else (lambda layer: layer)
        layers = nn.ModuleList(conv(inner, outer, 4, stride=2, act="leaky", spectral=self.spectral)
                               for inner, outer in zip((4, *widths), widths, strict=False))
        patch = wrap(nn.Conv2d(widths[-2], 1, 3, padding=1))
        places = (height >> len(widths)) * (width >> len(widths))
        vector = nn.Sequential(nn.Flatten(), wrap(nn.Linear(widths[-1] * places, features)), nn.LeakyReLU(0.2))
        return layers, patch, vector

    def look(self, image, crop):
        """-> (the three kinds of logits, the maps of both towers, fine to coarse)."""
        logits, vectors, maps = [], [], []
        for x, layers, patch, vector in ((image, self.whole, self.whole_patch, self.whole_vector),
                                         (crop, self.local, self.local_patch, self.local_vector)):
            for i, layer in enumerate(layers):
                x = layer(x)
                maps += [x] if i else []        # the first maps are the largest and tell the least
                if i == len(layers) - 2:
                    logits.append(patch(x).flatten(1))
            vectors.append(vector(x))
        return [self.join(torch.cat(vectors, 1)), *logits], maps

    def forward(self, image, crop):
        return self.look(image, crop)[0]
