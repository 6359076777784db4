"""The exercise checker: every solution passes, every starter fails, and what is printed helps without telling."""

import ast
import math

import pytest
import torch
import torch.nn.functional as F
from exercises import KINDS, ROOT, chapters, code, exercises, mistakes, solutions

from facelib import check
from facelib.check import checker
from facelib.check.glcic import receptive_field

EXERCISES = {exercise.slug: exercise for chapter in chapters() for exercise in exercises(chapter)}
SOLUTIONS = {slug: text for chapter in chapters() for slug, text in solutions(chapter).items()}


def answer_of(slug):
    """The solution's answer, and the names among which it was defined."""
    names = {"torch": torch, "F": F, "math": math}
    exec(code(SOLUTIONS[slug]), names)
    return names["answer"], names


def test_every_exercise_has_its_cell_its_checker_and_its_solution():
    assert EXERCISES.keys() == check.EXERCISES.keys() == SOLUTIONS.keys()
    assert {path.stem for path in (ROOT / "book" / "solutions").iterdir()} == set(chapters())


@pytest.mark.parametrize("chapter", chapters())
def test_chapter_asks_to_predict_modify_and_derive(chapter):
    here = exercises(chapter)
    assert {exercise.kind for exercise in here} == set(KINDS) and all(e.slug.startswith(f"{chapter}-") for e in here)
    assert list(solutions(chapter)) == [exercise.slug for exercise in here], "solutions come in the order of the exercises"
    assert all(e.minutes in range(5, 31, 5) for e in here) and 30 <= sum(e.minutes for e in here) <= 120


@pytest.mark.parametrize("slug", EXERCISES)
def test_starter_fails_with_a_sentence_of_its_own(slug, capsys):
    # A reader runs the cell as it stands, below the imports of the notebook.
    exercise = EXERCISES[slug]
    exec(exercise.starter, {"torch": torch, "F": F, "math": math, "check": check})
    said = capsys.readouterr().out
    if "..." in exercise.starter:
        assert said == f"{slug}: no answer yet. Put yours in place of the dots.\n"
    else:
        assert said.startswith(f"{slug}: not yet. ") and check.EXERCISES[slug][1] in said
        assert not said.startswith(f"{slug}: not yet. Hint:"), "nothing is said about the starter's own mistake"


@pytest.mark.parametrize("slug", SOLUTIONS)
def test_solution_passes(slug, capsys):
    answer, _ = answer_of(slug)
    assert check.ex(slug, answer) is True
    assert capsys.readouterr().out == f"{slug}: right.\n"


@pytest.mark.parametrize("slug", SOLUTIONS)
def test_usual_mistakes_fail_with_sentences_of_their_own(slug, capsys):
    _, names = answer_of(slug)
    wrong = mistakes(SOLUTIONS[slug])
    assert wrong
    for expression in wrong:
        assert check.ex(slug, eval(expression, names)) is False, expression
        said = capsys.readouterr().out
        assert said.startswith(f"{slug}: not yet. ") and not said.startswith(f"{slug}: not yet. Hint:"), (expression, said)
        assert " ended in " not in said, (expression, said)


@pytest.mark.parametrize("slug", SOLUTIONS)
def test_solution_is_explained_and_marked(slug):
    text = SOLUTIONS[slug]
    assert "\nWrong answers:\n" in text and "\n**Marks.** " in text
    explained = text.split("\nWrong answers:")[0].split()
    assert 40 <= len(explained) <= 200


@pytest.mark.parametrize("slug", SOLUTIONS)
def test_no_strange_answer_passes_or_raises(slug):
    for answer in (12345.6, "no", torch.zeros(2), {"a"}, lambda *a: None, lambda: 1, print, [],
                   torch.ones(3).numpy(), object()):
        assert check.ex(slug, answer) is False


@pytest.mark.parametrize("slug", SOLUTIONS)
def test_hints_do_not_hold_the_solution(slug):
    last = ast.parse(code(SOLUTIONS[slug])).body[-1]
    last = last.body[-1] if isinstance(last, ast.FunctionDef) else last
    hint = check.EXERCISES[slug][1]
    assert not hasattr(last, "value") or ast.unparse(last.value) not in hint
    assert len(hint) > 20


def test_unknown_slug_names_the_nearest():
    with pytest.raises(ValueError, match=r"no exercise 'glcic-locl-box'; the nearest are glcic-local-box"):
        check.ex("glcic-locl-box", 1)
    with pytest.raises(ValueError, match="no exercise '42'; there are .*faces-flip, "):
        check.ex("42", 1)


@pytest.mark.parametrize("answer", [..., None, (1.0, ...)])
def test_dots_are_no_answer(answer, capsys):
    assert check.ex("faces-range", answer) is False
    assert "no answer yet" in capsys.readouterr().out


def test_an_error_in_the_answer_is_reported(capsys):
    def broken(pred, image, mask):
        raise KeyError("mask")
    assert check.ex("holes-known", broken) is False
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


def test_parts_say_which_number_is_wrong():
    wanted = ("the side", 2.0, {}), ("the area", 4.0, {8.0: "That is the volume."})
    assert checker.parts((2, 4), *wanted) is True
    assert checker.parts((3, 4), *wanted) == "The side is not right."
    assert checker.parts([2, 8], *wanted) == "That is the volume." and checker.parts((2, 5), *wanted) == "The area is not right."
    assert checker.parts((2, 4, 5), *wanted) == "Expected shape (2,), got shape (3,)."


def test_every_knows_a_wrong_function_again():
    cases = [((x,), x * x) for x in (1.0, 2.0, 3.0)]
    slips = ((lambda x: 2 * x, "That is twice x."),)
    assert checker.every(lambda x: x * x, cases, slips) is True
    assert checker.every(lambda x: 2 * x, cases, slips) == "That is twice x."
    assert checker.every(lambda x: x, cases, slips) == "Wrong for 2.0."
    assert checker.every(3, cases, slips) == "Expected a function, got int; pass its name, without ()."


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
