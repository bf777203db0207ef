"""Pascal VOC, YOLO and BBBC041's json, told apart and read as their tools write them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pycocotools.coco import COCO

from .conftest import write_image, write_json

VOC = """<annotation verified="yes">
\t<folder>JPEGImages</folder><filename>{name}</filename>
\t<path>C:\\\\data\\\\{name}</path><source><database>Unknown</database></source>
\t<size><width>{width}</width><height>60</height><depth>3</depth></size>
\t<segmented>0</segmented>
\t{objects}
</annotation>"""
OBJECT = """<object><name>{0}</name><pose>Unspecified</pose><truncated>0</truncated>
<difficult>{5}</difficult><bndbox><xmin>{1}</xmin><ymin>{2}</ymin><xmax>{3}</xmax>
<ymax>{4}</ymax></bndbox></object>"""


def voc(path: Path, *objects, name="a.png", width=80) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = "".join(OBJECT.format(*row, *[0] * (6 - len(row))) for row in objects)
    path.write_text(VOC.format(name=name, width=width, objects=rows))
    return path


def test_voc_with_its_lists(run, tmp_path):
    folder = tmp_path / "Annotations"
    voc(folder / "a.xml", ("RBC", 10, 5, 30, 25), ("WBC", 40.5, 5, 60, 25, 1))
    voc(folder / "b.xml", ("RBC", 1, 1, 81, 61), ("RBC", 9, 9, 9, 30), name="wrong.jpg", width=0)
    voc(folder / "c.xml", name="c.jpg")
    lists = tmp_path / "ImageSets" / "Main"
    lists.mkdir(parents=True)
    (lists / "train.txt").write_text("a\nc\n")
    (lists / "val.txt").write_text("b\n\n")
    (lists / "trainval.txt").write_text("a\nb\nc\n")
    found = run("boxes", folder, splits=lists)
    counts = {split: value["images"] for split, value in found.report.counts.items()}
    assert counts == {"train": 2, "val": 1} and not found.skips
    assert found.description["annotations"] == "boxes"
    assert found.boxes("a.png") == [[10, 5, 20, 20], [40.5, 5, 19.5, 20]]
    assert [one["iscrowd"] for one in found.cells["a.png"]] == [0, 1]
    assert found.boxes("b.png") == [[1, 1, 79, 59]] and found.cells["c.jpg"] == []
    assert found.notes["cells without extent, dropped"] == 1
    assert "segmentation" not in found.cells["a.png"][0]
    assert not (found.report.out / "labels").exists()
    assert found.description["categories"] == ["RBC", "WBC"]
    assert found.audit["summary"]["all"]["categories"] == {"RBC": 2}
    assert found.audit["summary"]["train"]["cell_width"]["50"] == 20
    loaded = COCO(str(found.report.files["train"]))
    assert len(loaded.getAnnIds(iscrowd=False)) == 1


def test_categories_that_are_not_meant_are_ignored(run, tmp_path):
    path = voc(tmp_path / "a.xml", ("RBC", 10, 5, 30, 25), ("Platelets", 40, 5, 45, 12))
    found = run("boxes", path, ignore=("Platelets",))
    assert [one["iscrowd"] for one in found.cells["a.png"]] == [0, 1]
    assert found.report.counts["train"]["cells"] == 1
    assert found.description["options"]["ignore"] == ["Platelets"]
    with pytest.raises(ValueError, match="--ignore Platelet: no such .* it has Platelets, RBC"):
        run("boxes", path, ignore=("Platelet",))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation><object>", "is no xml"),
        ("<Annotations/>", "Pascal VOC's is <annotation>"),
        ("<!DOCTYPE x [<!ENTITY a 'aa'>]><annotation/>", "entities"),
        ("<annotation><object><name>x</name></object></annotation>", "object[0] has no bndbox"),
        ("<annotation><object><bndbox><xmin>1</xmin></bndbox></object></annotation>",
         "object[0].bndbox must be 4 finite numbers"),
        ("\0\1\2", "is no text"),
    ],
)  # fmt: skip
def test_a_bad_xml_costs_its_image_only(run, tmp_path, text, message):
    voc(tmp_path / "voc" / "b.xml", ("RBC", 10, 5, 30, 25))
    (tmp_path / "voc" / "a.xml").write_text(text)
    found = run("boxes", tmp_path / "voc")
    assert list(found.cells) == ["b.png"]
    (reason,) = (why for kind, why in found.skips if kind == "unreadable annotations")
    assert message in reason and "a.xml" in reason


def test_yolo_boxes_outlines_and_class_names(run, tmp_path):
    folder = tmp_path / "labels"
    folder.mkdir()
    (folder / "a.txt").write_text("0 0.25 0.25 0.25 0.3333333\n2 0.5 0.5 1.1 0.1 0.87\n\n")
    (folder / "b.txt").write_text("")
    (tmp_path / "classes.txt").write_text("WBC\nRBC\nPlatelets\n")
    found = run("boxes", folder)
    first, second = found.boxes("a.png")
    assert first == pytest.approx([10, 5, 20, 20], abs=1e-3)
    assert second == pytest.approx([0, 27, 80, 6], abs=1e-3)
    assert [one["name"] for one in found.cells["a.png"]] == ["WBC", "Platelets"]
    assert found.cells["b.png"] == [] and found.notes["confidences of boxes, left out"] == 1
    ((kind, reason),) = found.skips
    assert kind == "missing annotations" and "an empty list or file says" in reason  # c.jpg
    (folder / "c.txt").touch()  # the remedy that it names
    assert not run("boxes", folder).skips
    (folder / "a.txt").write_text("1 0.125 0.083333 0.375 0.083333 0.375 0.416667 0.125 0.416667")
    (folder / "data.yaml").write_text("names:\n  0: leukocyte\n  1: erythrocyte\nnc: 2\n")
    found = run("boxes", folder)
    assert found.description["annotations"] == "masks"
    assert found.cells["a.png"][0]["area"] == 400
    assert found.cells["a.png"][0]["name"] == "erythrocyte"
    chosen = tmp_path / "names.txt"
    chosen.write_text("x\ny\n")
    assert run("boxes", folder, classes=chosen).cells["a.png"][0]["name"] == "y"


def test_yolo_in_the_layout_of_ultralytics(run, tmp_path):
    """images/train/x.jpg with labels/train/x.txt, names alike in both splits."""
    root = tmp_path / "yolo"
    for seed, split in enumerate(("train", "val")):
        write_image(root / "images" / split / "x.jpg", 30 + seed)
        (root / "labels" / split).mkdir(parents=True)
        (root / "labels" / split / "x.txt").write_text(f"0 0.5 0.5 0.{seed + 1} 0.1\n")
    for images, labels in ((root / "images", root / "labels"), (root, root)):
        found = run("boxes", labels, images=images)
        counts = {split: value["images"] for split, value in found.report.counts.items()}
        assert counts == {"train": 1, "val": 1}
        widths = [boxes[0]["bbox"][2] for boxes in found.cells.values()]
        assert sorted(widths) == pytest.approx([8, 16])


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("223 87 3", "given with --points"),
        ("0 0.5 0.5 0.1", "holds 4 values"),
        ("0 120 130 40 40", "line 1 holds 130, no share of the image"),
        ("cell 0.5 0.5 0.1 0.1", "must be 5 finite numbers"),
        ("0.5 0.5 0.5 0.1 0.1", "no class number"),
        ("0 nan 0.5 0.1 0.1", "finite"),
    ],
)
def test_a_bad_yolo_line_costs_its_image_only(run, tmp_path, line, message):
    (tmp_path / "labels").mkdir()
    (tmp_path / "labels" / "a.txt").write_text(line)
    (tmp_path / "labels" / "b.txt").write_text("0 0.5 0.5 0.1 0.1")
    found = run("boxes", tmp_path / "labels")
    assert list(found.cells) == ["b.png"]
    (reason,) = (why for kind, why in found.skips if kind == "unreadable annotations")
    assert message in reason and "a.txt" in reason


def bbbc(name, *objects, size=(60, 80)):
    rows = [
        {"bounding_box": {"minimum": {"r": y0, "c": x0}, "maximum": {"r": y1, "c": x1}},
         "category": category}
        for category, y0, x0, y1, x1 in objects
    ]  # fmt: skip
    shape = {"r": size[0], "c": size[1], "channels": 3}
    return {"image": {"checksum": "0", "pathname": f"/images/{name}", "shape": shape},
            "objects": rows}  # fmt: skip


def test_bbbc041_json_with_folders_of_splits(run, tmp_path):
    root = tmp_path / "smears"
    write_image(root / "train" / "original" / "x.jpg", 40)
    write_image(root / "train" / "mask" / "x.png", 41)  # a mask is no image
    write_image(root / "test" / "original" / "y.png", 42)
    content = [
        bbbc("x.png", ("red blood cell", 5, 10, 25, 30), ("difficult", 30, 10, 40, 20)),
        bbbc("y.png", ("ring", 1, 2, 30, 40)),
    ]
    found = run("boxes", write_json(tmp_path / "boxes.json", content), images=root)
    assert not found.skips and found.boxes("train/original/x.jpg")[0] == [10, 5, 20, 20]
    assert [one["iscrowd"] for one in found.cells["train/original/x.jpg"]] == [0, 1]
    assert found.report.counts["test"] == {"images": 1, "cells": 1, "max_cells": 1}
    assert found.description["categories"] == ["difficult", "red blood cell", "ring"]
    del content[0]["objects"][0]["bounding_box"]["maximum"]["c"]
    content.append({"objects": []})
    found = run("boxes", write_json(tmp_path / "boxes.json", content), images=root)
    reasons = " ".join(reason for _, reason in found.skips)
    assert "[0].objects[0].bounding_box needs minimum and maximum" in reasons
    assert "[2].image.pathname is None" in reasons and len(found.images) == 1


def test_a_format_that_cannot_be_told_is_asked_for(run, tmp_path):
    folder = tmp_path / "mixed"
    voc(folder / "a.xml", ("RBC", 10, 5, 30, 25))
    (folder / "b.txt").write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(ValueError, match=".xml and .txt; name the file or folder of one format"):
        run("boxes", folder)
    (folder / "b.txt").rename(folder / "b.csv")
    (folder / "a.xml").unlink()
    with pytest.raises(ValueError, match="none of these"):
        run("boxes", folder)
    with pytest.raises(FileNotFoundError, match="do not exist"):
        run("boxes", tmp_path / "none")


def test_coco_boxes_may_be_given_as_boxes(run, tmp_path):
    content = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [],
               "annotations": [{"id": 1, "image_id": 1, "bbox": [1, 2, 3, 4]}]}  # fmt: skip
    found = run("boxes", write_json(tmp_path / "x.json", content))
    assert found.boxes("a.png") == [[1, 2, 3, 4]]
    assert json.loads(found.report.files["dataset"].read_text())["annotations"] == "boxes"


def test_boxes_that_all_lack_extent_are_no_image_without_cells(run, tmp_path):
    voc(tmp_path / "boxes" / "a.xml", ("RBC", 30, 25, 10, 5), ("RBC", 60, 25, 40, 5))
    voc(tmp_path / "boxes" / "b.xml", ("RBC", 10, 5, 30, 25), name="b.png")
    found = run("boxes", tmp_path / "boxes")
    reason = next(reason for kind, reason in found.skips if kind == "unreadable annotations")
    assert "2 of 2 cells have no extent in a (80x60 px); are their corners exchanged?" in reason
