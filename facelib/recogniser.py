"""Recognisers of a closed set of people, trained on few photographs of each: a small network, or a linear head.

Both may be given copies of every photograph that shall count as the same person: classical ones, or edits. For a share s
of the examples, one of its copies stands for the photograph (vicinal risk, Chapelle et al. 2000):

    L = (1 - s) mean_i l(f(x_i), y_i) + s mean_i mean_j l(f(copy_ij), y_i).
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from facelib.data.faces import to_float
from facelib.layers import conv

SIZE = 32               # pixels of the faces that the network sees
WIDTH = 16              # channels of its first layer
LR = 2e-3               # AdamW's first step size; it falls to zero along half a cosine
WEIGHT_DECAY = 0.05     # AdamW's
DROPOUT = 0.3           # before the last layer
SCALE = 8.0             # length that the head's features are brought to
HEAD_DECAY = 1e-2       # of the head's squared weights
# Chosen, with what `classical` changes, on 80 people of the train split of celeba160.


def classical(images, generator, size=SIZE):
    """Each face mirrored half of the time, turned, moved, scaled and recoloured a little -> (B, 3, size, size).

    images: (B, 3, H, W) in [-1, 1], larger than `size` where nothing shall be blurred by the turn. Up to 3 degrees, 1/64 of
    the side, 3 % of the size; contrast, each colour and the whole brightness. At the border the last pixel is repeated.
    """
    draw = lambda most, *shape: (torch.rand(len(images), *shape, generator=generator) * 2 - 1) * most
    angle, scale, mirror = draw(math.pi / 60), 1 + draw(0.03), draw(1.0).sign()
    turn = torch.stack([scale * mirror * angle.cos(), -scale * angle.sin(), draw(1 / 32),
                        scale * mirror * angle.sin(), scale * angle.cos(), draw(1 / 32)], 1).view(-1, 2, 3)
    grid = F.affine_grid(turn, [len(images), 3, size, size], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    mean = images.mean((1, 2, 3), keepdim=True)
    return ((images - mean) * (1 + draw(0.1, 1, 1, 1)) + mean + draw(0.03, 3, 1, 1) + draw(0.05, 1, 1, 1)).clamp(-1, 1)


def shrunk(images, generator=None):
    """Faces (B, 3, H, W) at the network's size, otherwise as they are."""
    return F.interpolate(images, size=SIZE, mode="area")


class Recogniser(nn.Module):
    """Faces (B, 3, 32, 32) in [-1, 1] -> logits of `people` people, (B, people)."""

    def __init__(self, people):
        super().__init__()
        widths = (WIDTH, 2 * WIDTH, 4 * WIDTH)
        self.body = nn.Sequential(conv(3, widths[0], 5, 2, norm=True), conv(widths[0], widths[1], 3, 2, norm=True),
                                  conv(widths[1], widths[2], 3, 2, norm=True), nn.Flatten(), nn.Dropout(DROPOUT),
                                  nn.Linear(16 * widths[2], people))

    def forward(self, image):
        return self.body(image)


def learn(images, people, count, seed=0, copies=None, share=0.5, change=shrunk, steps=400, batch_size=32):
    """Train a Recogniser from its first weights on -> it, in evaluation mode.

    images: uint8 (N, 3, H, W), H and W above SIZE. people: (N,) numbers below `count`. seed: of weights and batches.
    copies: uint8 (N, E, 3, H, W), E copies of each image, or None; share: of the examples that they stand for. change: what
    is done to every batch, a function (images, generator) -> (B, 3, SIZE, SIZE): `shrunk` or `classical`. ValueError for
    shapes that do not fit.
    """
    images, copies = _checked(images, people, copies)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)                                         # of the first weights and of dropout
        network = Recogniser(count).train()
        generator = torch.Generator().manual_seed(seed)
        opt = torch.optim.AdamW(network.parameters(), LR, weight_decay=WEIGHT_DECAY)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(opt, steps)
        for _ in range(steps):
            pick = torch.randint(len(images), (batch_size,), generator=generator)
            batch = images[pick]
            if copies is not None:
                one = copies[pick, torch.randint(copies.shape[1], (batch_size,), generator=generator)]
                instead = torch.rand(batch_size, generator=generator) < share
                batch = torch.where(instead[:, None, None, None], one, batch)
            loss = F.cross_entropy(network(change(to_float(batch), generator)), people[pick])
            opt.zero_grad()
            loss.backward()
            opt.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def logits(network, images):
    """What a Recogniser says of uint8 faces (N, 3, H, W) -> (N, people)."""
    return torch.cat([network(shrunk(to_float(part))) for part in torch.as_tensor(images).split(256)])


def head(features, people, count, copies=None, share=0.5):
    """Softmax regression on frozen features -> a function: features (B, d) -> logits (B, count).

    features: (N, d), brought to one length. copies: (N, E, d), features of E copies of each, or None. The loss, with a
    little of the squared weights, is convex and minimised as a whole (L-BFGS): no seed and no step size matter.
    """
    features, copies = _checked(features, people, copies)
    scaled = lambda x: F.pad(SCALE * F.normalize(x.float(), dim=-1), (0, 1), value=1.0)   # the last weight is the bias
    weight = torch.zeros(features.shape[1] + 1, count, requires_grad=True)
    x, extra = scaled(features), None if copies is None else scaled(copies).flatten(0, 1)
    again = None if copies is None else people.repeat_interleave(copies.shape[1])
    opt = torch.optim.LBFGS([weight], max_iter=100, history_size=8, line_search_fn="strong_wolfe")

    def loss():
        opt.zero_grad()
        risk = F.cross_entropy(x @ weight, people)
        if extra is not None:
            risk = (1 - share) * risk + share * F.cross_entropy(extra @ weight, again)
        risk = risk + HEAD_DECAY * weight.square().sum()
        risk.backward()
        return risk

    opt.step(loss)
    weight = weight.detach()
    return lambda features: scaled(features) @ weight


def _checked(examples, people, copies):
    """Examples and copies as tensors, their shapes compared."""
    examples = torch.as_tensor(examples)
    copies = None if copies is None else torch.as_tensor(copies)
    if people.shape != examples.shape[:1]:
        raise ValueError(f"there must be a person to each of the {len(examples)} examples, got {tuple(people.shape)}")
    if copies is not None and (copies.shape[:1] + copies.shape[2:] != examples.shape):
        raise ValueError(f"copies must have the examples' shape {tuple(examples.shape)}, with an axis for the copies of each "
                         f"after the first, got {tuple(copies.shape)}")
    return examples, copies
