"""The pixels widget: its callbacks driven as a browser drives them, its canvas and its stepper in a real browser."""

import json
import re
import textwrap

import pytest
import torch

pytest.importorskip("anywidget")

from facelib import resolution
from facelib.data.faces import to_float
from facelib.widgets import frames, pixels
from facelib.widgets.pixels import EDITS, PixelDemo


class NoisyBicubic:
    """The smallest real method with both verbs: bicubic, and bicubic under noise."""

    def upscale(self, low):
        return resolution.METHODS["bicubic"](low)

    def variants(self, low, n, seed=0, spread=1.0):
        noise = torch.randn(n, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        image = (self.upscale(low) + 0.3 * spread * noise).clamp(-1, 1)
        return resolution.back_project(image, low.expand(n, -1, -1, -1))


@pytest.fixture
def low():
    return torch.rand(3, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 1.6 - 0.8


@pytest.fixture
def demo(low):
    return PixelDemo(NoisyBicubic(), low)


def painted(demo, row, column, rgb):
    """What the browser sends after a stroke over one pixel."""
    start = 6 * (8 * row + column)
    return demo.canvas.pixels[:start] + rgb + demo.canvas.pixels[start + 6:]


def test_painting_a_pixel_changes_exactly_this_pixel_and_what_is_made_of_it(demo, low):
    enlarged, variants, shown = demo.enlarged, demo.variants, demo.result.value
    assert torch.equal(demo.low, low[:1])
    demo.canvas.set_state({"pixels": painted(demo, 2, 5, "ff8000")})
    changed = (demo.low != low[:1]).any(1)[0]
    assert changed.nonzero().tolist() == [[2, 5]]
    assert torch.equal(demo.low[0, :, 2, 5], to_float(torch.tensor([255, 128, 0])))
    assert not torch.equal(demo.enlarged, enlarged) and not torch.equal(demo.variants, variants)
    assert demo.result.value != shown
    truth = resolution.back_project(resolution.METHODS["bicubic"](demo.low), demo.low)
    assert torch.equal(demo.enlarged, truth)


def test_all_answers_shrink_to_what_is_painted_and_differ(demo):
    demo.canvas.set_state({"pixels": painted(demo, 4, 4, "00ff00")})
    answers = torch.cat([demo.enlarged, demo.variants])
    assert answers.shape == (5, 3, 32, 32)
    assert (resolution.shrink(answers) - demo.low).abs().max() * 127.5 < 0.25
    assert (answers[1:] - answers[:1]).abs().mean((1, 2, 3)).min() > 0.01
    assert demo.result.value.count("<img") == 5 and demo.result.value.count("/255 off") == 5
    assert "All of these shrink to the same 8x8 pixels" in demo.result.value
    assert all(re.findall(r'<img[^>]* alt="([^"]*)"', demo.result.value))


def test_without_back_projection_the_raw_answer_is_shown_with_what_it_misses(demo, low):
    demo.project.value = False
    assert torch.equal(demo.enlarged, resolution.METHODS["bicubic"](low[:1]))
    assert demo.off[0] == pytest.approx(float(resolution.consistency(demo.enlarged, low[:1]))) and demo.off[0] > 1
    assert f"{demo.off[0]:.2f}/255 off" in demo.result.value and "As the network gives them" in demo.result.value


def test_undo_goes_back_stroke_by_stroke(demo, low):
    assert demo.undo.disabled
    first = demo.enlarged
    demo.canvas.set_state({"pixels": painted(demo, 0, 0, "000000")})
    once = demo.low
    demo.canvas.set_state({"pixels": painted(demo, 7, 7, "ffffff")})
    assert not demo.undo.disabled
    demo.undo.click()
    assert torch.equal(demo.low, once)
    demo.undo.click()
    assert torch.equal(demo.low, low[:1]) and torch.equal(demo.enlarged, first)
    assert demo.undo.disabled and demo.canvas.pixels == pixels._hex(low[:1])
    demo.undo.click()
    assert torch.equal(demo.low, low[:1])


def test_reset_gives_the_face_back_exactly_and_can_be_undone(demo, low):
    demo.canvas.set_state({"pixels": painted(demo, 3, 3, "102030")})
    mine = demo.low
    demo.reset.click()
    assert torch.equal(demo.low, low[:1])
    demo.undo.click()
    assert torch.equal(demo.low, mine)


def test_another_face_goes_round_and_forgets_the_strokes(demo, low):
    demo.canvas.set_state({"pixels": painted(demo, 3, 3, "102030")})
    for face in (1, 2, 0):
        demo.another.click()
        assert torch.equal(demo.low, low[face][None]) and demo.undo.disabled
        assert f'alt="Face {face + 1}, enlarged"' in demo.result.value


def test_the_same_seed_gives_the_same_answers(demo, low):
    first, enlarged = demo.variants, demo.enlarged
    demo.seed.value = 5
    assert not torch.equal(demo.variants, first) and torch.equal(demo.enlarged, enlarged)
    demo.seed.value = 0
    assert torch.equal(demo.variants, first)
    assert torch.equal(PixelDemo(NoisyBicubic(), low).variants, first)
    demo.spread.value = 0.0
    assert (demo.variants - demo.variants[:1]).abs().max() < 1e-6


def test_what_is_no_picture_is_refused_and_changes_nothing(demo, low):
    right = demo.canvas.pixels
    for wrong in ("", right[:-1], right + "00", "g" * 384, right.upper().replace("0", "A"), "#" + right[1:], 7, None):
        with pytest.raises(Exception, match="384 digits of 0-9 and a-f|unicode string"):
            demo.canvas.set_state({"pixels": wrong})
        assert demo.canvas.pixels == right and torch.equal(demo.low, low[:1])
    demo.canvas.set_state({"size": 1, "demo": "x", "low": "ff00ff", "colour": "red"})
    with pytest.raises(Exception, match="384 digits"):
        demo.canvas.set_state({"pixels": "ff00ff"})
    assert demo.canvas.pixels == right and torch.equal(demo.low, low[:1])


def test_the_kernel_answers_the_canvas_and_nothing_else(demo, monkeypatch):
    sent = []
    monkeypatch.setattr(demo.canvas, "send", sent.append)
    for message in ({"type": "run"}, "alive?", None, {"type": "alive?", "code": "1"}):
        demo.canvas._handle_custom_msg(message, [])
    assert sent == []
    demo.canvas._handle_custom_msg({"type": "alive?"}, [])
    assert sent == [{"type": "alive"}]


def test_faces_are_checked_and_shrunk(low):
    with pytest.raises(ValueError, match=r"low must be \(B, 3, 8, 8\).*got \(1, 3, 7, 9\)"):
        PixelDemo(NoisyBicubic(), torch.zeros(1, 3, 7, 9))
    with pytest.raises(ValueError, match=r"got list; shrink faces with resolution.shrink"):
        PixelDemo(NoisyBicubic(), [1, 2])
    with pytest.raises(ValueError, match="got none"):
        PixelDemo(NoisyBicubic(), low[:0])
    with pytest.raises(ValueError, match="n must be 1 or more"):
        PixelDemo(NoisyBicubic(), low, n=0)


def test_rendered_faces_are_the_default():
    from facelib.data import load_faces
    demo = PixelDemo(NoisyBicubic(), n=1)
    assert torch.equal(demo.faces, resolution.shrink(load_faces("synthetic", size=32).test.tensor(slice(0, 6))))
    assert len(PixelDemo(NoisyBicubic(), load_faces("synthetic", size=64), n=1).faces) == 6


def test_a_method_that_has_one_answer_shows_one(low):
    class Bicubic:
        upscale = staticmethod(resolution.METHODS["bicubic"])
    demo = PixelDemo(Bicubic(), low)
    assert demo.variants is None and demo.result.value.count("<img") == 1 and "one answer only" in demo.result.value
    assert demo._fallback.count("<img") == 2 and demo.seed not in demo.live.children[2].children


def test_smoke_enhance_gan_answers_in_the_widget(low):
    from facelib.methods.enhance import EnhanceGAN
    method = EnhanceGAN()
    demo = PixelDemo(method, low[:1], n=2)
    assert torch.equal(demo.enlarged, resolution.back_project(method.upscale(low[:1]), low[:1]))
    assert demo.variants.shape == (2, 3, 32, 32) and max(demo.off) < 0.25
    before = demo.variants
    demo.canvas.set_state({"pixels": painted(demo, 3, 3, "ffffff")})
    assert not torch.equal(demo.variants, before) and max(demo.off) < 0.25


def test_every_edit_changes_few_pixels_and_stays_in_range(low):
    for name, edit in EDITS.items():
        after = edit(low[:1].clone())
        resolution.check(after)
        assert ((after != low[:1]).any(1).sum() == 0) == (name == "as it is"), name


def test_stepper_is_small_and_asks_no_other_host(low):
    noise = torch.rand(9, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    page = pixels.stepper(NoisyBicubic(), noise, spread=2)
    assert len(page.encode()) < frames.PAGE_BYTES
    assert not re.findall(r"https?://|//cdn", page)
    assert all(alt for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page)) and page.count("<img") == 6
    assert "open the chapter in Colab or in Jupyter" in page and "All of these shrink to the same 8x8" in page


def test_a_notebook_shows_stepper_and_widget():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    code = textwrap.dedent("""
        import torch
        from facelib import resolution
        from facelib.widgets.pixels import PixelDemo
        class Bicubic:
            upscale = staticmethod(resolution.METHODS["bicubic"])
        PixelDemo(Bicubic(), torch.zeros(1, 3, 8, 8))
        """)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = [output["data"] for output in notebook.cells[0].outputs]
    assert "data-facelib-stepper" in outputs[0]["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in outputs[1]
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    canvas = next(model["state"] for model in state.values() if model["model_module"] == "anywidget")
    assert canvas["pixels"] == "808080" * 64


@pytest.mark.parametrize("width", [1280, 360])
def test_stepper_steps_in_a_browser(browser, low, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_content("<!doctype html><meta name=viewport content='width=device-width'>"
                     f"{pixels.stepper(NoisyBicubic(), low)}")
    parts = [page.locator(f'[data-part="{name}"]') for name in ("low", "enlarged", "answer1", "answer4")]
    caption = page.locator('[data-part="caption"]')
    before = [part.get_attribute("src") for part in parts] + [caption.inner_text()]
    page.get_by_role("button", name="Next step").click()
    after = [part.get_attribute("src") for part in parts] + [caption.inner_text()]
    assert all(a != b for a, b in zip(before, after, strict=True))
    page.get_by_role("button", name="Previous step").press("Enter")
    assert [part.get_attribute("src") for part in parts] == before[:4]
    page.get_by_label("Step", exact=True).press("ArrowRight")
    assert parts[1].get_attribute("src") == after[1]
    page.get_by_role("button", name="Next face").click()
    assert "Face 2, with a dark bar over the eyes" in caption.inner_text()
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tops = {round(page.locator(f'[data-part="answer{i}"]').bounding_box()["y"]) for i in range(1, 5)}
    assert len(tops) == 1, "the four answers stand side by side"
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


@pytest.fixture(params=[800, 360])
def canvas(request, browser, demo, tmp_path):
    traits = {key: getattr(demo.canvas, key) for key in ("size", "pixels", "demo")}
    script = demo.canvas._esm.replace("export default { render };", "")
    (tmp_path / "page.html").write_text(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<style>{demo.canvas._css}</style>{demo._fallback}"
        f'<div class="facelib-live"><div id="el"></div>{demo.result.value}</div>'
        f"<script>{MODEL.replace('TRAITS', json.dumps(traits))}"
        f"{script}; render({{model: window.model, el: document.getElementById('el')}});</script>")
    page = browser.new_page(viewport={"width": request.param, "height": 1000}, has_touch=True)
    page.goto((tmp_path / "page.html").as_uri())
    yield page
    page.close()


def alive(page):
    page.evaluate("window.model.tell('msg:custom', {type: 'alive'})")
    return page.locator("canvas")


def drawn(page):
    return re.findall("......", page.evaluate("window.model.get('pixels')"))


def middle(page, row, column):
    box = page.locator("canvas").bounding_box()
    return box["x"] + (column + 0.5) * box["width"] / 8, box["y"] + (row + 0.5) * box["height"] / 8


def choose(page, colour):
    page.get_by_label("Colour of the brush").evaluate(f"input => {{ input.value = '{colour}'; }}")


def test_without_a_kernel_the_stepper_stays_and_the_widget_hides(canvas):
    assert canvas.locator("[data-facelib-stepper]").is_visible() and not canvas.locator("canvas").is_visible()
    assert canvas.evaluate("window.sent")[0] == {"type": "alive?"}
    alive(canvas)
    assert not canvas.locator("[data-facelib-stepper]").is_visible() and canvas.locator("canvas").is_visible()
    assert canvas.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    box = canvas.locator("canvas").bounding_box()
    assert box["width"] == box["height"] >= 240, "pixels large enough for a finger"


def test_canvas_paints_a_stroke_with_the_mouse_and_sends_it_once(canvas, demo):
    alive(canvas)
    before = drawn(canvas)
    choose(canvas, "#ff0010")
    canvas.mouse.move(*middle(canvas, 2, 1))
    canvas.mouse.down()
    canvas.mouse.move(*middle(canvas, 2, 6))
    assert canvas.evaluate("window.saved") == 0, "one enlargement for a stroke, not one for every move"
    canvas.mouse.up()
    after = drawn(canvas)
    assert canvas.evaluate("window.saved") == 1
    assert [i for i in range(64) if before[i] != after[i]] == list(range(17, 23)) and set(after[17:23]) == {"ff0010"}
    demo.canvas.set_state({"pixels": "".join(after)})
    assert int((demo.low != demo.faces[:1]).any(1).sum()) == 6


def test_a_colour_is_picked_from_the_face(canvas):
    alive(canvas)
    before = drawn(canvas)
    pick = canvas.get_by_role("button", name="Pick from the face")
    pick.click()
    assert pick.get_attribute("aria-pressed") == "true"
    canvas.mouse.click(*middle(canvas, 6, 3))
    assert canvas.evaluate("window.saved") == 0 and pick.get_attribute("aria-pressed") == "false"
    assert canvas.get_by_label("Colour of the brush").input_value() == f"#{before[51]}"
    canvas.mouse.click(*middle(canvas, 0, 7))
    assert drawn(canvas)[7] == before[51]


def test_canvas_paints_with_a_finger(canvas):
    pad = alive(canvas)
    choose(canvas, "#0000ff")
    canvas.touchscreen.tap(*middle(canvas, 5, 5))
    assert drawn(canvas)[45] == "0000ff"
    assert pad.evaluate("c => getComputedStyle(c).touchAction") == "none"


def test_canvas_paints_with_the_keyboard_and_shows_its_focus(canvas):
    pad = alive(canvas)
    before = drawn(canvas)
    choose(canvas, "#00ff00")
    pad.focus()
    assert pad.evaluate("c => getComputedStyle(c).outlineWidth") == "3px"
    for press in ("ArrowLeft", "ArrowUp", "ArrowUp", "Space"):
        pad.press(press)
    canvas.wait_for_function("window.saved === 1")
    after = drawn(canvas)
    assert [i for i in range(64) if before[i] != after[i]] == [19] and after[19] == "00ff00"
    assert "Painted row 3, column 4: #00ff00" in canvas.locator('.facelib-pixels [role="status"]').inner_text()
    for _ in range(9):
        pad.press("ArrowRight")
    pad.press("Enter")
    assert canvas.get_by_label("Colour of the brush").input_value() == f"#{before[23]}"
    assert "arrows move" in canvas.locator(f"#{pad.get_attribute('aria-describedby')}").inner_text()
    pad.press("Space")
    assert canvas.evaluate("document.scrollingElement.scrollTop") == 0


def test_what_the_keys_painted_is_sent_before_a_button_is_pressed(canvas):
    pad = alive(canvas)
    pad.focus()
    pad.press("Space")
    pad.press("Tab")
    assert canvas.evaluate("window.saved") == 1
    canvas.wait_for_timeout(400)
    assert canvas.evaluate("window.saved") == 1


def test_canvas_follows_the_kernel(canvas):
    pad = alive(canvas)
    before = pad.evaluate("c => c.toDataURL()")
    canvas.evaluate("() => { model.set('pixels', 'c08040'.repeat(64)); model.tell('change:pixels'); }")
    assert pad.evaluate("c => c.toDataURL()") != before
