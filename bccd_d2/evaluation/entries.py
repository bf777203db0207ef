"""What a comparison holds of one method: its scores on a split, image by image, and its cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bccd_d2.io.records import read_rows
from bccd_d2.masks.cells import Cells

SCORES = {  # column: group and score of `CellEvaluator.evaluate`
    "AP": ("segm", "AP"),
    "AP50": ("segm", "AP50"),
    "AP75": ("segm", "AP75"),
    "PQ": ("instances", "PQ"),
    "F1": ("instances", "F1@.5"),
    "count error": ("instances", "count_mae"),
    "Dice": ("pixels", "Dice"),
    "IoU": ("pixels", "IoU"),
}
COSTS = (
    "parameters (M)",
    "GFLOPs",
    "s an image",
    "CPU s an image",
    "peak memory (MB)",
    "training (min)",
    "steps",
)
PER_IMAGE = {"F1": "F1@.5", "PQ": "PQ", "Dice": "pixel_Dice", "count error": "count_error"}
LESS_IS_BETTER = ("count error",)


@dataclass(frozen=True, eq=False)
class Entry:
    """One method of a comparison.

    Attributes:
        name: as it stands in tables.
        scores: by the names of `SCORES`.
        per_image: for each file name its scores by the names of `PER_IMAGE`; the count error is
            its absolute value.
        cost: by the names of `COSTS`; None where it is not known.
        predictions: for each file name the cells that count.
    """

    name: str
    scores: Mapping[str, float]
    per_image: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, float | None] = field(default_factory=dict)
    predictions: Mapping[str, Cells] = field(default_factory=dict, repr=False)


def pick_scores(results: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """The columns of `SCORES` out of what `CellEvaluator.evaluate` returned."""
    return {name: float(results[group][key]) for name, (group, key) in SCORES.items()}


def read_per_image(path: str | Path) -> dict[str, dict[str, float]]:
    """The columns of `PER_IMAGE` of a per_image.csv, by file name.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a row is cut or holds no number where one must be.
    """
    columns = {"file_name": str} | dict.fromkeys(PER_IMAGE.values(), float)
    table = {}
    for row in read_rows(path, columns, "evaluate again"):
        values = {name: row[key] for name, key in PER_IMAGE.items()}
        table[row["file_name"]] = values | {"count error": abs(values["count error"])}
    return table
