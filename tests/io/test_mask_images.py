"""Image and mask files of every pixel format as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bccd_d2.io.mask_images import NotBinaryError, read_image, read_mask

SIZE = (50, 70)


def mask_values(*values: int, dtype: type = np.uint8) -> np.ndarray:
    """(H, W) grey: background, then one 10x10 square a value."""
    mask = np.zeros(SIZE, dtype)
    for index, value in enumerate(values):
        row, column = divmod(index, 5)
        mask[2 + 12 * row : 12 + 12 * row, 2 + 13 * column : 12 + 13 * column] = value
    return mask


def in_mode(mode: str) -> Image.Image:
    """The mask of two squares in one of Pillow's modes."""
    grey = mask_values(255, 255)
    if mode == "16-bit":
        return Image.fromarray(mask_values(65535, 65535, dtype=np.uint16))
    if mode == "alpha only":
        white = np.full((*SIZE, 4), 255, np.uint8)
        white[..., 3] = grey
        return Image.fromarray(white)
    if mode == "palette of colours":
        picture = Image.fromarray(mask_values(7, 7), "P")
        colours = [0] * 768
        colours[21:24] = 128, 0, 0
        picture.putpalette(colours)
        return picture
    if mode == "0 and 1":
        return Image.fromarray(mask_values(1, 1))
    return Image.fromarray(grey).convert(mode)


MODES = (
    *("1", "L", "P", "RGB", "RGBA", "LA"),
    *("16-bit", "alpha only", "palette of colours", "0 and 1"),
)


@pytest.mark.filterwarnings("ignore:'mode' parameter:DeprecationWarning")
@pytest.mark.parametrize("mode", MODES)
def test_mask_of_any_pixel_format_has_the_same_foreground(mode: str, tmp_path: Path) -> None:
    in_mode(mode).save(tmp_path / "a.png")
    binary = read_mask(tmp_path / "a.png")
    np.testing.assert_array_equal(binary.mask, mask_values(255, 255) > 0)
    assert binary.mask.dtype == bool
    assert binary.grey_values == 2


@pytest.mark.parametrize(("value", "foreground"), [(0, False), (255, True), (1, True)])
def test_mask_of_one_value(value: int, foreground: bool, tmp_path: Path) -> None:
    Image.fromarray(np.full(SIZE, value, np.uint8)).save(tmp_path / "a.png")
    binary = read_mask(tmp_path / "a.png")
    assert (binary.mask == foreground).all()
    assert binary.grey_values == 1


def test_brighter_of_two_values_is_foreground(tmp_path: Path) -> None:
    mask = mask_values(180) + 20
    Image.fromarray(mask).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png").mask, mask == 200)


def test_threshold_of_a_16_bit_mask_is_in_its_own_scale(tmp_path: Path) -> None:
    values = mask_values(1000, 40000, 60000, dtype=np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with pytest.raises(NotBinaryError, match="4 grey values.*--threshold 30000"):
        read_mask(tmp_path / "a.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "a.png", 30000).mask, values >= 30000)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_read_image_gives_rgb_of_every_mode(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(mask_values(255, 255))
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    grey.convert(mode).save(path)
    image = read_image(path)
    assert image.dtype == np.uint8
    np.testing.assert_array_equal(image, np.asarray(grey.convert("RGB")))


def test_read_image_of_16_bit_keeps_the_full_range(tmp_path: Path) -> None:
    Image.fromarray(mask_values(65535, 32896, dtype=np.uint16)).save(tmp_path / "a.png")
    assert np.unique(read_image(tmp_path / "a.png")).tolist() == [0, 128, 255]


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="image .*none.png does not exist"):
        read_image(tmp_path / "none.png")
    with pytest.raises(FileNotFoundError, match="mask .*none.png does not exist"):
        read_mask(tmp_path / "none.png")
