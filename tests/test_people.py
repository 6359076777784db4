"""For whom a method errs, and which attributes it changes: the measurement, and what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from facelib import load_faces, metrics, weights
from facelib.data import ATTRIBUTES
from facelib.evaluate import entrants, people

RESULTS = Path(__file__).parents[1] / "book" / "results"
REPORTS = {"people": ["mean_face", "glcic_64", "context_encoder_64", "denoising_64", "dcgan", "bicubic", "sr_regression",
                      "enhance", "sr_gan"], "people_synthetic": ["mean_face", "glcic_synthetic", "denoising_synthetic"]}
YARDSTICKS = {"mean_face": ("benchmark", "psnr_hole"), "glcic_64": ("benchmark", "psnr_hole"),
              "dcgan": ("benchmark", "psnr_hole"), "enhance": ("upscale", "psnr"),
              "sr_gan": ("upscale", "psnr"), "bicubic": ("upscale", "psnr")}


def read(name):
    return json.loads((RESULTS / f"{name}.json").read_text())


@pytest.fixture(scope="module")
def report():
    faces, small = (load_faces(size=size) for size in (64, 32))
    return people.evaluate(["glcic_synthetic", "nearest"], faces, small, n=100)


def test_groups_have_the_means_of_their_faces(report):
    """A row's figures, computed again face by face."""
    faces = load_faces().test.take(slice(0, 100))
    truth, row = faces.tensor(), {row["method"]: row for row in report["rows"]}["glcic_synthetic"]
    made = entrants("glcic_synthetic", load_faces())["glcic_synthetic"].complete(truth, people.masks.center(100, 64))
    each = metrics.psnr(made, truth, people.masks.center(100, 64))
    label = np.array(faces.attributes[:, ATTRIBUTES.index("Smiling")])
    yes, no = (each[torch.from_numpy(label == side)].mean().item() for side in (1, 0))
    told = row["attributes"]["Smiling"]
    assert told["yes"]["faces"] == (label == 1).sum() and report["labels"]["Smiling"]["faces"] == told["yes"]["faces"]
    assert told["yes"]["psnr"]["mean"] == pytest.approx(yes, abs=1e-3)
    assert told["gap"]["psnr"]["mean"] == pytest.approx(yes - no, abs=1e-3)
    assert told["gap"]["psnr"]["low"] < yes - no < told["gap"]["psnr"]["high"]
    tones = row["tones"]
    assert sum(fifth["faces"] for fifth in tones.values()) == 100
    assert [fifth["tone"][0] for fifth in tones.values()] == sorted(fifth["tone"][0] for fifth in tones.values())
    lightness = ((made - truth) * people.LUMINANCE).sum(1)[:, 16:48, 16:48].mean((1, 2)) * 127.5
    assert row["lighter"]["mean"] == pytest.approx(lightness.mean().item(), abs=1e-3)


def test_baselines_come_first_and_gain_nothing(report):
    assert [row["method"] for row in report["rows"]] == ["mean_face", "glcic_synthetic", "bicubic", "nearest"]
    for row in report["rows"]:
        assert (row["gain"]["mean"] == 0) == (row["method"] in ("mean_face", "bicubic"))
        assert ("tones" in row) == (row["verb"] == "complete")
        for told in row["attributes"].values():
            assert told["change"]["mean"] == pytest.approx(told["after"] - told["before"])


def test_who_changes_nothing_loses_and_gains_nothing():
    """A method that knows the truth: no flip, no distance. And the opposite: every face becomes the same one."""
    draws = np.ones((5, 100), int)
    before = torch.arange(100) < 30
    same, all_of_them = people._flips(before, before, draws), people._flips(before, torch.ones(100, dtype=bool), draws)
    assert same["lost"]["mean"] == same["gained"]["mean"] == same["change"]["mean"] == 0
    assert all_of_them["lost"]["mean"] == 0 and all_of_them["gained"]["mean"] == 1
    assert all_of_them["change"]["mean"] == pytest.approx(0.7)
    assert people._flips(before & (torch.arange(100) < 19), before, draws)["lost"] is None, "too few to tell"


def test_photographs_of_a_person_are_drawn_together():
    class Split:
        identities = np.array([7, 7, -1, 3, -1])

        def __len__(self):
            return 5

    person = people.persons(Split())
    assert person[0] == person[1] and len(set(person)) == 4, "of whom nothing is known is somebody else"


def test_too_few_faces_are_refused():
    faces, small = (load_faces(size=size) for size in (64, 32))
    with pytest.raises(ValueError, match="at least 40 held-out test faces are needed"):
        people.evaluate(["nearest"], faces, small, n=30)
    with pytest.raises(ValueError, match="no method is called 'glcik'"):
        people.evaluate(["glcik"], faces, small)


@pytest.mark.parametrize("name", REPORTS)
def test_the_reports_were_made_with_the_weights_that_ship(name):
    found = read(name)
    assert [row["method"] for row in found["rows"]] == REPORTS[name]
    for weight, digest in found["weights"].items():
        assert weights.card(weight)["sha256"] == digest, f"{name}.json was made with other weights of {weight}"
    assert (RESULTS / f"{name}.md").read_text() == people.table(found) + "\n"
    for row in found["rows"]:
        if row["method"] in YARDSTICKS and name == "people":
            other, key = YARDSTICKS[row["method"]]
            there = next(r for r in read(other)["rows"] if r["method"] == row["method"] and r.get("hole", "center") == "center")
            assert row["psnr"]["mean"] == pytest.approx(there[key]["mean"], abs=1e-3), "the same faces, the same errors"
            assert row["psnr"]["high"] - row["psnr"]["low"] > there[key]["high"] - there[key]["low"], "people vary more"


def test_what_the_page_on_people_says_of_the_figures():
    """Statements in the prose of book/people.md, which a new measurement could make wrong."""
    rows = {row["method"]: row["attributes"] for row in read("people")["rows"]}
    networks = [name for name in rows if name not in ("mean_face", "bicubic")]
    for name in networks:
        young, beard, glasses = (rows[name][key] for key in ("Young", "No_Beard", "Eyeglasses"))
        assert young["gained"]["low"] > 2 * young["lost"]["high"], "many turn young, few old"
        assert beard["gained"]["low"] > 2 * beard["lost"]["high"], "beards go, and do not come"
        assert glasses["lost"]["mean"] > 0.3 and glasses["gained"]["mean"] < 0.02
    for name in ("glcic_64", "context_encoder_64", "denoising_64", "dcgan"):
        assert rows[name]["Eyeglasses"]["lost"]["mean"] > 0.9
    for name in ("context_encoder_64", "denoising_64", "dcgan"):
        assert rows[name]["Young"]["change"]["low"] > 0 > rows[name]["Male"]["change"]["high"] - 0.01
    assert rows["glcic_64"]["Male"]["gap"]["identity"]["high"] < -0.05 < rows["mean_face"]["Male"]["gap"]["identity"]["low"]
    tones = {row["method"]: list(row["tones"].values()) for row in read("people_synthetic")["rows"]}
    for name in ("glcic_synthetic", "denoising_synthetic"):
        assert tones[name][4]["contrast"]["mean"] > tones[name][0]["contrast"]["mean"]
        assert tones[name][4]["psnr"]["mean"] > tones[name][0]["psnr"]["mean"], "in decibels the darkest fifth looks better off"
