"""Cross-validation's arithmetic: thresholds from the other folds, mean and spread over folds."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bccd_d2.evaluation.coco import coco_scores
from bccd_d2.evaluation.instances import Comparison
from bccd_d2.evaluation.scores import dataset_scores, score_image
from bccd_d2.evaluation.thresholds import choose, sweep_comparisons
from bccd_d2.masks.cells import Cells

MAIN_SCORES = (
    ("segm", "AP"), ("segm", "AP50"), ("segm", "AP75"), ("bbox", "AP"), ("instances", "F1@.5"),
    ("instances", "PQ"), ("instances", "count_mae"), ("interior", "F1@.5"), ("pixels", "Dice"),
)  # fmt: skip


def thresholds_from_others(folds: Sequence[Sequence[Comparison]]) -> list[float]:
    """For each fold the threshold that suits the images of all the others best.

    The fold's own images have no part in it, so scores at this threshold are as honest as those on
    images never seen.

    Args:
        folds: a fold's validation images, compared with the predictions of its own model.

    Raises:
        ValueError: fewer than two folds.
    """
    if len(folds) < 2:
        raise ValueError(f"needs two folds or more, got {len(folds)}")
    others = (
        [c for other, fold in enumerate(folds) if other != left for c in fold]
        for left in range(len(folds))
    )
    return [choose(sweep_comparisons(comparisons)) for comparisons in others]


def score_cells(
    truth: Sequence[Cells],
    predictions: Sequence[Cells],
    *,
    score_threshold: float,
    max_detections: int,
) -> dict[str, dict[str, float | None]]:
    """Scores of stored predictions: ``segm`` (COCO), ``instances``, ``interior``, ``pixels``.

    Args:
        truth: one an image.
        predictions: one an image, all scores.
        score_threshold: cells below it do not count, except in ``segm``.
        max_detections: cells an image that count in ``segm``.

    Raises:
        ValueError: the lists do not fit or are empty.
    """
    coco = coco_scores(truth, predictions, task="segm", max_detections=max_detections)
    pairs = zip(truth, predictions, strict=True)
    images = [score_image(true, found, score_threshold) for true, found in pairs]
    return {"segm": coco.values} | dataset_scores(images)


def spread(
    results: Sequence[Mapping[str, Mapping[str, float | None]]],
) -> dict[str, dict[str, dict[str, Any]]]:
    """{group: {score: {"mean", "std", "values"}}} over folds; std with N - 1, 0 for one fold.

    A score that is missing in any fold is left out.

    Raises:
        ValueError: no folds.
    """
    if not results:
        raise ValueError("results is empty: there is no fold to average")
    summary: dict[str, dict[str, dict[str, Any]]] = {}
    for group, scores in results[0].items():
        for name in scores:
            given = [fold.get(group, {}).get(name) for fold in results]
            values = [value for value in given if value is not None]
            if len(values) < len(given):
                continue
            std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
            entry = {"mean": float(np.mean(values)), "std": std, "values": values}
            summary.setdefault(group, {})[name] = entry
    return summary


def spread_table(summary: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Markdown of the main scores, one a line: mean, std, and the value of each fold."""
    rows = [(g, s, summary[g][s]) for g, s in MAIN_SCORES if s in summary.get(g, {})]
    count = len(rows[0][2]["values"]) if rows else 0
    head = ["score", "mean", "std", *(f"fold {k}" for k in range(count))]
    lines = [head, ["---"] * len(head)]
    for group, name, entry in rows:
        numbers = [entry["mean"], entry["std"], *entry["values"]]
        lines.append([f"{group}/{name}", *(f"{number:.3f}" for number in numbers)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def spread_csv(summaries: Mapping[str, Mapping[str, Mapping[str, Mapping[str, Any]]]]) -> str:
    """All scores as CSV: split, group, score, mean, std, fold0, fold1, ...

    Args:
        summaries: `spread` by the name of the split.
    """
    rows = [
        [split, group, name, entry["mean"], entry["std"], *entry["values"]]
        for split, summary in summaries.items()
        for group, scores in summary.items()
        for name, entry in scores.items()
    ]
    count = max((len(row) for row in rows), default=5) - 5
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    head = ["split", "group", "score", "mean", "std", *(f"fold{k}" for k in range(count))]
    writer.writerows([head, *rows])
    return text.getvalue()
