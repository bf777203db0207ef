"""Masks from boxes or points: a model's own outlines, kept only where an annotation agrees.

What an annotation asks for and no outline fits, and what might be a cell that nobody annotated, is
`data.ignored`: it teaches neither cell nor background. The idea of keeping the pseudo-masks that
agree with a weak label is that of Khoreva et al., "Simple does it", CVPR 2017 (arXiv 1603.07485).

Boxes are (N, 4) x0 y0 x1 y1 in px, points (N, 2) x, y.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.optimize import linear_sum_assignment

from bccd_d2.data.ignored import IGNORED
from bccd_d2.masks.cells import Cells


@dataclass(frozen=True)
class WeakLabels:
    """What became of an image's boxes or points.

    Attributes:
        label_map: (H, W) uint16; 0 background, 1..N cells, `ignored.IGNORED`.
        drawn: annotations that have an outline.
        missed: those that have none and are ignored.
        ignored: share of the image that counts in no loss.
    """

    label_map: np.ndarray
    drawn: int
    missed: int

    @property
    def ignored(self) -> float:
        """Share of the pixels that count in no loss."""
        return float((self.label_map == IGNORED).mean())


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of two lists of boxes; 0 where a box has no area."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = (high - low).clip(0).prod(axis=2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1) for boxes in (first, second)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-9)


def pair_boxes(candidates: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """(M,) index of the candidate of each box, -1 for none; each candidate serves one box.

    The pairs with the largest sum of IoUs, of those that reach ``least``.
    """
    chosen = np.full(len(boxes), -1)
    if not len(candidates) or not len(boxes):
        return chosen
    overlap = box_iou(candidates, boxes)
    rows, columns = linear_sum_assignment(-np.where(overlap >= least, overlap, 0))
    fits = overlap[rows, columns] >= least
    chosen[columns[fits]] = rows[fits]
    return chosen


def labels_from_boxes(
    candidates: Cells,
    boxes: np.ndarray,
    doubtful: np.ndarray,
    *,
    round_ones: np.ndarray | None = None,
    not_cells: np.ndarray | None = None,
    complete: bool = False,
    least_iou: float = 0.65,
) -> WeakLabels:
    """Labels of an image whose cells have boxes.

    A box takes the candidate whose own box fits it best; one without becomes ignored, or an
    ellipse where ``round_ones`` says so. Doubtful pixels outside of all outlines are ignored.

    Args:
        candidates: outlines in the image's frame, of any scores, also several of one cell.
        boxes: of the cells.
        doubtful: (H, W) bool, pixels that may be cell.
        round_ones: (N,) bool, boxes that an ellipse fills well (white cells); None = none.
        not_cells: boxes of what is to be background, such as platelets.
        complete: every cell has a box, so that doubtful pixels outside of boxes are background.
        least_iou: of a candidate's box with the annotated one.
    """
    size = candidates.image_size
    chosen = pair_boxes(candidates.boxes.astype(float), boxes, least_iou)
    round_ones = np.zeros(len(boxes), bool) if round_ones is None else round_ones
    labels = np.zeros(size, dtype=np.uint16)
    unknown = doubtful & _within(boxes, size) if complete else doubtful.copy()
    count = 0
    crops = list(candidates.crops())
    for index in np.argsort([-_area(box) for box in boxes], kind="stable"):
        if chosen[index] < 0 and not round_ones[index]:
            unknown |= _within(boxes[index : index + 1], size)
            continue
        count += 1
        if chosen[index] >= 0:
            _paint(labels, crops[chosen[index]], count)
        else:
            _ellipse(labels, boxes[index], count)
    if not_cells is not None and len(not_cells):
        unknown &= ~_within(not_cells, size)
    return _finish(labels, unknown, len(boxes))


def labels_from_points(
    candidates: Cells, points: np.ndarray, doubtful: np.ndarray, *, spread: float = 2.0
) -> WeakLabels:
    """Labels of an image of which some cells carry a point.

    Kept are outlines with exactly one point whose area is within a factor ``spread`` ** 2 of the
    median of such outlines. Discs of the median diameter round other points, and all other
    doubtful pixels, are ignored.

    Args:
        candidates: outlines in the image's frame that do not overlap.
        points: of cells, (N, 2); not all cells need have one.
        doubtful: (H, W) bool, pixels that may be cell.
        spread: above 1.
    """
    size = candidates.image_size
    label_map = candidates.to_label_map()
    rows = np.clip(np.round(points[:, 1]).astype(int), 0, size[0] - 1)
    columns = np.clip(np.round(points[:, 0]).astype(int), 0, size[1] - 1)
    owner = label_map[rows, columns]
    held = np.bincount(owner, minlength=len(candidates) + 1)[1:]
    alone = held == 1
    areas = candidates.areas
    typical = float(np.median(areas[alone])) if alone.any() else 0.0
    alone &= (areas <= typical * spread**2) & (areas >= typical / spread**2)
    new = np.zeros(len(candidates) + 1, dtype=np.uint16)
    new[1:][alone] = np.arange(1, alone.sum() + 1)
    labels = new[label_map]
    unknown = doubtful | ((label_map > 0) & (labels == 0))
    radius = max(3, round(np.sqrt(typical / np.pi) * 1.2))
    spots = np.zeros(size, dtype=np.uint8)
    for x, y, cell in zip(columns, rows, owner, strict=True):
        if not new[cell]:
            cv2.circle(spots, (int(x), int(y)), radius, 1, -1)
    return _finish(labels, unknown | (spots > 0), len(points))


def _finish(labels: np.ndarray, unknown: np.ndarray, wanted: int) -> WeakLabels:
    """Ignored where unknown and unlabelled; labels without gaps."""
    present = np.unique(labels[labels > 0])
    compact = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint16)
    compact[present] = np.arange(1, len(present) + 1)
    labels = compact[labels]
    labels[unknown & (labels == 0)] = IGNORED
    return WeakLabels(labels, len(present), wanted - len(present))


def _paint(labels: np.ndarray, crop: tuple[np.ndarray, int, int], value: int) -> None:
    mask, y0, x0 = crop
    labels[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]][mask] = value


def _ellipse(labels: np.ndarray, box: np.ndarray, value: int) -> None:
    """Fill the ellipse of a box where no cell is drawn."""
    rows, columns = (np.arange(n) + 0.5 for n in labels.shape)
    across = (2 * columns - box[0] - box[2]) / max(box[2] - box[0], 1e-9)
    down = (2 * rows - box[1] - box[3]) / max(box[3] - box[1], 1e-9)
    labels[(down[:, None] ** 2 + across**2 <= 1) & (labels == 0)] = value


def _within(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels in any of the boxes."""
    inside = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in np.round(boxes).astype(int).clip(0).tolist():
        inside[y0:y1, x0:x1] = True
    return inside


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
