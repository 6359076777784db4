"""A published network as one ONNX file, which runs without PyTorch: in a browser, on a phone, in another language.

The weights in it are stored as they were published, int8 with a scale or float16, and become float32 when the file is
loaded: the very numbers that `load_pretrained` makes of them, in a quarter of the bytes.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from facelib import weights
from facelib.data.images import pair
from facelib.extras import need
from facelib.pretrained import load_pretrained
from facelib.train import write

OPSET = 18
# What a file of each method does: the keys are names of methods, and one method can have several published weights. Methods
# that are missing here search, or draw pixel by pixel, which is no single walk through a network.
VERBS = {"glcic": "complete", "context_encoder": "complete", "denoising": "complete", "infogan": "generate",
         "predictor": "encode"}
# The names of what a verb takes and gives in the file.
NAMES = {"complete": (("image", "mask"), "completed"), "generate": (("latents",), "image"), "encode": (("image",), "latents")}

LEAST = 64      # channels of a convolution on both sides, from which on `Winograd` saves a browser more than it costs
# Winograd's transforms along one axis, for two neighbouring outputs of a filter with three taps: of four pixels, of the filter,
# and of the four products back to the two outputs.
PIXELS = torch.tensor([[1.0, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
FILTER = torch.tensor([[1.0, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
PRODUCTS = torch.tensor([[1.0, 1, 1, 0], [0, 1, -1, -1]])


class Winograd(nn.Module):
    """A 3x3 convolution of stride 1 that needs four products where the plain one needs nine: (1, C, H, W) -> (1, K, H, W).

    Four neighbouring outputs are made from 4x4 pixels with 16 products instead of 36, because pixels and filters are
    transformed first; each of the 16 places is then one product of two matrices (Lavin and Gray, arXiv:1509.09308). A browser
    multiplies slowly and gains; a runtime that uses all of a processor's vector units loses by the transforms. The answers
    agree up to rounding. H and W must be multiples of twice the dilation; others go through the plain convolution.
    """

    def __init__(self, conv):
        super().__init__()
        self.conv = conv
        for name, matrix in (("pixels", PIXELS), ("filter", FILTER), ("products", PRODUCTS)):
            self.register_buffer(name, torch.kron(matrix, matrix))                        # along both axes

    def forward(self, x):
        d, (_, c, h, w), k = self.conv.dilation[0], x.shape, self.conv.out_channels
        if h % (2 * d) or w % (2 * d):
            return self.conv(x)
        h, w = h // d, w // d
        # A dilated convolution is a plain one for each of the d * d images made of every d-th pixel.
        images = x.view(c, h, d, w, d).permute(2, 4, 0, 1, 3).reshape(1, 1, d * d * c, h, w)
        tiles = F.conv3d(images, self.pixels.view(16, 1, 1, 4, 4), stride=(1, 2, 2), padding=(0, 1, 1))
        tiles = tiles.view(16, d * d, c, -1).transpose(1, 2).reshape(16, c, -1)           # (16, C, tiles of all images)
        filters = (self.filter @ self.conv.weight.reshape(k * c, 9).T).view(16, k, c)
        found = self.products @ (filters @ tiles).view(16, -1)                            # (4, K * tiles)
        found = found.view(2, 2, k, d, d, h // 2, w // 2).permute(2, 5, 0, 3, 6, 1, 4)    # every axis: tile, place in it, image
        return found.reshape(1, k, h * d, w * d) + self.conv.bias.view(-1, 1, 1)


def saves(layer):
    """Whether `Winograd` can do what a layer does, and is quicker at it in a browser."""
    return (isinstance(layer, nn.Conv2d) and layer.kernel_size == (3, 3) and layer.stride == (1, 1) and layer.groups == 1
            and layer.padding == layer.dilation and min(layer.in_channels, layer.out_channels) >= LEAST
            and layer.bias is not None)


class Verb(nn.Module):
    """One verb of a method, called by `forward`: what an exporter walks through. Latents are joined."""

    def __init__(self, method, verb):
        super().__init__()
        self.method, self.verb = method, verb

    def forward(self, *inputs):
        found = getattr(self.method, self.verb)(*inputs)
        return self.method.layout.join(found) if self.verb == "encode" else found


def names():
    """The names of the published weights that can be exported."""
    return [name for name in weights.names() if weights.card(name)["method"] in VERBS]


def verb_of(name):
    """Which verb of published weights a file would do. ValueError for unknown weights, and for those that have none."""
    method = weights.card(name)["method"]
    if method not in VERBS:
        raise ValueError(f"{name} cannot be exported: {method} has no verb that is one walk through a network; those that can "
                         f"be: {', '.join(names())}")
    return VERBS[method]


def example(method, verb):
    """Inputs of the shapes that a verb of a method takes at the size it was trained at, batch 1, as a tuple of zeros."""
    if verb == "generate":
        return (torch.zeros(1, method.layout.length),)
    image = torch.zeros(1, 3, *pair(method.cfg.size))
    return (image, image[:, :1]) if verb == "complete" else (image,)


def export(name, out, browser=False):
    """Write one verb of published weights as one ONNX file, with batch 1 and the height and width of its training -> its path.

    Weights of glcic, context_encoder and denoising: image (1, 3, H, W) in [-1, 1] and mask (1, 1, H, W), 1 = hole -> completed,
    known pixels bit-identical. Of infogan: joined latents (1, length) -> image. Of predictor: image -> joined latents. `names`
    lists all that can be exported. browser: make the file for a browser, with the convolutions of `Winograd`. The file is
    written whole or not at all. Raises ValueError as `verb_of` does, ImportError without the extra "export", OSError where `out`
    cannot be written.
    """
    verb = verb_of(name)
    onnx, _ = need("onnx"), need("onnxscript")
    method = load_pretrained(name)
    inputs, (taken, given), network = example(method, verb), NAMES[verb], Verb(method, verb)
    if browser:
        for place in [place for place, layer in network.named_modules() if saves(layer)]:
            network.set_submodule(place, Winograd(network.get_submodule(place)))
    program = torch.onnx.export(network.eval(), inputs, input_names=taken, output_names=[given],
                                opset_version=OPSET, dynamo=True, verbose=False)
    model = program.model_proto
    forget(model.graph)
    shrink(model.graph)
    onnx.checker.check_model(model)
    write(out, model.SerializeToString())
    return Path(out)


def forget(graph):
    """Leave out of an ONNX graph what nothing computes with, in place: which line of which file made a node, and known shapes."""
    del graph.value_info[:]
    for part in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


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
