"""What a comparison holds of one method: its scores on a split, image by image, and its cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
RECALLS = {"recall": ("instances", "recall@.5"), "AR": ("segm", "AR")}  # of partial masks
BOX_SCORES = {
    "F1": ("boxes", "F1@.5"),
    "AP50": ("bbox", "AP50"),
    "AP": ("bbox", "AP"),
    "precision": ("boxes", "precision@.5"),
    "recall": ("boxes", "recall@.5"),
    "count error": ("boxes", "count_mae"),
}
POINT_SCORES = {
    "alone": ("points", "alone"),
    "merged": ("points", "merged"),
    "recall": ("points", "recall"),
    "split": ("points", "split"),
    "missed": ("points", "missed"),
    "spurious": ("points", "spurious"),
    "count error": ("points", "count_mae"),
}
BY_KIND = {"masks": SCORES | RECALLS, "boxes": BOX_SCORES, "points": POINT_SCORES}
HEADLINES = {  # what a table over several datasets shows of each kind
    "masks": ("AP", "F1", "count error"),
    "boxes": ("F1", "AP50"),
    "points": ("alone", "merged"),
}
COSTS = (
    "parameters (M)",
    "GFLOPs",
    "s an image",
    "CPU s per image",
    "peak memory (MB)",
    "training (min)",
    "steps",
)
PER_IMAGE = {"F1": "F1@.5", "PQ": "PQ", "Dice": "pixel_Dice", "count error": "count_error"}
LESS_IS_BETTER = ("count error", "merged", "split", "missed", "spurious")


@dataclass(frozen=True, eq=False)
class Entry:
    """One method of a comparison.

    Attributes:
        name: as it stands in tables.
        scores: by the names of `SCORES`, or those that the dataset's kind has; None without cells.
        per_image: for each file name its scores by the names of `PER_IMAGE`; the count error is
            its absolute value. {} where there are no masks, or not of all cells.
        cost: by the names of `COSTS`; None where it is not known.
        predictions: for each file name the cells that count.
    """

    name: str
    scores: Mapping[str, float | None]
    per_image: Mapping[str, Mapping[str, float]]
    cost: Mapping[str, float | None] = field(default_factory=dict)
    predictions: Mapping[str, Cells] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class ScoredSplit:
    """A dataset that methods are compared on, and which of its splits.

    Attributes:
        name: as it stands in tables: the folder's.
        split: "test", or what it has in place of it; "" where a config's options say it.
        kind: "masks", "boxes" or "points".
        complete: every cell is annotated.
        images, cells: of the split.
    """

    name: str
    split: str
    kind: str
    complete: bool
    images: int
    cells: int


@dataclass(frozen=True, eq=False)
class DatasetEntries(ScoredSplit):
    """What a comparison over several datasets holds of one of them.

    Attributes:
        entries: one a method, in the order of the methods.
    """

    entries: Sequence[Entry]

    @property
    def columns(self) -> tuple[str, ...]:
        """The scores that a table over datasets shows of this one."""
        if not self.complete and self.kind != "points":
            return ("recall",)
        return HEADLINES[self.kind]


def pick_scores(
    results: Mapping[str, Mapping[str, float | None]], kind: str = "masks"
) -> dict[str, float | None]:
    """The columns of `BY_KIND` out of what an evaluator returned; without those it left out."""
    columns = SCORES if "AP" in results.get("segm", {}) else BY_KIND[kind]
    found = {}
    for name, (group, key) in columns.items():
        if key in results.get(group, {}):
            value = results[group][key]
            found[name] = None if value is None else float(value)
    return found


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
