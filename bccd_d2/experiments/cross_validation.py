"""k-fold cross-validation of a config on the training images, and the folds as an ensemble.

What makes the figures honest: a fold's held-out images decide nothing about the model that is
scored on them. Its weights are those of the last iteration (or their average, with
``SOLVER.EMA_DECAY``), not the best of several evaluations; its score threshold is chosen on the
other folds' held-out images.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from detectron2.data import MetadataCatalog

from bccd_d2.data.catalog import find_dataset, read_description, register_dataset
from bccd_d2.evaluation.folds import (
    score_cells,
    spread,
    spread_csv,
    thresholds_from_others,
)
from bccd_d2.evaluation.instances import compare
from bccd_d2.evaluation.scores import dataset_scores, score_image
from bccd_d2.evaluation.thresholds import choose, sweep_comparisons
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.experiments.ablation import own_log_handlers
from bccd_d2.experiments.run_cache import ensure_evaluated, ensure_trained
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.records import read_json
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import read_results
from bccd_d2.training.launch import Processes

logger = logging.getLogger(__name__)

Merge = Callable[[Sequence[Cells]], Cells]


def fold_numbers(folder: str | Path) -> list[int]:
    """The folds that a converted dataset has.

    Raises:
        ValueError: fewer than two.
    """
    names = read_description(folder)["splits"]
    found = sorted(int(m[1]) for m in (re.fullmatch(r"fold(\d+)_train", n) for n in names) if m)
    if len(found) < 2:
        raise ValueError(
            f"{folder} has no folds; convert with: bccd convert --folds 5 ..."
        )
    return found


def fold_config(config: Any, fold: int) -> Any:
    """The config to train one fold with: its images, no validation, a folder of its own."""
    config = config.clone()
    config.defrost()
    config.DATASETS.TRAIN = (f"bccd_fold{fold}_train",)
    config.DATASETS.VALIDATION = ()
    config.SOLVER.PATIENCE = 0
    config.OUTPUT_DIR = str(Path(config.OUTPUT_DIR) / f"fold{fold}")
    return config


def cross_validate(config: Any, processes: Processes, merge: Merge | None = None) -> dict[str, Any]:
    """Train and score every fold; what an earlier call finished is used again.

    Args:
        config: not yet prepared; what it says of data splits is replaced. Results go to its
            ``OUTPUT_DIR``: a folder a fold, cross_validation.json and .csv.
        processes: how many train together.
        merge: makes one image's answers one, such as `bccd_d2.inference.merge.merge`; when given,
            each fold's model and all of them merged are scored on ``DATASETS.TEST`` too.

    Returns:
        The content of cross_validation.json: ``folds`` (score threshold and scores of each),
        ``validation`` (mean and spread), ``score_threshold`` (the one to use for a model trained
        on all images, from all folds), ``sweep`` (F1, PQ and count error of all held-out images at
        each threshold, see `evaluation.thresholds.SweepTable`), and with ``merge``: ``test`` (mean
        and spread of the folds' models) and ``test_ensemble`` (scores), both at that threshold.

    Raises:
        ValueError: the dataset has no folds.
    """
    folder = config.DATASETS.ROOT or find_dataset()
    register_dataset(folder)
    tests = list(config.DATASETS.TEST) if merge else []
    places: list[Path] = []
    held_out: list[tuple[list[Cells], list[Cells]]] = []
    names = [f"bccd_fold{fold}_val" for fold in fold_numbers(folder)]
    for fold, name in zip(fold_numbers(folder), names, strict=True):
        logger.info("fold %d", fold)
        places.append(_train_and_predict(fold_config(config, fold), processes, [name, *tests]))
        held_out.append(_read(places[-1], name))
    summary = _summary([p / n for p, n in zip(places, names, strict=True)], held_out)
    if merge:
        answers = [_read_all(place, tests) for place in places]
        cap = config.TEST.DETECTIONS_PER_IMAGE
        summary |= _on_test(answers, merge, summary["score_threshold"], cap)
    out = Path(config.OUTPUT_DIR)
    write_json_atomic(out / "cross_validation.json", summary, indent=1)
    tables: dict[str, Any] = {key: summary[key] for key in ("validation", "test") if key in summary}
    write_text_atomic(out / "cross_validation.csv", spread_csv(tables))
    return summary


def _summary(
    places: list[Path], held_out: list[tuple[list[Cells], list[Cells]]]
) -> dict[str, Any]:
    """What the folds' held-out images say, one place of scores and one pair of cells a fold."""
    comparisons = [[compare(*pair) for pair in zip(*cells, strict=True)] for cells in held_out]
    thresholds = thresholds_from_others(comparisons)
    scores = [_fold_scores(*fold) for fold in zip(places, held_out, thresholds, strict=True)]
    folds = [
        {"score_threshold": threshold, "scores": one}
        for threshold, one in zip(thresholds, scores, strict=True)
    ]
    table = sweep_comparisons([c for fold in comparisons for c in fold])
    return {
        "folds": folds,
        "validation": spread(scores),
        "score_threshold": choose(table),
        "sweep": table.to_dict(),
    }


def _on_test(
    answers: list[tuple[list[Cells], list[Cells]]], merge: Merge, threshold: float, cap: int
) -> dict[str, Any]:
    score = partial(score_cells, score_threshold=threshold, max_detections=cap)
    merged = [merge(views) for views in zip(*(found for _, found in answers), strict=True)]
    return {
        "test": spread([score(*pair) for pair in answers]),
        "test_ensemble": score(answers[0][0], merged),
    }


def _train_and_predict(config: Any, processes: Processes, names: list[str]) -> Path:
    """The fold's evaluation folder, with predictions on the named datasets."""
    with own_log_handlers():
        config.MODEL.WEIGHTS = str(ensure_trained(config.clone(), processes))
        config.DATASETS.TEST = tuple(names)
        ensure_evaluated(config, processes)
    return Path(config.OUTPUT_DIR) / "evaluation"


def _read(place: Path, name: str) -> tuple[list[Cells], list[Cells]]:
    """True and predicted cells, one per image."""
    truth = read_truth(MetadataCatalog.get(name).json_file)
    sizes = {image_id: image.cells.image_size for image_id, image in truth.items()}
    by_image = read_results(place / name / "coco_instances_results.json", sizes)
    cells = [image.cells for image in truth.values()]
    found = [Cells.from_coco(by_image[i], sizes[i]) for i in truth]
    return cells, found


def _fold_scores(
    place: Path, cells: tuple[list[Cells], list[Cells]], threshold: float
) -> dict[str, dict[str, float]]:
    """COCO scores as evaluated; instance and pixel scores at the given threshold."""
    shape = {"scores": {"segm": {str: float}, "bbox": {str: float}}}
    scores = read_json(place / "scores.json", shape, "evaluate again")["scores"]
    images = [score_image(*pair, threshold) for pair in zip(*cells, strict=True)]
    return {"segm": scores["segm"], "bbox": scores["bbox"]} | dataset_scores(images)


def _read_all(place: Path, names: list[str]) -> tuple[list[Cells], list[Cells]]:
    """`_read` of several datasets, one after the other."""
    parts = [_read(place, name) for name in names]
    truth = [cells for true, _ in parts for cells in true]
    return truth, [cells for _, found in parts for cells in found]
