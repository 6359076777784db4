"""The reference pages: figures come from the results, verdicts are counted, and the lines that a page shows run."""

import json
import re
from collections import Counter
from pathlib import Path

import figures
import pytest

from facelib import weights

BOOK = Path(__file__).parents[1] / "book"
VERDICTS = ("holds", "in part", "does not hold", "not seen", "not tested")
FOUND = [(path.stem, text) for path in sorted(BOOK.glob("*.md")) for text in re.findall(r"\{found\}`([^`]+)`", path.read_text())]


def test_a_role_reads_a_mean_a_row_a_card_and_a_format():
    glcic = json.loads((BOOK / "results" / "glcic.json").read_text())["variants"]["saturating loss"]["hole_psnr_change"]
    assert figures.told("glcic > variants > saturating loss > hole_psnr_change") == (
        f"{glcic['mean']:.2f} ({glcic['low']:.2f} to {glcic['high']:.2f})")
    rows = json.loads((BOOK / "results" / "benchmark.json").read_text())["rows"]
    fd = next(row["fd_attr"] for row in rows if (row["method"], row["hole"]) == ("dcgan+poisson", "center"))
    assert figures.told("benchmark > rows > method=dcgan+poisson hole=center > fd_attr : .1f") == f"{fd:.1f}"
    assert figures.told("card glcic_64 > images_seen : ,") == f"{weights.card('glcic_64')['images_seen']:,}"
    assert figures.told("denoising > variants > without discriminator > hole_psnr_change : +.1f").startswith("\N{MINUS SIGN}")


@pytest.mark.parametrize("text", ["glcik > rows", "glcic > variants > no such run > fd_attr", "card glcic_64 > no such key",
                                  "benchmark > rows > method=none > fd_attr", "benchmark > rows > glcic_64 > fd_attr"])
def test_a_figure_that_is_not_there_is_an_error(text):
    with pytest.raises(KeyError):
        figures.told(text)


def test_every_figure_of_the_pages_is_there():
    assert len(FOUND) > 100
    for page, text in FOUND:
        assert figures.told(text), f"{page}.md: {text}"


def claims():
    """Claim -> verdict, from the tables of the page."""
    cells = (line.strip("|").rsplit("|", 2) for line in (BOOK / "claims.md").read_text().splitlines() if line.count("|") == 4)
    return {said.strip(): verdict.strip() for said, _, verdict in cells if verdict.strip() not in ("verdict", "---")}


def test_verdicts_are_counted_as_the_page_says():
    found = Counter(claims().values())
    assert set(found) == set(VERDICTS)
    said = re.search(r"Of the (\d+) claims below (\d+) hold, (\d+) hold in part, (\d+) do not hold, (\d+) are not seen either "
                     r"way, and (\d+) were\s+not tested", (BOOK / "claims.md").read_text())
    assert [int(number) for number in said.groups()] == [sum(found.values()), *(found[verdict] for verdict in VERDICTS)]


# A claim's first words -> the sign that its figure must have for the verdict to stand: (file, run, key, sign of the interval).
SIGNS = {
    "The discriminator helps reconstruction": ("denoising", "without discriminator", "hole_psnr_change", -1),
    "... and the reconstruction is slightly worse": ("denoising", "X = 0.01", "hole_psnr_change", 1),
    "... and outside the mask it is mostly clear": ("denoising", "without pooling", "outside_psnr_change", 1),
    "The pooling is *max* pooling": ("denoising", "max pooling", "hole_psnr_change", -1),
    "Batch normalisation helps": ("glcic", "without batch norm", "hole_psnr_change", -1),
    "Stage three makes": ("enhance", "A and B, as long", "psnr_change", -1),
    "In an earlier version with a VAE": ("enhance", "VAE: A and B", "psnr_change", -1),
    "A perceptual loss gives": ("enhance", "pixels for perceptual", "psnr_change", -1),
    "A good prediction needs": ("latents", "project", "psnr_32_change", -1),
    "SSIM is better than MSE": ("latents", "ssim", "psnr_searched_change", -1),
    "Recovery depends on the resolution": ("latents", "64 pixels", "psnr_32_change", -1),
}


@pytest.mark.parametrize("claim", SIGNS)
def test_verdicts_fit_their_figures(claim):
    file, run, key, sign = SIGNS[claim]
    assert sum(said.startswith(claim) for said in claims()) == 1, "the claim's words have changed"
    told = figures.look(f"{file} > variants > {run} > {key}")
    assert (told["low"] if sign > 0 else -told["high"]) > 0


def test_the_guide_knows_exercises_and_times():
    text = (BOOK / "instructors.md").read_text()
    slugs = re.findall(r"\{minutes\}`([^`]+)`", text)
    assert len(slugs) > 30 and set(slugs) <= set(figures.times())
    said = {chapter: int(minutes) for chapter, minutes in re.findall(r"(?m)^\| \{doc\}`(\w+) <\w+>` \| (\d+) \|", text)}
    told = {path.stem: int(re.search(r"\*\*Time\*\*: (\d+) minutes", path.read_text())[1]) for path in BOOK.glob("*.ipynb")}
    assert said == told, "minutes of the chapters"


def test_the_contextual_weights_were_measured_with_the_weights_that_ship():
    found = figures.read("context_weights")
    assert found["weights"].pop("near the hole") == found["weights"].pop("all alike") == weights.card("dcgan")["sha256"]
    assert all(weights.card(name)["sha256"] == digest for name, digest in found["weights"].items())


def test_the_lines_of_the_page_on_failures_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = (BOOK / "failures.md").read_text()
    blocks, symptoms, space = re.findall(r"(?ms)^```python\n(.*?)^```", text), re.split(r"(?m)^### ", text)[1:], {}
    assert len(symptoms) >= 30
    for symptom in symptoms:
        title = symptom.splitlines()[0]
        assert "*First check*" in symptom and "{doc}" in symptom or "install cell" in symptom, title
    for block in blocks:
        exec(compile(block, f"failures.md: {block.splitlines()[0]}", "exec"), space)
