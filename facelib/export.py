"""A published network as one ONNX file, which runs without PyTorch: in a browser, on a phone, in another language.

The weights in it are stored as they were published, int8 with a scale or float16, and become float32 when the file is
loaded: the very numbers that `load_pretrained` makes of them, in a quarter of the bytes.
"""

from pathlib import Path

import torch
from torch import nn

from facelib import weights
from facelib.extras import need
from facelib.pretrained import load_pretrained
from facelib.train import write

OPSET = 18
# What a file of each method does. The others search, or draw pixel by pixel, which is no single walk through a network.
VERBS = {"glcic": "complete", "context_encoder": "complete", "denoising": "complete", "infogan": "generate",
         "predictor": "encode"}
# The names of what a verb takes and gives in the file.
NAMES = {"complete": (("image", "mask"), "completed"), "generate": (("latents",), "image"), "encode": (("image",), "latents")}


class Verb(nn.Module):
    """One verb of a method, called by `forward`: what an exporter walks through. Latents are joined."""

    def __init__(self, method, verb):
        super().__init__()
        self.method, self.verb = method, verb

    def forward(self, *inputs):
        found = getattr(self.method, self.verb)(*inputs)
        return self.method.layout.join(found) if self.verb == "encode" else found


def verb_of(name):
    """Which verb of published weights a file would do. ValueError for unknown weights, and for those that have none."""
    method = weights.card(name)["method"]
    if method not in VERBS:
        can = [other for other in weights.names() if weights.card(other)["method"] in VERBS]
        raise ValueError(f"{name} cannot be exported: {method} has no verb that is one walk through a network; those that can "
                         f"be: {', '.join(can)}")
    return VERBS[method]


def example(method, verb):
    """Inputs of the shapes that a verb of a method takes, batch 1, as a tuple of zeros."""
    if verb == "generate":
        return (torch.zeros(1, method.layout.length),)
    image = torch.zeros(1, 3, method.cfg.size, method.cfg.size)
    return (image, image[:, :1]) if verb == "complete" else (image,)


def export(name, out):
    """Write one verb of published weights as one ONNX file, with batch 1 -> its path.

    glcic, context_encoder, denoising: image (1, 3, size, size) in [-1, 1] and mask (1, 1, size, size), 1 = hole -> completed,
    known pixels bit-identical. infogan: joined latents (1, length) -> image. predictor: image -> joined latents. Also for
    other weights of these methods. The file is written whole or not at all. Raises ValueError as `verb_of` does, ImportError
    without the extra "export", OSError where `out` cannot be written.
    """
    verb = verb_of(name)
    onnx, _ = need("onnx"), need("onnxscript")
    method = load_pretrained(name)
    inputs, (taken, given) = example(method, verb), NAMES[verb]
    program = torch.onnx.export(Verb(method, verb).eval(), inputs, input_names=taken, output_names=[given],
                                opset_version=OPSET, dynamo=True, verbose=False)
    model = program.model_proto
    shrink(model.graph)
    onnx.checker.check_model(model)
    write(out, model.SerializeToString())
    return Path(out)


def shrink(graph):
    """Store each float32 tensor of an ONNX graph in the smallest way that gives the very same numbers back, in place.

    int8 and a scale for each index of the first axis, with DequantizeLinear; or float16, with Cast; or else as it is.
    """
    onnx = need("onnx")
    stored, nodes = [], []
    for tensor in graph.initializer:
        name = tensor.name
        small = smallest(name, onnx.numpy_helper.to_array(tensor).copy())
        if small is None:
            stored.append(tensor)
            continue
        stored += [onnx.numpy_helper.from_array(value.numpy(), part) for part, value in small.items()]
        nodes.append(onnx.helper.make_node("DequantizeLinear", list(small), [name], axis=0) if len(small) == 2
                     else onnx.helper.make_node("Cast", list(small), [name], to=onnx.TensorProto.FLOAT))
    nodes += graph.node
    del graph.initializer[:], graph.node[:]
    graph.initializer.extend(stored)
    graph.node.extend(nodes)


def smallest(name, values):
    """What to store for a numpy array: {part: tensor} of int8 and its scale, or of float16; None for the array itself."""
    if values.dtype != "float32":
        return None
    values = torch.from_numpy(values)
    parts = weights.packed({name: values})
    if not torch.equal(weights.unpacked(parts)[name], values):
        parts = {name: values.half()}
        if not torch.equal(parts[name].float(), values):
            return None
    # DequantizeLinear multiplies in the type of its scale.
    return {f"{part}:stored": value.float() if part != name else value for part, value in parts.items()}
