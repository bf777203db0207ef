"""Label image, COCO, GeoJSON and CSV name and draw the same cells; each file is read back."""

from __future__ import annotations

import csv
import json

import cv2
import numpy as np
import pytest
import tifffile
from pycocotools.coco import COCO

from bccd_d2.export.coco import to_annotations, to_results, write_coco
from bccd_d2.export.geojson import to_geojson, write_geojson
from bccd_d2.export.labels import (
    to_label_image,
    write_label_tiff,
    write_label_tiles,
)
from bccd_d2.export.table import measure, write_csv
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.label_images import read_label_file, write_label_map
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import resolve_overlaps
from bccd_d2.masks.rle import encode_crop, rle_to_mask

shapely = pytest.importorskip("shapely", reason="shapely comes with the extra [dev]")


def pixels(geometry: dict, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels whose centre lies in a GeoJSON geometry."""
    shape = shapely.geometry.shape(geometry)
    assert shape.is_valid, shapely.is_valid_reason(shape)
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    return shapely.contains_xy(shape, x, y)


def write_all(folder, cells, image):
    write_label_tiff(folder / "a.tif", cells)
    write_label_map(folder / "a.png", cells.to_label_map())
    write_coco(folder / "a.json", [("a.png", cells)])
    write_geojson(folder / "a.geojson", cells, measure(cells, image))
    write_csv(folder / "a.csv", measure(cells, image))


@pytest.mark.parametrize("name", ["hard_cells", "overlapping_cells"])
def test_every_file_holds_the_same_cells(name, request, image, tmp_path):
    cells = resolve_overlaps(request.getfixturevalue(name))
    write_all(tmp_path, cells, image)
    label_map = tifffile.imread(tmp_path / "a.tif")
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "a.png"), -1), label_map)
    coco = COCO(tmp_path / "a.json")
    features = json.loads((tmp_path / "a.geojson").read_text())["features"]
    rows = list(csv.DictReader((tmp_path / "a.csv").open()))
    assert len(features) == len(rows) == len(coco.anns) == len(cells) == label_map.max()
    for index, (feature, row) in enumerate(zip(features, rows, strict=True)):
        number = index + 1
        mask = label_map == number
        annotation = coco.anns[number]
        assert annotation["label"] == int(row["id"]) == int(feature["properties"]["name"]) == number
        np.testing.assert_array_equal(coco.annToMask(annotation).astype(bool), mask)
        np.testing.assert_array_equal(pixels(feature["geometry"], mask.shape), mask)
        geometry = shapely.geometry.shape(feature["geometry"])
        assert geometry.area == annotation["area"] == float(row["area"]) == mask.sum()
        measured = feature["properties"]["measurements"]
        assert measured["score"] == pytest.approx(float(row["score"]), rel=1e-5)
        assert annotation["score"] == pytest.approx(cells.scores[index])
        x, y = geometry.centroid.coords[0]
        np.testing.assert_allclose(
            [x, y], [float(row["centroid_x"]), float(row["centroid_y"])], rtol=1e-5
        )
        box = [float(row[f"box_{name}"]) for name in ("x0", "y0", "x1", "y1")]
        np.testing.assert_array_equal(geometry.bounds, box)
        left, top, width, height = annotation["bbox"]
        assert [left, top, left + width, top + height] == box


def test_overlaps_are_whole_everywhere_but_in_the_label_image(overlapping_cells):
    table, features = measure(overlapping_cells), to_geojson(overlapping_cells)["features"]
    areas = [shapely.geometry.shape(f["geometry"]).area for f in features]
    assert areas == table["area"].tolist() == [100, 100]
    assert [a["area"] for a in to_annotations(overlapping_cells)] == [100, 100]
    assert np.bincount(to_label_image(overlapping_cells).ravel())[1:].tolist() == [100, 84]


def test_no_cells_give_files_without_cells(no_cells, image, tmp_path):
    write_all(tmp_path, no_cells, image)
    assert tifffile.imread(tmp_path / "a.tif").shape == no_cells.image_size
    assert not tifffile.imread(tmp_path / "a.tif").any()
    assert COCO(tmp_path / "a.json").imgs[1]["file_name"] == "a.png"
    geojson = json.loads((tmp_path / "a.geojson").read_text())
    assert geojson == {"type": "FeatureCollection", "features": []}
    assert to_results(no_cells) == []


def test_results_load_and_keep_their_areas(hard_cells, tmp_path):
    truth = COCO(write_coco(tmp_path / "t.json", [("a", hard_cells[:0]), ("b", hard_cells)]))
    results = truth.loadRes(str(write_json_atomic(tmp_path / "r.json", to_results(hard_cells, 2))))
    assert [a["area"] for a in results.anns.values()] == hard_cells.areas.tolist()
    assert {a["image_id"] for a in results.anns.values()} == {2}
    back = Cells.from_coco(to_results(hard_cells), hard_cells.image_size)
    np.testing.assert_array_equal(back.to_label_map(), hard_cells.to_label_map())
    np.testing.assert_allclose(back.scores, hard_cells.scores)


def test_ids_are_unique_over_the_images(hard_cells, tmp_path):
    coco = COCO(write_coco(tmp_path / "a.json", [("a", hard_cells), ("b", hard_cells)]))
    assert sorted(coco.anns) == list(range(1, 15))
    assert [a["label"] for a in coco.anns.values()] == [*range(1, 8)] * 2
    assert [a["image_id"] for a in coco.anns.values()] == [1] * 7 + [2] * 7


def test_geojson_has_what_qupath_reads(hard_cells):
    first = to_geojson(hard_cells)
    assert first == to_geojson(hard_cells)
    assert len({feature["id"] for feature in first["features"]}) == len(hard_cells)
    kinds = [feature["geometry"]["type"] for feature in first["features"]]
    assert kinds[0] == "Polygon" and len(first["features"][0]["geometry"]["coordinates"]) == 2
    assert kinds[1] == kinds[4] == "MultiPolygon"
    properties = first["features"][0]["properties"]
    assert properties["objectType"] == "detection"
    assert properties["classification"] == {"name": "cell", "color": [200, 0, 0]}
    assert properties["measurements"]["area"] == hard_cells.areas[0]
    other = to_geojson(hard_cells, object_type="annotation")
    assert other["features"][0]["properties"]["objectType"] == "annotation"


def test_geojson_refuses_what_it_does_not_know(hard_cells):
    with pytest.raises(ValueError, match="object_type"):
        to_geojson(hard_cells, object_type="cells")
    with pytest.raises(ValueError, match="a row for each of 7"):
        to_geojson(hard_cells, measure(hard_cells[:3]))


def test_an_empty_mask_keeps_the_other_numbers():
    rles = [encode_crop(np.zeros((0, 0), bool), 0, 0, (9, 9))]
    rles.append(encode_crop(np.ones((2, 2), bool), 3, 3, (9, 9)))
    cells = Cells.from_rles(rles, (9, 9))
    table = measure(cells)
    [feature] = to_geojson(cells, table)["features"]
    assert feature["properties"]["name"] == "2"
    assert to_annotations(cells)[1]["label"] == table["id"][1] == to_label_image(cells).max() == 2


def test_more_than_65535_labels_need_32_bits(tmp_path):
    label_map = np.arange(1, 70_001, dtype=np.int32).reshape(250, 280)
    write_label_tiff(tmp_path / "many.tif", label_map)
    assert tifffile.imread(tmp_path / "many.tif").dtype == np.uint32
    np.testing.assert_array_equal(read_label_file(tmp_path / "many.tif", compact=False), label_map)
    with pytest.raises(ValueError, match="70000 labels do not fit"):
        write_label_tiff(tmp_path / "no.tif", label_map, bits=16)
    cells = Cells.from_label_map(label_map)
    assert to_label_image(cells).dtype == np.uint32
    with pytest.raises(ValueError, match="use a TIFF"):
        write_label_map(tmp_path / "no.png", cells.to_label_map())
    assert [path.name for path in tmp_path.iterdir()] == ["many.tif"]


def test_label_tiff_is_16_bits_compressed_and_whole(hard_cells, tmp_path):
    path = write_label_tiff(tmp_path / "deep" / "a b.tif", hard_cells)
    with tifffile.TiffFile(path) as tif:
        assert tif.pages[0].dtype == np.uint16
        assert tif.pages[0].compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    assert path.stat().st_size < hard_cells.image_size[0] * hard_cells.image_size[1]
    assert list(path.parent.iterdir()) == [path]
    assert to_label_image(hard_cells, bits=32).dtype == np.uint32
    with pytest.raises(ValueError, match="bits must be"):
        write_label_tiff(path, hard_cells, bits=8)
    np.testing.assert_array_equal(read_label_file(path, compact=False), hard_cells.to_label_map())


def test_a_label_tiff_that_is_none_is_named(tmp_path):
    (tmp_path / "bad.tif").write_bytes(b"II*")
    with pytest.raises(ValueError, match="bad.tif"):
        read_label_file(tmp_path / "bad.tif", compact=False)
    with pytest.raises(FileNotFoundError, match="none.tif"):
        read_label_file(tmp_path / "none.tif", compact=False)


@pytest.mark.parametrize("name", ["hard_cells", "overlapping_cells"])
@pytest.mark.parametrize("tile", [16, 64])
def test_label_tiles_hold_the_label_image(name, tile, request, tmp_path):
    cells = request.getfixturevalue(name)
    write_label_tiles(tmp_path / "tiles.tif", cells, tile=tile)
    read = read_label_file(tmp_path / "tiles.tif", compact=False)
    np.testing.assert_array_equal(read, cells.to_label_map())
    write_label_tiles(tmp_path / "deep.tif", cells, bits=32, tile=tile)
    assert tifffile.imread(tmp_path / "deep.tif").dtype == np.uint32
    write_label_tiles(tmp_path / "none.tif", Cells.empty((20, 35)), tile=tile)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "none.tif"), np.zeros((20, 35)))


@pytest.mark.data
def test_real_cells_agree(sample_root, tmp_path):
    from bccd_d2.masks.components import label_cells

    mask_path = sorted((sample_root / "test" / "mask").iterdir())[0]
    mask = cv2.imread(str(mask_path), cv2.IMREAD_GRAYSCALE) > 127
    cells = Cells.from_label_map(label_cells(mask).label_map)
    label_map = to_label_image(cells)
    table = measure(cells)
    features = to_geojson(cells, table)["features"]
    areas = np.bincount(label_map.ravel())[1:]
    np.testing.assert_array_equal(areas, table["area"])
    for index, (feature, result) in enumerate(zip(features, to_results(cells), strict=True)):
        shape = shapely.geometry.shape(feature["geometry"])
        assert shape.is_valid
        assert shape.area == areas[index]
        rle = {**result["segmentation"], "counts": result["segmentation"]["counts"].encode()}
        np.testing.assert_array_equal(rle_to_mask(rle), label_map == index + 1)
