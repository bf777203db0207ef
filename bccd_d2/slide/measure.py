"""`bccd tune counts`: how a model miscounts, from its results on annotated images.

The labels of annotators and the classes of a model seldom agree. A tree of names says which one
class a label means ("trophozoite" is a model's "infected"); a label that leaves several classes
possible ("difficult", or "white" to a model that tells kinds of white cells) says that there is a
cell, and nothing of its type. A label beside all classes is a type of its own, which the model can
only take for another. What no label means cannot be invented: where nobody marks platelets a found
one may well be one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bccd_d2.evaluation.cell_kinds import are_typed, kind_of
from bccd_d2.evaluation.miscounts import Miscounts, TypedCells, compare_counts
from bccd_d2.io.dataset_file import read_description, split_json
from bccd_d2.io.label_images import find_label_file, read_label_file
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import CELL, UNSURE
from bccd_d2.masks.coco import CocoImage, read_typed_coco
from bccd_d2.masks.taxonomy import Taxonomy
from bccd_d2.slide.fields import Field, Sample, read_sample

BOXES, MASKS = "boxes", "masks"
EDGE = 2.0  # px; by hand a box of a cut cell ends so far inside of the image's edge


@dataclass(frozen=True, eq=False)
class _Pair:
    """Results and the annotated images that they are of.

    Attributes:
        folder: of the results.
        images: fields with their annotations.
        names: of the categories by id.
        kind: of the annotations, `BOXES` or `MASKS`.
        about: name of the dataset.
    """

    folder: Path
    sample: Sample
    images: list[tuple[Field, CocoImage]]
    names: dict[int, str]
    kind: str
    about: str


def measure_miscounts(
    predictions: Sequence[str | Path],
    datasets: Sequence[str | Path],
    split: str,
    taxonomy: Taxonomy,
    model: str = "",
    left_open: Sequence[str] = (),
) -> Miscounts:
    """Compare results of `bccd predict` with a split of converted datasets.

    Types are compared where the model and all datasets have them; else cells are cells. Give images
    that neither training nor the choice of the threshold saw: of others the model misses, invents
    and confuses too little.

    Args:
        predictions, datasets: as many of one as of the other, in the same order.
        taxonomy: what labels mean to the model's classes.
        model: SHA-256 of the one that the measurement is for; "" = the one that predicted.
        left_open: labels that say nothing of the type, such as "RBC" of annotators who did not look
            for parasites.

    Raises:
        FileNotFoundError, KeyError, ValueError: a file is missing or broken, a dataset has no such
            split or neither masks nor boxes of all cells, none of its images was predicted on, or
            the results are of several models.
    """
    pairs = _pairs(predictions, datasets, split)
    models = (model,) if model else tuple(sha for _, sha in pairs[0].sample.models)
    if not model and any(one.sample.models != pairs[0].sample.models for one in pairs):
        raise ValueError(
            "the results are of several models: say with --for which one the measurement is for"
        )
    classes = _classes(pairs)
    meant = [_meaning(one, classes, taxonomy, left_open) for one in pairs]
    known = [name for table in meant for name in table.values() if name]
    if len(classes) == 1 or not known:
        classes, meant = (CELL,), [dict.fromkeys(one.names, CELL) for one in pairs]
    types = tuple(dict.fromkeys((*classes, *sorted(known)))) if len(classes) > 1 else classes
    tables = [
        _compare(one, field, image, table, types)
        for one, table in zip(pairs, meant, strict=True)
        for field, image in one.images
    ]
    true, found_as, invented, told = (np.stack(part) for part in zip(*tables, strict=True))
    images = ", ".join(f"{len(one.images)} images of {one.about}" for one in pairs)
    about = f"{images}, split {split}, {int(true.sum())} true cells"
    return Miscounts(types, true, found_as, invented, models, about, told)


def _pairs(
    predictions: Sequence[str | Path], datasets: Sequence[str | Path], split: str
) -> list[_Pair]:
    if len(predictions) != len(datasets):
        raise ValueError(
            f"{len(predictions)} folders of results and {len(datasets)} datasets: give one dataset "
            "for each, in the same order"
        )
    return [_pair(Path(results), Path(data), split)
            for results, data in zip(predictions, datasets, strict=True)]  # fmt: skip


def _pair(predictions: Path, dataset: Path, split: str) -> _Pair:
    description = read_description(dataset)
    kind = description.get("annotations", MASKS)
    if kind not in (BOXES, MASKS):
        raise ValueError(f"{dataset} has {kind}: counts need masks or boxes")
    if not description.get("complete", True):
        raise ValueError(f"{dataset} says that only some of its cells are annotated: what is found "
                         "beside them would count as invented")  # fmt: skip
    annotated, names = read_typed_coco(split_json(dataset, split, description))
    truth = {Path(image.entry["file_name"]).stem: image for image in annotated}
    sample = read_sample(predictions)
    images = [(field, truth[field.name]) for field in sample.fields if field.name in truth]
    if not images:
        raise ValueError(
            f"{predictions} holds no image of the split {split} of {dataset}: predict on its images"
        )
    about = description.get("name") or dataset.resolve().name
    return _Pair(predictions, sample, images, names, kind, about)


def _classes(pairs: Sequence[_Pair]) -> tuple[str, ...]:
    """What the model says a cell may be; ("cell",) where it, or a dataset, knows no types."""
    found = dict.fromkeys(name for one in pairs for name in one.sample.types if name != UNSURE)
    typed = are_typed(found) and all(are_typed(one.names.values()) for one in pairs)
    return tuple(found) if typed else (CELL,)


def _meaning(
    pair: _Pair, classes: tuple[str, ...], taxonomy: Taxonomy, left_open: Sequence[str]
) -> dict[int, str]:
    """The type that each category stands for; "" where it leaves several possible."""
    listed, meant = taxonomy.classes(classes), {}
    for number, label in pair.names.items():
        if label in left_open:
            meant[number] = ""
            continue
        allowed = taxonomy.allowed(label, listed)
        own = label if kind_of(label) not in (CELL, UNSURE) and not allowed.any() else ""
        meant[number] = classes[int(allowed.argmax())] if allowed.sum() == 1 else own
    return meant


def _compare(
    pair: _Pair, field: Field, image: CocoImage, meant: dict[int, str], types: tuple[str, ...]
) -> tuple[np.ndarray, ...]:
    """What `compare_counts` gives, and (K,) bool, the types that some category stands for."""
    labels = read_label_file(find_label_file(pair.folder / "labels", field.name), compact=False)
    found = Cells.from_label_map(labels)
    if len(found) != len(field.boxes):
        raise ValueError(f"{pair.folder}: label image and table of {field.name} differ in their "
                         "cells: predict again")  # fmt: skip
    names = field.types if types != (CELL,) else [CELL] * len(found)
    seen = TypedCells(found.rles, found.boxes, _places(names, types), field.image_size)
    told = np.isin(types, list(meant.values()))
    return *compare_counts(_truth(pair, image, meant, types), seen, told), told


def _truth(
    pair: _Pair, image: CocoImage, meant: dict[int, str], types: tuple[str, ...]
) -> TypedCells:
    kept = [one for one in image.annotations if not one.get("iscrowd", 0)]
    places = _places([meant.get(one["category_id"], "") for one in kept], types)
    if pair.kind == MASKS:
        cells = Cells.from_coco(kept, image.size)
        return TypedCells(cells.rles, cells.boxes, places, image.size)
    boxes = np.array([one["bbox"] for one in kept], dtype=np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    height, width = image.size
    for side, end in ((2, width), (3, height)):
        boxes[boxes[:, side] >= end - EDGE, side] = end
    return TypedCells(None, boxes, places, image.size)


def _places(names: Sequence[str], types: tuple[str, ...]) -> np.ndarray:
    """(N,) where each name stands among the types, -1 for none of them."""
    known = {name: place for place, name in enumerate(types)}
    return np.array([known.get(name, -1) for name in names], dtype=np.int64)
