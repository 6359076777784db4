"""A photograph in, an aligned crop of its face out, square or oblong, and the way back into the photograph.

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
from facelib.data.images import DecodeError, cut, decode, pair
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
# How faces are searched for: in a small copy of the photograph, which is quick, and only if it shows none, in a larger one.
# There the smallest faces count too, and more detections have to agree, because more looks like a face by chance.
SEARCHES = ((1024, 1 / 16, 4), (2048, 0, 6))  # longest side in pixels, smallest face as a share of the shorter, detections
CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_frontalface_default.xml")
SMALLEST_FACE = 24  # pixels, what the cascades were trained on
NEAR = 1.5          # widths of a face's box from its middle: the corner of its aligned crop
BY_HAND = 'give the eyes by hand: eyes=(x, y, x, y) in pixels, or on the command line --eyes "x,y,x,y"'


class NoFaceError(ValueError):
    """No face was found in a picture, and nothing was said about where it is."""


@dataclass(frozen=True)
class Aligned:
    """An aligned face and its photograph.

    crop: PIL RGB, width x height. photo: PIL RGB. matrix: float64 (2, 3), from pixels of the photograph to pixels of the
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
        """The crop as float (1, 3, height, width) in [-1, 1]."""
        return to_float(np.asarray(self.crop).transpose(2, 0, 1).copy())[None]

    def hole(self, mask, partly=False):
        """A mask over the photograph -> float tensor (1, 1, height, width) over the crop, 1 = hole.

        mask: (H, W), nonzero or True = hole. A crop pixel that the hole touches is hole, so that nothing of what is
        to be replaced is left; where the crop reaches beyond the photograph, it repeats the mask as it repeats the
        pixels. partly: the hole may reach out of the crop. Raises ValueError if the mask has another size, is empty,
        reaches out of the crop, or with `partly` lies outside it altogether.
        """
        import torch

        mask = np.asarray(mask) > 0.5
        if mask.shape != self.photo.size[::-1]:
            raise ValueError(f"the mask must be {self.photo.size[::-1]}, the size of the photograph, got {mask.shape}")
        if not mask.any():
            raise ValueError("the mask marks no hole in the photograph; paint it white on black")
        cover = _warp(mask.astype(np.float32), self.matrix, self.crop.size[::-1]) > 0.02
        outside = (mask & ~self.inside()).sum() / mask.sum()
        if not cover.any() or (outside > 0.001 and not partly):
            corners = self.corners()
            low, high = corners.min(0).clip(0), np.minimum(corners.max(0), np.array(self.photo.size) - 1)
            raise ValueError(f"{outside:.1%} of the hole lies outside the face's crop, all that can be completed "
                             f"(x {low[0]:.0f} to {high[0]:.0f}, y {low[1]:.0f} to {high[1]:.0f} in the photograph); "
                             "make the hole smaller, or check the eyes")
        return torch.from_numpy(cover.astype(np.float32))[None, None]

    def carried(self, values, box=None, beyond="repeat", smooth=True):
        """Values over the crop, carried to where they lie in the photograph: float32 (h, w) or (h, w, channels).

        values: (height, width) or (height, width, channels), one for each pixel of the crop. box: the part of the
        photograph that is wanted, slices of its rows and columns; by default all of it. beyond: what lies outside the
        crop, "repeat" for the values at its edge or "zero". smooth: cubic between pixels; False takes straight lines.
        """
        cv2 = need("cv2")
        values = np.ascontiguousarray(values, np.float32)
        if self.scale > 1.5:  # the face is smaller than the crop: going back would alias
            values = cv2.GaussianBlur(values, (0, 0), 0.4 * self.scale)
        matrix, size = self._way_back(box)
        between = cv2.INTER_CUBIC if smooth else cv2.INTER_LINEAR
        border = cv2.BORDER_REPLICATE if beyond == "repeat" else cv2.BORDER_CONSTANT
        return cv2.warpAffine(values, matrix, size, flags=between | cv2.WARP_INVERSE_MAP, borderMode=border)

    def inside(self, box=None):
        """Which pixels of the photograph, or of a part of it (slices of rows and columns), the crop shows: bool (h, w)."""
        cv2 = need("cv2")
        matrix, size = self._way_back(box)
        width, height = self.crop.size
        nearest = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(np.ones((height, width), np.uint8), matrix, size, flags=nearest) > 0

    @property
    def scale(self):
        """Pixels of the crop for each pixel of the photograph, along one side."""
        return float(np.sqrt(np.abs(np.linalg.det(self.matrix[:, :2]))))

    def paste_back(self, crop, mask=None):
        """A completed crop -> the photograph, PIL RGB at its own resolution, with the crop's face in it.

        crop: PIL, uint8 (height, width, 3), or float tensor (3, height, width) or (1, 3, height, width) in [-1, 1].
        mask: what to replace, 1 = hole, over the photograph (H, W) or over the crop (height, width), also with two
        leading axes of one; without it, the whole crop. Every other pixel of the photograph stays as it is, bit for bit.
        """
        if hasattr(crop, "detach"):
            crop = to_uint8(crop).reshape(3, *crop.shape[-2:]).permute(1, 2, 0).cpu().numpy()
        crop = np.asarray(crop)
        width, height = self.crop.size
        if crop.shape != (height, width, 3) or crop.dtype != np.uint8:
            raise ValueError(f"the crop must be {width}x{height} pixels in RGB, as it came, got {crop.dtype} {crop.shape}")
        mask = np.ones((height, width)) if mask is None else mask
        mask = np.asarray(mask.detach().cpu() if hasattr(mask, "detach") else mask, np.float32)
        if mask.size == mask.shape[-1] * mask.shape[-2]:
            mask = mask.reshape(mask.shape[-2:])
        photo = np.array(self.photo)
        if mask.shape == (height, width) != photo.shape[:2]:
            mask = self.carried(mask, smooth=False)
        if mask.shape != photo.shape[:2]:
            raise ValueError(f"the mask must be {photo.shape[:2]} over the photograph or ({height}, {width}) over the crop, "
                             f"got {mask.shape}")
        where = (mask > 0.5) & self.inside()
        photo[where] = np.round(self.carried(crop)).clip(0, 255)[where]
        return Image.fromarray(photo)

    def _way_back(self, box):
        """What OpenCV wants to know of a part of the photograph: the matrix from it to the crop, and its (width, height)."""
        rows, columns = box or (slice(0, self.photo.height), slice(0, self.photo.width))
        matrix = self.matrix.copy()
        matrix[:, 2] += matrix[:, :2] @ (columns.start, rows.start)
        return matrix, (columns.stop - columns.start, rows.stop - rows.start)

    def corners(self):
        """The corners of the crop, (4, 2), as places (x, y) in the photograph."""
        width, height = self.crop.size
        corners = np.array([(0, 0), (width, 0), (width, height), (0, height)]) - 0.5
        return (corners - self.matrix[:, 2]) @ np.linalg.inv(self.matrix[:, :2]).T


def align(picture, size=64, eyes=None, box=None, landmarks=None, template="celeba", near=None):
    """Cut an aligned face out of a photograph.

    picture: a path, PIL image or uint8 array (H, W, 3). size: of the crop, an int for a square or (height, width); an
    oblong crop is the middle of the square whose side is its longer one. template: a name of TEMPLATES. What is
    known of the face, at most one of: eyes (x, y, x, y) in pixels; box (x, y, width, height) of the face, as a
    detector gives it, in which the eyes are looked for; landmarks, CelebA's five points or dlib's 68, as (n, 2) or
    flat. With none, OpenCV's bundled cascades (Viola and Jones 2001) find the largest face and its eyes, or with
    `near`, a point (x, y), the face nearest to it.

    Where the crop reaches beyond the photograph, its edge pixels are repeated, as in CelebA. Returns Aligned. Raises
    DecodeError for a bad file, NoFaceError when no face is found, ValueError for arguments that do not fit.
    """
    if template not in TEMPLATES:
        raise ValueError(f"template must be one of {', '.join(TEMPLATES)}, got {template!r}")
    size = pair(size)
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
            faces = tuple(find_faces(photo, near))
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
    matrix = similarity(source, places(target, size))
    crop = Image.fromarray(_warp(np.asarray(photo), matrix, size))
    return Aligned(crop, photo, matrix, found, tuple(float(v) for v in (*left, *right)), faces)


def places(fractions, size):
    """Where the places of a template lie in a crop: fractions (n, 2) -> pixels (x, y), (n, 2).

    A template is a square. size: int, or (height, width) of a crop that is the middle of this square.
    """
    height, width = (size, size) if isinstance(size, int) else size
    side = max(height, width)
    margin = np.array([side - width, side - height]) / 2
    return np.asarray(fractions) * side - margin - 0.5


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


def find_faces(picture, near=None):
    """Upright frontal faces of a photograph, the largest first: list of boxes (x, y, width, height) in its pixels.

    near: a point (x, y); the face nearest to it, in widths of the face, comes first, and smaller faces are looked for
    until there is one whose aligned crop can reach that point. Raises ImportError without OpenCV, or with OpenCV 5,
    which has no cascades.
    """
    photo = _photo(picture)

    def rank(face):
        x, y, w, h = face
        return -w if near is None else np.hypot(x + w / 2 - near[0], y + h / 2 - near[1]) / w

    seen = []
    for longest, share, agreeing in SEARCHES:
        grey, scale = _grey(photo, longest)
        least = max(SMALLEST_FACE, int(min(grey.shape) * share))
        for name in CASCADES:
            found = _cascade(name).detectMultiScale(grey, 1.1, agreeing, minSize=(least, least))
            faces = sorted((tuple(float(v / scale) for v in face) for face in found), key=rank)
            if faces and (near is None or rank(faces[0]) < NEAR):
                return faces
            seen += faces
    return sorted(seen, key=rank)


def align_folder(source, target, size=64, template="celeba", landmarks=None):
    """Align every picture of a folder and its subfolders into another, as PNG of `size`, an int or (height, width).

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


def _warp(image, matrix, size):
    """Warp to (height, width), antialiased: at a multiple of that size, where no pixel of the source is skipped, then down.

    Around the image its edge is repeated.
    """
    cv2 = need("cv2")
    height, width = size
    times = int(np.ceil(1 / np.sqrt(np.abs(np.linalg.det(matrix[:, :2])))))
    times = max(1, min(times, 8192 // max(size)))
    finer = matrix * times
    finer[:, 2] += (times - 1) / 2  # pixel middles, not corners, are what is counted
    large = cv2.warpAffine(np.ascontiguousarray(image), finer, (width * times, height * times), flags=cv2.INTER_LINEAR
                           if image.ndim == 2 else cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    if image.ndim == 2:
        return cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    return cut(Image.fromarray(large), size).transpose(1, 2, 0)
