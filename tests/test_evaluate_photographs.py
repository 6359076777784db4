"""Photographs measured as users complete them: where the holes lie, what a row says, what is left out."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from facelib import cli, masks
from facelib.data.align import align
from facelib.evaluate import photographs


class Grey:
    """Fills every hole with one grey."""

    cfg = SimpleNamespace(size=32)

    def complete(self, image, mask):
        return masks.composite(image, mask, image.new_zeros(1).expand_as(image))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    from skimage import data

    place = tmp_path / "album"
    place.mkdir()
    Image.fromarray(data.astronaut()).crop((60, 0, 360, 300)).save(place / "a.png")
    Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(place / "b.png")
    monkeypatch.setattr(photographs, "load", lambda name: Grey())
    return place


@pytest.mark.parametrize("part", photographs.HOLES)
def test_a_hole_lies_over_its_part_of_the_face(folder, part):
    face = align(folder / "a.png", 128)
    x, y, w, h = photographs.hole_in(face, part)
    crop = face.hole(np.pad(np.ones((h, w)), ((y, face.photo.height - y - h), (x, face.photo.width - x - w))))
    middle = (0.3, 0.5) if part == "half" else masks.PARTS[part][:2]
    left, top, wide, tall = masks.boxes_of(crop)[0].tolist()
    assert abs((left + wide / 2) / 128 - middle[0]) < 0.04 and abs((top + tall / 2) / 128 - middle[1]) < 0.05


def test_a_report_of_photographs(folder, tmp_path, capsys):
    out = tmp_path / "r.json"
    report = photographs.main(["glcic_64"], folder, ["both_eyes", "mouth"], out=out, sheets=tmp_path / "sheets")
    assert report["photographs"] == 1 and report["without_face"] == 1
    assert [row["hole"] for row in report["rows"]] == ["both eyes", "mouth"]
    assert all(0 <= row["low"] <= row["sharpness"] <= row["high"] for row in report["rows"])
    assert report["command"] == "facelib evaluate --photographs album --methods glcic_64 --holes both_eyes mouth"
    written = json.loads(out.read_text())
    assert out.with_suffix(".md").read_text() == photographs.table(written) + "\n"
    assert "Hole: both eyes" in capsys.readouterr().out
    assert Image.open(tmp_path / "sheets" / "glcic_64-both_eyes.png").width == 8 * 192


def test_what_cannot_be_measured_is_said(folder, tmp_path, capsys):
    with pytest.raises(ValueError, match="holes in photographs must be out of both eyes, .*, got \\('ear',\\)"):
        photographs.evaluate(["glcic_64"], folder, ["ear"])
    (folder / "a.png").unlink()
    with pytest.raises(ValueError, match="in none of the 1 pictures of .* a face was found"):
        photographs.evaluate(["glcic_64"], folder)
    assert cli.main(["evaluate", "--photographs", str(tmp_path / "none")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1
