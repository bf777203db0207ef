"""A folder of masks for each class, named after it: ``red/s1.png``, ``white/s1_mask.png``, ...

Masks of two classes may overlap. An image that is missing in a class's folder has no cell of it.
"""

from __future__ import annotations

import functools
from collections import defaultdict
from pathlib import Path

from bccd_d2.data.convert.formats.common import ImageShapes, Shape
from bccd_d2.data.convert.mask_files import read_mask_file
from bccd_d2.data.convert.pairing import Skip, unread
from bccd_d2.io.label_images import ENDINGS, image_stem
from bccd_d2.io.text import printable
from bccd_d2.masks.components import label_cells
from bccd_d2.masks.rle import label_map_to_rles


def read_folders(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """The masks of each image in the folders below ``path``.

    Raises:
        FileNotFoundError: no such folder.
        ValueError: it holds no folders with masks.
    """
    root = Path(path)
    if not root.is_dir():
        raise FileNotFoundError(f"folders {root} is no folder")
    found: dict[str, list[tuple[str, Path]]] = defaultdict(list)
    skips = []
    for folder in sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith(".")):
        for file in sorted(folder.iterdir()):
            if file.is_dir() or file.name.startswith(".") or file.suffix.lower() not in ENDINGS:
                continue
            reason = unread(file, ENDINGS)
            if reason:
                skips.append(Skip(printable(file.as_posix()), "unread file", reason))
            else:
                found[image_stem(file.stem) or file.stem].append((folder.name, file))
    if not found:
        raise ValueError(
            f"{root} holds no folders of masks: make one for each class, such as {root / 'red'}, "
            "with a mask of each image"
        )
    images = [
        ImageShapes(
            stem,
            files[0][1],
            aliases=tuple(file.stem for _, file in files),
            drawn=functools.partial(_shapes, tuple(files)),
        )
        for stem, files in sorted(found.items())
    ]
    return images, skips


def _shapes(files: tuple[tuple[str, Path], ...]) -> list[Shape]:
    """The cells of the masks of one image, each of its folder's class.

    Raises:
        ValueError: a mask is unreadable, or may be meant in several ways.
    """
    shapes = []
    for category, file in files:
        truth = read_mask_file(file)
        label_map = truth.label_map
        if label_map is None:
            label_map = label_cells(truth.foreground).label_map
        shapes += [Shape(category, rle=rle) for rle in label_map_to_rles(label_map)]
    return shapes
