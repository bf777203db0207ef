"""Several answers to one image, such as those of an ensemble or of turned copies, merged on masks.

The idea is that of weighted boxes fusion (Solovyev et al., arXiv 1910.13302) carried over from
boxes to masks: cells that several views found become one cell, drawn by a weighted vote of its
masks and scored by the mean over all views, so that what few views found sinks.

Example:
    cells = merge([model.predict(image) for model in models])
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import iou_matrix
from bccd_d2.masks.rle import Rle, decode_crop, encode_crop


def merge(views: Sequence[Cells], *, iou_threshold: float = 0.5, min_votes: int = 1) -> Cells:
    """One set of cells out of several views of the same image; see `merge_with_votes`."""
    return merge_with_votes(views, iou_threshold=iou_threshold, min_votes=min_votes)[0]


def merge_with_votes(
    views: Sequence[Cells], *, iou_threshold: float = 0.5, min_votes: int = 1
) -> tuple[Cells, np.ndarray]:
    """Merged cells, the best-scored first, and how many views found each.

    Cells are taken in descending order of score. Each joins the cluster whose first cell it
    overlaps most, if that is by ``iou_threshold`` and no cell of its own view is in there yet; else
    it opens a cluster. A cluster's mask is where at least half of its members' scores say cell; its
    score is the sum of theirs over the number of views. Its class probabilities are the mean of its
    members', weighted by score, and so are boxes of detectors; without probabilities its class is
    that of its first cell. One view comes back as it was, sorted.

    Args:
        views: one an answer, all of one image size and in the same frame.
        iou_threshold: in (0, 1].
        min_votes: clusters found by fewer views are dropped.

    Returns:
        The cells, and (N,) int64 in [1, number of views].

    Raises:
        ValueError: no views, views of different sizes or classes, or a threshold out of range.
    """
    sizes = {view.image_size for view in views}
    if len(sizes) != 1:
        raise ValueError(f"views must be of one image size, got {sorted(sizes) or 'no views'}")
    if not 0 < iou_threshold <= 1:
        raise ValueError(f"iou_threshold must be in (0, 1], got {iou_threshold}")
    size = views[0].image_size
    rles = [rle for view in views for rle in view.rles]
    scores = np.concatenate([view.scores for view in views]).astype(np.float64)
    classes = np.concatenate([view.class_ids for view in views])
    origin = np.repeat(np.arange(len(views)), [len(view) for view in views])
    clusters = _cluster(iou_matrix(rles, rles), scores, origin, iou_threshold)
    clusters = [members for members in clusters if len(members) >= min_votes]
    masks = [_vote([rles[i] for i in members], scores[members], size) for members in clusters]
    means = np.array([scores[members].sum() / len(views) for members in clusters])
    order = np.argsort(-means, kind="stable")
    merged = Cells(
        size,
        [masks[i] for i in order],
        np.clip(means[order], 0, 1),
        classes[[clusters[i][0] for i in order]],
    )
    means_of = functools.partial(_means, scores=scores, clusters=[clusters[i] for i in order])
    if (boxes := _boxes(views)) is not None:
        merged = replace(merged, detected_boxes=means_of(boxes))
    if (probabilities := _probabilities(views)) is not None:
        merged = merged.with_classes(means_of(probabilities))
    return merged, np.array([len(clusters[i]) for i in order], dtype=np.int64)


def _boxes(views: Sequence[Cells]) -> np.ndarray | None:
    """(N, 4) boxes of all cells of all views; None where no view has a detector's."""
    if all(view.detected_boxes is None for view in views):
        return None
    return np.concatenate([view.scored_boxes for view in views])


def _probabilities(views: Sequence[Cells]) -> np.ndarray | None:
    """(N, K) class probabilities of all cells of all views; None where there are none."""
    given = [view.class_probabilities for view in views if len(view)]
    known = [one for one in given if one is not None]
    if not known:
        return None
    if len(known) < len(given) or len({one.shape[1] for one in known}) > 1:
        raise ValueError(
            "views must all know the same classes: merge models of one list of classes only"
        )
    return np.concatenate(known)


def _means(
    values: np.ndarray, scores: np.ndarray, clusters: Sequence[Sequence[int]]
) -> np.ndarray:
    """(C, K) the mean row of each cluster of (N, K), by score, or plain where all scores are 0."""
    means = np.zeros((len(clusters), values.shape[1]))
    for row, members in zip(means, clusters, strict=True):
        weights = scores[members]
        row[:] = np.average(values[members], axis=0, weights=weights if weights.any() else None)
    return means


def _cluster(
    iou: np.ndarray, scores: np.ndarray, origin: np.ndarray, threshold: float
) -> list[list[int]]:
    """Clusters of cell indices, each led by its best-scored cell, at most one cell a view."""
    clusters: list[list[int]] = []
    heads: list[int] = []
    for index in np.argsort(-scores, kind="stable").tolist():
        overlaps = iou[index, heads] if heads else np.zeros(0)
        for place in np.argsort(-overlaps, kind="stable").tolist():
            if overlaps[place] < threshold:
                heads.append(index)
                clusters.append([index])
                break
            if origin[index] not in origin[clusters[place]]:
                clusters[place].append(index)
                break
        else:
            heads.append(index)
            clusters.append([index])
    return clusters


def _vote(rles: Sequence[Rle], weights: np.ndarray, size: tuple[int, int]) -> Rle:
    """The mask of the pixels that hold at least half of the weights; the first mask if none do."""
    if len(rles) == 1:
        return rles[0]
    crops = [decode_crop(rle) for rle in rles]
    y0, x0 = min(y for _, y, _ in crops), min(x for _, _, x in crops)
    y1 = max(y + crop.shape[0] for crop, y, _ in crops)
    x1 = max(x + crop.shape[1] for crop, _, x in crops)
    votes = np.zeros((y1 - y0, x1 - x0))
    for (crop, y, x), weight in zip(crops, weights, strict=True):
        votes[y - y0 : y - y0 + crop.shape[0], x - x0 : x - x0 + crop.shape[1]] += weight * crop
    mask = votes >= max(weights.sum() / 2 - 1e-9, 1e-12)
    return encode_crop(mask, y0, x0, size) if mask.any() else rles[0]
