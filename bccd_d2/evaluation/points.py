"""Scores against points, where a dataset has neither masks nor boxes: one point a cell.

A point says that there is a cell and roughly where, not how far it goes. So the questions are
whether an outline holds it, and whether that outline holds it alone: an outline round two points
has merged two cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bccd_d2.evaluation.instances import ratio, summed
from bccd_d2.masks.cells import Cells


@dataclass(frozen=True)
class PointCounts:
    """Counts of one image, or summed over several.

    Attributes:
        points: annotated points.
        outlines: predicted cells.
        covered: points that lie in an outline.
        alone: points in exactly one outline, which holds no other point.
        merged: points in an outline that holds two or more.
        split: points in several outlines.
        merging: outlines that hold two points or more.
        spurious: outlines that hold no point.
    """

    points: int
    outlines: int
    covered: int
    alone: int
    merged: int
    split: int
    merging: int
    spurious: int

    def __add__(self, other: PointCounts) -> PointCounts:
        """The counts of both."""
        return PointCounts(*(a + b for a, b in zip(self._all(), other._all(), strict=True)))

    def _all(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in self.__dataclass_fields__)


def points_in_masks(points: np.ndarray, cells: Cells) -> np.ndarray:
    """(P, N) bool: the pixel under the point belongs to the cell.

    Args:
        points: (P, 2) x, y in px; those on the far edge of the image count as on its last pixel.
        cells: N predicted cells.
    """
    points = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    height, width = cells.image_size
    places = np.clip(np.floor(points), 0, [width - 1, height - 1]).astype(np.int64)
    inside = np.zeros((len(points), len(cells)), dtype=bool)
    for number, (crop, y0, x0) in enumerate(cells.crops()):
        x, y = (places - (x0, y0)).T
        near = np.flatnonzero((x >= 0) & (y >= 0) & (x < crop.shape[1]) & (y < crop.shape[0]))
        inside[near, number] = crop[y[near], x[near]]
    return inside


def count_points(points: np.ndarray, cells: Cells) -> PointCounts:
    """Counts of one image.

    Args:
        points: (P, 2) x, y in px.
        cells: those that count, at the model's score threshold.
    """
    inside = points_in_masks(points, cells)
    held = inside.sum(axis=0)  # points of each outline
    holders = inside.sum(axis=1)  # outlines of each point
    merged = (inside & (held >= 2)).any(axis=1)
    return PointCounts(
        points=len(inside),
        outlines=len(cells),
        covered=int((holders > 0).sum()),
        alone=int(((holders == 1) & ~merged).sum()),
        merged=int(merged.sum()),
        split=int((holders > 1).sum()),
        merging=int((held >= 2).sum()),
        spurious=int((held == 0).sum()),
    )


def point_scores(images: Sequence[PointCounts], complete: bool = True) -> dict[str, float | None]:
    """Shares of all points, pooled over images, in [0, 1].

    Keys: recall (in some outline), alone (in one outline, by itself: the cells that are right as
    far as points can tell), merged, split, missed (in none); points and outlines, in numbers.
    Without any point the shares are None.

    Args:
        complete: every cell has a point. Then also spurious (share of the outlines that hold no
            point) and the count errors, in cells per image. Else an outline without a point may
            well be right, and neither is given.

    Raises:
        ValueError: no images.
    """
    total = summed(images)
    shares = {
        "recall": total.covered,
        "alone": total.alone,
        "merged": total.merged,
        "split": total.split,
        "missed": total.points - total.covered,
    }
    values: dict[str, float | None] = {
        name: count / total.points if total.points else None for name, count in shares.items()
    }
    values |= {"points": float(total.points), "merging": float(total.merging)}
    if complete:
        errors = np.array([image.outlines - image.points for image in images], dtype=np.float64)
        values |= {
            "outlines": float(total.outlines),
            "spurious": ratio(total.spurious, total.outlines, 0.0) if total.points else None,
            "count_mae": float(np.abs(errors).mean()),
            "count_bias": float(errors.mean()),
        }
    return values


def point_row(counts: PointCounts) -> dict[str, float]:
    """One line of a per-image table: the counts."""
    return {name: getattr(counts, name) for name in counts.__dataclass_fields__}
