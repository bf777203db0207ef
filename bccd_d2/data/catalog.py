"""Converted datasets under detectron2's names: ``bccd_train``, ``bccd_val``, ``bccd_test``.

Nothing is registered by importing this module: the tools call `register_dataset`. The json of a
split is read when detectron2 asks for it, not before.
"""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bccd_d2.io.dataset_file import (
    HOW_TO_CONVERT,
    image_root,
    max_value,
    read_description,
    split_json,
)
from bccd_d2.io.records import confined
from bccd_d2.masks.classes import CELL, palette_colour
from bccd_d2.masks.coco import CONVERT_AGAIN, read_typed_coco

EVALUATOR_TYPE = "bccd_cells"

_KEPT = ("bbox", "point", "segmentation", "iscrowd", "area", "label", "touches_border")

logger = logging.getLogger(__name__)


def find_dataset(name: str = "bccd") -> Path:
    """The converted folder (the one that holds ``dataset.json``) of a dataset.

    Looked for in this order: the folder in the variable ``BCCD_DATASET`` (for the name "bccd"
    only; once set it is the only place), ``$DETECTRON2_DATASETS/<name>``, ``./datasets/<name>``.

    Raises:
        FileNotFoundError: none of them is a converted dataset; the message lists what was tried.
    """
    chosen = os.environ.get("BCCD_DATASET") if name == "bccd" else None
    if chosen:
        tried = [Path(chosen)]
    else:
        shared = os.environ.get("DETECTRON2_DATASETS")
        tried = [Path(shared) / name] if shared else []
        tried.append(Path("datasets") / name)
    for folder in tried:
        if (folder / "dataset.json").is_file():
            return folder
    places = ", ".join(str(folder) for folder in tried)
    setting = "BCCD_DATASET (set)" if chosen else "BCCD_DATASET (not set)"
    raise FileNotFoundError(
        f"no converted dataset '{name}': no dataset.json in {places}. Looked at {setting}, "
        f"DETECTRON2_DATASETS, ./datasets. Make one with: {HOW_TO_CONVERT}, then set "
        f"BCCD_DATASET to OUT"
    )



def load_split(folder: str | Path, split: str) -> list[dict[str, Any]]:
    """detectron2's standard dicts of one split, with the path of each image's label map.

    Args:
        folder: the converted dataset.
        split: a key of ``splits`` in dataset.json: "train", "val", "test", "fold0_train", ...

    Returns:
        One dict an image: ``file_name`` and ``label_file`` (absolute), ``image_id``, ``height``,
        ``width``, ``max_value`` (of the dataset, see `bccd_d2.io.images.read_plane`),
        ``annotations``; each annotation has ``bbox`` with its ``bbox_mode``, ``segmentation``,
        ``category_id`` (its place in the metadata's ``thing_classes``), ``category`` (that name),
        ``iscrowd``, ``area``, ``label`` (the cell's value in the label map) and
        ``touches_border``. Images without cells stay in, with an empty list. Crowds and difficult
        cells are left out. ``kind``: what the annotations are, "masks", "boxes" or "points"; with
        the latter two ``label_file`` may be None, and points have ``point`` (x, y), no ``bbox``.
        ``diameter``, px across a typical cell, where the json has it.

    Raises:
        KeyError: the dataset has no such split.
        ValueError: the json is broken.
    """
    folder = Path(os.path.abspath(folder))
    description = read_description(folder)
    root = image_root(folder, description)
    path = split_json(folder, split, description)
    kind, white = description.get("annotations", "masks"), max_value(description)
    records = []
    images, names = read_typed_coco(path, boxes=kind != "points")
    places = {id_: (place, name) for place, (id_, name) in enumerate(names.items())}
    for image in images:
        entry = image.entry
        labels = entry.get("label_file")
        if labels is None and kind == "masks":
            raise ValueError(f"{path}: image {entry['id']} has no label_file; {CONVERT_AGAIN}")
        record = {
            "file_name": str(confined(root, entry["file_name"])),
            "label_file": labels and str(confined(folder, labels)),
            "image_id": entry["id"],
            "max_value": white,
            "diameter": entry.get("diameter"),
            "kind": kind,
            "annotations": [
                _annotation(a, places) for a in image.annotations if not a.get("iscrowd", 0)
            ],
        }
        records.append(record | {side: entry[side] for side in ("height", "width")})
    return records


def _annotation(
    given: Mapping[str, Any], places: Mapping[int, tuple[int, str]]
) -> dict[str, Any]:
    """An annotation as detectron2 has it."""
    from detectron2.structures import BoxMode

    kept = {key: given[key] for key in _KEPT if key in given}
    place, name = places.get(given.get("category_id", 0), (0, CELL))
    return kept | {"category_id": place, "category": name, "bbox_mode": BoxMode.XYWH_ABS}


def register_dataset(
    folder: str | Path, prefix: str = "bccd", splits: Sequence[str] | None = None
) -> dict[str, str]:
    """Register the splits of a converted dataset with detectron2.

    A name that already stands for this very folder and conversion is left alone; one that stands
    for another folder, or for an earlier conversion of this one, is replaced. With all splits, what
    another folder left under the prefix goes too: "bccd_test" must not mean the last dataset's.

    Args:
        folder: the converted dataset (holds ``dataset.json``).
        prefix: the names become ``<prefix>_<split>``.
        splits: which to register; None = all, folds included ("bccd_fold0_train").

    Returns:
        The registered name of each split.

    Raises:
        FileNotFoundError: the folder is not a converted dataset.
        KeyError: it has no such split.
        ValueError: a name is taken by a dataset that is none of ours.
    """
    folder = Path(os.path.abspath(folder))
    description = read_description(folder)
    if splits is None:
        _forget_others(prefix, description["splits"])
    names = {}
    for split in description["splits"] if splits is None else splits:
        names[split] = f"{prefix}_{split}"
        _register_split(names[split], folder, split, description)
    return names


def _forget_others(prefix: str, splits: Collection[str]) -> None:
    """Drop our names with this prefix that are none of these splits."""
    from detectron2.data import DatasetCatalog, MetadataCatalog

    for name in DatasetCatalog.list():
        metadata = MetadataCatalog.get(name)
        split = metadata.get("split")
        ours = metadata.get("evaluator_type") == EVALUATOR_TYPE and name == f"{prefix}_{split}"
        if ours and split not in splits:
            DatasetCatalog.remove(name)
            MetadataCatalog.remove(name)


def _register_split(name: str, folder: Path, split: str, description: Mapping[str, Any]) -> None:
    from detectron2.data import DatasetCatalog, MetadataCatalog

    metadata = _metadata(folder, split, description)
    if name in DatasetCatalog.list():
        present = MetadataCatalog.get(name).as_dict()
        if present.get("evaluator_type") != EVALUATOR_TYPE:
            raise ValueError(
                f"the name {name} is taken by another kind of dataset; choose another prefix"
            )
        if present.get("conversion") == metadata["conversion"]:
            return
        logger.info("%s: %s replaces %s", name, folder, present.get("dataset_root"))
        DatasetCatalog.remove(name)
        MetadataCatalog.remove(name)
    DatasetCatalog.register(name, functools.partial(load_split, str(folder), split))
    MetadataCatalog.get(name).set(**metadata)


def split_metadata(folder: str | Path, split: str) -> dict[str, Any]:
    """What is known of a split of a converted dataset, as detectron2's metadata have it.

    Raises:
        FileNotFoundError: the folder is not a converted dataset.
        KeyError: it has no such split.
    """
    folder = Path(os.path.abspath(folder))
    return _metadata(folder, split, read_description(folder))


def _metadata(folder: Path, split: str, description: Mapping[str, Any]) -> dict[str, Any]:
    path = split_json(folder, split, description)
    percentiles = description.get("statistics", {}).get("cell_area_percentiles", {})
    names = tuple(description.get("categories") or (CELL,))
    state = json.dumps(description, sort_keys=True) + f"{folder} {path.stat().st_mtime_ns}"
    return {
        "thing_classes": list(names),
        "thing_colors": [palette_colour(place) for place in range(len(names))],
        "thing_dataset_id_to_contiguous_id": {place + 1: place for place in range(len(names))},
        "json_file": str(path),
        "image_root": str(image_root(folder, description)),
        "label_root": str(folder),
        "dataset_root": str(folder),
        "split": split,
        "evaluator_type": EVALUATOR_TYPE,
        "annotations": description.get("annotations", "masks"),
        "complete": description.get("complete", True),
        "weak": "weak" in description,
        "max_value": max_value(description),
        "cells": description.get("counts", {}).get(split, {}).get("cells"),
        "max_cells": description.get("counts", {}).get(split, {}).get("max_cells"),
        "area_percentiles": {int(key): float(value) for key, value in percentiles.items()},
        "conversion": hashlib.sha1(state.encode()).hexdigest(),
    }
