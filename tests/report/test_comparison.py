"""Tables, plots and error maps of a comparison, read back."""

from __future__ import annotations

import csv
import dataclasses

import cv2
import numpy as np
import pytest

from bccd_d2.evaluation.entries import COSTS, SCORES, Entry
from bccd_d2.evaluation.paired import paired_differences
from bccd_d2.masks.cells import Cells
from bccd_d2.report.comparison.plots import draw_dice_against_count, draw_scores
from bccd_d2.report.comparison.write import difference_table, score_table, write_comparison
from bccd_d2.report.draw import ERROR_COLOURS, error_map


def label_map(*boxes):
    array = np.zeros((40, 60), np.int32)
    for number, (y0, x0, y1, x1) in enumerate(boxes, start=1):
        array[y0:y1, x0:x1] = number
    return array


@pytest.fixture
def entries():
    rows = {f"test/{n}.png": {"F1": 0.5, "PQ": 0.4, "Dice": 0.9, "count error": 2} for n in "ab"}
    better = {file: row | {"Dice": 0.95} for file, row in rows.items()}
    cells = dict.fromkeys(rows, Cells.from_label_map(label_map((5, 5, 20, 30))))
    cost = dict(zip(COSTS, (1.5, None, 0.25, 0.4, 900.4, 24.96, 1200), strict=True))
    scores = dict.fromkeys(SCORES, 0.5)
    return [
        Entry("plain", scores, rows, {}, cells),
        Entry("good", scores | {"AP": 0.75, "count error": 0.25}, better, cost, cells),
    ]


def test_the_best_is_bold_and_unknown_costs_are_blank(entries):
    lines = score_table(entries).splitlines()
    assert len({line.count("|") for line in lines}) == 1
    assert lines[2].startswith("| plain | 0.500 |") and lines[2].endswith("|  |  |  |  |  |  |  |")
    assert "| **0.750** |" in lines[3] and "| **0.25** |" in lines[3]
    assert lines[3].endswith("| 1.50 |  | 0.250 | 0.400 | 900 | 25.0 | 1200 |")
    table = difference_table(paired_differences(entries))
    assert "| good | plain | Dice | +0.050 | +0.050 to +0.050 * | 2 of 2 |" in table
    assert difference_table([]) == ""


def test_scores_that_do_not_exist_are_blank():
    """Images without a cell have no AP; the best of the rest is bold all the same."""
    nothing = dict.fromkeys(SCORES)
    lines = score_table([Entry(n, nothing | {"count error": 2.0}, {}) for n in "ab"]).splitlines()
    assert lines[2].startswith("| a |  |  |  |  |  | **2.00** |  |  |")
    mixed = [Entry("a", nothing, {}), Entry("b", nothing | {"AP": 0.5}, {})]
    assert score_table(mixed).splitlines()[3].startswith("| b | **0.500** |  |")


def test_everything_is_written_and_can_be_read_back(entries, tmp_path):
    image = tmp_path / "é.png"
    cv2.imencode(".png", np.full((40, 60, 3), 200, np.uint8))[1].tofile(image)
    truth = Cells.from_label_map(label_map((5, 5, 20, 30)))
    pictures = dict.fromkeys(entries[0].per_image, (image, truth))
    out = tmp_path / "out"
    written = write_comparison(entries, paired_differences(entries), out, pictures, 1)
    assert {p.name for p in written} == {p.name for p in out.iterdir()}
    rows = list(csv.DictReader((out / "comparison.csv").open(encoding="utf-8")))
    assert [row["method"] for row in rows] == ["plain", "good"]
    assert float(rows[1]["AP"]) == 0.75 and rows[1]["GFLOPs"] == ""
    assert len(list(csv.DictReader((out / "per_image.csv").open(encoding="utf-8")))) == 4
    differences = list(csv.DictReader((out / "differences.csv").open(encoding="utf-8")))
    assert {row["score"] for row in differences} == {"F1", "PQ", "Dice", "count error"}
    assert "# 2 test images" in (out / "comparison.md").read_text(encoding="utf-8")
    for name in ("scores", "dice_against_count", "errors_good"):
        picture = cv2.imread(str(out / f"{name}.png"))
        assert picture.shape[1] > 700 and len(np.unique(picture)) > 10
    with pytest.raises(ValueError, match="entries is empty"):
        draw_scores([], out / "x.png")


def test_an_error_map_has_the_colour_of_each_kind():
    truth, found = label_map((0, 0, 20, 20)), label_map((0, 10, 20, 30))
    colours = error_map(truth, found)
    for point, kind in (((5, 15), "TP"), ((5, 25), "FP"), ((5, 5), "FN"), ((30, 50), "TN")):
        assert tuple(colours[point]) == ERROR_COLOURS[kind]
    cells = [Cells.from_label_map(one) for one in (truth, found)]
    assert np.array_equal(error_map(*cells), colours)
    image = np.full((40, 60, 3), 100, np.uint8)
    over = error_map(truth, found, image, alpha=0.5)
    assert tuple(over[30, 50]) == (100, 100, 100)
    assert tuple(over[5, 15]) == (50, 129, 108)
    with pytest.raises(ValueError, match="of one"):
        error_map(truth, found[:10])
    with pytest.raises(ValueError, match="alpha"):
        error_map(truth, found, alpha=2)
    with pytest.raises(ValueError, match="image must be"):
        error_map(truth, found, image[:10])


def test_the_legend_of_many_long_names_stays_in_the_picture(entries, tmp_path):
    many = [dataclasses.replace(entries[0], name=f"a_rather_long_name_{n}") for n in range(7)]
    picture = cv2.imread(str(draw_dice_against_count(many, tmp_path / "many.png")))
    legend = picture[-60:]
    assert (legend < 255).any()
    assert (legend[:, :4] == 255).all() and (legend[:, -4:] == 255).all()
