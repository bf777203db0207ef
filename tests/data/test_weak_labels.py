"""Labels from boxes and points on drawn discs: what is kept, ignored, background."""

from __future__ import annotations

import numpy as np
import pytest

from bccd_d2.data.ignored import (
    IGNORED,
    LEFT_OUT,
    counted,
    largest_label,
    refuse_ignored,
    split_ignored,
)
from bccd_d2.data.weak_labels import (
    BoxOptions,
    labels_from_boxes,
    labels_from_points,
    pair_boxes,
)
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import box_iou

SIZE = (100, 100)


def disc(y: int, x: int, radius: int = 10) -> np.ndarray:
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    return (rows - y) ** 2 + (columns - x) ** 2 <= radius**2


def cells(*masks: np.ndarray) -> Cells:
    label_map = np.zeros(SIZE, np.int32)
    for index, mask in enumerate(masks, start=1):
        label_map[mask] = index
    return Cells.from_label_map(label_map)


def box(y: int, x: int, radius: int = 10) -> list[float]:
    return [x - radius, y - radius, x + radius + 1, y + radius + 1]


LEFT, RIGHT = disc(50, 25), disc(50, 75)


def test_iou_of_half_overlapping_squares_is_a_third():
    first, second = np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2], [5, 5, 6, 6]])
    assert box_iou(first, second).tolist() == [[pytest.approx(1 / 3), 0]]


def test_a_candidate_serves_one_box():
    boxes = np.array([box(50, 25), box(50, 26)], float)
    assert sorted(pair_boxes(np.array([box(50, 25)], float), boxes, 0.5).tolist()) == [-1, 0]
    assert pair_boxes(np.zeros((0, 4)), boxes, 0.5).tolist() == [-1, -1]


def test_a_box_without_an_outline_is_ignored_not_background():
    boxes = np.array([box(50, 25), box(50, 75)], float)
    answer = labels_from_boxes(cells(LEFT), boxes, np.zeros(SIZE))
    assert (answer.drawn, answer.missed) == (1, 1)
    assert np.array_equal(answer.label_map == 1, LEFT)
    assert answer.label_map[50, 75] == IGNORED and answer.label_map[5, 5] == 0


def test_doubtful_pixels_outside_boxes_depend_on_completeness():
    boxes, doubt = np.array([box(50, 25)], float), (LEFT | RIGHT) * 0.9
    some = labels_from_boxes(cells(LEFT, RIGHT), boxes, doubt)
    every = labels_from_boxes(cells(LEFT, RIGHT), boxes, doubt, options=BoxOptions(complete=True))
    assert some.label_map[50, 75] == LEFT_OUT and every.label_map[50, 75] == 0
    unsure = labels_from_boxes(cells(LEFT), boxes, doubt)
    assert unsure.label_map[50, 75] == IGNORED
    assert some.ignored == pytest.approx(RIGHT.mean(), rel=0.1)


def test_white_cells_become_ellipses_and_platelets_background():
    boxes, small = np.array([box(50, 25)], float), np.array([box(20, 80, 4)], float)
    answer = labels_from_boxes(
        Cells.empty(SIZE), boxes, disc(20, 80, 3) * 0.9,
        round_ones=np.array([True]), not_cells=small,
    )  # fmt: skip
    assert (answer.label_map == 1).sum() == pytest.approx(np.pi / 4 * 21**2, rel=0.03)
    assert answer.label_map[20, 80] == 0


def test_merged_boxes_share_the_likely_pixels_between_them():
    pair = disc(50, 40) | disc(50, 56)
    boxes = np.array([box(50, 40), box(50, 56)], float)
    answer = labels_from_boxes(cells(pair), boxes, pair * 0.9)
    assert (answer.drawn, answer.missed) == (2, 0)
    assert (answer.label_map[pair] > 0).mean() > 0.97
    assert answer.label_map[50, 42] == 1 and answer.label_map[50, 54] == 2


def test_one_point_makes_a_cell_none_a_doubt():
    alone, bare = disc(70, 25), disc(70, 75)
    points = np.array([[25, 70]], float)
    answer = labels_from_points(cells(alone, bare), points, np.zeros(SIZE, bool))
    assert (answer.drawn, answer.missed) == (1, 0)
    assert np.array_equal(answer.label_map == 1, alone)
    assert (answer.label_map[bare] == IGNORED).all()


def test_two_points_cut_an_outline_at_its_neck():
    pair, alone = disc(50, 40) | disc(50, 56), disc(15, 75)
    points = np.array([[37, 50], [55, 52], [75, 15]], float)
    answer = labels_from_points(cells(pair, alone), points, np.zeros(SIZE, bool))
    assert (answer.drawn, answer.missed) == (3, 0)
    assert np.array_equal(answer.label_map > 0, pair | alone)
    left, right = answer.label_map[:, :47], answer.label_map[:60, 50:62]
    assert set(np.unique(left)) == {0, 1} and set(np.unique(right[38:])) == {0, 3}


def test_more_points_than_an_outline_has_room_for_are_a_doubt():
    crowd, alone = disc(50, 40), disc(20, 75, 14)
    points = np.array([[34, 50], [46, 50], [40, 44], [40, 56], [75, 20]], float)
    answer = labels_from_points(cells(crowd, alone), points, np.zeros(SIZE, bool))
    assert (answer.drawn, answer.missed) == (1, 4)
    assert (answer.label_map[crowd] == IGNORED).all()
    twice = np.array([[40, 50], [40, 50], [75, 20]], float)
    assert labels_from_points(cells(crowd, alone), twice, np.zeros(SIZE, bool)).missed == 2


def test_a_confident_outline_of_the_usual_size_needs_no_point():
    found = cells(LEFT, RIGHT, disc(10, 10, 3))  # the last is far too small
    points = np.array([[25.0, 50]])
    answer = labels_from_points(found, points, np.zeros(SIZE, bool), confident=0.9)
    assert np.array_equal(answer.label_map == 2, RIGHT) and answer.label_map[10, 10] == IGNORED


def test_a_point_without_outline_is_surrounded_by_doubt():
    answer = labels_from_points(cells(LEFT), np.array([[25.0, 50], [75, 50]]), np.zeros(SIZE, bool))
    assert answer.label_map[50, 75] == IGNORED and answer.label_map[5, 5] == 0


def test_no_annotation_and_no_candidate_is_background():
    for answer in (
        labels_from_points(Cells.empty(SIZE), np.zeros((0, 2)), np.zeros(SIZE, bool)),
        labels_from_boxes(Cells.empty(SIZE), np.zeros((0, 4)), np.zeros(SIZE)),
    ):
        assert not answer.label_map.any() and answer.drawn == answer.missed == 0


def test_what_annotators_left_out_is_seen_but_not_counted():
    label_map = np.array([[0, 3], [IGNORED, LEFT_OUT]], np.uint16)
    assert counted(label_map).tolist() == [[-1, 1], [-1, 0]]
    assert split_ignored(label_map)[1].tolist() == [[True, True], [False, False]]
    assert largest_label(label_map) == 3


def test_ignored_pixels_are_no_label():
    label_map = np.array([[0, 3], [IGNORED, 1]], np.uint16)
    labels, counts = split_ignored(label_map)
    assert labels.tolist() == [[0, 3], [0, 1]] and counts.tolist() == [[True, True], [False, True]]
    assert largest_label(label_map) == 3 and largest_label(np.zeros((2, 2), np.uint16)) == 0
    with pytest.raises(ValueError, match=r"a\.png has unlabelled pixels"):
        refuse_ignored(label_map, "a.png")
