"""Measurements against closed forms, scikit-image and what the CSV gives back."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from skimage.measure import regionprops

from bccd_d2.export.table import measure, to_dataframe, write_csv
from bccd_d2.masks.cells import Cells


def one_cell(mask: np.ndarray) -> Cells:
    return Cells.from_label_map(mask.astype(np.int32))


def disc(radius: int, size: int) -> np.ndarray:
    y, x = np.mgrid[:size, :size] - size // 2
    return np.hypot(y, x) <= radius


@pytest.mark.parametrize("radius", [20, 50])
def test_a_disc_has_the_numbers_of_a_disc(radius):
    table = measure(one_cell(disc(radius, 2 * radius + 11)))
    assert table["area"][0] == pytest.approx(np.pi * radius**2, rel=5e-3)
    assert table["equivalent_diameter"][0] == pytest.approx(2 * radius, rel=5e-3)
    assert table["perimeter"][0] == pytest.approx(2 * np.pi * radius, rel=0.02)
    assert table["circularity"][0] == pytest.approx(1, abs=0.04)
    assert table["eccentricity"][0] == pytest.approx(0, abs=1e-3)
    assert 0.95 < table["solidity"][0] <= 1
    centre = (2 * radius + 11) // 2 + 0.5
    assert table["centroid_x"][0] == table["centroid_y"][0] == centre
    assert not table["touches_border"][0]


def test_an_ellipse_has_its_eccentricity():
    y, x = np.mgrid[-60:61, -60:61]
    table = measure(one_cell((x / 50) ** 2 + (y / 30) ** 2 <= 1))
    assert table["eccentricity"][0] == pytest.approx(0.8, abs=5e-3)
    assert table["area"][0] == pytest.approx(np.pi * 50 * 30, rel=5e-3)


def test_a_rectangle_is_convex_and_an_l_is_not():
    mask = np.zeros((30, 30), bool)
    mask[5:15, 5:25] = True
    assert measure(one_cell(mask))["solidity"][0] == 1
    corner = np.zeros((30, 30), bool)
    corner[5:25, 5:10] = corner[20:25, 5:25] = True
    assert measure(one_cell(corner))["solidity"][0] == pytest.approx(175 / (400 - 225 / 2))


def test_shapes_agree_with_scikit_image(hard_cells, image):
    table = measure(hard_cells, image)
    label_map = hard_cells.to_label_map()
    for index, props in enumerate(regionprops(label_map, intensity_image=image)):
        assert table["area"][index] == props.area
        assert table["centroid_y"][index] == pytest.approx(props.centroid[0] + 0.5)
        assert table["centroid_x"][index] == pytest.approx(props.centroid[1] + 0.5)
        assert table["eccentricity"][index] == pytest.approx(props.eccentricity, abs=1e-6)
        assert table["perimeter"][index] == pytest.approx(props.perimeter_crofton)
        diameter = props.equivalent_diameter_area
        assert table["equivalent_diameter"][index] == pytest.approx(diameter)
        colours = [table[name][index] for name in ("mean_red", "mean_green", "mean_blue")]
        np.testing.assert_allclose(colours, props.intensity_mean)
    large = table["area"] > 100
    solidity = [p.solidity for p in regionprops(label_map)]
    np.testing.assert_allclose(table["solidity"][large], np.array(solidity)[large], atol=0.03)


def test_solidity_is_that_of_the_outlines_hull(hard_cells):
    shapely = pytest.importorskip("shapely", reason="shapely comes with the extra [dev]")
    from bccd_d2.export.geojson import to_geojson

    features = to_geojson(hard_cells)["features"]
    hulls = [shapely.geometry.shape(f["geometry"]).convex_hull.area for f in features]
    table = measure(hard_cells)
    np.testing.assert_allclose(table["solidity"], hard_cells.areas / hulls)


def test_one_colour_is_measured_as_it_is(image):
    painted = np.zeros_like(image)
    painted[10:20, 10:20] = 200, 100, 50
    mask = painted[..., 0] > 0
    table = measure(one_cell(mask), painted)
    assert [table[f"mean_{c}"][0] for c in ("red", "green", "blue")] == [200, 100, 50]
    assert table["mean_intensity"][0] == pytest.approx(0.299 * 200 + 0.587 * 100 + 0.114 * 50)


def test_micrometres_scale_lengths_and_areas(hard_cells):
    table = measure(hard_cells, pixel_size=0.25)
    np.testing.assert_allclose(table["area_um2"], table["area"] / 16)
    for name in ("centroid_x", "centroid_y", "perimeter", "equivalent_diameter"):
        np.testing.assert_allclose(table[f"{name}_um"], table[name] / 4)
    assert not any("_um" in name for name in measure(hard_cells))


def test_overlapping_cells_are_measured_whole(overlapping_cells):
    np.testing.assert_array_equal(measure(overlapping_cells)["area"], [100, 100])


def test_the_border_is_told(hard_cells):
    expected = [False] * 5 + [True, True]
    assert measure(hard_cells)["touches_border"].tolist() == expected


def test_no_cells_keep_every_column(no_cells, image, tmp_path):
    table = measure(no_cells, image, pixel_size=1)
    assert all(values.shape == (0,) for values in table.values())
    lines = write_csv(tmp_path / "none.csv", table).read_text().splitlines()
    assert len(lines) == 1
    assert lines[0].split(",") == list(table)


def test_an_empty_mask_has_area_0_and_blanks(no_cells, tmp_path):
    nothing = {"size": [4, 5], "counts": b"d0"}
    cells = Cells.from_rles([nothing], (4, 5))
    assert cells.areas[0] == 0
    table = measure(cells)
    assert table["area"][0] == 0
    assert not table["touches_border"][0]
    row = list(csv.DictReader(write_csv(tmp_path / "a.csv", table).open()))[0]
    assert row["circularity"] == row["solidity"] == row["centroid_x"] == ""


def test_the_csv_gives_the_numbers_back(hard_cells, image, tmp_path):
    table = measure(hard_cells, image, pixel_size=0.1)
    rows = list(csv.DictReader(write_csv(tmp_path / "ü.csv", table).open()))
    assert list(rows[0]) == list(table)
    for name, values in table.items():
        read = [row[name] for row in rows]
        if name == "touches_border":
            assert read == [str(value) for value in values]
        else:
            numbers = [float(value or "nan") for value in read]  # what is not defined is blank
            np.testing.assert_allclose(numbers, values, rtol=1e-5)


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_a_bad_pixel_size_is_refused(no_cells, size):
    with pytest.raises(ValueError, match="pixel_size"):
        measure(no_cells, pixel_size=size)


def test_another_image_is_refused(no_cells, image):
    with pytest.raises(ValueError, match="image must be"):
        measure(no_cells, image[:-1])
    with pytest.raises(ValueError, match="image must be"):
        measure(no_cells, image.astype(float))


def test_without_pandas_the_extra_is_named(hard_cells, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(ImportError, match=r"bccd_d2\[table\]"):
        to_dataframe(measure(hard_cells))


def test_the_data_frame_is_the_table(hard_cells):
    pandas = pytest.importorskip("pandas", reason="pandas comes with the extra [table]")
    table = measure(hard_cells)
    frame = to_dataframe(table)
    assert isinstance(frame, pandas.DataFrame)
    assert frame.index.tolist() == table["id"].tolist()
    assert frame["area"].tolist() == table["area"].tolist()
    assert frame["touches_border"].dtype == bool
