"""Figures: what they refuse, what they draw, and the text alternative that reaches the page."""

import io
import json
import textwrap

import numpy as np
import pytest
import torch
from PIL import Image

pytest.importorskip("matplotlib")

from facelib import plots
from facelib.data import to_uint8

ALT = "Four grey squares in two rows"


@pytest.fixture
def faces():
    return torch.rand(4, 3, 16, 24, generator=torch.Generator().manual_seed(0)) * 2 - 1


def pixels(fig):
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=fig.dpi)
    return np.asarray(Image.open(buffer).convert("RGB"))


def test_sheet_keeps_every_pixel(faces):
    picture = pixels(plots.sheet(faces, cols=2))
    assert picture.shape == (2 * 16 + 2, 2 * 24 + 2, 3)
    assert np.array_equal(picture[:16, :24], to_uint8(faces[0]).permute(1, 2, 0).numpy())
    assert np.array_equal(picture[18:, 26:], to_uint8(faces[3]).permute(1, 2, 0).numpy())
    assert (picture[16:18] == 255).all(), "white between the faces, in a light and in a dark page"


@pytest.mark.parametrize("width", range(61, 75))
def test_sheet_is_never_a_pixel_short(width):
    assert pixels(plots.sheet(torch.zeros(3, 3, 37, width), cols=2)).shape == (76, 2 * width + 2, 3)


def test_sheet_zooms_and_has_titles(faces):
    plain = pixels(plots.sheet(faces, cols=4, zoom=2))
    titled = pixels(plots.sheet(faces, cols=4, zoom=2, titles=["a", "b", "c", "d"]))
    assert plain.shape[:2] == (32, 4 * 50 - 2) and len(titled) > len(plain)
    assert np.array_equal(titled[-32:], plain)
    with pytest.raises(ValueError, match="one text for each of the 4 images, got 1"):
        plots.sheet(faces, titles=["a"])


def test_sheet_says_what_it_needs(faces):
    with pytest.raises(ValueError, match=r"images must be a float tensor.*got torch.float32 \(3, 16, 24\)"):
        plots.sheet(faces[0])
    with pytest.raises(ValueError, match="uint8"):
        plots.sheet(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match="holds no image"):
        plots.sheet(faces[:0])


def test_masked_paints_the_hole_and_nothing_else(faces):
    mask = torch.zeros(4, 1, 16, 24)
    mask[..., 4:8, 4:8] = 1
    faces[..., 5, 5] = float("nan")
    out = plots.masked(faces, mask, colour=(1.0, -1.0, 0.0))
    hole = mask.bool()[:, 0]
    assert torch.equal(out.permute(0, 2, 3, 1)[hole], torch.tensor([1.0, -1.0, 0.0]).expand(64, 3))
    assert torch.equal(out.permute(0, 2, 3, 1)[~hole], faces.permute(0, 2, 3, 1)[~hole])


def test_compare_puts_rows_under_each_other(faces):
    rows = {"masked": faces, "completed": -faces, "true": faces}
    fig = plots.compare(rows, titles=["1", "2", "3", "4"])
    assert {text.get_text() for text in fig.texts} == {"masked", "completed", "true", "1", "2", "3", "4"}
    assert pixels(fig)[-16:, -24:].shape == (16, 24, 3)
    with pytest.raises(ValueError, match=r"got masked \(4, 16, 24, 3\), true \(3, 16, 24, 3\)"):
        plots.compare({"masked": faces, "true": faces[:3]})


def test_gallery_puts_methods_beside_each_other(faces):
    fig = plots.gallery({"masked": faces, "completed": -faces})
    assert [(text.get_text(), text.get_rotation()) for text in fig.texts] == [("masked", 90), ("completed", 90)]
    high = pixels(fig).shape[0] - 4 * 16 - 3 * 2                         # four faces of 16 rows, 2 between them
    assert high >= 9 * 0.9 * len("completed") - 1 and pixels(fig).shape[1] == 2 * 24 + 2
    shown = torch.from_numpy(pixels(fig)[high:high + 16, :24].copy()).permute(2, 0, 1)
    assert torch.equal(shown, to_uint8(faces[0]))
    with pytest.raises(ValueError, match=r"expected columns of the same number and size of faces, got a \(4, 16, 24, 3\)"):
        plots.gallery({"a": faces, "b": faces[:3]})


def records(n=60):
    return [{"step": 10 * i, "phase": "completion" if i < 30 else "joint", "images": 80 * i, "loss_G": 1 / (i + 1),
             "rec": 0.5} for i in range(n)]


def test_curves_draw_the_losses_and_mark_the_phases():
    axes = plots.curves(records()).axes[0]
    assert [line.get_label() for line in axes.get_legend().get_lines()] == ["loss_G"]
    assert {text.get_text().strip() for text in axes.texts} == {"completion", "joint"}
    assert axes.get_lines()[0].get_ydata()[3] == 0.25
    assert len(plots.curves(records(), keys=["loss_G", "rec"], smooth=0.9).axes[0].get_legend().get_lines()) == 2


def test_curves_read_a_run_that_was_killed(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(json.dumps(r) for r in records()) + '\n{"step": 600, "lo')
    assert len(plots.read_log(tmp_path)) == 60
    assert plots.curves(log).axes[0].get_lines()[0].get_xdata()[-1] == 590


def test_curves_say_what_is_wrong(tmp_path):
    with pytest.raises(ValueError, match="no loss_D, adv; it has loss_G, rec"):
        plots.curves(records(), keys=["loss_D", "adv"])
    with pytest.raises(ValueError, match="has the run logged anything yet"):
        plots.curves([])
    with pytest.raises(ValueError, match="below 1, got 1"):
        plots.curves(records(), smooth=1)
    with pytest.raises(FileNotFoundError, match="give a run folder or its log.jsonl"):
        plots.curves(tmp_path)
    (tmp_path / "log.jsonl").write_text('no json\n{"step": 1}\n')
    with pytest.raises(ValueError, match="line 1: expected a JSON object, got 'no json'"):
        plots.read_log(tmp_path)


def test_smoothing_is_unbiased_at_the_start_and_passes_over_nan():
    assert np.allclose(plots._smooth(np.full(5, 3.0), 0.9), 3)
    assert np.allclose(plots._smooth(np.array([1.0, np.nan, 1.0]), 0.5), 1)


@pytest.mark.parametrize("alt", ["", None, "faces", "  short    text  "])
def test_show_refuses_a_missing_text(faces, alt):
    with pytest.raises(ValueError, match="alt must say what the figure shows"):
        plots.show(plots.sheet(faces), alt=alt)


def test_show_refuses_what_is_no_figure(faces):
    with pytest.raises(TypeError, match="needs a matplotlib figure, got Tensor"):
        plots.show(faces, alt=ALT)


def test_show_prints_the_text_in_plain_python_and_closes_the_figure(capsys):
    import matplotlib.pyplot as plt
    fig = plt.figure()
    plots.show(fig, alt=ALT)
    assert ALT in capsys.readouterr().out
    assert not plt.fignum_exists(fig.number)


def test_show_carries_the_text_into_a_notebook():
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    code = textwrap.dedent("""
        import torch
        from facelib import plots
        plots.show(plots.sheet(torch.zeros(4, 3, 8, 8)), alt='Four "grey" squares, <two> in a row')
        """)
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(notebook, timeout=120).execute()
    (output,) = notebook.cells[0].outputs
    assert ' alt="Four &quot;grey&quot; squares, &lt;two&gt; in a row"' in output["data"]["text/html"]
    assert "max-width:100%" in output["data"]["text/html"] and "image/png" not in output["data"]
    assert output["data"]["text/plain"] == '[figure] Four "grey" squares, <two> in a row'


RUNS = {"first": {"size": 32, "recovery": "none", "fd": 20.0, "error": None},
        "second": {"size": 64, "recovery": "trunk", "fd": 40.0, "error": 0.5},
        "third": {"size": 48, "recovery": "none", "fd": float("nan"), "error": 0.25}}


def test_parallel_coordinates_place_every_run_on_every_axis():
    fig = plots.parallel(RUNS, ["size", "recovery", "fd", "error"], "fd")
    axes, bar = fig.axes
    lines = {line.get_label(): line.get_ydata() for line in axes.get_lines() if line.get_label() in RUNS}
    assert np.array_equal(lines["first"], [0, 0, 0, np.nan], equal_nan=True)
    assert np.array_equal(lines["second"], [1, 1, 1, 1]) and lines["third"][0] == 0.5 and np.isnan(lines["third"][2])
    assert [label.get_text() for label in axes.get_xticklabels()] == ["size", "recovery", "fd", "error"]
    assert {text.get_text() for text in axes.texts} == {"32", "64", "none", "trunk", "20", "40", "0.25", "0.5"}
    colours = {line.get_label(): line.get_color() for line in axes.get_lines()}
    assert colours["third"] == "0.7" and colours["first"] != colours["second"] and bar.get_ylabel() == "fd"


def test_parallel_coordinates_survive_what_is_alike_and_say_what_is_wrong():
    fig = plots.parallel({"a": {"x": 1, "y": 2.0}, "b": {"x": 1, "y": 3.0}}, ["x", "y"], "y")
    assert [line.get_ydata()[0] for line in fig.axes[0].get_lines()[:2]] == [0.5, 0.5]
    with pytest.raises(ValueError, match="two axes or more and a row, got 1 and 3"):
        plots.parallel(RUNS, ["size"], "fd")
    with pytest.raises(ValueError, match="two axes or more and a row, got 2 and 0"):
        plots.parallel({}, ["size", "fd"], "fd")
    with pytest.raises(ValueError, match="no row has speed, colour; they have size, recovery, fd, error"):
        plots.parallel(RUNS, ["size", "speed"], "colour")


def test_a_table_has_a_head_no_empty_heading_and_unbroken_intervals(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda html: shown.append(html.data))
    plots.table(["", "PSNR"], ["glcic", "19.9 ± 0.1"], ["mean", 15])
    assert shown == ['<table class="table"><thead><tr><td></td><th>PSNR</th></tr></thead><tbody><tr><td>glcic</td>'
                     "<td>19.9&nbsp;±&nbsp;0.1</td></tr><tr><td>mean</td><td>15</td></tr></tbody></table>"]
