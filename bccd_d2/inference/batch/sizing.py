"""The size of the cells in the images of a run: given, one for all, or one for each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bccd_d2.inference.batch.sources import Job
from bccd_d2.inference.diameter import DiameterEstimate, common_diameter
from bccd_d2.io.text import some
from bccd_d2.segmenter import Segmenter

AUTO, EACH = "auto", "each"
LOOKED_AT = 16  # images, evenly spaced, that a common size is taken from
APART = 1.5  # an image's own size further from the common one than this factor is worth a word
WINDOW = 2048  # px, the middle of a larger image


@dataclass(frozen=True)
class Sizing:
    """How large the cells of a run's images are taken to be.

    Attributes:
        mode: "auto" (one size for all), "each", "given", or "scale" where a scale was
            given or the model knows cells of one size only.
        px: diameter for all images; None where each has its own, or none is known.
        how: one sentence for people.
        apart: names of images whose own size is another.
    """

    mode: str
    px: float | None
    how: str
    apart: tuple[str, ...] = ()

    @property
    def estimate(self) -> DiameterEstimate | None:
        """The reason for doubts about all images: no common size; None = it is known or given."""
        unknown = self.mode == AUTO and self.px is None
        return DiameterEstimate(None, 0.0, 0, self.how) if unknown else None

    @property
    def warnings(self) -> list[str]:
        """What to look at before the results are used."""
        if self.mode == AUTO and self.px is None:
            return [unsized(self.how)]
        if not self.apart:
            return []
        return [
            f"cells of {some(self.apart)} are of another size than the common {self.px:.0f} px: if "
            "the images are not of one microscope, say --diameter each"
        ]


def unsized(what: str) -> str:
    """The warning of images without a size."""
    return (
        f"no size of cells could be estimated ({what}): the model looked at its own scale; "
        "say --diameter PX"
    )


def plan_sizes(
    diameter: str,
    scale: float | None,
    model: Segmenter,
    jobs: Sequence[Job],
    read: Callable[[Job], Any],
) -> Sizing:
    """The size that the options ask for.

    Args:
        diameter: "auto", "each" or a number of px.
        scale: in place of a diameter.
        read: an image; those that it cannot read are passed over, the run will name them.

    Raises:
        ValueError: no such diameter, or one for a model that knows cells of one size only.
    """
    if scale is not None:
        return Sizing("scale", None, f"scale {scale:g} was given")
    if diameter == EACH and model.diameter is not None:
        return Sizing(EACH, None, "estimated for each image")
    if diameter not in (AUTO, EACH):
        px = _number(diameter)
        model.scale_for(px)
        return Sizing("given", px, f"{px:g} px were given")
    if model.diameter is None:
        return Sizing("scale", None, f"model {model.name} knows cells of one size only")
    if not jobs:
        return Sizing("scale", None, "no images")
    places = np.unique(np.linspace(0, len(jobs) - 1, min(LOOKED_AT, len(jobs))).round().astype(int))
    found: dict[str, DiameterEstimate] = {}
    for place in places:
        try:
            image = read(jobs[place])
        except (ValueError, OSError):
            continue
        found[jobs[place].name] = model.estimate_diameter(middle(image))
    if not found:
        return Sizing(AUTO, None, "no image could be read")
    common = common_diameter(list(found.values()))
    apart = [name for name, one in found.items() if _apart(one.px, common.px)]
    return Sizing(AUTO, common.px, common.how, tuple(apart))


def middle(image: Any) -> np.ndarray:
    """The image, or the middle of a larger one, as an array."""
    y0, x0 = (max(0, (size - WINDOW) // 2) for size in image.shape[:2])
    return np.asarray(image[y0 : y0 + WINDOW, x0 : x0 + WINDOW])


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        message = f"diameter must be auto, each or a number of px, got {text!r}"
        raise ValueError(message) from error


def _apart(px: float | None, common: float | None) -> bool:
    return px is not None and common is not None and not common / APART <= px <= common * APART
