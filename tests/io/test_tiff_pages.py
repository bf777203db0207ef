"""Stacks, pyramids and channels: which pages are images, and where they lie."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile

from bccd_d2.io.images import planes, read_image
from bccd_d2.io.tiff_pages import Plane

STACK = np.random.default_rng(0).integers(0, 256, (2, 4, 3, 20, 30), dtype=np.uint8)  # TZCYX


def expected(stack: np.ndarray) -> np.ndarray:
    return np.moveaxis(stack, -3, -1)


@pytest.mark.parametrize("kind", ["ome", "imagej", "plain"])
def test_channels_join_and_planes_keep_their_place(kind, tmp_path):
    path = tmp_path / ("a.ome.tif" if kind == "ome" else "a.tif")
    tifffile.imwrite(path, STACK, imagej=kind == "imagej", photometric="minisblack",
                     metadata={"axes": "TZCYX"})  # fmt: skip
    found = planes(path).images
    assert [(plane.t, plane.z) for plane in found] == [(t, z) for t in (0, 1) for z in range(4)]
    for plane in found:
        seen = read_image(path, plane)
        np.testing.assert_array_equal(seen, expected(STACK)[plane.t, plane.z])
    assert found[5].as_geojson() == {"c": -1, "z": 1, "t": 1}
    assert Plane().as_geojson() is None


@pytest.mark.parametrize("order", ["ZCYX", "CZYX"])
def test_the_order_of_the_axes_is_respected(order, tmp_path):
    stack = STACK[0] if order == "ZCYX" else STACK[0].swapaxes(0, 1)
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, stack, photometric="minisblack", metadata={"axes": order})
    for plane in planes(path).images:
        np.testing.assert_array_equal(read_image(path, plane), expected(STACK)[0, plane.z])


@pytest.mark.parametrize("imagej", [False, True])
def test_colour_pages_of_a_z_stack(imagej, tmp_path):
    stack = expected(STACK)[0]
    path = tmp_path / ("a.tif" if imagej else "a.ome.tif")
    tifffile.imwrite(path, stack, imagej=imagej, photometric="rgb", metadata={"axes": "ZYXS"})
    found = planes(path).images
    assert [(plane.pages, plane.z) for plane in found] == [((z,), z) for z in range(4)]
    np.testing.assert_array_equal(read_image(path, found[3]), stack[3])


def test_named_channels_are_put_in_order_or_refused(tmp_path):
    path, planar = tmp_path / "a.ome.tif", STACK[0, 0]
    for names in (["Blue", "Green", "Red"], ["DAPI", "FITC", "Cy5"], ["C1", "C2", "C3"]):
        tifffile.imwrite(path, planar, photometric="minisblack",
                         metadata={"axes": "CYX", "Channel": {"Name": names}})  # fmt: skip
        if names[0] == "DAPI":
            with pytest.raises(ValueError, match="a.ome.tif.*DAPI, FITC, Cy5 are not red, green"):
                planes(path)
            continue
        order = [2, 1, 0] if names[0] == "Blue" else [0, 1, 2]
        np.testing.assert_array_equal(read_image(path), np.moveaxis(planar[order], 0, -1))


def test_a_file_that_holds_fewer_pages_than_it_says(tmp_path):
    path = tmp_path / "a.tif"
    description = "ImageJ=1.54\nimages=8\nslices=8\n"
    tifffile.imwrite(path, STACK[0, :, 0], photometric="minisblack", description=description,
                     metadata=None)  # fmt: skip
    with pytest.raises(ValueError, match="says 8 pages of a stack, and it holds 4"):
        planes(path)


def test_a_slide_has_one_image(tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (256, 320, 3), dtype=np.uint8)
    slide = "Aperio Image Library v11\n320x256 [0,0 320x256] (64x64) JPEG/RGB Q=70|AppMag = 40"
    options = {"photometric": "rgb", "metadata": None}
    for name in ("a.svs", "renamed.tif"):
        with tifffile.TiffWriter(tmp_path / name) as writer:
            writer.write(large, tile=(64, 64), description=slide, **options)
            writer.write(large[::5, ::5], description=slide, **options)  # thumbnail
            writer.write(large[::4, ::4], tile=(64, 64), description=slide, **options)
            about = "Aperio\nlabel 60x50"
            writer.write(large[:50, :60], description=about, subfiletype=1, **options)
        found = planes(tmp_path / name)
        assert found.images == [Plane()] and len(found.left_out) == 3
        np.testing.assert_array_equal(read_image(tmp_path / name), large)


def test_pyramids_and_labels_without_marks_are_no_pages(tmp_path):
    large = np.random.default_rng(1).integers(0, 256, (250, 333, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        options = {"photometric": "rgb", "metadata": None}
        writer.write(large[:40, :40], description="Label_Image", **options)
        writer.write(large, tile=(64, 64), **options)
        writer.write(large[::2, ::2][:125, :166], tile=(64, 64), **options)
        writer.write(large[1:], tile=(64, 64), **options)  # another field of view
    found = planes(tmp_path / "a.tif")
    assert [plane.page for plane in found.images] == [1, 3]
    assert found.left_out == {
        0: "a label or thumbnail of the slide", 2: "a smaller copy of an earlier page"}  # fmt: skip
