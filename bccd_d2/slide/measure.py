"""`bccd tune counts`: how a model miscounts, from its results on annotated images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.cell_kinds import CELL, UNSURE, are_typed, kind_of
from bccd_d2.evaluation.miscounts import Miscounts, TypedCells, compare_counts
from bccd_d2.io.dataset_file import read_description
from bccd_d2.io.label_images import find_label_file, read_label_file
from bccd_d2.io.records import read_json
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import CocoImage, read_coco
from bccd_d2.slide.fields import Field, read_sample


def measure_miscounts(predictions: str | Path, dataset: str | Path, split: str) -> Miscounts:
    """Compare results of `bccd predict` with a split of a converted dataset.

    Types are compared where both sides have them; else cells are cells. Give images that neither
    training nor the choice of the threshold saw: of others the model misses and invents too little.

    Raises:
        FileNotFoundError, ValueError: a file is missing or broken, the dataset has no such split or
            no masks, or none of its images was predicted on.
    """
    description = read_description(dataset)
    if description.get("annotations", "masks") != "masks":
        raise ValueError(f"{dataset} has {description['annotations']}: counts need masks")
    if split not in description["splits"]:
        raise ValueError(
            f"{dataset} has no split {split!r}, only {', '.join(description['splits'])}"
        )
    path = Path(dataset) / description["splits"][split]["json"]
    truth = {Path(image.entry["file_name"]).stem: image for image in read_coco(path)}
    categories = _categories(path)
    sample = read_sample(predictions)
    pairs = [(field, truth[field.name]) for field in sample.fields if field.name in truth]
    if not pairs:
        raise ValueError(
            f"{predictions} holds no image of the split {split} of {dataset}: predict on its images"
        )
    types = _types(sample.types, categories)
    tables = [_compare(Path(predictions), field, image, categories, types)
              for field, image in pairs]  # fmt: skip
    true, found_as, invented = (np.stack(part) for part in zip(*tables, strict=True))
    name = description.get("name") or Path(dataset).resolve().name
    about = f"{len(pairs)} images of {name}, split {split}, {int(true.sum())} true cells"
    models = tuple(sha for _, sha in sample.models)
    return Miscounts(types, true, found_as, invented, models, about)


def _categories(path: Path) -> dict[int, str]:
    shape: Any = {"categories?": [{"id": int, "name": str}]}
    found = read_json(path, shape, "convert the dataset again").get("categories") or []
    return {one["id"]: one["name"] for one in found}


def _types(predicted: tuple[str, ...], categories: dict[int, str]) -> tuple[str, ...]:
    """The types that are compared: all of both sides, or only "cell".

    True cells that are called but "cell", or unsure, have no type that could be confused.
    """
    if not are_typed(predicted) or not are_typed(categories.values()):
        return (CELL,)
    said = [name for name in categories.values() if kind_of(name) not in (CELL, UNSURE)]
    return tuple(dict.fromkeys((*said, *predicted)))


def _compare(
    folder: Path, field: Field, image: CocoImage, categories: dict[int, str], types: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    typed = len(types) > 1
    kept = [one for one in image.annotations if not one.get("iscrowd", 0)]
    true = Cells.from_coco(kept, image.size)
    names = [categories.get(one["category_id"], CELL) for one in kept] if typed else []
    labels = read_label_file(find_label_file(folder / "labels", field.name), compact=False)
    found = Cells.from_label_map(labels)
    if len(found) != len(field.boxes):
        raise ValueError(
            f"{folder}: label image and table of {field.name} differ in their cells: predict again"
        )
    return compare_counts(
        TypedCells(true.rles, true.boxes, _places(names, types, len(true)), image.size),
        TypedCells(found.rles, found.boxes,
                   _places(field.types if typed else [], types, len(found)), field.image_size),
        len(types),
    )  # fmt: skip


def _places(names: Any, types: tuple[str, ...], count: int) -> np.ndarray:
    """Where each name stands among the types, -1 for none of them; without names all are 0."""
    known = {name: place for place, name in enumerate(types)}
    return np.array([known.get(name, -1) for name in names] or [0] * count, dtype=np.int64)
