"""The commands that measure methods and draw samples: `facelib evaluate, generate`."""

from pathlib import Path

from facelib.data.specs import load_data


def evaluate(*, methods: tuple[str, ...] = ("glcic_64",), data: tuple[str, ...] = ("synthetic",), root: str | None = None,
             size: int | None = None, holes: tuple[str, ...] = ("centre",), n: int | None = None, seed: int = 0,
             out: Path | None = None, samples: tuple[str, ...] = (), upscale: tuple[str, ...] = (),
             recover: str | None = None, edits: str | None = None, people: tuple[str, ...] = (),
             photographs: Path | None = None, sheets: Path | None = None):
    """Measure methods on held-out faces: one table.

    Args:
        methods: published weights (facelib info lists them), classical methods, mean_face, any of them with +poisson
            (blended), or all. The first is the one that the others are compared with.
        data: synthetic, celeba, folder or digits; for completion also several, as in: celeba:celeba160 celeba:lfw160.
        root: the folder of the data, or its name in FACELIB_DATA.
        size: side of the faces in pixels, by default what the first method was trained for.
        holes: kinds of holes: centre, random (a rectangle), glcic, half, pattern, pixels, free (strokes), border, face_part
            (a part of the face, drawn), both_eyes, left_eye, right_eye, nose, mouth, mixed (of every kind).
        n: how many test faces; by default all under the centre hole, 128 under the others.
        seed: of the holes.
        out: a .json file for the report; the table goes beside it as .md. Rows that are there and still true are kept.
        samples: instead: weights that draw faces of nobody (dcgan, infogan, ...), whose samples are compared with real faces.
        upscale: instead: what enlarges faces from 8x8 to 32x32 pixels: published weights (enhance, ...), nearest, bicubic,
            any of them with +back_projection, or all.
        recover: instead: a predictor's weights: how well the latents of a face are found, by every route.
        edits: instead: a predictor's weights: what an edit changes, and what it should have left alone.
        photographs: instead: a folder of photographs, completed as facelib complete does, under holes over parts of their
            faces (both_eyes, left_eye, right_eye, nose, mouth, half; all of them unless --holes names some).
        sheets: a folder for pictures of what was completed, to be looked at.
        people: instead: methods that complete or enlarge: for whom they err, and which attributes they change.
    """
    from facelib import evaluate as benchmark
    from facelib import generation

    listed = lambda words: [part for word in words for part in word.split(",") if part]
    reports = {"--samples": samples, "--upscale": upscale, "--recover": recover, "--edits": edits, "--people": people,
               "--photographs": photographs}
    asked = [option for option, value in reports.items() if value]
    data = listed(data)
    if asked and len(data) > 1:
        raise ValueError(f"{asked[0]} measures on one data set, got --data {' '.join(data)}")
    data = data if len(data) > 1 else data[0]
    if len(asked) > 1:
        raise ValueError(f"{' and '.join(asked)} are separate reports; ask for one at a time")
    if photographs:
        from facelib.evaluate import photographs as by_photograph

        chosen = listed(holes)
        by_photograph.main(listed(methods), photographs, () if chosen == ["centre"] else chosen, n, out, sheets)
    elif samples:
        generation.main_quality(samples, data, root, size, seed, out)
    elif upscale:
        from facelib.evaluate import upscaling

        upscaling.main(listed(upscale), data, root, n, seed, out)
    elif recover:
        from facelib.evaluate import recovery

        recovery.main(recover, data, root, n, seed, out)
    elif edits:
        from facelib.evaluate import editing

        editing.main(edits, data, root, n, seed, out)
    elif people:
        from facelib.evaluate import people as by_people

        by_people.main(listed(people), data, root, n, seed, out)
    else:
        benchmark.main(listed(methods), data, root, size, listed(holes), n, seed, out, sheets)


def generate(name: str, /, *, n: int = 16, seed: int = 0, spread: float = 1.0, out: Path = Path("generated"),
             screen: tuple[str, ...] = (), drop: tuple[int, ...] = ()):
    """Draw faces of nobody.

    Args:
        name: published weights of a method that draws faces (dcgan, vae, infogan, began), or a run folder.
        n: how many.
        seed: of the faces.
        spread: below 1 for more typical and less varied faces.
        out: a folder for PNG files; or a .jpg or .png file: one sheet, with its card beside it.
        screen: the faces that it was trained on, as --data of train: near-copies of them, and what is no face, are left out.
        drop: numbers of samples that you looked at and do not want.
    """
    from facelib import generation, pretrained

    method = pretrained.load(name)
    faces = load_data(screen, method.cfg.size) if screen else None
    print(generation.main(name, method, n, seed, spread, out, faces, drop, screen))
