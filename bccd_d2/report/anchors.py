"""Draw anchors over the boxes of an image: do their sizes fit the cells?"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from bccd_d2.report.draw import (
    INK,
    PAPER,
    Colour,
    caption_bar,
    cell_colour,
    check_image,
    line_width,
    tile_grid,
)


def draw_anchors(
    image: np.ndarray,
    boxes: np.ndarray,
    anchors_by_level: Sequence[np.ndarray],
    *,
    names: Sequence[str] | None = None,
) -> np.ndarray:
    """The image with its boxes, and beside it one panel a level: its anchors round a fitting cell.

    All panels have one scale. In each the cell that the level fits best lies in the middle, its
    box black on white, the level's anchors in colour round the same centre.

    Args:
        boxes: (N, 4) x0 y0 x1 y1 in pixels of ``image``.
        anchors_by_level: one (A, 2) array of widths and heights a level.
        names: of the levels; "p2", "p3", ... by default.

    Raises:
        ValueError: no level, or not one name a level.
    """
    drawn, boxes = check_image(image), np.asarray(boxes, dtype=np.float64).reshape(-1, 4)
    levels = [np.asarray(shapes, dtype=np.float64).reshape(-1, 2) for shapes in anchors_by_level]
    names = [f"p{2 + index}" for index in range(len(levels))] if names is None else list(names)
    if not levels or len(names) != len(levels):
        raise ValueError(f"needs one name for each of {len(levels)} levels, got {len(names)}")
    for box in boxes:
        _rectangle(drawn, box, (0, 150, 60), line_width(drawn, 2))
    span = int(np.ceil(1.25 * max(shapes.max() for shapes in levels)))
    side = drawn.shape[0] // (len(levels) if len(levels) <= 2 else (len(levels) + 1) // 2)
    panels = []
    for name, shapes in zip(names, levels, strict=True):
        panel = _anchor_panel(image, _best_box(boxes, shapes, image.shape), shapes, span, side)
        sizes = [(f"{w:.0f}x{h:.0f}", cell_colour(2 * i + 1)) for i, (w, h) in enumerate(shapes)]
        panels.append(np.vstack([caption_bar([(name, INK), *sizes], side), panel]))
    columns = 1 if len(levels) <= 2 else 2
    gap = max(4, side // 60)
    grid = tile_grid(panels, columns, gap, columns * (side + gap) + gap)
    height = max(drawn.shape[0], grid.shape[0])
    both = [
        cv2.copyMakeBorder(part, 0, height - len(part), 0, 0, cv2.BORDER_CONSTANT, value=PAPER)
        for part in (drawn, grid)
    ]
    return np.hstack(both)


def _best_box(boxes: np.ndarray, shapes: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The box most like one of the shapes; one of the first shape mid-image when there is none."""
    if not len(boxes):
        centre = np.array([shape[1], shape[0]]) / 2
        return np.concatenate([centre - shapes[0] / 2, centre + shapes[0] / 2])
    sizes = boxes[:, None, 2:] - boxes[:, None, :2]
    overlap = np.minimum(sizes, shapes[None]).prod(axis=2)
    union = sizes.prod(axis=2) + shapes.prod(axis=1)[None] - overlap
    return boxes[int((overlap / union).max(axis=1).argmax())]


def _anchor_panel(
    image: np.ndarray, box: np.ndarray, shapes: np.ndarray, span: int, side: int
) -> np.ndarray:
    """(side, side, 3): ``span`` px of the image round the box, with the anchors on top."""
    centre = (box[:2] + box[2:]) / 2
    zoom = side / span
    shift = side / 2 - zoom * centre
    move = np.array([[zoom, 0, shift[0]], [0, zoom, shift[1]]])
    panel = cv2.warpAffine(image, move, (side, side), borderValue=(230, 230, 230))
    middle = np.tile(np.array([side / 2, side / 2]), 2)
    half = np.concatenate([-(box[2:] - box[:2]), box[2:] - box[:2]]) / 2
    _rectangle(panel, middle + zoom * half, PAPER, 5)
    _rectangle(panel, middle + zoom * half, INK, 2)
    for index, shape in enumerate(shapes):
        half = np.concatenate([-shape, shape]) / 2
        _rectangle(panel, middle + zoom * half, cell_colour(2 * index + 1), 2)
    return panel


def _rectangle(image: np.ndarray, box: np.ndarray, color: Colour, width: int) -> None:
    x0, y0, x1, y1 = (round(float(v)) for v in box)
    cv2.rectangle(image, (x0, y0), (x1 - 1, y1 - 1), color, width, cv2.LINE_AA)
