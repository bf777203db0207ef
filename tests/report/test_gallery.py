"""The gallery counts and orders errors as they are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2

from bccd_d2.report.gallery import draw_predictions


def write_evaluation(dataset: Path, folder: Path, drop: int) -> dict:
    """Predictions equal to the truth, but for ``drop`` cells of the first image left out."""
    truth = json.loads((dataset / "annotations" / "instances_test.json").read_text())
    first = truth["images"][0]["id"]
    results, left = [], drop
    for annotation in truth["annotations"]:
        if annotation["image_id"] == first and left:
            left -= 1
            continue
        results.append({**annotation, "score": 0.9})
    results.append({**truth["annotations"][-1], "score": 0.1})  # below the threshold: not drawn
    folder.mkdir()
    (folder / "coco_instances_results.json").write_text(json.dumps(results))
    (folder / "scores.json").write_text(json.dumps({"score_threshold": 0.5}))
    return truth["images"][0]


def test_worst_image_first_and_errors_in_the_name(tiny_dataset: Path, tmp_path: Path) -> None:
    image = write_evaluation(tiny_dataset, tmp_path / "evaluation", drop=2)
    written = draw_predictions(tiny_dataset, "test", tmp_path / "evaluation", tmp_path / "out", 600)
    names = [path.name for path in written]
    assert names[0] == "overview.png" and len(names) == 4
    assert names[1] == f"002_{Path(image['file_name']).stem}.png"
    assert all(name.startswith("000_") for name in names[2:])
    picture = cv2.imread(str(written[1]))
    assert picture.shape[1] == 600
