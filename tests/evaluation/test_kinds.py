"""Evaluation follows the annotations: masks, boxes, points, all of the cells or some, or none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("detectron2", reason="run tools/install_detectron2.py")

from detectron2.data import MetadataCatalog

from bccd_d2.config.files import TAXONOMIES
from bccd_d2.data.catalog import register_dataset
from bccd_d2.data.convert.run import AnnotationSource, ConvertOptions, convert
from bccd_d2.evaluation.evaluators import (
    BoxEvaluator,
    CellEvaluator,
    PointEvaluator,
    evaluator_for,
)
from bccd_d2.evaluation.table import format_scores
from bccd_d2.evaluation.truth import read_true_boxes, read_truth
from bccd_d2.export.coco import to_dataset
from bccd_d2.io.atomic import write_json_atomic, write_png_atomic
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.rle import encode_crop
from bccd_d2.masks.taxonomy import Types, read_taxonomy
from bccd_d2.modeling.instances import instances_of

SIZE = (60, 100)
CORNERS = [(5, 5), (5, 30), (30, 5), (30, 60)]


def squares(*corners: tuple[int, int], side: int = 12) -> Cells:
    block = np.ones((side, side), bool)
    return Cells.from_rles([encode_crop(block, y, x, SIZE) for y, x in corners], SIZE)


def make(folder: Path, kind: str, corners=CORNERS, partial=False, crowd=(), names=()) -> str:
    """Register a converted dataset of one image with squares; the name of its split."""
    images = folder / "images"
    images.mkdir(parents=True, exist_ok=True)
    write_png_atomic(images / "a.png", np.full((*SIZE, 3), 200, np.uint8))
    content = to_dataset([("a.png", squares(*corners, *crowd))])
    for number, annotation in enumerate(content["annotations"]):
        x, y, w, h = annotation["bbox"]
        annotation["iscrowd"] = int(number >= len(corners))
        if names:
            annotation["category_id"] = 1 + sorted(set(names)).index(names[number])
        if kind != "masks":
            del annotation["segmentation"]
        if kind == "points":
            annotation["point"] = [x + w / 2, y + h / 2]
    if names:
        listed = enumerate(sorted(set(names)), start=1)
        content["categories"] = [{"id": number, "name": name} for number, name in listed]
    source = AnnotationSource("coco", folder / "cells.json", partial=partial)
    write_json_atomic(source.path, content)
    options = ConvertOptions(workers=1, val_fraction=0)
    out = folder / "out"
    convert(images=images, out=out, options=options, annotations=source)
    return register_dataset(out)["train"]


def score(name: str, cells: Cells, folder: Path | None = None, types: Types | None = None):
    given = {"output_dir": folder, "score_threshold": 0.5, "types": types}
    evaluator = evaluator_for(name, max_detections=50, **given)
    evaluator.reset()
    evaluator.process([{"image_id": 1}], [{"instances": instances_of(cells)}])
    return evaluator, evaluator.evaluate()


FOUND = [(5, 5), (5, 30), (30, 5), (45, 85)]  # three of four, and one that is none


@pytest.mark.parametrize(
    ("kind", "evaluator", "groups"),
    [
        ("masks", CellEvaluator, ["bbox", "segm", "instances", "interior", "pixels"]),
        ("boxes", BoxEvaluator, ["bbox", "boxes"]),
        ("points", PointEvaluator, ["points"]),
    ],
)
def test_each_kind_has_its_own_scores(tmp_path, kind, evaluator, groups):
    used, results = score(make(tmp_path, kind), squares(*FOUND), tmp_path / "scores")
    assert isinstance(used, evaluator) and list(results) == groups
    if kind == "points":
        assert results["points"]["alone"] == 0.75 and results["points"]["spurious"] == 0.25
    else:
        group = "instances" if kind == "masks" else "boxes"
        assert results[group]["F1@.5"] == results[group]["recall@.5"] == 0.75
        assert results["bbox"]["AP50"] > 0.5
    text = format_scores(results)
    assert ("0.750" in text) and ("masks" in text) == (kind == "masks")
    stored = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert stored["annotations"] == kind and stored["complete"] is True
    with (tmp_path / "scores" / "per_image.csv").open() as stream:
        (row,) = csv.DictReader(stream)
    assert row["file_name"] == "a.png"


@pytest.mark.parametrize("kind", ["masks", "boxes", "points"])
def test_where_some_cells_are_annotated_only_recall_is_scored(tmp_path, kind):
    """Two of the found cells carry no annotation: nothing may call them wrong."""
    name = make(tmp_path, kind, CORNERS[:2], partial=True)
    used, results = score(name, squares(*FOUND), tmp_path / "scores")
    values = {key: v for group in results.values() for key, v in group.items()}
    assert values["complete"] is False
    assert not any(k.startswith(("AP", "F1", "precision", "PQ", "count", "Dice")) for k in values)
    assert values["recall" if kind == "points" else "recall@.5"] == 1
    assert used.sweep() is None
    text = format_scores(results)
    assert "only some of the cells are annotated: precision, F1, AP and counts are not" in text
    assert "precision" not in text.replace("annotated: precision", "") and "F1@" not in text


@pytest.mark.parametrize(
    ("kind", "partial", "fact"),
    [
        ("masks", False, "F1 at IoU .5: **0.750**"),
        ("masks", True, "recall at IoU .5: **0.750**"),
        ("boxes", False, "box F1 at IoU .5: **0.750**"),
        ("boxes", True, "box recall: **0.750**"),
        ("points", False, "points alone: **0.750**"),
        ("points", True, "points missed: **0.250**"),
    ],
)
def test_a_report_shows_the_scores_that_there_are(tmp_path, kind, partial, fact):
    pytest.importorskip("jinja2")
    from bccd_d2.report.run.page import write_report

    name = make(tmp_path, kind, partial=partial)
    part = tmp_path / "run" / "evaluation" / name
    _, results = score(name, squares(*FOUND), part)
    write_json_atomic(part.parent / "metrics.json", {"datasets": [name], "scores": results})
    text = write_report(tmp_path / "run")[1].read_text()
    assert fact in text and "On 1 images with 4 true cells" in text
    some = ", and of some of its cells only" if partial else ""
    said = f"The dataset has {kind}{some}: no intervals, calibration, failures or pictures."
    assert (said in text) == (partial or kind != "masks")
    scores = json.loads((part / "scores.json").read_text())
    write_json_atomic(part / "scores.json", scores | {"annotations": "lines"})
    with pytest.raises(ValueError, match="scores.json: annotations must be one of"):
        write_report(tmp_path / "run")


@pytest.mark.parametrize("kind", ["masks", "boxes", "points"])
@pytest.mark.parametrize("found", [[], FOUND])
def test_a_split_without_cells_has_no_scores(tmp_path, kind, found):
    """It must not score 1 for an empty answer, nor 0: there is nothing to find."""
    if kind == "masks":
        name = make(tmp_path, kind, [])
    else:  # one ignored cell says what kind it is
        name = make(tmp_path, kind, [], crowd=[(45, 5)])
    used, results = score(name, squares(*found), tmp_path / "scores")
    counts = ("count_mae", "count_bias", "count_relative_error", "truth", "predicted", "matched",
              "points", "merging", "outlines")  # fmt: skip
    for group in results.values():
        assert {v for k, v in group.items() if k not in counts} == {None}
    text = format_scores(results)
    assert "no cells" in text and "1.000" not in text
    assert used.sweep() is None
    stored = (tmp_path / "scores" / "scores.json").read_text()
    assert "NaN" not in stored and "null" in stored
    assert "1.0," not in (tmp_path / "scores" / "per_image.csv").read_text()


@pytest.mark.parametrize("kind", ["masks", "boxes"])
def test_what_lies_on_a_crowd_counts_for_nothing(tmp_path, kind):
    name = make(tmp_path, kind, CORNERS, crowd=[(45, 85)])
    _, results = score(name, squares(*FOUND))
    group = results["instances" if kind == "masks" else "boxes"]
    assert group["precision@.5"] == 1 and group["predicted"] == 3 and group["truth"] == 4


def test_other_readers_say_what_the_dataset_has(tmp_path):
    make(tmp_path, "boxes")
    path = tmp_path / "out" / "annotations" / "instances_train.json"
    with pytest.raises(ValueError, match="this dataset has boxes, no masks"):
        read_truth(path)
    make(tmp_path / "points", "points")
    with pytest.raises(ValueError, match="this dataset has points, no boxes"):
        read_true_boxes(tmp_path / "points" / "out" / "annotations" / "instances_train.json")
    make(tmp_path / "masks", "masks")
    masks = read_true_boxes(tmp_path / "masks" / "out" / "annotations" / "instances_train.json")
    assert masks[1].cells.boxes[0].tolist() == [5, 5, 17, 17]
    from bccd_d2.data.anchors import load_boxes
    from bccd_d2.report.dataset.files import read_dataset

    with pytest.raises(ValueError, match="has boxes, no masks to show"):
        read_dataset(tmp_path / "out")
    with pytest.raises(ValueError, match="has points, no boxes to fit"):
        load_boxes(tmp_path / "points" / "out")
    assert len(load_boxes(tmp_path / "out").boxes) == 4


@pytest.mark.parametrize("kind", ["masks", "boxes", "points"])
def test_types_stand_beside_the_unchanged_scores(tmp_path, kind):
    """Four cells "RBC, RBC, WBC, difficult": found are a red one, a red one as white, and one more.

    The last found cell lies on none.
    """
    name = make(tmp_path, kind, names=["RBC", "RBC", "WBC", "difficult"])
    assert MetadataCatalog.get(name).thing_classes == ["RBC", "WBC", "difficult"]
    taxonomy = read_taxonomy(TAXONOMIES.find("blood"))
    types = Types(taxonomy.classes(["red", "white"]), taxonomy)
    found = squares(*FOUND)[np.array([0, 1, 3])].with_classes(
        np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    )
    plain = score(name, found)[1]
    _, results = score(name, found, tmp_path / "scores", types=types)
    groups = [group for group in results if group not in plain]
    assert groups == ["types", "type red", "type white"]
    assert {group: results[group] for group in plain} == plain
    red, white = results["type red"], results["type white"]
    assert (red["truth"], red["predicted"], red["matched"]) == (2, 2, 1)
    assert (white["truth"], white["predicted"], white["matched"]) == (1, 1, 0)
    assert results["types"]["accuracy"] == 0.5 and results["types"]["white_mae"] == 0
    if kind == "points":
        assert "AP" not in red
    else:
        assert red["AP50"] == pytest.approx(51 / 101) and white["AP"] == 0
        assert results["types"]["mAP50"] == pytest.approx(51 / 202)
    stored = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert stored["types"]["confusion"] == [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    listed = json.loads((tmp_path / "scores" / "coco_instances_results.json").read_text())
    assert [row["category_id"] for row in listed] == [1, 2, 1]
    assert "type white" in format_scores(results)


def test_a_label_that_the_model_does_not_know_is_of_unknown_type(tmp_path, caplog):
    name = make(tmp_path, "masks", names=["RBC", "RBC", "ink", "ink"])
    types = Types(Classes(("red", "white")), read_taxonomy(TAXONOMIES.find("blood")))
    found = squares(*CORNERS).with_classes(np.array([[0.9, 0.1]] * 3 + [[0.2, 0.8]]))
    _, results = score(name, found, types=types)
    assert "the label 'ink' is none of the model's classes (red, white)" in caplog.text
    assert results["type red"]["F1"] == 1 and results["type white"]["predicted"] == 0
    assert results["instances"]["F1@.5"] == 1
