"""Test-time augmentation: one image seen mirrored, turned and at other scales, merged on masks.

A blood smear has no up and no left, so mirror images and quarter turns are as good as the image
itself; both are exact, pixels only change places. What the views say is merged by
`bccd_d2.inference.merge`; how far they agree is each cell's uncertainty.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bccd_d2.inference.merge import merge_with_votes
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import iou_matrix
from bccd_d2.masks.rle import encode_crop


@dataclass(frozen=True)
class View:
    """One way of looking at an image.

    Attributes:
        mirror: left and right swapped, before it is turned.
        turns: quarter turns counter-clockwise, 0 to 3.
        zoom: factor of the model's own scale.
    """

    mirror: bool = False
    turns: int = 0
    zoom: float = 1.0

    def apply(self, image: np.ndarray) -> np.ndarray:
        """The image (H, W, ...) mirrored and turned; the zoom is the model's to apply."""
        seen = image[:, ::-1] if self.mirror else image
        return np.ascontiguousarray(np.rot90(seen, self.turns))

    def undo(self, cells: Cells, image_size: tuple[int, int]) -> Cells:
        """Cells found in the applied image as cells of the image itself, of (height, width)."""
        if not self.mirror and self.turns % 4 == 0:
            return cells
        rles = []
        for crop, y0, x0 in cells.crops():
            (height, width), size = crop.shape, cells.image_size
            for _ in range(self.turns % 4):  # each turns clockwise
                crop = np.rot90(crop, -1)
                y0, x0 = x0, size[0] - y0 - height
                (height, width), size = crop.shape, size[::-1]
            if self.mirror:
                crop, x0 = crop[:, ::-1], size[1] - x0 - width
            if not crop.size:
                y0 = x0 = 0
            rles.append(encode_crop(crop, y0, x0, image_size))
        boxes = cells.detected_boxes
        if boxes is not None:
            boxes = self._undo_boxes(boxes, cells.image_size)
        return replace(cells, image_size=image_size, rles=rles, detected_boxes=boxes)

    def _undo_boxes(self, boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
        """(N, 4) boxes found in the applied image of ``size`` in the frame of the image itself."""
        x0, y0, x1, y1 = boxes.T
        for _ in range(self.turns % 4):
            x0, y0, x1, y1 = size[0] - y1, x0, size[0] - y0, x1
            size = size[::-1]
        if self.mirror:
            x0, x1 = size[1] - x1, size[1] - x0
        return np.stack([x0, y0, x1, y1], axis=1)


NAMED = {
    "flip": (View(mirror=True), View(mirror=True, turns=2)),
    "turn": (View(turns=1), View(turns=2), View(turns=3)),
}


def parse_views(tta: str | float | Sequence[str | float] | None) -> tuple[View, ...]:
    """The views that ``tta`` asks for, the image itself always first.

    Args:
        tta: any of "flip" (left-right and up-down: 2 more views), "turn" (quarter turns: 3 more)
            and scales such as 0.8 (one more each); as text, joined by commas. None, "" or () =
            the image alone.

    Raises:
        ValueError: something else, or a scale out of (0, 10].
    """
    if tta is None or isinstance(tta, (str, int, float)):
        tta = str(tta or "").split(",")
    views = [View()]
    for item in (str(item).strip() for item in tta):
        if item in NAMED:
            views += NAMED[item]
        elif item:
            views.append(View(zoom=_scale(item)))
    return tuple(dict.fromkeys(views))


def _scale(text: str) -> float:
    try:
        scale = float(text)
    except ValueError:
        scale = float("nan")
    if not 0 < scale <= 10:
        raise ValueError(f"tta must be of {', '.join(NAMED)} and scales like 0.8, got {text!r}")
    return scale


def merge_views(answers: Sequence[Cells], *, iou_threshold: float = 0.5) -> Cells:
    """One answer out of those of several views or models, with each cell's uncertainty.

    The uncertainty is one less the `agreement`: 0 where all found the same mask.
    A single answer comes back as it is, without uncertainty.

    Raises:
        ValueError: see `merge.merge_with_votes`.
    """
    if len(answers) == 1:
        return answers[0]
    merged, _ = merge_with_votes(answers, iou_threshold=iou_threshold)
    return replace(merged, uncertainty=1 - agreement(merged, answers))


def agreement(cells: Cells, answers: Sequence[Cells]) -> np.ndarray:
    """(N,) float64 in [0, 1]: the mean over ``answers`` of the best IoU with each of ``cells``.

    An answer that has nothing there counts as 0.
    """
    best = [iou_matrix(cells.rles, answer.rles).max(axis=1, initial=0.0) for answer in answers]
    return np.mean(best, axis=0) if len(cells) else np.zeros(0)
