"""The face-recognition judge: what it is given, and that it tells a person from another."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from facelib import recognition
from facelib.data.align import align


def test_chips_have_the_eyes_where_the_network_wants_them():
    """Two dots where our framing has the pupils come out at (47.8, 46.2) and (99.6, 46.2) of the chip, at any size."""
    for size in (128, 160, 256):
        image = torch.full((1, 3, size, size), -1.0)
        rows, columns = torch.arange(size).view(-1, 1) + 0.5, torch.arange(size) + 0.5
        for x in (0.382, 0.606):
            spot = torch.exp(-((rows / size - 0.439) ** 2 + (columns / size - x) ** 2) / (2 * 0.02 ** 2))
            image += 2 * spot
        (chip,) = recognition.chips(image.clamp(-1, 1))
        assert chip.shape == (150, 150, 3) and chip.dtype == np.uint8
        light = chip[..., 0].astype(float)
        for half, expected in ((slice(0, 75), 47.8), (slice(75, 150), 99.6)):
            weight = np.where(light[:, half] > 60, light[:, half], 0)
            y, x = np.mgrid[0:150, half]
            assert (weight * x).sum() / weight.sum() == pytest.approx(expected, abs=0.8)
            assert (weight * y).sum() / weight.sum() == pytest.approx(46.2, abs=0.8)


def test_oblong_faces_are_refused():
    with pytest.raises(ValueError, match="needs square faces in our framing, got"):
        recognition.chips(torch.zeros(1, 3, 128, 96))


def test_missing_models_name_the_extra(monkeypatch):
    monkeypatch.setattr(recognition.importlib.util, "find_spec", lambda name: None)
    assert not recognition.available()
    recognition._network.cache_clear()
    monkeypatch.setattr(recognition, "need", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install \"facelib\[judges\]\""):
        recognition._network()
    recognition._network.cache_clear()


@pytest.mark.skipif(not recognition.available(), reason='the extra "judges" is not installed')
def test_the_same_person_is_near_and_another_far():
    from skimage import data

    her = align(Image.fromarray(data.astronaut()), 160).tensor()
    softer = F.interpolate(F.interpolate(her, 64, mode="area"), 128, mode="bicubic").clamp(-1, 1)
    mirrored, nobody = her.flip(3), torch.full_like(her, 0.2)
    seen = torch.cat([recognition.features(face) for face in (her, softer, mirrored, nobody)])
    assert seen.shape == (4, 128) and torch.equal(seen[:1], recognition.features(her))
    far = recognition.distance(seen[:1].expand(3, -1), seen[1:])
    assert far[0] < 0.35 and far[1] < 0.5 and far[2] > recognition.SAME
    assert recognition.features(her[:0]).shape == (0, 128)
