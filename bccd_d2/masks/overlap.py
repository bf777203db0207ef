"""How much cells overlap: IoU matrices, one-to-one matching, and masks made disjoint.

The matrices are (N, M): predicted cells in rows, true cells in columns.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from bccd_d2.masks import rle as convert
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import Rle

Kind = TypeVar("Kind", bound=Cells)


@dataclass(frozen=True, eq=False)
class Matches:
    """K pairs of a predicted and a true cell.

    Attributes:
        pred_index: (K,) int64 row of each pair.
        truth_index: (K,) int64 column of each pair.
        iou: (K,) float64 in (0, 1].
    """

    pred_index: np.ndarray
    truth_index: np.ndarray
    iou: np.ndarray

    def __len__(self) -> int:
        """K."""
        return len(self.iou)

    def __getitem__(self, index: np.ndarray) -> Matches:
        """The pairs at a bool mask (K,), a slice or an array of indices."""
        return Matches(self.pred_index[index], self.truth_index[index], self.iou[index])


def check_image_size(size: tuple[int, int], predictions: Cells) -> None:
    """Refuse predictions of another image size than the truth's.

    Raises:
        ValueError: they are.
    """
    if tuple(size) != predictions.image_size:
        raise ValueError(
            f"predictions must be of the truth's image size {tuple(size)}, got "
            f"{predictions.image_size}; scale them to the original image first"
        )


def iou_matrix(predictions: Sequence[Rle], truth: Sequence[Rle]) -> np.ndarray:
    """(N, M) float64 intersection over union of masks of one image size.

    Two empty masks have IoU 0. With no predictions or no truth the matrix is (0, M) or (N, 0).

    Raises:
        ValueError: the masks are not all of one size (pycocotools would answer with nonsense).
    """
    sizes = {tuple(rle["size"]) for rle in (*predictions, *truth)}
    if len(sizes) > 1:
        raise ValueError(f"masks must be of one image size, got {sorted(sizes)}; rescale them")
    if not len(predictions) or not len(truth):
        return np.zeros((len(predictions), len(truth)))
    iou = coco_mask.iou(list(predictions), list(truth), [0] * len(truth))
    return np.asarray(iou, dtype=np.float64).reshape(len(predictions), len(truth))


def box_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """(N, M) intersection over union of boxes; 0 where both are empty."""
    shared, one, other = shared_areas(first, second)
    union = one[:, None] + other[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def shared_areas(
    first: np.ndarray, second: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(N, M) shared areas, and the areas (N,) and (M,) of the boxes themselves."""
    first = np.asarray(first, dtype=np.float64).reshape(-1, 4)
    second = np.asarray(second, dtype=np.float64).reshape(-1, 4)
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    areas = [np.prod(np.maximum(b[:, 2:] - b[:, :2], 0), axis=1) for b in (first, second)]
    return np.prod(np.maximum(high - low, 0), axis=2), *areas


def match(iou: np.ndarray, threshold: float = 0.5) -> Matches:
    """One-to-one pairs with IoU >= ``threshold``: as many as possible, then of greatest total IoU.

    Among masks that do not overlap each other no cell can have two partners above IoU .5, so from
    there on the answer is the only one there is (Kirillov et al. 2019, "Panoptic segmentation",
    theorem 1). Pairs come in the order of their rows. An empty matrix gives no pairs.

    Args:
        iou: (N, M) float in [0, 1].
        threshold: in (0, 1].

    Raises:
        ValueError: ``iou`` is not a matrix or ``threshold`` is out of range.
    """
    return best_pairs(candidate_pairs(iou, threshold), threshold)


def candidate_pairs(iou: np.ndarray, threshold: float) -> Matches:
    """All pairs with IoU >= ``threshold``, in row order, a cell in as many as it has; see `match`.

    This short list is all that `best_pairs` needs for any higher threshold.
    """
    iou = np.asarray(iou, dtype=np.float64)
    if iou.ndim != 2:
        raise ValueError(f"iou must be a matrix (predicted, true), got shape {iou.shape}")
    if not 0 < threshold <= 1:
        raise ValueError(f"threshold must be in (0, 1], got {threshold}")
    rows, columns = np.nonzero(iou >= threshold)
    return Matches(rows, columns, iou[rows, columns])


def best_pairs(pairs: Matches, threshold: float) -> Matches:
    """The one-to-one choice of `match` out of `candidate_pairs`."""
    pairs = pairs[pairs.iou >= threshold]
    rows, row_of = np.unique(pairs.pred_index, return_inverse=True)
    columns, column_of = np.unique(pairs.truth_index, return_inverse=True)
    if rows.size == columns.size == len(pairs):
        return pairs
    # One more pair outweighs any sum of IoUs, which is at most the smaller side.
    weights = np.zeros((rows.size, columns.size))
    weights[row_of, column_of] = 1 + pairs.iou / (min(weights.shape) + 1)
    chosen_rows, chosen_columns = linear_sum_assignment(weights, maximize=True)
    position = np.full(weights.shape, -1)
    position[row_of, column_of] = np.arange(len(pairs))
    chosen = position[chosen_rows, chosen_columns]
    return pairs[np.sort(chosen[chosen >= 0])]


def meeting_pairs(boxes: np.ndarray) -> np.ndarray:
    """(K, 2) int64: every pair of boxes that share area, each once, without an N x N matrix.

    Args:
        boxes: (N, 4) x0 y0 x1 y1.
    """
    boxes = np.asarray(boxes).reshape(-1, 4)
    order = np.argsort(boxes[:, 0], kind="stable")
    ends = np.searchsorted(boxes[order, 0], boxes[order, 2])
    found = [np.zeros((0, 2), dtype=np.int64)]
    for place, index in enumerate(order):
        others = order[place + 1 : ends[place]]
        near = (boxes[others, 1] < boxes[index, 3]) & (boxes[others, 3] > boxes[index, 1])
        others = others[near]
        found.append(np.stack([np.full(len(others), index), others], axis=1))
    return np.concatenate(found)


def resolve_overlaps(cells: Kind) -> Kind:
    """The same cells, in the same order, without shared pixels: the higher score keeps them.

    This is what `Cells.to_label_map` draws; a cell wholly covered by better ones becomes an empty
    mask. What a cell keeps depends on better cells only, so dropping low scores before or after
    makes no difference. Time and memory grow with the cells, not with the image.
    """
    # Where the scores are equal the later cell wins, as in a label map.
    rank = np.empty(len(cells), dtype=np.int64)
    rank[np.argsort(cells.scores, kind="stable")] = np.arange(len(cells))
    better: dict[int, list[int]] = {}
    for first, second in meeting_pairs(cells.boxes).tolist():
        low, high = (first, second) if rank[first] < rank[second] else (second, first)
        better.setdefault(low, []).append(high)

    @functools.lru_cache(maxsize=256)
    def crop_of(index: int) -> tuple[np.ndarray, int, int]:
        return convert.decode_crop(cells.rles[index])

    rles, changed = list(cells.rles), False
    for index, others in better.items():
        kept, y0, x0 = crop_of(index)
        left = kept.copy()
        for other in others:
            _subtract(left, y0, x0, *crop_of(other))
        if left.sum() < kept.sum():
            rles[index] = convert.encode_crop(left, y0, x0, cells.image_size)
            changed = True
    return replace(cells, rles=rles) if changed else cells


def _subtract(
    mask: np.ndarray, y0: int, x0: int, other: np.ndarray, other_y: int, other_x: int
) -> None:
    """Clear the pixels of ``mask``, in place, that lie in ``other``; each with its corner."""
    top, left = max(y0, other_y), max(x0, other_x)
    bottom = min(y0 + mask.shape[0], other_y + other.shape[0])
    right = min(x0 + mask.shape[1], other_x + other.shape[1])
    if top < bottom and left < right:
        window = mask[top - y0 : bottom - y0, left - x0 : right - x0]
        window &= ~other[top - other_y : bottom - other_y, left - other_x : right - other_x]
