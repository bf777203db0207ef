"""Instance and pixel scores of images and datasets: the two views that fix a score threshold.

Example:
    images = [score_image(truth, predictions, 0.5) for truth, predictions in pairs]
    dataset_scores(images)["instances"]["PQ"]
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bccd_d2.evaluation.instances import (
    Comparison,
    InstanceCounts,
    compare,
    count_instances,
    instance_scores,
    pooled_scores,
)
from bccd_d2.evaluation.pixels import PixelCounts, count_pixels, pixel_ratios, pixel_scores
from bccd_d2.masks.cells import Cells


@dataclass(frozen=True, eq=False)
class ImageScores:
    """The countable part of one image's scores; sums over images give a dataset's.

    Attributes:
        instances: counts of all cells.
        interior: counts without those at the image's edge (see `count_instances`).
        pixels: counts of the cells' unions.
    """

    instances: InstanceCounts
    interior: InstanceCounts
    pixels: PixelCounts

    def row(self) -> dict[str, float]:
        """One line of a per-image table: counts, then all scores, then interior, then pixels."""
        row: dict[str, float] = {}
        for prefix, counts in (("", self.instances), ("interior_", self.interior)):
            row |= {
                f"{prefix}truth": counts.truth,
                f"{prefix}predicted": counts.predicted,
                f"{prefix}count_error": counts.predicted - counts.truth,
            }
            row |= {f"{prefix}{key}": value for key, value in pooled_scores(counts).items()}
        return row | {f"pixel_{key}": value for key, value in pixel_ratios(self.pixels).items()}


def score_image(
    truth: Cells,
    predictions: Cells,
    score_threshold: float,
    comparison: Comparison | None = None,
) -> ImageScores:
    """Scores of one image with the cells whose score is at least ``score_threshold``.

    Args:
        comparison: ``compare(truth, predictions)`` where it is already there.

    Raises:
        ValueError: truth and predictions are of different image sizes.
    """
    comparison = compare(truth, predictions) if comparison is None else comparison
    return ImageScores(
        instances=count_instances(comparison, score_threshold),
        interior=count_instances(comparison, score_threshold, interior=True),
        pixels=count_pixels(truth, predictions.above(score_threshold)),
    )


def dataset_scores(images: Sequence[ImageScores]) -> dict[str, dict[str, float | None]]:
    """Scores of a dataset in three groups: ``instances``, ``interior`` and ``pixels``.

    Cells and pixels are pooled over images (a crowded image weighs more); count errors are means
    over images, ``_image_mean``, ``_image_median`` and so on the spread of pixel scores over them.
    Scores of a group without any true cell are None.

    Raises:
        ValueError: no images.
    """
    return {
        "instances": instance_scores([image.instances for image in images]),
        "interior": instance_scores([image.interior for image in images]),
        "pixels": pixel_scores([image.pixels for image in images]),
    }
