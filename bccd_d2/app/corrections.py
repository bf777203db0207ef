"""A person's corrections of one image: a history to walk, a trail of all that was done, files.

The files are what `bccd convert` and `bccd finetune` read: ``images/NAME.png``, ``labels/NAME.png``
(label image), ``coco/NAME.json``, and ``audit/NAME.json`` with every action, undone ones too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.api import PredictedCells
from bccd_d2.app import edit
from bccd_d2.app.results import Corrections, Findings
from bccd_d2.export.coco import write_coco
from bccd_d2.export.table import Table
from bccd_d2.io.atomic import write_bytes_atomic, write_json_atomic
from bccd_d2.io.label_images import write_label_map
from bccd_d2.io.records import check, read_json
from bccd_d2.masks.cell_types import usual_diameter
from bccd_d2.masks.cells import Cells

UNDO, REDO = "undo", "redo"
_POINT = [float, float]
_CELLS = {"cells": [range(1, 1 << 31)]}
ACTIONS: dict[str, dict[str, Any]] = {  # what a page may ask for, and with what
    "delete": _CELLS,
    "add": {"at": _POINT},
    "draw": {"points": [_POINT]},
    "box": {"points": [_POINT, _POINT]},
    "split": {**_CELLS, "points": [_POINT]},
    "merge": _CELLS,
    "redraw": {**_CELLS, "points": [_POINT]},
    "retype": {**_CELLS, "type": str},
    UNDO: {},
    REDO: {},
}
STEPS = 500  # that can be undone
_NO_CELLS = 50.0  # px: how large a cell is taken for where there is none yet


@dataclass(frozen=True, eq=False)
class _Context:
    image: np.ndarray
    candidates: Cells
    diameter: float


def correct(findings: Findings, action: Mapping[str, Any], threshold: float) -> Findings:
    """The findings after an action; the first one takes over the cells above the threshold.

    Raises:
        ValueError: it cannot be done; the message is for the person.
    """
    what = action.get("do")
    if what not in ACTIONS:
        raise ValueError(f"there is no action {str(what)[:40]!r}")
    check(dict(action), {"do": str, "seen": range(1 << 31), **ACTIONS[what]})
    kept = findings.corrections or Corrections(findings.cells, threshold)
    if action["seen"] != len(kept.trail):
        raise ValueError("the page was behind: try again")
    cells, rows = findings.above(threshold)
    if findings.corrections is None:
        cells = edit.settled(cells)
    image = findings.image()
    if what in (UNDO, REDO):
        source = kept.past if what == UNDO else kept.future
        if not source:
            raise ValueError(f"there is nothing to {what}")
        now, rest = source[-1], source[:-1]
        if what == UNDO:
            kept = replace(kept, past=rest, future=(*kept.future, cells))
        else:
            kept = replace(kept, past=(*kept.past, cells), future=rest)
    else:
        diameter = usual_diameter(cells) if len(cells) else _NO_CELLS
        now = _apply(cells, action, _Context(image, kept.candidates, diameter))
        kept = replace(kept, past=(*kept.past, cells)[-STEPS:], future=())
    trail = (*kept.trail, {"when": _now(), **action})
    return replace(
        findings, cells=now, table=_measured(rows, cells, now, image),
        corrections=replace(kept, trail=trail),
    )  # fmt: skip


def _apply(
    cells: PredictedCells, action: Mapping[str, Any], context: _Context
) -> PredictedCells:
    what, numbers, points = action["do"], action.get("cells", ()), action.get("points", ())
    if what == "delete":
        return edit.delete(cells, numbers)
    if what == "add":
        return edit.add_at(
            cells, action["at"], context.image, context.candidates, context.diameter
        )
    if what == "draw":
        return edit.draw(cells, points)
    if what == "box":
        return edit.box(cells, points)
    if what == "split":
        return edit.split(cells, numbers, points)
    if what == "merge":
        return edit.merge(cells, numbers)
    if what == "redraw":
        return edit.redraw(cells, numbers, points)
    return edit.retype(cells, numbers, action["type"])


def _measured(
    rows: Table, before: PredictedCells, now: PredictedCells, image: np.ndarray
) -> Table:
    """The table of the cells; rows of those that stay as they were are not measured again."""
    known = {_identity(before, place): place for place in range(len(before))}
    places = np.array([known.get(_identity(now, n), -1) for n in range(len(now))], dtype=np.int64)
    fresh = now[places < 0].measure(image)
    if now.classes != before.classes or set(fresh) != set(rows):
        return now.measure(image)
    table = {}
    for name, values in fresh.items():
        column = np.empty(len(now), dtype=np.result_type(values, rows[name]))
        column[places >= 0], column[places < 0] = rows[name][places[places >= 0]], values
        table[name] = column
    table["id"] = np.arange(1, len(now) + 1)
    return table


def _identity(cells: PredictedCells, place: int) -> tuple[bytes, int, float]:
    return cells.rles[place]["counts"], int(cells.class_ids[place]), float(cells.scores[place])


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Store:
    """A folder for corrected images.

    Attributes:
        folder: it need not exist.
    """

    folder: Path

    def save(self, findings: Findings, model: str) -> tuple[Findings, list[Path], Path | None]:
        """Write an image's corrected cells; the findings, now saved, and the files.

        The third answer is where earlier corrections of the image lie from now on, which these
        do not go on from: those of another tab, or of yesterday. None = there were none.

        Raises:
            ValueError: another image was saved under this name.
            OSError: the folder cannot be written.
        """
        stem = Path(findings.name).stem
        kept = findings.corrections or Corrections(findings.cells, 0.0)
        image = self.folder / "images" / f"{stem}.png"
        if image.is_file() and image.read_bytes() != findings.picture:
            raise ValueError(
                f"{self.folder} holds another image called {stem}: rename this one, or give "
                "--save-to another folder"
            )
        aside = self._set_aside(stem, kept.trail)
        cells = findings.cells
        said = {"image": findings.name, "model": model, "threshold": kept.threshold,
                "cells": len(cells), "actions": [dict(one) for one in kept.trail]}  # fmt: skip
        files = [
            write_label_map(self.folder / "labels" / f"{stem}.png", cells.to_label_map()),
            write_coco(self.folder / "coco" / f"{stem}.json", [(f"{stem}.png", cells)],
                       cells.classes),  # fmt: skip
            write_json_atomic(self.folder / "audit" / f"{stem}.json", said, indent=1),
            write_bytes_atomic(image, findings.picture),
        ]
        done = replace(kept, saved=len(kept.trail))
        return replace(findings, corrections=done), files, aside

    def _set_aside(self, stem: str, trail: Sequence[Mapping[str, Any]]) -> Path | None:
        """Move an image's files into a folder of their own, unless the trail begins as theirs."""
        names = [f"labels/{stem}.png", f"coco/{stem}.json", f"audit/{stem}.json"]
        old = [name for name in names if (self.folder / name).exists()]
        audit = self.folder / names[-1]
        if old and audit.is_file():
            before = read_json(audit, {"actions": [dict]}, "move it away")["actions"]
            if before == [dict(one) for one in trail[: len(before)]]:
                return None
        number = 1
        while any(((aside := self.folder / f"earlier_{number}") / name).exists() for name in names):
            number += 1
        for name in old:
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / name).rename(aside / name)
        return aside if old else None
