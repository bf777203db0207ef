"""Which image goes with which annotations of any format: what `pairing` is for binary masks."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bccd_d2.data.convert.formats.common import ImageShapes, Shape, dataset_kind
from bccd_d2.data.convert.formats.detect import READERS, read_annotations
from bccd_d2.data.convert.formats.files import split_of
from bccd_d2.data.convert.formats.yolo import class_names
from bccd_d2.data.convert.matching import ImageIndex
from bccd_d2.data.convert.pairing import Pair, Skip, Sources
from bccd_d2.data.convert.split_lists import digest

MERGED = "images whose annotations lie in several files"


@dataclass(frozen=True)
class AnnotationSource:
    """Where annotations lie and what is known about them.

    Attributes:
        option: "coco", "boxes", "points", "geojson", "seg" or "folders".
        path: file or folder.
        classes: a file of class names, for YOLO and points.
        partial: only some of the cells are annotated, so what is not says nothing.
        ignore: categories that are neither cell nor background, such as platelets where red and
            white cells are meant.
    """

    option: str
    path: str | Path
    classes: str | Path | None = None
    partial: bool = False
    ignore: tuple[str, ...] = ()

    def recorded(self) -> dict[str, Any]:
        """What decides the result, as dataset.json holds it; no folder of this machine."""
        return {
            "annotations": self.option,
            "classes": digest(self.classes),
            "partial": self.partial,
            "ignore": list(self.ignore),
        }


def source_of(arguments: dict[str, Any]) -> AnnotationSource | None:
    """The source that a command line names; what says so is taken out of ``arguments``.

    Args:
        arguments: by name; of `READERS` at most one may be set.

    Raises:
        ValueError: several ways of naming annotations, or options without any.
    """
    given = {option: arguments.pop(option, None) for option in READERS}
    paths = {option: path for option, path in given.items() if path is not None}
    names = ("classes", "partial", "ignore")
    if len(paths) > 1:
        raise ValueError(f"give one of --{', --'.join(paths)}, not several")
    if not paths:  # the classes are then those of masks
        unused = [f"--{name}" for name in names[1:] if arguments.pop(name, None)]
        if unused:
            choices = ", ".join(f"--{option}" for option in READERS)
            raise ValueError(f"{', '.join(unused)} goes with one of {choices}")
        return None
    ((option, path),) = paths.items()
    extra = {name: arguments.pop(name, None) for name in names}
    extra["ignore"] = tuple(name.strip() for name in (extra["ignore"] or "").split(",") if name)
    return AnnotationSource(option, path, **extra | {"partial": bool(extra["partial"])})


@dataclass(frozen=True)
class AnnotatedPair(Pair):
    """An image with what annotation files say about it; ``mask`` is the first of those files.

    Attributes:
        shapes: the annotations.
        kind: of the whole dataset.
    """

    shapes: ImageShapes = field(kw_only=True)
    kind: str = field(default="masks", kw_only=True)


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
    index = ImageIndex(root)
    if not index.files:
        raise ValueError(f"images {root} holds no image")
    matched, more = _match(read, index)
    skips = skips + more + index.skips
    kind = dataset_kind(list(matched.values()))
    pairs = []
    for file, shapes in sorted(matched.items()):
        split = shapes.split or split_of(file.relative_to(root).parent) or "train"
        named = index.stem(file), split, file, shapes.file
        pairs.append(AnnotatedPair(*named, shapes=shapes, kind=kind))
    skips += _without_annotations(index, matched, source)
    pairs, clashes = _without_clashes(pairs)
    if not pairs:
        first = "".join(f"\n  [{s.kind}] {s.file}: {s.reason}" for s in skips[:5])
        raise ValueError(f"no image of {root} has annotations in {source.path}:{first}")
    return Sources(pairs, skips + clashes, root)


def _with_ignored(read: list[ImageShapes], source: AnnotationSource) -> list[ImageShapes]:
    """The same with the categories that the source ignores marked as such.

    One that the file of names has but no box of these images is ignored as well as any.
    """
    known = {shape.category for image in read for shape in image.shapes}
    named = class_names(Path(source.path), source.classes) if source.option == "boxes" else {}
    unknown = [name for name in source.ignore if name not in known | set(named.values())]
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
