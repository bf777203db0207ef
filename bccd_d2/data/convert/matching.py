"""Which image file an annotation means: folders, endings and prefixes that tools add or drop."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

from bccd_d2.data.convert.pairing import Skip, unread
from bccd_d2.io.images import SUFFIXES as IMAGE_SUFFIXES
from bccd_d2.io.images import UNREAD_SUFFIXES
from bccd_d2.io.label_images import image_stem
from bccd_d2.io.text import printable

NO_IMAGES = ("mask", "masks", "label", "labels", "annotations", "ground_truth")
LABEL_STUDIO = re.compile(r"^[0-9a-f]{8}-(.+)$")
ROBOFLOW = re.compile(r"^(.+)_(jpg|jpeg|png|bmp|tif|tiff|webp)\.rf\.[0-9A-Za-z]+$", re.IGNORECASE)


class ImageIndex:
    """The image files of a folder and the folders below it, found by what annotations call them.

    Hidden files, folders of masks, converted datasets and label images beside their image are no
    images.

    Args:
        root: the folder.

    Attributes:
        files: the images, sorted.
        skips: files that seem to be images, and why they cannot be read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: list[Path] = []
        self.skips: list[Skip] = []
        for file in sorted(_images(root)):
            reason = unread(file, IMAGE_SUFFIXES)
            if reason:
                self.skips.append(Skip(printable(file.as_posix()), "unread file", reason))
            else:
                self.files.append(file)
        self._places: dict[str, list[Path]] = defaultdict(list)
        for file in self.files:
            inside = _key(file.relative_to(root).as_posix())
            for name in {inside, _key(file.name), _stem(inside), _stem(_key(file.name))}:
                self._places[name].append(file)

    def find(self, names: Sequence[str]) -> list[Path]:
        """The images that the first of the names means that means any; several are a tie.

        A longer part of the path goes before a shorter one, the whole name before its stem, the
        name as it is before one without the prefix of Label Studio or the ending of Roboflow.
        """
        for name in names:
            for spelling in _spellings(name):
                found = self._places.get(spelling)
                if found:
                    return found
        return []

    def stem(self, file: Path) -> str:
        """The file's path from the root without its ending: its name in a converted dataset."""
        return file.relative_to(self.root).with_suffix("").as_posix()


def _key(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _stem(name: str) -> str:
    """The name without an image's ending; other dots stay."""
    ending = next((e for e in IMAGE_SUFFIXES if name.endswith(e)), "")
    return name[: len(name) - len(ending)]


def _spellings(name: str) -> Iterator[str]:
    parts = [part for part in _key(name).split("/") if part not in ("", ".", "..")]
    if not parts:
        return
    swapped = ["images" if part == "labels" else part for part in parts[:-1]] + parts[-1:]
    for start in range(len(parts)):
        for path in (parts, swapped):
            tail = "/".join(path[start:])
            yield tail
            yield _stem(tail)
    last = _stem(parts[-1])
    for pattern in (LABEL_STUDIO, ROBOFLOW):
        plain = pattern.match(last)
        if plain:
            yield plain[1]


def _images(root: Path) -> Iterator[Path]:
    for file in root.rglob("*"):
        inside = file.relative_to(root)
        hidden = any(part.startswith(".") for part in inside.parts)
        named = file.suffix.lower() in (*IMAGE_SUFFIXES, *UNREAD_SUFFIXES)
        if hidden or not named or file.is_dir():
            continue
        if any(part.lower() in NO_IMAGES for part in inside.parts[:-1]):
            continue
        if any((root / folder / "dataset.json").is_file() for folder in inside.parents[:-1]):
            continue
        if not _is_label_image(file):
            yield file


def _is_label_image(file: Path) -> bool:
    """Whether it is named as the label image or mask of another file beside it."""
    plain = image_stem(file.stem)
    return bool(plain) and any(
        (file.parent / f"{plain}{ending}").is_file() for ending in IMAGE_SUFFIXES
    )
