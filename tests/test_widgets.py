"""The masking widget: its callbacks driven as a browser drives them, its canvas and its stepper in a real browser."""

import re
import textwrap

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")

from facelib import metrics
from facelib.data.faces import FaceData, Split
from facelib.masks import KINDS
from facelib.widgets import frames, masking
from facelib.widgets.masking import DRAWN, MaskingDemo
from facelib.widgets.upload import uploaded


class MeanFill:
    """Completes with the mean of the known pixels: the smallest real method."""

    def complete(self, image, mask):
        known = 1 - mask
        mean = (image * known).sum((2, 3), keepdim=True) / known.sum((2, 3), keepdim=True).clamp_min(1)
        return torch.where(mask > 0.5, mean, image)


@pytest.fixture
def faces():
    coarse = torch.rand(3, 3, 6, 6, generator=torch.Generator().manual_seed(0)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size=64, mode="bilinear")


@pytest.fixture
def demo(faces):
    return MaskingDemo(MeanFill(), faces)


def square(y, x, side, size=64):
    mask = torch.zeros(size, size, dtype=torch.int)
    mask[y:y + side, x:x + side] = 1
    return "".join(map(str, mask.flatten().tolist()))


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
    noise = torch.rand(6, 3, 64, 64, generator=torch.Generator().manual_seed(1)) * 2 - 1  # the hardest to compress
    for images in (faces, noise):
        page = masking.stepper(MeanFill(), images)
        assert len(page.encode()) < frames.PAGE_BYTES
        assert not re.findall(r"https?://|//cdn", page)
        assert all(alt for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page))
        assert page.count("<img") == 3


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
    import json
    traits = {key: getattr(demo.canvas, key) for key in ("size", "image", "colour", "demo")} | {"mask": "0" * 4096}
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


def drawn(page):
    return np.array(list(page.evaluate("window.model.get('mask')"))).reshape(64, 64) == "1"


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
