"""The size of pixels as files say it, and what programs write that know nothing of it."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.io.pixel_size import PixelSize, read_pixel_size

IMAGE = np.zeros((8, 12, 3), np.uint8)


def written(folder, name: str = "a.tif", **options):
    tifffile.imwrite(folder / name, IMAGE, photometric="rgb", **options)
    return read_pixel_size(folder / name)


@pytest.mark.parametrize(
    ("size", "unit", "micrometres"),
    [(0.25, None, 0.25), (0.25, "µm", 0.25), (250, "nm", 0.25), (0.0001, "mm", 0.1),
     (0.1, "\u03bcm", 0.1)],
)  # fmt: skip
def test_ome_with_its_unit(size, unit, micrometres, tmp_path):
    said = {"axes": "YXS", "PhysicalSizeX": size, "PhysicalSizeY": size}
    if unit:
        said |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    found = written(tmp_path, "a.ome.tif", metadata=said)
    assert found == PixelSize(pytest.approx(micrometres), "OME metadata")


@pytest.mark.parametrize("unit", ["pixel", "reference frame", "furlong"])
def test_ome_without_a_length_says_nothing(unit, tmp_path):
    said = {"axes": "YXS", "PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0,
            "PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}  # fmt: skip
    assert written(tmp_path, "a.ome.tif", metadata=said) is None


@pytest.mark.parametrize("unit", ["micron", "um", "\\u00B5m"])
def test_imagej_counts_pixels_a_unit(unit, tmp_path):
    found = written(tmp_path, imagej=True, resolution=(8, 8), metadata={"unit": unit})
    assert found == PixelSize(0.125, "ImageJ's scale")


def test_imagej_in_pixels_or_screen_inches_says_nothing(tmp_path):
    for unit in ("pixel", "inch"):
        found = written(tmp_path, imagej=True, resolution=(72, 72), metadata={"unit": unit})
        assert found is None


@pytest.mark.parametrize(("a_unit", "unit"), [(40_000, "CENTIMETER"), (101_600, "INCH")])
def test_resolution_tags(a_unit, unit, tmp_path):
    found = written(tmp_path, resolution=(a_unit, a_unit), resolutionunit=unit, metadata=None)
    assert found == PixelSize(pytest.approx(0.25), "resolution tags")


@pytest.mark.parametrize("dots", [1, 72, 96, 100, 150, 200, 300, 600])
@pytest.mark.parametrize("unit", ["INCH", "CENTIMETER", "NONE"])
def test_dots_of_screens_and_printers_say_nothing(dots, unit, tmp_path):
    assert written(tmp_path, resolution=(dots, dots), resolutionunit=unit, metadata=None) is None


def test_aperio_and_pages_of_their_own(tmp_path):
    said = "Aperio Image Library v11.2.1 \r\n12x8 -> 12x8 |AppMag = 40|MPP = 0.2520"
    found = written(tmp_path, description=said, metadata=None)
    assert found == PixelSize(0.252, "Aperio's MPP")
    with tifffile.TiffWriter(tmp_path / "two.tif") as writer:
        for per_cm in (40_000, 20_000):
            writer.write(IMAGE, photometric="rgb", metadata=None, resolution=(per_cm, per_cm),
                         resolutionunit="CENTIMETER")  # fmt: skip
    assert read_pixel_size(tmp_path / "two.tif", 1).micrometres == 0.5


def test_pixels_that_are_no_squares_or_absurd_are_named_not_used(tmp_path):
    oblong = written(tmp_path, resolution=(40_000, 30_000), resolutionunit=3, metadata=None)
    assert oblong.micrometres is None and "0.25 x 0.3333 um" in oblong.source
    said = {"axes": "YXS", "PhysicalSizeX": 1e-7, "PhysicalSizeY": 1e-7}
    tiny = written(tmp_path, "a.ome.tif", metadata=said)
    assert tiny.micrometres is None and "no microscope" in tiny.source


@pytest.mark.parametrize("value", ["0", "-1", "nan", "inf", "", "1,5"])
def test_sizes_that_are_no_numbers_above_0_say_nothing(value, tmp_path):
    text = f'<OME><Pixels SizeX="12" PhysicalSizeX="{value}" PhysicalSizeY="{value}"/></OME>'
    assert written(tmp_path, description=text, metadata=None) is None


def test_other_formats_say_nothing(tmp_path):
    Image.fromarray(IMAGE).save(tmp_path / "a.png", dpi=(300, 300))
    assert read_pixel_size(tmp_path / "a.png") is None
    with pytest.raises(FileNotFoundError, match="gone"):
        read_pixel_size(tmp_path / "gone.tif")
