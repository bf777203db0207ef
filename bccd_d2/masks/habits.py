"""What one laboratory's annotators mark, followed only on images that look like its own.

Annotators differ in which cells they leave out: those cut by the edge, pale ones, whole crowds. A
model that followed one laboratory's habit everywhere would lose a stranger's cells without a word.
So each habit says of which images it holds: those whose background and cells have the colours of
the laboratory it was learned in. Every other image keeps the model's own scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.stain import smaller

COLOURS = 6  # red, green, blue of the background and of the cells
SURE = 0.5  # of the best score, from which an outline shows what the image's cells look like
_LOOK = 256  # px of the longer side at which colours are measured
_RIM = np.ones((3, 3), np.uint8)


@dataclass(frozen=True)
class Look:
    """What the images of one laboratory look like.

    Attributes:
        low, high: (6,) between which their `colours` lie.

    Raises:
        ValueError: they are not 6 each.
    """

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.low) == len(self.high) == COLOURS:
            got = (*self.low, *self.high)
            raise ValueError(f"a look wants {COLOURS} lows and as many highs, got {got}")

    @classmethod
    def of(cls, row: Sequence[float]) -> Look:
        """The look of the 12 numbers that a config holds.

        Raises:
            ValueError: see the class.
        """
        return cls(tuple(row[:COLOURS]), tuple(row[COLOURS:]))

    def row(self) -> tuple[float, ...]:
        """Those numbers."""
        return (*self.low, *self.high)

    def holds(self, seen: np.ndarray) -> bool:
        """Whether an image with these `colours` is like them; not where a colour is unknown."""
        return bool(((seen >= self.low) & (seen <= self.high)).all())


@dataclass(frozen=True)
class Habit:
    """What the annotators of one laboratory mark.

    Attributes:
        slope, constant: of the logit of the chance that they mark a found cell, from the type
            network's logit of it. A score is multiplied by that chance.
        reported_from: the product from which a cell is reported, in (0, 1).
        look: of the laboratory's images.
    """

    slope: float
    constant: float
    reported_from: float
    look: Look

    @classmethod
    def of(cls, row: Sequence[float]) -> Habit:
        """The habit of a row of a config.

        Raises:
            ValueError: a number is missing or out of its range.
        """
        if len(row) != 3 + 2 * COLOURS or not 0 < row[2] < 1:
            raise ValueError(
                f"MODEL.TYPES.COUNTED wants rows of {3 + 2 * COLOURS} numbers, the third in "
                f"(0, 1), got {tuple(row)}; `bccd types` writes them"
            )
        return cls(row[0], row[1], row[2], Look.of(row[3:]))

    def row(self) -> tuple[float, ...]:
        """The 15 numbers that a config holds."""
        return (self.slope, self.constant, self.reported_from, *self.look.row())

    def rescored(self, scores: np.ndarray, logits: np.ndarray, reported_from: float) -> np.ndarray:
        """(N,) in [0, 1]: scores times chances, moved to where the model reports from."""
        likely = scores * sigmoid(self.slope * logits + self.constant)
        return carried(likely, self.reported_from, reported_from)


def habit_of(image: np.ndarray, found: Cells, habits: Sequence[Habit]) -> Habit | None:
    """The first habit that holds of an image; None = of none is known to. Arguments: `colours`."""
    if not habits:
        return None
    seen = colours(image, found)
    return next((habit for habit in habits if habit.look.holds(seen)), None)


def colours(image: np.ndarray, found: Cells) -> np.ndarray:
    """(6,) medians of red, green and blue, 0 to 255, beside all cells and in the surer ones.

    NaN for what the image does not show: no background, or no cell.

    Args:
        image: (h, w, 3) uint8 RGB.
        found: in a frame that may be of another resolution than the image.
    """
    small = smaller(image, _LOOK / max(image.shape[:2]))
    surer = found[found.scores >= SURE * found.scores.max(initial=0)]
    sure, size = surer.union().view(np.uint8), small.shape[1::-1]
    covered = cv2.resize(sure, size, interpolation=cv2.INTER_NEAREST)
    parts = small[cv2.dilate(covered, _RIM) == 0], small[cv2.erode(covered, _RIM) > 0]
    nothing = np.full(3, np.nan)
    return np.concatenate([np.median(p, axis=0) if len(p) else nothing for p in parts])


def carried(values: np.ndarray, at: float, to: float) -> np.ndarray:
    """Values in [0, 1] by the straight lines through (0, 0), (``at``, ``to``) and (1, 1)."""
    above = to + (1 - to) * (values - at) / (1 - at)
    return np.where(values < at, values * to / at, above)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """float64 in (0, 1)."""
    return 1 / (1 + np.exp(-np.clip(np.asarray(logits, dtype=np.float64), -30, 30)))
