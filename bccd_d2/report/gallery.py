"""Pictures of an evaluated split: ground truth beside prediction, worst images first."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.report.draw import contact_sheet, side_by_side, write_png
from bccd_d2.report.failures import FOUND, find_failures
from bccd_d2.report.pictures import read_image


def draw_predictions(
    dataset: str | Path, split: str, evaluation: str | Path, out: str | Path, width: int = 2400
) -> list[Path]:
    """Draw every image of a split with what was predicted for it.

    Args:
        dataset: the converted folder (holds ``dataset.json``).
        split: "test", "val", ...
        evaluation: holds ``scores.json`` and ``coco_instances_results.json`` of that split.
        out: folder for the pictures; ``overview.png`` shows all, ``<errors>_<stem>.png`` one each,
            so that sorting by name puts the worst last.
        width: px of each picture.

    Returns:
        The written files, overview first, then the worst image first.

    Raises:
        FileNotFoundError: one of those files or an image is missing.
    """
    dataset, evaluation, out = Path(dataset), Path(evaluation), Path(out)
    description = _read(dataset / "dataset.json")
    truth = _read(dataset / description["splits"][split]["json"])
    threshold = _read(evaluation / "scores.json")["score_threshold"]
    predicted = _by_image(_read(evaluation / "coco_instances_results.json"))
    annotated = _by_image(truth["annotations"])
    pictures = []
    for image in truth["images"]:
        size = (image["height"], image["width"])
        pixels = read_image(dataset / description["image_root"] / image["file_name"])
        true = Cells.from_coco(annotated.get(image["id"], []), size)
        found = Cells.from_coco(predicted.get(image["id"], []), size).above(threshold)
        verdicts = find_failures(true, found)
        sides = (verdicts.truth, verdicts.prediction)
        errors = sum(int(np.count_nonzero(side != FOUND)) for side in sides)
        drawn = side_by_side(pixels, true, found, width=width)
        path = write_png(out / f"{errors:03d}_{Path(image['file_name']).stem}.png", drawn)
        small = cv2.resize(drawn, (width // 3, drawn.shape[0] // 3), interpolation=cv2.INTER_AREA)
        pictures.append((errors, path, small))
    pictures.sort(key=lambda item: -item[0])
    overview = contact_sheet([small for _, _, small in pictures], 2, width)
    return [write_png(out / "overview.png", overview), *(path for _, path, _ in pictures)]


def _by_image(items: list[dict]) -> dict[int, list[dict]]:
    grouped: dict[int, list[dict]] = {}
    for item in items:
        grouped.setdefault(item["image_id"], []).append(item)
    return grouped


def _read(path: Path) -> dict | list:
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; convert and evaluate first")
    return json.loads(path.read_text(encoding="utf-8"))
