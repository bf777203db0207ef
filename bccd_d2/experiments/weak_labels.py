"""A converted dataset of boxes or points, and a model, to one of masks that a model learns from.

Labels are made by `training.pseudo_masks`. What was finished when a run was stopped is kept: the
same command goes on from there. The old dataset in a folder gives way to the new one as a whole.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bccd_d2.data.convert.pairing import Skip, relative_posix
from bccd_d2.data.convert.write import CELL, check_replaceable, publish
from bccd_d2.data.ignored import IGNORED
from bccd_d2.data.instances import boxes_of
from bccd_d2.data.weak_dataset import boxed_annotations, weak_annotations, write_weak_dataset
from bccd_d2.data.weak_labels import BoxOptions, WeakLabels
from bccd_d2.inference.diameter import estimate_diameter
from bccd_d2.io.atomic import write_json_atomic, write_png_atomic, write_text_atomic
from bccd_d2.io.dataset_file import image_root, max_value, read_description, split_json
from bccd_d2.io.images import read_image
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.records import confined, read_json
from bccd_d2.io.text import printable
from bccd_d2.masks.coco import CocoImage, read_coco
from bccd_d2.training.pseudo_masks import masks_from_boxes, masks_from_points

WORK = ".weak-"  # begins the folder of a run that is not finished
WHITE = re.compile(r"wbc|white|leu[ck]o|(neutro|eosino|baso)phil|lymphocyt|monocyt|blast", re.I)
BACKGROUND = re.compile(r"platelet|thrombo|artefact|artifact|debris", re.I)
_PART = {"image": dict, "annotations": [dict], "drawn": int, "missed": int, "ignored": float}


@dataclass(frozen=True)
class WeakOptions:
    """What weak labels are made of.

    Attributes:
        splits: of the dataset, for training only: nothing is to be scored on these labels.
        white: categories of white cells, which get ellipses where no outline fits and say nothing
            of the size of the cells; None = those whose names say so.
        background: categories that are no cells, such as platelets; None likewise.
        limit: at most so many images of each split, the first ones; 0 = all.
        keep_boxes: the dataset stays one of boxes, all of them, and its label maps only lend
            outlines to those that they fit: for a detector, which learns boxes that overlap.
    """

    splits: tuple[str, ...] = ("train",)
    white: tuple[str, ...] | None = None
    background: tuple[str, ...] | None = None
    limit: int = 0
    keep_boxes: bool = False


@dataclass(frozen=True)
class WeakReport:
    """What a run made.

    Attributes:
        out: the dataset.
        images, drawn, missed: images with labels; their cells; annotations without an outline.
        ignored: share of the pixels that teach nothing.
        skips: images that could not be used, with reasons.
        empty: images whose annotations name no cell, and that are not complete: they say nothing.
        text: all of it for people.
    """

    out: Path
    images: int
    drawn: int
    missed: int
    ignored: float
    skips: tuple[Skip, ...]
    empty: int
    text: str = ""


def make_weak_labels(
    model: Any,
    dataset: str | Path,
    out: str | Path,
    options: WeakOptions | None = None,
    progress: bool = False,
) -> WeakReport:
    """Write ``out``, a dataset of masks made from the boxes or points of ``dataset`` by a model.

    Args:
        model: a `models.load.TrainedModel` of a dense model that knows its cells' size.
        dataset: converted, of boxes or points.
        progress: show a progress bar where the terminal can.

    Raises:
        FileNotFoundError, KeyError: no converted dataset, or it has no such split.
        ValueError: it has masks, or the model cannot do it, or no image can be used.
        OSError: ``out`` cannot be written, or is in use.
    """
    options = options or WeakOptions()
    source = _Source.read(model, Path(dataset), options)
    out = Path(out)
    if out.resolve() == Path(dataset).resolve():
        raise ValueError(f"out {out} is the dataset itself; choose another folder")
    with hold_folder(out, "making weak labels"):
        check_replaceable(out)
        work = out / f"{WORK}{source.mark[:16]}"
        for old in out.glob(f"{WORK}*"):
            if old != work:
                shutil.rmtree(old, ignore_errors=True)
        report = source.write(work, out, progress)
        publish(work, out)
        shutil.rmtree(work, ignore_errors=True)
    return report


@dataclass(frozen=True, eq=False)
class _Source:
    """The dataset to make labels for, and by what."""

    model: Any
    folder: Path
    description: Mapping[str, Any]
    images: Mapping[str, Sequence[CocoImage]]
    white: frozenset[str]
    background: frozenset[str]
    keep_boxes: bool
    mark: str

    @classmethod
    def read(cls, model: Any, folder: Path, options: WeakOptions) -> _Source:
        """Read and check what there is to do, before any of it is done."""
        description = read_description(folder)
        if description.get("annotations", "masks") == "masks":
            raise ValueError(f"{folder} has masks, which a model learns from as they are")
        boxes = description["annotations"] == "boxes" and description.get("complete", True)
        if options.keep_boxes and not boxes:
            raise ValueError(f"{folder} has no boxes of all cells to keep; leave --keep-boxes out")
        check_model(model)
        most = options.limit or None
        images = {
            split: read_coco(split_json(folder, split, description))[:most]
            for split in options.splits
        }
        names = {a.get("category", CELL) for i in _every(images) for a in i.annotations}
        white = _chosen(options.white, names, WHITE, "--white", folder)
        background = _chosen(options.background, names, BACKGROUND, "--background", folder)
        content = [[i.entry, i.annotations] for i in _every(images)]
        state = [description, content, asdict(options), model.identity()]
        mark = hashlib.sha256(json.dumps(state, sort_keys=True).encode()).hexdigest()
        chosen = (white - background, background)
        return cls(model, folder, description, images, *chosen, options.keep_boxes, mark)

    @property
    def complete(self) -> bool:
        """Every cell is annotated."""
        return bool(self.description.get("complete", True))

    def write(self, work: Path, out: Path, progress: bool) -> WeakReport:
        """Labels, json, audit and description into ``work``, an image at a time."""
        skips: list[Skip] = []
        parts: dict[str, list[dict[str, Any]]] = {}
        empty = 0
        total = len(_every(self.images))
        with tqdm(total=total, unit="image", desc="labelling", disable=not progress or None) as bar:
            for split, images in self.images.items():
                parts[split] = []
                for image in images:
                    try:
                        part = self._part(image, split, work)
                    except (ValueError, OSError) as error:
                        file = printable(image.entry["file_name"])
                        skips.append(Skip(file, "unusable image", printable(str(error))))
                    else:
                        empty += part is None
                        parts[split] += [part] if part else []
                    bar.update()
        if not any(parts.values()):
            first = skips[0] if skips else None
            why = f"{first.file}: {first.reason}" if first else "none of its images has annotations"
            raise ValueError(f"no image of {self.folder} can be used: {why}")
        return self._publishable(work, out, parts, skips, empty)

    def _part(self, image: CocoImage, split: str, work: Path) -> dict[str, Any] | None:
        """What the json says of one image, from an earlier run or anew; None: nothing known."""
        stem = Path(image.entry["file_name"]).with_suffix("").as_posix()
        file = work / "parts" / split / f"{stem}.json"
        labels_name = f"labels/{split}/{stem}.png"
        if file.is_file() and (work / labels_name).is_file():
            return read_json(file, _PART, f"delete {work}")
        made = self._labels(image)
        if made is None:
            return None
        labels, diameter = made
        write_png_atomic(work / labels_name, labels.label_map)
        keys = ("id", "file_name", "height", "width", "value_range")
        entry = {key: image.entry[key] for key in keys if key in image.entry}
        entry |= {"label_file": labels_name, "split": split}
        if diameter is not None:
            entry["diameter"] = round(float(diameter), 2)
        part = {
            "image": entry,
            "annotations": self._annotations(labels.label_map, image),
            "drawn": labels.drawn,
            "missed": labels.missed,
            "ignored": labels.ignored,
        }
        write_json_atomic(file, part)
        return part

    def _annotations(self, label_map: np.ndarray, image: CocoImage) -> list[dict[str, Any]]:
        """Of an image, in the json's form: its boxes, or the cells that were drawn."""
        rows = [row for row in image.annotations if not row.get("iscrowd")]
        if self.keep_boxes:
            return boxed_annotations(label_map, rows)
        cells = [row for row in rows if row.get("category", CELL) not in self.background]
        return weak_annotations(label_map, cells)

    def _labels(self, image: CocoImage) -> tuple[WeakLabels, float | None] | None:
        """Labels and diameter of one image; None where its annotations say nothing."""
        path = confined(image_root(self.folder, self.description), image.entry["file_name"])
        pixels = read_image(path, max_value=max_value(self.description))
        if pixels.shape[:2] != image.size:
            raise ValueError(
                f"{path} is {pixels.shape[1]}x{pixels.shape[0]} px, and was "
                f"{image.size[1]}x{image.size[0]} when it was converted; convert again"
            )
        # Crowds are neither cell nor background, unless their name says so.
        known: dict[bool, list[Any]] = {True: [], False: []}
        for row in image.annotations:
            named = row.get("category", CELL) in self.background
            known[bool(row.get("iscrowd")) and not named].append(row)
        rows, unknown = known[False], known[True]
        names = [row.get("category", CELL) for row in rows]
        cells = np.array([name not in self.background for name in names], dtype=bool)
        if not cells.any():
            if not self.complete:
                return None
            return WeakLabels(np.zeros(image.size, np.uint16), 0, 0), None
        target = self.model.config.INPUT.DIAMETER
        if self.description["annotations"] == "points":
            points = np.array([row["point"] for row in rows], dtype=float)[cells]
            first = estimate_diameter(self.model, pixels, self.model.diameter).px
            if first is None:
                raise ValueError("the model sees no cells, so nothing says how large they are")
            return masks_from_points(self.model.net, pixels, points, target, first)
        boxes = boxes_of(rows)
        white = np.array([name in self.white for name in names], dtype=bool)
        labels, diameter = masks_from_boxes(
            self.model.net, pixels, boxes[cells], target, white=white[cells],
            not_cells=boxes[~cells], options=BoxOptions(complete=self.complete),
        )  # fmt: skip
        for x0, y0, x1, y1 in boxes_of(unknown):
            here = np.s_[max(int(y0), 0) : int(np.ceil(y1)), max(int(x0), 0) : int(np.ceil(x1))]
            labels.label_map[here][labels.label_map[here] == 0] = IGNORED
        return labels, diameter

    def _publishable(
        self,
        work: Path,
        out: Path,
        parts: Mapping[str, Sequence[dict[str, Any]]],
        skips: Sequence[Skip],
        empty: int,
    ) -> WeakReport:
        """Put the json files of all parts together in ``work``."""
        every = [part for listed in parts.values() for part in listed]
        drawn, missed = (sum(part[key] for part in every) for key in ("drawn", "missed"))
        ignored = float(np.mean([part["ignored"] for part in every]))
        report = WeakReport(out, len(every), drawn, missed, ignored, tuple(skips), empty)
        written = {
            "name": self.description.get("name", self.folder.name),
            "image_root": relative_posix(image_root(self.folder, self.description), out),
            "options": {"max_value": max_value(self.description)},
            "fingerprint": self.mark,
            "weak": {
                "made_from": self.description["annotations"],
                "model": self.model.name,
                "weights_sha256": self.model.digest(),
                "white": sorted(self.white),
                "background": sorted(self.background),
            },
        }
        if self.keep_boxes:
            written |= {"annotations": "boxes", "complete": True}
        sizes = write_weak_dataset(work, parts, written, [vars(skip) for skip in skips])
        report = dataclasses.replace(report, text=self._text(report, sizes))
        write_text_atomic(work / "audit.txt", report.text)
        return report

    def _text(self, report: WeakReport, sizes: Sequence[float]) -> str:
        """The report for people; ``sizes`` are diameters."""
        share = report.drawn / max(report.drawn + report.missed, 1)
        least, middle, most = np.percentile(sizes, (0, 50, 100))
        lines = [
            f"{report.images} images with outlines by {self.model.name}: {report.drawn} cells "
            f"drawn, {report.missed} annotations without an outline ({share:.0%} kept), "
            f"{report.ignored:.1%} of the pixels teach nothing",
            f"diameters {least:.0f} to {most:.0f} px, median {middle:.0f}",
        ]
        if self.description["annotations"] == "boxes":
            said = {"white cells": self.white, "background": self.background}
            lines += [f"{key}: {', '.join(sorted(v)) or 'none'}" for key, v in said.items()]
        if report.empty:
            lines.append(
                f"left out: {report.empty} images without annotations, which say nothing where "
                "not all cells have one"
            )
        return "\n".join(lines + [f"skipped {s.file}: {s.reason}" for s in report.skips])


def check_model(model: Any) -> None:
    """Pass a model that can outline cells of a known size for weak labels.

    Raises:
        ValueError: it is no dense model, or knows no size, or changes colours before it looks.
    """
    remedy = "give another one with --weights"
    if not hasattr(model.net, "maps"):
        raise ValueError(f"model {model.name} is no dense model; {remedy}")
    if model.diameter is None:
        raise ValueError(f"model {model.name} knows cells of one size only; {remedy}")
    given = model.config.INPUT
    if given.STAIN.METHOD or given.DENOISE or given.CLAHE:
        raise ValueError(f"model {model.name} changes the colours of images first; {remedy}")


def _every(images: Mapping[str, Sequence[CocoImage]]) -> list[CocoImage]:
    return [image for listed in images.values() for image in listed]


def _chosen(
    given: Sequence[str] | None, names: set[str], said: re.Pattern, flag: str, folder: Path
) -> frozenset[str]:
    """The categories that were named, or those whose names say it."""
    if given is None:
        return frozenset(name for name in names if said.search(name))
    unknown = [name for name in given if name not in names]
    if unknown:
        there = ", ".join(sorted(names)) or "none"
        raise ValueError(f"{flag} {unknown[0]}: no such category in {folder}; it has {there}")
    return frozenset(given)
