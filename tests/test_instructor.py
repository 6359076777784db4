"""The two editions of the built book: the instructors' holds every solution, closed, and the students' holds none."""

import pytest
from bs4 import BeautifulSoup
from exercises import ROOT, cells, chapters, code, exercises, solutions


@pytest.fixture(scope="module")
def instructor(root):
    """The instructors' edition, _build/instructor/html."""
    folder = root / "_build" / "instructor" / "html"
    if not (folder / "index.html").exists():
        pytest.fail("the instructors' edition has not been built; run make book-instructor first")
    return folder


@pytest.fixture(scope="module")
def secret():
    """slug -> the lines of its solution that stand nowhere else, so that a page which shows them shows the solution."""
    public = "\n".join([path.read_text(encoding="utf-8") for path in (ROOT / "facelib").rglob("*.py")]
                       + [cell["source"] for chapter in chapters() for cell in cells(chapter)])
    return {slug: [line.strip() for line in code(text).splitlines() if len(line.strip()) > 10 and line.strip() not in public]
            for chapter in chapters() for slug, text in solutions(chapter).items()}


def article(path):
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")


def test_every_solution_can_be_told_from_what_is_public(secret):
    assert secret and all(secret.values()), [slug for slug, lines in secret.items() if not lines]


def test_students_edition_holds_no_solution(html, secret):
    lines = [line for some in secret.values() for line in some]
    pages = {path: article(path) for path in [html / "book" / f"{chapter}.html" for chapter in chapters()]}
    texts = {path: page.get_text() for path, page in pages.items()}
    texts |= {path: path.read_text(encoding="utf-8") for path in [*(html / "_sources").rglob("*.*"), html / "searchindex.js"]}
    assert not list(html.rglob("solutions*")), "book/solutions is among the students' pages"
    for path, text in texts.items():
        shown = [line for line in lines if line in text]
        assert not shown and "Wrong answers:" not in text, f"{path.relative_to(html)} shows {shown}"


def test_instructors_edition_holds_each_solution_closed_below_its_exercise(instructor, secret):
    for chapter in chapters():
        page = article(instructor / "book" / f"{chapter}.html")
        found = {box.summary.get_text().strip(): box for box in page.select("details.sd-dropdown")}
        here = exercises(chapter)
        assert list(found) == [f"Solution: {exercise.slug}" for exercise in here]
        for exercise, box in zip(here, found.values(), strict=True):
            text = box.get_text()
            assert not box.has_attr("open") and all(line in text for line in secret[exercise.slug]), exercise.slug
            cell = box.find_previous("div", class_="cell_input")
            assert f'check.ex("{exercise.slug}"' in cell.get_text(), f"the solution of {exercise.slug} stands elsewhere"


def test_each_page_says_which_edition_it_is(html, instructor):
    pages = [path for path in instructor.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) > len(chapters())
    for path in pages:
        if "<article" in (text := path.read_text(encoding="utf-8")):
            assert "Instructors' edition" in text or "Instructors&#39; edition" in text, path.relative_to(instructor)
            assert "edition, with solutions" not in (html / path.relative_to(instructor)).read_text(encoding="utf-8")


def test_page_of_all_exercises_lists_each_once_with_its_time(html):
    tables = article(html / "book" / "exercises.html").select("table")
    assert len(tables) == 1 + len(chapters())
    every = [exercise for chapter in chapters() for exercise in exercises(chapter)]
    rows = [[cell.get_text().strip() for cell in row.select("td")] for table in tables[1:] for row in table.select("tbody tr")]
    assert [(slug, int(minutes)) for _, _, minutes, slug in rows] == [(e.slug, e.minutes) for e in every]
    links = [link["href"] for table in tables[1:] for link in table.select("a")]
    assert links == [f"{e.chapter}.html#{e.slug}" for e in every]
    total = [cell.get_text().strip() for cell in tables[0].select("tbody tr")[-1].select("td")]
    assert total[:2] == ["all", str(sum(e.minutes for e in every))]
    assert sum(map(int, total[2:])) == len(every)
