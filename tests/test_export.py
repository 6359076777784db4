"""`facelib.export`: the ONNX files compute what PyTorch does, store what was published, and are small."""

import dataclasses

import numpy as np
import pytest
import torch

from facelib import cli, load_faces, masks, weights
from facelib.data.images import pair
from facelib.export import NAMES, Verb, Winograd, export, names, saves, smallest, verb_of
from facelib.methods.denoising import DenoisingAutoencoder
from facelib.methods.glcic import GLCIC
from facelib.pretrained import load_pretrained

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


def one_of_each():
    """Published weights that can be exported, one of each kind: the same method with the same shapes makes the same file."""
    found = {}
    for name in names():
        shapes = tuple(sorted((key, *value.shape) for key, value in weights.read(name)[0].items()))
        found.setdefault((weights.card(name)["method"], shapes), name)
    return list(found.values())


@pytest.fixture
def publish(tmp_path, monkeypatch):
    """publish(method class, config) -> the name of untrained weights of it, published in a folder of their own."""
    monkeypatch.setattr(weights, "FOLDER", tmp_path)

    def publish(cls, cfg):
        method, generator = cls(cfg), torch.Generator().manual_seed(0)
        for p in method.parameters():
            if not p.any():             # layers that start at zero would hide what is before them
                p.data.copy_(torch.randn(p.shape, generator=generator) * 0.02)
        tensors = {key: value for key, value in method.state_dict().items() if key.split(".")[0] in method.ships}
        if len(method.ships) == 1:
            tensors = {key.removeprefix(f"{method.ships[0]}."): value for key, value in tensors.items()}
        about = {"method": {GLCIC: "glcic", DenoisingAutoencoder: "denoising"}[cls], "config": dataclasses.asdict(cfg)}
        return weights.write("untrained", tensors, about, tmp_path).stem

    return publish


def ask(path, *inputs):
    """The answer of an exported network, a numpy array."""
    session = ort.InferenceSession(str(path))
    return session.run(None, {x.name: value.numpy() for x, value in zip(session.get_inputs(), inputs, strict=True)})[0]


def check(path, method, verb, inputs):
    """The file answers as PyTorch does, and does not see what a hole hides."""
    answer, expected = ask(path, *inputs), Verb(method, verb)(*inputs).numpy()
    assert answer.shape == expected.shape and answer.dtype == np.float32
    # Of a completed face a hundred-thousandth of its range, [-1, 1]; latents are larger numbers.
    assert np.abs(answer - expected).max() < (2e-5 if verb == "complete" else 2e-3)
    if verb == "complete":
        image, mask = inputs
        hole = mask.expand(-1, 3, -1, -1).numpy() > 0.5
        assert (answer[~hole] == image.numpy()[~hole]).all(), "a known pixel changed"
        assert np.abs(answer - image.numpy())[hole].mean() > 0.01, "nothing was filled in"
        other = torch.where(mask > 0.5, torch.rand(image.shape) * 2 - 1, image)
        np.testing.assert_array_equal(ask(path, other, mask), answer)


def check_names(path, verb):
    """Inputs and outputs are called as the live pages call them."""
    session = ort.InferenceSession(str(path))
    taken, given = NAMES[verb]
    assert [x.name for x in session.get_inputs()] == list(taken) and [x.name for x in session.get_outputs()] == [given]
    assert all(x.type == "tensor(float)" and x.shape[0] == 1 for x in session.get_inputs())


def check_storage(path):
    """The file is small, because it stores weights as they were published and nothing about where it was made."""
    assert path.stat().st_size < 4e6 and b"export.py" not in path.read_bytes()
    stored = onnx.load(path).graph.initializer
    floats = sum(np.prod(t.dims) for t in stored if t.data_type == onnx.TensorProto.FLOAT and ":scale" not in t.name)
    assert floats < 0.02 * sum(np.prod(t.dims) for t in stored), f"{path} holds {floats} numbers of 32 bits"


def face(method, i=0):
    """A generated face at the size of a method, (1, 3, H, W)."""
    return load_faces("generated", size=method.cfg.size).test.tensor([i])


@pytest.mark.parametrize("name", one_of_each())
def test_an_exported_network_is_the_published_one(name, tmp_path):
    pytest.importorskip("onnxscript")
    path, method, verb = export(name, tmp_path / "a.onnx"), load_pretrained(name), verb_of(name)
    check_names(path, verb)
    check_storage(path)
    for i, kind in enumerate(("center", "glcic", "strokes", "half")):
        inputs = (method.layout.sample(1, i),) if verb == "generate" else (face(method, i),)
        if verb == "complete":
            inputs = (*inputs, masks.make(kind, 1, pair(method.cfg.size), seed=i))
        check(path, method, verb, inputs)


SMALL = dataclasses.replace(GLCIC.presets["today"], size=64, crop=32, margin=0, widths=(8, 16, 32), d_widths=(8, 8, 8, 8, 8),
                            d_features=8, perceptual=0.0)


@pytest.mark.parametrize(("cls", "cfg"), [
    (GLCIC, SMALL), (GLCIC, dataclasses.replace(SMALL, size=(64, 48))),
    (DenoisingAutoencoder, dataclasses.replace(DenoisingAutoencoder.presets["smoke"], size=(48, 32))),
], ids=["glcic 64", "glcic 64x48", "denoising 48x32"])
@pytest.mark.parametrize("browser", [False, True])
def test_weights_of_any_size_are_exported_at_it(cls, cfg, browser, publish, tmp_path, monkeypatch):
    """A square side and (height, width); attention and pixel shuffle, too. For a browser the same answers come in another way."""
    pytest.importorskip("onnxscript")
    monkeypatch.setattr("facelib.export.LEAST", 8)
    name = publish(cls, cfg)
    path, method = export(name, tmp_path / "a.onnx", browser), load_pretrained(name)
    image, mask = face(method), masks.make("strokes", 1, pair(cfg.size), seed=1)
    assert ort.InferenceSession(str(path)).get_inputs()[0].shape == list(image.shape)
    check(path, method, "complete", (image, mask))


@pytest.mark.parametrize("dilation", [1, 2, 4])
@pytest.mark.parametrize("size", [(16, 16), (16, 24), (18, 15)])
def test_winograds_convolution_is_the_plain_one(size, dilation):
    torch.manual_seed(0)
    conv, x = torch.nn.Conv2d(5, 7, 3, padding=dilation, dilation=dilation), torch.randn(1, 5, *size)
    torch.testing.assert_close(Winograd(conv)(x), conv(x), rtol=0, atol=1e-5)


def test_winograd_takes_the_convolutions_that_it_knows():
    conv = torch.nn.Conv2d
    known = [conv(64, 96, 3, padding=1), conv(96, 64, 3, padding=4, dilation=4)]
    others = [conv(64, 64, 3, padding=1, stride=2), conv(64, 64, 5, padding=2), conv(64, 64, 3), conv(32, 64, 3, padding=1),
              conv(64, 64, 3, padding=1, groups=2), conv(64, 64, 3, padding=1, bias=False), torch.nn.ReLU()]
    assert all(map(saves, known)) and not any(map(saves, others))


def test_a_tensor_is_stored_only_as_what_gives_it_back_exactly():
    drawn = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    packed = weights.packed({"w": drawn})
    whole = weights.unpacked(packed)["w"].numpy()
    assert {value.dtype for value in smallest("w", whole).values()} == {torch.int8, torch.float32}
    assert {value.dtype for value in smallest("w", drawn.half().float().numpy()).values()} == {torch.float16}
    assert smallest("w", drawn.numpy()) is None and smallest("shape", np.array([1, 3])) is None


def test_the_command_writes_a_file(tmp_path, capsys):
    assert cli.main(["export", "infogan_synthetic", "--out", str(tmp_path / "a.onnx")]) == 0
    assert "generate of infogan_synthetic" in capsys.readouterr().out
    assert np.isfinite(ask(tmp_path / "a.onnx", load_pretrained("infogan_synthetic").layout.sample(1, 0))).all()
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"], "something was left beside the file"


@pytest.mark.parametrize(("name", "said"), [("nobody", "no weights called 'nobody'"), ("pixel_recursive", "cannot be exported"),
                                            ("judge_attr", "cannot be exported")])
def test_what_cannot_be_exported_is_told(name, said, tmp_path, capsys):
    assert cli.main(["export", name, "--out", str(tmp_path / "a.onnx")]) == 2
    told = capsys.readouterr().err
    assert said in told and names()[0] in told and len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    assert cli.main(["export", names()[0], "--out", str(tmp_path / "none" / "a.onnx")]) == 2
    assert "No such file" in capsys.readouterr().err
