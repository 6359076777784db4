"""The exercise checker: `check.ex("slug", answer)` says at once, offline, whether an answer is right, and hints if not.

An exercise is one function below, under `@exercise(slug, hint)`. It gets the answer and returns True, False, or a
sentence that says what is wrong with it. Neither hints nor sentences give the answer away. What is easier to say by
example is checked by example: an answer that is a function is called with inputs made here.
"""

import difflib
import math

import torch

EXERCISES = {}  # slug -> (checker, hint)


def ex(slug, answer):
    """Check an answer: prints the verdict, with a hint if it is not right yet, and returns True or False.

    slug: the exercise's name, as in the book. answer: what it asks for, a number, words, a tensor or a function; `...`
    and None count as not answered. An error in the reader's own function is reported, not raised. Raises ValueError
    for an unknown slug, with the nearest ones.
    """
    if slug not in EXERCISES:
        near = difflib.get_close_matches(str(slug), EXERCISES, n=3, cutoff=0.4)
        raise ValueError(f"no exercise {slug!r}; " + (f"the nearest are {', '.join(near)}" if near else
                                                      f"there are {', '.join(sorted(EXERCISES))}"))
    checker, hint = EXERCISES[slug]
    parts = answer if isinstance(answer, (tuple, list, set)) else [answer]
    if any(part is None or part is ... for part in parts):
        print(f"{slug}: no answer yet. Put yours in place of the dots.")
        return False
    try:
        verdict = checker(answer)
    except Exception as error:  # whatever a reader's function does, the page should go on
        verdict = f"Trying your answer ended in {type(error).__name__}: {error}."
    if verdict is True:
        print(f"{slug}: right.")
        return True
    print(f"{slug}: not yet. " + (f"{verdict} " if verdict else "") + f"Hint: {hint}")
    return False


def exercise(slug, hint):
    """Register a checker under its slug, with the hint that a wrong answer gets."""
    def register(checker):
        if slug in EXERCISES:
            raise ValueError(f"two exercises are called {slug!r}; choose another slug")
        EXERCISES[slug] = (checker, hint)
        return checker
    return register


# Comparing: each returns True, False, or a sentence for an answer of the wrong kind.

def near(answer, truth, rel=0.01, absolute=1e-6):
    """Is a number, or a list, tuple or tensor of them, the true one, to `rel` of its size?"""
    truth = torch.as_tensor(truth, dtype=torch.float64)
    try:
        answer = float(answer) if isinstance(answer, str) else answer
        value = torch.as_tensor(answer, dtype=torch.float64).detach().cpu()
    except (TypeError, ValueError, RuntimeError):
        wanted = "a number" if truth.ndim == 0 else f"{truth.numel()} numbers"
        return f"Expected {wanted}, got {type(answer).__name__} {answer!r}."
    if truth.ndim == 0 and value.numel() == 1:
        value = value.reshape(())
    if value.shape != truth.shape:
        return f"Expected {_shape(truth)}, got {_shape(value)}."
    return bool(torch.allclose(value, truth, rtol=rel, atol=absolute))


def _shape(value):
    return "a single number" if value.ndim == 0 else f"shape {tuple(value.shape)}"


def same_words(answer, words):
    """Is the answer this set of words, in any order, case and spacing? One string may list them with commas."""
    if isinstance(answer, str):
        answer = answer.split(",")
    if not all(isinstance(word, str) for word in answer):
        return "Expected words, for example {'one', 'another'}."
    flat = lambda word: " ".join(word.lower().replace("_", " ").split())
    return {flat(word) for word in answer} == {flat(word) for word in words}


def function(answer):
    """A sentence if the answer cannot be called, else None."""
    return None if callable(answer) else f"Expected a function, got {type(answer).__name__}; pass its name, without ()."


def every(answer, cases, **tolerance):
    """Does the reader's function give the truth for every (arguments, truth)?"""
    problem = function(answer)
    if problem:
        return problem
    for arguments, truth in cases:
        verdict = near(answer(*arguments), truth, **tolerance)
        if verdict is not True:
            return verdict or f"Wrong for {', '.join(_brief(a) for a in arguments)}."
    return True


def _brief(value):
    return f"an input of shape {tuple(value.shape)}" if torch.is_tensor(value) else repr(value)


def _random(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def _holes(*boxes, size=16):
    from facelib.masks import from_boxes
    return from_boxes(torch.tensor(boxes), size)


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
    for images in (bright, ((_random(7, 3, 5, 9) + 1) * 127).byte()):
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
    image = _random(2, 3, 8, 12)
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
    pred, image = _random(2, 3, 16, 16), _random(2, 3, 16, 16, seed=1)
    mask = _holes([2, 3, 5, 6], [0, 0, 16, 8])
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
    image, mask = _random(2, 3, 16, 16), _holes([2, 3, 5, 6], [4, 0, 8, 8])
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
    for secret in (_random(2, 3, 16, 16, seed=1), torch.tensor(float("nan")), torch.tensor(float("inf"))):
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
    z = _random(5, 2)
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
    p_data, p_g = _random(20).abs() + 0.01, _random(20, seed=1).abs() + 0.01
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
    image, pred = _random(2, 3, 16, 16), _random(2, 3, 16, 16, seed=1)
    mask = _holes([2, 3, 5, 6], [4, 0, 8, 8])
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
        mask = _holes(box)
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
    completed = _random(2, 3, 16, 16).requires_grad_()
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
