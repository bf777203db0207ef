"""Hamamatsu's NDPI: a TIFF of 64-bit offsets whose page is one JPEG, cut at its restart markers."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from bccd_d2.io.images import planes, read_image
from bccd_d2.io.tiff_pages import Plane
from bccd_d2.io.tiff_windows import TiffWindows

pytest.importorskip("imagecodecs")


def jpeg_of(pixels: np.ndarray) -> tuple[bytes, list[int]]:
    """A JPEG with a restart marker each 8 blocks of 8 px, and where each part begins."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(
        stream, "JPEG", quality=95, subsampling=0, restart_marker_blocks=8
    )
    data = stream.getvalue()
    scan = data.index(b"\xff\xda")
    begin = scan + 2 + struct.unpack(">H", data[scan + 2 : scan + 4])[0]
    marks = [i for i in range(begin, len(data) - 1)
             if data[i] == 0xFF and 0xD0 <= data[i + 1] <= 0xD7]  # fmt: skip
    return data, [begin, *(mark + 2 for mark in marks)]


def write_ndpi(path: Path, images: list[np.ndarray]) -> None:
    """Pages of RGB images as the scanner writes them; tags hold 32 bits, the rest stands behind."""
    content = bytearray(struct.pack("<2sHQ", b"II", 42, 0))
    link = 4
    for pixels in images:
        data, starts = jpeg_of(pixels)
        strip = len(content)
        content += data
        table = len(content)
        content += struct.pack(f"<{len(starts)}I", *starts)
        words = len(content)
        content += struct.pack("<3H", 8, 8, 8) + b"Hamamatsu\0"
        content += b"\0" * (len(content) % 2)
        height, width = pixels.shape[:2]
        tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 3, words), (259, 3, 1, 7),
                (262, 3, 1, 6), (271, 2, 10, words + 6), (273, 4, 1, strip), (277, 3, 1, 3),
                (278, 4, 1, height), (279, 4, 1, len(data)), (65420, 4, 1, 1),
                (65426, 4, len(starts), table)]  # fmt: skip
        content[link : link + 8] = struct.pack("<Q", len(content))
        content += struct.pack("<H", len(tags))
        for tag in tags:
            content += struct.pack("<HHII", *tag)
        link = len(content)
        content += bytes(8 + 4 * len(tags))
    path.write_bytes(content)


@pytest.fixture
def pixels() -> np.ndarray:
    noise = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    return cv2.resize(noise, (128, 96), interpolation=cv2.INTER_CUBIC)


def test_a_slide_is_its_first_page(tmp_path, pixels):
    write_ndpi(tmp_path / "a.ndpi", [pixels, pixels[::2, ::2], pixels[::4, ::4]])
    found = planes(tmp_path / "a.ndpi")
    assert found.images == [Plane()] and len(found.left_out) == 2
    read = read_image(tmp_path / "a.ndpi")
    assert read.shape == pixels.shape
    assert np.abs(read.astype(int) - pixels).mean() < 3


def test_its_windows_are_parts_of_the_whole(tmp_path, pixels):
    """Pieces of 64 x 8 px, of which a window decodes those that it meets."""
    write_ndpi(tmp_path / "a.ndpi", [pixels])
    windows = TiffWindows(tmp_path / "a.ndpi")
    assert windows.shape == pixels.shape
    part = windows[13:41, 50:101]
    assert np.abs(part.astype(int) - pixels[13:41, 50:101]).mean() < 3
    windows.close()


def test_a_cut_file_is_named(tmp_path, pixels):
    write_ndpi(tmp_path / "a.ndpi", [pixels])
    whole = (tmp_path / "a.ndpi").read_bytes()
    (tmp_path / "a.ndpi").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="a.ndpi"):
        read_image(tmp_path / "a.ndpi")
