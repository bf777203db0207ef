"""Datasets of weak labels keep the categories of the boxes or points that they were drawn from."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.data.ignored import IGNORED
from bccd_d2.data.weak_dataset import weak_annotations, write_weak_dataset


def label_map() -> np.ndarray:
    """Three cells, the last of which no annotation fits, and pixels that say nothing."""
    labels = np.zeros((60, 100), np.uint16)
    labels[5:25, 5:25], labels[5:25, 40:60], labels[40:55, 70:90] = 1, 2, 3
    labels[40:50, 5:20] = IGNORED
    return labels


GIVEN = {  # in another order than the cells; the last lies where nothing was drawn
    "boxes": [
        {"category": "WBC", "bbox": [39.0, 4.0, 22.0, 22.0]},
        {"category": "RBC", "bbox": [4.0, 4.0, 22.0, 22.0]},
        {"category": "Platelets", "bbox": [5.0, 40.0, 15.0, 10.0]},
    ],
    "points": [
        {"category": "WBC", "point": [50.0, 15.0]},
        {"category": "RBC", "point": [15.0, 15.0]},
        {"category": "Platelets", "point": [10.0, 45.0]},
    ],
}


@pytest.mark.parametrize("kind", GIVEN)
def test_cells_are_called_what_their_annotation_was(kind: str) -> None:
    rows = weak_annotations(label_map(), GIVEN[kind])
    assert [row["label"] for row in rows] == [1, 2, 3]
    assert [row["category"] for row in rows] == ["RBC", "WBC", "cell"]
    assert {row["category"] for row in weak_annotations(label_map())} == {"cell"}
    assert weak_annotations(np.zeros((4, 4), np.uint16), GIVEN[kind]) == []


def test_the_json_lists_the_categories(tmp_path: Path) -> None:
    (tmp_path / "annotations").mkdir()
    rows = weak_annotations(label_map(), GIVEN["boxes"])
    part = {"image": {"id": 1, "file_name": "a.png", "height": 60, "width": 100, "diameter": 20},
            "annotations": rows, "drawn": 3, "missed": 0, "ignored": 0.0}  # fmt: skip
    write_weak_dataset(tmp_path, {"train": [part]}, {"image_root": "x"}, [])
    content = json.loads((tmp_path / "annotations" / "instances_train.json").read_text())
    names = {category["id"]: category["name"] for category in content["categories"]}
    assert [names[a["category_id"]] for a in content["annotations"]] == ["RBC", "WBC", "cell"]
    assert json.loads((tmp_path / "dataset.json").read_text())["categories"] == [*names.values()]
