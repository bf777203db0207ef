"""Opening files that were not made here: what is wrong with one is said in one sentence.

Here too are the two questions asked of every image before it is decoded: is it a TIFF, is it too
large?
"""

from __future__ import annotations

import contextlib
import os
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from PIL import UnidentifiedImageError

from bccd_d2.io.text import printable

MAX_PIXELS = 100_000_000  # that are decoded at once: 1.5 GB with the copies that decoders make
MAX_BYTES = 4 * MAX_PIXELS
SMALLER = "cut it into smaller images, or save it as a tiled RGB TIFF"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # how one begins; + is BigTIFF
_CONTENTS = (  # how a file begins: what it is
    (b"GIF8", "a GIF: save it as PNG"),
    (b"%PDF", "a PDF: export its image as PNG"),
    (b"\x00\x00\x00\x0cjP", "a JPEG 2000: save it as PNG or TIFF"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000: save it as PNG or TIFF"),
    (b"ZISRAW", "a CZI: export it as TIFF"),
    (b"version https://git-lfs", "a Git LFS pointer: run git lfs pull"),
    (b"\x93NUMPY", "a NumPy array: name it .npy"),
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"<", "a web page or XML: download the image itself"),
)
_CUT_SHORT = re.compile(
    r"truncat|too early|unexpected end|incomplete|end of file|not enough data|broken PNG|"
    r"failed to read|premature|beyond the file",
    re.IGNORECASE,
)


class UnreadableError(ValueError):
    """A reason, with its remedy, why a file is not read; the message is complete."""


def is_tiff(stream: BinaryIO) -> bool:
    """Whether a file begins as a TIFF does, whatever it is called."""
    stream.seek(0)
    head = stream.read(4)
    stream.seek(0)
    return head in _TIFF


def check_size(width: int, height: int, pixel_bytes: int, whole: bool = True) -> None:
    """Refuse an image that would not fit into memory.

    Raises:
        UnreadableError: too many pixels or bytes to decode at once.
    """
    if whole and (width * height > MAX_PIXELS or width * height * pixel_bytes > MAX_BYTES):
        raise UnreadableError(
            f"its header says {width} x {height} px of {pixel_bytes} bytes, more than is read at "
            f"once ({MAX_BYTES / 1e6:.0f} MB): {SMALLER}"
        )
    if width * height > 2**40:
        raise UnreadableError(f"its header says {width} x {height} px: it is damaged; {SMALLER}")


def lossy_labels(path: str | Path) -> str:
    """Why labels in a file cannot be those that were saved; "" where they can."""
    jpeg = Path(path).suffix.lower() in (".jpg", ".jpeg", ".jfif")
    return "is a JPEG, which changes the numbers of cells: save it as PNG or TIFF" if jpeg else ""


def is_utf8(path: str | Path) -> bool:
    """Whether a file's name can be written as UTF-8, as json and CSV files must."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@contextlib.contextmanager
def opened(path: Path, what: str) -> Iterator[BinaryIO]:
    """The file, open for reading; whatever goes wrong inside becomes one error that names it.

    Args:
        what: what it is to the user: "image", "mask" or "label image".

    Raises:
        FileNotFoundError: no such file, or a link that leads nowhere.
        UnreadableError: it cannot be opened or decoded, or it changed meanwhile.
    """
    if not path.is_file():
        if path.is_symlink():
            raise FileNotFoundError(
                f"{what} {printable(path)} is a link to {printable(os.readlink(path))}, which does "
                "not exist"
            )
        kind = "is no file" if path.exists() else "does not exist"
        raise FileNotFoundError(f"{what} {printable(path)} {kind}")
    head = b""
    try:
        with open(path, "rb") as stream:
            before = _state(stream)
            head = stream.read(64)
            stream.seek(0)
            yield stream
            if _state(stream) != before:
                raise UnreadableError("it changed while it was read: try again when it is complete")
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        reason = explain(error, head)
        raise UnreadableError(f"{what} {printable(path)} is unreadable: {reason}") from error


def _state(stream: BinaryIO) -> tuple[int, int]:
    state = os.fstat(stream.fileno())
    return state.st_size, state.st_mtime_ns


def explain(error: Exception, head: bytes = b"") -> str:
    """Why a file could not be decoded, and what helps; ``head`` is how the file begins."""
    if isinstance(error, UnreadableError):
        return str(error)
    detail = printable(error) if str(error) else type(error).__name__
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.strerror}: look at its permissions and its disk"
    if isinstance(error, MemoryError):
        return "it needs more memory than there is: cut it into smaller images"
    if not head:
        return "it is empty (0 bytes); it may be cut short: copy it again or leave it out"
    content = next((what for start, what in _CONTENTS if head.lstrip().startswith(start)), None)
    if content is None and head[4:8] == b"ftyp":
        content = "a HEIC or AVIF photograph, or a film: save it as PNG"
    if content is not None:
        return f"it is {content}"
    if isinstance(error, UnidentifiedImageError):
        return "its content is no PNG, JPEG, BMP, WebP or TIFF that is whole: save it anew"
    if _CUT_SHORT.search(detail) or isinstance(error, (struct.error, EOFError)):
        return f"{detail}; it may be cut short: copy it again or leave it out"
    if "imagecodecs" in detail:
        return f"{detail}: pip install 'bccd_d2[tiff]', or save it without compression"
    if isinstance(error, ValueError):
        return detail
    return f"{detail}: its content is damaged, or of another kind than its name says; save it anew"
