"""A model's outlines for images that have boxes or points: the running part of `data.weak_labels`.

Round one uses a model that saw no image of the laboratory, only strong changes of colour and size;
round two the model trained on round one's labels. Training images only: labels made of a model's
own answers must not be scored on.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch

from bccd_d2.data.preprocess import resize_image, scaled_size
from bccd_d2.data.weak_labels import (
    DIAMETER_OVER_BOX,
    BoxOptions,
    WeakLabels,
    labels_from_boxes,
    labels_from_points,
)
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.modeling.dense.answer import to_cells

SCALES = (1.0, 0.6, 1.4)  # of the size the model likes: larger cells want the smaller ones
LEAST_SCORES = (0.3, 0.4)  # of candidates for boxes, which choose among them, and for points
DOUBT = 0.25  # probability from which an unlabelled pixel is ignored
CONFIDENT = 0.92  # score from which a cell needs no point
_SAME = 0.08  # relative change of the diameter below which it has settled


@torch.inference_mode()
def outlines(net: Any, image: np.ndarray, scale: float) -> tuple[Cells, np.ndarray]:
    """What a dense model sees in an image at one scale.

    Args:
        net: a `modeling.dense.segmentor.DenseSegmentor` in eval mode.
        image: (H, W, 3) uint8 RGB.
        scale: detector pixels per pixel of the image.

    Returns:
        Its cells of all scores in the image's frame; (H, W) float32 probability of cell.
    """
    height, width = image.shape[:2]
    part = resize_image(image, scaled_size((height, width), scale))
    pixels = torch.from_numpy(np.ascontiguousarray(part.transpose(2, 0, 1)))
    maps = {name: values.cpu().numpy() for name, values in net.maps(pixels).items()}
    cells = to_cells(maps, (height, width), net.answer)
    return cells, cv2.resize(maps["cell"][0], (width, height))


def masks_from_boxes(
    net: Any,
    image: np.ndarray,
    boxes: np.ndarray,
    target: float,
    *,
    white: np.ndarray | None = None,
    not_cells: np.ndarray | None = None,
    options: BoxOptions | None = None,
) -> tuple[WeakLabels, float]:
    """Weak labels of an image with boxes, and the diameter of its cells in px.

    Args:
        boxes: (N, 4) of the cells, at least one.
        target: detector pixels across a cell that the model was trained on (INPUT.DIAMETER).
        white: (N,) bool, white cells: they take no part in the diameter, and are ellipses where no
            outline fits.
        not_cells: boxes of platelets and the like: background.

    Raises:
        ValueError: no boxes; an image without any says nothing about the size of its cells.
    """
    if not len(boxes):
        raise ValueError("boxes must hold at least one: the size of the cells comes from them")
    white = np.zeros(len(boxes), bool) if white is None else white
    diameter = DIAMETER_OVER_BOX * _typical(boxes, white, image.shape[:2])
    seen = [outlines(net, image, target / diameter * s) for s in SCALES]
    candidates = _joined([cells.above(LEAST_SCORES[0]) for cells, _ in seen])
    probability = np.maximum(seen[0][1], seen[2][1])
    labels = labels_from_boxes(
        candidates, boxes, probability,
        round_ones=white, not_cells=not_cells, options=options,
    )  # fmt: skip
    return labels, diameter


def masks_from_points(
    net: Any, image: np.ndarray, points: np.ndarray, target: float, first: float
) -> tuple[WeakLabels, float]:
    """Weak labels of an image with points, and the diameter of its cells in px.

    Args:
        points: (N, 2) x, y.
        target: as in `masks_from_boxes`.
        first: px, a first guess of the diameter; measured again on cells that hold one point.
    """
    diameter = first
    for _ in range(2):
        cells, probability = outlines(net, image, target / diameter)
        cells = cells.above(LEAST_SCORES[1])
        before, diameter = diameter, _measured(cells, points) or diameter
        if abs(np.log(diameter / before)) < _SAME:
            break
    doubtful = probability > DOUBT
    return labels_from_points(cells, points, doubtful, confident=CONFIDENT), diameter


def _typical(boxes: np.ndarray, white: np.ndarray, size: tuple[int, int]) -> float:
    """Median of the root of the boxes' areas: of whole red cells, else red ones, else all."""
    whole = (boxes[:, :2] > 2).all(axis=1)
    whole &= (boxes[:, 2] < size[1] - 2) & (boxes[:, 3] < size[0] - 2)
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(axis=1))
    chosen = next(s for s in (whole & ~white, ~white, np.ones(len(boxes), bool)) if s.any())
    return float(np.median(sides[chosen]))


def _measured(cells: Cells, points: np.ndarray) -> float | None:
    """Median diameter of good whole cells with exactly one point; of all good ones without any."""
    good = (cells.scores > 0.6) & ~cells.touches_border()
    if len(points):
        columns, rows = np.round(points).astype(int).T
        height, width = cells.image_size
        owner = cells.to_label_map()[rows.clip(0, height - 1), columns.clip(0, width - 1)]
        good &= np.bincount(owner, minlength=len(cells) + 1)[1:] == 1
    return float(np.median(disc_diameter(cells.areas[good]))) if good.any() else None


def _joined(parts: Sequence[Cells]) -> Cells:
    """The cells of several looks at one image, one after the other."""
    rles = [rle for cells in parts for rle in cells.rles]
    scores = np.concatenate([cells.scores for cells in parts])
    return Cells.from_rles(rles, parts[0].image_size, scores)
