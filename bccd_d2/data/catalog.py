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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

THING_CLASSES = ["cell"]
THING_COLORS = [(214, 39, 40)]
EVALUATOR_TYPE = "bccd_cells"
HOW_TO_CONVERT = "python tools/convert_to_coco.py --root ROOT --out OUT"

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


def read_description(folder: str | Path) -> dict[str, Any]:
    """The content of ``folder/dataset.json``.

    Raises:
        FileNotFoundError: the folder is not a converted dataset.
        ValueError: the file is broken or of another format version.
    """
    path = Path(folder) / "dataset.json"
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; make it with: {HOW_TO_CONVERT}")
    description = _read_json(path)
    version = description.get("format_version")
    if version != 1:
        raise ValueError(f"{path}: format_version 1 wanted, got {version}; convert again")
    return description


def image_root(folder: str | Path, description: Mapping[str, Any] | None = None) -> Path:
    """The absolute folder that image file names of a converted dataset are relative to."""
    description = read_description(folder) if description is None else description
    return Path(os.path.abspath(Path(folder) / description["image_root"]))


def load_split(folder: str | Path, split: str) -> list[dict[str, Any]]:
    """detectron2's standard dicts of one split, with the path of each image's label map.

    Args:
        folder: the converted dataset.
        split: a key of ``splits`` in dataset.json: "train", "val", "test", "fold0_train", ...

    Returns:
        One dict an image: ``file_name`` and ``label_file`` (absolute), ``image_id``, ``height``,
        ``width``, ``annotations``; each annotation has ``bbox`` with its ``bbox_mode``,
        ``segmentation``, ``category_id`` 0, ``iscrowd``, ``area``, ``label`` (the cell's value in
        the label map) and ``touches_border``; ``diameter``, px across a typical cell, where the
        json has it. Images without cells stay in, with an empty list.

    Raises:
        KeyError: the dataset has no such split.
        ValueError: the json is broken.
    """
    from detectron2.structures import BoxMode

    folder = Path(os.path.abspath(folder))
    description = read_description(folder)
    root = image_root(folder, description)
    content = _read_json(split_json(folder, split, description))
    kept = ("bbox", "segmentation", "iscrowd", "area", "label", "touches_border")
    annotations: dict[int, list[dict[str, Any]]] = {image["id"]: [] for image in content["images"]}
    for annotation in content["annotations"]:
        record = {key: annotation[key] for key in kept if key in annotation}
        record.update(category_id=0, bbox_mode=BoxMode.XYWH_ABS)
        annotations[annotation["image_id"]].append(record)
    return [
        {
            "file_name": str(root / image["file_name"]),
            "label_file": str(folder / image["label_file"]),
            "image_id": image["id"],
            "height": image["height"],
            "width": image["width"],
            "annotations": annotations[image["id"]],
            **({"diameter": image["diameter"]} if "diameter" in image else {}),
        }
        for image in content["images"]
    ]


def split_json(
    folder: str | Path, split: str, description: Mapping[str, Any] | None = None
) -> Path:
    """The COCO json of a split.

    Raises:
        KeyError: the dataset has no such split; the message lists those it has.
    """
    description = read_description(folder) if description is None else description
    splits = description["splits"]
    if split not in splits:
        raise KeyError(
            f"{Path(folder) / 'dataset.json'} has no split '{split}'; it has "
            f"{', '.join(sorted(splits))}"
        )
    return Path(os.path.abspath(Path(folder) / splits[split]["json"]))


def register_dataset(
    folder: str | Path, prefix: str = "bccd", splits: Sequence[str] | None = None
) -> dict[str, str]:
    """Register the splits of a converted dataset with detectron2.

    A name that already stands for this very folder and conversion is left alone; one that stands
    for another folder, or for an earlier conversion of this one, is replaced.

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
    names = {}
    for split in description["splits"] if splits is None else splits:
        names[split] = f"{prefix}_{split}"
        _register_split(names[split], folder, split, description)
    return names


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


def _metadata(folder: Path, split: str, description: Mapping[str, Any]) -> dict[str, Any]:
    path = split_json(folder, split, description)
    percentiles = description.get("statistics", {}).get("cell_area_percentiles", {})
    state = json.dumps(description, sort_keys=True) + f"{folder} {path.stat().st_mtime_ns}"
    return {
        "thing_classes": list(THING_CLASSES),
        "thing_colors": list(THING_COLORS),
        "thing_dataset_id_to_contiguous_id": {1: 0},
        "json_file": str(path),
        "image_root": str(image_root(folder, description)),
        "label_root": str(folder),
        "dataset_root": str(folder),
        "split": split,
        "evaluator_type": EVALUATOR_TYPE,
        "max_cells": description.get("counts", {}).get(split, {}).get("max_cells"),
        "area_percentiles": {int(key): float(value) for key, value in percentiles.items()},
        "conversion": hashlib.sha1(state.encode()).hexdigest(),
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not valid json ({error}); convert it again") from error
