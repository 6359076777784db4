"""The exercise checker: every solution passes, every starter fails, and what is printed helps without telling."""

import ast
import inspect
import runpy
import textwrap
from pathlib import Path

import pytest
import torch

from facelib import check
from facelib.check import checker
from facelib.check.glcic import receptive_field

# slug -> (what a reader starts from, a correct solution); both define `answer`.
FOLDER = Path(__file__).parent / "exercises"
CASES = {slug: case for path in sorted(FOLDER.glob("*.py")) for slug, case in runpy.run_path(str(path))["CASES"].items()}


def answer_of(code):
    names = {}
    exec(textwrap.dedent(code), names)
    return names["answer"]


def test_every_exercise_has_a_case():
    assert CASES.keys() == check.EXERCISES.keys()
    for chapter in {slug.split("-")[0] for slug in CASES}:
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
    with pytest.raises(ValueError, match="no exercise '42'; there are .*faces-flip, "):
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
    assert checker.near(0.333, 1 / 3) is True and checker.near("0.333", 1 / 3) is True
    assert checker.near(0.3, 1 / 3) is False and checker.near(float("nan"), 1.0) is False
    assert checker.near(torch.tensor([2.0]), 2) is True
    assert checker.near((1, 2.0), [1, 2]) is True and checker.near([torch.tensor(1.0), 2], [1, 2]) is True
    assert "Expected 2 numbers" in checker.near("abc", [1, 2])
    assert checker.near([1, 2, 3], [1, 2]) == "Expected shape (2,), got shape (3,)."


def test_words_are_compared_without_case_order_and_spacing():
    assert checker.same_words(" B a, C", {"c", "b_a"}) is True
    assert checker.same_words(["c"], {"c", "b"}) is False


def test_a_slug_is_registered_once():
    with pytest.raises(ValueError, match="two exercises are called 'faces-range'"):
        checker.exercise("faces-range", "a hint")(lambda answer: True)


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
    assert int(touched.max() - touched.min()) + 1 == receptive_field(convs)
