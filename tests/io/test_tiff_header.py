"""Files made to hang or to fill the memory are refused from their headers."""

from __future__ import annotations

import lzma
import resource
import struct
import time
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.data.convert.mask_files import read_mask_file
from bccd_d2.io import tiff_header
from bccd_d2.io.images import planes, read_image
from bccd_d2.io.label_images import read_label_file
from bccd_d2.io.tiff_windows import TiffWindows, open_image

READERS = {
    "image": read_image,
    "pages": planes,
    "windows": TiffWindows,
    "either": open_image,
    "label": read_label_file,
    "mask": read_mask_file,
}
DEEP = np.arange(60 * 80, dtype=np.uint16).reshape(60, 80)


def patch(path: Path, tag: int, value: int, page: int = 0) -> None:
    """Overwrite a tag's value in place."""
    with tifffile.TiffFile(path) as tif:
        entry = tif.pages[page].tags[tag]
        offset, layout = entry.offset + 8, {3: "<H", 4: "<I"}[entry.dtype]
    data = bytearray(path.read_bytes())
    data[offset : offset + struct.calcsize(layout)] = struct.pack(layout, value)
    path.write_bytes(data)


def ring(path: Path) -> str:
    tifffile.imwrite(path, np.stack([DEEP, DEEP]), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        first, second = (page.offset for page in tif.pages)
    data = bytearray(path.read_bytes())
    tags = struct.unpack("<H", data[second : second + 2])[0]
    data[second + 2 + 12 * tags : second + 6 + 12 * tags] = struct.pack("<I", first)
    path.write_bytes(data)
    return "ring"


def too_many_pages(path: Path) -> str:
    entry = struct.pack("<HHII", 256, 4, 1, 1)
    pages = [
        struct.pack("<H", 1) + entry + struct.pack("<I", 8 + 18 * (n + 1))
        for n in range(tiff_header.MAX_PAGES + 5)
    ]
    path.write_bytes(b"II*\0" + struct.pack("<I", 8) + b"".join(pages))
    return "more than 10000 pages"


def cut_chain(path: Path) -> str:
    tifffile.imwrite(path, np.stack([DEEP, DEEP]), photometric="minisblack", metadata=None)
    with tifffile.TiffFile(path) as tif:
        second = tif.pages[1].offset
    path.write_bytes(path.read_bytes()[: second + 20])
    return "cut short"


def bomb(path: Path, compression: int, data: bytes) -> None:
    """A 60x80 page whose one strip is ``data``."""
    tifffile.imwrite(path, DEEP, photometric="minisblack", compression="zlib", rowsperstrip=60)
    length = path.stat().st_size
    with open(path, "ab") as stream:
        stream.write(data)
    patch(path, 259, compression)
    patch(path, 273, length)
    with tifffile.TiffFile(path) as tif:
        offset, layout = tif.pages[0].tags[279].offset + 8, {3: "<H", 4: "<I"}[
            tif.pages[0].tags[279].dtype]  # fmt: skip
    content = bytearray(path.read_bytes())
    content[offset : offset + struct.calcsize(layout)] = struct.pack(layout, len(data) % 2**16
                                                                     if layout == "<H" else
                                                                     len(data))  # fmt: skip
    path.write_bytes(content)


def zlib_bomb(path: Path) -> str:
    bomb(path, 8, zlib.compress(bytes(40_000_000), 9))
    return "more pixels than it has room for"


def lzma_bomb(path: Path) -> str:
    bomb(path, 34925, lzma.compress(bytes(40_000_000)))
    return "more pixels than it has room for"


def huge_page(path: Path) -> str:
    tifffile.imwrite(path, DEEP, photometric="minisblack")
    patch(path, 256, 65000)
    patch(path, 257, 65000)
    return "beyond the file's end|more than is read|of its .* tiles or strips"


def huge_tile(path: Path) -> str:
    tifffile.imwrite(path, DEEP, photometric="minisblack", tile=(64, 80), compression="zlib")
    patch(path, 322, 65520)
    patch(path, 323, 65520)
    return "tiles or strips have 65520 x 65520"


def no_size(path: Path) -> str:
    tifffile.imwrite(path, DEEP, photometric="minisblack")
    patch(path, 256, 0)
    return "no pixels"


def beyond_the_end(path: Path) -> str:
    tifffile.imwrite(path, DEEP, photometric="minisblack", compression="zlib")
    patch(path, 273, 10_000_000)
    return "beyond the file's end"


ATTACKS = [ring, too_many_pages, cut_chain, zlib_bomb, lzma_bomb, huge_page, huge_tile, no_size,
           beyond_the_end]  # fmt: skip


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_every_reader_refuses_it_at_once(attack, tmp_path):
    path = tmp_path / "odd.tif"
    wanted = attack(path)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    for name, read in READERS.items():
        if name == "pages" and attack.__name__ not in ("ring", "too_many_pages", "cut_chain"):
            continue  # looks at the chain of pages only
        with pytest.raises(ValueError, match=f"odd.tif.*({wanted})"):
            read(path)
    assert time.monotonic() - start < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kB


def test_a_large_header_on_a_small_png_is_refused(tmp_path):
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[16:24] = struct.pack(">II", 9_000, 9_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    for read in (read_image, planes, read_label_file, read_mask_file):
        with pytest.raises(ValueError, match="a.png.*9000 x 9000 px.*too few"):
            read(tmp_path / "a.png")
    data[16:24] = struct.pack(">II", 60_000, 60_000)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(ValueError, match="a.png.*cut it into smaller images"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty"),
        (b"GIF89a" + bytes(40), "a GIF: save it as PNG"),
        (b"%PDF-1.7 " + bytes(40), "a PDF"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\0\0\0\x18ftypheic" + bytes(40), "HEIC"),
        (b"only text", "no PNG, JPEG, BMP, WebP or TIFF"),
    ],
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_the_real_reason_is_said(content, reason, suffix, tmp_path):
    path = tmp_path / f"odd{suffix}"
    path.write_bytes(content)
    for read in (read_image, planes, read_label_file):
        with pytest.raises(ValueError, match=f"odd{suffix} is unreadable.*{reason}"):
            read(path)


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, photometric="minisblack")
    original = tiff_header.check_page

    def meddle(*args, **options):
        with open(path, "ab") as stream:
            stream.write(b"more")
        return original(*args, **options)

    monkeypatch.setattr("bccd_d2.io.images.check_page", meddle)
    with pytest.raises(ValueError, match="a.tif.*changed while it was read"):
        read_image(path)


def test_a_link_that_leads_nowhere_is_named(tmp_path):
    (tmp_path / "a.png").symlink_to(tmp_path / "gone.png")
    with pytest.raises(FileNotFoundError, match="a.png is a link to .*gone.png, which does not"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(
    "description",
    ["<OME " + "<Pixels " * 200_000, "<OME <Pixels " + "a" * 500_000, "{" * 100_000,
     "ImageJ=1\nimages=999999999\nslices=999999999"],
)  # fmt: skip
def test_absurd_descriptions_take_no_time(description, tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, DEEP, photometric="minisblack", description=description, metadata=None)
    start = time.monotonic()
    try:
        assert len(planes(path).images) == 1
    except ValueError as error:
        assert "says 999999999 pages" in str(error)
    assert time.monotonic() - start < 5


def test_a_png_chunk_that_asks_for_gigabytes_is_refused(tmp_path):
    Image.new("L", (80, 60)).save(tmp_path / "a.png")
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[33:37] = b"\xff\0\0\0"  # the length of the first chunk of pixels
    (tmp_path / "a.png").write_bytes(data)
    for read in (read_image, planes, read_label_file, read_mask_file):
        with pytest.raises(ValueError, match="a.png.*ends beyond the file; it may be cut short"):
            read(tmp_path / "a.png")
