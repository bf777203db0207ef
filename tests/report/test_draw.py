"""Drawing changes the pixels it should and no others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2.masks.cells import Cells
from bccd_d2.report import anchors, draw

SIZE = (120, 160)
GREEN = (0, 255, 0)


@pytest.fixture
def image() -> np.ndarray:
    """A noisy grey image."""
    grey = np.random.default_rng(0).integers(100, 200, (*SIZE, 1), dtype=np.uint8)
    return grey.repeat(3, axis=2)


@pytest.fixture
def discs() -> Cells:
    """Two discs of radius 20 and 30, 100 px apart at their centres."""
    yy, xx = np.mgrid[: SIZE[0], : SIZE[1]]
    label_map = np.where(np.hypot(yy - 60, xx - 25) < 20, 1, 0)
    label_map[np.hypot(yy - 60, xx - 125) < 30] = 2
    return Cells.from_label_map(label_map, scores=[0.25, 1.0])


def distance_to_edge(cells: Cells) -> np.ndarray:
    """(H, W) px to the nearest cell edge, inside and out."""
    union = cells.union().astype(np.uint8)
    measure = (cv2.distanceTransform(side, cv2.DIST_L2, 5) for side in (union, 1 - union))
    return np.maximum(*measure)


def count_of(pixels: np.ndarray, color: tuple[int, int, int], within: int = 60) -> int:
    """How many pixels have a colour, give or take antialiasing."""
    return int((np.abs(pixels.astype(int) - color).max(axis=2) < within).sum())


def test_no_cells_give_an_unchanged_copy(image):
    drawn = draw.draw_outlines(image, Cells.empty(SIZE), scores=True, fill_alpha=0.5)
    assert np.array_equal(drawn, image) and drawn is not image


def test_only_pixels_on_the_outline_change(image, discs):
    before = image.copy()
    drawn = draw.draw_outlines(image, discs, color=GREEN)
    changed = np.any(drawn != image, axis=2)
    away = distance_to_edge(discs)
    assert not changed[away > 3].any()
    assert changed[away <= 1].mean() > 0.95
    assert np.array_equal(image, before)


def test_width_follows_the_image(image, discs):
    thin = draw.draw_outlines(image, discs, color=GREEN, thickness=1)
    thick = draw.draw_outlines(image, discs, color=GREEN, thickness=40)
    count = [np.count_nonzero(np.any(d != image, axis=2)) for d in (thin, thick)]
    assert 1.5 < count[1] / count[0] < 5


def test_one_colour_each(image, discs):
    flat = np.zeros_like(image)
    drawn = draw.draw_outlines(flat, discs, color=[GREEN, (255, 0, 0)], thickness=40)
    assert drawn[:, :60].max(axis=(0, 1)).tolist() == [0, 255, 0]
    assert drawn[:, 60:].max(axis=(0, 1)).tolist() == [255, 0, 0]
    own = draw.draw_outlines(flat, discs)
    assert own[:, :60].max(axis=(0, 1)).tolist() != own[:, 60:].max(axis=(0, 1)).tolist()


def test_neighbouring_numbers_have_unlike_colours():
    colors = np.array([draw.cell_colour(index) for index in range(200)], dtype=int)
    assert np.abs(np.diff(colors, axis=0)).max(axis=1).min() > 60


@pytest.mark.parametrize(("alpha", "value"), [(0.5, [50, 178, 50]), (1.0, [0, 255, 0])])
def test_fill_paints_the_inside(discs, alpha, value):
    flat = np.full((*SIZE, 3), 100, dtype=np.uint8)
    drawn = draw.draw_outlines(flat, discs, color=GREEN, fill_alpha=alpha)
    assert drawn[60, 25].tolist() == value and drawn[5, 75].tolist() == [100] * 3


def test_scores_are_written_inside_the_cells(image, discs):
    bare, scored = (draw.draw_outlines(image, discs, scores=s) for s in (False, True))
    changed = np.any(bare != scored, axis=2)
    assert changed[50:70, 10:40].any() and changed[50:70, 105:145].any()
    assert not changed[:40].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda image: image[:-1], "do not fit"),
        (lambda image: image[..., 0], r"must be \(H, W, 3\) uint8"),
        (lambda image: image / 255.0, "uint8"),
    ],
)
def test_wrong_images_are_refused(image, discs, change, message):
    with pytest.raises(ValueError, match=message):
        draw.draw_outlines(change(image), discs)


def test_wrong_number_of_colours_is_refused(image, discs):
    with pytest.raises(ValueError, match="one for each of 2 cells"):
        draw.draw_outlines(image, discs, color=[GREEN])


def test_side_by_side_colours_right_and_wrong(image, discs):
    flat = np.full((*SIZE, 3), 255, dtype=np.uint8)
    picture = draw.side_by_side(flat, discs, discs[[0]])
    panels = picture[-SIZE[0] :]
    left, right = panels[:, : SIZE[1]], panels[:, -SIZE[1] :]
    found, missed = draw.VERDICT_COLOURS["found"], draw.VERDICT_COLOURS["missed"]
    assert count_of(left[:, :60], found) > 30 and count_of(right[:, :60], found) > 30
    assert count_of(left[:, 60:], missed) > 50
    assert count_of(left, draw.VERDICT_COLOURS["spurious"], within=20) == 0
    assert (right[:, 60:] == 255).all()
    assert picture[: -SIZE[0]].min() < 128


def test_side_by_side_has_the_width_asked_for(image, discs):
    assert draw.side_by_side(image, discs, Cells.empty(SIZE), width=501).shape[1] == 501
    assert draw.side_by_side(image, discs, discs).shape[1] > 2 * SIZE[1]


def test_contact_sheet_places_images_in_rows():
    colors = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    images = [np.full((30, 40, 3), color, dtype=np.uint8) for color in colors]
    sheet = draw.contact_sheet(images, columns=2, width=206, gap=2)
    assert sheet.shape == (2 * 75 + 3 * 2, 206, 3)
    assert sheet[30, 50].tolist() == [255, 0, 0] and sheet[30, 150].tolist() == [0, 255, 0]
    assert sheet[110, 50].tolist() == [0, 0, 255] and sheet[110, 150].tolist() == [255] * 3
    higher = draw.contact_sheet(images, columns=2, width=206, gap=2, captions=["a", "b", "c"])
    assert higher.shape[0] > sheet.shape[0] and higher[:12].min() < 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"images": []}, "needs an image"),
        ({"columns": 0}, "needs an image and a column"),
        ({"captions": ["a", "b"]}, "captions must be one for each of 1, got 2"),
        ({"width": 3}, "width 3 is too small"),
    ],
)
def test_contact_sheet_refuses_what_cannot_be(image, arguments, message):
    with pytest.raises(ValueError, match=message):
        draw.contact_sheet(**({"images": [image]} | arguments))


def test_anchor_picture_shows_boxes_and_a_panel_a_level(image):
    boxes = np.array([[20, 20, 60, 60], [90, 30, 150, 90]])
    levels = [np.array([[10, 10]]), np.array([[40, 40], [40, 60]]), np.array([[60, 60]])]
    picture = anchors.draw_anchors(image, boxes, levels)
    assert picture.shape[0] >= SIZE[0] and picture.shape[1] > SIZE[1] + 100
    left = picture[: SIZE[0], : SIZE[1]]
    changed = np.any(left != image, axis=2)
    assert changed[20, 20:60].all() and changed[30:90, 149].all()
    assert not changed[25:55, 25:55].any()
    assert (picture[:, SIZE[1] :] == draw.cell_colour(1)).all(axis=2).sum() > 3 * 4 * 10


def test_anchor_picture_without_boxes_and_without_levels(image):
    empty = np.zeros((0, 4))
    assert anchors.draw_anchors(image, empty, [np.array([[20, 20]])]).shape[1] > SIZE[1]
    with pytest.raises(ValueError, match="levels"):
        anchors.draw_anchors(image, empty, [])
    with pytest.raises(ValueError, match="one name for each of 1 levels, got 2"):
        anchors.draw_anchors(image, empty, [np.array([[20, 20]])], names=["a", "b"])


def test_written_pictures_read_back(tmp_path, image):
    image[0, 0] = (255, 0, 0)
    path = draw.write_png(tmp_path / "new folder" / "picture.png", image)
    assert np.array_equal(cv2.imread(str(path))[..., ::-1], image)
