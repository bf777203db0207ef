"""What evaluators say of types: per-class AP beside `types`, and all of it as groups of scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bccd_d2.evaluation import types
from bccd_d2.evaluation.coco import run_coco, summary_values
from bccd_d2.evaluation.table import TYPE
from bccd_d2.evaluation.types import TypedImage
from bccd_d2.masks.classes import Classes

KEPT = ("AP", "AP50", "AP75", "AR")


def class_precisions(
    images: Sequence[TypedImage],
    truth: dict[str, Any],
    predictions: dict[str, Any],
    settings: tuple[str, int],
    classes: int,
) -> list[dict[str, float | None]]:
    """COCO AP, AP50, AP75 and AR of each class; None without a true cell of it.

    Each cell counts for its most probable class alone, ranked by the chance that there is a cell
    times that of the class. True cells of unknown type are crowds to every class that they may be.

    Args:
        truth, predictions: COCO's json structure of all images, their annotations in the order of
            the images' cells; crowds may come on top of them, at the end of each image's.
        settings: the task and the cap on detections.
    """
    rows = _classed(truth, [image.allowed for image in images])
    ranks = [rank for image in images for rank in image.ranks.tolist()]
    ids = [int(k) for image in images for k in image.predicted]
    found = [
        row | {"category_id": k + 1, "score": rank}
        for row, k, rank in zip(predictions["annotations"], ids, ranks, strict=True)
    ]
    listed = [{"id": k + 1, "name": str(k)} for k in range(classes)]
    known = {row["category_id"] for row in rows if not row["iscrowd"]}
    if not known or not found:
        return [dict.fromkeys(KEPT, 0.0 if k + 1 in known else None) for k in range(classes)]
    task, cap = settings
    scored = run_coco(
        truth | {"annotations": rows, "categories": listed},
        predictions | {"annotations": found, "categories": listed},
        (task, cap, [(0.0, 1e10)]),
    )
    scores: list[dict[str, float | None]] = []
    for k in range(classes):
        if k + 1 not in known:
            scores.append(dict.fromkeys(KEPT))
            continue
        values = summary_values(scored["precision"][:, :, k, 0, -1], scored["recall"][:, k, 0, -1])
        scores.append({name: values[name] for name in KEPT})
    return scores


def _classed(truth: dict[str, Any], allowed: Sequence[np.ndarray]) -> list[dict[str, Any]]:
    """The annotations once for each class that they may be of; as crowds where those are several.

    Annotations beyond an image's cells are crowds to all classes.
    """
    by_image: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in truth["images"]}
    for row in truth["annotations"]:
        by_image[row["image_id"]].append(row)
    rows: list[dict[str, Any]] = []
    for table, given in zip(allowed, by_image.values(), strict=True):
        every = np.ones((len(given) - len(table), table.shape[1]), dtype=bool)
        for row, may in zip(given, np.concatenate([table, every]), strict=True):
            crowd = int(row["iscrowd"] or may.sum() > 1)
            for k in np.flatnonzero(may).tolist():
                rows.append(
                    row | {"id": len(rows) + 1, "category_id": k + 1, "iscrowd": crowd}
                )
    return rows


def typed_groups(
    images: Sequence[TypedImage],
    precisions: Sequence[dict[str, float | None]] | None,
    threshold: float,
    classes: Classes,
) -> dict[str, dict[str, float | None]]:
    """Groups of scores: "types" of all classes, then "type NAME" of each; {} where none is known.

    Args:
        precisions: of `class_precisions`; None where there are points only.
    """
    if not any((image.truth >= 0).any() for image in images):
        return {}
    per_class: list[dict[str, float | None]]
    per_class = types.class_scores(images, threshold, len(classes))
    if precisions is not None:
        per_class = [ap | one for ap, one in zip(precisions, per_class, strict=True)]
    confusion = types.confusion_matrix(images, threshold, len(classes))
    errors = types.lab_errors(types.group_counts(images, threshold, classes))
    groups = {"types": types.summary(per_class, confusion) | errors}
    return groups | {
        TYPE + name: scores for name, scores in zip(classes.names, per_class, strict=True)
    }


def typed_details(
    images: Sequence[TypedImage], names: Sequence[str], threshold: float, classes: Classes
) -> dict[str, Any]:
    """What a report shows of types, as JSON data.

    Keys: ``names``, ``colours`` (#rrggbb) of the classes; ``confusion``, see
    `types.confusion_matrix`; ``counts``, see `types.scatter_rows`.
    """
    colours = ["#{:02x}{:02x}{:02x}".format(*classes.colour(k)) for k in range(len(classes))]
    groups = types.group_counts(images, threshold, classes)
    return {
        "names": list(classes.names),
        "colours": colours,
        "confusion": types.confusion_matrix(images, threshold, len(classes)).tolist(),
        "counts": types.scatter_rows(names, groups),
    }


def mistakes(image: TypedImage, threshold: float) -> list[dict[str, int]]:
    """The found cells of an image that are called what they are not, as JSON data.

    Keys: ``truth`` and ``prediction``, places in its true cells and in those predicted from the
    threshold on; ``was`` and ``called``, class ids.
    """
    counts, pairs = image.at(threshold)
    shown, truth = np.cumsum(counts) - 1, image.truth
    return [
        {"truth": t, "prediction": int(shown[p]), "was": int(truth[t]), "called": called}
        for p, t in zip(pairs.pred_index.tolist(), pairs.truth_index.tolist(), strict=True)
        if truth[t] >= 0 and truth[t] != (called := int(image.predicted[p]))
    ]
