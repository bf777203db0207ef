"""Label images that other tools, or this one, wrote: one value a cell; TIFF, PNG or NPY."""

from __future__ import annotations

import functools
from pathlib import Path

from bccd_d2.data.convert.formats.common import ImageShapes
from bccd_d2.data.convert.formats.files import files_of, split_of
from bccd_d2.data.convert.pairing import Skip
from bccd_d2.io.label_images import ENDINGS, SUFFIXES, read_label_file


def read_labels(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """The cells of a label image, or of each of a folder, for the image of its name.

    ``x_cp_masks.tif`` belongs to the image x, see `bccd_d2.io.label_images.SUFFIXES`. Pixels are
    read when their image's turn comes.

    Raises:
        FileNotFoundError: no such file.
    """
    several = Path(path).is_dir()
    images = []
    for file in files_of(path, *ENDINGS):
        if file.name.endswith("_seg.npy"):
            continue
        split = split_of(file.relative_to(path)) if several else None
        read = functools.partial(read_label_file, file)
        images.append(
            ImageShapes(file.stem, file, aliases=(image_stem(file.stem),), split=split, labels=read)
        )
    return images, []


def image_stem(stem: str) -> str:
    """The stem of the image that a label image of this stem belongs to."""
    endings = sorted((s for s in SUFFIXES if s), key=len, reverse=True)
    found = next((s for s in endings if stem.endswith(s) and len(stem) > len(s)), "")
    return stem[: len(stem) - len(found)]
