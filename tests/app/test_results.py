"""One prediction, any threshold: counts and files against what the cells themselves say."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
import tifffile

from bccd_d2 import PredictedCells
from bccd_d2.app.results import KINDS, check_pixel_size, find_cells, lowest_threshold
from bccd_d2.masks.cells import Cells


def two_overlapping(image_size=(40, 60)):
    masks = []
    for columns in (slice(0, 20), slice(15, 40)):
        label = np.zeros(image_size, np.int32)
        label[5:25, columns] = 1
        masks += PredictedCells.from_label_map(label).rles
    return PredictedCells.from_rles(masks, image_size, [0.3, 0.9])


class Fixed:
    name, score_threshold, diameter = "fixed", 0.5, None

    def __init__(self, cells):
        self.cells = cells

    def predict(self, image, score_threshold=None, *, diameter="auto"):
        return self.cells.above(score_threshold)


@pytest.fixture
def findings(model, image):
    return find_cells(model, image, "my smear.tif")


def test_candidates_are_sorted_so_numbers_stay(findings, model):
    assert len(findings.cells) > 5
    assert (np.diff(findings.cells.scores) <= 0).all()
    assert findings.cells.scores.min() >= lowest_threshold(model) == 0.05
    for threshold in (0.05, 0.5, 0.9, 0.99):
        cells, table = findings.above(threshold)
        assert len(cells) == (findings.cells.scores >= threshold).sum()
        assert cells.rles == findings.cells.rles[: len(cells)]
        assert table["id"].tolist() == list(range(1, len(cells) + 1))


def test_counts_are_those_of_known_cells():
    findings = find_cells(Fixed(two_overlapping()), np.zeros((40, 60, 3), np.uint8), "a.png")
    counts = findings.counts(0.2, pixel_size=0.5)
    assert (counts.cells, counts.interior) == (2, 1)
    assert counts.per_megapixel == pytest.approx(2 / 0.0024)
    assert counts.per_mm2 == pytest.approx(2 / (2400 * 0.25e-6))
    assert counts.coverage == pytest.approx((20 * 25 + 20 * 15) / 2400)  # 5 columns shared out
    assert counts.diameter == pytest.approx(np.sqrt(4 * 500 / np.pi))  # the other is cut off
    alone = findings.counts(0.5)
    assert (alone.cells, alone.interior, alone.per_mm2) == (1, 1, None)
    nothing = findings.counts(0.95)
    assert (nothing.cells, nothing.interior, nothing.diameter, nothing.coverage) == (0, 0, None, 0)


@pytest.mark.parametrize("threshold", [0.05, 0.5, 0.99])
def test_the_four_files_hold_the_same_cells(findings, threshold):
    cells, _ = findings.above(threshold)
    files = {kind: findings.file(kind, threshold, 0.1) for kind in KINDS}
    assert [name for name, _ in files.values()] == [
        "my smear_cells.csv", "my smear.geojson", "my smear_coco.json", "my smear_labels.tif"
    ]  # fmt: skip
    label_map = tifffile.imread(io.BytesIO(files["labels"][1]))
    rows = list(csv.DictReader(io.StringIO(files["csv"][1].decode())))
    coco = json.loads(files["coco"][1])
    features = json.loads(files["geojson"][1])["features"]
    assert len(rows) == len(coco["annotations"]) == len(features) == len(cells)
    areas = np.bincount(label_map.ravel(), minlength=len(cells) + 1)[1:].tolist()
    assert areas == cells.areas.tolist() == [int(row["area"]) for row in rows]
    assert areas == [annotation["area"] for annotation in coco["annotations"]]
    assert [feature["properties"]["name"] for feature in features] == [row["id"] for row in rows]
    assert all(float(row["area_um2"]) == pytest.approx(int(row["area"]) / 100) for row in rows)
    assert "mean_red" in files["csv"][1].decode().splitlines()[0]
    back = Cells.from_coco(coco["annotations"], cells.image_size)
    np.testing.assert_array_equal(back.to_label_map(), cells.to_label_map())


def test_without_a_pixel_size_there_are_no_micrometres(findings):
    assert "_um" not in findings.file("csv", 0.5)[1].decode()
    with pytest.raises(ValueError, match="kind must be one of csv, geojson, coco, labels"):
        findings.file("xlsx", 0.5)


def test_an_image_without_cells(model):
    findings = find_cells(model, np.full((30, 40, 3), 240, np.uint8), "blank.png")
    assert findings.counts(0.05).cells == 0
    assert json.loads(findings.file("geojson", 0.05)[1])["features"] == []
    assert findings.file("csv", 0.05)[1].decode().count("\n") == 1


def test_what_is_typed_as_a_pixel_size():
    assert check_pixel_size("") is check_pixel_size(None) is check_pixel_size("  ") is None
    assert check_pixel_size("0.1") == check_pixel_size(" 0,1 ") == check_pixel_size(0.1) == 0.1
    for wrong in ("0", "-1", "nan", "inf", "a lot", 0):
        with pytest.raises(ValueError, match="micrometres above 0, or empty"):
            check_pixel_size(wrong)
