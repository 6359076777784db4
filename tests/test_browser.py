"""Every page in a real browser, at desktop and phone width. Pictures of them are left in _build/screenshots."""

from pathlib import Path

import pytest
from conftest import WIDTHS

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/*.html")) + ["search.html", "genindex.html"]


OVERFLOW = """() => {
  const wide = [];
  const inside = (e) => {  // does an ancestor scroll or clip it?
    for (let a = e.parentElement; a && a !== document.body; a = a.parentElement)
      if (getComputedStyle(a).overflowX !== 'visible') return true;
    return false;
  };
  for (const e of document.querySelectorAll('main *, article *'))
    if (e.getBoundingClientRect().right > innerWidth + 1 && !inside(e))
      wide.push(e.tagName + '.' + e.className + ' ' + (e.textContent || '').trim().slice(0, 40));
  return {scroll: document.documentElement.scrollWidth, width: innerWidth, screen: screen.width, wide: wide.slice(0, 5)};
}"""


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", PAGES)
def test_page_opens_without_error_and_fits(visit, name, width, root):
    page, errors, outside = visit(name, width)
    vendored = (root / "_vendor" / "assets").is_dir()
    if vendored:
        assert not outside, f"asks other hosts for {outside}"
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", timeout=20_000)
        widgets = page.locator('script[type="application/vnd.jupyter.widget-view+json"]').count()
        if widgets:
            page.wait_for_function("() => document.querySelectorAll('.jupyter-widgets, .lm-Widget').length > 0", timeout=20_000)
    else:
        errors = [error for error in errors if "require" not in error]  # the widget loader itself lies on another host
    shots = root / "_build" / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=shots / f"{Path(name).stem}-{width}.png", full_page=True)
    assert not errors, errors
    size = page.evaluate(OVERFLOW)
    # A phone's layout viewport grows with what does not fit, so it is held against the screen.
    assert size["scroll"] <= WIDTHS[width][0] + 1 and size["width"] <= WIDTHS[width][0] + 1, size
    broken = page.evaluate("() => [...document.images].filter(i => i.complete && !i.naturalWidth && i.src).map(i => i.src)")
    assert not broken, broken


def test_index_leads_to_the_welcome_page(visit):
    page, errors, _ = visit("index.html", "desktop")
    page.wait_for_url("**/book/welcome.html")
    assert page.locator("article h1").count() == 1 and not errors


def test_every_chapter_is_reached_from_the_welcome_page(visit):
    page, _, _ = visit("book/welcome.html", "desktop")
    links = set(page.eval_on_selector_all("nav a[href]", "links => links.map(a => a.href.split('#')[0])"))
    for name in PAGES:
        if name.startswith("book/"):
            assert any(link.endswith(name) for link in links), name


def test_search_finds_a_word(visit):
    page, errors, _ = visit("search.html?q=hole", "desktop")
    page.wait_for_selector("#search-results li", timeout=20_000)
    assert not errors


@pytest.mark.skipif("book/enhance.html" not in PAGES, reason="book/enhance.html has not been built")
@pytest.mark.parametrize("width", WIDTHS)
def test_painted_faces_are_stepped_through_in_their_chapter(visit, width):
    """The page has no kernel: the pixels widget must hide itself and leave its stepper, which works."""
    page, errors, _ = visit("book/enhance.html", width)
    box = page.get_by_role("group", name="8x8 faces painted and enlarged beforehand")
    assert box.is_visible() and "open the chapter in Colab" in box.inner_text()
    assert not page.locator(".facelib-pixels canvas:visible").count(), "controls that do nothing are on show"
    parts = [box.locator(f'[data-part="{part}"]') for part in ("low", "enlarged", "answer1")]
    before = [part.get_attribute("src") for part in parts]
    box.get_by_role("button", name="Next step").click()
    assert all(part.get_attribute("src") != src for part, src in zip(parts, before, strict=True))
    assert "All of these shrink to the same 8x8 pixels" in box.inner_text()
    box.get_by_role("button", name="Previous step").press("Enter")
    assert [part.get_attribute("src") for part in parts] == before
    right = [part.bounding_box()["x"] + part.bounding_box()["width"] for part in parts]
    assert max(right) <= WIDTHS[width][0] and not errors


@pytest.mark.skipif("book/recovery.html" not in PAGES, reason="book/recovery.html has not been built")
@pytest.mark.parametrize("width", WIDTHS)
def test_edited_faces_are_stepped_through_in_their_chapter(visit, width):
    """The page has no kernel: the latent editor must hide itself and leave its stepper, which works."""
    page, errors, _ = visit("book/recovery.html", width)
    box = page.get_by_role("group", name="Faces edited beforehand")
    assert box.is_visible() and "open the chapter in Colab" in box.inner_text()
    assert not page.locator(".facelib-latents:visible, .widget-slider:visible").count(), "controls that do nothing are on show"
    before, after = (box.locator(f'[data-part="{part}"]') for part in ("before", "after"))
    first, same = before.get_attribute("src"), after.get_attribute("src")
    box.get_by_role("button", name="Next edit").click()
    assert after.get_attribute("src") != same and before.get_attribute("src") == first
    assert "Smiling -2" in box.inner_text() and after.get_attribute("alt") == "Face 1 with Smiling -2"
    box.get_by_role("button", name="Previous edit").press("Enter")
    assert after.get_attribute("src") == same
    box.get_by_role("button", name="Next face").click()
    assert before.get_attribute("src") != first and "Face 2" in box.inner_text()
    right = [part.bounding_box()["x"] + part.bounding_box()["width"] for part in (before, after)]
    assert max(right) <= WIDTHS[width][0] and not errors
