"""Which image goes with which mask: folder layouts, pairs by file stem, and what has no partner."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bccd_d2.data.convert.mask_files import MaskError, read_mask_file
from bccd_d2.io.files import is_utf8
from bccd_d2.io.images import SUFFIXES, UNREAD_SUFFIXES
from bccd_d2.io.label_images import ENDINGS, image_stem, label_images_of, plain_stem, same_name
from bccd_d2.io.text import printable

SOURCE_SPLITS = ("train", "test")
ANNOTATIONS = {".txt": "--boxes or --points", ".csv": "--points", ".xml": "--boxes",
               ".json": "--coco, --boxes or --geojson", ".geojson": "--geojson"}  # fmt: skip


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
            "unreadable mask", "unread file", "several pages", "too many cells", "failed" or one of
            `mask_files.MaskError`.
        reason: a sentence that names the remedy.
    """

    file: str
    kind: str
    reason: str


@dataclass(frozen=True)
class Sources:
    """The images and masks of a dataset.

    Attributes:
        pairs: sorted by source and stem.
        skips: what has no partner or cannot be read.
        image_root: what file names are relative to.
        left_out: a sentence for each kind of file that was passed over as no input.
    """

    pairs: Sequence[Pair]
    skips: list[Skip]
    image_root: Path
    left_out: list[str] = field(default_factory=list)


def find_sources(
    root: str | Path | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
) -> Sources:
    """The images and masks of ``root/{train,test}/{original,mask}``, or of one or two folders.

    Files pair by stem; suffixes may differ and their case does not matter, unicode spelling
    (composed or not) neither. A mask's stem may have a usual addition, such as ``_mask`` or
    ``_cp_masks``. Where images and masks lie in one folder, that addition tells them apart, or,
    of two files of one stem, which of them is a mask by its pixels.

    Args:
        root: folder in the dataset's own layout; one of train and test may be absent.
        images: a folder of images, instead of ``root``; all of them count as "train".
        masks: the folder of their masks; None = they lie among the images.

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
            _pair_folders(s, folder / "original", _existing_folder(folder / "mask", "mask folder"))
            for s, folder in folders.items()
        ]
        image_root = root
    elif root is None and images is not None:
        image_root = _existing_folder(images, "images")
        mask_root = image_root if masks is None else _existing_folder(masks, "masks")
        if mask_root.resolve() == image_root.resolve():
            found = [_pair_within("train", image_root)]
        else:
            _check_masks(mask_root)
            found = [_pair_folders("train", image_root, mask_root)]
    else:
        raise ValueError("give either root, or images with or without masks, and nothing else")
    pairs = [pair for some, _, _ in found for pair in some]
    skips = [skip for _, some, _ in found for skip in some]
    left_out = [text for _, _, some in found for text in some]
    if not pairs and not skips:
        raise ValueError(f"{image_root} holds no images ({', '.join(SUFFIXES)})")
    return Sources(pairs, skips, image_root, left_out)


def _existing_folder(path: str | Path, what: str) -> Path:
    folder = Path(path)
    if folder.is_dir():
        return folder
    hint = ""
    if os.sep == "/" and re.match(r"^[A-Za-z]:[\\/]|.*\\", str(path)):
        hint = " This looks like a Windows path: on this system, folders are separated by '/'."
    kind = "is a file, not a folder" if folder.exists() else "does not exist"
    raise FileNotFoundError(f"{what} {path} {kind}.{hint}")


def _check_masks(folder: Path) -> None:
    """Refuse a folder in which no file can be a mask, with what it holds in their place."""
    found = _list_folder(folder, ENDINGS)
    if found.files or found.skips:
        return
    there = "; ".join(f"{count} {kind}" for kind, count in sorted(found.others.items()))
    kinds = {path.suffix.lower() for path in folder.iterdir()}
    options = [option for ending, option in ANNOTATIONS.items() if ending in kinds]
    remedy = f"give annotations with {'; '.join(options)}" if options else "name another"
    wanted = f"{', '.join(ENDINGS)}; found: {there or 'nothing'}"
    raise ValueError(f"masks {folder} holds no mask ({wanted}): {remedy}")


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


_Files = dict[str, list[Path]]  # by stem
_Found = tuple[list[Pair], list[Skip], list[str]]


@dataclass
class _Folder:
    """The files of a folder that may be read, by stem, and what was passed over."""

    files: _Files = field(default_factory=lambda: defaultdict(list))
    skips: list[Skip] = field(default_factory=list)
    others: Counter = field(default_factory=Counter)

    def left_out(self, folder: Path) -> list[str]:
        """A sentence for each kind."""
        return [
            f"{printable(folder)}: {count} {kind}" for kind, count in sorted(self.others.items())
        ]


def _list_folder(folder: Path, endings: Sequence[str]) -> _Folder:
    found = _Folder()
    for path in sorted(folder.iterdir()):
        suffix = path.suffix.lower()
        if path.name.startswith("."):
            found.others["hidden"] += 1
        elif path.is_dir():
            found.others[f"folder that is not searched ({printable(path.name)})"] += 1
        elif suffix not in endings and suffix not in UNREAD_SUFFIXES:
            found.others[f"of another type ({printable(suffix) or 'no suffix'})"] += 1
        else:
            reason = unread(path, endings)
            if reason:
                found.skips.append(Skip(printable(path.as_posix()), "unread file", reason))
            else:
                found.files[same_name(path.stem)].append(path)
    return found


def unread(path: Path, endings: Sequence[str]) -> str:
    """Why a file of an image's name cannot be read, with the remedy; "" where it can."""
    if not is_utf8(path):
        return "its name is no UTF-8, which a dataset's json cannot hold; rename it"
    if path.suffix.lower() not in endings:
        return f"files of this type are not read; save it as one of {', '.join(endings)}"
    if not path.is_file():
        return "it is a link that leads nowhere; mend or remove it"
    return ""


def _pair_folders(source: str, images: Path, masks: Path) -> _Found:
    of_image, of_mask = _list_folder(images, SUFFIXES), _list_folder(masks, ENDINGS)
    strays = [
        stem
        for stem in of_image.files
        if image_stem(stem) in of_image.files and stem not in of_mask.files
    ]
    left_out = [*of_image.left_out(images), *of_mask.left_out(masks)]
    for stem in strays:
        for path in of_image.files.pop(stem):
            left_out.append(f"{printable(path)}: by its name a mask of {image_stem(stem)}")
    pairs, skips = _pair(source, of_image.files, of_mask.files, (images, masks))
    return pairs, [*of_image.skips, *of_mask.skips, *skips], left_out


def _pair_within(source: str, folder: Path) -> _Found:
    """Pairs of one folder: by the masks' names, or by the pixels of two files of one stem."""
    found = _list_folder(folder, ENDINGS)
    images: _Files = {}
    masks: _Files = {}
    plain = {plain_stem(stem) for stem in found.files} | found.files.keys()
    for stem, paths in found.files.items():
        if image_stem(stem) in plain:
            masks[stem] = paths
            continue
        like_masks = [path for path in paths if len(paths) > 1 and _is_mask(path)]
        images[stem] = [path for path in paths if path not in like_masks]
        if like_masks:
            masks[stem] = like_masks
    images = {stem: paths for stem, paths in images.items() if paths}
    if not masks and not found.skips:
        raise ValueError(
            f"{folder} holds no masks among its images, such as NAME_mask.png; name their folder "
            "with --masks"
        )
    pairs, skips = _pair(source, images, masks, (folder, folder))
    return pairs, [*found.skips, *skips], found.left_out(folder)


def _is_mask(path: Path) -> bool:
    try:
        read_mask_file(path)
    except MaskError as error:
        return error.kind != "not binary"
    except (ValueError, OSError):
        return False
    return True


def _pair(
    source: str, of_image: _Files, of_mask: _Files, folders: tuple[Path, Path]
) -> tuple[list[Pair], list[Skip]]:
    owners = {plain_stem(stem): stem for stem in of_image if plain_stem(stem) not in of_image}
    masks: _Files = defaultdict(list)
    for stem, paths in of_mask.items():
        wanted = stem if stem in of_image else image_stem(stem) or stem
        masks[wanted if wanted in of_image else owners.get(wanted, stem)] += paths
    pairs, skips = [], []
    clashing = _clashes(of_image)
    for stem in sorted(of_image.keys() | masks.keys()):
        image, mask = of_image.get(stem, []), label_images_of(masks.get(stem, []))
        both = ", ".join(printable(p.as_posix()) for p in image + mask)
        if len(image) > 1 or len(mask) > 1:
            reason = "several files share a stem, so what belongs together is unclear; keep one"
            skips.append(Skip(both, "same stem", reason))
        elif stem in clashing:
            reason = "another image's name differs in upper and lower case only; rename one"
            skips.append(Skip(both, "same stem", reason))
        elif not mask:
            reason = f"there is no mask of that name in {folders[1]}; add one or remove the image"
            skips.append(Skip(both, "missing mask", reason))
        elif not image:
            reason = f"there is no image of that name in {folders[0]}; add one or remove the mask"
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
