"""What pages hold for readers without a mouse, a wide screen or on paper. (test_browser asks axe-core about every page.)"""

import re

import pytest

PAGE, TABLES, FIGURES = "book/notation.html", "book/benchmark.html", "book/gan.html"
SET = "(theme) => { document.documentElement.dataset.theme = theme; }"


def luminance(colour):
    """Relative luminance (WCAG 2.2) of what getComputedStyle says."""
    r, g, b = ((c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4)
               for c in (float(part) / 255 for part in re.findall(r"[\d.]+", colour)[:3]))
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_only_a_phone_shows_is_accessible(visit, axe, theme):
    """The header's buttons, and the contents that one of them opens: with colours, which test_browser asks at the desktop."""
    page, errors, _ = visit(PAGE, "phone")
    page.evaluate(SET, theme)
    assert not axe(page)
    page.locator("button.primary-toggle").click()
    page.wait_for_selector("#pst-primary-sidebar-modal[open]")
    assert not axe(page) and not errors
    page.keyboard.press("Escape")
    assert not page.locator("#pst-primary-sidebar-modal[open]").count()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_search_dialog_is_accessible(visit, axe, theme):
    page, errors, _ = visit(PAGE, "desktop")
    page.evaluate(SET, theme)
    page.keyboard.press("Control+k")
    page.wait_for_selector("#pst-search-dialog[open]")
    assert page.evaluate("() => document.activeElement.matches('input[type=search]')")
    assert not axe(page) and not errors


@pytest.mark.parametrize("width", ["desktop", "phone"])
def test_a_wide_table_scrolls_in_its_own_box_by_keyboard(visit, width):
    page, _, _ = visit(TABLES, width)
    wide = page.locator("[data-wide]:has(> table)")
    wide.first.wait_for()
    for box in wide.all():
        assert box.get_attribute("tabindex") == "0" and "scrolls sideways" in box.get_attribute("aria-label")
        assert "scroll sideways" in box.evaluate("box => getComputedStyle(box, '::after').content")
        assert box.evaluate("box => getComputedStyle(box.querySelector('table')).display") == "table", "read as a table"
        first = box.locator("tbody tr").first.locator("td").first
        before = first.bounding_box()
        box.focus()
        page.keyboard.press("End")
        for _ in range(8):
            page.keyboard.press("ArrowRight")
        page.wait_for_function("box => box.scrollLeft > 20", arg=box.element_handle())
        after = first.bounding_box()
        assert abs(after["x"] - before["x"]) <= 1, "the first column left the screen"
        assert before["width"] < 0.55 * box.bounding_box()["width"], "the first column leaves no room for the others"


def test_figures_lie_on_white_in_both_themes_and_text_on_the_page(visit):
    page, _, _ = visit(FIGURES, "desktop")
    style = "e => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color, getComputedStyle(e).filter]"
    for theme in ("light", "dark"):
        page.evaluate(SET, theme)
        paper, _, change = page.locator(".cell_output .text_html > img").first.evaluate(style)
        assert change == "none" and (theme == "light" or luminance(paper) == 1)
        body, text, _ = page.locator("body").evaluate(style)
        light, dark = sorted((luminance(body), luminance(text)), reverse=True)
        assert (light + 0.05) / (dark + 0.05) > 7 and (luminance(body) > luminance(text)) == (theme == "light")
        # A box of an output is no card of its own: what stands in it is text in the theme's colours.
        assert page.locator(".cell_output .text_html:has(> table)").first.evaluate(style)[0] == "rgba(0, 0, 0, 0)"


def test_the_keyboard_comes_first_to_the_contents_and_is_seen_everywhere(visit):
    page, _, _ = visit(FIGURES, "desktop")
    page.keyboard.press("Tab")
    assert page.evaluate("() => document.activeElement.closest('.skip-link') !== null")
    page.keyboard.press("Enter")
    assert page.url.endswith("#main-content")
    seen = []
    for _ in range(25):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("""() => {
          const e = document.activeElement, style = getComputedStyle(e);
          return [e.tagName, style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) > 0 || style.boxShadow !== 'none',
                  e.outerHTML.slice(0, 120)]; }"""))
    assert all(outlined for _, outlined, _ in seen), [html for _, outlined, html in seen if not outlined]
    assert "MJX-CONTAINER" not in {tag for tag, *_ in seen}, "formulas that do not scroll are stops of the tab key"


def test_language_motion_and_paper(visit):
    page, _, _ = visit(FIGURES, "desktop")
    assert page.locator("html").get_attribute("lang") == "en"
    moving = page.evaluate("""() => [...document.querySelectorAll('*')].filter((e) => {
      const style = getComputedStyle(e);
      return style.animationName !== 'none' || style.scrollBehavior === 'smooth'
        || style.transitionDuration.split(',').some((time) => parseFloat(time) > 0); }).map((e) => e.outerHTML.slice(0, 80))""")
    assert not moving, moving[:3]
    page.evaluate(SET, "dark")
    page.evaluate("() => dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    assert page.locator("html").get_attribute("data-theme") == "light", "grey letters on white paper"
    assert page.locator("pre").first.evaluate("e => getComputedStyle(e).whiteSpace") == "pre-wrap", "long lines would be cut off"
    page.evaluate("() => dispatchEvent(new Event('afterprint'))")
    assert page.locator("html").get_attribute("data-theme") == "dark"
