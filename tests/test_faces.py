"""What a data set is: splits, their mean, and two of them joined."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from facelib.data import ATTRIBUTES, FaceData, Split, join, to_float, to_uint8


def split(n, size=(8, 8), seed=0, **known):
    return Split(np.random.default_rng(seed).integers(0, 256, (n, 3, *size), dtype=np.uint8), **known)


def data(name="noise", n=6, **known):
    return FaceData(name, split(n, **known), split(2), split(0))


def test_attributes_are_celebas_forty_in_order():
    assert len(ATTRIBUTES) == len(set(ATTRIBUTES)) == 40
    assert [ATTRIBUTES[i] for i in (0, 15, 20, 31, 39)] == ["5_o_Clock_Shadow", "Eyeglasses", "Male", "Smiling", "Young"]


def test_bytes_become_floats_and_return_unchanged():
    every = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    x = to_float(every)
    assert x.dtype == torch.float32 and (x.min(), x.max()) == (-1, 1)
    assert torch.equal(to_uint8(x), torch.from_numpy(every)) and torch.equal(to_float(torch.from_numpy(every)), x)


@settings(max_examples=50, deadline=None)
@given(st.floats(-3, 3, width=32))
def test_floats_become_the_nearest_byte(value):
    found = int(to_uint8(torch.tensor([[value]])))
    assert 0 <= found <= 255 and abs(found - (min(max(value, -1), 1) + 1) * 127.5) <= 0.5 + 1e-4


def test_a_split_gives_its_faces_as_tensors():
    s = split(5, attributes=np.zeros((5, 40), np.int8), names=list("abcde"), identities=np.arange(5),
              factors={"age": np.arange(5.0)[:, None]})
    assert len(s) == 5 and s.tensor().shape == (5, 3, 8, 8)
    assert torch.equal(s.tensor([3, 1]), s.tensor()[[3, 1]]) and torch.equal(s.tensor(slice(1, 3)), s.tensor()[1:3])
    part = s.take(np.array([4, 0]))
    assert (part.names, part.identities.tolist(), part.factors["age"].tolist()) == (["e", "a"], [4, 0], [[4.0], [0.0]])
    assert np.array_equal(part.images, s.images[[4, 0]]) and part.attributes.shape == (2, 40)
    assert s.take(slice(0, 2)).names == ["a", "b"] and split(3).take(slice(0, 2)).attributes is None


def test_a_tensor_does_not_share_memory_with_a_mapped_file(tmp_path):
    np.save(tmp_path / "x.npy", split(3).images)
    mapped = Split(np.load(tmp_path / "x.npy", mmap_mode="r"))
    mapped.tensor().fill_(0)
    assert np.array_equal(mapped.images, split(3).images)


def test_mean_is_the_mean_pixel_of_the_train_split():
    faces = data()
    expected = to_float(faces.train.images).double().mean((0, 2, 3))
    assert faces.mean.shape == (3,) and torch.allclose(faces.mean.double(), expected, atol=1e-5)
    assert faces.size == (8, 8) and repr(faces) == "FaceData('noise', 6 / 2 / 0 faces of 8x8)"


def test_join_puts_splits_together_and_marks_the_unknown():
    a = FaceData("a", split(3, attributes=np.ones((3, 40), np.int8), identities=np.array([7, 8, 9]), names=list("xyz")),
                 split(1), split(0), report="1 file skipped")
    b = FaceData("b", split(2, seed=1), split(2), split(1))
    both = join(a, b)
    assert both.name == "a+b" and (len(both.train), len(both.val), len(both.test)) == (5, 3, 1)
    assert both.report == "1 file skipped"
    assert np.array_equal(both.train.images, np.concatenate([a.train.images, b.train.images]))
    assert both.train.attributes.dtype == np.int8 and both.train.attributes[:, 0].tolist() == [1, 1, 1, -1, -1]
    assert both.train.identities.tolist() == [7, 8, 9, -1, -1] and both.train.names is None
    assert both.val.attributes is None and both.val.identities is None
    assert torch.allclose(both.mean, to_float(both.train.images).mean((0, 2, 3)), atol=1e-4)
    assert not torch.allclose(both.mean, a.mean, atol=1e-6)             # the mean is taken anew


def test_join_keeps_factors_and_names_that_both_have():
    known = [{"factors": {"age": np.full((2, 1), v), extra: np.zeros((2, 1))}, "names": [extra, extra]}
             for v, extra in ((0.0, "hat"), (1.0, "beard"))]
    both = join(data("a", 2, **known[0]), data("b", 2, **known[1])).train
    assert set(both.factors) == {"age"} and both.factors["age"].ravel().tolist() == [0, 0, 1, 1]
    assert both.names == ["hat", "hat", "beard", "beard"]


def test_join_refuses_two_sizes():
    other = FaceData("large", split(2, (16, 16)), split(0, (16, 16)), split(0, (16, 16)))
    with pytest.raises(ValueError, match=r"join needs faces of one size, got \(8, 8\) \(noise\) and \(16, 16\) \(large\); "
                                         r"load both with the same size="):
        join(data(), other)
