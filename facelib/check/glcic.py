"""Exercises of the chapter on globally and locally consistent completion."""

import torch

from facelib.check.checker import every, exercise, function, holes, near, random

# Globally and locally consistent completion

@exercise("glcic-receptive-field", "start from one pixel; each layer adds (kernel - 1) * dilation steps, and how far "
          "one step reaches in the input grows with every stride before it")
def _(answer):
    stacks = ([(5, 1, 1)], [(3, 1, 1), (3, 1, 1)], [(3, 2, 1), (3, 1, 1)],
              [(5, 1, 1), (3, 2, 1), (3, 1, 1), (3, 2, 1), (3, 1, 2), (3, 1, 4), (3, 1, 8), (3, 1, 16)])
    return every(answer, [((stack,), receptive_field(stack)) for stack in stacks], rel=1e-6)


def receptive_field(convs):
    """Side in pixels of what one output of stacked convolutions sees. convs: (kernel, stride, dilation) in order."""
    field, reach = 1, 1
    for kernel, stride, dilation in convs:
        field += (kernel - 1) * dilation * reach
        reach *= stride
    return field


@exercise("glcic-composite", "mask is 1 in the hole: there take pred, elsewhere the image, and bit for bit the image")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image, pred = random(2, 3, 16, 16), random(2, 3, 16, 16, seed=1)
    mask = holes([2, 3, 5, 6], [4, 0, 8, 8])
    out = answer(pred, image, mask)
    hole = mask.bool().expand_as(image)
    if not torch.is_tensor(out) or out.shape != image.shape:
        return f"Expected a tensor of shape {tuple(image.shape)}, got {getattr(out, 'shape', type(out).__name__)}."
    if not torch.equal(out[~hole], image[~hole]):
        return "Known pixels changed."
    return bool(torch.equal(out[hole], pred[hole])) or "The hole does not hold the prediction."


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
    if not torch.is_tensor(out) or out.shape != truth.shape:
        return f"Expected a tensor of shape {tuple(truth.shape)}, got {getattr(out, 'shape', type(out).__name__)}."
    if not torch.equal(out, truth):
        return "These are not the pixels of the boxes; the boxes are x, y, width, height."
    if not out.requires_grad:
        return "The pixels are right, but no gradient flows back through them."
    grad, = torch.autograd.grad(out.sum(), completed)
    return bool(grad.any())


@exercise("glcic-dilation", "dilation spreads the nine taps of a 3x3 kernel and adds none; a bias has one number for "
          "each output channel")
def _(answer):
    return near(answer, [256 * 256 * 9 + 256, 2 * 16 + 1], rel=1e-6)
