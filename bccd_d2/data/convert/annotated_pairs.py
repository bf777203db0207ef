"""Which image goes with which annotations of any format: what `pairing` is for binary masks."""

from __future__ import annotations

import dataclasses
import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccd_d2.data.convert.formats.common import ImageShapes, Shape, dataset_kind
from bccd_d2.data.convert.formats.detect import READERS, read_annotations
from bccd_d2.data.convert.formats.files import split_of
from bccd_d2.data.convert.matching import ImageIndex
from bccd_d2.data.convert.pairing import Pair, Skip, Sources
from bccd_d2.data.convert.split_lists import SplitLists, read_split_lists

MERGED = "images whose annotations lie in several files"


@dataclass(frozen=True)
class AnnotationSource:
    """Where annotations lie and what is known about them.

    Attributes:
        option: "coco", "boxes", "points", "geojson" or "seg".
        path: file or folder.
        splits: a list of names for each split, see `split_lists`; None takes what annotations or
            folders say, else training images from which validation is drawn.
        classes: a file of class names, for YOLO and points.
        partial: only some of the cells are annotated, so what is not says nothing.
        ignore: categories that are neither cell nor background, such as platelets where red and
            white cells are meant.
    """

    option: str
    path: str | Path
    splits: str | Path | None = None
    classes: str | Path | None = None
    partial: bool = False
    ignore: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """What decides the result, as dataset.json holds it; no folder of this machine."""
        texts = {"splits": _digest(self.splits), "classes": _digest(self.classes)}
        names = {"annotations": self.option, "ignore": list(self.ignore)}
        return names | {"partial": self.partial, **texts}


def _digest(path: str | Path | None) -> str | None:
    """A hash of the content of a file, or of a folder's text files; None for None."""
    if path is None:
        return None
    folder = Path(path)
    files = sorted(folder.rglob("*.txt")) if folder.is_dir() else [folder]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.name.encode() + (file.read_bytes() if file.is_file() else b""))
    return digest.hexdigest()[:16]


def source_of(arguments: dict[str, Any]) -> AnnotationSource | None:
    """The source that a command line names; what says so is taken out of ``arguments``.

    Args:
        arguments: by name; of `READERS` at most one may be set.

    Raises:
        ValueError: several ways of naming annotations, or options without any.
    """
    given = {option: arguments.pop(option, None) for option in READERS}
    paths = {option: path for option, path in given.items() if path is not None}
    names = ("splits", "classes", "partial", "ignore")
    extra = {name: arguments.pop(name, None) for name in names}
    if len(paths) > 1:
        raise ValueError(f"give one of --{', --'.join(paths)}, not several")
    if not paths:
        unused = [f"--{name}" for name, value in extra.items() if value]
        if unused:
            choices = ", ".join(f"--{option}" for option in READERS)
            raise ValueError(f"{', '.join(unused)} goes with one of {choices}")
        return None
    ((option, path),) = paths.items()
    extra["ignore"] = tuple(name.strip() for name in (extra["ignore"] or "").split(",") if name)
    return AnnotationSource(option, path, **extra | {"partial": bool(extra["partial"])})


@dataclass(frozen=True)
class AnnotatedPair(Pair):
    """An image with what annotation files say about it; ``mask`` is the first of those files.

    Attributes:
        shapes: the annotations.
        kind: of the whole dataset.
    """

    shapes: ImageShapes | None = None
    kind: str = "masks"


def find_annotated(images: str | Path, source: AnnotationSource) -> Sources:
    """The images of a folder, and below, with their annotations; what has no partner.

    Raises:
        FileNotFoundError: a folder or file is missing.
        ValueError: an annotation file that serves all images is broken, kinds that do not go
            together, or no image has annotations.
    """
    root = Path(images)
    if not root.is_dir():
        raise FileNotFoundError(f"images {root} is no folder")
    if source.option not in READERS:
        raise ValueError(f"annotations must be one of {READERS}, got {source.option!r}")
    read, skips = read_annotations(source.option, source.path, source.classes)
    read = _with_ignored(read, source)
    if source.option == "labels" and root.resolve() == Path(source.path).resolve():
        read = _beside_their_images(read, root)
    index = ImageIndex(root)
    if not index.files:
        raise ValueError(f"images {root} holds no image")
    lists = read_split_lists(source.splits) if source.splits is not None else None
    matched, more = _match(read, index)
    skips = skips + more
    kind = dataset_kind(list(matched.values()))
    pairs = []
    for file, shapes in sorted(matched.items()):
        split = _split(file, shapes, index, lists)
        if split is None:
            reason = f"none of the lists of {source.splits} names it; add it to one or remove it"
            skips.append(Skip(file.as_posix(), "no split", reason))
            continue
        stem = index.stem(file)
        pairs.append(AnnotatedPair(stem, split, file, shapes.file, shapes, kind))
    skips += _without_annotations(index, matched, source)
    if lists is not None:
        skips += lists.unknown([index.stem(file) for file in matched])
    pairs, clashes = _without_clashes(pairs)
    if not pairs:
        first = "".join(f"\n  [{s.kind}] {s.file}: {s.reason}" for s in skips[:5])
        raise ValueError(f"no image of {root} has annotations in {source.path}:{first}")
    return Sources(pairs, skips + clashes, root)


def _beside_their_images(read: list[ImageShapes], root: Path) -> list[ImageShapes]:
    """Label images out of a folder that holds the images too: those with a suffix."""
    chosen = [shapes for shapes in read if shapes.aliases != (shapes.name,)]
    if not chosen:
        raise ValueError(
            f"{root} holds images and label images, and no name tells them apart; name label "
            f"images as x_cp_masks.tif or x_labels.png, or put them into a folder of their own"
        )
    return chosen


def _with_ignored(read: list[ImageShapes], source: AnnotationSource) -> list[ImageShapes]:
    """The same with the categories that the source ignores marked as such."""
    known = {shape.category for image in read for shape in image.shapes}
    unknown = [name for name in source.ignore if name not in known]
    if unknown:
        raise ValueError(
            f"--ignore {','.join(unknown)}: no such category in {source.path}; it has "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    if not source.ignore:
        return read

    def marked(shape: Shape) -> Shape:
        return dataclasses.replace(
            shape, ignored=shape.ignored or shape.category in source.ignore
        )

    return [
        dataclasses.replace(image, shapes=tuple(map(marked, image.shapes))) for image in read
    ]


def _match(
    read: Sequence[ImageShapes], index: ImageIndex
) -> tuple[dict[Path, ImageShapes], list[Skip]]:
    """Annotations by image file, and those of no image, of a tie, or unreadable."""
    found: dict[Path, list[ImageShapes]] = defaultdict(list)
    skips = []
    for shapes in read:
        files = index.find((shapes.name, *shapes.aliases))
        if len(files) == 1:
            found[files[0]].append(shapes)
        elif files:
            reason = f"{shapes.name} could be any of {', '.join(map(str, files[:3]))}; keep one"
            skips.append(Skip(shapes.file.as_posix(), "same stem", reason))
        else:
            reason = f"there is no image {shapes.name} in {index.root}; add it or remove the entry"
            skips.append(Skip(shapes.file.as_posix(), "missing image", reason))
    matched = {}
    for file, parts in found.items():
        try:
            matched[file] = _merged(parts)
        except ValueError as error:
            skips.append(Skip(file.as_posix(), "unreadable annotations", str(error)))
    return matched, skips


def _merged(parts: Sequence[ImageShapes]) -> ImageShapes:
    """The annotations of one image that lie in several files, as one."""
    errors = [part.error for part in parts if part.error is not None]
    if errors:
        raise ValueError("; ".join(errors))
    if len(parts) == 1:
        return parts[0]
    files = ", ".join(sorted({str(part.file) for part in parts}))
    if any(part.labels is not None for part in parts):
        raise ValueError(f"several label images: {files}; keep one")
    if len({part.relative for part in parts}) > 1:
        raise ValueError(f"{files} are of several formats; convert them one by one")
    sizes = {part.image_size for part in parts if part.image_size is not None}
    if len(sizes) > 1:
        raise ValueError(f"{files} state several sizes of the image; export them again")
    notes = sum((part.notes for part in parts), Counter({MERGED: 1}))
    return dataclasses.replace(
        parts[0],
        shapes=tuple(shape for part in parts for shape in part.shapes),
        image_size=next(iter(sizes), None),
        split=next((part.split for part in parts if part.split), None),
        notes=notes,
    )


def _split(
    file: Path, shapes: ImageShapes, index: ImageIndex, lists: SplitLists | None
) -> str | None:
    """The split that lists, annotations or the image's folder say; "train" where none does."""
    if lists is not None:
        return lists.split_of(index.stem(file))
    inside = file.relative_to(index.root)
    return shapes.split or split_of(inside.parent) or "train"


def _without_annotations(
    index: ImageIndex, matched: dict[Path, ImageShapes], source: AnnotationSource
) -> list[Skip]:
    reason = (
        f"there are no annotations of it in {source.path}; add them (an empty list or file says "
        f"that it has no cells) or remove the image"
    )
    return [
        Skip(file.as_posix(), "missing annotations", reason)
        for file in index.files
        if file not in matched
    ]


def _without_clashes(pairs: Sequence[AnnotatedPair]) -> tuple[list[AnnotatedPair], list[Skip]]:
    """Pairs whose label maps get names of their own, on file systems without case too."""
    groups = defaultdict(list)
    for pair in pairs:
        groups[pair.stem.casefold()].append(pair)
    skips = [
        Skip(
            ", ".join(pair.image.as_posix() for pair in group), "same stem",
            "several images share a name but for its ending or case; rename all but one",
        )
        for group in groups.values()
        if len(group) > 1
    ]
    return [group[0] for group in groups.values() if len(group) == 1], skips
