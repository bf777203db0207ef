"""Images as a model will see them: augmented crops with their labels, and stains normalised."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bccd_d2.data import stain
from bccd_d2.data.catalog import load_split
from bccd_d2.data.mapper import LabelMapMapper
from bccd_d2.io.images import read_image
from bccd_d2.masks.cells import Cells
from bccd_d2.models.preprocessing import with_reference
from bccd_d2.report.draw import draw_outlines
from bccd_d2.training import loaders
from bccd_d2.training.run import prepare


def augmented_crops(config: Any, image: str, draws: int, plain: bool = False) -> list[np.ndarray]:
    """Training crops of one image with the outlines of their labels.

    Args:
        config: as `load_config` returns it.
        image: number in ``DATASETS.TRAIN``, or part of one file's name.
        draws: crops; crop k shows the same place whatever is switched on.
        plain: put each crop without outlines before the one with them.

    Returns:
        (H, W, 3) uint8 RGB each.

    Raises:
        KeyError, ValueError, OSError: the config, the dataset or the image cannot be used.
    """
    config = with_reference(prepare(config))
    record = loaders.find_record(config.DATASETS.TRAIN, image)
    # A dense model's maps are drawn from the same cells.
    options = replace(loaders.mapper_options(config), dense=None)
    crops = []
    for seed in range(draws):
        sample = LabelMapMapper(options, seed=seed)(record)
        crop = sample["image"].permute(1, 2, 0).numpy()
        masks = sample["instances"].gt_masks.tensor.numpy()
        numbers = np.arange(1, len(masks) + 1, dtype=np.int32)[:, None, None]
        cells = Cells.from_label_map((masks * numbers).sum(axis=0, dtype=np.int32))
        crops += [crop] if plain else []
        crops.append(draw_outlines(crop, cells, thickness=4))
    return crops


@dataclass(frozen=True)
class Normalised:
    """Images before and after stain normalisation.

    Attributes:
        reference: what the training images measure, see `stain.fit_reference`.
        rows: of each image the versions, (H, W, 3) uint8 RGB at a quarter of its size: as it is,
            then at each strength.
        unchanged: images that no strength changes.
        spreads: of each version how far the colours of the cells lie apart over all images, in
            CIE Lab.
    """

    reference: tuple[float, ...]
    rows: list[list[np.ndarray]]
    unchanged: int
    spreads: list[float]


def normalised_images(
    folder: str | Path, split: str, method: str, strengths: Sequence[float], count: int = 0
) -> Normalised:
    """Evenly spaced images of a converted dataset's split, normalised to its training images.

    Args:
        count: at most so many images; 0 = all.

    Raises:
        KeyError, ValueError, OSError: no such dataset, split or method; a strength out of range.
    """
    train = load_split(folder, "train")
    given = train[0]["max_value"] if train else None
    reference = stain.fit_reference([r["file_name"] for r in train], method, given)
    records = load_split(folder, split)
    chosen = np.linspace(0, len(records) - 1, min(count or len(records), len(records))).astype(int)
    rows = []
    for index in chosen:
        image = read_image(records[index]["file_name"], max_value=given)
        source = stain.measure(image, method)
        small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
        rows.append([stain.normalise(small, source, reference, s) for s in (0, *strengths)])
    unchanged = sum(all(np.array_equal(row[0], other) for other in row) for row in rows)
    spreads = [stain.colour_spread(column) for column in zip(*rows, strict=True)]
    return Normalised(tuple(reference.values), rows, unchanged, spreads)
