"""What the page takes in, and the one sentence where it does not."""

from __future__ import annotations

import zlib

import cv2
import numpy as np
import pytest
import tifffile

from bccd_d2.app.upload import Limits, take_in

PICTURE = np.random.default_rng(1).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "TIFF"])
def test_lossless_formats_arrive_as_they_are(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    if suffix.lower().startswith("tif"):
        tifffile.imwrite(path, PICTURE)
    else:
        cv2.imwrite(str(path), PICTURE[..., ::-1])
    upload = take_in(path, Limits())
    assert (upload.name, upload.pages) == (path.name, 1)
    np.testing.assert_array_equal(upload.image, PICTURE)


def test_sixteen_bits_become_eight_and_pages_are_counted(tmp_path):
    path = tmp_path / "deep.tif"
    deep = PICTURE.astype(np.uint16) * 257
    tifffile.imwrite(path, np.stack([deep, deep[::-1], deep]), photometric="rgb")
    upload = take_in(path, Limits())
    assert upload.pages == 3
    np.testing.assert_array_equal(upload.image, PICTURE)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif"])
def test_what_is_no_image_is_said_without_its_place(tmp_path, suffix):
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(b"no image at all")
    with pytest.raises(ValueError, match=rf"the image broken\{suffix} is unreadable") as caught:
        take_in(path, Limits())
    assert str(tmp_path) not in str(caught.value)


def test_a_file_cut_short_is_named_without_its_place(tmp_path):
    path = tmp_path / "cut.png"
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    cv2.imwrite(str(path), noise)
    path.write_bytes(path.read_bytes()[:60_000])
    with pytest.raises(ValueError, match=r"the image cut\.png is unreadable") as caught:
        take_in(path, Limits())
    assert str(tmp_path) not in str(caught.value)


def test_another_format_is_refused_with_those_that_work(tmp_path):
    path = tmp_path / "a.pdf"
    path.write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"does not read a\.pdf: save it as one of \.png, \.jpg"):
        take_in(path, Limits())


def test_limits_hold(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), PICTURE)
    with pytest.raises(ValueError, match=r"30 x 20 = 0\.0 megapixels, more than the 0\.0005"):
        take_in(path, Limits(megapixels=0.0005))
    with pytest.raises(ValueError, match="more than the 0.001 MB allowed"):
        take_in(path, Limits(upload_mb=0.001))
    assert take_in(path, Limits(megapixels=0.0006)).image.shape == (20, 30, 3)
    with pytest.raises(ValueError, match="limits must be above 0"):
        Limits(megapixels=0)


def test_a_decompression_bomb_is_refused_by_its_header(tmp_path):
    path = tmp_path / "bomb.png"
    cv2.imwrite(str(path), np.zeros((4, 4), np.uint8))
    content = bytearray(path.read_bytes())
    content[16:24] = (60_000).to_bytes(4, "big") * 2  # width and height
    content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"bomb\.png .* tiled RGB TIFF for bccd predict"):
        take_in(path, Limits())
