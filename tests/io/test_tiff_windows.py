"""Windows of TIFF files are the pixels that reading the whole page gives."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.io.images import planes, read_image
from bccd_d2.io.tiff_windows import TiffWindows, open_image

SIZE = (200, 330)
KINDS = {
    "tiled": {"tile": (64, 48), "compression": "zlib"},
    "tiled plain": {"tile": (64, 64)},
    "strips": {"rowsperstrip": 17, "compression": "zlib"},
    "one strip": {"compression": "zlib", "rowsperstrip": 200},
    "plain": {},
    "big-endian": {"byteorder": ">"},
    "planes": {"planarconfig": "separate", "tile": (64, 48), "compression": "zlib"},
    "predictor": {"tile": (64, 64), "compression": "zlib", "predictor": True},
}


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("depth", ["rgb8", "rgb16", "rgba8", "grey8", "grey16"])
def test_windows_are_the_pixels_of_the_page(rgb, tmp_path, kind, depth):
    pixels = rgb if depth.startswith("rgb") else rgb[..., 0]
    if "16" in depth:
        pixels = pixels.astype(np.uint16) * 13
    if depth == "rgba8":
        pixels = np.concatenate([rgb, np.full((*SIZE, 1), 255, np.uint8)], 2)
    options = dict(KINDS[kind])
    if kind == "planes":
        if pixels.ndim == 2:
            pytest.skip("grey has one plane")
        pixels = np.ascontiguousarray(pixels.transpose(2, 0, 1))
    path, order = tmp_path / "a.tif", options.pop("byteorder", None)
    photometric = "rgb" if depth.startswith("rgb") else "minisblack"
    with tifffile.TiffWriter(path, byteorder=order) as writer:
        writer.write(pixels, photometric=photometric, **options)
    try:
        windows = TiffWindows(path, cache_mb=0.1)
    except ValueError as error:  # a predictor needs imagecodecs
        assert kind == "predictor" and "bccd_d2[tiff]" in str(error)
        pytest.skip("needs imagecodecs")
    whole = read_image(path)
    assert windows.shape == whole.shape and windows.dtype == np.uint8
    for y0, y1, x0, x1 in [(0, 200, 0, 330), (3, 70, 40, 50), (150, 999, 300, 999), (5, 5, 0, 9)]:
        np.testing.assert_array_equal(windows[y0:y1, x0:x1], whole[y0:y1, x0:x1])
    windows.close()


def test_only_large_pages_are_windowed(rgb, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([rgb, 255 - rgb]), photometric="rgb")
    _, second = planes(tmp_path / "a.tif").images
    np.testing.assert_array_equal(open_image(tmp_path / "a.tif", second)[0], 255 - rgb)
    windows, _ = open_image(tmp_path / "a.tif", second, large=1000)
    assert isinstance(windows, TiffWindows)
    np.testing.assert_array_equal(windows[10:20, 30:50], 255 - rgb[10:20, 30:50])


def test_the_cache_is_bounded(rgb, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", rgb, photometric="rgb", tile=(16, 16), compression="zlib")
    windows = TiffWindows(tmp_path / "a.tif", cache_mb=0.01)
    windows[0:200, 0:330]
    assert sum(tile.nbytes for tile in windows._pixels._cache.values()) <= 0.01e6


def test_what_cannot_be_windowed_is_named(rgb, tmp_path):
    path = tmp_path / "cmyk.tif"
    Image.fromarray(rgb).convert("CMYK").save(path)
    with pytest.raises(ValueError, match=r"cmyk\.tif.*colours as SEPARATED.*tiled RGB TIFF"):
        TiffWindows(path)
    with pytest.raises(FileNotFoundError, match="none.tif"):
        open_image(tmp_path / "none.tif")
    (tmp_path / "torn.tif").write_bytes(path.read_bytes()[:60])
    with pytest.raises(ValueError, match="torn.tif is unreadable"):
        open_image(tmp_path / "torn.tif")
    turned = tmp_path / "turned.tif"
    tifffile.imwrite(turned, rgb, photometric="rgb", extratags=[(0x0112, "H", 1, 6, True)])
    with pytest.raises(ValueError, match="not upright"):
        open_image(turned, large=100)


@pytest.mark.parametrize("compression", ["lzw", "jpeg"])
def test_compressions_of_the_extra_tiff(rgb, tmp_path, compression):
    pytest.importorskip("imagecodecs", reason="imagecodecs comes with the extra [tiff]")
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, rgb, photometric="rgb", tile=(64, 64), compression=compression)
    np.testing.assert_array_equal(TiffWindows(path)[30:150, 9:300], read_image(path)[30:150, 9:300])
