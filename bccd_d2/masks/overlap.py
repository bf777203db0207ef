"""How much cells overlap: IoU matrices, one-to-one matching, and masks made disjoint.

The matrices are (N, M): predicted cells in rows, true cells in columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask
from scipy.optimize import linear_sum_assignment

from bccd_d2.masks import convert, labels
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.convert import Rle
from bccd_d2.masks.runs import paint


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


def label_iou(prediction: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """(N, M) float64 IoU of the cells of two label maps, N and M their largest labels.

    Element [i, j] belongs to labels i + 1 and j + 1; a label that is not there has IoU 0.

    Raises:
        ValueError: the maps differ in shape or are no label maps.
    """
    prediction, truth = labels.check_label_map(prediction), labels.check_label_map(truth)
    if prediction.shape != truth.shape:
        raise ValueError(f"label maps must have one shape, got {prediction.shape}, {truth.shape}")
    rows = int(prediction.max(initial=0)) + 1
    columns = int(truth.max(initial=0)) + 1
    pairs = prediction.ravel().astype(np.int64) * columns + truth.ravel()
    shared = np.bincount(pairs, minlength=rows * columns).reshape(rows, columns)
    union = shared.sum(axis=1, keepdims=True) + shared.sum(axis=0, keepdims=True) - shared
    return (shared / np.maximum(union, 1))[1:, 1:]


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


def resolve_overlaps(cells: Cells) -> Cells:
    """The same cells, in the same order, without shared pixels: the higher score keeps them.

    This is what `Cells.to_label_map` draws; a cell wholly covered by better ones becomes an empty
    mask. What a cell keeps depends on better cells only, so dropping low scores before or after
    makes no difference.
    """
    overlap = iou_matrix(cells.rles, cells.rles)
    np.fill_diagonal(overlap, 0)
    involved = np.flatnonzero((overlap > 0).any(axis=1))
    if not involved.size:
        return cells
    involved = involved[np.argsort(cells.scores[involved], kind="stable")]
    rles = list(cells.rles)
    label_map = paint([rles[index] for index in involved], cells.image_size)
    visible = np.bincount(label_map.T.ravel(), minlength=len(involved) + 1)[1:] > 0
    numbers = np.concatenate(([0], np.cumsum(visible))).astype(np.int32)
    remaining = iter(convert.label_map_to_rles(numbers[label_map.T].T))
    nothing = convert.encode_crop(np.zeros((0, 0), dtype=bool), 0, 0, cells.image_size)
    for index, seen in zip(involved, visible, strict=True):
        rles[index] = next(remaining) if seen else nothing
    return Cells(cells.image_size, rles, cells.scores, cells.class_ids)
