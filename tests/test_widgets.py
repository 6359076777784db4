"""The masking widget: its callbacks driven as a browser drives them, its canvas and its stepper in a real browser."""

import json
import re
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")

import facelib.data
from facelib import metrics
from facelib.data.faces import FaceData, Split
from facelib.masks import KINDS, PARTS
from facelib.widgets import frames, masking
from facelib.widgets.masking import DRAWN, FEWER, STEPPED, MaskingDemo
from facelib.widgets.upload import uploaded


class MeanFill:
    """Completes with the mean of the known pixels: the smallest real method."""

    def complete(self, image, mask):
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        return torch.where(mask > 0.5, mean, image)


class Sized(MeanFill):
    """A method for faces of one size, which its configuration says, as every method of the package does."""

    def __init__(self, size):
        self.cfg = SimpleNamespace(size=size)


def soft(n, height, width):
    coarse = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=(height, width), mode="bilinear")


def square(y, x, side, height=64, width=64):
    mask = torch.zeros(height, width, dtype=torch.int)
    mask[y:y + side, x:x + side] = 1
    return "".join(map(str, mask.flatten().tolist()))


@pytest.fixture
def faces():
    return soft(3, 64, 64)


@pytest.fixture
def demo(faces):
    return MaskingDemo(MeanFill(), faces)


def test_a_drawn_hole_is_completed_there_and_nowhere_else(demo, faces):
    demo.canvas.mask = square(20, 10, 16)
    assert demo.mask.sum() == 256 and demo.mask[0, 0, 20, 10] == 1
    hole = demo.mask.bool().expand_as(faces[:1])
    assert torch.equal(demo.completed[~hole], faces[:1][~hole])
    assert not torch.equal(demo.completed[hole], faces[:1][hole])
    first, shown = demo.completed, demo.result.value
    demo.canvas.mask = square(40, 40, 8)
    assert not torch.equal(demo.completed, first) and demo.result.value != shown
    assert demo.psnr == pytest.approx(float(metrics.psnr(demo.completed, faces[:1], demo.mask)))
    assert f"{demo.psnr:.1f} dB" in demo.result.value and "ms" in demo.result.value


def test_every_kind_of_hole_can_be_chosen_and_drawn_again(demo):
    for kind in list(KINDS)[::-1]:
        demo.hole.value = kind
        assert torch.equal(demo.mask, KINDS[kind](1, 64, torch.Generator().manual_seed(0))), kind
    demo.hole.value = "strokes"
    before = demo.mask
    demo.again.click()
    assert not torch.equal(demo.mask, before)


def test_clear_and_draw_start_from_the_whole_face(demo, faces):
    demo.clear.click()
    assert demo.psnr is None and torch.equal(demo.completed, faces[:1]) and "No hole yet" in demo.result.value
    demo.hole.value = "half"
    demo.hole.value = DRAWN
    assert demo.mask.sum() == 0


def test_another_face_is_completed_under_the_same_hole(demo, faces):
    mask = demo.mask
    demo.face.value = 2
    assert torch.equal(demo.image, faces[2:]) and torch.equal(demo.mask, mask)
    assert torch.equal(torch.where(mask.bool(), 0.0, demo.completed), torch.where(mask.bool(), 0.0, faces[2:]))
    assert 'alt="The completed picture of face 3"' in demo.result.value


def test_canvas_refuses_a_mask_that_is_none(demo):
    with pytest.raises(Exception, match="4096 letters of 0"):
        demo.canvas.mask = "01"


def test_faces_come_from_a_data_set_and_wrong_ones_are_refused(faces):
    pixels = np.zeros((8, 3, 64, 64), np.uint8)
    assert len(MaskingDemo(MeanFill(), FaceData("black", Split(pixels), Split(pixels), Split(pixels))).faces) == 6
    with pytest.raises(ValueError, match=r"\(B, 3, 32, 32\).*got \(3, 3, 64, 64\); load them with size=32"):
        MaskingDemo(MeanFill(), faces, size=32)


def test_the_size_is_the_methods_or_the_given_faces_own(monkeypatch):
    asked = []

    def load(name, size=20):
        asked.append(size)
        height, width = (size, size) if isinstance(size, int) else size
        split = Split(np.zeros((6, 3, height, width), np.uint8))
        return FaceData(name, split, split, split)

    monkeypatch.setattr(facelib.data, "load_faces", load)
    assert MaskingDemo(Sized(32)).size == (32, 32) and MaskingDemo(Sized((40, 24))).size == (40, 24)
    assert MaskingDemo(Sized(32), size=28).size == (28, 28)
    assert MaskingDemo(MeanFill()).size == (20, 20), "as the faces come, where nothing says a size"
    assert asked == [32, (40, 24), 28, 20]
    given = MaskingDemo(Sized(32), soft(1, 48, 36))             # some methods take faces of any size
    assert given.size == (48, 36) and given.upload.size == (48, 36) and len(asked) == 4
    with pytest.raises(ValueError, match=r"\(B, 3, height, width\) in \[-1, 1\], got list$"):
        MaskingDemo(MeanFill(), [1, 2])


def test_oblong_faces_go_through_the_widget():
    faces = soft(2, 48, 36)
    demo = MaskingDemo(Sized((48, 36)), faces)
    for kind in KINDS:
        demo.hole.value = kind
        assert torch.equal(demo.mask, KINDS[kind](1, (48, 36), torch.Generator().manual_seed(0))), kind
    demo.canvas.mask = square(30, 5, 8, 48, 36)
    assert demo.mask.shape == (1, 1, 48, 36) and demo.mask[0, 0, 30:38, 5:13].all() and demo.mask.sum() == 64
    hole = demo.mask.bool().expand_as(faces[:1])
    assert torch.equal(demo.completed[~hole], faces[:1][~hole]) and not torch.equal(demo.completed[hole], faces[:1][hole])
    assert tuple(demo.canvas.size) == (48, 36) and "data-facelib-stepper" in demo._fallback
    demo.clear.click()
    assert not demo.mask.any() and demo.psnr is None
    with pytest.raises(Exception, match="1728 letters of 0"):
        demo.canvas.mask = "0" * 48 * 48


def test_a_photograph_becomes_oblong_where_the_faces_are(upload):
    pytest.importorskip("cv2")
    demo = MaskingDemo(Sized((48, 36)), soft(1, 48, 36))
    upload(demo.upload, "wall.jpg", np.full((120, 160, 3), 90, np.uint8))
    demo.upload.eyes.value = "60, 50, 100, 50"
    demo.upload.use_eyes.click()
    assert demo.faces.shape == (2, 3, 48, 36) and demo.image.shape == (1, 3, 48, 36)


def test_upload_value_of_both_ipywidgets():
    seven = {"me.jpg": {"metadata": {"name": "me.jpg"}, "content": b"abc"}}
    eight = ({"name": "me.jpg", "type": "image/jpeg", "size": 3, "content": memoryview(b"abc")},)
    assert uploaded(seven) == uploaded(eight) == [("me.jpg", b"abc")]
    assert uploaded({}) == uploaded(()) == []


def test_a_broken_upload_is_named(demo, upload):
    upload(demo.upload, "notes.txt", b"not a picture at all")
    assert "notes.txt: " in demo.upload.message.value and 'role="alert"' in demo.upload.message.value
    assert len(demo.faces) == 3


def test_a_photograph_is_aligned_and_completed(demo, upload):
    pytest.importorskip("cv2")
    astronaut = pytest.importorskip("skimage.data").astronaut()
    upload(demo.upload, "eileen.jpg", astronaut)
    assert demo.face.label == "eileen.jpg" and len(demo.faces) == 4 and demo.upload.message.value == ""
    hole = demo.mask.bool().expand_as(demo.image)
    assert torch.equal(demo.completed[~hole], demo.image[~hole])
    assert "The completed picture of eileen.jpg" in demo.result.value


def test_eyes_are_asked_for_where_no_face_is_found(demo, upload):
    pytest.importorskip("cv2")
    upload(demo.upload, "wall.jpg", np.full((120, 160, 3), 90, np.uint8))
    assert "No face was found in wall.jpg" in demo.upload.message.value and "x,y,x,y" in demo.upload.message.value
    assert demo.upload.by_hand.layout.display != "none" and "160 by 120 pixels" in demo.upload.preview.value
    demo.upload.eyes.value = "60,50"
    demo.upload.use_eyes.click()
    assert "four numbers x,y,x,y" in demo.upload.message.value and len(demo.faces) == 3
    demo.upload.eyes.value = "60, 50, 100, 50"
    demo.upload.use_eyes.click()
    assert len(demo.faces) == 4 and demo.upload.by_hand.layout.display == "none" and demo.upload.message.value == ""


def test_smoke_glcic_completes_in_the_widget(faces):
    from facelib.methods.glcic import GLCIC
    demo = MaskingDemo(GLCIC(), faces[:1])
    hole = demo.mask.bool().expand_as(faces[:1])
    assert torch.equal(demo.completed[~hole], faces[:1][~hole])
    assert not torch.equal(demo.completed[hole], faces[:1][hole])


def test_stepper_is_small_and_asks_no_other_host(faces):
    noise = lambda side: torch.rand(6, 3, side, side, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for images in (faces, noise(64), noise(128), soft(2, 136, 112)):            # noise is the hardest to compress
        page = masking.stepper(MeanFill(), images)
        assert len(page.encode()) < frames.PAGE_BYTES
        assert not re.findall(r"https?://|//cdn", page)
        assert all(alt for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page))
        assert page.count("<img") == 3


def steps(page):
    return json.loads(page.split('type="application/json">')[1].split("</script>")[0])


def test_a_page_of_large_faces_shows_fewer_kinds_of_holes_rather_than_one_face(faces):
    small, large = (steps(masking.stepper(MeanFill(), images)) for images in (faces, soft(3, 128, 128)))
    assert [frame["kind"] for frame in small[0]] == list(STEPPED) and len(small) == 3
    assert [frame["kind"] for frame in large[0]] == list(STEPPED[:FEWER]) and len(large) == 3
    assert "true" in large[0][0] and not any("true" in frame for frame in large[0][1:]), "said once for each face"
    assert set(STEPPED) == set(KINDS) - {"mixed"} - {part.replace(" ", "_") for part in PARTS}
    assert "facelib-large" in masking.stepper(MeanFill(), soft(1, 128, 128)).split("<style>")[0]
    noise = torch.rand(2, 3, 128, 128, generator=torch.Generator().manual_seed(1)) * 2 - 1
    cut, = steps(masking.stepper(MeanFill(), noise))
    assert 1 < len(cut) < FEWER, "a face that does not fit loses its last holes"


def test_a_notebook_shows_stepper_and_widget():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    code = textwrap.dedent("""
        import torch
        from facelib.widgets.masking import MaskingDemo
        class Grey:
            def complete(self, image, mask):
                return torch.where(mask > 0.5, torch.zeros_like(image), image)
        MaskingDemo(Grey(), torch.ones(1, 3, 64, 64))
        """)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = [output["data"] for output in notebook.cells[0].outputs]
    assert "data-facelib-stepper" in outputs[0]["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in outputs[1]
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any(model["model_module"] == "anywidget" for model in state.values())


@pytest.mark.parametrize("width", [1280, 360])
def test_stepper_steps_in_a_browser(browser, faces, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_content(f"<!doctype html><meta name=viewport content='width=device-width'>"
                     f"{masking.stepper(MeanFill(), faces)}")
    completed, caption = page.locator('[data-part="completed"]'), page.locator('[data-part="caption"]')
    before = completed.get_attribute("src"), completed.get_attribute("alt"), caption.inner_text()
    page.get_by_role("button", name="Next hole").click()
    after = completed.get_attribute("src"), completed.get_attribute("alt"), caption.inner_text()
    assert all(a != b for a, b in zip(before, after, strict=True))
    page.get_by_role("button", name="Previous hole").press("Enter")
    assert completed.get_attribute("src") == before[0]
    page.get_by_label("Hole", exact=True).press("ArrowRight")
    assert completed.get_attribute("src") == after[0]
    true = page.locator('[data-part="true"]').get_attribute("src")
    page.get_by_role("button", name="Next face").click()
    assert page.locator('[data-part="true"]').get_attribute("src") != true
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tops = {round(box["y"]) for box in (page.locator(".facelib-row > div").nth(i).bounding_box() for i in range(3))}
    assert len(tops) == 1, "the three pictures stand side by side"
    assert not errors
    page.close()


# What the front end gives to a widget's JavaScript, as far as ours uses it: traits, events, messages.
MODEL = """
  const traits = TRAITS, heard = {};
  window.sent = []; window.saved = 0;
  window.model = {
    get: (key) => traits[key], off: () => {}, on: (name, fn) => { (heard[name] ??= []).push(fn); },
    set: (key, value) => { traits[key] = value; }, save_changes: () => { window.saved++; },
    send: (message) => window.sent.push(message),
    tell: (name, value) => (heard[name] || []).forEach((fn) => fn(value)),
  };
"""


@pytest.fixture
def canvas(browser, demo, tmp_path):
    yield from opened(browser, demo, tmp_path)


@pytest.fixture
def oblong(browser, tmp_path):
    """The canvas with a face of 128 x 96 pixels."""
    yield from opened(browser, MaskingDemo(MeanFill(), soft(1, 128, 96)), tmp_path)


def opened(browser, demo, tmp_path):
    traits = {key: getattr(demo.canvas, key) for key in ("size", "large", "image", "colour", "demo")} | {"mask": demo._no_hole}
    script = demo.canvas._esm.replace("export default { render };", "")
    (tmp_path / "page.html").write_text(
        f"<!doctype html><meta charset=utf-8><style>{demo.canvas._css}</style>{demo._fallback}"
        f'<div class="facelib-live"><div id="el"></div></div><script>{MODEL.replace("TRAITS", json.dumps(traits))}'
        f"{script}; render({{model: window.model, el: document.getElementById('el')}});</script>")
    page = browser.new_page(viewport={"width": 800, "height": 1000}, has_touch=True)
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    page.close()


def alive(page):
    page.evaluate("window.model.tell('msg:custom', {type: 'alive'})")
    return page.locator("canvas")


def drawn(page, height=64, width=64):
    return np.array(list(page.evaluate("window.model.get('mask')"))).reshape(height, width) == "1"


def test_without_a_kernel_the_stepper_stays_and_the_widget_hides(canvas):
    assert canvas.locator("[data-facelib-stepper]").is_visible() and not canvas.locator("canvas").is_visible()
    assert canvas.evaluate("window.sent")[0] == {"type": "alive?"}
    alive(canvas)
    assert not canvas.locator("[data-facelib-stepper]").is_visible() and canvas.locator("canvas").is_visible()


def test_the_kernel_answers_the_canvas(demo, monkeypatch):
    sent = []
    monkeypatch.setattr(demo.canvas, "send", sent.append)
    demo.canvas._handle_custom_msg({"type": "alive?"}, [])
    assert sent == [{"type": "alive"}]


def test_canvas_draws_with_the_mouse_and_erases(canvas):
    box = alive(canvas).bounding_box()
    at = lambda x, y: (box["x"] + x * 3, box["y"] + y * 3)
    canvas.mouse.move(*at(10, 32))
    canvas.mouse.down()
    canvas.mouse.move(*at(50, 32))
    assert canvas.evaluate("window.saved") == 0, "one completion for a stroke, not one for every move"
    canvas.mouse.up()
    mask = drawn(canvas)
    assert canvas.evaluate("window.saved") == 1
    assert mask[32, 10:50].all() and not mask[:20].any() and not mask[44:].any()
    canvas.get_by_role("button", name="Erase").click()
    canvas.mouse.click(*at(30, 32))
    assert not drawn(canvas)[32, 30] and drawn(canvas)[32, 12]


def test_canvas_draws_with_a_finger(canvas):
    box = alive(canvas).bounding_box()
    canvas.touchscreen.tap(box["x"] + 96, box["y"] + 96)
    assert drawn(canvas)[32, 32]
    assert canvas.locator("canvas").evaluate("c => getComputedStyle(c).touchAction") == "none"


def test_canvas_draws_with_the_keyboard_and_shows_its_focus(canvas):
    pad = alive(canvas)
    pad.focus()
    assert pad.evaluate("c => getComputedStyle(c).outlineWidth") == "3px"
    for key in ("Shift+ArrowLeft", "Shift+ArrowLeft", "ArrowUp", "Space"):
        pad.press(key)
    canvas.wait_for_function("window.saved === 1")
    mask = drawn(canvas)
    assert mask[31, 16] and not mask[31, 40]
    assert "Brush at 16, 31" in canvas.locator('.facelib-canvas [role="status"]').inner_text()
    pad.press("Backspace")
    canvas.wait_for_function("window.saved === 2")
    assert not drawn(canvas).any()
    assert "arrows move" in canvas.locator(f"#{pad.get_attribute('aria-describedby')}").inner_text()


def test_canvas_follows_the_kernel(canvas):
    pad = alive(canvas)
    before = pad.evaluate("c => c.toDataURL()")
    canvas.evaluate("() => { model.set('mask', '1'.repeat(4096)); model.tell('change:mask'); }")
    assert pad.evaluate("c => c.toDataURL()") != before


def test_an_oblong_canvas_keeps_its_shape_and_draws_where_the_pointer_is(oblong):
    box = alive(oblong).bounding_box()
    assert box["width"] == pytest.approx(256, abs=1) and box["height"] == pytest.approx(256 * 128 / 96, abs=1)
    at = lambda x, y: (box["x"] + x * 256 / 96, box["y"] + y * 256 / 96)
    oblong.mouse.move(*at(20, 110))
    oblong.mouse.down()
    oblong.mouse.move(*at(70, 110))
    oblong.mouse.up()
    mask = drawn(oblong, 128, 96)
    assert mask[110, 20:70].all() and not mask[:90].any() and not mask[:, :5].any() and not mask[:, 85:].any()
    pad = oblong.locator("canvas")
    pad.focus()
    for _ in range(20):
        pad.press("Shift+ArrowUp")
    for key in ("ArrowDown", "Space"):
        pad.press(key)
    oblong.wait_for_function("window.saved === 2")
    assert drawn(oblong, 128, 96)[1, 70] and "Brush at 70, 1" in oblong.locator('.facelib-canvas [role="status"]').inner_text()
