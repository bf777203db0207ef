"""Merging answers on masks, on rectangles whose overlaps are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from bccd_d2.inference.merge import merge, merge_with_votes
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import encode_crop, rle_to_mask

SIZE = (40, 60)


def cells(*items: tuple[int, int, int, int, float]) -> Cells:
    """Rectangles (y0, x0, height, width, score)."""
    rles = [encode_crop(np.ones((h, w), bool), y, x, SIZE) for y, x, h, w, _ in items]
    return Cells.from_rles(rles, SIZE, [item[-1] for item in items])


def test_one_view_comes_back_sorted() -> None:
    view = cells((0, 0, 5, 5, 0.3), (10, 10, 6, 6, 0.8))
    merged, votes = merge_with_votes([view])
    assert merged.scores.tolist() == pytest.approx([0.8, 0.3]) and votes.tolist() == [1, 1]
    assert merged.rles == [view.rles[1], view.rles[0]]


def test_agreement_keeps_the_score_and_lone_cells_sink() -> None:
    shared = (5, 5, 10, 10)
    views = [
        cells((*shared, 0.9), (25, 30, 8, 8, 0.9)),
        cells((*shared, 0.7)),
        cells((*shared, 0.8)),
    ]
    merged, votes = merge_with_votes(views)
    assert merged.scores.tolist() == pytest.approx([0.8, 0.3]) and votes.tolist() == [3, 1]
    assert len(merge(views, min_votes=2)) == 1


def test_pixels_go_by_weighted_majority() -> None:
    """Columns 0 to 9, 0 to 9 and 2 to 11 of ten rows: two of three say 0 to 9."""
    views = [cells((0, 0, 10, 10, 0.6)), cells((0, 0, 10, 10, 0.6)), cells((0, 2, 10, 10, 0.9))]
    mask = rle_to_mask(merge(views).rles[0])
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(10))
    heavy = [cells((0, 0, 10, 10, 0.2)), cells((0, 0, 10, 10, 0.2)), cells((0, 2, 10, 10, 0.9))]
    mask = rle_to_mask(merge(heavy).rles[0])
    assert np.flatnonzero(mask.any(axis=0)).tolist() == list(range(2, 12))


def test_two_cells_of_one_view_never_become_one() -> None:
    """View 0 sees one cell, view 1 two halves that both overlap it by half."""
    whole, halves = cells((0, 0, 10, 20, 0.9)), cells((0, 0, 10, 10, 0.8), (0, 10, 10, 10, 0.7))
    merged, votes = merge_with_votes([whole, halves], iou_threshold=0.5)
    assert sorted(votes.tolist()) == [1, 2] and len(merged) == 2
    assert merged.areas.tolist() == [200, 100]


def test_a_cell_joins_the_cluster_it_overlaps_most() -> None:
    first = cells((0, 0, 10, 10, 0.9), (0, 4, 10, 10, 0.8))
    merged, votes = merge_with_votes([first, cells((0, 4, 10, 10, 0.6))], iou_threshold=0.3)
    assert votes.tolist() == [2, 1] or votes.tolist() == [1, 2]
    assert int(votes[np.argmax(merged.boxes[:, 0])]) == 2


def test_empty_views_and_what_is_refused() -> None:
    empty = Cells.empty(SIZE)
    assert len(merge([empty, empty])) == 0 and merge([empty]).image_size == SIZE
    half = merge([cells((0, 0, 4, 4, 1.0)), empty])
    assert half.scores.tolist() == [0.5]
    zero = merge([cells((0, 0, 4, 4, 0.0)), cells((0, 0, 4, 4, 0.0))])
    assert zero.areas.tolist() == [16] and zero.scores.tolist() == [0.0]
    with pytest.raises(ValueError, match="one image size"):
        merge([empty, Cells.empty((3, 3))])
    with pytest.raises(ValueError, match="no views"):
        merge([])
    with pytest.raises(ValueError, match="iou_threshold"):
        merge([empty], iou_threshold=0)


def test_an_ensemble_of_noisy_views_outlines_better_than_its_views() -> None:
    """Five views shift a disc by up to 3 px; the vote is nearer to the true disc than any view."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]

    def disc(y: float, x: float) -> Cells:
        return Cells.from_label_map(((rows - y) ** 2 + (columns - x) ** 2 < 144).astype(np.int32))

    truth = disc(20, 30).union()

    def iou(found: Cells) -> float:
        mask = found.union()
        return (mask & truth).sum() / (mask | truth).sum()

    shifts = [(0, 3), (3, 0), (-3, 0), (0, -3), (2, 2)]
    views = [disc(20 + y, 30 + x) for y, x in shifts]
    assert iou(merge(views)) > max(iou(view) for view in views) + 0.05


def test_boxes_of_a_detector_are_averaged_by_score() -> None:
    first = replace(cells((0, 0, 10, 10, 0.9)), detected_boxes=[[0, 0, 12, 10]])
    second = replace(cells((0, 0, 10, 10, 0.3)), detected_boxes=[[0, 0, 8, 14]])
    merged = merge([first, second, Cells.empty(SIZE)])
    assert merged.scored_boxes == pytest.approx(np.array([[0, 0, 11, 11]]))
    assert merge([first[:0], second[:0]]).scored_boxes.shape == (0, 4)
    assert merge([cells((0, 0, 10, 10, 0.9))]).detected_boxes is None


def test_class_probabilities_are_averaged_by_score() -> None:
    """Scores .9 and .3: a quarter of the second view's word."""
    first = cells((0, 0, 10, 10, 0.9)).with_classes(np.array([[0.6, 0.4]]))
    second = cells((0, 0, 10, 10, 0.3)).with_classes(np.array([[0.0, 1.0]]))
    merged = merge([first, second, Cells.empty(SIZE)])
    assert merged.class_probabilities == pytest.approx(np.array([[0.45, 0.55]]))
    assert merged.class_ids.tolist() == [1]
    assert merge([first[:0], second[:0]]).class_probabilities is None
    with pytest.raises(ValueError, match="the same classes"):
        merge([first, cells((0, 0, 10, 10, 0.3))])
