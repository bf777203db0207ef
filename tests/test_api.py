"""The user's cells: exports as methods, and a package that stays light until they are asked for."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import bccd_d2
from bccd_d2 import PredictedCells
from bccd_d2.masks.cells import Cells


@pytest.fixture
def label_map() -> np.ndarray:
    label_map = np.zeros((40, 50), np.int32)
    label_map[5:15, 5:15], label_map[20:30, 20:40] = 1, 2
    return label_map


def test_choosing_keeps_the_kind(label_map):
    cells = PredictedCells.from_label_map(label_map, [0.9, 0.2])
    assert type(cells.above(0.5)) is type(cells[:1]) is type(PredictedCells.empty((3, 4)))
    assert type(Cells.from_label_map(label_map)[:1]) is Cells


def test_plain_cells_become_the_users(label_map):
    plain = Cells.from_label_map(label_map, [0.9, 0.2])
    cells = PredictedCells.of(plain)
    assert isinstance(cells, Cells)
    np.testing.assert_array_equal(cells.to_label_map(), label_map)
    assert [result["image_id"] for result in cells.to_coco(image_id=7)] == [7, 7]
    assert [result["score"] for result in cells.to_coco()] == pytest.approx([0.9, 0.2])


def test_geojson_carries_the_measurements(label_map):
    image = np.full((40, 50, 3), 80, np.uint8)
    cells = PredictedCells.from_label_map(label_map)
    measured = cells.to_geojson(image, pixel_size=0.5)["features"][1]["properties"]["measurements"]
    assert measured["area"] == 200
    assert measured["area_um2"] == 50
    assert measured["mean_intensity"] == pytest.approx(80)


def test_the_data_frame_has_a_row_a_cell(label_map):
    pytest.importorskip("pandas", reason="pandas comes with the extra [table]")
    frame = PredictedCells.from_label_map(label_map).to_dataframe(pixel_size=2.0)
    assert frame["area"].tolist() == [100, 200]
    assert frame["area_um2"].tolist() == [400, 800]


def test_draw_outlines_the_cells_and_leaves_the_image(label_map):
    image = np.full((40, 50, 3), 80, np.uint8)
    drawn = PredictedCells.from_label_map(label_map).draw(image, color=(255, 0, 0))
    assert (image == 80).all()
    assert (drawn[5, 5:15] != 80).any(axis=1).all()
    assert (drawn[24:26, 26:34] == 80).all()


def test_an_unknown_name_is_refused_and_nothing_loads_early():
    with pytest.raises(AttributeError, match="no attribute 'Cellz'"):
        bccd_d2.Cellz  # noqa: B018
    code = (
        "import sys, bccd_d2; bccd_d2.__version__; early = 'numpy' in sys.modules; "
        "bccd_d2.PredictedCells; "
        "print(early, {'torch', 'detectron2', 'skimage'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False set()"
