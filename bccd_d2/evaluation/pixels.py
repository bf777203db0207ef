"""Pixel scores of the union of cells: IoU, Dice, precision, recall, accuracy.

This is the semantic view, for models without instances too: two classes, cell and background.
Computed from whole numbers of pixels, so a score is 1.0 exactly when the two unions are equal.
Where neither truth nor prediction of an image has a pixel every score is 1; where one of them has
none, 0 (accuracy, which counts background too, excepted). A dataset without true pixels has no
scores: they are None.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco_mask

from bccd_d2.evaluation.instances import ratio, summed
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.overlap import check_image_size


@dataclass(frozen=True)
class PixelCounts:
    """Pixels of one image, or summed over several: in both unions, in each, and in all."""

    shared: int
    truth: int
    predicted: int
    total: int

    def __add__(self, other: PixelCounts) -> PixelCounts:
        """The counts of both."""
        return PixelCounts(
            self.shared + other.shared,
            self.truth + other.truth,
            self.predicted + other.predicted,
            self.total + other.total,
        )

    @property
    def background(self) -> PixelCounts:
        """The counts with background as the class that is sought."""
        neither = self.total - self.truth - self.predicted + self.shared
        return PixelCounts(
            neither, self.total - self.truth, self.total - self.predicted, self.total
        )


def count_pixels(truth: Cells, predictions: Cells) -> PixelCounts:
    """Counts of one image; nothing of the image's size is unpacked.

    Raises:
        ValueError: the two are of different image sizes.
    """
    check_image_size(truth.image_size, predictions)
    shared = true_pixels = predicted_pixels = 0
    unions = [coco_mask.merge(cells.rles) for cells in (truth, predictions) if len(cells)]
    if len(truth):
        true_pixels = int(coco_mask.area(unions[0]))
    if len(predictions):
        predicted_pixels = int(coco_mask.area(unions[-1]))
    if len(unions) == 2:
        shared = int(coco_mask.area(coco_mask.merge(unions, intersect=True)))
    height, width = truth.image_size
    return PixelCounts(shared, true_pixels, predicted_pixels, height * width)


def pixel_ratios(counts: PixelCounts) -> dict[str, float]:
    """IoU, Dice, precision, recall and accuracy in [0, 1] of one image or of a sum over images."""
    shared, truth, predicted = counts.shared, counts.truth, counts.predicted
    empty = float(truth == 0 and predicted == 0)
    union = truth + predicted - shared
    return {
        "IoU": ratio(shared, union, empty),
        "Dice": ratio(2 * shared, truth + predicted, empty),
        "precision": ratio(shared, predicted, empty),
        "recall": ratio(shared, truth, empty),
        "accuracy": ratio(counts.total - union + shared, counts.total, 1.0),
    }


def class_ratios(counts: PixelCounts) -> dict[str, float]:
    """`pixel_ratios` of the cells, the same of the background, and the means of the two.

    Keys: as there; ``background_<name>``; ``class_mean_<name>``, every class weighing the same
    (``class_mean_IoU`` is the mIoU of semantic segmentation, ``class_mean_recall`` the balanced
    accuracy). Accuracy stands once: with two classes it is the same for both.
    """
    cell, background = pixel_ratios(counts), pixel_ratios(counts.background)
    names = [name for name in cell if name != "accuracy"]
    return (
        cell
        | {f"background_{name}": background[name] for name in names}
        | {f"class_mean_{name}": (cell[name] + background[name]) / 2 for name in names}
    )


def pixel_scores(images: Sequence[PixelCounts]) -> dict[str, float | None]:
    """`class_ratios` of the summed counts, and how `pixel_ratios` is spread over images.

    The latter under ``<name>_image_mean``, ``_image_q25``, ``_image_median`` and ``_image_q75``:
    mean and quartiles, interpolated linearly between images. Without a true pixel in any image all
    are None.

    Raises:
        ValueError: no images.
    """
    total = summed(images)
    each = [pixel_ratios(image) for image in images]
    spread = {}
    for name in each[0]:
        ratios = [row[name] for row in each]
        spread[f"{name}_image_mean"] = float(np.mean(ratios))
        for level, short in ((25, "q25"), (50, "median"), (75, "q75")):
            spread[f"{name}_image_{short}"] = float(np.percentile(ratios, level))
    values = class_ratios(total) | spread
    return {k: value if total.truth else None for k, value in values.items()}
