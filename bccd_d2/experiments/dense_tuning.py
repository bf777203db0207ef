"""How a trained dense model's maps best become cells, found on validation images.

The model runs once an image; its maps are then decoded with one option after another changed.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from detectron2.data import MetadataCatalog
from torch import nn

from bccd_d2.evaluation.coco import average_precision
from bccd_d2.evaluation.instances import (
    compare,
    count_errors,
    count_instances,
    pooled_scores,
    summed,
)
from bccd_d2.evaluation.truth import read_truth
from bccd_d2.masks.decode import DecodeOptions
from bccd_d2.modeling.dense.answer import AnswerOptions, to_cells
from bccd_d2.training import loaders

logger = logging.getLogger(__name__)

_CELL = {"cell_threshold": (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)}
_SIZE = {"min_area": (16, 75, 150, 300, 500)}
GRIDS: dict[str, dict[str, tuple]] = {  # by method; lengths in pixels of the maps
    "threshold": {**_CELL, **_SIZE},
    "boundary": {
        **_CELL,
        "boundary_threshold": (0.2, 0.3, 0.4, 0.5, 0.6),
        "min_seed_area": (1, 20, 60),
        "keep_unseeded": (True, False),
        **_SIZE,
    },
    "watershed": {
        **_CELL,
        "seed_threshold": (0.2, 0.35, 0.5, 0.65),
        "seed_distance": (0.0, 8.0, 12.0, 16.0),
        "min_seed_area": (1, 5, 20),
        "keep_unseeded": (True, False),
        **_SIZE,
    },
    "flow": {**_CELL, "max_flow_error": (None, 0.4, 0.6, 0.8, 1.2), **_SIZE},
}
CRITERIA = ("AP", "F1", "count_error")


@dataclass(frozen=True)
class Trial:
    """Options that were tried and what they gave on the images, all scores of cells counting.

    Attributes:
        ap: mask AP.
        f1: F1 at IoU .5.
        count_error: mean absolute error of the number of cells per image.
    """

    options: DecodeOptions
    ap: float
    f1: float
    count_error: float

    def value(self, criterion: str) -> float:
        """What is to be as large as possible for a criterion of `CRITERIA`."""
        return {"AP": self.ap, "F1": self.f1, "count_error": -self.count_error}[criterion]


class DenseSearch:
    """The maps of a model on some images, decoded as often as one likes.

    Args:
        config: as `load_trained` returns it.
        model: a `DenseSegmentor`.
        names: registered datasets.
        images: evenly spaced ones of them; 0 = all. Their maps stay in memory, 2 bytes a pixel and
            channel.

    Raises:
        ValueError: the model gives no maps.
    """

    def __init__(
        self, config: Any, model: nn.Module, names: Sequence[str], images: int = 0
    ) -> None:
        if not hasattr(model, "maps"):
            raise ValueError(
                f"{type(model).__name__} gives no maps to decode; this is for DenseSegmentor"
            )
        net: Any = model
        self._answer: AnswerOptions = net.answer
        self._cap = config.TEST.DETECTIONS_PER_IMAGE
        self._maps, self._truth = [], []
        pairs = [
            (batch[0], true)
            for name in names
            for true in [read_truth(MetadataCatalog.get(name).json_file)]
            for batch in loaders.test_loader(config, name)
        ]
        count = min(images, len(pairs)) if images > 0 else len(pairs)
        net.eval()
        for i in np.unique(np.linspace(0, len(pairs) - 1, count).round().astype(int)):
            given, true = pairs[i]
            with torch.no_grad():
                found = net.maps(given["image"])
            self._maps.append({name: x.cpu().numpy().astype("f2") for name, x in found.items()})
            self._truth.append(true[given["image_id"]].cells)

    def try_out(self, options: DecodeOptions) -> Trial:
        """Decode all maps with these options and score the cells."""
        answer = dataclasses.replace(self._answer, decode=options)
        found = []
        for maps, true in zip(self._maps, self._truth, strict=True):
            full = {name: x.astype("f4") for name, x in maps.items()}
            found.append(to_cells(full, true.image_size, answer))
        pairs = zip(self._truth, found, strict=True)
        counts = [count_instances(compare(t, f), 0.0, iou_thresholds=(0.5,)) for t, f in pairs]
        ap = average_precision(self._truth, found, self._cap)
        pooled = pooled_scores(summed(counts))
        return Trial(options, ap, pooled["F1@.5"], count_errors(counts)["count_mae"])

    def tune(
        self, grid: Mapping[str, Sequence] | None = None, rounds: int = 1, criterion: str = "AP"
    ) -> list[Trial]:
        """Trials, the best first.

        One option after the other, in the grid's order, takes the value of the best criterion while
        the rest stand; a second round lets the first options follow the later ones.

        Args:
            grid: values by option; None = those of `GRIDS` for the model's method.
            criterion: of `CRITERIA`.

        Raises:
            ValueError: no such criterion, or an option that does not exist or is out of its range.
        """
        if criterion not in CRITERIA:
            raise ValueError(f"criterion must be one of {CRITERIA}, got {criterion!r}")
        start = self._answer.decode
        grid = GRIDS[start.method] if grid is None else grid
        unknown = set(grid) - {field.name for field in dataclasses.fields(start)}
        if unknown:
            raise ValueError(f"grid has no options {sorted(unknown)}; there are {start}")
        best = self.try_out(start)
        tried = {start: best}
        for _ in range(rounds):
            before = best
            for name, values in grid.items():
                for value in values:
                    options = dataclasses.replace(best.options, **{name: value})
                    if options not in tried:
                        tried[options] = self.try_out(options)
                    best = max(best, tried[options], key=lambda t: t.value(criterion))
                logger.info("%s = %s: %s", name, getattr(best.options, name), best)
            if best is before:
                break
        return sorted(tried.values(), key=lambda t: -t.value(criterion))


def as_config_keys(options: DecodeOptions) -> list[str]:
    """The options as ``KEY VALUE`` pairs of the command line, flattened."""
    values = dataclasses.asdict(options)
    values |= {f"flow.{key}": value for key, value in values.pop("flow").items()}
    pairs = [(f"MODEL.DENSE.DECODE.{key.upper()}", value) for key, value in values.items()]
    return [part for key, value in pairs for part in (key, str(0.0 if value is None else value))]
