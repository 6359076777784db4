"""What words on the command line mean: changes of a configuration, data sets, numbers."""

import dataclasses
import functools
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


def load_data(specs, size, root=None):
    """Data sets by their specs (see `parse_data`), joined. root: of a single spec that names none."""
    from facelib.data import join

    specs = [specs] if isinstance(specs, str) else list(specs)
    if root is not None and (len(specs) != 1 or ":" in specs[0]):
        raise ValueError("--root says where one data set is; with several, or where --data names the folder, write "
                         "NAME:ROOT for each")
    return functools.reduce(join, [parse_data(spec, size, root) for spec in specs])


def parse_data(spec, size, root=None):
    """A data set from NAME[:ROOT][@FRAMING] at `size` pixels -> FaceData, whose name says source and framing.

    "celeba:celeba64@aligned" means: whole aligned CelebA pictures (178x218, or squashed from it), cut to our faces' framing.
    """
    from facelib.data import load_faces
    from facelib.data.celeba import FRAMING

    named, at, framing = spec.rpartition("@") if "@" in spec else (spec, "", "")
    source, _, place = named.partition(":")
    if at and (framing != "aligned" or source not in ("celeba", "folder")):
        raise ValueError(f"the only framing is @aligned, of celeba and folder; got {spec!r}")
    faces = load_faces(source, root=place or root, size=size, box=FRAMING if framing else None)
    # The name goes into run folders and cards, and a licence follows from it: it must tell the source.
    name = faces.name if source in faces.name.lower() else f"{source}:{faces.name}"
    return dataclasses.replace(faces, name=f"{name}@{framing}" if framing else name)


def numbers(text, option, form):
    """Numbers with commas between them, as many as `form` names -> tuple of float."""
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) != len(form.split(",")) or not all(map(math.isfinite, found)):
        raise ValueError(f"{option} must be {form} in pixels of the photograph, got {text!r}")
    return found
