"""A face-recognition network as a judge: are two pictures of the same person?

The network is dlib's (King 2009; a ResNet-29 of 2017, trained on about three million faces, licence CC0). It has never served
as a loss here, and it sees more than 64 pixels. Its package `face-recognition-models` is only looked for, never imported:
importing it asks for a module that new versions of setuptools no longer have.
"""

import functools
import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F

from facelib.extras import need

NAME = "recognition"
CHIP = 150                          # pixels: the side of what the network is given
# Where the network wants the eyes, which is where our framing's eyes, at 0.382 and 0.606 across and 0.439 down (measured),
# come to lie when the face is scaled to SCALED pixels and cut at LEFT, TOP.
SCALED, LEFT, TOP = 231, 40, 55
SAME = 0.6                          # below this distance dlib calls two pictures the same person


@functools.cache
def _network():
    dlib = need("dlib")
    found = importlib.util.find_spec("face_recognition_models")
    if found is None:
        raise ImportError('the face-recognition judge needs the package face-recognition-models: pip install "facelib[judges]"')
    file = Path(found.submodule_search_locations[0]) / "models" / "dlib_face_recognition_resnet_model_v1.dat"
    return dlib.face_recognition_model_v1(str(file))


def available():
    """Whether the extra "judges" is installed."""
    return all(importlib.util.find_spec(name) for name in ("dlib", "face_recognition_models"))


def chips(image):
    """Faces (B, 3, H, W) in [-1, 1] in our framing, square, of any size -> uint8 (B, 150, 150, 3), as the network wants them."""
    if image.shape[-1] != image.shape[-2]:
        raise ValueError(f"the face-recognition judge needs square faces in our framing, got {tuple(image.shape)}")
    scaled = F.interpolate(image.float(), (SCALED, SCALED), mode="bicubic", antialias=True, align_corners=False)
    cut = scaled[..., TOP:TOP + CHIP, LEFT:LEFT + CHIP].clamp(-1, 1)
    return ((cut + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def features(image):
    """Faces (B, 3, H, W) in [-1, 1], square and in our framing -> (B, 128), one vector each. About 20 ms a face on a CPU."""
    network, faces = _network(), chips(image)
    if not len(faces):
        return torch.empty(0, 128)
    return torch.tensor([list(vector) for vector in network.compute_face_descriptor(list(faces))])


def distance(a, b):
    """Vectors (B, 128) twice -> Euclidean distance of each pair (B,): under 0.6 dlib takes two pictures for one person."""
    return (a - b).norm(dim=1)
