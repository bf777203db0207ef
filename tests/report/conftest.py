"""A small dataset of rectangles and the folder of a run on it, whose failures are known."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from bccd_d2.io.atomic import write_json_atomic, write_png_atomic, write_text_atomic
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop, rle_to_json

SIZE = (100, 160)
TRUTH = {  # image: boxes x0 y0 x1 y1
    "a.png": [(0, 0, 30, 30), (50, 10, 70, 40), (70, 10, 90, 40), (120, 60, 150, 90)],
    "b.png": [],
    "c.png": [(20, 20, 50, 50), (60, 20, 90, 50)],
}
FOUND = {  # what was predicted there, with scores
    "a.png": [(0, 0, 30, 29, 0.9), (48, 10, 92, 40, 0.8), (0, 60, 30, 90, 0.2)],
    "b.png": [(40, 40, 70, 70, 0.7)],
    "c.png": [],
}


def rectangles(boxes, scores=None) -> Cells:
    """Cells that fill boxes x0 y0 x1 y1."""
    rles = [
        encode_crop(np.ones((y1 - y0, x1 - x0), dtype=bool), y0, x0, SIZE)
        for x0, y0, x1, y1 in boxes
    ]
    return Cells.from_rles(rles, SIZE, scores)


def write_small_dataset(folder: Path) -> Path:
    """Three images of rectangles as a converted dataset, all of them test images."""
    images, annotations, rows = [], [], []
    rng = np.random.default_rng(0)
    for image_id, (name, boxes) in enumerate(TRUTH.items(), start=1):
        picture = rng.integers(180, 230, (*SIZE, 3), dtype=np.uint8)
        cells = rectangles(boxes)
        picture[cells.union()] = (150, 100, 140)
        write_png_atomic(folder / "images" / name, picture)
        images.append({"id": image_id, "file_name": name, "height": SIZE[0], "width": SIZE[1],
                       "label_file": f"labels/{name}", "split": "test"})  # fmt: skip
        border = cells.touches_border()
        for label, (rle, (x0, y0, x1, y1)) in enumerate(zip(cells.rles, boxes, strict=True), 1):
            annotations.append({
                "id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0,
                "segmentation": rle_to_json(rle), "area": int((x1 - x0) * (y1 - y0)),
                "bbox": [x0, y0, x1 - x0, y1 - y0], "label": label,
                "touches_border": bool(border[label - 1]), "rule": "component",
            })  # fmt: skip
        rows.append({
            "file": name, "split": "test", "width": SIZE[1], "height": SIZE[0],
            "cells": len(boxes), "covered_percent": 100 * float(cells.union().mean()),
            "border_cells": int(border.sum()), "suspected_clumps": int(name == "a.png"),
            "mean_rgb": [180.0, 170.0, 175.0], "std_rgb": [20.0, 21.0, 22.0],
        })  # fmt: skip
    categories = [{"id": 1, "name": "cell"}]
    content = {"images": images, "annotations": annotations, "categories": categories}
    write_json_atomic(folder / "annotations" / "instances_test.json", content)
    write_json_atomic(folder / "dataset.json", {
        "format_version": 1, "name": "squares", "image_root": "images",
        "splits": {"test": {"json": "annotations/instances_test.json"}},
        "counts": {"test": {"images": 3, "cells": 6, "max_cells": 4}},
        "statistics": {"cell_area_percentiles": {"33": 700, "67": 850}},
    })  # fmt: skip
    write_json_atomic(folder / "audit.json", _audit(rows))
    return folder


def _audit(rows: list[dict]) -> dict:
    group = {
        "images": 3, "cells": 6, "max_cells": 4, "image_sizes": {"160x100": 3},
        "cells_per_image": {"min": 0, "mean": 2.0, "5": 0.2, "50": 2.0, "95": 3.8, "max": 4},
        "share_of_images_over_100_cells": 0.0,
        "covered": {"0": 0.0, "5": 1.1, "50": 11.25, "95": 18.0, "100": 18.75},
        "cell_area": {"1": 600.0, "50": 900.0, "99": 900.0},
        "border_cells": 1 / 6, "pixel_mean_rgb": [180.0, 170.0, 175.0],
        "pixel_std_rgb": [20.0, 21.0, 22.0], "specks": 0, "holes": 0, "suspected_clumps": 1,
        "split_cells": 0,
    }  # fmt: skip
    return {
        "format_version": 1,
        "summary": {"all": group, "test": group},
        "findings": {
            "skipped": [{"file": "x.png", "kind": "unreadable", "reason": "<broken> & empty"}],
            "near_duplicates": [{
                "files": ["a.png", "c.png"], "splits": ["test", "test"], "across_splits": False,
                "differing_bits": 7,
            }],
            "images_without_cells": ["b.png"],
            "masks_of_one_cell_over_everything": [],
            "masks_with_more_than_two_grey_values": [],
            "suspected_clumps": [{"file": "a.png", "labels": [4]}],
        },
        "images": rows,
    }  # fmt: skip


def write_small_run(folder: Path, dataset: Path, predicted=FOUND) -> Path:
    """A run's folder as training and evaluation leave it."""
    detectron2 = pytest.importorskip("detectron2.structures")
    import torch

    from bccd_d2.data.catalog import register_dataset
    from bccd_d2.evaluation.evaluators import CellEvaluator

    name = register_dataset(dataset, "squares")["test"]
    part = folder / "evaluation" / name
    evaluator = CellEvaluator(name, max_detections=10, output_dir=part, score_threshold=0.5)
    evaluator.reset()
    for image_id, found in enumerate(predicted.values(), start=1):
        cells = rectangles([box[:4] for box in found])
        instances = detectron2.Instances(SIZE)
        instances.pred_rles = cells.rles
        instances.scores = torch.tensor([box[4] for box in found])
        instances.pred_classes = torch.zeros(len(found), dtype=torch.int64)
        evaluator.process([{"image_id": image_id}], [{"instances": instances}])
    scores = evaluator.evaluate()
    point = {"score_threshold": 0.5, "origin": "squares_val at iteration 40"}
    summary = {"weights": "", "datasets": [name], "operating_point": point, "scores": scores}
    write_json_atomic(folder / "evaluation" / "metrics.json", summary)
    session = {"what": "evaluation", "finished": "2024-05-01T12:00:00+00:00", "seconds": 3.0,
               "processes": 1, "machine": "a machine", "versions": {"bccd_d2": "0.1"},
               "dataset": {"name": "squares", "counts": {"test": {"images": 3, "cells": 6}}}}
    write_json_atomic(folder / "evaluation" / "run.json", {"sessions": [session]})
    sweep = evaluator.sweep().to_dict()
    write_json_atomic(folder / "threshold_sweep.json", {"origin": point["origin"]} | sweep)
    rows = [{"iteration": i - 1, "total_loss": 3 / i, "loss_mask": 1 / i, "loss_cls": 2 / i,
             "time": 0.5} for i in (10, 20, 30, 40)]  # fmt: skip
    rows[-1] |= {"validation/total_loss": 0.2, "segm/AP": 0.4, "instances/F1@.5": 0.6,
                 "instances/count_mae": 1.5}  # fmt: skip
    text = "\n".join(json.dumps(row) for row in rows)
    write_text_atomic(folder / "metrics.json", text + '\n{"iteration": 49, "total_')
    config = (
        f"DATASETS:\n  ROOT: {dataset}\n  TRAIN: [squares_train]\n  VALIDATION: [squares_val]\n"
        "MODEL:\n  META_ARCHITECTURE: CellRCNN\n"
    )
    write_text_atomic(folder / "config.yaml", config)
    return folder


@pytest.fixture
def small_dataset(tmp_path: Path) -> Path:
    """A converted dataset of three images of rectangles."""
    return write_small_dataset(tmp_path / "squares")


@pytest.fixture
def small_run(small_dataset: Path, tmp_path: Path) -> Path:
    """A run's folder with training log, sweep and evaluation."""
    return write_small_run(tmp_path / "run", small_dataset)
