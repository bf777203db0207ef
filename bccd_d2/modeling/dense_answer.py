"""From maps to the instances that a detector would answer with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import torch
from detectron2.structures import Boxes, Instances

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.decode import DecodeOptions, cell_scores, decode
from bccd_d2.masks.enlarge import redraw, resize_label_map
from bccd_d2.masks.flows import flow_errors

SCORES = ("probability", "agreement")
OUTLINES = ("image", "model")


@dataclass(frozen=True)
class AnswerOptions:
    """How maps become scored cells.

    Attributes:
        decode: from maps to a label map, in pixels of the maps.
        score: "probability", the mean of the cell map inside a cell; "agreement", that times what
            the cell's outline earns with the other maps, see `agreement`.
        outlines: "image" draws them on the cell map enlarged to the image's size, "model" in the
            maps' own pixels.
        max_cells: the best-scored are kept.

    Raises:
        ValueError: an unknown word.
    """

    decode: DecodeOptions = field(default_factory=DecodeOptions)
    score: str = "probability"
    outlines: str = "image"
    max_cells: int = 300

    def __post_init__(self) -> None:
        for name, known in (("score", SCORES), ("outlines", OUTLINES)):
            value = getattr(self, name)
            if value not in known:
                raise ValueError(f"MODEL.DENSE.{name.upper()} must be of {known}, got {value!r}")


def to_instances(
    maps: Mapping[str, np.ndarray], image_size: tuple[int, int], options: AnswerOptions
) -> Instances:
    """Cells of one image in its own frame.

    Args:
        maps: (channels, h, w) float32 by head; see `dense_heads`.
        image_size: height and width of the answer.

    Returns:
        Instances on the CPU, the best-scored first, with ``pred_boxes``, ``scores``,
        ``pred_classes`` (0) and ``pred_rles`` (a list).
    """
    maps = {name: x if name == "flow" else x[0] for name, x in maps.items()}
    label_map = decode(maps, options.decode)
    scores = cell_scores(label_map, maps["cell"])
    if options.score == "agreement":
        scores = scores * agreement(label_map, maps)
    size = int(image_size[0]), int(image_size[1])
    label_map = _in_frame(label_map, maps["cell"], size, options)
    present = np.bincount(label_map.ravel(), minlength=len(scores) + 1)[1:] > 0
    cells = Cells.from_label_map(label_map, scores[present].clip(0, 1))
    cells = cells[np.argsort(-cells.scores, kind="stable")[: options.max_cells]]
    instances = Instances(size)
    instances.pred_boxes = Boxes(torch.from_numpy(cells.boxes))
    instances.scores = torch.from_numpy(cells.scores)
    instances.pred_classes = torch.from_numpy(cells.class_ids)
    instances.pred_rles = cells.rles
    return instances


def _in_frame(
    label_map: np.ndarray, probability: np.ndarray, size: tuple[int, int], options: AnswerOptions
) -> np.ndarray:
    grows = size[0] >= label_map.shape[0] and size[1] >= label_map.shape[1]
    if size == label_map.shape or options.outlines == "model" or not grows:
        return resize_label_map(label_map, size)
    enlarged = cv2.resize(probability, size[::-1], interpolation=cv2.INTER_LINEAR)
    return redraw(label_map, enlarged >= options.decode.cell_threshold)


def agreement(label_map: np.ndarray, maps: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N,) float32 in [0, 1]: how well a cell's outline fits the flows.

    1 minus half of the mean squared difference between the predicted flows and those that the
    outline asks for (`masks.flows.flow_errors`), at least 0; 1 without a flow map.
    """
    if "flow" not in maps:
        return np.ones(int(label_map.max(initial=0)), dtype=np.float32)
    return (1 - flow_errors(label_map, maps["flow"]) / 2).clip(0, 1)
