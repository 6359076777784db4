"""A photograph in, an aligned square crop of its face out, and the way back into the photograph.

The crop is a similarity transform (turn, scale, shift) that brings the eyes, or named landmarks, to the places that a
template gives them. Coordinates are pixels of the photograph, x to the right and y down, (0, 0) the middle of its
first pixel.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from facelib.data import pack
from facelib.data.faces import to_float, to_uint8
from facelib.data.images import DecodeError, cut, decode
from facelib.extras import need

# Where a template puts things, as fractions of the side. "celeba" is the framing of our training faces: their pupils,
# measured. The other two are OpenFace's (Amos et al. 2016): points of the mean dlib 68-point face, scaled to fill the
# unit square, each eye being the mean of its six points; where all 68 landmarks are given, their three named points
# are fitted by least squares.
TEMPLATES = {
    "celeba": {"eyes": ((0.38, 0.43), (0.615, 0.43))},
    "inner_eyes_and_bottom_lip": {
        "eyes": ((0.27737, 0.16728), (0.70615, 0.15900)),
        "landmarks": {39: (0.36378, 0.17795), 42: (0.61896, 0.17278), 57: (0.50020, 0.75058)}},
    "outer_eyes_and_nose": {
        "eyes": ((0.27737, 0.16728), (0.70615, 0.15900)),
        "landmarks": {36: (0.19416, 0.16927), 45: (0.78886, 0.15817), 33: (0.49495, 0.51444)}},
}
# Where eyes lie in a box of the cascades, measured on faces whose eyes are known.
EYES_IN_BOX = ((0.30, 0.37), (0.69, 0.37))
BY_HAND = 'give the eyes by hand: eyes=(x, y, x, y) in pixels, or on the command line --eyes "x,y,x,y"'


class NoFaceError(ValueError):
    """No face was found in a picture, and nothing was said about where it is."""


@dataclass(frozen=True)
class Aligned:
    """An aligned face and its photograph.

    crop: PIL RGB, size x size. photo: PIL RGB. matrix: float64 (2, 3), from pixels of the photograph to pixels of the
    crop. eyes: (x, y, x, y) in the photograph, the one on the left first, or None where landmarks were given.
    found: "eyes given", "landmarks given", "eyes detected", or "face only" (the eyes were placed where they usually
    lie in a face's box). faces: boxes (x, y, width, height) of all faces seen, the one used first.
    """

    crop: Image.Image
    photo: Image.Image = field(repr=False)
    matrix: np.ndarray
    found: str
    eyes: tuple | None = None
    faces: tuple = ()

    def tensor(self):
        """The crop as float (1, 3, size, size) in [-1, 1]."""
        return to_float(np.asarray(self.crop).transpose(2, 0, 1).copy())[None]

    def hole(self, mask):
        """A mask over the photograph -> float tensor (1, 1, size, size) over the crop, 1 = hole.

        mask: (H, W), nonzero or True = hole. A crop pixel that the hole touches is hole, so that nothing of what is
        to be replaced is left. Raises ValueError if the mask has another size, is empty, or reaches out of the crop.
        """
        import torch

        mask = self._photo_mask(mask)
        if not mask.any():
            raise ValueError("the mask marks no hole in the photograph; paint it white on black")
        rows, columns = np.nonzero(mask)
        x, y = self.matrix @ np.stack([columns, rows, np.ones_like(rows)])
        side = self.crop.width
        outside = ((x < -0.5) | (y < -0.5) | (x > side - 0.5) | (y > side - 0.5)).mean()
        if outside > 0.001:
            corners = self._corners()
            low, high = corners.min(0).clip(0), np.minimum(corners.max(0), np.array(self.photo.size) - 1)
            raise ValueError(f"{outside:.1%} of the hole lies outside the face's crop, all that can be completed "
                             f"(x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f} in the photograph); "
                             "make the hole smaller, or check the eyes")
        cover = _warp(mask.astype(np.float32), self.matrix, side, border=0)
        return torch.from_numpy((cover > 0.02).astype(np.float32))[None, None]

    def paste_back(self, crop, mask=None):
        """A completed crop -> the photograph, PIL RGB at its own resolution, with the crop's face in it.

        crop: PIL, uint8 (size, size, 3), or float tensor (3, size, size) or (1, 3, size, size) in [-1, 1]. mask: what
        to replace, 1 = hole, over the photograph (H, W) or over the crop (size, size), also (1, 1, size, size);
        without it, the whole crop. Every other pixel of the photograph stays as it is, bit for bit.
        """
        cv2 = need("cv2")
        if hasattr(crop, "detach"):
            crop = to_uint8(crop).reshape(3, *crop.shape[-2:]).permute(1, 2, 0).cpu().numpy()
        crop = np.ascontiguousarray(np.asarray(crop))
        side = self.crop.width
        if crop.shape != (side, side, 3) or crop.dtype != np.uint8:
            raise ValueError(f"the crop must be {side}x{side} pixels in RGB, as it came, got {crop.dtype} {crop.shape}")
        photo = np.array(self.photo)
        height, width = photo.shape[:2]
        scale = np.sqrt(np.abs(np.linalg.det(self.matrix[:, :2])))
        if scale > 1.5:  # the face is smaller than the crop: going back would alias
            crop = cv2.GaussianBlur(crop, (0, 0), 0.4 * scale)
        back = cv2.WARP_INVERSE_MAP
        face = cv2.warpAffine(crop, self.matrix, (width, height), flags=cv2.INTER_CUBIC | back,
                              borderMode=cv2.BORDER_REPLICATE)
        full = np.ones((side, side), np.float32) if mask is None else np.asarray(
            mask.detach().cpu() if hasattr(mask, "detach") else mask, np.float32)
        full = full.reshape(full.shape[-2:]) if full.size == full.shape[-1] * full.shape[-2] else full
        inside = cv2.warpAffine(np.ones((side, side), np.uint8), self.matrix, (width, height),
                                flags=cv2.INTER_NEAREST | back, borderMode=cv2.BORDER_CONSTANT) > 0
        if full.shape == (height, width):
            where = (full > 0.5) & inside
        elif full.shape == (side, side):
            where = (cv2.warpAffine(full, self.matrix, (width, height), flags=cv2.INTER_LINEAR | back,
                                    borderMode=cv2.BORDER_REPLICATE) > 0.5) & inside
        else:
            raise ValueError(f"the mask must be ({height}, {width}) over the photograph or ({side}, {side}) over the "
                             f"crop, got {full.shape}")
        photo[where] = face[where]
        return Image.fromarray(photo)

    def _photo_mask(self, mask):
        mask = np.asarray(mask) > 0.5
        height, width = self.photo.height, self.photo.width
        if mask.shape != (height, width):
            raise ValueError(f"the mask must be ({height}, {width}), the size of the photograph, got {mask.shape}")
        return mask

    def _corners(self):
        side = self.crop.width
        corners = np.array([[-0.5, -0.5], [side - 0.5, -0.5], [side - 0.5, side - 0.5], [-0.5, side - 0.5]])
        return (corners - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def align(picture, size=64, eyes=None, box=None, landmarks=None, template="celeba"):
    """Cut an aligned square of a face out of a photograph.

    picture: a path, PIL image or uint8 array (H, W, 3). size: the crop's side. template: a name of TEMPLATES. What is
    known of the face, at most one of: eyes (x, y, x, y) in pixels; box (x, y, width, height) of the face, as a
    detector gives it, in which the eyes are looked for; landmarks, CelebA's five points or dlib's 68, as (n, 2) or
    flat. With none, OpenCV's bundled cascades (Viola and Jones 2001) find the largest face and its eyes.

    Where the crop reaches beyond the photograph, its edge pixels are repeated, as in CelebA. Returns Aligned. Raises
    DecodeError for a bad file, NoFaceError when no face is found, ValueError for arguments that do not fit.
    """
    if template not in TEMPLATES:
        raise ValueError(f"template must be one of {', '.join(TEMPLATES)}, got {template!r}")
    if not isinstance(size, (int, np.integer)) or not 8 <= size <= 4096:
        raise ValueError(f"size must be the side of the crop, 8 to 4096 pixels, got {size!r}")
    if sum(known is not None for known in (eyes, box, landmarks)) > 1:
        raise ValueError("give only one of eyes, box and landmarks")
    name = os.fspath(picture) if isinstance(picture, (str, os.PathLike)) else "the picture"
    photo = _photo(picture)
    faces = ()
    if landmarks is not None:
        points, found = _numbers(landmarks, "landmarks"), "landmarks given"
        if len(points) not in (10, 136):
            raise ValueError(f"landmarks must be 5 or 68 points (x, y), got {len(points)} numbers")
        points = points.reshape(-1, 2)
        groups = (points[:1], points[1:2]) if len(points) == 5 else (points[36:42], points[42:48])
        eyes = np.concatenate([group.mean(0) for group in groups])
    elif eyes is not None:
        eyes, points, found = _numbers(eyes, "eyes"), (), "eyes given"
        if len(eyes) != 4:
            raise ValueError(f"eyes must be x, y, x, y in pixels, got {len(eyes)} numbers")
    else:
        if box is not None:
            box = _numbers(box, "box")
            if len(box) != 4 or box[2] <= 0 or box[3] <= 0:
                raise ValueError(f"box must be x, y, width, height in pixels, got {box.tolist()}")
            faces = (tuple(box.tolist()),)
        else:
            faces = tuple(find_faces(photo))
        if not faces:
            raise NoFaceError(f"no face was found in {name} ({photo.width}x{photo.height} pixels); a face turned away, "
                              f"tilted, partly covered or very small is often missed: {BY_HAND}")
        eyes, points = _find_eyes(photo, faces[0]), ()
        found = "face only" if eyes is None else "eyes detected"
        if eyes is None:
            x, y, w, h = faces[0]
            eyes = np.array([(x + fx * w, y + fy * h) for fx, fy in EYES_IN_BOX]).ravel()
    left, right = sorted(eyes.reshape(2, 2).tolist())  # whichever was said first
    if np.hypot(right[0] - left[0], right[1] - left[1]) < 2:
        raise ValueError(f"the eyes must be at least 2 pixels apart, got {left} and {right}")
    named = TEMPLATES[template].get("landmarks")
    if len(points) == 68 and named:
        source, target = points[list(named)], np.array(list(named.values()))
    else:
        source, target = np.array([left, right]), np.array(TEMPLATES[template]["eyes"])
    matrix = similarity(source, target * size - 0.5)
    crop = Image.fromarray(_warp(np.asarray(photo), matrix, size))
    return Aligned(crop, photo, matrix, found, tuple(float(v) for v in (*left, *right)), faces)


def similarity(source, target):
    """The similarity transform that brings points nearest to others, least squares, without mirroring.

    source, target: (n, 2), n >= 2. Returns float64 (2, 3). Umeyama (1991), in the closed form for the plane.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    a, b = source - source.mean(0), target - target.mean(0)
    # As complex numbers a turn with a scale is one factor, and its least-squares value a quotient.
    turn = (a * b).sum() + 1j * (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()
    turn = turn / (a * a).sum()
    linear = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])
    return np.column_stack([linear, target.mean(0) - linear @ source.mean(0)])


def find_faces(picture):
    """Upright frontal faces of a photograph, the largest first: list of boxes (x, y, width, height) in its pixels.

    Raises ImportError without OpenCV, or with OpenCV 5, which has no cascades.
    """
    grey, scale = _grey(_photo(picture), 1024)
    least = max(24, min(grey.shape) // 16)
    for name in ("haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml"):
        faces = _cascade(name).detectMultiScale(grey, 1.1, 4, minSize=(least, least))
        if len(faces):
            return sorted((tuple(float(v / scale) for v in face) for face in faces), key=lambda face: -face[2])
    return []


def align_folder(source, target, size=64, template="celeba", landmarks=None):
    """Align every picture of a folder and its subfolders into another, as PNG.

    landmarks: CelebA's landmark file (list_landmarks_celeba.txt or list_landmarks_align_celeba.txt), used instead of
    the detector. A picture that cannot be read, or in which no face is found, is skipped. Returns (number written,
    list of (name, reason) of those skipped). Raises FileNotFoundError if source holds no picture, ValueError if
    target lies in it.
    """
    from tqdm import tqdm

    source, target = Path(source), Path(target)
    if not source.is_dir():
        raise FileNotFoundError(f"expected a folder of pictures, got {source}, which is no folder")
    if target.resolve().is_relative_to(source.resolve()):
        raise ValueError(f"the aligned pictures must go to another folder than {source}, got {target}")
    names = pack.scan(source, deep=True).names
    if not names:
        raise pack.none_found(source)
    target.mkdir(parents=True, exist_ok=True)  # also where no face is found: an empty folder says more than none
    points = None if landmarks is None else read_landmarks(landmarks)
    written, skipped, taken = 0, [], set()
    for name in tqdm(names, desc=f"aligning {source.name}", unit="img", leave=False):
        known = None
        if points is not None:
            known = points.get(Path(name).name)
            if known is None:
                skipped.append((name, f"has no row in {landmarks}"))
                continue
        try:
            face = align(source / name, size, landmarks=known, template=template)
        except NoFaceError:
            skipped.append((name, f"no face was found; {BY_HAND}"))
            continue
        except DecodeError as error:
            skipped.append((name, error.reason))
            continue
        except (ValueError, OSError) as error:
            skipped.append((name, str(error)))
            continue
        out = target / Path(name).with_suffix(".png")
        if out in taken:  # a.jpg and a.webp side by side
            out = target / f"{name}.png"
        taken.add(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        face.crop.save(out)
        written += 1
    return written, skipped


def read_landmarks(path):
    """CelebA's landmark file -> name -> five points (x, y): eyes, nose, corners of the mouth. float64 (5, 2)."""
    points = {}
    with open(path, encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            fields = line.replace(",", " ").split()
            if len(fields) != 11 or not fields[1].lstrip("-").isdigit():
                if number > 2:
                    raise ValueError(f"{path}, line {number}: expected a picture's name and 10 numbers, got "
                                     f"{line.strip()[:80]!r}; download the file again")
                continue  # the count and the names of the columns
            points[fields[0]] = np.array(fields[1:], np.float64).reshape(5, 2)
    return points


def _photo(picture):
    if isinstance(picture, Image.Image):
        return picture if picture.mode == "RGB" else picture.convert("RGB")
    if isinstance(picture, np.ndarray):
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise ValueError(f"a photograph as an array must be uint8 (H, W, 3), got {picture.dtype} {picture.shape}")
        return Image.fromarray(picture)
    return decode(picture)


def _numbers(values, what):
    try:
        values = np.asarray(values, np.float64).ravel()
    except (TypeError, ValueError):
        raise ValueError(f"{what} must be numbers in pixels, got {values!r}") from None
    if not np.isfinite(values).all():
        raise ValueError(f"{what} must be finite numbers in pixels, got {values.tolist()}")
    return values


def _cascade(name):
    cv2 = need("cv2")
    if not hasattr(cv2, "CascadeClassifier"):
        raise ImportError(f'OpenCV {cv2.__version__} has no face detector; install "opencv-python-headless<5", or '
                          f"{BY_HAND}")
    return cv2.CascadeClassifier(os.path.join(cv2.data.haarcascades, name))


def _grey(photo, longest):
    """Grey uint8 array no longer than `longest`, and its scale."""
    scale = min(1, longest / max(photo.size))
    if scale < 1:
        photo = photo.resize((max(1, round(photo.width * scale)), max(1, round(photo.height * scale))))
    return np.asarray(photo.convert("L")), scale


def _find_eyes(photo, face):
    """(x, y, x, y) of the eyes in a face's box, or None unless both are found and lie as eyes do."""
    x, y, w, h = face
    area = photo.crop((round(x), round(y), round(x + w), round(y + h)))
    grey = np.asarray(area.convert("L").resize((240, 240), Image.Resampling.BICUBIC))
    eyes = []
    for fx, fy in EYES_IN_BOX:
        left, top = round((fx - 0.23) * 240), round((fy - 0.22) * 240)
        window = np.ascontiguousarray(grey[top:top + 106, left:left + 110])
        for name in ("haarcascade_eye_tree_eyeglasses.xml", "haarcascade_eye.xml"):
            found = _cascade(name).detectMultiScale(window, 1.03, 4, minSize=(30, 30), maxSize=(96, 96))
            if len(found):
                middles = np.array([(left + a + c / 2, top + b + d / 2) for a, b, c, d in found]) / 240
                eyes.append(middles[np.square(middles - (fx, fy)).sum(1).argmin()])
                break
    if len(eyes) < 2 or abs(eyes[1][1] - eyes[0][1]) > 0.5 * (eyes[1][0] - eyes[0][0]) or eyes[1][0] - eyes[0][0] < 0.2:
        return None
    return np.array([(x + a * w - 0.5, y + b * h - 0.5) for a, b in eyes]).ravel()


def _warp(image, matrix, side, border=None):
    """Warp to side x side, antialiased: at a multiple of that size, where no pixel of the source is skipped, then down.

    border: what lies around the image, or None to repeat its edge.
    """
    cv2 = need("cv2")
    times = int(np.ceil(1 / np.sqrt(np.abs(np.linalg.det(matrix[:, :2])))))
    times = max(1, min(times, 8192 // side))
    finer = matrix * times
    finer[:, 2] += (times - 1) / 2  # pixel middles, not corners, are what is counted
    large = cv2.warpAffine(np.ascontiguousarray(image), finer, (side * times, side * times), flags=cv2.INTER_LINEAR
                           if image.ndim == 2 else cv2.INTER_CUBIC, borderValue=0 if border is None else border,
                           borderMode=cv2.BORDER_REPLICATE if border is None else cv2.BORDER_CONSTANT)
    if image.ndim == 2:
        return cv2.resize(large, (side, side), interpolation=cv2.INTER_AREA)
    return cut(Image.fromarray(large), side).transpose(1, 2, 0)
