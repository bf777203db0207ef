"""Photographs of a run's report: whole images with their verdicts, and a crop for each failure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.evaluation.truth import TrueImage
from bccd_d2.masks.cells import Cells
from bccd_d2.report.draw import draw_outlines, draw_verdicts
from bccd_d2.report.error_map import error_map
from bccd_d2.report.failures import Failure, Failures, event_box
from bccd_d2.report.page import Figure, Grid, jpeg_figure
from bccd_d2.report.palette import VERDICT_COLOURS, Colour

PICTURE_WIDTH, CROP_WIDTH = 760, 560


def image_figures(
    image: np.ndarray, true: TrueImage, prediction: Cells, failures: Failures
) -> Grid:
    """Truth, prediction and error map of one image, as three figures."""
    name = Path(true.file_name).name
    truth = draw_verdicts(image, true.cells, failures.truth)
    predicted = draw_verdicts(image, prediction, failures.prediction)
    pictures = (
        (truth, f"Ground truth: {len(true.cells)} cells"),
        (predicted, f"Prediction: {len(prediction)} cells"),
        (error_map(true.cells, prediction, image), "Error map: pixels found, missed, invented"),
    )
    return Grid(
        "image",
        [jpeg_figure(p, f"{name}. {text}.", text, width=PICTURE_WIDTH) for p, text in pictures],
    )


def failure_figure(
    image: np.ndarray, true: TrueImage, prediction: Cells, failures: Failures, event: Failure
) -> Figure:
    """One failure close up: ground truth left, prediction right, what takes part thick."""
    window = crop_window(event_box(event, true.cells, prediction), image.shape[:2])
    panels = []
    for cells, members in ((true.cells, event.truth), (prediction, event.prediction)):
        panels.append(_close_up(image, window, cells, members, VERDICT_COLOURS[event.kind]))
    gap = np.full((panels[0].shape[0], 8, 3), 255, dtype=np.uint8)
    picture = np.hstack([panels[0], gap, panels[1]])
    parts = f"{_cells(len(event.truth), 'true')}, {_cells(len(event.prediction), 'predicted')}"
    name = Path(true.file_name).stem
    short = name if len(name) <= 16 else f"{name[:8]}…"
    x0, y0, x1, y1 = window
    return jpeg_figure(
        picture,
        f"{event.kind}: {parts}; ground truth left, prediction right.",
        f"{parts[0].upper()}{parts[1:]}. {short}, x {x0} to {x1}, y {y0} to {y1} px",
        width=CROP_WIDTH,
    )


def _cells(count: int, word: str) -> str:
    return f"{count or 'no'} {word} cell{'' if count == 1 else 's'}"


def crop_window(
    box: Sequence[float] | np.ndarray, image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A square x0 y0 x1 y1 round a box with as much again round it, moved into the image.

    At least 96 px wide, and cut off only where the image itself is smaller.
    """
    height, width = image_size
    side = max(96, round(1.9 * max(box[2] - box[0], box[3] - box[1])))
    corners = []
    for middle, limit in (((box[0] + box[2]) / 2, width), ((box[1] + box[3]) / 2, height)):
        start = int(np.clip(round(middle - side / 2), 0, max(0, limit - side)))
        corners.append((start, min(start + side, limit)))
    (x0, x1), (y0, y1) = corners
    return x0, y0, x1, y1


def _close_up(
    image: np.ndarray,
    window: tuple[int, int, int, int],
    cells: Cells,
    members: Sequence[int],
    colour: Colour,
) -> np.ndarray:
    """(h, w, 3): the window, its cells outlined in white, the event's members in colour."""
    x0, y0, x1, y1 = window
    boxes = cells.boxes
    near = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    chosen = np.zeros(len(cells), dtype=bool)
    chosen[list(members)] = True
    # Line widths are for an image 1600 px long: here they are wanted in px of the crop.
    unit = 1600 / max(image.shape[:2]) * max(x1 - x0, y1 - y0) / 276
    drawn = draw_outlines(image, cells[near & ~chosen], color=(255, 255, 255), thickness=1.5 * unit)
    drawn = draw_outlines(drawn, cells[chosen], color=colour, thickness=4 * unit, fill_alpha=0.15)
    crop = drawn[y0:y1, x0:x1]
    scale = (CROP_WIDTH - 8) / 2 / crop.shape[1]
    size = ((CROP_WIDTH - 8) // 2, max(1, round(scale * crop.shape[0])))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(crop, size, interpolation=method)
