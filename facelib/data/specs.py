"""Data sets as words: what `--data` takes, and what a report's command repeats."""

import dataclasses
import functools


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
