"""The choices of a conversion, checked once."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from math import inf
from typing import Any

from bccd_d2.data.convert.image import LabelOptions
from bccd_d2.data.convert.mask_files import KINDS
from bccd_d2.data.convert.split_lists import digest

NOT_IN_RESULT = ("strict", "workers", "single")


@dataclass(frozen=True)
class ConvertOptions(LabelOptions):
    """How masks become annotations, see `LabelOptions`, and images become splits.

    Attributes:
        val_fraction: share of the train folder that becomes validation, in [0, 1).
        test_fraction: share carved out as test where no test folder exists, in [0, 1).
        seed: of the splits, folds and of the choice for ``max_images``.
        folds: 0, or how many cross-validation folds of the train folder to write beside the splits.
        splits: lists of names for each split, see `split_lists`; None takes what folders or
            annotations say, else training images from which validation is drawn.
        max_images: use at most so many pairs of each folder, a seeded choice.
        strict: any skipped file is an error, and nothing is written.
        workers: processes; None = all cores that this process may use.

    Raises:
        ValueError: a value out of its range.
    """

    val_fraction: float = 0.3
    test_fraction: float = 0.0
    seed: int = 42
    folds: int = 0
    splits: str | None = None
    max_images: int | None = None
    strict: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        rules = (
            ("connectivity", self.connectivity in (4, 8), "4 or 8"),
            ("min_area", self.min_area >= 1, "at least 1 px"),
            ("threshold", self.threshold is None or 0 < self.threshold < inf,
             "above 0 and finite"),
            ("mask_kind", self.mask_kind in KINDS, f"one of {', '.join(KINDS)}"),
            ("max_value", self.max_value is None or 0 < self.max_value < inf,
             "above 0 and finite"),
            ("val_fraction", 0 <= self.val_fraction < 1, "in [0, 1)"),
            ("test_fraction", 0 <= self.test_fraction < 1, "in [0, 1)"),
            ("seed", self.seed >= 0, "at least 0"),
            ("folds", self.folds == 0 or self.folds >= 2, "0 or at least 2"),
            ("max_images", self.max_images is None or self.max_images >= 1, "at least 1"),
            ("workers", self.workers is None or self.workers >= 1, "at least 1"),
        )
        for name, good, wanted in rules:
            if not good:
                raise ValueError(f"{name} must be {wanted}, got {getattr(self, name)}")
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError("val_fraction and test_fraction together must leave training images")

    def check_without_masks(self) -> None:
        """Refuse options that say how a mask becomes cells, where annotations say it themselves.

        Raises:
            ValueError: one of them is not at its default.
        """
        names = ("connectivity", "min_area", "fill_holes", "split_clumps", "threshold", "mask_kind",
                 "ignore_values", "invert", "classes")  # fmt: skip
        for name in names:
            if getattr(self, name) != getattr(type(self), name):
                raise ValueError(
                    f"{name} says how a mask becomes cells; annotations say it themselves, so "
                    f"leave --{name.replace('_', '-').removesuffix('s')} out"
                )

    def recorded(self) -> dict[str, Any]:
        """The options that decide what is written, as dataset.json holds them.

        Of the lists of names a hash: no folder of this machine.
        """
        everything = dataclasses.asdict(self) | {"ignore_values": list(self.ignore_values)}
        everything["splits"] = digest(self.splits)
        del everything["classes"]
        if self.classes is not None:
            everything["classes"] = self.classes.recorded()
        return {k: v for k, v in everything.items() if k not in NOT_IN_RESULT}
