"""`facelib.export`: the ONNX files compute what PyTorch does, store what was published, and are small."""

import numpy as np
import pytest
import torch

from facelib import cli, load_faces, masks, weights
from facelib.export import NAMES, VERBS, Verb, export, smallest, verb_of
from facelib.pretrained import load_pretrained

ort = pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The five networks of the live pages: name -> path."""
    pytest.importorskip("onnxscript")
    folder = tmp_path_factory.mktemp("onnx")
    return {name: export(name, folder / f"{name}.onnx") for name in VERBS}


def ask(path, *inputs):
    """The answer of an exported network, a numpy array."""
    session = ort.InferenceSession(str(path))
    return session.run(None, {x.name: value.numpy() for x, value in zip(session.get_inputs(), inputs, strict=True)})[0]


@pytest.fixture(scope="module")
def faces():
    return load_faces("generated").test.tensor(slice(0, 4))


@pytest.mark.parametrize("name", VERBS)
def test_an_exported_network_answers_as_pytorch_does(name, files, faces):
    method, verb = load_pretrained(name), verb_of(name)
    for i, kind in enumerate(("center", "glcic", "strokes", "half")):
        inputs = (method.layout.sample(1, i),) if verb == "generate" else (faces[i:i + 1],)
        if verb == "complete":
            inputs = (*inputs, masks.make(kind, 1, 64, seed=i))
        answer = ask(files[name], *inputs)
        expected = Verb(method, verb)(*inputs).numpy()
        assert answer.shape == expected.shape and answer.dtype == np.float32
        assert np.abs(answer - expected).max() < 2e-3           # a thousandth of the range of an image, [-1, 1]
        if verb == "complete":
            hole = inputs[1].expand(-1, 3, -1, -1).numpy() > 0.5
            assert (answer[~hole] == inputs[0].numpy()[~hole]).all(), "a known pixel changed"
            assert np.abs(answer - inputs[0].numpy())[hole].mean() > 0.01, "nothing was filled in"


@pytest.mark.parametrize("name", [name for name in VERBS if VERBS[name] == "complete"])
def test_the_holes_own_pixels_are_never_read(name, files, faces):
    mask = masks.center(1, 64)
    other = torch.where(mask > 0.5, torch.rand(1, 3, 64, 64) * 2 - 1, faces[:1])
    np.testing.assert_array_equal(ask(files[name], faces[:1], mask), ask(files[name], other, mask))


def test_the_names_of_inputs_and_outputs_are_those_of_the_live_pages(files):
    for name, path in files.items():
        session = ort.InferenceSession(str(path))
        taken, given = NAMES[VERBS[name]]
        assert [x.name for x in session.get_inputs()] == list(taken) and [x.name for x in session.get_outputs()] == [given]
        assert all(x.type == "tensor(float)" and x.shape[0] == 1 for x in session.get_inputs())


def test_the_files_are_small_and_stored_as_published(files):
    sizes = {name: path.stat().st_size for name, path in files.items()}
    assert sum(sizes.values()) < 15e6, sizes
    for name, path in files.items():
        stored = onnx.load(path).graph.initializer
        floats = sum(np.prod(t.dims) for t in stored if t.data_type == onnx.TensorProto.FLOAT and ":scale" not in t.name)
        assert floats < 0.02 * sum(np.prod(t.dims) for t in stored), f"{name} holds {floats} numbers of 32 bits"


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
    assert said in told and "glcic" in told and len(told.strip().splitlines()) == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_told(tmp_path, capsys):
    assert cli.main(["export", "glcic", "--out", str(tmp_path / "none" / "a.onnx")]) == 2
    assert "No such file" in capsys.readouterr().err
