"""Each kind of failure on rectangles whose overlap is known."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.evaluation import failures as f
from bccd_d2.evaluation.scores import score_image
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop

SIZE = (100, 300)


def rectangles(*boxes, size=SIZE, scores=None) -> Cells:
    """Cells that fill boxes (x0, y0, x1, y1)."""
    rles = [
        encode_crop(np.ones((y1 - y0, x1 - x0), dtype=bool), y0, x0, size)
        for x0, y0, x1, y1 in boxes
    ]
    return Cells.from_rles(rles, size, scores)


def one_of_each() -> tuple[Cells, Cells]:
    truth = rectangles(
        (0, 0, 20, 20),  # 0 found
        (30, 0, 50, 20),  # 1, 2 and 3 merged into one
        (50, 0, 70, 20),
        (70, 0, 90, 20),
        (100, 0, 140, 20),  # 4 split in two
        (150, 0, 170, 20),  # 5 missed
        (200, 0, 220, 20),  # 6 badly outlined: IoU 1/3
    )
    prediction = rectangles(
        (0, 0, 20, 20), (30, 0, 90, 20), (100, 0, 119, 20), (121, 0, 140, 20),
        (210, 0, 230, 20), (0, 60, 20, 80),
    )  # fmt: skip
    return truth, prediction


def test_every_kind_once():
    found = f.find_failures(*one_of_each())
    assert found.truth.tolist() == [
        "found", "merged", "merged", "merged", "split", "missed", "badly outlined",
    ]  # fmt: skip
    assert found.prediction.tolist() == [
        "found", "merged", "split", "split", "badly outlined", "spurious",
    ]  # fmt: skip
    assert {event.kind: (event.truth, event.prediction) for event in found.events} == {
        "merged": ((1, 2, 3), (1,)),
        "split": ((4,), (2, 3)),
        "missed": ((5,), ()),
        "spurious": ((), (5,)),
        "badly outlined": ((6,), (4,)),
    }
    table = f.count_kinds([found, found])
    assert list(table) == list(f.KINDS) == list(f.MEANINGS)
    assert table["merged"] == {"events": 2, "true_cells": 6, "predicted_cells": 2}
    assert table["split"] == {"events": 2, "true_cells": 2, "predicted_cells": 4}


def test_found_cells_of_an_event_do_not_count_as_wrong():
    merged = f.find_failures(
        rectangles((0, 0, 40, 20), (40, 0, 50, 20)), rectangles((0, 0, 50, 20))
    )
    assert merged.truth.tolist() == ["found", "merged"]
    assert merged.prediction.tolist() == ["merged"] and merged.matched.tolist() == [True]
    assert merged.count("merged") == 1
    assert f.count_kinds([merged])["merged"]["predicted_cells"] == 0
    double = f.find_failures(
        rectangles((0, 0, 40, 20)), rectangles((0, 0, 40, 20), (0, 0, 38, 20), scores=[0.9, 0.8])
    )
    assert double.truth.tolist() == ["found"]
    assert double.prediction.tolist() == ["found", "split"] and double.count("split") == 1


def test_kinds_add_up_to_what_f1_calls_wrong():
    rng = np.random.default_rng(3)
    for _ in range(20):
        corners = rng.integers(0, (270, 70), (30, 2))
        sides = rng.integers(8, 30, (30, 2))
        boxes = np.concatenate([corners, corners + sides], axis=1).tolist()
        truth = Cells.from_label_map(rectangles(*boxes[:15]).to_label_map())
        prediction = rectangles(*boxes[8:], scores=rng.random(22))
        found = f.find_failures(truth, prediction)
        counts = score_image(truth, prediction, 0.0).instances
        kinds = f.count_kinds([found])
        lost, wrong = (sum(k[c] for k in kinds.values()) for c in ("true_cells", "predicted_cells"))
        assert lost == counts.truth - counts.matched[0]
        assert wrong == counts.predicted - counts.matched[0]
        assert {e.kind for e in found.events} == {k for k, v in kinds.items() if v["events"]}


@pytest.mark.parametrize(("true", "predicted"), [(0, 0), (1, 0), (0, 1)])
def test_without_cells(true, predicted):
    box = (0, 0, 20, 20)
    found = f.find_failures(rectangles(*[box] * true), rectangles(*[box] * predicted))
    assert found.truth.tolist() == ["missed"] * true
    assert found.prediction.tolist() == ["spurious"] * predicted
    assert len(found.events) == true + predicted


def test_images_of_two_sizes_are_refused():
    with pytest.raises(ValueError, match="rescale"):
        f.find_failures(rectangles(), rectangles(size=(10, 10)))


def test_the_threshold_counts_as_a_match():
    truth, prediction = rectangles((0, 0, 20, 20)), rectangles((0, 0, 10, 20))
    assert f.find_failures(truth, prediction, iou=0.5).truth.tolist() == ["found"]
    assert f.find_failures(truth, prediction, iou=0.51).truth.tolist() == ["badly outlined"]
