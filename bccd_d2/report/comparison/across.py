"""Tables of a comparison over several datasets: a row per method, a column per dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bccd_d2.evaluation.entries import LESS_IS_BETTER, DatasetEntries
from bccd_d2.evaluation.table import NO_CELLS
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic

_NOTES = {
    "masks": "AP is COCO's mask AP, F1 is at mask IoU .5, the count error in cells per image.",
    "boxes": "Where there are boxes only, F1 is at box IoU .5 and AP50 COCO's box AP at IoU .5.",
    "points": (
        "Where there are points only: the share of points that lie alone in one outline, and "
        "of those in an outline with several."
    ),
}
_PARTIAL = (
    "Where only some of the cells are annotated, precision, F1, AP and counts cannot be computed: "
    "what is found beyond the annotations may be right."
)


def across_table(datasets: Sequence[DatasetEntries]) -> str:
    """A markdown table, the best of each score in bold; "no cells" where there is nothing to find.

    Raises:
        ValueError: no datasets, or not of the same methods.
    """
    methods = _methods(datasets)
    heads = [f"{one.name} {one.split}: {' / '.join(one.columns)}" for one in datasets]
    lines = [["method", *heads], ["---"] * (1 + len(heads))]
    for row, method in enumerate(methods):
        lines.append([method, *(_cell(one, row) for one in datasets)])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def write_across(datasets: Sequence[DatasetEntries], folder: str | Path) -> list[Path]:
    """Write comparison.md, the table, and comparison.json, all scores; their paths.

    Raises:
        ValueError: see `across_table`.
    """
    folder = Path(folder)
    kinds = [kind for kind in _NOTES if any(one.kind == kind for one in datasets)]
    notes = [_NOTES[kind] for kind in kinds]
    if not all(one.complete for one in datasets):
        notes.append(_PARTIAL)
    about = "\n".join(
        f"* {one.name}, {one.split}: {one.images:,} images, {one.cells:,} cells with {one.kind}"
        + ("" if one.complete else ", not all cells")
        for one in datasets
    )
    text = f"# {len(datasets)} datasets\n\n{across_table(datasets)}\n{about}\n\n{' '.join(notes)}\n"
    content = {
        "datasets": {
            one.name: {
                "split": one.split,
                "annotations": one.kind,
                "complete": one.complete,
                "images": one.images,
                "cells": one.cells,
                "methods": {
                    entry.name: {"scores": dict(entry.scores), "cost": dict(entry.cost)}
                    for entry in one.entries
                },
            }
            for one in datasets
        }
    }
    return [
        write_text_atomic(folder / "comparison.md", text),
        write_json_atomic(folder / "comparison.json", content, indent=1),
    ]


def _methods(datasets: Sequence[DatasetEntries]) -> list[str]:
    names = [[entry.name for entry in one.entries] for one in datasets]
    if not names or any(other != names[0] for other in names):
        raise ValueError(f"needs datasets that the same methods were scored on, got {names}")
    return names[0]


def _cell(dataset: DatasetEntries, row: int) -> str:
    """The scores of one method on one dataset, parted by strokes."""
    texts = []
    for score in dataset.columns:
        values = [entry.scores.get(score) for entry in dataset.entries]
        known = [value for value in values if value is not None]
        if values[row] is None:
            texts.append(NO_CELLS)
            continue
        best = (min if score in LESS_IS_BETTER else max)(known)
        text = f"{values[row]:.{2 if score == 'count error' else 3}f}"
        texts.append(f"**{text}**" if values[row] == best and len(known) > 1 else text)
    return " / ".join(texts)
