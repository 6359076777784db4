"""Every page in a real browser, at desktop and phone width. Pictures of them are left in _build/screenshots."""

import json
from pathlib import Path

import pytest
from conftest import WIDTHS, open_page

ROOT = Path(__file__).resolve().parents[1]
HTML = ROOT / "_build" / "html"
PAGES = sorted(p.relative_to(HTML).as_posix() for p in HTML.glob("book/**/*.html")) + ["search.html", "genindex.html"]
VIEW = 'script[type="application/vnd.jupyter.widget-view+json"]'
WIDGETS = [name for name in PAGES if "data-facelib-stepper" in (text := (HTML / name).read_text(encoding="utf-8"))
           or "vnd.jupyter.widget-view" in text]
# What differs is asked: between the themes colours, at every width all but colours. Folded cells are unfolded.
AXE = {"desktop": {"light": {}, "dark": {"runOnly": ["color-contrast", "link-in-text-block"]}},
       "phone": {"light": {"rules": {"color-contrast": {"enabled": False}}}}}

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

DEAD = """() => [...document.querySelectorAll('.jupyter-widgets, .cell_output :is(input, select, textarea, canvas, button)')]
  .filter((e) => e.checkVisibility() && !e.closest('[data-facelib-stepper]') && !e.matches('.copybtn'))
  .map((e) => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module", params=[(name, width) for name in PAGES for width in WIDTHS], ids="-".join)
def opened(request, browser, address):
    """A page at a width, opened once for all tests of every page: (page, errors, requests to other hosts, name, width)."""
    found = open_page(browser, address, *request.param)
    yield (*found, *request.param)
    found[0].context.close()


def test_page_opens_without_error_and_fits(opened, root):
    page, errors, outside, name, width = opened
    vendored = (root / "_vendor" / "assets").is_dir()
    if vendored:
        assert not outside, f"asks other hosts for {outside}"
        if page.locator(".math").count():
            page.wait_for_selector("mjx-container", state="attached", timeout=20_000)    # the first may be folded away
        if page.locator(VIEW).count():
            page.wait_for_function("() => document.querySelectorAll('.jupyter-widgets, .lm-Widget').length > 0", timeout=20_000)
    else:
        errors = [error for error in errors if "require" not in error]  # the widget loader itself lies on another host
    shots = root / "_build" / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    shot = name.removeprefix("book/").removesuffix(".html").replace("/", "-")
    page.screenshot(path=shots / f"{shot}-{width}.png", full_page=True)
    assert not errors, errors
    size = page.evaluate(OVERFLOW)
    # A phone's layout viewport grows with what does not fit, so it is held against the screen.
    assert size["scroll"] <= WIDTHS[width][0] + 1 and size["width"] <= WIDTHS[width][0] + 1, size
    broken = page.evaluate("() => [...document.images].filter(i => i.complete && !i.naturalWidth && i.src).map(i => i.src)")
    assert not broken, broken


def test_page_is_accessible_in_both_themes(opened, axe):
    """Nothing is found by any rule of axe-core, whatever its weight. (Colours of what only a phone shows: test_accessible.)"""
    page, *_, width = opened
    page.evaluate("() => document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
    wrong = []
    for theme, options in AXE[width].items():
        page.evaluate("(theme) => { document.documentElement.dataset.theme = theme; }", theme)
        wrong += [f"{theme}: {line}" for line in axe(page, **options)]
    assert not wrong, "\n".join(wrong)


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


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", WIDGETS)
def test_every_widget_shows_without_a_kernel_what_can_be_stepped_through(visit, name, width):
    """Whatever asks for a kernel hides itself and leaves its stepper, which works by mouse and by keyboard."""
    page, errors, _ = visit(name, width)
    alone = page.locator(f".cell_output:has({VIEW}):not(:has([data-facelib-stepper]))")
    assert not alone.count(), "a live widget without anything made beforehand"
    page.wait_for_timeout(2000)             # a live widget that shows itself does so once it is drawn
    assert not page.evaluate(DEAD), "controls that do nothing are on show"
    for box in page.locator("[data-facelib-stepper]").all():
        assert box.get_attribute("aria-label") and "open the chapter in Colab" in box.inner_text()
        frames = json.loads(box.locator('script[type="application/json"]').text_content())
        faces, steps = len(frames), len(frames[0])
        slider, caption = box.get_by_role("slider"), box.locator('[data-part="caption"]')

        def shown(box=box):
            return box.locator("img").evaluate_all("images => images.map((image) => [image.src, image.alt])")

        def right(box=box):
            return max(image.bounding_box()["x"] + image.bounding_box()["width"] for image in box.locator("img").all())

        first = shown()
        for step in range(1, steps + 1):    # once around, by mouse
            before = shown()
            box.get_by_role("button", name="Next").first.click()
            assert shown() != before and caption.inner_text() == frames[0][step % steps]["text"]
            assert slider.input_value() == str(step % steps) and right() <= WIDTHS[width][0]
        assert shown() == first
        slider.press("ArrowRight")          # and by keyboard
        assert shown() != first and caption.inner_text() == frames[0][1]["text"]
        assert slider.get_attribute("aria-valuetext") == frames[0][1]["kind"]
        box.get_by_role("button", name="Previous").press("Enter")
        assert shown() == first
        if faces > 1:
            box.get_by_role("button", name="Next face").press("Space")
            assert shown() != first and caption.inner_text() == frames[1][0]["text"]
    assert not errors
