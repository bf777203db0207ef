"""Predictions in files: results of `bccd predict`, COCO results, or label images of any tool."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from bccd_d2.evaluation.truth import TrueImage
from bccd_d2.io.label_images import find_label_file, read_label_file, read_label_scores
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import read_coco, read_results
from bccd_d2.masks.structure import no_labels

_REMEDY = "give COCO results, a list of image_id, segmentation and score"


def read_predictions(path: str | Path, truth: Mapping[int, TrueImage]) -> dict[int, Cells]:
    """The predicted cells of each image of a split, by image id.

    Args:
        path: a COCO results json; the ``--out`` of `bccd predict`, whose ``coco`` holds scores; or
            a folder of label images by the images' stems, perhaps with a scores.csv (see
            `io.label_images.read_label_scores`). Without scores every cell counts alike.
        truth: of `evaluation.truth`.

    Raises:
        FileNotFoundError: an image of the split has no file there.
        ValueError: a file is broken, or not of its image's size.
    """
    path = Path(path)
    if path.is_file():
        sizes = {image_id: true.image_size for image_id, true in truth.items()}
        results = read_results(path, sizes, _REMEDY)
        return {key: Cells.from_coco(found, sizes[key]) for key, found in results.items()}
    if not path.is_dir():
        raise FileNotFoundError(f"predictions {path} do not exist")
    if (path / "coco").is_dir():
        return {key: _from_coco(path / "coco", true) for key, true in truth.items()}
    labels = path / "labels" if (path / "labels").is_dir() else path
    table = labels / "scores.csv"
    scores = read_label_scores(table) if table.is_file() else None
    return {key: _from_labels(labels, true, scores) for key, true in truth.items()}


def _from_coco(folder: Path, true: TrueImage) -> Cells:
    stem = Path(true.file_name).stem
    file = folder / f"{stem}.json"
    if not file.is_file():
        raise FileNotFoundError(f"{folder} has no {stem}.json: predict on all images of the split")
    [image] = read_coco(file)
    if image.size != true.image_size:
        raise ValueError(f"{file} is of an image of {image.size} px, {true.file_name} has "
                         f"{true.image_size}: predict on the images of the split")  # fmt: skip
    return Cells.from_coco(image.annotations, image.size)


def _from_labels(
    folder: Path, true: TrueImage, scores: Mapping[str, np.ndarray] | None
) -> Cells:
    stem = Path(true.file_name).stem
    file = find_label_file(folder, stem)
    labels = read_label_file(file)
    if doubt := no_labels(labels):
        raise ValueError(
            f"{file} {doubt}; bccd convert --images IMAGES --masks {folder} --out NUMBERED numbers "
            "the cells of binary masks: give NUMBERED/labels/train"
        )
    count = int(labels.max(initial=0))
    given = None if scores is None else scores.get(stem, np.zeros(0, np.float32))
    if given is not None and len(given) != count:
        raise ValueError(f"{file} has {count} cells, but scores.csv {len(given)} for it")
    return Cells.from_label_map(labels, given)
