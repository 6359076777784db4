"""Exercises of the chapters on faces, holes and training."""

import math

import torch

from facelib.check.checker import every, exercise, function, holes, near, random, same_words

# Faces as data

@exercise("faces-range", "the range 0..255 becomes -1..1 by a scale and a shift; and 255 is odd, so what is in the "
          "middle, and how does torch round a half?")
def _(answer):
    from facelib.data.faces import to_float, to_uint8
    return near(answer, [float(to_float(torch.tensor(51, dtype=torch.uint8))), float(to_uint8(torch.tensor(0.0)))],
                rel=1e-3)


@exercise("faces-mean", "one number for each channel: average over faces, rows and columns, in a type that can hold "
          "the sum, and convert to [-1, 1]")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    bright = torch.full((40, 3, 8, 6), 200, dtype=torch.uint8)
    bright[:, 1] = 30
    bright[:10, 2] = 255
    for images in (bright, ((random(7, 3, 5, 9) + 1) * 127).byte()):
        truth = images.double().mean((0, 2, 3)) / 127.5 - 1
        verdict = near(answer(images.numpy()), truth, rel=1e-3, absolute=1e-4)
        if verdict is not True:
            return verdict or f"Wrong for faces of shape {tuple(images.shape)}."
    return True


@exercise("faces-split-leak", "look at one test picture. For the person to be unknown to the network, where must each "
          "of the other k - 1 pictures have gone?")
def _(answer):
    return every(answer, [((k, p), 1 - (1 - p) ** (k - 1)) for k, p in ((1, 0.8), (2, 0.8), (3, 0.5), (20, 0.9))])


@exercise("faces-flip", "three things change: the pixels, each x (which column does column 0 become?), and which eye "
          "is the one at the left of the picture")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image = random(2, 3, 8, 12)
    eyes = torch.tensor([[[3.0, 4.0], [7.0, 5.0]], [[1.0, 2.0], [10.0, 2.0]]])
    flipped, moved = answer(image.clone(), eyes.clone())
    if not torch.equal(flipped, image.flip(3)):
        return "The picture is not the mirror image from left to right."
    truth = torch.stack([torch.stack([11 - eyes[..., 0], eyes[..., 1]], -1)[:, i] for i in (1, 0)], 1)
    verdict = near(moved, truth, rel=1e-5)
    return verdict if verdict is not False else "The picture is right, the eyes are not."


@exercise("faces-memory", "pixels times channels times bytes for each; a float32 has four bytes; a GB is 1e9 bytes")
def _(answer):
    pixels = 200_000 * 3 * 64 * 64
    return near(answer, [pixels / 1e9, 4 * pixels / 1e9], rel=0.02)


# Holes, and how to judge what fills them

@exercise("holes-known", "1 = hole here, so known is 1 - mask; the mean is over known pixels only, and the image has "
          "three channels where the mask has one")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    pred, image = random(2, 3, 16, 16), random(2, 3, 16, 16, seed=1)
    mask = holes([2, 3, 5, 6], [0, 0, 16, 8])
    known = (1 - mask).expand_as(image)
    truth = [(pred - image).abs()[i][known[i] == 1].mean() for i in range(2)]
    return near(answer(pred, image, mask), torch.stack(truth), rel=1e-4)


@exercise("holes-psnr", "the known pixels add nothing to the squared error but they count in its mean: by which factor "
          "does that shrink it, and what is that factor in dB?")
def _(answer):
    return every(answer, [((f,), -10 * math.log10(f)) for f in (1.0, 0.5, 0.25, 0.1)], absolute=1e-3)


@exercise("holes-leak", "zero times NaN is NaN, so a product cannot forget a pixel; choose between two values instead")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    image, mask = random(2, 3, 16, 16), holes([2, 3, 5, 6], [4, 0, 8, 8])
    fill = torch.tensor([0.1, -0.2, 0.3])
    out = answer(image, mask, fill)
    if not torch.is_tensor(out) or out.shape != (2, 4, 16, 16):
        return f"Expected a tensor of shape (2, 4, 16, 16), got {getattr(out, 'shape', type(out).__name__)}."
    if not torch.equal(out[:, 3:], mask):
        return "The fourth channel is not the mask."
    hole = mask.bool().expand_as(image)
    if not torch.equal(out[:, :3][~hole], image[~hole]):
        return "Known pixels changed."
    if not torch.allclose(out[:, :3][hole], fill.view(1, 3, 1, 1).expand_as(image)[hole]):
        return "The hole does not hold the fill."
    for secret in (random(2, 3, 16, 16, seed=1), torch.tensor(float("nan")), torch.tensor(float("inf"))):
        if not torch.equal(answer(torch.where(hole, secret, image), mask, fill), out):
            return "Another true picture in the hole changes what comes out."
    return True


@exercise("holes-constant", "set the derivative of the expected loss to zero: of squares it gives one kind of average, "
          "of absolute values another")
def _(answer):
    return near(answer, [0.7 * 0.8 + 0.3 * -0.6, 0.8], rel=1e-3, absolute=1e-3)


# Training two networks against each other

@exercise("training-frozen", "the loss has to flow through D to reach G, so neither detach nor no_grad will do: stop "
          "D's weights from collecting gradients, and give them back as they were")
def _(answer):
    problem = function(answer)
    if problem:
        return problem
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        G, D = torch.nn.Linear(2, 3), torch.nn.Sequential(torch.nn.Linear(3, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
    z = random(5, 2)
    expected = torch.autograd.grad(torch.nn.functional.softplus(-D(G(z))).mean(), G.weight)[0]
    answer(G, D, z)
    if G.weight.grad is None or not bool(G.weight.grad.any()):
        return "No gradient reaches G."
    if any(p.grad is not None and bool(p.grad.any()) for p in D.parameters()):
        return "D has collected gradients too: they would leak into its next step."
    if not all(p.requires_grad for p in D.parameters()):
        return "D is still frozen afterwards, so it could never train again."
    return bool(torch.allclose(G.weight.grad, expected, atol=1e-6)) or "G's gradient is not that of the stated loss."


@exercise("training-bce-optimum", "at one point x the loss is -p_data log d - p_g log(1 - d): which d makes its "
          "derivative zero?")
def _(answer):
    p_data, p_g = random(20).abs() + 0.01, random(20, seed=1).abs() + 0.01
    return every(answer, [((0.3, 0.1), 0.75), ((0.2, 0.2), 0.5), ((p_data, p_g), p_data / (p_data + p_g))])


@exercise("training-ema-halflife", "after n steps an old weight counts decay to the power n")
def _(answer):
    return every(answer, [((d,), math.log(0.5) / math.log(d)) for d in (0.5, 0.9, 0.999, 0.9999)])


@exercise("training-saturating", "write both losses with sigmoid(a); the derivative of log sigmoid(a) is sigmoid(-a)")
def _(answer):
    cases = [((a,), [-1 / (1 + math.exp(-a)), -1 / (1 + math.exp(a))]) for a in (-10.0, 0.0, 3.0)]
    return every(answer, cases, absolute=1e-7)


@exercise("training-resume", "ask of each: if it were lost, would the next step's weights come out different?")
def _(answer):
    return same_words(answer, ("network weights", "optimiser moments", "averaged weights", "random state",
                               "step number"))
