"""Options of the baseline without learning, tuned on training images one after the other."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog

from bccd_d2.evaluation.coco import average_precision
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.masks.otsu import OtsuOptions
from bccd_d2.modeling.options import options_of
from bccd_d2.modeling.otsu import OtsuWatershed
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
_GROWTHS = 8  # times that an option's values may grow beyond the grid in a round


@dataclass(frozen=True)
class Trial:
    """Options that were tried, with their mask AP on the training images."""

    options: OtsuOptions
    ap: float


def tune(
    config: Any,
    grid: Mapping[str, Sequence] = GRID,
    images: int = 24,
    rounds: int = 3,
    finalists: int = 8,
) -> list[Trial]:
    """Trials on ``DATASETS.TRAIN``, the best first; no other split is read.

    One option after the other, in the grid's order, takes the value of best AP while the rest
    stand (coordinate descent); further rounds let the first options follow the later ones, and try
    the values half-way to the best one's neighbours. Where the best value lies at an edge of the
    grid, the grid grows there. The settings that did best are then scored on all training images.
    The diameter is not searched: it is that of the median training cell.

    Args:
        config: as `run.prepare` returns it.
        grid: at least two values an option, numbers in rising order.
        images: evenly spaced ones of the training images for the search; 0 = all.
        finalists: how many settings are scored on all training images, and returned.

    Raises:
        ValueError: an option of the grid does not exist or is out of its range, or the images have
            no cells.
    """
    inputs, truth = _images(config)
    areas = np.concatenate([cells.areas for cells in truth])
    if not areas.size:
        raise ValueError(f"no image of {list(config.DATASETS.TRAIN)} has a cell to tune by")
    diameter = disc_diameter(np.median(areas)) * config.INPUT.IMAGE_SCALE
    usual = options_of(OtsuOptions, config.MODEL.OTSU)
    start = dataclasses.replace(usual, cell_diameter=round(float(diameter)))
    unknown = set(grid) - {field.name for field in dataclasses.fields(start)}
    if unknown:
        raise ValueError(f"grid has no options {sorted(unknown)}; there are {start}")
    cap = config.TEST.DETECTIONS_PER_IMAGE
    some = _evenly(len(inputs), images)
    few = [inputs[i] for i in some], [truth[i] for i in some]
    tried = _descend(start, grid, rounds, lambda o: _average_precision(o, *few, cap))
    best = sorted(tried, key=tried.__getitem__, reverse=True)[: max(1, finalists)]
    logger.info("%d settings tried; the best %d on all images", len(tried), len(best))
    if len(some) < len(inputs):
        tried = {o: _average_precision(o, inputs, truth, cap) for o in best}
    return sorted((Trial(options, tried[options]) for options in best), key=lambda t: -t.ap)


def _descend(
    start: OtsuOptions,
    grid: Mapping[str, Sequence],
    rounds: int,
    score: Callable[[OtsuOptions], float],
) -> dict[OtsuOptions, float]:
    """All settings that coordinate descent tried, with their scores."""
    score = functools.cache(score)
    tried, best = {start: score(start)}, start
    values = {name: list(listed) for name, listed in grid.items()}
    for turn in range(rounds):
        before = best
        for name, listed in values.items():
            if turn:
                listed += _half_way(listed, getattr(best, name))
            candidates = _settings(best, name, listed)
            for _ in range(_GROWTHS + 1):
                tried |= {options: score(options) for options in candidates}
                best = max([best, *candidates], key=tried.__getitem__)
                candidates = _settings(best, name, _beyond(listed, getattr(best, name)))
                listed += [getattr(options, name) for options in candidates]
                if not candidates:
                    break
            logger.info("%s = %s: AP %.4f", name, getattr(best, name), tried[best])
        if best == before:
            break
    return tried


def _settings(options: OtsuOptions, name: str, values: Sequence) -> list[OtsuOptions]:
    """The options with each value of one of them; values it cannot have are left out."""
    found = []
    for value in values:
        with contextlib.suppress(ValueError):
            found.append(dataclasses.replace(options, **{name: value}))
    return found


def _beyond(values: Sequence, best: Any) -> list:
    """The next value beyond the edge of the listed ones, where the best lies at that edge."""
    if isinstance(best, str) or len(values) < 2:
        return []
    listed = sorted(set(values))
    if best == listed[-1]:
        return [_like(best, 2 * best - listed[-2])]
    return [_like(best, 2 * best - listed[1])] if best == listed[0] else []


def _half_way(values: Sequence, best: Any) -> list:
    """The values in the middle between the best and its neighbours."""
    if isinstance(best, str):
        return []
    near = [max((v for v in values if v < best), default=best)]
    near.append(min((v for v in values if v > best), default=best))
    return [_like(best, (v + best) / 2) for v in near if v != best]


def _like(example: Any, value: float) -> Any:
    return round(value) if isinstance(example, int) else round(float(value), 4)


def _evenly(size: int, count: int) -> np.ndarray:
    wanted = min(count, size) if count > 0 else size
    return np.unique(np.linspace(0, size - 1, wanted).round().astype(int))


def as_config_keys(options: OtsuOptions) -> list[str]:
    """The options as ``KEY VALUE`` pairs of the command line, flattened."""
    values = dataclasses.asdict(options)
    return [
        part for key, value in values.items() for part in (f"MODEL.OTSU.{key.upper()}", str(value))
    ]


def _images(config: Any) -> tuple[list[dict], list[Cells]]:
    inputs, truth = [], []
    for name in config.DATASETS.TRAIN:
        true = read_truth(MetadataCatalog.get(name).json_file)
        listed = [batch[0] for batch in loaders.test_loader(config, name)]
        inputs += listed
        truth += [true[given["image_id"]].cells for given in listed]
    return inputs, truth


@torch.no_grad()
def _average_precision(
    options: OtsuOptions, inputs: Sequence[dict], truth: Sequence[Cells], cap: int
) -> float:
    model = OtsuWatershed(options, max_cells=cap)
    found = [Cells.from_instances(model([given])[0]["instances"]) for given in inputs]
    return average_precision(truth, found, cap)
