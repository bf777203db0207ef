"""Scores as a short table for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

_INSTANCE_COLUMNS = (
    "PQ",
    "SQ",
    "F1@.5",
    "F1@.75",
    "precision@.5",
    "recall@.5",
    "accuracy@.5",
    "count_mae",
    "count_bias",
)
_PIXEL_COLUMNS = ("IoU", "Dice", "precision", "recall", "accuracy")
_PIXEL_ROWS = (
    ("pixels", "{}"),
    ("background", "background_{}"),
    ("image mean", "{}_image_mean"),
    ("median", "{}_image_median"),
)
_POINT_COLUMNS = (
    "recall",
    "alone",
    "merged",
    "split",
    "missed",
    "spurious",
    "count_mae",
    "count_bias",
)
TYPE = "type "  # what the group of one class begins with
_TYPES_COLUMNS = ("mAP", "mAP50", "mF1", "mPQ", "accuracy", "balanced_accuracy")
_TYPE_COLUMNS = ("AP", "AP50", "F1", "precision", "recall", "PQ", "truth", "predicted")
_PARTIAL = "only some of the cells are annotated: precision, F1, AP and counts are not computed"
_COCO_COLUMNS = ("AP", "AP50", "AP75", "AR", "AP_small", "AP_medium", "AP_large")
_HEADERS = {
    "precision@.5": "prec@.5",
    "accuracy@.5": "acc@.5",
    "precision": "prec",
    "accuracy": "acc",
    "count_mae": "count MAE",
    "count_bias": "bias",
    "balanced_accuracy": "balanced",
    "truth": "cells",
    "AP_small": "small",
    "AP_medium": "medium",
    "AP_large": "large",
}
NO_CELLS = "no cells"
_FEW_FOUND = 0.15  # by chance, annotations of another image, it is .05 to .08


def misfit(results: Mapping[str, Mapping[str, Any]]) -> str:
    """A warning where hardly a true cell was found, by `CellEvaluator.evaluate`; else ""."""
    for group, values in results.items():
        recall = values.get("recall@.5", values.get("recall"))
        cells = group.rpartition("/")[2] in ("instances", "boxes", "points")
        if cells and recall is not None and recall < _FEW_FOUND:
            return (
                f"only {recall:.0%} of the true cells were found: are the annotations of these "
                "images, and their cells of the size that was assumed? bccd explore shows where "
                "annotations lie, bccd predict --save overlay what was found"
            )
    return ""


def format_scores(results: Mapping[str, Mapping[str, Any]]) -> str:
    """An aligned table of the main scores that `CellEvaluator.evaluate` returned.

    Scores are in [0, 1], counts in cells per image. A score that is not there shows as "-", one
    that is None for want of true cells as "no cells". Groups named ``<dataset>/<group>`` get one
    table per dataset. {} gives "".
    """
    datasets: dict[str, dict[str, Mapping[str, Any]]] = {}
    for group, values in results.items():
        dataset, _, name = group.rpartition("/")
        datasets.setdefault(dataset, {})[name] = values
    blocks = []
    for dataset, groups in datasets.items():
        coco = [("masks", groups.get("segm")), ("boxes", groups.get("bbox"))]
        cells = [("all cells", groups.get("instances")), ("interior", groups.get("interior"))]
        cells.append(("boxes", groups.get("boxes")))
        pixels = groups.get("pixels") or {}
        rows = [
            (name, {c: pixels[key.format(c)] for c in _PIXEL_COLUMNS if key.format(c) in pixels})
            for name, key in _PIXEL_ROWS
        ]
        parts = [
            _block(coco, _COCO_COLUMNS),
            _block(cells, _INSTANCE_COLUMNS),
            _block([("points", groups.get("points"))], _POINT_COLUMNS),
            _block(rows, _PIXEL_COLUMNS),
            _block([("all types", groups.get("types"))], _TYPES_COLUMNS),
            _block([(n, v) for n, v in groups.items() if n.startswith(TYPE)], _TYPE_COLUMNS),
        ]
        if any(values.get("complete") is False for values in groups.values()):
            parts.append(_PARTIAL)
        text = "\n".join(part for part in parts if part)
        blocks.append(f"{dataset}\n{text}" if dataset else text)
    return "\n\n".join(blocks)


def _block(rows: Sequence[tuple[str, Mapping[str, Any] | None]], columns: tuple[str, ...]) -> str:
    present = [(name, values) for name, values in rows if values]
    columns = tuple(c for c in columns if any(c in values for _, values in present))
    if not columns:
        return ""
    header = [""] + [_HEADERS.get(column, column) for column in columns]
    lines = [header]
    for name, values in present:
        lines.append([name] + [_number(column, values.get(column, "-")) for column in columns])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    widths[0] = max(widths[0], 10)
    aligned = []
    for name, *numbers in lines:
        padded = [text.rjust(width) for text, width in zip(numbers, widths[1:], strict=True)]
        aligned.append("  ".join([name.ljust(widths[0]), *padded]))
    return "\n".join(aligned)


def _number(column: str, value: Any) -> str:
    if value is None:
        return NO_CELLS
    if isinstance(value, str):
        return value
    formats = {"count_bias": "+.2f", "count_mae": ".2f", "truth": ".0f", "predicted": ".0f"}
    return format(value, formats.get(column, ".3f"))
