"""QuPath's GeoJSON in its spellings, and our own export back without loss."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from bccd_d2.evaluation.truth import read_truth
from bccd_d2.export.geojson import write_geojson
from bccd_d2.masks.cells import Cells

from .conftest import HEIGHT, WIDTH, write_json


def ring(x0, y0, x1, y1):
    return [[x0, y0], [x1, y0], [x1, y1], [x0, y1], [x0, y0]]


def feature(geometry, kind="annotation", name=None, **more):
    properties = {"objectType": kind, "isLocked": False, "measurements": []}
    if name:
        properties["classification"] = {"name": name, "color": [200, 0, 0]}
    return {"type": "Feature", "id": "2f0c1f6a", "geometry": geometry,
            "properties": properties, **more}  # fmt: skip


def polygon(*rings, plane=True):
    extra = {"plane": {"c": -1, "z": 0, "t": 0}} if plane else {}
    return {"type": "Polygon", "coordinates": list(rings), **extra}


def collection(*features):
    return {"type": "FeatureCollection", "features": list(features)}


def test_polygons_with_holes_parts_and_classes(run, tmp_path):
    whole = polygon(ring(10, 5, 30, 25), ring(15, 10, 20, 15))
    parts = {"type": "MultiPolygon",
             "coordinates": [[ring(40, 5, 50, 15)], [ring(52, 5, 56, 9), ring(53, 6, 54, 7)]]}
    derived = feature(polygon(ring(60, 40, 70, 50)))
    derived["properties"]["classification"] = {"names": ["RBC", "infected"]}
    path = write_json(
        tmp_path / "geo" / "a.geojson",
        collection(feature(whole, name="RBC"), feature(parts, name="WBC"), derived,
                   feature(polygon(ring(1, 1, 5, 5)), name="Ignore*")),
    )  # fmt: skip
    found = run("geojson", path.parent)
    cells = found.cells["a.png"]
    assert [one["area"] for one in cells] == [375, 115, 100, 16]
    assert [one["name"] for one in cells] == ["RBC", "WBC", "RBC: infected", "Ignore*"]
    assert [one["iscrowd"] for one in cells] == [0, 0, 0, 1]
    assert found.description["annotations"] == "masks"


def test_cells_keep_their_outline_and_regions_are_no_cells(run, tmp_path):
    cell = feature(polygon(ring(10, 5, 30, 25)), "cell", "RBC",
                   nucleusGeometry=polygon(ring(15, 10, 20, 15)))  # fmt: skip
    region = feature(polygon(ring(0, 0, WIDTH, HEIGHT)), "annotation", "Region*")
    field = feature(polygon(ring(0, 0, WIDTH, HEIGHT)), "annotation")
    line = feature({"type": "LineString", "coordinates": [[1, 1], [5, 5]]}, "detection")
    tile = feature(polygon(ring(0, 0, 9, 9)), "tile")
    path = write_json(tmp_path / "a.geojson", [cell, region, field, line, tile])
    found = run("geojson", path)
    assert [one["area"] for one in found.cells["a.png"]] == [400]
    assert found.notes == {
        "features that are no cell (tiles, regions, lines), left out": 3,
        "annotations around detections, taken as regions": 1,
        "outlines of nuclei inside cells, left out": 1,
    }


def test_old_qupath_and_a_single_feature(run, tmp_path):
    old = {"type": "Feature", "id": "PathDetectionObject", "geometry": polygon(ring(1, 2, 4, 6)),
           "properties": {"classification": {"name": "RBC", "colorRGB": -65536}}}  # fmt: skip
    found = run("geojson", write_json(tmp_path / "b.json", old))
    assert found.boxes("b.png") == [[1, 2, 3, 4]] and found.cells["b.png"][0]["name"] == "RBC"


def test_point_annotations_make_a_dataset_of_points(run, tmp_path):
    points = {"type": "MultiPoint", "coordinates": [[10.5, 20.25], [30, 40]]}
    one = {"type": "Point", "coordinates": [5, 6]}
    found = run(
        "geojson",
        write_json(tmp_path / "a.geojson", collection(feature(points, name="RBC"), feature(one))),
        partial=True,
    )
    assert found.description["annotations"] == "points" and not found.description["complete"]
    assert [c["point"] for c in found.cells["a.png"]] == [[10.5, 20.25], [30, 40], [5, 6]]
    with pytest.raises(ValueError, match="1 points beside 1 outlines.*dataset of its own"):
        mixed = collection(feature(one), feature(polygon(ring(1, 2, 4, 6))))
        run("geojson", write_json(tmp_path / "a.geojson", mixed))


def test_our_export_comes_back_without_loss(run, tmp_path):
    rng = np.random.default_rng(1)
    blobs = np.kron(rng.random((12, 16)) < 0.55, np.ones((5, 5), dtype=np.uint8))
    rles = [coco_mask.encode(np.asfortranarray(part)) for part in
            (blobs * (np.arange(WIDTH) < 40).astype(np.uint8),
             blobs * (np.arange(WIDTH) >= 40).astype(np.uint8))]  # fmt: skip
    cells = Cells.from_rles(rles, (HEIGHT, WIDTH))
    for kind in ("detection", "annotation"):
        path = write_geojson(tmp_path / kind / "a.geojson", cells, object_type=kind)
        found = run("geojson", path.parent)
        (truth,) = read_truth(found.report.files["train"]).values()
        assert truth.cells.rles == rles


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"type": "Topology"}, "is no GeoJSON of features"),
        (collection(feature(None)), r"features\[0\].geometry is of type None"),
        (collection(feature({"type": "Circle"})), "is of type 'Circle'"),
        (collection(feature(polygon([[1, 2], [3, 4]]))), "outline of three points"),
        (collection(feature({"type": "Polygon", "coordinates": []})), "without a ring"),
        (collection(feature({"type": "Point", "coordinates": ["x", 1]})), "2 finite numbers"),
    ],
)
def test_a_bad_file_costs_its_image_only(run, tmp_path, content, message):
    write_json(tmp_path / "geo" / "a.geojson", content)
    write_json(tmp_path / "geo" / "b.png.geojson", collection(feature(polygon(ring(1, 2, 4, 6)))))
    found = run("geojson", tmp_path / "geo")
    assert list(found.cells) == ["b.png"]
    (reason,) = (why for kind, why in found.skips if kind == "unreadable annotations")
    assert message.replace("\\", "") in reason and "a.geojson" in reason
