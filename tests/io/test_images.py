"""Every format and depth that a microscope's software writes, against the pixels written."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.io.images import planes, read_image
from bccd_d2.io.tiff_windows import TiffWindows
from bccd_d2.io.value_range import measure_range, scale_to_uint8

SIZE = (20, 31)


@pytest.fixture
def rgb() -> np.ndarray:
    pixels = np.random.default_rng(5).integers(0, 256, (*SIZE, 3), dtype=np.uint8)
    pixels[0, 0] = 0, 128, 255
    return pixels


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".TIFF"])
def test_lossless_colour_comes_back(rgb, tmp_path, suffix):
    path = tmp_path / f"ü 1{suffix}"
    Image.fromarray(rgb).save(path)
    np.testing.assert_array_equal(read_image(path), rgb)


def test_jpeg_is_near(tmp_path):
    smooth = np.tile(np.linspace(20, 220, SIZE[1])[None, :, None], (SIZE[0], 1, 3))
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "a.jpg") - smooth).max() < 8


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "P", "1"])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_other_modes_become_rgb(rgb, tmp_path, mode, suffix):
    if mode == "P" and suffix == ".tif":
        picture = Image.fromarray(rgb).quantize(8)
    else:
        picture = Image.fromarray(rgb).convert(mode)
    picture.save(tmp_path / f"a{suffix}")
    expected = np.asarray(picture.convert("RGB"))
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), expected)


def write_turned(folder, rgb, turn, kind):
    """A file of ``rgb`` that says orientation ``turn``."""
    path = folder / ("a.png" if "png" in kind else "a.tif")
    deep = rgb.astype(np.uint16) * 257
    exif = Image.Exif()
    exif[0x0112] = turn
    if kind == "tif 16":
        extra = [(0x0112, "H", 1, turn, True)]
        tifffile.imwrite(path, deep, photometric="rgb", extratags=extra)
    elif kind == "png 16":
        body = exif.tobytes().removeprefix(b"Exif\x00\x00")
        chunk = b"eXIf" + body
        chunk = len(body).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        png = cv2.imencode(".png", deep[..., ::-1])[1].tobytes()
        path.write_bytes(png[:33] + chunk + png[33:])  # after the header
    else:
        Image.fromarray(rgb).save(path, exif=exif)
    return path


@pytest.mark.parametrize("kind", ["png", "tif", "png 16", "tif 16"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_exif_orientation_is_respected(rgb, tmp_path, turn, kind):
    path = write_turned(tmp_path, rgb, turn, kind)
    upright = {
        1: rgb,
        2: rgb[:, ::-1],
        3: rgb[::-1, ::-1],
        4: rgb[::-1],
        5: rgb.transpose(1, 0, 2),
        6: np.rot90(rgb, -1),
        7: np.rot90(rgb, 2).transpose(1, 0, 2),
        8: np.rot90(rgb, 1),
    }
    np.testing.assert_array_equal(read_image(path), upright[turn])


@pytest.mark.parametrize("kind", ["png", "tif", "planar", "zlib", "rgba", "lzw"])
def test_16_bit_colour_keeps_its_high_byte(rgb, tmp_path, kind):
    deep = rgb.astype(np.uint16) * 257
    path = tmp_path / ("a.png" if kind == "png" else "a.tif")
    if kind == "png":
        cv2.imwrite(str(path), deep[..., ::-1])
    elif kind == "planar":
        planes = deep.transpose(2, 0, 1)
        tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    elif kind == "rgba":
        deep = np.dstack([deep, np.full(SIZE, 1000, np.uint16)])
        tifffile.imwrite(path, deep, photometric="rgb", extrasamples=["unassalpha"])
    elif kind == "lzw":
        cv2.imwrite(str(path), deep[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])
        assert tifffile.TiffFile(path).pages[0].compression == tifffile.COMPRESSION.LZW
    else:
        tifffile.imwrite(path, deep, photometric="rgb", compression="zlib" if kind == "zlib" else 0)
    np.testing.assert_array_equal(read_image(path), rgb)


@pytest.mark.parametrize("kind", ["png", "webp", "grey.png", "16.png", "16.tif", "tif",
                                  "associated.tif", "windows.tif"])  # fmt: skip
def test_what_is_transparent_is_white_unless_all_of_it_is(rgb, tmp_path, kind):
    """The colours below are black mostly, and nobody sees them."""
    rgb = np.repeat(rgb[..., :1], 3, axis=2) if kind == "grey.png" else rgb
    clear = np.arange(SIZE[1]) < 9
    nothing = [] if "associated" in kind else [np.zeros(SIZE[1])]  # has no colours then
    for alpha in (np.where(clear, 0, 255), *nothing):
        alpha = np.broadcast_to(alpha, SIZE).astype(np.uint8)
        hidden = np.where(clear[:, None], 0, rgb) if alpha.any() else rgb
        expected = np.where(clear[:, None], 255, rgb) if alpha.any() else rgb
        path = written(tmp_path, kind, hidden.astype(np.uint8), alpha)
        seen = TiffWindows(path)[0:99, 0:99] if kind == "windows.tif" else read_image(path)
        np.testing.assert_array_equal(seen, expected)


def written(folder, kind, rgb, alpha):
    """A file of colours that are seen where alpha is not 0."""
    path, pixels = folder / f"a.{kind.split('.')[-1]}", np.dstack([rgb, alpha])
    deep = pixels.astype(np.uint16) * 257
    if kind == "16.png":
        cv2.imwrite(str(path), deep[..., [2, 1, 0, 3]])
    elif path.suffix == ".tif":
        samples = ["assocalpha" if kind == "associated.tif" else "unassalpha"]
        pixels = deep if kind == "16.tif" else pixels
        tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=samples)
    else:
        picture = Image.fromarray(pixels).convert("LA" if kind == "grey.png" else "RGBA")
        picture.save(path, lossless=True, exact=True)
    return path


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_16_bit_grey_is_repeated(rgb, tmp_path, suffix):
    grey = rgb[..., 0].copy()
    grey[0, 0] = 255
    cv2.imwrite(str(tmp_path / f"a{suffix}"), grey.astype(np.uint16) * 257)
    np.testing.assert_array_equal(read_image(tmp_path / f"a{suffix}"), grey[..., None] + 0 * rgb)


def test_white_is_zero_is_turned(rgb, tmp_path):
    for depth, factor in ((np.uint8, 1), (np.uint16, 257)):
        grey = rgb[..., 2].astype(depth) * depth(factor)
        grey[0, 0] = 0
        tifffile.imwrite(tmp_path / "a.tif", grey, photometric="miniswhite")
        np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 1], 255 - grey // factor)


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_pages_come_one_by_one(tmp_path, depth):
    stack = np.random.default_rng(1).integers(0, 256, (4, *SIZE, 3)).astype(depth)
    stack[:, 0, 0] = 255
    tifffile.imwrite(tmp_path / "a.tif", stack, photometric="rgb")
    found = [read_image(tmp_path / "a.tif", p) for p in planes(tmp_path / "a.tif").images]
    np.testing.assert_array_equal(found, stack)


def test_a_smaller_copy_in_the_file_is_no_page(rgb, tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(rgb, photometric="rgb")
        tif.write(rgb[::2, ::2], photometric="rgb", subfiletype=1)
    assert len(list(planes(tmp_path / "a.tif").images)) == 1


def to_uint8(pixels):
    """As `read_image` brings pixels to 8 bits."""
    return scale_to_uint8(pixels, measure_range(pixels))


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_bits_in_use_decide_the_scale(bits):
    values = np.array([0, 2**bits // 2, 2**bits - 1], np.uint16)
    assert to_uint8(values).tolist() == [0, 128, 255]


def test_floating_point_counts_from_0_to_1_or_255():
    assert to_uint8(np.array([0, 0.5, 1], np.float32)).tolist() == [0, 128, 255]
    assert to_uint8(np.array([0, 127, 255.0])).tolist() == [0, 127, 255]
    assert to_uint8(np.zeros((0, 3), np.uint16)).shape == (0, 3)


@pytest.mark.parametrize("bad", [[-1.0], [300.0], [float("nan")], [float("inf")]])
def test_values_that_are_no_picture_are_refused(bad):
    with pytest.raises(ValueError, match="must be in 0 to 255"):
        to_uint8(np.array(bad))


def test_whole_numbers_over_16_bits_are_refused():
    with pytest.raises(ValueError, match="must be in 0 to 65535, got 0 to 70000"):
        to_uint8(np.array([0, 70000], np.uint32))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".tif"])
def test_half_a_file_is_named(rgb, tmp_path, suffix):
    path = tmp_path / f"half{suffix}"
    Image.fromarray(np.tile(rgb, (9, 9, 1))).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match=f"half{suffix} is unreadable"):
        read_image(path)


def test_what_is_not_there_or_no_image_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="none.png"):
        read_image(tmp_path / "none.png")
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(ValueError, match="a.txt must be one of .png"):
        read_image(tmp_path / "a.txt")
    (tmp_path / "text.png").write_text("text")
    with pytest.raises(ValueError, match="text.png is unreadable"):
        read_image(tmp_path / "text.png")
    tifffile.imwrite(tmp_path / "two.tif", np.zeros((5, 6, 2), np.uint16), planarconfig="contig")
    with pytest.raises(ValueError, match="grey, RGB or RGBA"):
        read_image(tmp_path / "two.tif")
