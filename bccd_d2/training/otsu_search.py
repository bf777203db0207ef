"""Options of the baseline without learning, tuned on training images one after the other."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from bccd_d2.evaluation.coco import coco_scores
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.otsu import OtsuOptions
from bccd_d2.modeling.otsu import OtsuWatershed, options_from_config
from bccd_d2.training import loaders

logger = logging.getLogger(__name__)

GRID: dict[str, tuple] = {  # lengths in pixels at INPUT.IMAGE_SCALE .5
    "channel": ("green", "grey", "blue", "red"),
    "threshold_factor": (0.97, 1.0, 1.03, 1.06),
    "blur": (0.0, 1.0, 2.0),
    "seed_distance": (8.0, 12.0, 16.0, 20.0),
    "seed_blur": (1.0, 2.0, 4.0),
    "min_area": (75, 150, 300, 500),
}


@dataclass(frozen=True)
class Trial:
    """Options that were tried, with their mask AP on the training images."""

    options: OtsuOptions
    ap: float


def tune(
    config: Any, grid: Mapping[str, Sequence] = GRID, images: int = 24, rounds: int = 2
) -> list[Trial]:
    """Trials on ``DATASETS.TRAIN``, the best first; no other split is read.

    One option after the other, in the grid's order, takes the value of best AP while the rest
    stand (coordinate descent); a second round lets the first options follow the later ones. The
    diameter is not searched: it is that of the median training cell.

    Args:
        config: as `run.prepare` returns it.
        images: evenly spaced ones of the training images; 0 = all.

    Raises:
        ValueError: an option of the grid does not exist or is out of its range.
    """
    inputs, truth = _images(config, images)
    areas = np.concatenate([cells.areas for cells in truth])
    diameter = 2 * np.sqrt(np.median(areas) / np.pi) * config.INPUT.IMAGE_SCALE
    start = dataclasses.replace(options_from_config(config), cell_diameter=round(float(diameter)))
    unknown = set(grid) - {field.name for field in dataclasses.fields(start)}
    if unknown:
        raise ValueError(f"grid has no options {sorted(unknown)}; there are {start}")
    cap = config.TEST.DETECTIONS_PER_IMAGE
    tried = {start: _average_precision(start, inputs, truth, cap)}
    best = start
    for _ in range(rounds):
        before = best
        for name, values in grid.items():
            candidates = [dataclasses.replace(best, **{name: value}) for value in values]
            for options in candidates:
                if options not in tried:
                    tried[options] = _average_precision(options, inputs, truth, cap)
            best = max([best, *candidates], key=tried.__getitem__)
            logger.info("%s = %s: AP %.4f", name, getattr(best, name), tried[best])
        if best == before:
            break
    return sorted((Trial(options, ap) for options, ap in tried.items()), key=lambda t: -t.ap)


def as_config_keys(options: OtsuOptions) -> list[str]:
    """The options as ``KEY VALUE`` pairs of the command line, flattened."""
    values = dataclasses.asdict(options)
    return [
        part for key, value in values.items() for part in (f"MODEL.OTSU.{key.upper()}", str(value))
    ]


def _images(config: Any, count: int) -> tuple[list[dict], list[Cells]]:
    inputs, truth = [], []
    for name in config.DATASETS.TRAIN:
        true = read_truth(MetadataCatalog.get(name).json_file)
        listed = [batch[0] for batch in loaders.test_loader(config, name)]
        inputs += listed
        truth += [true[given["image_id"]].cells for given in listed]
    last = len(inputs) - 1
    size = min(count, len(inputs)) if count > 0 else len(inputs)
    chosen = np.unique(np.linspace(0, last, size).round().astype(int))
    return [inputs[i] for i in chosen], [truth[i] for i in chosen]


@torch.no_grad()
def _average_precision(
    options: OtsuOptions, inputs: Sequence[dict], truth: Sequence[Cells], cap: int
) -> float:
    model = OtsuWatershed(options, max_cells=cap)
    found = [Cells.from_instances(model([given])[0]["instances"]) for given in inputs]
    return coco_scores(truth, found, task="segm", max_detections=cap).values["AP"]
