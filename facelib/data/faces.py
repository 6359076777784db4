"""What a data set is once it has been read: three splits of uint8 faces with what is known about them."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch

ATTRIBUTES = tuple(
    "5_o_Clock_Shadow Arched_Eyebrows Attractive Bags_Under_Eyes Bald Bangs Big_Lips Big_Nose Black_Hair Blond_Hair "
    "Blurry Brown_Hair Bushy_Eyebrows Chubby Double_Chin Eyeglasses Goatee Gray_Hair Heavy_Makeup High_Cheekbones Male "
    "Mouth_Slightly_Open Mustache Narrow_Eyes No_Beard Oval_Face Pale_Skin Pointy_Nose Receding_Hairline Rosy_Cheeks "
    "Sideburns Smiling Straight_Hair Wavy_Hair Wearing_Earrings Wearing_Hat Wearing_Lipstick Wearing_Necklace "
    "Wearing_Necktie Young".split())


def to_float(images):
    """uint8 (..., H, W) in [0, 255] -> float32 tensor of the same shape in [-1, 1]."""
    return torch.as_tensor(np.asarray(images) if not torch.is_tensor(images) else images).float() / 127.5 - 1


def to_uint8(images):
    """float (..., H, W) in [-1, 1] -> uint8 tensor of the same shape, clipped and rounded."""
    return ((images.detach().float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)


@dataclass(frozen=True)
class Split:
    """Faces of one split.

    images: uint8 (N, 3, H, W), possibly memory-mapped. attributes: int8 (N, 40) in CelebA's order, 1 yes, 0 no,
    -1 unknown, or None. identities: int64 (N,) or None. names: N strings or None. factors: name -> (N, k) float or None.
    mirror: whether a mirror image is as good as the image; a face's is, a digit's is not.
    """

    images: np.ndarray
    attributes: np.ndarray | None = None
    identities: np.ndarray | None = None
    names: list | None = None
    factors: dict | None = None
    mirror: bool = True

    def __len__(self):
        return len(self.images)

    def tensor(self, index=slice(None)):
        """The faces at `index` (slice, list or array; default all) as float (B, 3, H, W) in [-1, 1]."""
        return to_float(np.array(self.images[index]))

    def take(self, index):
        """A smaller split: the faces at `index`, with all that is known about them."""
        pick = np.arange(len(self))[index]
        return Split(np.asarray(self.images[pick]),
                     None if self.attributes is None else self.attributes[pick],
                     None if self.identities is None else self.identities[pick],
                     None if self.names is None else [self.names[i] for i in pick],
                     None if self.factors is None else {k: v[pick] for k, v in self.factors.items()}, self.mirror)


@dataclass(frozen=True)
class FaceData:
    """A data set: `.train`, `.val` and `.test` splits of one size; `report` says what was skipped when it was read."""

    name: str
    train: Split
    val: Split
    test: Split
    report: str = ""
    _mean: list = field(default_factory=list, repr=False)

    @property
    def size(self):
        """(height, width) of every face in pixels."""
        return tuple(self.train.images.shape[-2:])

    @property
    def mean(self):
        """The mean pixel of the train split (its first 8,192 faces), float (3,) in [-1, 1]."""
        if not self._mean:
            sample = np.asarray(self.train.images[:8192])
            self._mean.append(torch.tensor(sample.mean(axis=(0, 2, 3), dtype=np.float64) / 127.5 - 1).float())
        return self._mean[0]

    def __repr__(self):
        h, w = self.size
        return f"FaceData({self.name!r}, {len(self.train)} / {len(self.val)} / {len(self.test)} faces of {h}x{w})"


def _join_splits(a, b):
    def both(x, y, fill):
        if x is None and y is None:
            return None
        x = fill(a) if x is None else x
        y = fill(b) if y is None else y
        return np.concatenate([x, y])

    shared = set(a.factors or ()) & set(b.factors or ())
    return Split(np.concatenate([a.images, b.images]),
                 both(a.attributes, b.attributes, lambda s: np.full((len(s), len(ATTRIBUTES)), -1, np.int8)),
                 both(a.identities, b.identities, lambda s: np.full(len(s), -1, np.int64)),
                 None if a.names is None or b.names is None else [*a.names, *b.names],
                 {k: np.concatenate([a.factors[k], b.factors[k]]) for k in sorted(shared)} or None, a.mirror and b.mirror)


def join(a, b):
    """Put two data sets of one size together, split by split. Unknown attributes and identities become -1.

    Identities of `b` keep their numbers: joining two parts of CelebA keeps its people apart.
    """
    if a.size != b.size:
        raise ValueError(f"join needs faces of one size, got {a.size} ({a.name}) and {b.size} ({b.name}); "
                         "load both with the same size=")
    splits = {k: _join_splits(getattr(a, k), getattr(b, k)) for k in ("train", "val", "test")}
    return replace(a, name=f"{a.name}+{b.name}", **splits, report="\n".join(r for r in (a.report, b.report) if r), _mean=[])
