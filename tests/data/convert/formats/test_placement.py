"""Annotations that do not lie on their image's cells are said, with the reading that would fit."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from bccd_d2.data.convert.placement import stain_at_cells

HEIGHT, WIDTH = 160, 240
MIDDLES = np.array(
    [(25, 22), (66, 31), (118, 18), (150, 49), (205, 27), (31, 74), (87, 66), (171, 92), (224, 71),
     (14, 118), (58, 139), (103, 121), (139, 146), (199, 133)], float)  # fmt: skip
BOXES = np.concatenate([MIDDLES - 12, MIDDLES + 12], axis=1)


def smear() -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 225, np.uint8)
    for x, y in MIDDLES.astype(int):
        cv2.circle(image, (int(x), int(y)), 12, (190, 110, 120), -1)
    return image


def test_cells_lie_on_the_most_stained_places_and_by_chance_elsewhere():
    found = stain_at_cells(smear(), BOXES)
    assert found[0] > 0.9 and max(found[1:]) < found[0] - 0.3
    assert stain_at_cells(255 - smear(), BOXES)[0] < -0.6  # dark field
    points = np.tile(MIDDLES, 2)
    assert stain_at_cells(smear(), points)[0] > 0.6


def test_where_nothing_stands_out_or_no_cell_is_nothing_is_said():
    assert stain_at_cells(np.full((50, 60, 3), 200, np.uint8), BOXES) == ()
    assert stain_at_cells(smear(), np.zeros((0, 4))) == ()


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (MIDDLES, ""),
        (MIDDLES * [1, -1] + [0, HEIGHT], "fit the images upside down"),
        (MIDDLES * [-1, 1] + [WIDTH, 0], "fit the images left and right exchanged"),
        ((WIDTH, HEIGHT) - MIDDLES, "fit the images turned by 180 degrees"),
        (MIDDLES[:, ::-1], "fit the images x and y exchanged"),
        (MIDDLES / [WIDTH, HEIGHT], "hardly lie on what is stained"),
    ],
)
def test_points_in_the_wrong_place_are_said(run, tmp_path, points, said):
    (tmp_path / "points.csv").write_text("".join(f"{x},{y}\n" for x, y in points))
    cv2.imwrite(str(tmp_path / "images" / "points.png"), smear())
    check(run("points", tmp_path / "points.csv"), said)


def test_sizes_taken_for_corners_are_said(run, tmp_path):
    cv2.imwrite(str(tmp_path / "images" / "a.png"), smear())
    lines = (f'{{"id": {i}, "image_id": 1, "category_id": 1, "bbox": {box.tolist()}}}'
             for i, box in enumerate(BOXES, start=1))  # fmt: skip
    image = f'{{"id": 1, "file_name": "a.png", "width": {WIDTH}, "height": {HEIGHT}}}'
    (tmp_path / "a.json").write_text(
        f'{{"images": [{image}], "annotations": [{", ".join(lines)}], '
        '"categories": [{"id": 1, "name": "cell"}]}'
    )
    check(run("coco", tmp_path / "a.json"), "of 14 cells are cut off at the image's edge")


def check(found, said: str) -> None:
    warning = "".join(found.audit["findings"]["warnings"])
    assert said in warning and bool(said) == bool(warning)
    assert (f"warning: {warning}" in found.report.text) == bool(warning)
