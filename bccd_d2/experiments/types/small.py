"""Training of the second network, which shows small cells that the model leaves out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import torch
import torch.nn.functional as F

from bccd_d2.data.preprocess import resize_image
from bccd_d2.experiments.types.augment import recoloured, turned
from bccd_d2.experiments.types.examples import Annotated
from bccd_d2.experiments.types.fit import FitOptions, fit
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.polygons import segmentation_to_rle
from bccd_d2.masks.rle import decode_crop
from bccd_d2.modeling.types.small import SmallCellNetwork

WINDOW, SIDE = 128, 96  # px that are cut out, and what is left of them when they were turned
AT_ONE = 0.6  # share of the windows that are cut out round a small cell


@dataclass(frozen=True)
class Shown:
    """One image in the model's frame, with the small cells on it.

    Attributes:
        pixels: (h, w, 3) uint8 RGB.
        inside: (h, w) bool, in a small cell.
        known: (h, w) bool, pixels of which that is known.
        middles: (n, 2) float, x and y of the small cells.
    """

    pixels: np.ndarray
    inside: np.ndarray
    known: np.ndarray
    middles: np.ndarray


def shown_of(
    image: Annotated, found: Cells, size: tuple[int, int], names: set[str], named: bool
) -> Shown:
    """An image as it teaches what small cells are.

    Args:
        found: what the model outlines; nothing of it is a small cell.
        size: height and width in the model's frame.
        names: of the annotations of small cells.
        named: the dataset annotates them: what has none is none. Else that is known only inside
            of the found cells.
    """
    pixels = resize_image(image.pixels, size)
    factor = np.array([size[1] / image.pixels.shape[1], size[0] / image.pixels.shape[0]])
    inside = np.zeros(size, np.uint8)
    middles = []
    for row in image.rows:
        if row.get("category") in names and "bbox" in row:
            x, y, width, height = (v * factor[i % 2] for i, v in enumerate(row["bbox"]))
            middles.append((x + width / 2, y + height / 2))
            _draw(inside, row, image.pixels.shape[:2], (middles[-1], (width, height)))
    known = np.ones(size, bool)
    if not named:
        known = cv2.resize(found.union().astype(np.uint8), size[::-1]) > 0
    return Shown(pixels, inside > 0, known, np.array(middles).reshape(-1, 2))


def _draw(
    inside: np.ndarray,
    row: Mapping[str, Any],
    image_size: tuple[int, int],
    ellipse: tuple[tuple[float, float], tuple[float, float]],
) -> None:
    """A mask as it is, a box as the ellipse in it."""
    if not row.get("segmentation"):
        cv2.ellipse(inside, (*ellipse, 0), 1, -1)
        return
    mask, y0, x0 = decode_crop(segmentation_to_rle(row["segmentation"], image_size))
    whole = np.zeros(image_size, np.uint8)
    whole[y0 : y0 + mask.shape[0], x0 : x0 + mask.shape[1]] = mask
    inside |= cv2.resize(whole, inside.shape[::-1], interpolation=cv2.INTER_AREA)


def fit_small(
    network: SmallCellNetwork, images: Sequence[Shown], options: FitOptions
) -> SmallCellNetwork:
    """The network, trained in place and in eval mode.

    Raises:
        ValueError: no image has a small cell.
    """
    having = [image for image in images if len(image.middles)]
    if not having:
        raise ValueError("no image has a small cell to learn from")
    random, generator = np.random.default_rng(options.seed), torch.Generator()
    generator.manual_seed(options.seed)
    options = replace(options, batch=12, rate=3e-3)

    def loss() -> torch.Tensor:
        windows = []
        for _ in range(options.batch):
            at_one = random.random() < AT_ONE
            chosen = having if at_one else images
            image = chosen[int(random.integers(len(chosen)))]
            windows.append(_window(image, at_one, random))
        planes = turned(torch.from_numpy(np.stack(windows)), SIDE, generator, (0.75, 1.35))
        inside, known = (planes[:, 3:4] > 0.5).float(), (planes[:, 4:] > 0.5).float()
        logits = network(recoloured(planes[:, :3], generator, options.hue))
        pixelwise = F.binary_cross_entropy_with_logits(logits, inside, reduction="none") * known
        said = logits.sigmoid() * known
        common = 2 * (said * inside).sum() + 1
        dice = 1 - common / (said.sum() + (inside * known).sum() + 1)
        return 2 * pixelwise.sum() / known.sum().clamp_min(1) + dice

    fit(network, loss, options)
    return network


def _window(image: Shown, at_one: bool, random: np.random.Generator) -> np.ndarray:
    """(5, W, W) float32: pixels, inside and known, of a window round a small cell or anywhere."""
    height, width = image.inside.shape
    x, y = random.uniform(0, width), random.uniform(0, height)
    if at_one:
        x, y = image.middles[random.integers(len(image.middles))] + random.normal(0, 18, 2)
    x0 = int(np.clip(x - WINDOW / 2, 0, max(width - WINDOW, 0)))
    y0 = int(np.clip(y - WINDOW / 2, 0, max(height - WINDOW, 0)))
    here = np.s_[y0 : y0 + WINDOW, x0 : x0 + WINDOW]
    planes = np.zeros((5, WINDOW, WINDOW), np.float32)
    rows, columns = image.inside[here].shape
    planes[:3, :rows, :columns] = image.pixels[here].transpose(2, 0, 1)
    planes[3, :rows, :columns], planes[4, :rows, :columns] = image.inside[here], image.known[here]
    return planes
