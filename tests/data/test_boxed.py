"""Cells of which only boxes are known: ground truth of crops, and a detector that learns it."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2", reason="needs detectron2")

from bccd_d2.data.augment.photometric import PhotometricOptions, turn_and_flip, turn_boxes
from bccd_d2.data.catalog import load_split
from bccd_d2.data.convert.run import AnnotationSource, ConvertOptions, convert
from bccd_d2.data.instances import box_instances, ellipses
from bccd_d2.data.mapper import LabelMapMapper, MapperOptions
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.masks.labels import cell_boxes
from bccd_d2.training.run import run

SIZE = (96, 128)
BOXES = [(10, 20, 50, 60), (30, 25, 70, 65), (100, 70, 112, 84)]  # two overlap by half


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("mirror", [False, True])
def test_boxes_turn_as_the_pixels_do(turns, mirror):
    labels = np.zeros((7, 11), np.uint16)
    labels[1:4, 2:4], labels[5:7, 6:11] = 1, 2
    turned = turn_boxes(cell_boxes(labels), labels.shape, turns, mirror)
    assert turned.tolist() == cell_boxes(turn_and_flip(labels, turns, mirror)).tolist()


def test_an_ellipse_fills_its_box_and_nothing_beyond():
    ((mask,)) = ellipses(np.array([[10.0, 20, 50, 44]]), SIZE)
    assert cell_boxes(mask.astype(np.int32)).tolist() == [[10, 20, 50, 44]]
    assert mask.sum() == pytest.approx(np.pi / 4 * 40 * 24, rel=0.02)
    assert ellipses(np.zeros((0, 4)), SIZE).shape == (0, *SIZE)


def test_overlapping_cells_keep_their_whole_boxes_and_masks():
    found = box_instances(np.array(BOXES, float), SIZE)
    assert found.gt_boxes.tensor.tolist() == [list(map(float, box)) for box in BOXES]
    first, second = found.gt_masks.tensor[:2]
    assert (first & second).sum() > 100 and int(first.sum()) == int(second.sum())


def test_a_cell_cut_by_the_crop_has_the_box_of_what_shows():
    boxes = np.array([[-20.0, 10, 20, 50], [-38, 10, 2, 50], [110, 0, 150, 40.0]])
    found = box_instances(boxes, SIZE, min_visible=0.15)
    assert found.gt_boxes.tensor[0].tolist() == [0, 10, 20, 50]  # half of a disc
    assert len(found) == 2  # a twentieth of the second shows
    x0, y0, x1, y1 = found.gt_boxes.tensor[1].tolist()
    assert (x0, x1) == (110, 128) and y0 == 0 and 38 <= y1 <= 40
    corner = box_instances(np.array([[-30.0, -30, 10, 10]]), SIZE)
    assert corner.gt_boxes.tensor[0, 2] < 8  # the ellipse, not its box, reaches into the corner


def test_an_outline_stands_in_for_the_ellipse_where_there_is_one():
    labels = np.zeros(SIZE, np.uint16)
    labels[20:60, 10:50] = 7
    allowed = np.eye(3, dtype=bool)
    found = box_instances(
        np.array(BOXES, float), SIZE, labels=np.array([7, 0, 0]), label_map=labels, allowed=allowed
    )
    assert int(found.gt_masks.tensor[0].sum()) == 1600
    assert int(found.gt_masks.tensor[1].sum()) < 1300
    assert found.gt_classes.tolist() == [0, 1, 2] and found.gt_allowed.tolist() == allowed.tolist()


def typed_boxes(folder: Path, count: int = 4) -> Path:
    """A converted dataset of images with discs of three sizes, each told by its box and name."""
    content = {"images": [], "annotations": [], "categories": []}
    names = ["RBC", "RBC", "Platelets"]
    content["categories"] = [{"id": 1, "name": "RBC"}, {"id": 2, "name": "Platelets"}]
    (folder / "images").mkdir(parents=True)
    for number in range(count):
        image = np.full((*SIZE, 3), 230, np.uint8)
        for name, (x0, y0, x1, y1) in zip(names, BOXES, strict=True):
            middle, axes = ((x0 + x1) // 2, (y0 + y1) // 2), ((x1 - x0) // 2, (y1 - y0) // 2)
            colour = (150, 90, 160) if name == "RBC" else (90, 30, 120)
            cv2.ellipse(image, middle, axes, 0, 0, 360, colour, -1)
            row = {"id": len(content["annotations"]) + 1, "image_id": number + 1, "iscrowd": 0}
            row |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
            content["annotations"].append(row | {"category_id": 1 + (name != "RBC")})
        image[number] = number  # no two are the same
        assert cv2.imwrite(str(folder / "images" / f"{number}.png"), image)
        size = {"height": SIZE[0], "width": SIZE[1]}
        content["images"].append({"id": number + 1, "file_name": f"{number}.png"} | size)
    write_json_atomic(folder / "cells.json", content)
    source = AnnotationSource("coco", folder / "cells.json")
    options = ConvertOptions(workers=1, val_fraction=0.5)
    convert(images=folder / "images", out=folder / "out", options=options, annotations=source)
    return folder / "out"


def test_boxes_follow_the_image_through_crops_scales_and_turns(tmp_path):
    record = load_split(typed_boxes(tmp_path), "train")[0]
    options = MapperOptions(
        crop_size=(96, 96), scale_range=(0.7, 1.5), photometric=PhotometricOptions.off()
    )
    mapper = LabelMapMapper(options, seed=0)
    seen = 0
    for _ in range(30):
        output = mapper(record)
        red = output["image"][0] < 200  # what is cell
        for box, mask in zip(
            output["instances"].gt_boxes.tensor, output["instances"].gt_masks.tensor, strict=True
        ):
            x0, y0, x1, y1 = box.round().int().tolist()
            assert red[mask].float().mean() > 0.8
            assert red[y0:y1, x0:x1].float().mean() > 0.6
            seen += 1
    assert seen > 40
    whole = LabelMapMapper(MapperOptions(), is_train=False, with_instances=True)(record)
    assert whole["instances"].gt_boxes.tensor.tolist() == [list(map(float, b)) for b in BOXES]


def test_a_detector_learns_types_from_boxes_and_the_remedy_in_the_refusal_works(
    tmp_path, small_config
):
    root = typed_boxes(tmp_path)
    options = ["DATASETS.ROOT", str(root), "SOLVER.MAX_ITER", "3", "MODEL.CLASSES.NAMES"]
    options.append('("auto",)')
    with pytest.raises(ValueError, match="has boxes, which may overlap") as refused:
        run(small_config(tmp_path / "run", *options))
    remedy = re.search(r"to learn from them add (.*?)\. ", str(refused.value)).group(1).split()
    scores = run(small_config(tmp_path / "run", *options, *remedy))
    assert {"bbox", "boxes", "types", "type RBC", "type Platelets"} <= set(scores)
    assert scores["operating_point"]["score_threshold"] >= 0.05
    assert (tmp_path / "run" / "model_best.pth").is_file()
    warped = [*options, *remedy, "INPUT.EXTRA.AFFINE", "0.1"]
    with pytest.raises(ValueError, match="add INPUT.EXTRA.AFFINE 0"):
        run(small_config(tmp_path / "run", *warped))
