"""What words on the command line mean: changes of a configuration, data sets, numbers."""

import dataclasses
import math


def configure(cfg, changes):
    """A frozen config dataclass with changes "field=value", each read as the type that the field has."""
    types_of = {field.name: type(getattr(cfg, field.name)) for field in dataclasses.fields(cfg)}
    found = {}
    for change in changes:
        name, given, text = change.partition("=")
        if not given or name not in types_of:
            raise ValueError(f"--set takes FIELD=VALUE with a field out of {', '.join(types_of)}; got {change!r}")
        found[name] = _typed(text, types_of[name], getattr(cfg, name), name)
    return dataclasses.replace(cfg, **found)


def _typed(text, kind, example, name):
    wanted = {bool: "True or False", int: "a whole number", float: "a number", tuple: "values with commas between them"}
    try:
        if kind is bool:
            return {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}[text.lower()]
        if kind is tuple:
            inner = type(example[0]) if example else str
            return tuple(inner(part) for part in text.strip("()[]").split(",") if part.strip())
        return kind(text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"{name} must be {wanted[kind]}, as {example!r} is now; got {text!r}") from error


def numbers(text, option, form):
    """Numbers with commas between them, as many as `form` names -> tuple of float."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != len(form.split(",")) or not all(map(math.isfinite, found)):
        raise ValueError(f"{option} must be {form} in pixels of the photograph, got {text!r}")
    return found
