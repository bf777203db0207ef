"""Convert folders of images and masks to COCO json, label PNGs, a description and an audit."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.metadata
import json
import operator
import os
import platform
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert import audit as auditing
from bccd_d2.data.convert import write as coco_files
from bccd_d2.data.convert.annotated import category_names
from bccd_d2.data.convert.annotated_pairs import AnnotationSource, find_annotated
from bccd_d2.data.convert.assign import assign_splits, split_indices
from bccd_d2.data.convert.image import LabelOptions
from bccd_d2.data.convert.options import ConvertOptions
from bccd_d2.data.convert.pairing import (
    Pair,
    Skip,
    Sources,
    find_sources,
    fingerprint,
    relative_posix,
)
from bccd_d2.data.convert.record import ImageRecord
from bccd_d2.data.convert.split_lists import with_split_lists
from bccd_d2.data.convert.types import TypeSource, with_types
from bccd_d2.data.convert.workers import convert_pairs
from bccd_d2.io.atomic import write_json_atomic, write_text_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.value_range import summarise_ranges

FORMAT_VERSION = 1
PACKAGES = ("bccd_d2", "numpy", "opencv-python-headless", "Pillow", "pycocotools", "scipy")

__all__ = ["AnnotationSource", "ConversionReport", "ConvertOptions", "convert", "is_current"]


@dataclass(frozen=True)
class ConversionReport:
    """What a conversion wrote and left out.

    Attributes:
        out: the converted dataset.
        counts: split -> {"images", "cells", "max_cells"}, folds included.
        skips: files left out, with reasons.
        audit: the content of audit.json.
        text: the same for people, the content of audit.txt.
        files: "dataset", "audit", "audit_text" and each split -> path.
    """

    out: Path
    counts: dict[str, dict[str, int]]
    skips: list[Skip]
    audit: dict[str, Any] = field(repr=False)
    text: str = field(repr=False)
    files: dict[str, Path] = field(repr=False)


def convert(
    root: str | Path | None = None,
    out: str | Path = "datasets/bccd",
    options: ConvertOptions | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    progress: bool = False,
    annotations: AnnotationSource | None = None,
    types: TypeSource | None = None,
) -> ConversionReport:
    """Convert ``root/{train,test}/{original,mask}``, or ``images`` with ``masks``, into ``out``.

    Everything is written aside and renamed into place at the end; an earlier conversion in ``out``
    is replaced as a whole. Unusable files are skipped and listed. Worker processes are spawned, so
    a script that calls this needs the usual ``if __name__ == "__main__"``.

    Args:
        root: a folder in the dataset's own layout.
        out: the folder to fill.
        options: defaults as in `ConvertOptions`.
        images, masks: a folder of images, instead of ``root``, and of their masks.
        progress: show a progress bar where the terminal can.
        annotations: instead of masks: label images, COCO, boxes, points, GeoJSON or ``_seg.npy``.
        types: typed boxes or points that say what the cells of the masks are.

    Raises:
        FileNotFoundError: a folder is missing.
        ValueError: no usable pair; options that do not go together; something was skipped and the
            options are strict; ``out`` holds something else.
        OSError: ``out`` cannot be written, or another conversion into it is under way.
    """
    options = options or ConvertOptions()
    sources = _limited(_find(root, images, masks, annotations, options), options)
    _check_test(sources, options)
    recorded = _recorded(options, annotations, types)
    mark = fingerprint(sources, recorded)
    sources, out = with_types(sources, types), Path(out)
    with _work_folder(out) as work:
        records, skips = convert_pairs(sources.pairs, options, work, options.workers, progress)
        records, skips = _settle_kinds(records, skips, options, work, sources.pairs)
        skips = sorted(sources.skips + skips, key=lambda skip: (skip.kind, skip.file))
        if options.strict and skips:
            raise ValueError(f"strict, and {_skip_list(skips)}. Nothing was written.")
        if not records:
            what = "mask" if annotations is None else "annotations"
            raise ValueError(f"no usable pair of image and {what}: {_skip_list(skips)}")
        report = _Conversion(work, out, records, skips, sources, options, recorded).write(mark)
        coco_files.publish(work, out)
    return report


def _settle_kinds(
    records: list[ImageRecord],
    skips: list[Skip],
    options: LabelOptions,
    work: Path,
    pairs: Sequence[Pair],
) -> tuple[list[ImageRecord], list[Skip]]:
    """Read masks of a single value anew where the rest of their folder are label images.

    One cell in a label image looks like a binary mask; read as one, its specks would be lost.
    """
    folders = Counter(r.pair.mask.parent for r in records if r.reading != "binary")
    unclear = {
        place: record
        for place, record in enumerate(records)
        if record.reading == "binary" and record.mask_pixels and folders[record.pair.mask.parent]
    }
    if options.mask_kind != "auto" or options.classes is not None or not unclear:
        return records, skips
    again = dataclasses.replace(options, single=True)
    wanted = {(record.pair.source, record.pair.stem) for record in unclear.values()}
    given = [pair for pair in pairs if (pair.source, pair.stem) in wanted]
    found, more = convert_pairs(given, again, work, 1)
    settled = {record.pair: record for record in found}
    kept = [
        settled.get(record.pair) if place in unclear else record
        for place, record in enumerate(records)
    ]
    return [record for record in kept if record is not None], [*skips, *more]


def is_current(
    out: str | Path,
    root: str | Path | None = None,
    options: ConvertOptions | None = None,
    images: str | Path | None = None,
    masks: str | Path | None = None,
    annotations: AnnotationSource | None = None,
    types: TypeSource | None = None,
) -> bool:
    """Whether ``out`` is the result of these options on these very files (names, sizes, times)."""
    path = Path(out) / coco_files.DESCRIPTION
    try:
        description = json.loads(path.read_text("utf-8"))
        files = [Path(out) / split["json"] for split in description["splits"].values()]
        found = description["fingerprint"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    options = ConvertOptions() if options is None else options
    sources = _limited(_find(root, images, masks, annotations, options), options)
    wanted = fingerprint(sources, _recorded(options, annotations, types))
    return found == wanted and all(file.is_file() for file in files)


def _find(
    root: str | Path | None,
    images: str | Path | None,
    masks: str | Path | None,
    annotations: AnnotationSource | None,
    options: ConvertOptions,
) -> Sources:
    if options.splits is not None and root is not None:
        raise ValueError("splits goes with images; root has a folder for each split")
    if annotations is None:
        sources = find_sources(root, images, masks)
    elif images is None or root is not None or masks is not None:
        raise ValueError("annotations go with images, and neither with root nor with masks")
    else:
        options.check_without_masks()
        sources = find_annotated(images, annotations)
    return sources if options.splits is None else with_split_lists(sources, options.splits)


def _recorded(
    options: ConvertOptions, annotations: AnnotationSource | None, types: TypeSource | None
) -> dict[str, Any]:
    if types is not None and (annotations is not None or options.classes is not None):
        raise ValueError("types are joined to masks that have none; leave --types out")
    more = [source.recorded() for source in (annotations, types) if source is not None]
    return functools.reduce(operator.or_, more, options.recorded())


def _limited(sources: Sources, options: ConvertOptions) -> Sources:
    """At most ``max_images`` pairs of each folder; files without a partner stay listed."""
    if options.max_images is None:
        return sources
    kept = []
    for source in ("train", "val", "test"):
        pairs = [pair for pair in sources.pairs if pair.source == source]
        order = np.random.default_rng(options.seed).permutation(len(pairs))
        kept += [pairs[i] for i in sorted(order[: options.max_images].tolist())]
    return dataclasses.replace(sources, pairs=kept)


def _check_test(sources: Sources, options: ConvertOptions) -> None:
    if options.test_fraction and any(pair.source == "test" for pair in sources.pairs):
        raise ValueError(
            f"test_fraction is {options.test_fraction}, but {sources.image_root} has a test "
            f"folder or list, which stays the test split; leave the option out"
        )


def _skip_list(skips: Sequence[Skip], most: int = 10) -> str:
    lines = [f"\n  [{skip.kind}] {skip.file}: {skip.reason}" for skip in skips[:most]]
    more = f"\n  ... and {len(skips) - most} more" if len(skips) > most else ""
    return f"{len(skips)} problem(s) were found:" + "".join(lines) + more


@contextlib.contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A folder inside ``out`` to write in; gone afterwards, as is an ``out`` that stayed empty."""
    coco_files.check_replaceable(out)
    with hold_folder(out, "conversion"):
        coco_files.remove_leftovers(out)
        work = Path(tempfile.mkdtemp(dir=out, prefix=coco_files.WORK_PREFIX))
        try:
            yield work
        finally:
            shutil.rmtree(work, ignore_errors=True)


# -- what is written --------------------------------------------------------------------------


@dataclass(frozen=True)
class _Conversion:
    """The converted images of one run, on their way into files."""

    work: Path
    out: Path
    records: list[ImageRecord]
    skips: list[Skip]
    sources: Sources
    options: ConvertOptions
    recorded: dict[str, Any]

    def write(self, mark: str) -> ConversionReport:
        """Write json, description and audit into the work folder."""
        assigned = assign_splits(self.records, self.options)
        chosen = split_indices(self.records, assigned, self.options)
        categories = category_names(self.records)
        root = self.sources.image_root
        names = {
            split: coco_files.write_split(
                self.work, split, self.records, indices, root, assigned, categories
            )
            for split, indices in chosen.items()
        }
        shutil.rmtree(self.work / "parts", ignore_errors=True)
        audit = auditing.build_audit(self.records, assigned, self.skips, self.sources.image_root)
        audit["findings"]["left_out"] = self.sources.left_out
        text = auditing.format_audit(audit)
        counts = {split: self._counts(indices) for split, indices in chosen.items()}
        write_json_atomic(self.work / "audit.json", audit, indent=1)
        write_text_atomic(self.work / "audit.txt", text)
        description = self._description(names, counts, audit["summary"], mark)
        write_json_atomic(self.work / coco_files.DESCRIPTION, description, indent=1)
        files = {split: self.out / name for split, name in names.items()}
        files["dataset"] = self.out / coco_files.DESCRIPTION
        files["audit"], files["audit_text"] = self.out / "audit.json", self.out / "audit.txt"
        return ConversionReport(self.out, counts, self.skips, audit, text, files)

    def _counts(self, indices: Sequence[int]) -> dict[str, int]:
        cells = [self.records[i].cells for i in indices]
        return {"images": len(cells), "cells": sum(cells), "max_cells": max(cells, default=0)}

    def _description(
        self, names: dict[str, str], counts: dict[str, Any], summary: dict[str, Any], mark: str
    ) -> dict[str, Any]:
        measured = summary.get("train", summary["all"])
        return {
            "format_version": FORMAT_VERSION,
            "name": Path(os.path.abspath(self.sources.image_root)).name,
            "image_root": relative_posix(self.sources.image_root, self.out),
            "annotations": self.records[0].kind,
            "complete": not self.recorded.get("partial", False),
            "categories": category_names(self.records),
            "options": self.recorded,
            "fingerprint": mark,
            "counts": counts,
            "skipped": len(self.skips),
            "left_out": self.sources.left_out,
            "value_ranges": summarise_ranges(record.value_range for record in self.records),
            "masks_read_as": dict(Counter(record.reading for record in self.records)),
            "splits": {split: {"json": name} for split, name in names.items()},
            "statistics": {
                "split": "train" if "train" in summary else "all",
                "pixel_mean_rgb": measured["pixel_mean_rgb"],
                "pixel_std_rgb": measured["pixel_std_rgb"],
                "cell_area_percentiles": measured["cell_area"],
                "cell_width_percentiles": measured["cell_width"],
                "cell_height_percentiles": measured["cell_height"],
                "cells_per_image": measured["cells_per_image"],
            },
            "versions": _versions(),
        }


def _versions() -> dict[str, str]:
    """Versions of what shaped the result; packages not installed by that name are absent."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
