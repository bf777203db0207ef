"""What a model found on the images of a dataset, kept in a file so that it looks only once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.experiments.types.examples import AnnotatedSplit
from bccd_d2.inference.predictor import PredictOptions, predict_cells
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.records import read_json
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.rle import rle_from_json, rle_to_json

LEAST_SCORE = 0.15  # found cells below it are not looked at
_SHAPE = {"key": str, "diameter": float, "found": [{"rles": [dict], "scores": [float]}]}


class Finder:
    """A model's outlines without types, as an `inference.predictor.Answer`."""

    def __init__(self, model: Any) -> None:
        self.model, self.looks_at_whole = model, model.looks_at_whole

    def __call__(
        self, images: Sequence[np.ndarray], *, zoom: float, whole: np.ndarray | None
    ) -> list[Cells]:
        return self.model.outlines(images, zoom=zoom, whole=whole)


def look_at_split(
    model: Any, split: AnnotatedSplit, file: Path | None, bar: Callable[[Any], Iterator[int]]
) -> tuple[float, list[Cells]]:
    """px across a dataset's usual cell, 0 for unknown, and what the model finds on its images.

    Args:
        file: where that is kept; what it holds of the same model and images is taken. None = not.
        bar: wraps the numbers of the images, to show progress.
    """
    key = _key(model, split)
    if file is not None and file.is_file():
        kept = read_json(file, _SHAPE, f"delete {file}")
        if kept["key"] == key:
            sizes = [image.size for image in split.images]
            pairs = zip(sizes, kept["found"], strict=True)
            return kept["diameter"], [_cells(size, found) for size, found in pairs]
    diameter = split.diameter(model)
    scale = model.diameter / diameter if diameter else 1.0
    options = PredictOptions(LEAST_SCORE, scale=scale)
    found = [
        predict_cells([Finder(model)], split.pixels(split.images[index]), options)
        for index in bar(range(len(split)))
    ]
    if file is not None:
        rows = [
            {"rles": [rle_to_json(rle) for rle in one.rles], "scores": one.scores.tolist()}
            for one in found
        ]
        write_json_atomic(file, {"key": key, "diameter": diameter, "found": rows})
    return diameter, found


def _key(model: Any, split: AnnotatedSplit) -> str:
    """SHA-256 of the model and of the images that it looks at."""
    entries = [[image.entry["file_name"], *image.size] for image in split.images]
    text = json.dumps([model.identity(), str(split.root), entries, LEAST_SCORE])
    return hashlib.sha256(text.encode()).hexdigest()


def _cells(size: tuple[int, int], kept: dict[str, Any]) -> Cells:
    rles = [rle_from_json(rle) for rle in kept["rles"]]
    return Cells.from_rles(rles, size, kept["scores"])
