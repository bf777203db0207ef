"""Pictures of an evaluated split: ground truth beside prediction, worst images first."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from bccd_d2.evaluation.failures import FOUND, find_failures
from bccd_d2.io.dataset_file import image_root, max_value, read_description, split_json
from bccd_d2.io.images import read_image
from bccd_d2.io.records import confined, read_json
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import EVALUATE_AGAIN, read_coco, read_results
from bccd_d2.report.draw import contact_sheet, side_by_side, write_png


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
        ValueError: one of them is broken.
    """
    dataset, evaluation, out = Path(dataset), Path(evaluation), Path(out)
    description = read_description(dataset)
    root = image_root(dataset, description)
    truth = read_coco(split_json(dataset, split, description))
    shape = {"score_threshold": float}
    threshold = read_json(evaluation / "scores.json", shape, EVALUATE_AGAIN)["score_threshold"]
    sizes = {image.entry["id"]: image.size for image in truth}
    predicted = read_results(evaluation / "coco_instances_results.json", sizes)
    given = max_value(description)
    pictures = []
    for image in truth:
        pixels = read_image(confined(root, image.entry["file_name"]), max_value=given)
        true = Cells.from_coco(image.annotations, image.size)
        found = Cells.from_coco(predicted[image.entry["id"]], image.size).above(threshold)
        verdicts = find_failures(true, found)
        sides = (verdicts.truth, verdicts.prediction)
        errors = sum(int(np.count_nonzero(side != FOUND)) for side in sides)
        drawn = side_by_side(pixels, true, found, width=width)
        path = write_png(out / f"{errors:03d}_{Path(image.entry['file_name']).stem}.png", drawn)
        small = cv2.resize(drawn, (width // 3, drawn.shape[0] // 3), interpolation=cv2.INTER_AREA)
        pictures.append((errors, path, small))
    pictures.sort(key=lambda item: -item[0])
    overview = contact_sheet([small for _, _, small in pictures], 2, width)
    return [write_png(out / "overview.png", overview), *(path for _, path, _ in pictures)]
