"""Mutated files of every format: refused by name or read, never a crash, a hang or a warning."""

from __future__ import annotations

import json
import random
import time
import warnings

import numpy as np
import pytest

from bccd_d2.data.convert.formats.common import annotate, dataset_kind
from bccd_d2.data.convert.formats.detect import read_annotations

from .conftest import HEIGHT, WIDTH

SIZE = [HEIGHT, WIDTH]
SQUARE = [[10, 5], [30, 5], [30, 25], [10, 25], [10, 5]]
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": WIDTH, "height": HEIGHT}],
    "categories": [{"id": 1, "name": "rbc"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 1, "area": 375, "bbox": [10, 5, 20, 20],
         "segmentation": [[10, 5, 30, 5, 30, 25], [15, 10, 20, 10, 20, 12]], "iscrowd": 0},
        {"id": 2, "image_id": 1, "category_id": 1, "iscrowd": 1,
         "segmentation": {"size": SIZE, "counts": [100, 20, HEIGHT * WIDTH - 120]}},
    ],
}  # fmt: skip
GEOJSON = {
    "type": "FeatureCollection",
    "features": [
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [SQUARE]},
         "properties": {"objectType": "cell", "classification": {"name": "a"}}},
        {"type": "Feature", "geometry": {"type": "MultiPolygon", "coordinates": [[SQUARE]]},
         "nucleusGeometry": {}, "properties": {}},
    ],
}  # fmt: skip
CORNERS = {"minimum": {"r": 1, "c": 2}, "maximum": {"r": 10, "c": 12}}
BBBC041 = [{"image": {"pathname": "/images/a.png", "shape": {"r": HEIGHT, "c": WIDTH}},
            "objects": [{"bounding_box": CORNERS, "category": "x"}]}]  # fmt: skip
VOC = (
    "<annotation><filename>a.png</filename><size><width>80</width><height>60</height></size>"
    "<object><name>R</name><bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>40</ymax>"
    "</bndbox></object></annotation>"
)
FILES = {
    "x.json": ("coco", COCO),
    "a.geojson": ("geojson", GEOJSON),
    "bbbc.json": ("boxes", BBBC041),
    "a.xml": ("boxes", VOC),
    "a.txt": ("boxes", "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.5 0.1 0.5 0.5\n"),
    "a.csv": ("points", "x,y,class\n10,20,a\n30,40,b\n"),
}
VALUES = [None, -1, 1e308, [], {}, "x", True, 10**30, [[]], [None], "\x1b[2J", 0, 1.5, [1, 2], "",
          -1e9, float("nan")]  # fmt: skip
PIECES = [b"null", b"-1", b"1e308", b"NaN", b"[]", b"{}", b"9" * 30, b"\x00", b"\xff", b"<", b"{"]


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def mutated(content, rng: random.Random) -> bytes:
    """Another value in place of one of a json's, or bytes changed, cut or put in."""
    if not isinstance(content, str) and rng.random() < 0.6:
        content = json.loads(json.dumps(content))
        path = rng.choice([p for p in places(content) if p])
        holder = content
        for key in path[:-1]:
            holder = holder[key]
        if rng.random() < 0.2:
            del holder[path[-1]]
        else:
            holder[path[-1]] = rng.choice(VALUES)
        return json.dumps(content).encode()
    data = (content if isinstance(content, str) else json.dumps(content)).encode()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(data) + 1)
        data = rng.choice(
            [data[:at], data[:at] + data[at + rng.randint(1, 9) :],
             data[:at] + rng.choice(PIECES) + data[at + rng.randint(0, 4) :]]
        )  # fmt: skip
    return data


def read_all(option, path):
    """Every image's cells, or the refusals; anything but a ValueError or OSError goes through."""
    refused = []
    try:
        images, skips = read_annotations(option, path)
        kind = dataset_kind(images)
    except (ValueError, OSError) as error:
        return [str(error)]
    for image in images:
        try:
            found = annotate(image, (HEIGHT, WIDTH), kind)
            assert np.isfinite(found.boxes).all()
            assert (found.boxes >= 0).all() and (found.boxes <= [WIDTH, HEIGHT] * 2).all()
        except (ValueError, OSError) as error:
            refused.append(str(error))
    return refused + [f"{skip.file} {skip.reason}" for skip in skips]


@pytest.mark.parametrize("name", FILES)
def test_mutated_files_are_read_or_refused_by_name(tmp_path, name):
    option, content = FILES[name]
    rng = random.Random(name)
    path = tmp_path / name
    refusals = 0
    for _ in range(150):
        path.write_bytes(mutated(content, rng))
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            refused = read_all(option, path)
        assert time.perf_counter() - start < 5
        for reason in refused:
            assert name in reason or "convert each" in reason or "in an image of" in reason
        refusals += bool(refused)
    assert refusals > 10


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_many_mutated_files_are_read_or_refused(tmp_path, name):
    option, content = FILES[name]
    rng = random.Random(f"many {name}")
    for _ in range(2000):
        (tmp_path / name).write_bytes(mutated(content, rng))
        read_all(option, tmp_path / name)
