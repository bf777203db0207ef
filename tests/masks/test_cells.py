"""`Cells` and label maps: round trips, choosing, overlaps, the empty case."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from bccd_d2.export.coco import to_annotations
from bccd_d2.io.label_images import read_label_file, write_label_map
from bccd_d2.masks import labels
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import resolve_overlaps
from bccd_d2.masks.rle import encode_crop, rle_to_json


def two_overlapping() -> Cells:
    square = np.ones((4, 4), bool)
    rles = [encode_crop(square, 0, 0, (8, 8)), encode_crop(square, 2, 2, (8, 8))]
    return Cells.from_rles(rles, (8, 8), [0.9, 0.4])


def test_label_map_round_trip_closes_gaps() -> None:
    label_map = np.zeros((6, 7), np.int32)
    label_map[1:3, 1:4] = 2
    label_map[4:, 5:] = 7
    cells = Cells.from_label_map(label_map)
    np.testing.assert_array_equal(cells.to_label_map(), labels.relabel(label_map))
    np.testing.assert_array_equal(cells.areas, [6, 4])
    np.testing.assert_array_equal(cells.boxes, [[1, 1, 4, 3], [5, 4, 7, 6]])
    np.testing.assert_array_equal(cells.touches_border(), [False, True])


def test_higher_score_wins_an_overlap() -> None:
    label_map = two_overlapping().to_label_map()
    assert label_map[2, 2] == 1 and label_map[5, 5] == 2
    assert (label_map == 1).sum() == 16 and (label_map == 2).sum() == 12


def test_union_counts_overlap_once() -> None:
    assert two_overlapping().union().sum() == 28


def test_choosing_by_threshold_mask_and_slice() -> None:
    cells = two_overlapping()
    assert len(cells.above(0.5)) == 1 and len(cells.above(0.4)) == 2
    assert cells[np.array([False, True])].scores == pytest.approx([0.4])
    assert len(cells[:0]) == 0


def test_empty_has_shapes() -> None:
    cells = Cells.empty((5, 6))
    assert cells.boxes.shape == (0, 4) and cells.areas.shape == (0,)
    assert cells.touches_border().shape == (0,)
    assert cells.to_label_map().shape == (5, 6) and not cells.union().any()
    assert list(cells.crops()) == []


def test_from_coco_leaves_crowds_out() -> None:
    rle = rle_to_json(two_overlapping().rles[0])
    annotations = [{"segmentation": rle, "iscrowd": 1}, {"segmentation": rle, "score": 0.3}]
    cells = Cells.from_coco(annotations, (8, 8))
    assert cells.scores == pytest.approx([0.3])


def test_from_instances_takes_bitmaps_and_rles() -> None:
    torch = pytest.importorskip("torch")
    cells = two_overlapping()
    masks = torch.as_tensor(np.stack([cells[i : i + 1].union() for i in range(2)]))
    fields = {"scores": torch.tensor([0.9, 0.4]), "pred_classes": torch.zeros(2).long()}
    for extra in ({"pred_masks": masks}, {"pred_rles": cells.rles}):
        instances = SimpleNamespace(image_size=(8, 8), has=extra.__contains__, **fields, **extra)
        np.testing.assert_array_equal(
            Cells.from_instances(instances).to_label_map(), cells.to_label_map()
        )


def test_mismatched_parts_are_refused() -> None:
    rles = two_overlapping().rles
    with pytest.raises(ValueError, match="as many scores"):
        Cells.from_rles(rles, (8, 8), [1.0])
    with pytest.raises(ValueError, match="size"):
        Cells.from_rles(rles, (9, 8))


def test_label_png_round_trip(tmp_path) -> None:
    label_map = np.arange(12, dtype=np.int32).reshape(3, 4) * 300
    write_label_map(tmp_path / "ü 1.png", label_map)
    np.testing.assert_array_equal(read_label_file(tmp_path / "ü 1.png", compact=False), label_map)
    with pytest.raises(ValueError, match="16 bits"):
        write_label_map(tmp_path / "b.png", label_map + 70000)
    with pytest.raises(FileNotFoundError, match="none.png does not exist"):
        read_label_file(tmp_path / "none.png")


@pytest.mark.parametrize("bad", [np.zeros((2, 2, 1), int), np.zeros((2, 2)), -np.eye(2, dtype=int)])
def test_bad_label_maps_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="label_map must"):
        labels.check_label_map(bad)


def typed() -> Cells:
    return two_overlapping().with_classes(np.array([[0.2, 0.7, 0.1], [0.6, 0.3, 0.1]]))


def test_class_probabilities_follow_the_cells() -> None:
    cells = typed()
    assert cells.class_ids.tolist() == [1, 0]
    assert cells.class_confidence == pytest.approx([0.7, 0.6])
    assert cells[::-1].class_confidence == pytest.approx([0.6, 0.7])
    assert cells.above(0.5).class_probabilities.shape == (1, 3)
    assert cells[:0].class_probabilities.shape == (0, 3)
    assert two_overlapping().class_confidence is None
    np.testing.assert_array_equal(
        resolve_overlaps(cells).class_probabilities, cells.class_probabilities
    )
    with pytest.raises(ValueError, match="a row of class probabilities"):
        replace(cells, class_probabilities=np.ones((3, 2)))


def test_boxes_of_a_detector_follow_the_cells_and_go_to_coco_and_back() -> None:
    boxes = np.array([[0, 1, 5, 5.5], [2, 2, 8, 8]])
    cells = replace(typed(), detected_boxes=boxes)
    assert cells[1:].scored_boxes.tolist() == [[2, 2, 8, 8]]
    np.testing.assert_array_equal(resolve_overlaps(cells).scored_boxes, boxes)
    np.testing.assert_array_equal(typed().scored_boxes, typed().boxes)
    rows = to_annotations(cells)
    assert rows[0]["detected_bbox"] == [0, 1, 5, 4.5]
    x0, y0, x1, y1 = cells.boxes[0]
    assert rows[0]["bbox"] == [x0, y0, x1 - x0, y1 - y0]  # of the mask, as COCO has it
    np.testing.assert_array_equal(Cells.from_coco(rows, (8, 8)).scored_boxes, boxes)
    assert Cells.from_coco([*rows, *to_annotations(typed())], (8, 8)).detected_boxes is None
    with pytest.raises(ValueError, match="2 masks need a box each"):
        replace(cells, detected_boxes=boxes[:1])


def test_coco_keeps_categories_by_a_map() -> None:
    rle = rle_to_json(two_overlapping().rles[0])
    annotations = [{"segmentation": rle, "category_id": 7}, {"segmentation": rle, "category_id": 2}]
    assert Cells.from_coco(annotations, (8, 8)).class_ids.tolist() == [0, 0]
    cells = Cells.from_coco(annotations, (8, 8), {2: 0, 7: 1})
    assert cells.class_ids.tolist() == [1, 0] and cells.class_probabilities is None
    results = [a | {"class_probabilities": [0.1, 0.9]} for a in annotations]
    kept = Cells.from_coco(results, (8, 8), {2: 0, 7: 1}).class_probabilities
    assert kept == pytest.approx(np.array([[0.1, 0.9]] * 2))


def test_instances_carry_class_probabilities_there_and_back() -> None:
    instances_of = pytest.importorskip("bccd_d2.modeling.instances").instances_of
    boxes = np.array([[2, 2, 8, 8], [0, 1, 5, 5.5]])
    back = Cells.from_instances(instances_of(replace(typed()[::-1], detected_boxes=boxes)))
    np.testing.assert_array_equal(back.detected_boxes, boxes[::-1])
    assert back.class_ids.tolist() == [1, 0]  # the better scored first
    np.testing.assert_array_equal(back.class_probabilities, typed().class_probabilities)
