"""The commands for photographs: `facelib complete, upscale, edit, align`."""

import sys
from pathlib import Path

from facelib.cli.words import numbers


def complete(photo: Path, /, *, hole: str | None = None, mask: Path | None = None, method: str = "glcic",
             eyes: str | None = None, out: Path | None = None, blend: bool = True, grain: bool = True,
             every: int | None = None, steps: int | None = None):
    """Fill a hole in the face of a photograph, or of every photograph of a folder.

    What appears in the hole is invented by a network: it is not what was there. Of a hole that is larger than the face
    and what is close around it, the rest is filled with pieces of the photograph. No pixel outside the hole changes.

    Args:
        photo: a picture, or a folder of pictures.
        hole: the hole as x,y,width,height in pixels of the photograph; or centre, the middle of a picture that is nothing
            but an aligned face.
        mask: or the hole as a picture of the photograph's size, white where it is; for a folder of photographs also
            a folder of masks of the same names.
        method: the name of published weights (facelib info lists them), or a run folder.
        eyes: x,y,x,y in pixels, where no face is found or the wrong one. Of several faces, the one nearest to the hole is
            completed.
        out: the picture to write, by default PHOTO-completed.png (a folder: PHOTO-completed/).
        blend: hide the seam of the hole (Poisson blending).
        grain: give the hole the grain of the photograph around it.
        every: with a method that searches (dcgan), also save the picture after every so many steps: next to NAME.png a
            folder NAME/ with 0000.png, 0050.png, ...
        steps: with --every, how many steps such a search takes; by default its configuration's.
    """
    from facelib import photo as photos
    from facelib import pretrained

    if steps is not None and every is None:
        raise ValueError("--steps goes with --every: it is the length of the search whose steps are kept")
    options = {"hole": hole if hole in photos.CENTRE else hole and numbers(hole, "--hole", "x,y,width,height"),
               "eyes": eyes and numbers(eyes, "--eyes", "x,y,x,y"), "blend": blend, "grain": grain}
    if (hole is None) == (mask is None):
        raise ValueError("say where the hole is: either --hole x,y,width,height or --mask PICTURE")
    out = _place(photo, out, "completed")
    network = pretrained.load(method)
    if every is not None:
        photos.check_search(network, every, steps)
    if photo.is_dir():
        return _told(*photos.complete_folder(photo, out, network, every, steps, mask, **options), "completed", out)
    photos.complete_file(photo, out, network, every, steps, mask=mask, **options)
    print(out)


def upscale(photo: Path, /, *, method: str = "enhance", eyes: str | None = None, aligned: bool = False,
            back_projection: bool = True, sheet: bool = False, out: Path | None = None):
    """Shrink the face of a photograph, or of every photograph of a folder, to 8x8 pixels, and enlarge it to 32x32.

    The details are invented by a network: the face that comes out identifies nobody.

    Args:
        photo: a picture, or a folder of pictures; one of 8x8 pixels is enlarged as it is.
        method: the name of published weights (facelib info lists them), a run folder, nearest or bicubic.
        eyes: x,y,x,y in pixels, where no face is found or the wrong one.
        aligned: the whole picture, which is square, is the face.
        back_projection: correct the result so that it shrinks to the same 8x8 pixels again.
        sheet: also write a comparison: the 8x8 pixels, bicubic, the result, the photograph's own face.
        out: the picture to write, 32x32 pixels, by default PHOTO-upscaled.png (a folder: PHOTO-upscaled/).
    """
    from facelib import photo as photos
    from facelib import pretrained, resolution
    from facelib.evaluate.upscalers import Function

    options = {"eyes": eyes and numbers(eyes, "--eyes", "x,y,x,y"), "aligned": aligned, "back_projection": back_projection}
    out = _place(photo, out, "upscaled")
    network = Function(resolution.METHODS[method]) if method in resolution.METHODS else pretrained.load(method)
    photos.check_upscale(network)
    name = Path(method).name
    if photo.is_dir():
        done, skipped = photos.upscale_folder(photo, out, network, name, sheet, **options)
        print(photos.INVENTED)
        return _told(done, skipped, "enlarged", out)
    photos.upscale_file(photo, out, network, name, sheet, **options)
    print(f"{out}\n{photos.INVENTED}")


def edit(photo: Path, /, *, attribute: str = "Smiling", amount: float = 1.0, method: str = "predictor", steps: int = 50,
         eyes: str | None = None, aligned: bool = False, details: bool = True, strip: bool = False, out: Path | None = None):
    """Change one thing about the face of a photograph, or of every photograph of a folder.

    The change is invented by a network: it is not what the person looks like.

    Args:
        photo: a picture, or a folder of pictures.
        attribute: what to change: one of CelebA's attributes, such as Smiling, Young or Eyeglasses, or a code of the
            generator, such as c_cont0; a name that is none gets a list of them.
        amount: how much: 1 leads from faces without the attribute to faces with it, -1 the other way; it is added to a
            continuous code, and is the class of a categorical one.
        method: the name of published weights of a method that edits, or a run folder.
        steps: of the search that improves on the predicted latents; 0 takes these as they are.
        eyes: x,y,x,y in pixels, where no face is found or the wrong one.
        aligned: the whole picture, which is square, is the face.
        details: add the change to the photograph, which stays sharp; otherwise show the face as the network makes it.
        strip: also write the face with the amounts -2, -1, 0, 1, 2 side by side.
        out: the picture to write, by default PHOTO-edited.png (a folder: PHOTO-edited/).
    """
    from facelib import photo as photos
    from facelib import pretrained

    options = {"eyes": eyes and numbers(eyes, "--eyes", "x,y,x,y"), "aligned": aligned, "steps": steps, "details": details}
    out = _place(photo, out, "edited")
    network = pretrained.load(method)
    photos.check_edit(network, attribute, steps, strip)
    if photo.is_dir():
        done, skipped = photos.edit_folder(photo, out, network, attribute, amount, strip, **options)
        print(photos.EDITED)
        return _told(done, skipped, "edited", out)
    photos.edit_file(photo, out, network, attribute, amount, strip, **options)
    print(f"{out}\n{photos.EDITED}")


def align(source: Path, target: Path, /, *, size: int = 64, template: str = "celeba", landmarks: Path | None = None):
    """Cut the aligned face out of every picture of a folder.

    Args:
        source: a folder of photographs.
        target: the folder for the faces, PNG.
        size: the faces' side in pixels.
        template: how they are framed: celeba, inner_eyes_and_bottom_lip or outer_eyes_and_nose.
        landmarks: CelebA's landmark file, used instead of a detector.
    """
    from facelib.data.align import align_folder

    written, skipped = align_folder(source, target, size, template, landmarks)
    print(f"{written} faces written to {target}, {len(skipped)} pictures skipped")
    for name, reason in skipped:
        print(f"skipped {name}: {reason}", file=sys.stderr)
    return 0 if written else 1


def _place(photo, out, what):
    """Where the result of a photograph, or of a folder of them, goes: `out`, or beside it under a name that says `what`."""
    if not photo.exists():
        raise FileNotFoundError(f"expected a picture or a folder, found no {photo}")
    if photo.is_dir():
        return out or photo.with_name(f"{photo.name}-{what}")
    out = out or photo.with_name(f"{photo.stem}-{what}.png")
    if out.exists() and out.samefile(photo):
        raise ValueError(f"--out would overwrite the photograph {photo}; choose another name")
    return out


def _told(done, skipped, what, out):
    """Say what became of a folder of photographs -> the exit code."""
    print(f"{done} of {done + len(skipped)} photographs {what}, in {out}")
    for line in skipped:
        print(f"skipped {line}", file=sys.stderr)
    return 0 if done else 1
