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
from skimage.segmentation import watershed

from bccd_d2.data.ignored import IGNORED, LEFT_OUT
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import cell_boxes, disc_diameter
from bccd_d2.masks.overlap import box_iou, match

DIAMETER_OVER_BOX = 0.97  # the disc of a cell's area is a little smaller than its box


@dataclass(frozen=True)
class BoxOptions:
    """How boxes become labels.

    Attributes:
        complete: every cell has a box, so that what lies outside of boxes is background.
        least_iou: of a candidate's box with the annotated one.
        least_round: the same for boxes that an ellipse would fill just as well.
        least_filled: share of a box's ellipse that likely pixels must fill where no candidate fits.
        least_score: of an outline without a box for the annotators to have left it out.
        doubt: probability from which an unlabelled pixel is ignored.
    """

    complete: bool = False
    least_iou: float = 0.65
    least_round: float = 0.8
    least_filled: float = 0.6
    least_score: float = 0.6
    doubt: float = 0.25


@dataclass(frozen=True)
class WeakLabels:
    """What became of an image's boxes or points.

    Attributes:
        label_map: (H, W) uint16; 0 background, 1..N cells, `ignored.IGNORED`.
        drawn: cells in the label map.
        missed: annotations that have no outline and are ignored.
    """

    label_map: np.ndarray
    drawn: int
    missed: int

    @property
    def ignored(self) -> float:
        """Share of the pixels that count in no loss."""
        return float((self.label_map >= LEFT_OUT).mean())


def pair_boxes(candidates: np.ndarray, boxes: np.ndarray, least: float) -> np.ndarray:
    """(M,) index of the candidate of each box, -1 for none; `overlap.match` of the boxes."""
    chosen = np.full(len(boxes), -1)
    pairs = match(box_iou(candidates, boxes), least)
    chosen[pairs.truth_index] = pairs.pred_index
    return chosen


def labels_from_boxes(
    candidates: Cells,
    boxes: np.ndarray,
    probability: np.ndarray,
    *,
    round_ones: np.ndarray | None = None,
    not_cells: np.ndarray | None = None,
    options: BoxOptions | None = None,
) -> WeakLabels:
    """Labels of an image whose cells have boxes.

    A box takes the candidate whose own box fits it best. One without shares the likely pixels of
    the place with its neighbours, if they fill it; where ``round_ones`` says so it becomes an
    ellipse; else it is ignored. So are other doubtful pixels.

    Args:
        candidates: outlines in the image's frame, of any scores, also several of one cell.
        boxes: of the cells.
        probability: (H, W) that a pixel is cell.
        round_ones: (N,) bool, boxes that an ellipse fills well (white cells); None = none.
        not_cells: boxes of what is to be background, such as platelets.
        options: see `BoxOptions`.
    """
    options = options or BoxOptions()
    size = candidates.image_size
    round_ones = np.zeros(len(boxes), bool) if round_ones is None else round_ones
    chosen = pair_boxes(candidates.boxes.astype(float), boxes, options.least_iou)
    if round_ones.any():
        chosen[round_ones] = pair_boxes(
            candidates.boxes.astype(float), boxes[round_ones], options.least_round
        )
    labels = np.zeros(size, dtype=np.uint16)
    crops = list(candidates.crops())
    for index in np.argsort([-_area(box) for box in boxes], kind="stable"):
        if chosen[index] >= 0:
            _paint(labels, crops[chosen[index]], index + 1)
        elif round_ones[index]:
            labels[(_depth(boxes[index], size) <= 1) & (labels == 0)] = index + 1
    open_ones = np.flatnonzero((chosen < 0) & ~round_ones)
    missed = _share_out(labels, boxes, open_ones, probability, options)
    doubtful = _opened(probability >= options.doubt, boxes)
    if options.complete:
        doubtful &= _within(boxes, size)
    doubtful |= _within(boxes[missed], size)
    nothing = np.zeros(size, dtype=bool) if not_cells is None else _within(not_cells, size)
    answer = _finish(labels, doubtful & ~nothing, len(missed))
    if not options.complete:
        left_out = _left_out(candidates, boxes, options.least_score) & ~nothing
        answer.label_map[left_out & (labels == 0)] = LEFT_OUT
    return answer


def _left_out(candidates: Cells, boxes: np.ndarray, least_score: float) -> np.ndarray:
    """(H, W) bool: believable outlines that no box lays claim to."""
    found = np.zeros(candidates.image_size, dtype=np.uint16)
    claimed = _within(boxes, candidates.image_size)
    for score, crop in zip(candidates.scores, candidates.crops(), strict=True):
        mask, y0, x0 = crop
        here = np.s_[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]]
        if score >= least_score and (claimed[here] & mask).sum() < 0.4 * mask.sum():
            found[here][mask] = 1
    return found > 0


def _share_out(
    labels: np.ndarray,
    boxes: np.ndarray,
    open_ones: np.ndarray,
    probability: np.ndarray,
    options: BoxOptions,
) -> np.ndarray:
    """Give boxes without outline the likely pixels they are nearest to; those that stay empty.

    Nearness is in half box sides from the box's centre, so that a large neighbour reaches farther.
    A box must be filled by ``options.least_filled`` of its ellipse.
    """
    size = labels.shape
    nearest = np.full(size, np.inf)
    owner = np.zeros(size, dtype=np.int64)
    for index in open_ones:
        depth = _depth(boxes[index], size)
        depth[~_within(boxes[index : index + 1], size)] = np.inf
        closer = depth < nearest
        nearest[closer], owner[closer] = depth[closer], index + 1
    free = (probability >= 0.5) & (labels == 0)
    missed = []
    for index in open_ones:
        mine = _largest_piece(free & (owner == index + 1))
        if mine.sum() < options.least_filled * np.pi / 4 * _area(boxes[index]):
            missed.append(index)
        else:
            labels[mine] = index + 1
    return np.array(missed, dtype=int)


def labels_from_points(
    candidates: Cells,
    points: np.ndarray,
    doubtful: np.ndarray,
    *,
    spread: float = 2.0,
    confident: float = 2.0,
) -> WeakLabels:
    """Labels of an image of which some cells carry a point.

    An outline with several points is cut into a piece for each, see `_cut_apart`. Kept are outlines
    and pieces with exactly one point, and outlines without any that score at least ``confident``,
    whose area is within a factor ``spread`` ** 2 of the median of outlines with one point. Discs
    of the median diameter round other points, and all other doubtful pixels, are ignored.

    Args:
        candidates: outlines in the image's frame that do not overlap.
        points: of cells, (N, 2); not all cells need have one.
        doubtful: (H, W) bool, pixels that may be cell.
        spread: above 1.
        confident: score from which a cell without a point is believed; above 1 = never.
    """
    size = candidates.image_size
    label_map = candidates.to_label_map()
    rows = np.clip(np.round(points[:, 1]).astype(int), 0, size[0] - 1)
    columns = np.clip(np.round(points[:, 0]).astype(int), 0, size[1] - 1)
    held = np.bincount(label_map[rows, columns], minlength=len(candidates) + 1)[1:]
    typical = float(np.median(candidates.areas[held == 1])) if (held == 1).any() else 0.0
    label_map = _cut_apart(label_map, rows, columns)
    areas = np.bincount(label_map.ravel(), minlength=len(candidates) + 1)[1:]
    owner = label_map[rows, columns]
    alone = np.bincount(owner, minlength=len(areas) + 1)[1:] == 1
    alone[: len(held)] |= (held == 0) & (candidates.scores >= confident)
    alone &= (areas <= typical * spread**2) & (areas >= typical / spread**2)
    new = np.zeros(len(areas) + 1, dtype=np.uint16)
    new[1:][alone] = np.arange(1, alone.sum() + 1)
    labels = new[label_map]
    unknown = _opened(doubtful, cell_boxes(labels))
    unknown |= (label_map > 0) & (labels == 0)
    radius = max(3, round(disc_diameter(typical) * 0.6))
    spots = np.zeros(size, dtype=np.uint8)
    for x, y, cell in zip(columns, rows, owner, strict=True):
        if not new[cell]:
            cv2.circle(spots, (int(x), int(y)), radius, 1, -1)
    return _finish(labels, unknown | (spots > 0), int((new[owner] == 0).sum()))


def _cut_apart(label_map: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The label map, outlines that hold several of the points cut between those.

    By a watershed of the depth inside the outline, from the points: along necks. Pieces after the
    first of each outline have labels of their own, after all others.
    """
    cut = label_map.astype(np.int32)
    owner, last = label_map[rows, columns], int(label_map.max(initial=0))
    held = np.bincount(owner, minlength=last + 1)
    held[0] = 0
    for number in np.flatnonzero(held > 1):
        inside = label_map == number
        depth = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 5)
        seeds = np.zeros(label_map.shape, dtype=np.int32)
        own = np.flatnonzero(owner == number)
        seeds[rows[own], columns[own]] = [number, *range(last + 1, last + len(own))]
        last += len(own) - 1
        cut[inside] = watershed(-depth, seeds, mask=inside)[inside]
    return cut


def _finish(labels: np.ndarray, unknown: np.ndarray, missed: int) -> WeakLabels:
    """Ignored where unknown and unlabelled; labels without gaps."""
    present = np.unique(labels[labels > 0])
    compact = np.zeros(int(labels.max(initial=0)) + 1, dtype=np.uint16)
    compact[present] = np.arange(1, len(present) + 1)
    labels = compact[labels]
    labels[unknown & (labels == 0)] = IGNORED
    return WeakLabels(labels, len(present), missed)


def _paint(labels: np.ndarray, crop: tuple[np.ndarray, int, int], value: int) -> None:
    mask, y0, x0 = crop
    labels[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]][mask] = value


def _depth(box: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) squared distance from a box's centre; 1 on the ellipse that fills it."""
    rows, columns = (np.arange(n) + 0.5 for n in size)
    across = (2 * columns - box[0] - box[2]) / max(box[2] - box[0], 1e-9)
    down = (2 * rows - box[1] - box[3]) / max(box[3] - box[1], 1e-9)
    return down[:, None] ** 2 + across**2


def _largest_piece(mask: np.ndarray) -> np.ndarray:
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    return pieces == 1 + stats[1:, cv2.CC_STAT_AREA].argmax() if count > 1 else mask


def _opened(mask: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The mask without strips thinner than a twentieth of a cell: those are rims, not cells."""
    sides = np.sqrt([_area(box) for box in boxes]) if len(boxes) else np.array([40.0])
    side = 2 * max(1, round(0.025 * float(np.median(sides)))) + 1
    kernel = np.ones((side, side), np.uint8)
    return cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, kernel) > 0


def _within(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool: pixels in any of the boxes."""
    inside = np.zeros(size, dtype=bool)
    for x0, y0, x1, y1 in np.round(boxes).astype(int).clip(0).tolist():
        inside[y0:y1, x0:x1] = True
    return inside


def _area(box: np.ndarray) -> float:
    return float((box[2] - box[0]) * (box[3] - box[1]))
