"""From an uploaded file to an image, or to one sentence that says why not."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from bccd_d2.io.images import SUFFIXES, read_image


@dataclass(frozen=True)
class Limits:
    """What the page takes in.

    Attributes:
        upload_mb: largest file, in MB of 2^20 bytes, as Gradio counts.
        megapixels: largest image, in millions of pixels, of its first page.

    Raises:
        ValueError: a limit that is not positive.
    """

    upload_mb: float = 100
    megapixels: float = 40

    def __post_init__(self) -> None:
        if not (self.upload_mb > 0 and self.megapixels > 0):
            raise ValueError(f"limits must be above 0, got {self}")


@dataclass(frozen=True, eq=False)
class Upload:
    """An image that was taken in.

    Attributes:
        name: the file's, without folders.
        image: (H, W, 3) uint8 RGB, the first page.
        pages: how many the file has; thumbnails are none.
    """

    name: str
    image: np.ndarray
    pages: int = 1


def take_in(path: str | Path, limits: Limits) -> Upload:
    """Read an uploaded image; its size is looked up before any pixel is decoded.

    Raises:
        ValueError: too large, another format, or damaged; the message names the file, not where it
            lies, and the remedy.
    """
    path = Path(path)
    name = path.name
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"the page does not read {name}; it takes {', '.join(SUFFIXES)}")
    megabytes = path.stat().st_size / 2**20
    if megabytes > limits.upload_mb:
        raise ValueError(
            f"the file {name} has {megabytes:.1f} MB, more than the {limits.upload_mb:g} MB "
            "allowed here. Cut it, or use bccd predict, which has no limit"
        )
    width, height, pages = _describe(path)
    if width * height > limits.megapixels * 1e6:
        raise ValueError(
            f"the image {name} has {width} x {height} = {width * height / 1e6:.1f} megapixels, "
            f"more than the {limits.megapixels:g} allowed here. Cut it, or use bccd predict, "
            "which has no limit"
        )
    try:
        return Upload(name, read_image(path), pages)
    except ValueError as error:
        raise ValueError(f"the {error}".replace(str(path), name)) from error


def _describe(path: Path) -> tuple[int, int, int]:
    """Width, height and number of pages by the file's header.

    Raises:
        ValueError: it has no readable header.
    """
    try:
        if path.suffix.lower() in (".tif", ".tiff"):
            with tifffile.TiffFile(path) as tif:
                pages = [page for page in tif.pages if not page.is_reduced]
                return int(pages[0].imagewidth), int(pages[0].imagelength), len(pages)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as picture:
                return *picture.size, 1
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"the image {path.name} has far more pixels than this page takes; use bccd predict"
        ) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(
            f"the file {path.name} is no readable image: its content is damaged or of another kind "
            "than its name says. Copy it again or save it anew as PNG or TIFF"
        ) from error
