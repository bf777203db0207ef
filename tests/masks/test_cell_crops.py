"""What a type network sees of a cell: one size, the cell in the middle, its own mask alone."""

import numpy as np
import pytest

from bccd_d2.masks.cell_crops import MEASURES, CropOptions, look_at
from bccd_d2.masks.cells import Cells


def disc(size, middle, radius):
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    return (rows - middle[0]) ** 2 + (columns - middle[1]) ** 2 <= radius**2


def scene(size=(120, 160), cells=(((60, 50), 20), ((60, 100), 20))):
    """White paper with red discs."""
    image = np.full((*size, 3), 240, np.uint8)
    label_map = np.zeros(size, np.int32)
    for number, (middle, radius) in enumerate(cells, start=1):
        label_map[disc(size, middle, radius)] = number
    image[label_map > 0] = (200, 60, 60)
    return image, Cells.from_label_map(label_map)


def test_a_cell_stands_in_the_middle_at_the_wanted_size_with_its_own_mask_alone():
    image, cells = scene()
    crops, _ = look_at(image, cells, 40, CropOptions(size=64, cell=32))
    assert crops.shape == (2, 4, 64, 64) and crops.dtype == np.uint8
    mask = crops[0, 3] > 0
    rows, columns = np.nonzero(mask)
    assert abs(rows.mean() - 31.5) < 0.5 and abs(columns.mean() - 31.5) < 0.5
    assert abs(np.sqrt(mask.sum() * 4 / np.pi) - 32) < 1
    red = crops[0, 1] < 120
    assert red.sum() > 1.1 * mask.sum()  # the neighbour is in the picture, not in the mask
    assert (crops[0, 0][mask] >= 190).all()


def test_crops_are_the_same_from_an_image_of_half_the_resolution():
    image, cells = scene()
    whole, measured = look_at(image, cells, 40)
    half, same = look_at(image[::2, ::2], cells, 40)
    assert np.array_equal(measured, same)
    assert np.array_equal(whole[:, 3], half[:, 3])
    assert np.abs(whole[:, :3].astype(int) - half[:, :3]).mean() < 3


def test_measures_say_size_shape_and_border():
    image, cells = scene(cells=(((60, 50), 20), ((60, 155), 10)))
    _, measures = look_at(image, cells, 40)
    assert MEASURES[0] == "size" and MEASURES[-1] == "border"
    assert measures[0, 0] == pytest.approx(0, abs=0.05)
    assert measures[0, 1] == 0 and measures[0, 2] > 0.95
    assert measures[0, 3] == pytest.approx(np.pi / 4, abs=0.03)
    assert measures[1, 0] == pytest.approx(-1.2, abs=0.2)
    assert measures[:, 4].tolist() == [0, 1]


def test_a_small_cell_is_enlarged_no_further_than_its_least():
    image, cells = scene(cells=(((60, 50), 5),))
    crops, _ = look_at(image, cells, 40, CropOptions(size=64, cell=32, least=0.5))
    assert np.sqrt((crops[0, 3] > 0).sum() * 4 / np.pi) == pytest.approx(16, abs=1.5)


def test_no_cells_and_wrong_sizes():
    crops, measures = look_at(np.zeros((30, 30, 3), np.uint8), Cells.empty((30, 30)), 10)
    assert crops.shape == (0, 4, 64, 64) and measures.shape == (0, 5)
    with pytest.raises(ValueError, match="diameter must be above 0"):
        look_at(np.zeros((30, 30, 3), np.uint8), Cells.empty((30, 30)), 0)
    with pytest.raises(ValueError, match="SIZE"):
        CropOptions(size=4)
