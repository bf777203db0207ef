"""Scores of cell types: what is called what, class by class, and the counts that a lab reads.

They stand beside the scores of cells as such and change none of them. A cell has one type, its most
probable one. A true cell of which nobody knows the type, or only that it is one of several, can be
found but not called right or wrong: as COCO has it for ignored objects, it is neither truth of a
class nor is what finds it a mistake.

Classes are numbered from 0 to K - 1. Without any true cell of a class its scores are None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccd_d2.evaluation.instances import ratio
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.overlap import Matches, best_pairs

IOU = 0.5  # from which a predicted and a true cell are the same one
GROUPS = ("white", "red", "platelet", "infected")  # names of a taxonomy that labs count by


@dataclass(frozen=True, eq=False)
class TypedImage:
    """One image's true and predicted cells with their types.

    Attributes:
        allowed: (M, K) bool, which classes a true cell may be of; one for a known type.
        predicted: (N,) class ids.
        scores: (N,) that there is a cell, in [0, 1].
        confidence: (N,) probability of the predicted class, in [0, 1].
        pairs: all pairs with IoU from `IOU` on, of whatever types.
    """

    allowed: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    confidence: np.ndarray
    pairs: Matches

    @property
    def truth(self) -> np.ndarray:
        """(M,) class ids; -1 where several are possible."""
        return np.where(self.allowed.sum(axis=1) == 1, self.allowed.argmax(axis=1), -1)

    @property
    def ranks(self) -> np.ndarray:
        """(N,) what per-class AP ranks by: that there is a cell, and of this class."""
        return self.scores * self.confidence

    def at(self, threshold: float) -> tuple[np.ndarray, Matches]:
        """(N,) bool, which predictions count, and their one-to-one pairs with true cells."""
        counts = self.scores >= float(threshold)
        return counts, best_pairs(self.pairs[counts[self.pairs.pred_index]], IOU)


def confusion_matrix(
    images: Sequence[TypedImage], threshold: float, classes: int
) -> np.ndarray:
    """(K + 1, K + 1) int64 numbers of cells: rows truth, columns predicted.

    Cells are matched without regard to type. The last column counts the missed ones of each class,
    the last row the invented ones; their corner is 0. Cells of unknown type are left out, as are
    the predictions that found them.
    """
    table = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    for image in images:
        counts, pairs = image.at(threshold)
        truth = image.truth
        partner = np.full(len(truth), -1)
        partner[pairs.truth_index] = pairs.pred_index
        known = truth >= 0
        called = np.append(image.predicted, classes)[partner]  # -1 takes the last: missed
        np.add.at(table, (truth[known], called[known]), 1)
        alone = counts.copy()
        alone[pairs.pred_index] = False
        np.add.at(table, (np.full(int(alone.sum()), classes), image.predicted[alone]), 1)
    return table


def class_scores(
    images: Sequence[TypedImage], threshold: float, classes: int
) -> list[dict[str, float | None]]:
    """For each class F1, precision, recall (at IoU .5) and PQ, pooled over images.

    Only cells of the class on both sides can match. ``truth``, ``predicted`` and ``matched`` are
    the numbers they rest on. A prediction that found a cell of unknown type counts nowhere.
    """
    truth, predicted, matched = (np.zeros(classes, dtype=np.int64) for _ in range(3))
    iou_sum = np.zeros(classes)
    for image in images:
        counts, pairs = image.at(threshold)
        true = image.truth
        unknown = true[pairs.truth_index] < 0
        counts[pairs.pred_index[unknown]] = False
        truth += np.bincount(true[true >= 0], minlength=classes)
        predicted += np.bincount(image.predicted[counts], minlength=classes)
        near = image.pairs[counts[image.pairs.pred_index]]
        same = best_pairs(near[true[near.truth_index] == image.predicted[near.pred_index]], IOU)
        of = image.predicted[same.pred_index]
        matched += np.bincount(of, minlength=classes)
        iou_sum += np.bincount(of, weights=same.iou, minlength=classes)
    return [
        _scores(int(t), int(p), int(m), float(s))
        for t, p, m, s in zip(truth, predicted, matched, iou_sum, strict=True)
    ]


def _scores(truth: int, predicted: int, matched: int, iou_sum: float) -> dict[str, float | None]:
    numbers = {"truth": float(truth), "predicted": float(predicted), "matched": float(matched)}
    found = {
        "F1": ratio(2 * matched, truth + predicted, 0.0),
        "precision": ratio(matched, predicted, 0.0),
        "recall": ratio(matched, truth, 0.0),
        "PQ": ratio(2 * iou_sum, truth + predicted, 0.0),
    }
    return {k: value if truth else None for k, value in found.items()} | numbers


def summary(
    per_class: Sequence[Mapping[str, float | None]], confusion: np.ndarray
) -> dict[str, float | None]:
    """Means over the classes that have a true cell, and the share of found cells called right.

    Keys: mAP, mAP50 (where the classes have AP), mF1, mPQ; accuracy, and balanced_accuracy, the
    mean of each class's own share; typed, the number of found cells both are about. None without
    any true cell of known type.
    """
    values: dict[str, float | None] = {}
    for key, name in (("AP", "mAP"), ("AP50", "mAP50"), ("F1", "mF1"), ("PQ", "mPQ")):
        found = [value for one in per_class if (value := one.get(key)) is not None]
        if any(key in one for one in per_class):
            values[name] = float(np.mean(found)) if found else None
    matched = confusion[:-1, :-1]
    right, found_of = np.diag(matched), matched.sum(axis=1)
    number = int(found_of.sum())
    shares = right[found_of > 0] / found_of[found_of > 0]
    values["accuracy"] = float(right.sum() / number) if number else None
    values["balanced_accuracy"] = float(shares.mean()) if number else None
    return values | {"typed": float(number)}


# -- the counts that a lab reads ------------------------------------------------------------------


def group_counts(
    images: Sequence[TypedImage], threshold: float, classes: Classes
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """(I,) true and (I,) predicted cells of each of `GROUPS` that the classes tell apart.

    A true cell counts where all that it may be lies in the group: a red cell of unknown stage is
    red. One that may lie in the group or not counts on neither side, and so does what found it.
    """
    found: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for name in GROUPS:
        inside = classes.under(name)
        if not inside.any():
            continue
        truth, predicted = (np.zeros(len(images), dtype=np.int64) for _ in range(2))
        for place, image in enumerate(images):
            counts, pairs = image.at(threshold)
            some = (image.allowed & inside).any(axis=1)
            surely = some & ~(image.allowed & ~inside).any(axis=1)
            unclear = some & ~surely
            counts[pairs.pred_index[unclear[pairs.truth_index]]] = False
            truth[place] = surely.sum()
            predicted[place] = inside[image.predicted[counts]].sum()
        found[name] = truth, predicted
    return found


def lab_figures(
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """For each figure (I,) true and (I,) predicted values; NaN where an image has no red cells.

    white: white cells in the image; platelets_per_100_red; parasitaemia: infected red cells in
    percent of all red ones. Those are there that the classes tell.
    """
    figures = {}
    if "white" in groups:
        figures["white"] = tuple(side.astype(np.float64) for side in groups["white"])
    for name, part in (("platelets_per_100_red", "platelet"), ("parasitaemia", "infected")):
        if part in groups and "red" in groups:
            figures[name] = tuple(
                np.divide(100.0 * few, red, out=np.full(len(red), np.nan), where=red > 0)
                for few, red in zip(groups[part], groups["red"], strict=True)
            )
    return {name: (pair[0], pair[1]) for name, pair in figures.items()}


def lab_errors(
    groups: Mapping[str, tuple[np.ndarray, np.ndarray]],
) -> dict[str, float | None]:
    """How far the figures of `lab_figures` are off, in their own units.

    ``<figure>_mae`` and ``<figure>_bias``: mean of |predicted - true| and of predicted - true over
    the images that have both. ``<figure>_pooled_truth`` and ``<figure>_pooled``: of all images as
    one slide. None where no image has it.
    """
    errors: dict[str, float | None] = {}
    pooled = {name: tuple(np.array([side.sum()]) for side in pair) for name, pair in groups.items()}
    whole = lab_figures({name: (pair[0], pair[1]) for name, pair in pooled.items()})
    for name, (truth, predicted) in lab_figures(groups).items():
        difference = (predicted - truth)[np.isfinite(truth) & np.isfinite(predicted)]
        errors[f"{name}_mae"] = float(np.abs(difference).mean()) if difference.size else None
        errors[f"{name}_bias"] = float(difference.mean()) if difference.size else None
        for key, values in zip(("pooled_truth", "pooled"), whole[name], strict=True):
            errors[f"{name}_{key}"] = float(values[0]) if np.isfinite(values[0]) else None
    return errors


def scatter_rows(
    names: Sequence[str], groups: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> list[dict[str, Any]]:
    """For each image its counts and figures, true and predicted: what scatter plots show."""
    columns = {**groups, **lab_figures(groups)}
    return [
        {
            "file_name": name,
            **{
                f"{figure}_{side}": None if np.isnan(values[place]) else float(values[place])
                for figure, pair in columns.items()
                for side, values in zip(("truth", "predicted"), pair, strict=True)
            },
        }
        for place, name in enumerate(names)
    ]
