"""Augmentations beyond turns and colour jitter, all off by default, in the order they apply."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from bccd_d2.data.augment.affine import STRONGEST, affine
from bccd_d2.data.augment.copy_paste import copy_paste
from bccd_d2.data.augment.elastic import MOST, elastic
from bccd_d2.data.augment.erase import erase


@dataclass(frozen=True)
class ExtraOptions:
    """Strengths; with 0 an augmentation neither changes nor draws anything.

    Attributes:
        copy_paste: largest number of cells pasted into a crop; see `copy_paste`.
        affine: bound of turn, shear and stretch, .1 is mild; see `affine`.
        elastic: largest displacement in px of the crop, at most 12; see `elastic`.
        erase: chance that rectangles are erased; see `erase`.
        stain_jitter: relative change of each stain; see `stain_jitter`.
    """

    copy_paste: int = 0
    affine: float = 0.0
    elastic: float = 0.0
    erase: float = 0.0
    stain_jitter: float = 0.0

    def __post_init__(self) -> None:
        tops = {"copy_paste": 1000, "affine": STRONGEST, "elastic": MOST}
        tops |= {"erase": 1, "stain_jitter": 0.9}
        for name, top in tops.items():
            if not 0 <= getattr(self, name) <= top:
                raise ValueError(f"{name} must lie in [0, {top}], got {getattr(self, name)}")


def augment_pair(
    image: np.ndarray,
    labels: np.ndarray,
    areas: np.ndarray,
    rng: np.random.Generator,
    options: ExtraOptions,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[int]]:
    """Image, labels and whole-cell areas after pasting, warping, bending and erasing.

    The list says which label each pasted cell is a copy of; theirs begin where ``areas`` ended.

    Args:
        image: (H, W, 3) uint8; labels: (H, W) uint16.
        areas: (L + 1,) area each label would have if nothing of it were cut off.
    """
    image, labels, areas, copied = copy_paste(image, labels, areas, rng, options.copy_paste)
    image, labels, areas = affine(image, labels, areas, rng, options.affine)
    image, labels = elastic(image, labels, rng, options.elastic)
    image, labels = erase(image, labels, rng, options.erase)
    return image, labels, areas, copied
