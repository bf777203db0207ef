"""Where cells lie closest: the same crowded windows as each method drew them, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.evaluation.entries import Entry
from bccd_d2.evaluation.failures import FOUND, find_failures
from bccd_d2.io.images import read_image
from bccd_d2.masks.cells import Cells
from bccd_d2.report.draw import contact_sheet, draw_verdicts

_REACH = 9  # px; cells no further apart than this are neighbours


@dataclass(frozen=True)
class Window:
    """A part of an image: rows ``y0`` to ``y1``, columns ``x0`` to ``x1``, ends left out."""

    file: str
    y0: int
    x0: int
    y1: int
    x1: int

    def cut(self, image: np.ndarray) -> np.ndarray:
        """The window's pixels."""
        return image[self.y0 : self.y1, self.x0 : self.x1]

    def holds(self, cells: Cells) -> np.ndarray:
        """(N,) bool: the middle of the cell's box lies in the window."""
        boxes = cells.boxes
        x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
        return (x >= self.x0) & (x < self.x1) & (y >= self.y0) & (y < self.y1)


def crowded_windows(truth: Mapping[str, Cells], count: int, side: int = 420) -> list[Window]:
    """The window of each image in which most pixels lie between neighbours, the fullest first.

    Args:
        truth: true cells by file name.
        count: windows at most, one per image; images without neighbours give none.
        side: px of a window; that of a smaller image is the whole of it.
    """
    found = []
    for file, cells in truth.items():
        label_map = cells.to_label_map()
        between = _between(label_map)
        height, width = (min(side, size) for size in label_map.shape)
        sums = cv2.integral(between)
        inside = (sums[height:, width:] - sums[:-height, width:]
                  - sums[height:, :-width] + sums[:-height, :-width])  # fmt: skip
        y0, x0 = (int(v) for v in np.unravel_index(inside.argmax(), inside.shape))
        if inside[y0, x0]:
            window = Window(file, y0, x0, y0 + height, x0 + width)
            found.append((-int(inside[y0, x0]), file, window))
    return [window for *_, window in sorted(found, key=lambda one: one[:2])[:count]]


def _between(label_map: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 1 for pixels that have two cells or more within reach."""
    numbers = label_map.astype(np.float32)
    kernel = np.ones((_REACH, _REACH), np.uint8)
    largest = cv2.dilate(numbers, kernel)
    least = cv2.erode(np.where(label_map > 0, numbers, np.float32(np.inf)), kernel)
    return ((least < largest) & (largest > 0)).astype(np.uint8)


def draw_crowded(
    entries: Sequence[Entry],
    pictures: Mapping[str, tuple[Path, Cells]],
    count: int = 3,
    side: int = 420,
    width: int = 360,
) -> np.ndarray | None:
    """A row a window: the image, its true cells, and what each method drew, by verdict.

    Colours as in `draw.side_by_side`; captions count the errors of a method in the window.

    Args:
        pictures: for each file name the image's path and its true cells.
        width: px of each of the (methods + 2) columns.

    Returns:
        (h, w, 3) uint8; None where no two cells are neighbours.
    """
    truth = {file: cells for file, (_, cells) in pictures.items()}
    panels, captions = [], []
    for window in crowded_windows(truth, count, side):
        path, true = pictures[window.file]
        image = read_image(path)
        plain = draw_verdicts(image, true, np.full(len(true), FOUND))
        panels += [window.cut(image), window.cut(plain)]
        captions += [Path(window.file).stem[:12], f"truth: {window.holds(true).sum()} cells"]
        for entry in entries:
            cells = entry.predictions[window.file]
            verdicts = find_failures(true, cells)
            missed = window.holds(true) & (verdicts.truth != FOUND)
            wrong = window.holds(cells) & (verdicts.prediction != FOUND)
            panels.append(window.cut(draw_verdicts(image, cells, verdicts.prediction)))
            captions.append(f"{entry.name}: {missed.sum()} not found, {wrong.sum()} wrong")
    if not panels:
        return None
    columns = len(entries) + 2
    return contact_sheet(panels, columns, columns * width, captions=captions)
