"""The exercise checker: `check.ex("slug", answer)` says at once, offline, whether an answer is right, and hints if not.

An exercise is one function of this folder, under `@exercise(slug, hint)`, in the file of its chapter. It gets the answer
and returns True, False, or a sentence that says what is wrong with it. Neither hints nor sentences give the answer away.
What is easier to say by example is checked by example: an answer that is a function is called with inputs made here.
"""

import difflib

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


def parts(answer, *wanted, rel=0.01, absolute=1e-6):
    """Several numbers, each with its name: says which one is wrong, and why where the mistake is a known one.

    wanted: (name, true number, {a likely wrong number: the sentence that it gets}) for each.
    """
    verdict = near(answer, [truth for _, truth, _ in wanted], rel, absolute)
    if verdict is not False:
        return verdict
    for value, (name, truth, slips) in zip(answer, wanted, strict=True):
        if near(value, truth, rel, absolute) is not True:
            known = [said for wrong, said in slips.items() if near(value, wrong, rel, absolute) is True]
            return known[0] if known else f"{name[0].upper()}{name[1:]} is not right."
    return False


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


def every(answer, cases, slips=(), **tolerance):
    """Does the reader's function give the truth for every (arguments, truth)?

    slips: (a likely wrong function, the sentence that an answer which always agrees with it gets) for each.
    """
    problem = function(answer)
    if problem:
        return problem
    got = [answer(*arguments) for arguments, _ in cases]
    verdicts = [near(value, truth, **tolerance) for value, (_, truth) in zip(got, cases, strict=True)]
    if all(verdict is True for verdict in verdicts):
        return True
    for wrong, said in slips:
        if all(near(value, wrong(*arguments), **tolerance) is True for value, (arguments, _) in zip(got, cases, strict=True)):
            return said
    first = next(i for i, verdict in enumerate(verdicts) if verdict is not True)
    return verdicts[first] or f"Wrong for {', '.join(_brief(a) for a in cases[first][0])}."


def tensor_like(out, wanted):
    """A sentence if the reader's function gave anything but a tensor of the shape of `wanted`, else None."""
    if torch.is_tensor(out) and out.shape == wanted.shape:
        return None
    return f"Expected a tensor of shape {tuple(wanted.shape)}, got {tuple(getattr(out, 'shape', ())) or type(out).__name__}."


def _brief(value):
    return f"an input of shape {tuple(value.shape)}" if torch.is_tensor(value) else repr(value)


def random(*shape, seed=0):
    """Uniform numbers in [-1, 1] of this shape, the same for every reader."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def holes(*boxes, size=16):
    """Masks (B, 1, size, size) with boxes x, y, width, height as holes."""
    from facelib.masks import from_boxes
    return from_boxes(torch.tensor(boxes), size)
