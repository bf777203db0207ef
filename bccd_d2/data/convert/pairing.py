"""Which image goes with which mask: folder layouts, pairs by file stem, and what has no partner."""

from __future__ import annotations

import hashlib
import json
import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccd_d2.io.mask_images import IMAGE_SUFFIXES

SOURCE_SPLITS = ("train", "test")


@dataclass(frozen=True)
class Pair:
    """One image with its mask.

    Attributes:
        stem: the file name without its suffix, as the image spells it.
        source: the folder's split, "train" or "test".
        image: path of the image.
        mask: path of the mask.
    """

    stem: str
    source: str
    image: Path
    mask: Path


@dataclass(frozen=True)
class Skip:
    """A file that was left out.

    Attributes:
        file: its path, or the paths of all files concerned, posix.
        kind: "missing mask", "missing image", "same stem", "size mismatch", "unreadable image",
            "unreadable mask", "not binary", "too many cells" or "failed".
        reason: a sentence that names the remedy.
    """

    file: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Sources:
    """The pairs of a dataset, sorted by source and stem; what has no partner; the image root."""

    pairs: list[Pair]
    skips: list[Skip]
    image_root: Path


def find_sources(
    root: str | Path | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
) -> Sources:
    """The images and masks of ``root/{train,test}/{original,mask}``, or of two plain folders.

    Files pair by stem; suffixes may differ and their case does not matter, unicode spelling
    (composed or not) neither. Hidden files and other file types are passed over.

    Args:
        root: folder in the dataset's own layout; one of train and test may be absent.
        images: a folder of images, instead of ``root``; all of them count as "train".
        masks: the folder of their masks.

    Raises:
        ValueError: neither or both ways of naming the folders, or no file in them.
        FileNotFoundError: a folder is missing; the message says what is there instead.
    """
    if root is not None and images is None and masks is None:
        root = _existing_folder(root, "root")
        folders = {s: root / s for s in SOURCE_SPLITS if (root / s / "original").is_dir()}
        if not folders:
            raise FileNotFoundError(_no_layout(root))
        found = [
            _pair(split, folder / "original", _existing_folder(folder / "mask", "mask folder"))
            for split, folder in folders.items()
        ]
        image_root = root
    elif root is None and images is not None and masks is not None:
        image_root = _existing_folder(images, "images")
        found = [_pair("train", image_root, _existing_folder(masks, "masks"))]
    else:
        raise ValueError("give either root, or both images and masks, and nothing else")
    pairs = [pair for some, _ in found for pair in some]
    skips = [skip for _, some in found for skip in some]
    if not pairs and not skips:
        raise ValueError(f"{image_root} holds no images ({', '.join(IMAGE_SUFFIXES)})")
    return Sources(pairs, skips, image_root)


def _existing_folder(path: str | Path, what: str) -> Path:
    folder = Path(path)
    if folder.is_dir():
        return folder
    hint = ""
    if os.sep == "/" and re.match(r"^[A-Za-z]:[\\/]|.*\\", str(path)):
        hint = " This looks like a Windows path: on this system, folders are separated by '/'."
    kind = "is a file, not a folder" if folder.exists() else "does not exist"
    raise FileNotFoundError(f"{what} {path} {kind}.{hint}")


def _no_layout(root: Path) -> str:
    inside = sorted(p.name for p in root.iterdir())
    nested = [
        name
        for name in inside
        if any((root / name / split / "original").is_dir() for split in SOURCE_SPLITS)
    ]
    advice = "or name the folders with --images and --masks"
    if nested:
        advice = f"did you mean {root / nested[0]}?"
    return (
        f"root {root} holds neither train/original nor test/original (found: "
        f"{', '.join(inside[:8]) or 'nothing'}); {advice}"
    )


def _by_stem(folder: Path) -> dict[str, list[Path]]:
    files: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        hidden = path.name.startswith(".")
        if not hidden and path.suffix.lower() in IMAGE_SUFFIXES and path.is_file():
            files[unicodedata.normalize("NFC", path.stem)].append(path)
    return files


def _pair(source: str, images: Path, masks: Path) -> tuple[list[Pair], list[Skip]]:
    of_image, of_mask = _by_stem(images), _by_stem(masks)
    pairs, skips = [], []
    clashing = _clashes(of_image)
    for stem in sorted(of_image.keys() | of_mask.keys()):
        image, mask = of_image.get(stem, []), of_mask.get(stem, [])
        both = ", ".join(p.as_posix() for p in image + mask)
        if len(image) > 1 or len(mask) > 1:
            reason = "several files share a stem, so what belongs together is unclear; keep one"
            skips.append(Skip(both, "same stem", reason))
        elif stem in clashing:
            reason = "another image's name differs in upper and lower case only; rename one"
            skips.append(Skip(both, "same stem", reason))
        elif not mask:
            reason = f"there is no mask of that name in {masks}; add one or remove the image"
            skips.append(Skip(both, "missing mask", reason))
        elif not image:
            reason = f"there is no image of that name in {images}; add one or remove the mask"
            skips.append(Skip(both, "missing image", reason))
        else:
            pairs.append(Pair(image[0].stem, source, image[0], mask[0]))
    return pairs, skips


def _clashes(stems: Iterable[str]) -> set[str]:
    """Stems that a file system without upper and lower case could not hold side by side."""
    groups = defaultdict(list)
    for stem in stems:
        groups[stem.casefold()].append(stem)
    return {stem for group in groups.values() if len(group) > 1 for stem in group}


def relative_posix(path: str | Path, start: str | Path) -> str:
    """``path`` as seen from ``start`` with '/' on every system; absolute on another drive."""
    try:
        relative = os.path.relpath(path, start)
    except ValueError:
        relative = os.path.abspath(path)
    return relative.replace(os.sep, "/")


def fingerprint(sources: Sources, options: Mapping[str, Any]) -> str:
    """Hash of the options and of all files' names, sizes and times: the same means unchanged."""
    digest = hashlib.sha256(json.dumps(options, sort_keys=True).encode())
    for pair in sources.pairs:
        for path in (pair.image, pair.mask):
            state = path.stat()
            name = relative_posix(path, sources.image_root)
            digest.update(f"{name}|{state.st_size}|{state.st_mtime_ns}\n".encode(errors="surrogateescape"))
    for skip in sources.skips:
        name = f"{skip.kind}|{Path(skip.file).name}\n"
        digest.update(name.encode(errors="surrogateescape"))
    return digest.hexdigest()
