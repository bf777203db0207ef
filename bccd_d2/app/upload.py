"""From an uploaded file to an image, or to one sentence that says why not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccd_d2.io.files import SMALLER
from bccd_d2.io.images import SUFFIXES, image_size, read_plane
from bccd_d2.io.pixel_size import PixelSize, read_pixel_size
from bccd_d2.io.text import printable
from bccd_d2.io.value_range import ValueRange


@dataclass(frozen=True)
class Limits:
    """What the page takes in.

    Attributes:
        upload_mb: largest file, in MB of 2^20 bytes, as Gradio counts.
        megapixels: largest image, in millions of pixels, of its first page.
        read_seconds: that reading an image may take.
        seconds: that finding its cells may take.
        memory_gb: GB of 10^9 bytes that the process that does both may hold, model and all.

    Raises:
        ValueError: a limit that is not positive.
    """

    upload_mb: float = 100
    megapixels: float = 40
    read_seconds: float = 30
    seconds: float = 600
    memory_gb: float = 8

    def __post_init__(self) -> None:
        if not all(limit > 0 for limit in vars(self).values()):
            raise ValueError(f"limits must be above 0, got {self}")


@dataclass(frozen=True, eq=False)
class Upload:
    """An image that was taken in.

    Attributes:
        name: the file's, without folders.
        image: (H, W, 3) uint8 RGB, the first page.
        pages: how many the file has; thumbnails are none.
        pixel_size: what the file says of it.
        values: what became 0 to 255.
    """

    name: str
    image: np.ndarray
    pages: int = 1
    pixel_size: PixelSize | None = None
    values: ValueRange = ValueRange()


def take_in(path: str | Path, limits: Limits, name: str = "") -> Upload:
    """Read an uploaded image; its size is looked up before any pixel is decoded.

    Args:
        name: what the user calls it; "" = as the file is called.

    Raises:
        ValueError: too large, another format, or damaged; the message names the file, not where it
            lies, and the remedy.
    """
    path = Path(path)
    name = printable(name or path.name)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the page does not read {name}: save it as one of "
                         f"{', '.join(SUFFIXES)}")  # fmt: skip
    megabytes = path.stat().st_size / 2**20 if path.is_file() else 0
    if megabytes > limits.upload_mb:
        raise ValueError(
            f"the file {name} has {megabytes:.1f} MB, more than the {limits.upload_mb:g} MB "
            "allowed here. Cut it, or use bccd predict, which has no limit"
        )
    try:
        width, height, pages = image_size(path)
        if width * height > limits.megapixels * 1e6:
            raise ValueError(
                f"image {name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, "
                f"more than the {limits.megapixels:g} allowed here. Cut it, or use bccd "
                "predict, which has no limit"
            )
        image, values = read_plane(path)
        return Upload(name, image, pages, read_pixel_size(path), values)
    except ValueError as error:
        said = f"the {error}".replace(printable(path), name)
        said = said.replace("--max-value", "bccd predict --max-value")
        raise ValueError(said.replace(SMALLER, f"{SMALLER} for bccd predict")) from error
    except OSError as error:
        raise ValueError(f"the file {name} is gone ({error.strerror}); drop it again") from error
