"""COCO to and from CVAT and Label Studio, by the code with which they read and write it.

``written/`` holds the cells of a drawn smear after our file went through each tool: CVAT's datumaro
1.13, and label-studio-sdk 2.1. Where those are installed our files are read by them.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from bccd_d2.cli.convert import main as convert
from bccd_d2.export.coco import write_coco
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.overlap import iou_matrix
from bccd_d2.synth.smear import draw_smear

WRITTEN = Path(__file__).with_name("written")
CLASSES = Classes(("red", "white"))


@pytest.fixture
def smear(tmp_path):
    """The smear that went through the tools, as an image and as the file of `bccd predict`."""
    drawn = draw_smear(seed=5, size=(160, 220), n_cells=6, style="grey")
    (tmp_path / "images").mkdir()
    cv2.imwrite(str(tmp_path / "images" / "smear.png"), drawn.image[..., ::-1])
    cells = Cells.from_label_map(drawn.label_map)
    cells = replace(cells, class_ids=np.arange(len(cells)) % 2)
    write_coco(tmp_path / "coco" / "smear.json", [("smear.png", cells)], CLASSES)
    return cells


def annotations(folder: Path) -> Path:
    """The only file of annotations that `converted` left; folders' names say which split it is."""
    (path,) = (folder / "out" / "annotations").iterdir()
    return path


def converted(folder: Path, coco: Path, *more: str) -> tuple[np.ndarray, list[str]]:
    """The label map and the types that `bccd convert` makes of a file."""
    given = ["--images", str(folder / "images"), "--coco", str(coco), "--val-fraction", "0"]
    assert convert([*given, "--out", str(folder / "out"), *more]) == 0
    content = json.loads(annotations(folder).read_text())
    names = {one["id"]: one["name"] for one in content["categories"]}
    types = [names[one["category_id"]] for one in content["annotations"]]
    return read_label_file(folder / "out" / content["images"][0]["label_file"]), types


@pytest.mark.parametrize("tool", ["cvat", "label_studio"])
def test_cells_come_back_from_a_tool(tool, smear, tmp_path):
    labels, types = converted(tmp_path, WRITTEN / f"{tool}.json")
    assert len(types) == len(smear)
    iou = iou_matrix(Cells.from_label_map(labels).rles, smear.rles)
    assert iou.max(axis=0).min() > 0.9
    found = [types[row] for row in iou.argmax(axis=0)]
    assert found == CLASSES.named(smear.class_ids)


def test_cvat_reads_our_file(smear, tmp_path):
    datumaro = pytest.importorskip("datumaro", reason="needs datumaro")
    root = tmp_path / "in"
    (root / "annotations").mkdir(parents=True)
    shutil.copytree(tmp_path / "images", root / "images" / "default")
    shutil.copy(tmp_path / "coco" / "smear.json", root / "annotations" / "instances_default.json")
    read = datumaro.Dataset.import_from(str(root), "coco_instances")
    kinds = datumaro.AnnotationType
    names = [one.name for one in read.categories()[kinds.label].items]
    (item,) = read
    masks = [one for one in item.annotations if one.type == kinds.mask]
    wanted = zip(smear.areas.tolist(), CLASSES.named(smear.class_ids), strict=True)
    assert sorted((int(one.image.sum()), names[one.label]) for one in masks) == sorted(wanted)


def test_label_studio_reads_our_polygons(smear, tmp_path):
    """Its converter takes no RLE: `bccd convert --polygons` writes what it takes."""
    coco = pytest.importorskip(
        "label_studio_sdk.converter.imports.coco", reason="needs label-studio-sdk"
    )
    converted(tmp_path, tmp_path / "coco", "--polygons")
    tasks = str(tmp_path / "tasks.json")
    coco.convert_coco_to_ls(str(annotations(tmp_path)), tasks, out_type="annotations")
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    found = task["annotations"][0]["result"]
    outlines = [one for one in found if one["type"] == "polygonlabels"]  # beside their boxes
    assert len(outlines) == len(smear)
    named = [one["value"]["polygonlabels"][0] for one in outlines]
    assert sorted(named) == sorted(CLASSES.named(smear.class_ids))


def test_what_label_studio_takes_are_polygons(smear, tmp_path):
    converted(tmp_path, tmp_path / "coco", "--polygons")
    content = json.loads(annotations(tmp_path).read_text())
    for one in content["annotations"]:
        assert all(len(part) >= 6 for part in one["segmentation"]) and not one["iscrowd"]
