"""The size of the pixels of a run's images: given, or as each file says; and whether it can be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from bccd_d2.inference.batch.sources import Job
from bccd_d2.io.pixel_size import PixelSize, read_pixel_size
from bccd_d2.io.text import some

USUAL = (4.0, 12.0)  # micrometres that the median cell may have; red cells have 6 to 9
RED = 7.5  # micrometres of a red cell


def pixel_size_of(job: Job, given: float | None) -> PixelSize | None:
    """Micrometres a pixel of a job's image; None where nobody says."""
    if given is not None:
        return PixelSize(given, "--pixel-size")
    return read_pixel_size(job.path, job.plane.page)


def contradictions(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """A warning for each pixel size that the cells contradict, or that cannot be used.

    Args:
        rows: of counts.csv.
    """
    wrong: dict[tuple[str, bool], list[Mapping[str, Any]]] = {}  # by size and whether too wide
    unused: dict[str, list[str]] = {}
    for row in rows:
        size, diameter = row.get("pixel_size"), row.get("median_diameter_um")
        if size is None and row.get("pixel_size_from"):
            unused.setdefault(row["pixel_size_from"], []).append(row["image"])
        elif diameter is not None and not USUAL[0] <= diameter <= USUAL[1]:
            key = f"{size:g} um ({row['pixel_size_from']})", diameter > RED
            wrong.setdefault(key, []).append(row)
    found = [_contradiction(said, group) for (said, _), group in wrong.items()]
    return found + [
        f"the pixel size of {some(names)} is not used ({why}): give one by --pixel-size"
        for why, names in unused.items()
    ]


def _contradiction(said: str, rows: list[Mapping[str, Any]]) -> str:
    wide = float(np.median([row["median_diameter_um"] for row in rows]))
    fitting = rows[0]["pixel_size"] * RED / wide
    return (
        f"pixel size {said} makes the cells of {some([row['image'] for row in rows])} "
        f"{wide:.3g} um wide, and red cells are 6 to 9: give the right one; with --pixel-size "
        f"{fitting:.2g} they would have {RED:g}"
    )
