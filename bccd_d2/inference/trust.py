"""Is this answer to be trusted? Checks of an image and its cells that need no truth.

Each check gives a number, in [0, 1] where 0 is good; together they give a score, the chance that
the outlines are fine, and the reasons in words for those that stand out. None runs a model: what
another look at the image says is handed in.

| check | what it measures |
| --- | --- |
| unexplained | share of the stained area that no outline covers |
| unstained | share of the outlined cells that hold hardly any stain |
| doubt | 1 minus the mean score of the cells, by area |
| faint | share of the candidates that stayed below the threshold |
| size | how far the cells' median diameter is from the one that the image was scaled for |
| spread | how far the diameters of the cells differ |
| unsized | 1 minus the agreement of the looks that estimated the size; 1 = no size found |
| blur | how soft the outlines' edges are, for the size of the cells |
| crowding | share of the image that is stained |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import cv2
import numpy as np

from bccd_d2.inference.colours import doubts_of_colours
from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.predictor import check_image
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.labels import disc_diameter
from bccd_d2.masks.resize import resize_label_map
from bccd_d2.masks.stain import Stain, channel_mean, stain_map

CHECKS = ("unexplained", "unstained", "doubt", "faint", "size", "spread", "unsized", "blur",
          "crowding")  # fmt: skip
_LOOK = 512  # px of the longer side at which stain is measured
_WORTH_SAYING = 0.7  # of the score's logit
_DARK = 50  # median grey level; the darkest of 293 smears of four laboratories has 119
_GREY = 3  # between the channels of a pixel, at most, in an image without colour
_FOREIGN_SCORE = 0.1  # at most, where the model does not know such images or their size
# A logistic regression on 280 images of four laboratories with the answers of two models, one of
# them at the wrong size of cells; bad = F1 (or the share of points found, or recall) under .7. By
# hand: "unsized", which no image of that set failed by; the bias, so that of 175 training answers
# no more good ones are doubted than before stain was measured against an uneven background.
WEIGHTS = {
    "unexplained": -7.2, "unstained": -0.9, "doubt": -3.7, "faint": -7.8, "size": -1.4,
    "spread": -4.9, "unsized": -1.0, "blur": -0.5, "crowding": -2.7,
}  # fmt: skip
BIAS = 5.6
USUAL = {  # medians of the good images
    "unexplained": 0.03, "unstained": 0.0, "doubt": 0.04, "faint": 0.02, "size": 0.03,
    "spread": 0.21, "unsized": 0.02, "blur": 0.37, "crowding": 0.44,
}  # fmt: skip
REASONS = {
    "unexplained": "{:.0%} of the stained area has no outline",
    "unstained": "{:.0%} of the outlines hold hardly any stain",
    "doubt": "the outlines fit badly (mean doubt {:.2f})",
    "faint": "{:.0%} of what might be cells scored too low to be reported",
    "size": "the cells found are not of the size that was assumed",
    "spread": "the cells' sizes differ widely",
    "unsized": "the size of the cells is uncertain",
    "blur": "the image is out of focus",
    "crowding": "{:.0%} of the image is stained: cells overlap",
}
_OF_IMAGE = ("unexplained", "unsized", "crowding")  # what can be said where no cell was found


@dataclass(frozen=True)
class Trust:
    """What the checks say.

    Attributes:
        score: chance that the outlines are fine, in [0, 1].
        reasons: sentences for people, the gravest first; empty where nothing stands out.
        measures: each of `CHECKS`, in [0, 1].
    """

    score: float
    reasons: tuple[str, ...]
    measures: Mapping[str, float]

    def needs_a_look(self, threshold: float = 0.5) -> bool:
        """Whether a person should check the image."""
        return self.score < threshold

    @property
    def complaint(self) -> str:
        """Why a person should check the image, in one line; "" where nobody need."""
        if not self.needs_a_look():
            return ""
        return "; ".join(self.reasons) or "several checks are a little worse than usual"


def assess(
    image: np.ndarray,
    candidates: Cells,
    threshold: float,
    diameter: float,
    estimate: DiameterEstimate | None = None,
) -> Trust:
    """Checks of one image's answer.

    Args:
        image: (H, W, 3) uint8 RGB.
        candidates: the model's cells of all scores.
        threshold: those at or above it are the answer.
        diameter: px that the image's cells were taken to have.
        estimate: of the size of the cells; None = it was given by a person, and is believed.

    Raises:
        ValueError: no such image, or ``diameter`` is not above 0.
    """
    check_image(image)
    if not diameter > 0:
        raise ValueError(f"diameter must be above 0 px, got {diameter}")
    stain = stain_map(image, min(1.0, _LOOK / max(image.shape[:2])))
    measures = measure(stain, candidates, threshold, diameter, estimate)
    total = BIAS + sum(WEIGHTS[name] * measures[name] for name in CHECKS)
    blame = {name: WEIGHTS[name] * (measures[name] - USUAL[name]) for name in CHECKS}
    grave = [name for name in sorted(blame, key=blame.__getitem__) if blame[name] < -_WORTH_SAYING]
    score = float(1 / (1 + np.exp(-total)))
    reasons = tuple(REASONS[name].format(measures[name]) for name in grave)
    cells = candidates.above(threshold)
    if not len(cells):
        said = [n for n in grave if n in _OF_IMAGE or (n == "faint" and len(candidates))]
        reasons = ("no cell was found", *(REASONS[name].format(measures[name]) for name in said))
    typed = candidates.class_probabilities is not None
    foreign = _foreign(stain, typed)
    foreign += doubts_of_colours(stain, cells, typed)
    if measures["unsized"] == 1 and len(cells):
        foreign.append("the cells' size could not be estimated: say what it is")
        reasons = tuple(one for one in reasons if one != REASONS["unsized"])
    return Trust(min(score, _FOREIGN_SCORE) if foreign else score, (*foreign, *reasons), measures)


def _foreign(stain: Stain, typed: bool) -> list[str]:
    """What makes an image one of those that a model, of types or not, did not learn from."""
    pixels, found = stain.image[stain.field], []
    if np.median(pixels) < _DARK:
        found.append("the image is dark, and the model knows cells on a bright background")
    if typed and np.percentile(np.ptp(pixels, axis=1), 99) <= _GREY:
        found.append("the image has no colour, by which the model tells types of cells")
    return found


def measure(
    stain: Stain,
    candidates: Cells,
    threshold: float,
    diameter: float,
    estimate: DiameterEstimate | None = None,
) -> dict[str, float]:
    """The number of each check, in the order of `CHECKS`; other arguments as `assess`.

    Args:
        stain: of the image, at any size.
    """
    cells, stained = candidates.above(threshold), stain.stained
    factor = max(stain.image.shape[:2]) / max(candidates.image_size)
    labels = resize_label_map(cells.to_label_map(), stain.image.shape[:2])
    covered = cv2.dilate((labels > 0).astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
    least = max(int(stained.sum()), 0.005 * stain.field.sum())
    sizes = disc_diameter(cells.areas[~cells.touches_border()])
    values = {
        "unexplained": float((stained & ~covered).sum() / least),
        "unstained": _unstained(labels, stained),
        "doubt": _doubt(cells),
        "faint": 1 - _area(cells) / _area(candidates) if _area(candidates) else 1.0,
        "size": _off(sizes, diameter),
        "spread": _spread(sizes),
        "unsized": 0.0 if estimate is None else 1 - estimate.agreement if estimate.px else 1.0,
        "blur": _blur(stain, labels, diameter * factor),
        "crowding": stain.share,
    }
    return {name: float(np.clip(values[name], 0, 1)) for name in CHECKS}


def _unstained(labels: np.ndarray, stain: np.ndarray) -> float:
    """Share of the cells of which less than a quarter is stained; 0 without cells."""
    areas = np.bincount(labels.ravel())[1:]
    inside = np.bincount(labels[stain], minlength=len(areas) + 1)[1:]
    present = areas > 0
    return float((inside[present] < 0.25 * areas[present]).mean()) if present.any() else 0.0


def _doubt(cells: Cells) -> float:
    """1 - mean score by area; 1 without cells."""
    return 1 - float(np.average(cells.scores, weights=cells.areas)) if _area(cells) else 1.0


def _area(cells: Cells) -> float:
    return float(cells.areas.sum())


def _off(sizes: np.ndarray, diameter: float) -> float:
    """How far the median is from the diameter: 1 = three times larger or smaller, or no cells."""
    if not len(sizes):
        return 1.0
    return abs(float(np.log(np.median(sizes) / diameter))) / float(np.log(3))


def _spread(sizes: np.ndarray) -> float:
    """Half the 10 to 90% range of the sizes' logarithm, in octaves; 0 for fewer than three."""
    if len(sizes) < 3:
        return 0.0
    low, high = np.percentile(np.log2(sizes), [10, 90])
    return float(high - low) / 2


def _blur(stain: Stain, labels: np.ndarray, diameter: float) -> float:
    """Width of the outlines' edges over a quarter of the diameter; 1 without outlines."""
    outline = (labels > 0) & (cv2.erode((labels > 0).astype(np.uint8), np.ones((3, 3))) == 0)
    if not outline.any() or stain.contrast <= 0:
        return 1.0
    grey = cv2.GaussianBlur(channel_mean(stain.image.astype(np.float32)), (0, 0), 0.8)
    across, down = (cv2.Sobel(grey, cv2.CV_32F, *order, scale=0.125) for order in ((1, 0), (0, 1)))
    steep = cv2.dilate(np.hypot(across, down), np.ones((3, 3)))
    width = stain.contrast / max(float(np.median(steep[outline])), 1e-3)
    return width / max(diameter / 4, 1e-3)
