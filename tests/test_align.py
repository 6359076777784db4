"""From a photograph to an aligned face and back, tried on NASA's astronaut photograph (public domain)."""

import numpy as np
import pytest
import torch
from PIL import Image

cv2 = pytest.importorskip("cv2")
data = pytest.importorskip("skimage.data")

from facelib.data import align as room  # noqa: E402
from facelib.data import load_faces  # noqa: E402
from facelib.data.align import NoFaceError, align, align_folder, find_faces, read_landmarks, similarity  # noqa: E402
from facelib.data.images import DecodeError, cut  # noqa: E402

EYES = (203.5, 101.0, 247.5, 103.0)  # her pupils, read off the photograph


@pytest.fixture(scope="module")
def photo():
    return data.astronaut()


@pytest.fixture(scope="module")
def found(photo):
    return align(photo)


def mapped(matrix, *points):
    return np.array(points) @ matrix[:, :2].T + matrix[:, 2]


def test_the_eyes_are_found_and_put_in_place(found):
    assert found.found == "eyes detected" and found.crop.size == (64, 64) and found.crop.mode == "RGB"
    assert np.abs(np.array(found.eyes) - EYES).max() < 3  # of 44 pixels between the eyes
    left, right = mapped(found.matrix, found.eyes[:2], found.eyes[2:])
    assert np.allclose(left, np.array([0.38, 0.43]) * 64 - 0.5)
    assert np.allclose(right, np.array([0.615, 0.43]) * 64 - 0.5)
    x, y, w, h = found.faces[0]
    assert x < EYES[0] < EYES[2] < x + w and y < EYES[1] < y + h
    assert found.tensor().shape == (1, 3, 64, 64) and found.tensor().abs().max() <= 1


def test_the_matrix_is_a_similarity(found):
    (a, b, _), (c, d, _) = found.matrix
    assert np.isclose(a, d) and np.isclose(b, -c) and a * d - b * c > 0


@pytest.mark.parametrize("known", [{"eyes": EYES}, {"eyes": EYES[2:] + EYES[:2]}, {"box": (170, 60, 110, 110)},
                                   {"landmarks": [*EYES, 226, 127, 206, 145, 243, 147]}])
def test_what_is_known_of_the_face_is_used(photo, found, known):
    given = align(photo, **known)
    assert np.abs(np.array(given.eyes) - EYES).max() < 4
    difference = np.abs(np.asarray(given.crop, int) - np.asarray(found.crop, int)).mean()
    assert difference < 12 and given.found.split()[0] in (*known, "eyes")


def test_a_turned_face_comes_out_level(photo):
    middle = np.array([256, 256])
    turned = Image.fromarray(photo).rotate(20, Image.Resampling.BICUBIC)
    angle = np.deg2rad(-20)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    eyes = (np.array(EYES).reshape(2, 2) - middle) @ turn.T + middle
    level, upright = align(turned, eyes=eyes.ravel()), align(photo, eyes=EYES)
    assert np.abs(np.asarray(level.crop, int) - np.asarray(upright.crop, int))[16:48, 16:48].mean() < 5


def mean_face():
    """68 points with the named ones where OpenFace's templates have them."""
    points = np.full((68, 2), 0.5)
    for name in ("inner_eyes_and_bottom_lip", "outer_eyes_and_nose"):
        for index, place in room.TEMPLATES[name]["landmarks"].items():
            points[index] = place
    return points


@pytest.mark.parametrize("template", ["inner_eyes_and_bottom_lip", "outer_eyes_and_nose"])
def test_sixty_eight_landmarks_go_to_openfaces_template(photo, template):
    points = mean_face() * 100 + (170, 60)
    result = align(photo, 96, landmarks=points, template=template)
    assert result.found == "landmarks given"
    for index, place in room.TEMPLATES[template]["landmarks"].items():
        assert np.allclose(mapped(result.matrix, points[index]), np.array(place) * 96 - 0.5, atol=1e-6)


def test_openface_frames_tighter_than_celeba(photo):
    scales = {name: np.linalg.det(align(photo, eyes=EYES, template=name).matrix[:, :2]) for name in room.TEMPLATES}
    assert scales["celeba"] < scales["outer_eyes_and_nose"] == pytest.approx(scales["inner_eyes_and_bottom_lip"])


def test_similarity_recovers_what_was_done_and_is_the_least_squares_answer():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(7, 2))
    done = np.array([[1.2, -0.7, 3.0], [0.7, 1.2, -5.0]])
    assert np.allclose(similarity(points, mapped(done, *points)), done)
    target = mapped(done, *points) + rng.normal(size=(7, 2)) * 0.1
    columns = np.concatenate([np.stack([points[:, 0], -points[:, 1], np.ones(7), np.zeros(7)], 1),
                              np.stack([points[:, 1], points[:, 0], np.zeros(7), np.ones(7)], 1)])
    a, b, x, y = np.linalg.lstsq(columns, target.T.ravel(), rcond=None)[0]
    assert np.allclose(similarity(points, target), [[a, -b, x], [b, a, y]])


def test_scaling_down_is_antialiased():
    y, x = np.mgrid[:800, :800]
    checks = np.repeat(((x + y) % 2 * 255).astype(np.uint8)[..., None], 3, 2)
    crop = np.asarray(align(checks, 32, eyes=(304, 340, 492, 347)).crop, int)
    assert abs(crop - 127).max() < 12


def test_beyond_the_photograph_its_edge_is_repeated():
    flat = np.full((60, 60, 3), 90, np.uint8)
    assert (np.asarray(align(flat, eyes=(5, 5, 40, 5)).crop) == 90).all()


def test_a_small_face_is_found_by_a_second_search(photo, monkeypatch):
    canvas = Image.new("RGB", (3000, 2000), (120, 130, 140))
    canvas.paste(Image.fromarray(photo).resize((360, 360), Image.Resampling.BICUBIC), (1900, 1200))
    x, y, w, h = find_faces(canvas)[0]
    assert np.hypot(x + w / 2 - 1900 - 0.7 * 226, y + h / 2 - 1200 - 0.7 * 115) < 10 and 60 < w < 80
    monkeypatch.setattr(room, "SEARCHES", room.SEARCHES[:1])
    assert find_faces(canvas) == []


def test_the_face_near_a_point_comes_first(photo):
    face = Image.fromarray(photo).crop((100, 0, 360, 260))
    canvas = Image.new("RGB", (900, 520), (120, 130, 140))
    canvas.paste(face.resize((520, 520)), (0, 0))
    canvas.paste(face, (600, 200))
    assert find_faces(canvas)[0][2] > 150                                   # the largest
    assert find_faces(canvas, near=(730, 300))[0][0] > 600
    assert align(canvas, near=(730, 300)).eyes[0] > 600 > align(canvas, near=(250, 230)).eyes[0]


# Oblong crops

@pytest.mark.parametrize("size", [(100, 64), (64, 100)])
def test_an_oblong_crop_is_the_middle_of_the_square_one(photo, size):
    height, width = size
    oblong, square = align(photo, size, eyes=EYES), align(photo, 100, eyes=EYES)
    top, left = (100 - height) // 2, (100 - width) // 2
    middle = np.asarray(square.crop, int)[top:top + height, left:left + width]
    assert oblong.crop.size == (width, height) and oblong.tensor().shape == (1, 3, height, width)
    assert np.abs(np.asarray(oblong.crop, int) - middle).max() <= 6         # OpenCV rounds places to 1/32 of a pixel
    assert np.allclose(oblong.matrix, square.matrix - [[0, 0, left], [0, 0, top]])
    assert np.abs(np.asarray(oblong.crop, int) - cut(square.crop, size).transpose(1, 2, 0)).max() <= 6   # as load_faces does
    assert np.allclose(mapped(oblong.matrix, *oblong.corners()), [(-0.5, -0.5), (width - 0.5, -0.5),
                                                                  (width - 0.5, height - 0.5), (-0.5, height - 0.5)])


def test_an_oblong_crop_goes_back_where_it_was(photo):
    mask = np.zeros(photo.shape[:2], bool)
    mask[110:150, 200:245] = True
    face = align(photo, (240, 180), eyes=EYES)
    assert face.hole(mask).shape == (1, 1, 240, 180)
    assert abs(face.hole(mask).sum().item() / (mask.sum() * face.scale ** 2) - 1) < 0.1
    back = np.asarray(face.paste_back(face.crop, mask), int)
    assert (back[~mask] == photo[~mask]).all() and np.abs(back - photo)[mask].mean() < 3
    over_the_crop = np.zeros((240, 180))
    over_the_crop[60:120, 30:90] = 1
    changed = (np.asarray(face.paste_back(np.zeros((240, 180, 3), np.uint8), over_the_crop)) != photo).any(-1)
    assert abs(changed.sum() * face.scale ** 2 / 3600 - 1) < 0.1
    with pytest.raises(ValueError, match="the crop must be 180x240 pixels in RGB"):
        face.paste_back(np.zeros((180, 240, 3), np.uint8))
    part = np.s_[50:200, 120:300]
    assert np.array_equal(face.inside()[part], face.inside((slice(50, 200), slice(120, 300))))
    assert np.abs(face.carried(face.crop)[part] - face.carried(face.crop, (slice(50, 200), slice(120, 300)))).max() < 4


# The way back

def test_only_the_hole_changes(photo, found):
    mask = np.zeros(photo.shape[:2], bool)
    mask[110:150, 200:245] = True
    hole = found.hole(mask)
    assert hole.shape == (1, 1, 64, 64) and set(hole.unique().tolist()) == {0, 1}
    assert abs(hole.sum().item() / (mask.sum() * np.linalg.det(found.matrix[:, :2])) - 1) < 0.4
    green = torch.zeros(1, 3, 64, 64) + torch.tensor([-1.0, 1.0, -1.0]).view(1, 3, 1, 1)
    back = np.asarray(found.paste_back(green, mask))
    assert back.shape == photo.shape and (back[~mask] == photo[~mask]).all() and (back[mask] == (0, 255, 0)).all()


def test_hole_covers_every_pixel_that_is_replaced(found, photo):
    mask = np.zeros(photo.shape[:2], bool)
    mask[100:103, 180:260] = True  # thinner than a pixel of the crop
    hole = found.hole(mask)[0, 0].numpy()
    rows, columns = np.nonzero(mask)
    x, y = np.rint(found.matrix @ np.stack([columns, rows, np.ones_like(rows)])).astype(int)
    assert hole[y, x].all()


def test_there_and_back_is_nearly_the_photograph(photo, found):
    large = align(photo, 256, eyes=found.eyes)
    back = np.asarray(large.paste_back(large.crop), int)
    middle, shifted = np.s_[40:200, 140:310], np.roll(photo, 1, 1).astype(int)
    error = np.abs(back - photo)[middle].mean()
    assert error < 2 and error < np.abs(shifted - photo)[middle].mean() / 2


def test_a_mask_over_the_crop_can_be_pasted_too(photo, found):
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 20:40, 20:40] = 1
    back = np.asarray(found.paste_back(np.zeros((64, 64, 3), np.uint8), mask))
    changed = (back != photo).any(-1)
    assert abs(changed.sum() * np.linalg.det(found.matrix[:, :2]) / 400 - 1) < 0.05
    assert (back[changed] == 0).all()


def test_paste_back_errors(photo, found):
    with pytest.raises(ValueError, match="the crop must be 64x64 pixels in RGB"):
        found.paste_back(np.zeros((32, 32, 3), np.uint8))
    with pytest.raises(ValueError, match=r"must be \(512, 512\) over the photograph or \(64, 64\) over the crop"):
        found.paste_back(found.crop, np.zeros((10, 10)))


def test_hole_errors(found):
    with pytest.raises(ValueError, match=r"the mask must be \(512, 512\), the size of the photograph, got \(64, 64\)"):
        found.hole(np.ones((64, 64)))
    with pytest.raises(ValueError, match="marks no hole.*white on black"):
        found.hole(np.zeros((512, 512)))
    far = np.zeros((512, 512))
    far[400:420, 100:300] = 1
    with pytest.raises(ValueError, match=r"100.0% of the hole lies outside the face's crop.*make the hole smaller"):
        found.hole(far)
    with pytest.raises(ValueError, match="100.0% of the hole lies outside"):
        found.hole(far, partly=True)
    far[100:140, 200:420] = 1
    with pytest.raises(ValueError, match="62.3% of the hole lies outside"):
        found.hole(far)
    assert found.hole(far, partly=True).any()


def test_where_the_photograph_ends_in_a_hole_the_crop_repeats_the_hole():
    """What the crop shows beyond the photograph repeats its edge: where that is hole, nothing of it may pass for known."""
    face = align(np.full((100, 100, 3), 90, np.uint8), eyes=(5, 40, 40, 40))
    mask = np.zeros((100, 100))
    mask[30:50, :20] = 1
    hole = face.hole(mask)[0, 0].numpy()
    rows = hole.any(1)
    assert mapped(face.matrix, (0, 0))[0, 0] > 10 and hole[rows, 0].all() and not hole[~rows].any()


# What cannot be done, said

def test_no_face_says_how_to_give_the_eyes(tmp_path):
    path = tmp_path / "wall.png"
    Image.new("RGB", (200, 150), (120, 110, 100)).save(path)
    with pytest.raises(NoFaceError) as error:
        align(path)
    for part in ("no face was found in", "wall.png", "200x150", "eyes=(x, y, x, y) in pixels", '--eyes "x,y,x,y"'):
        assert part in str(error.value)
    assert align(path, eyes=(70, 70, 120, 70)).crop.size == (64, 64)


def test_a_face_whose_eyes_are_hidden_is_still_aligned(photo):
    hidden = photo.copy()
    hidden[88:116, 185:265] = (205, 160, 140)
    result = align(hidden, box=(177, 66, 97, 97))
    assert result.found == "face only" and np.abs(np.array(result.eyes) - EYES).max() < 8


@pytest.mark.parametrize("arguments, message", [
    ({"eyes": (1, 2, 3)}, "eyes must be x, y, x, y in pixels, got 3 numbers"),
    ({"eyes": (5, 5, 6, 5)}, "eyes must be at least 2 pixels apart"),
    ({"eyes": "left"}, "eyes must be numbers in pixels"),
    ({"eyes": (1, 2, 3, float("nan"))}, "eyes must be finite"),
    ({"box": (1, 2, 0, 5)}, "box must be x, y, width, height"),
    ({"landmarks": [1] * 12}, "landmarks must be 5 or 68 points .*got 12 numbers"),
    ({"eyes": EYES, "box": (1, 2, 3, 4)}, "only one of eyes, box and landmarks"),
    ({"template": "dlib"}, "template must be one of celeba, .*got 'dlib'"),
    ({"size": (64, 64, 3)}, r"size must be an int or \(height, width\) in pixels, got \(64, 64, 3\)"),
    ({"size": (64, 3)}, r"size must be 8 to 4096 pixels a side, got \(64, 3\)"), ({"size": 3}, "size must be 8 to 4096 pixels")])
def test_argument_errors(photo, arguments, message):
    with pytest.raises(ValueError, match=message):
        align(photo, **arguments)


def test_bad_files_and_arrays(tmp_path):
    (tmp_path / "bad.jpg").write_text("no")
    with pytest.raises(DecodeError, match="bad.jpg: no picture"):
        align(tmp_path / "bad.jpg")
    with pytest.raises(ValueError, match=r"must be uint8 \(H, W, 3\), got float64 \(9, 9, 3\)"):
        align(np.zeros((9, 9, 3)))


def test_opencv_five_is_named(monkeypatch, photo):
    monkeypatch.delattr(cv2, "CascadeClassifier")
    with pytest.raises(ImportError, match='has no face detector; install "opencv-python-headless<5"'):
        align(photo)


def test_faces_are_found_at_any_resolution(photo):
    large = Image.fromarray(photo).resize((2048, 2048))
    x, y, w, h = find_faces(large)[0]
    assert w / 4 == pytest.approx(97, abs=10) and x / 4 == pytest.approx(177, abs=8)


# Folders

def test_a_folder_is_aligned_and_bad_files_are_reported(tmp_path, photo):
    source, target = tmp_path / "in", tmp_path / "out"
    (source / "deep").mkdir(parents=True)
    Image.fromarray(photo).save(source / "her.jpg", quality=95)
    Image.fromarray(photo).save(source / "her.webp")
    Image.fromarray(photo[:, ::-1]).save(source / "deep" / "mirror.png")
    (source / "bad.jpg").write_text("no picture")
    Image.new("RGB", (100, 100)).save(source / "black.png")
    written, skipped = align_folder(source, target, size=48)
    assert written == 3
    assert sorted(str(p.relative_to(target)) for p in target.rglob("*.png")) == ["deep/mirror.png", "her.png",
                                                                                "her.webp.png"]
    assert Image.open(target / "her.png").size == (48, 48)
    reasons = dict(skipped)
    assert set(reasons) == {"bad.jpg", "black.png"}
    assert "no picture that can be read" in reasons["bad.jpg"] and "no face was found" in reasons["black.png"]


def test_a_landmark_file_is_used_instead_of_the_detector(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    for name in ("000001.jpg", "000002.jpg"):
        Image.new("RGB", (178, 218), (90, 60, 30)).save(source / name)
    landmarks = tmp_path / "list_landmarks_align_celeba.txt"
    landmarks.write_text("1\nlefteye_x lefteye_y righteye_x righteye_y nose_x nose_y leftmouth_x leftmouth_y "
                         "rightmouth_x rightmouth_y\n000001.jpg 69 111 107 111 88 135 72 152 105 152\n")
    assert read_landmarks(landmarks)["000001.jpg"].shape == (5, 2)
    written, skipped = align_folder(source, tmp_path / "out", landmarks=landmarks)
    assert written == 1 and skipped == [("000002.jpg", f"has no row in {landmarks}")]
    landmarks.write_text(landmarks.read_text() + "000002.jpg 1 2 3\n")
    with pytest.raises(ValueError, match="line 4: expected a picture's name and 10 numbers"):
        read_landmarks(landmarks)


def test_folder_errors(tmp_path):
    (tmp_path / "in").mkdir()
    with pytest.raises(FileNotFoundError, match="which is no folder"):
        align_folder(tmp_path / "none", tmp_path / "out")
    with pytest.raises(FileNotFoundError, match="expected pictures in .*found no file that ends in .jpg"):
        align_folder(tmp_path / "in", tmp_path / "out")
    with pytest.raises(ValueError, match="must go to another folder than"):
        align_folder(tmp_path / "in", tmp_path / "in" / "out")
    Image.new("RGB", (60, 40), "skyblue").save(tmp_path / "in" / "sky.png")
    assert align_folder(tmp_path / "in", tmp_path / "out")[0] == 0
    with pytest.raises(FileNotFoundError, match="expected pictures in .*out"):
        load_faces("folder", root=tmp_path / "out")
