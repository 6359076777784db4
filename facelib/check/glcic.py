"""Exercises of the chapter on globally and locally consistent completion."""

import math

import torch

from facelib.check.checker import every, exercise, function, holes, parts, random, tensor_like


@exercise("glcic-receptive-field", "start from one pixel; each layer adds (kernel - 1) * dilation steps, and how far "
          "one step reaches in the input grows with every stride before it")
def _(answer):
    stacks = ([(5, 1, 1)], [(3, 1, 1), (3, 1, 1)], [(3, 2, 1), (3, 1, 1)],
              [(5, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8), (3, 1, 16)])
    plain = lambda convs: [(kernel, 1, 1) for kernel, _, _ in convs]
    return every(answer, [((stack,), receptive_field(stack)) for stack in stacks], rel=1e-6, slips=(
        (lambda convs: receptive_field(plain(convs)), "After a stride one step is a longer one, and a dilated kernel is wider "
         "than it has taps: neither is in your number."),
        (lambda convs: receptive_field([(k, 1, d) for k, _, d in convs]), "Right without strides: after one, a step is longer."),
        (lambda convs: receptive_field([(k, s, 1) for k, s, _ in convs]), "Right without dilation: that makes a kernel wider."),
        (lambda convs: sum((k - 1) * d * math.prod(s for _, s, _ in convs[:i + 1]) for i, (k, _, d) in enumerate(convs)) + 1,
         "A stride makes the steps of the layers after it longer, not its own kernel's.")))


def receptive_field(convs):
    """Side in pixels of what one output of stacked convolutions sees. convs: (kernel, stride, dilation) in order."""
    field, reach = 1, 1
    for kernel, stride, dilation in convs:
        field += (kernel - 1) * dilation * reach
        reach *= stride
    return field


@exercise("glcic-local-box", "find the hole's middle, go half a crop to the left and up, then push the box back inside "
          "the picture where it sticks out")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    from facelib.masks import local_boxes
    for box, crop in (([6, 4, 4, 4], 8), ([0, 0, 4, 4], 8), ([12, 2, 4, 12], 10), ([1, 1, 14, 13], 6)):
        mask = holes(box)
        x, y, width, height = (int(v) for v in answer(mask[0, 0], crop))
        if (width, height) != (crop, crop):
            return f"The box must be {crop}x{crop}, got {width}x{height}."
        if x < 0 or y < 0 or x + crop > 16 or y + crop > 16:
            return f"For the hole {tuple(box)} and crop {crop} the box sticks out of the 16x16 picture."
        truth = local_boxes(mask, crop)[0]
        if abs(x - int(truth[0])) > 1 or abs(y - int(truth[1])) > 1:  # half a pixel may be rounded either way
            return f"For the hole {tuple(box)} and crop {crop} the box is not centred on it as well as it can be."
    return True


@exercise("glcic-local-gradient", "cut with slices of the tensor itself: detach, .data, numpy and no_grad all end the "
          "path; put the crops together with torch.stack or torch.cat")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    completed = random(2, 3, 16, 16).requires_grad_()
    boxes = torch.tensor([[2, 3, 8, 8], [8, 0, 8, 8]])
    out = answer(completed, boxes)
    truth = torch.stack([completed[0, :, 3:11, 2:10], completed[1, :, 0:8, 8:16]])
    problem = tensor_like(out, truth)
    if problem:
        return problem
    if not torch.equal(out, truth):
        return "These are not the pixels of the boxes; the boxes are x, y, width, height."
    if not out.requires_grad:
        return "The pixels are right, but no gradient flows back through them."
    grad, = torch.autograd.grad(out.sum(), completed)
    return bool(grad.any())


@exercise("glcic-dilation", "dilation spreads the nine taps of a 3x3 kernel and adds none; a bias has one number for "
          "each output channel")
def _(answer):
    return parts(answer, ("the number of parameters", 256 * 256 * 9 + 256, {
        256 * 256 * 9: "The bias is missing.", 256 * 9 + 256: "Each output channel looks at all input channels.",
        256 * 256 * 33 ** 2 + 256: "Between the taps there is nothing that could be learnt."}),
        ("the number of pixels", 2 * 16 + 1, {32: "Both ends are to be counted.",
                                              3 * 16: "Between three taps there are two gaps."}),
        rel=1e-6)
