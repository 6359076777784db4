"""The exercise checker: every solution passes, every starter fails, and what is printed helps without telling."""

import ast
import inspect
import textwrap

import pytest
import torch

from facelib import check

# slug -> (what a reader starts from, a correct solution); both define `answer`.
CASES = {
    "faces-range": ("answer = (..., ...)", "answer = (-0.6, 128)"),
    "faces-mean": (
        """
        def answer(images):
            return images.mean() / 127.5 - 1
        """, """
        def answer(images):
            return images.mean(axis=(0, 2, 3)) / 127.5 - 1
        """),
    "faces-split-leak": (
        """
        def answer(k, p):
            return p
        """, """
        def answer(k, p):
            return 1 - (1 - p) ** (k - 1)
        """),
    "faces-flip": (
        """
        def answer(image, eyes):
            return image.flip(3), eyes
        """, """
        def answer(image, eyes):
            eyes = eyes.flip(1).clone()
            eyes[..., 0] = image.shape[3] - 1 - eyes[..., 0]
            return image.flip(3), eyes
        """),
    "faces-memory": ("answer = (..., ...)", "answer = (200_000 * 3 * 64 * 64 / 1e9, 200_000 * 3 * 64 * 64 * 4 / 1e9)"),
    "holes-known": (
        """
        def answer(pred, image, mask):
            return (mask * (pred - image).abs()).sum((1, 2, 3)) / mask.sum((1, 2, 3))
        """, """
        def answer(pred, image, mask):
            known = 1 - mask
            return (known * (pred - image).abs()).sum((1, 2, 3)) / (3 * known.sum((1, 2, 3)))
        """),
    "holes-psnr": (
        """
        def answer(fraction):
            return 0.0
        """, """
        import math
        def answer(fraction):
            return 10 * math.log10(1 / fraction)
        """),
    "holes-leak": (
        """
        import torch
        def answer(image, mask, fill):
            filled = image * (1 - mask) + mask * fill.view(1, 3, 1, 1)
            return torch.cat([filled, mask], 1)
        """, """
        import torch
        def answer(image, mask, fill):
            filled = torch.where(mask > 0.5, fill.view(1, 3, 1, 1), image)
            return torch.cat([filled, mask], 1)
        """),
    "holes-constant": ("answer = (..., ...)", "answer = (0.7 * 0.8 + 0.3 * -0.6, 0.8)"),
    "training-frozen": (
        """
        import torch
        def answer(G, D, z):
            loss_G = torch.nn.functional.softplus(-D(G(z))).mean()
            loss_G.backward()
        """, """
        import torch
        def answer(G, D, z):
            D.requires_grad_(False)
            loss_G = torch.nn.functional.softplus(-D(G(z))).mean()
            loss_G.backward()
            D.requires_grad_(True)
        """),
    "training-bce-optimum": (
        """
        def answer(p_data, p_g):
            return 0.5
        """, """
        def answer(p_data, p_g):
            return p_data / (p_data + p_g)
        """),
    "training-ema-halflife": (
        """
        def answer(decay):
            return 1 / (1 - decay)
        """, """
        import math
        def answer(decay):
            return math.log(0.5) / math.log(decay)
        """),
    "training-saturating": (
        """
        def answer(a):
            return 0.0, 0.0
        """, """
        import math
        def answer(a):
            return -1 / (1 + math.exp(-a)), -1 / (1 + math.exp(a))
        """),
    "training-resume": (
        "answer = {...}",
        'answer = {"network weights", "optimiser moments", "averaged weights", "random state", "step number"}'),
    "glcic-receptive-field": (
        """
        def answer(convs):
            field = 1
            for kernel, stride, dilation in convs:
                field += kernel - 1
            return field
        """, """
        def answer(convs):
            field, reach = 1, 1
            for kernel, stride, dilation in convs:
                field += (kernel - 1) * dilation * reach
                reach *= stride
            return field
        """),
    "glcic-composite": (
        """
        def answer(pred, image, mask):
            return pred
        """, """
        import torch
        def answer(pred, image, mask):
            return torch.where(mask > 0.5, pred, image)
        """),
    "glcic-local-box": (
        """
        def answer(mask, crop):
            return 0, 0, crop, crop
        """, """
        def answer(mask, crop):
            rows, cols = mask.nonzero().T
            box = []
            for line, side in ((cols, mask.shape[1]), (rows, mask.shape[0])):
                middle = (line.min() + line.max() + 1) / 2
                box.append(int((middle - crop / 2).clamp(0, side - crop)))
            return *box, crop, crop
        """),
    "glcic-local-gradient": (
        """
        import torch
        def answer(completed, boxes):
            crops = [c.detach()[:, y:y + h, x:x + w] for c, (x, y, w, h) in zip(completed, boxes.tolist())]
            return torch.stack(crops)
        """, """
        import torch
        def answer(completed, boxes):
            crops = [c[:, y:y + h, x:x + w] for c, (x, y, w, h) in zip(completed, boxes.tolist())]
            return torch.stack(crops)
        """),
    "glcic-dilation": ("answer = (..., ...)", "answer = (256 * 256 * 3 * 3 + 256, 33)"),
}


def answer_of(code):
    names = {}
    exec(textwrap.dedent(code), names)
    return names["answer"]


def test_every_exercise_has_a_case():
    assert CASES.keys() == check.EXERCISES.keys()
    for chapter in ("faces", "holes", "training", "glcic"):
        assert sum(slug.startswith(chapter + "-") for slug in CASES) >= 3, chapter


@pytest.mark.parametrize("slug", CASES)
def test_solution_passes_and_starter_fails(slug, capsys):
    starter, solution = CASES[slug]
    assert check.ex(slug, answer_of(solution)) is True
    assert capsys.readouterr().out == f"{slug}: right.\n"
    assert check.ex(slug, answer_of(starter)) is False
    said = capsys.readouterr().out
    if "..." in starter:
        assert said.startswith(f"{slug}: no answer yet.")
    else:
        assert said.startswith(f"{slug}: not yet.") and check.EXERCISES[slug][1] in said


@pytest.mark.parametrize("slug", CASES)
def test_no_strange_answer_passes_or_raises(slug):
    for answer in (12345.6, "no", torch.zeros(2), {"a"}, lambda *a: None, lambda: 1, print, [],
                   torch.ones(3).numpy(), object()):
        assert check.ex(slug, answer) is False


@pytest.mark.parametrize("slug", CASES)
def test_hints_do_not_hold_the_solution(slug):
    solution = CASES[slug][1]
    expression = inspect.cleandoc(solution).splitlines()[-1].split("return ")[-1].split("answer = ")[-1]
    hint = check.EXERCISES[slug][1]
    assert expression not in hint and len(hint) > 20
    ast.parse(textwrap.dedent(solution))


def test_unknown_slug_names_the_nearest():
    with pytest.raises(ValueError, match=r"no exercise 'glcic-composit'; the nearest are glcic-composite"):
        check.ex("glcic-composit", 1)
    with pytest.raises(ValueError, match="no exercise '42'; there are faces-flip, "):
        check.ex("42", 1)


@pytest.mark.parametrize("answer", [..., None, (1.0, ...)])
def test_dots_are_no_answer(answer, capsys):
    assert check.ex("faces-range", answer) is False
    assert "no answer yet" in capsys.readouterr().out


def test_an_error_in_the_answer_is_reported(capsys):
    def broken(pred, image, mask):
        raise KeyError("mask")
    assert check.ex("glcic-composite", broken) is False
    assert "ended in KeyError: 'mask'" in capsys.readouterr().out


def test_numbers_are_compared_with_tolerance_and_in_any_container():
    assert check.near(0.333, 1 / 3) is True and check.near("0.333", 1 / 3) is True
    assert check.near(0.3, 1 / 3) is False and check.near(float("nan"), 1.0) is False
    assert check.near(torch.tensor([2.0]), 2) is True
    assert check.near((1, 2.0), [1, 2]) is True and check.near([torch.tensor(1.0), 2], [1, 2]) is True
    assert "Expected 2 numbers" in check.near("abc", [1, 2])
    assert check.near([1, 2, 3], [1, 2]) == "Expected shape (2,), got shape (3,)."


def test_words_are_compared_without_case_order_and_spacing():
    assert check.same_words(" B a, C", {"c", "b_a"}) is True
    assert check.same_words(["c"], {"c", "b"}) is False


def test_a_slug_is_registered_once():
    with pytest.raises(ValueError, match="two exercises are called 'faces-range'"):
        check.exercise("faces-range", "a hint")(lambda answer: True)


def test_common_mistakes_are_told_apart(capsys):
    def detached(G, D, z):
        torch.nn.functional.softplus(-D(G(z).detach())).mean().backward()

    def frozen_for_ever(G, D, z):
        D.requires_grad_(False)
        torch.nn.functional.softplus(-D(G(z))).mean().backward()

    for wrong, said in ((detached, "No gradient reaches G"), (frozen_for_ever, "still frozen afterwards")):
        assert check.ex("training-frozen", wrong) is False
        assert said in capsys.readouterr().out
    assert check.ex("glcic-composite", lambda pred, image, mask: pred * mask) is False
    assert "Known pixels changed" in capsys.readouterr().out


def test_receptive_field_agrees_with_gradients():
    convs = [(5, 1, 1), (3, 2, 1), (3, 1, 2), (3, 2, 1), (3, 1, 4)]
    net = torch.nn.Sequential(*(torch.nn.Conv1d(1, 1, k, s, d * (k // 2), d, bias=False) for k, s, d in convs))
    for layer in net:
        torch.nn.init.ones_(layer.weight)
    line = torch.zeros(1, 1, 257, requires_grad=True)
    out = net(line)
    grad, = torch.autograd.grad(out[0, 0, out.shape[2] // 2], line)
    touched = grad[0, 0].nonzero()
    assert int(touched.max() - touched.min()) + 1 == check.receptive_field(convs)
