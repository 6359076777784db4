"""Frozen networks that look at faces: `perceptual` may serve as a loss, `judge_attr` and `judge_identity` only judge.

A network that served as a training loss must not judge the result: it would be asked whether its own wish was granted.
"""

import torch
import torch.nn.functional as F
from torch import nn

from facelib import weights
from facelib.data.faces import ATTRIBUTES
from facelib.layers import conv

KNOWN = 64          # pixels: what a network was trained on whose card says nothing else
NAMES = ("judge_attr", "judge_identity", "perceptual")


class Residual(nn.Module):
    """x + two 3x3 convolutions of x, batch-normalised (He et al. 2016): (B, c, H, W) -> (B, c, H, W)."""

    def __init__(self, channels):
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels, norm=True), conv(channels, channels, norm=True, act=None))

    def forward(self, x):
        return F.relu(x + self.body(x))


class FeatureNetwork(nn.Module):
    """Faces (B, 3, H, W) in [-1, 1] -> maps at 1/2, 1/4, 1/8 and 1/16, a vector of `length`, attribute logits.

    residual: residual blocks (the judges) or plain convolutions as in VGG (`perceptual`, whose maps are compared pixel
    by pixel and should differ from the judges' in kind).
    """

    def __init__(self, width=32, length=128, residual=True):
        super().__init__()
        widths = [width, 2 * width, 4 * width, 6 * width]
        block = Residual if residual else (lambda c: conv(c, c, norm=True))
        self.stages = nn.ModuleList(
            nn.Sequential(conv(inner, outer, 5 if i == 0 else 3, stride=2, norm=True), block(outer))
            for i, (inner, outer) in enumerate(zip([3, *widths], widths, strict=False)))
        self.vector = nn.Sequential(nn.Linear(widths[-1], length, bias=False), nn.BatchNorm1d(length))
        self.attributes = nn.Linear(length, len(ATTRIBUTES))

    def maps(self, image):
        """The four stages' maps, fine to coarse: (B, width, H/2, W/2), (B, 2 width, H/4, W/4), ..."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        return maps

    def features(self, image):
        """Faces (B, 3, H, W) -> one vector each, (B, length)."""
        return self.vector(self.maps(image)[-1].mean((2, 3)).float())

    def logits(self, image):
        """Faces (B, 3, H, W) -> logits of CelebA's 40 attributes, (B, 40); above 0 is yes."""
        return self.attributes(F.relu(self.features(image)))


def load(name, device="cpu"):
    """A frozen network by name (one of NAMES), in evaluation mode, with its `card`."""
    if name not in NAMES:
        raise ValueError(f"feature network must be one of {', '.join(NAMES)}, got {name!r}")
    tensors, about = weights.read(name)
    config = about["config"]
    network = FeatureNetwork(config["width"], config["length"], config["residual"])
    network.load_state_dict(tensors)
    network.card, network.size = about, config.get("size", KNOWN)
    return network.to(device).eval().requires_grad_(False)


def at_size_of(network, image):
    """Faces (B, 3, H, W) of any size, square, at the size that a frozen network knows: one antialiased resize.

    A network that was trained on 64 pixels does not know the same face at 128: fed as they were, faces of 128 pixels were
    as far from the same faces at 64 (FD-attr 111) as only a bad method's completions are. network: has `size`, in pixels;
    without one (a stand-in, a network for any size) the faces stay as they are.
    """
    size = getattr(network, "size", image.shape[-1])
    if image.shape[-2:] == (size, size):
        return image
    return F.interpolate(image, size=(size, size), mode="bilinear", antialias=image.shape[-1] > size)


class PerceptualLoss(nn.Module):
    """Distance of two faces in the maps of a frozen network (Johnson et al. 2016): gradients flow to both faces.

    maps: a function image (B, 3, H, W) -> list of maps, by default those of `perceptual`. Every map is scaled to unit
    length per pixel over its channels, so that no stage outweighs the others (Zhang et al. 2018, without learnt weights).
    Faces of another size are brought to the one that `perceptual` was trained on.
    """

    def __init__(self, maps=None):
        super().__init__()
        self.network = load("perceptual") if maps is None else None
        self.maps = self.network.maps if maps is None else maps

    def train(self, mode=True):
        """Training mode never reaches the frozen network: its batch norm keeps the statistics that it was trained with."""
        return super().train(False)

    def prepared(self, image):
        """Faces (B, 3, H, W) as the network wants them: at its own size, and at least of 64 pixels for others' maps."""
        if self.network is None:
            return image if image.shape[-1] >= KNOWN else F.interpolate(image, size=KNOWN, mode="bilinear")
        return at_size_of(self.network, image)

    def each(self, pred, image):
        """(B, 3, H, W) twice, in [-1, 1] -> the mean squared distance of each pair, (B,) >= 0."""
        pred, image = self.prepared(pred), self.prepared(image)
        pairs = zip(self.maps(pred), self.maps(image), strict=True)
        return sum((F.normalize(a.float(), dim=1) - F.normalize(b.float(), dim=1)).pow(2).sum(1).mean((1, 2)) for a, b in pairs)

    def forward(self, pred, image):
        """(B, 3, H, W) twice, in [-1, 1] -> the mean squared distance, a scalar >= 0."""
        return self.each(pred, image).mean()


def vgg(depth=19):
    """torchvision's VGG16 or VGG19 as a list-of-maps function, for PerceptualLoss(maps=...). Downloads its weights.

    The maps before each of the five poolings, for images in [-1, 1] (Simonyan and Zisserman 2015). Without a network the
    download fails, and the error says so.
    """
    from torchvision import models

    if depth not in (16, 19):
        raise ValueError(f"depth must be 16 or 19, got {depth}")
    chosen = models.VGG16_Weights.IMAGENET1K_V1 if depth == 16 else models.VGG19_Weights.IMAGENET1K_V1
    try:
        layers = (models.vgg16 if depth == 16 else models.vgg19)(weights=chosen).features.eval().requires_grad_(False)
    except OSError as error:                                            # URLError is one of its kinds
        raise RuntimeError(f"the weights of VGG{depth} could not be downloaded ({error}); go online once (they are kept in "
                           "torch's cache), or use the bundled network: PerceptualLoss()") from error
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

    def maps(image):
        layers.to(image.device)
        x, found = ((image + 1) / 2 - mean.to(image)) / std.to(image), []
        for layer in layers:
            if isinstance(layer, nn.MaxPool2d):
                found.append(x)
            # Out of place, so that a map that was kept is not overwritten by the next rectifier.
            x = F.relu(x) if isinstance(layer, nn.ReLU) else layer(x)
        return found

    return maps
