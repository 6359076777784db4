"""The latent editor: its sliders driven as a browser drives them, its pictures and its stepper in a real browser."""

import json
import re
import textwrap
import time

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget")

from facelib import load_faces, load_pretrained
from facelib.data import ATTRIBUTES
from facelib.methods.infogan import InfoGAN
from facelib.methods.predictor import Predictor
from facelib.widgets import frames, latent_editor
from facelib.widgets.latent_editor import NAMED, SAMPLE, STRIP, LatentEditor


@pytest.fixture(scope="module")
def method():
    """A predictor that was not trained, with directions fitted to rendered faces: every verb does its work."""
    generator = InfoGAN(InfoGAN.presets["smoke"], seed=1)
    method = Predictor(Predictor.config_for(Predictor.presets["smoke"], generator, "untrained"), seed=1)
    method.take(generator)
    people = load_faces("synthetic", size=32).train.take(slice(0, 128))
    method.directions.follow(torch.from_numpy(people.attributes), method.layout.join(method.encode(people.tensor())))
    return method.eval()


@pytest.fixture(scope="module")
def faces():
    return load_faces("generated", size=32).test.tensor(slice(0, 2))


@pytest.fixture
def editor(method, faces):
    return LatentEditor(method, faces, attributes=["Smiling", "Male"])


@pytest.mark.parametrize("face", [0, SAMPLE])
def test_a_slider_changes_the_picture_and_reset_brings_it_back_bit_for_bit(editor, face):
    editor.face.value = face
    before, strip, shown, latents = editor.after, editor.strip, editor.canvas.rows, editor.latents
    assert torch.equal(editor.before, before) and editor.amounts == {}
    for name, control in editor.controls.items():
        control.value = 3 if name == "c_cat0" else -0.9 if name in editor.method.layout.codes else 1.5
        assert editor.amounts == {name: control.value}
        assert (editor.after - before).abs().max() > 1e-3 and torch.equal(editor.before, before)
        assert editor.canvas.rows[0][1][1]["src"] != shown[0][1][1]["src"] and editor.canvas.rows[0][1][0] == shown[0][1][0]
        editor.reset.click()
        assert torch.equal(editor.after, before) and torch.equal(editor.latents, latents) and editor.amounts == {}
        assert editor.controls["c_cat0"].label == "as it is"
        assert editor.canvas.rows[0][1][1]["src"] == shown[0][1][1]["src"]
    editor.controls["Smiling"].value = 0.05
    editor.controls["Smiling"].value = 0.0      # by hand, with the strip of the same slider
    assert torch.equal(editor.after, before) and torch.equal(editor.strip, strip)


def test_the_sliders_do_what_the_methods_edit_does(editor, method, faces):
    editor.controls["Male"].value = -2.0
    assert torch.allclose(editor.after, method.edit(faces[:1], "Male", -2.0), atol=1e-5)
    editor.details.value = False
    assert torch.allclose(editor.after, method.edit(faces[:1], "Male", -2.0, details=False), atol=1e-5)
    assert torch.equal(editor.before, faces[:1])


def test_edits_add_up_in_whatever_order_they_are_made(editor, method, faces):
    moves = {"Male": -1.5, "c_cont1": 0.5, "Smiling": 2.0, "c_cat0": 7}
    for name, amount in moves.items():
        editor.controls[name].value = amount
    both, shown = editor.latents, editor.after
    found = method.layout.join(method.encode(faces[:1]))
    wanted = method.move(method.move(found, "Smiling", 2.0), "Male", -1.5)
    wanted = method.layout.set(method.layout.set(wanted, "c_cat0", 7), "c_cont1", 0.5)
    assert torch.equal(both, wanted) and editor.amounts == moves
    assert method.layout.split(both)["c_cat"][0].tolist() == [float(i == 7) for i in range(10)]
    editor.reset.click()
    for name, amount in reversed(moves.items()):
        editor.controls[name].value = amount
    assert torch.equal(editor.latents, both) and torch.allclose(editor.after, shown, atol=1e-5)


def test_the_strip_goes_the_way_of_the_slider_that_was_moved_last(editor, method):
    title, pictures = editor.canvas.rows[1]
    assert title == "Smiling" and [picture["name"] for picture in pictures] == ["-2", "-1", "0", "1", "2"]
    editor.controls["Smiling"].value = 1.0
    editor.controls["Male"].value = 2.0
    assert len(editor.strip) == len(STRIP) and editor.canvas.rows[1][0] == "Male"
    assert torch.allclose(editor.strip[4:], editor.after, atol=1e-5)        # the other edits stay
    assert editor.strip[2:3].sub(editor.after).abs().max() > 1e-3
    editor.controls["c_cont0"].value = -0.5
    title, pictures = editor.canvas.rows[1]
    assert title == "c_cont0" and [picture["name"] for picture in pictures] == ["-1", "-0.5", "0", "0.5", "1"]
    assert torch.allclose(editor.strip[1:2], editor.after, atol=1e-5)
    editor.controls["c_cat0"].value = 4
    assert len(editor.strip) == 10 and torch.allclose(editor.strip[4:5], editor.after, atol=1e-5)


def test_a_code_slider_stands_where_the_face_has_its_code(editor, method):
    editor.face.value, editor.seed.value = SAMPLE, 3
    codes = method.layout.split(editor.latents)["c_cont"][0]
    for i, code in enumerate(codes.tolist()):
        assert editor.controls[f"c_cont{i}"].value == pytest.approx(code, abs=0.026)
    assert editor.controls["c_cat0"].label == "as it is" and editor.amounts == {}
    assert torch.equal(editor.latents, method.draw_latents(1, seed=3, spread=0.7))


def test_the_same_seed_gives_the_same_sample(editor, method, faces):
    editor.face.value = SAMPLE
    first = editor.before
    editor.seed.value = 5
    other = editor.before
    editor.seed.value = 0
    assert torch.equal(editor.before, first) and not torch.equal(other, first)
    assert editor.psnr is None and "PSNR" not in editor.canvas.text
    editor.spread.value = 0.0
    still = editor.before
    assert not torch.equal(still, first)
    again = LatentEditor(method, faces[:1], attributes=["Male"], seed=5)
    again.face.value = SAMPLE
    assert torch.equal(again.before, other)


def test_only_what_fits_the_face_is_on_show(editor):
    assert editor.drawn.layout.display == "none" and editor.given.layout.display is None
    editor.face.value = SAMPLE
    assert editor.drawn.layout.display is None and editor.given.layout.display == "none" and editor.refine.disabled
    editor.face.value = 1
    assert not editor.refine.disabled


def test_refine_searches_tells_its_progress_and_keeps_the_edit(editor, monkeypatch, faces):
    monkeypatch.setattr(latent_editor, "STEPS", 8)
    editor.bar.max, told = 8, []
    editor.bar.observe(lambda change: told.append((change["new"], editor.refine.disabled, editor.bar.layout.visibility)), "value")
    editor.details.value = False
    editor.controls["Smiling"].value = 1.0
    before, after = editor.psnr, editor.after
    editor.refine.click()
    assert editor.psnr != before and f"it was {before:.1f} dB" in editor.canvas.text
    assert told == [(step, True, "visible") for step in range(1, 9)]
    assert not editor.refine.disabled and editor.bar.layout.visibility == "hidden"
    assert editor.amounts == {"Smiling": 1.0} and not torch.equal(editor.after, after)
    found = editor.start.latents
    assert torch.equal(found, editor.method.recover(faces[:1], 8).latents)
    assert torch.allclose(editor.latents, editor.method.move(found, "Smiling", 1.0))
    editor.reset.click()
    assert torch.equal(editor.latents, found), "the search is not undone"
    editor.face.value = 1
    assert "it was" not in editor.canvas.text and torch.equal(editor.before, faces[1:])


def test_pictures_have_a_text_and_the_status_says_what_was_done(editor):
    editor.controls["Male"].value = -1.25
    pictures = [picture for _, row in editor.canvas.rows for picture in row]
    assert [picture["alt"] for picture in pictures[:3]] == ["face 1 before the edit", "face 1 after the edit: Male -1.25",
                                                            "face 1 with Male -2"]
    assert all(picture["alt"] and picture["name"] for picture in pictures) and len({p["alt"] for p in pictures}) == 7
    assert all(picture["src"].startswith("data:image/png;base64,") for picture in pictures)
    assert re.match(r"Face 1: Male -1\.25\. Made in \d+ ms\. What the generator makes of this face is \d+\.\d dB PSNR",
                    editor.canvas.text)
    assert f"{editor.milliseconds:.0f} ms" in editor.canvas.text
    assert all(control.description for control in (*editor.controls.values(), editor.face, editor.seed, editor.spread,
                                                   editor.details, editor.reset, editor.refine, editor.upload.button))


def test_a_photograph_is_aligned_found_and_edited(editor, upload, method):
    pytest.importorskip("cv2")
    upload(editor.upload, "eileen.jpg", pytest.importorskip("skimage.data").astronaut())
    assert editor.face.label == "eileen.jpg" and editor.upload.message.value == "" and len(editor.faces) == 3
    photo = editor.faces[2:]
    assert torch.equal(editor.before, photo) and torch.equal(editor.after, photo)
    editor.controls["Smiling"].value = 2.0
    assert torch.allclose(editor.after, method.edit(photo, "Smiling", 2.0), atol=1e-5)
    assert not torch.equal(editor.after, photo) and "Eileen.jpg: Smiling +2" in editor.canvas.text


def test_bad_uploads_are_named_and_change_nothing(editor, upload):
    pytest.importorskip("cv2")
    editor.controls["Smiling"].value = 1.0
    after = editor.after
    upload(editor.upload, "notes.txt", b"not a picture at all")
    assert "notes.txt: " in editor.upload.message.value and 'role="alert"' in editor.upload.message.value
    upload(editor.upload, "wall.jpg", np.full((120, 160, 3), 90, np.uint8))
    assert "No face was found in wall.jpg" in editor.upload.message.value
    assert editor.upload.by_hand.layout.display is None and torch.equal(editor.after, after) and len(editor.faces) == 2
    editor.upload.eyes.value = "60, 50, 100, 50"
    editor.upload.use_eyes.click()
    assert editor.face.label == "wall.jpg" and editor.upload.message.value == "" and editor.amounts == {}


def test_all_named_attributes_and_codes_have_sliders_and_wrong_ones_are_refused(method, faces):
    assert list(LatentEditor(method, faces[:1]).controls) == [*NAMED, "c_cat0", "c_cont0", "c_cont1"]
    with pytest.raises(ValueError, match="attributes must be of .*Smiling.*, got Happy"):
        LatentEditor(method, faces, attributes=["Smiling", "Happy"])
    with pytest.raises(ValueError, match=r"\(B, 3, 32, 32\).*got \(1, 3, 64, 64\)"):
        LatentEditor(method, torch.zeros(1, 3, 64, 64))
    with pytest.raises(ValueError, match="InfoGAN has no recover, move, attributes; use load_pretrained"):
        LatentEditor(InfoGAN(InfoGAN.presets["smoke"]))


def test_a_generator_without_codes_and_a_predictor_without_directions(faces):
    def predictor(**fields):
        return Predictor(Predictor.presets["smoke"].__class__(
            **{**vars(Predictor.presets["smoke"]), **fields})).eval()

    with pytest.raises(ValueError, match="neither codes nor attribute directions"):
        LatentEditor(predictor(categorical=(), continuous=0), faces)
    editor = LatentEditor(predictor(continuous=1), faces[:1])
    assert list(editor.controls) == ["c_cat0", "c_cont0"] and len(editor.strip) == 10


def test_the_kernel_answers_the_pictures_and_nothing_else(editor, monkeypatch):
    sent = []
    monkeypatch.setattr(editor.canvas, "send", sent.append)
    for message in ({"type": "run"}, "alive?", None):
        editor.canvas._handle_custom_msg(message, [])
    assert sent == []
    editor.canvas._handle_custom_msg({"type": "alive?"}, [])
    assert sent == [{"type": "alive"}]


def test_stepper_is_small_whole_and_asks_no_other_host(method, faces):
    page = latent_editor.stepper(method, faces, ["Smiling", "Male", "c_cat0", "c_cont0"])
    assert len(page.encode()) < frames.PAGE_BYTES and not re.findall(r"https?://|//cdn", page)
    assert all(alt for alt in re.findall(r'<img[^>]* alt="([^"]*)"', page)) and page.count("<img") == 2
    assert "open the chapter in Colab or in Jupyter" in page
    first, second = json.loads(page.split('<script type="application/json">')[1].split("</script>")[0])
    assert [step["kind"] for step in first[:6]] == ["as it is", "Smiling -2", "Smiling -1", "Smiling +1", "Smiling +2", "Male -2"]
    assert len({step["after"][1] for step in first}) == len(first) == len(second) == 1 + 2 * 4 + 10 + 5
    assert "before" in first[0] and not any("before" in step for step in first[1:])


def test_a_notebook_shows_stepper_and_widget_and_a_slider_moves_the_face_there():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    show = textwrap.dedent("""
        from facelib.methods.predictor import Predictor
        from facelib.widgets.latent_editor import LatentEditor
        editor = LatentEditor(Predictor().eval())
        editor
        """)
    move = "before = editor.after\neditor.controls['c_cont0'].set_state({'value': 1.0})\n"
    move += "print(bool((editor.after != before).any()))"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in (show, move)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    outputs = [output["data"] for output in notebook.cells[0].outputs]
    assert "data-facelib-stepper" in outputs[0]["text/html"]
    assert "application/vnd.jupyter.widget-view+json" in outputs[1]
    assert notebook.cells[1].outputs[0]["text"] == "True\n"
    state = notebook.metadata["widgets"]["application/vnd.jupyter.widget-state+json"]["state"]
    assert any(model["model_module"] == "anywidget" for model in state.values())


@pytest.fixture(scope="module")
def published():
    return LatentEditor(load_pretrained("predictor"))


@pytest.mark.parametrize("name", ["Smiling", "Male"])
def test_a_slider_of_the_shipped_predictor_moves_the_judges_score_the_right_way(published, name):
    """Faces of nobody: with details, as the widget starts; less than nothing, nothing, more."""
    judge, place = load_pretrained("judge_attr"), ATTRIBUTES.index(name)
    for face in range(len(published.faces)):
        published.face.value = face
        scores = []
        for amount in (-2.0, 0.0, 2.0):
            published.controls[name].value = amount
            with torch.no_grad():
                scores.append(float(judge.logits(published.after)[0, place]))
        assert scores[0] < scores[1] < scores[2], f"face {face + 1}: {scores}"


def test_a_slider_of_the_shipped_predictor_costs_one_small_batch_and_little_time(published):
    batches = []
    hook = published.method.G.register_forward_pre_hook(lambda network, latents: batches.append(len(latents[0])))
    times = []
    for amount in (0.5, 1.0, 1.5, 2.0, 2.5):
        began = time.process_time()     # of the processor, whatever else runs on it
        published.controls["Smiling"].value = amount
        times.append(time.process_time() - began)
    hook.remove()
    assert batches == [6] * 5 and min(times) < 0.05


def test_three_faces_fit_into_the_stepper_of_the_shipped_predictor(published):
    assert len(published._fallback.encode()) < frames.PAGE_BYTES
    faces = json.loads(published._fallback.split('<script type="application/json">')[1].split("</script>")[0])
    assert len(faces) >= 3 and all(len(steps) == 1 + 6 * 4 for steps in faces)


@pytest.mark.parametrize("width", [1280, 360])
def test_stepper_steps_in_a_browser(browser, method, faces, width):
    page = browser.new_page(viewport={"width": width, "height": 800})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.set_content("<!doctype html><meta name=viewport content='width=device-width'>"
                     f"{latent_editor.stepper(method, faces, ['Smiling', 'Male'])}")
    before, after, caption = (page.locator(f'[data-part="{part}"]') for part in ("before", "after", "caption"))
    start = before.get_attribute("src"), after.get_attribute("src")
    assert start[0] == start[1]
    page.get_by_role("button", name="Next edit").click()
    assert before.get_attribute("src") == start[0] and after.get_attribute("src") != start[1]
    assert caption.inner_text() == "Face 1, Smiling -2." and after.get_attribute("alt") == "Face 1 with Smiling -2"
    slider = page.get_by_label("Edit", exact=True)
    slider.press("ArrowRight")
    assert caption.inner_text() == "Face 1, Smiling -1." and slider.get_attribute("aria-valuetext") == "Smiling -1"
    page.get_by_role("button", name="Next face").click()
    assert caption.inner_text() == "Face 2, Smiling -1." and before.get_attribute("src") != start[0]
    page.get_by_role("button", name="Previous edit").press("Enter")
    page.get_by_role("button", name="Previous edit").press("Enter")
    assert before.get_attribute("src") == after.get_attribute("src")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    tops = {round(part.bounding_box()["y"]) for part in (before, after)}
    assert len(tops) == 1 and not errors
    page.close()


# What the front end gives to a widget's JavaScript, as far as ours uses it: traits, events, messages.
MODEL = """
  const traits = TRAITS, heard = {};
  window.sent = [];
  window.model = {
    get: (key) => traits[key], off: () => {}, on: (name, fn) => { (heard[name] ??= []).push(fn); },
    set: (key, value) => { traits[key] = value; }, send: (message) => window.sent.push(message),
    tell: (name, value) => (heard[name] || []).forEach((fn) => fn(value)),
  };
"""
SLIDER = ('<div class="widget-slider"><label>Smiling</label><div class="noUi-handle" role="slider" tabindex="0" '
          'aria-valuenow="0">o</div></div>')


@pytest.mark.parametrize("width", [800, 360])
def test_pictures_follow_the_kernel_in_a_browser(browser, editor, tmp_path, width):
    traits = {key: getattr(editor.canvas, key) for key in ("rows", "text", "demo")}
    script = editor.canvas._esm.replace("export default { render };", "")
    (tmp_path / "page.html").write_text(
        "<!doctype html><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<style>{editor.canvas._css}</style>{editor._fallback}"
        f'<div class="facelib-live">{SLIDER}<div id="el"></div></div>'
        f"<script>{MODEL.replace('TRAITS', json.dumps(traits))}"
        f"{script}; render({{model: window.model, el: document.getElementById('el')}});</script>")
    page = browser.new_page(viewport={"width": width, "height": 900})
    errors = []
    page.on("pageerror", lambda error: errors.append(error))
    page.goto((tmp_path / "page.html").as_uri())
    stepper, live = page.locator("[data-facelib-stepper]"), page.locator(".facelib-live")
    assert stepper.is_visible() and not live.is_visible() and page.evaluate("window.sent")[0] == {"type": "alive?"}
    page.evaluate("window.model.tell('msg:custom', {type: 'alive'})")
    assert not stepper.is_visible() and live.is_visible()
    assert page.get_by_role("slider", name="Smiling").count() == 1, "the sliders' handles have no name of their own"

    pictures, status = live.locator("img"), live.get_by_role("status")
    assert [picture.get_attribute("alt") for picture in pictures.all()][:2] == ["face 1 before the edit",
                                                                                "face 1 after the edit: as it is"]
    same = pictures.nth(1).element_handle()
    editor.controls["c_cat0"].value = 2
    page.evaluate("traits => { for (const k in traits) model.set(k, traits[k]); model.tell('change:rows'); }",
                  {"rows": editor.canvas.rows, "text": editor.canvas.text})
    assert pictures.count() == 12 and "c_cat0 class 2" in status.inner_text()
    assert same.get_attribute("src") == editor.canvas.rows[0][1][1]["src"], "changed in place, not made anew"
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
    assert page.evaluate("[...document.querySelectorAll('.facelib-live img')].every(i => i.naturalWidth === 32)")
    editor.controls["Male"].value = 1.0
    page.evaluate("rows => { model.set('rows', rows); model.tell('change:rows'); }", editor.canvas.rows)
    assert pictures.count() == 7 and not errors
    page.close()
