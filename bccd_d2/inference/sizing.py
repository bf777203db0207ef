"""From a wish about the size of cells to the scale at which an image is looked at."""

from __future__ import annotations

import math
from dataclasses import replace

from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.predictor import PredictOptions

AUTO = "auto"
SMALLEST, LARGEST = 3.0, 2000.0  # px


def parse_diameter(text: str | float | None) -> str | float | None:
    """What a person says of the cells' size: `AUTO`, px, or None for the model's own scale.

    >>> parse_diameter("42")
    42.0

    Raises:
        ValueError: neither "auto" nor a number from 3 to 2000.
    """
    if text is None or text == AUTO:
        return text
    try:
        px = float(text)
    except (TypeError, ValueError):
        px = math.nan
    if not SMALLEST <= px <= LARGEST:
        raise ValueError(
            f"diameter must be 'auto' or px from {SMALLEST:g} to {LARGEST:g}, got {text!r}"
        )
    return px


def sized(
    options: PredictOptions, model_diameter: float | None, given: float | DiameterEstimate
) -> PredictOptions:
    """The options with the scale that makes an image's cells as large as the model likes them.

    Args:
        options: its ``scale`` is replaced.
        model_diameter: px of the image, at scale 1, of the cells that the model was trained on.
        given: px, or an estimate; one that found no size leaves the scale at 1.

    Raises:
        ValueError: the model does not say at which size of cells it was trained.
    """
    if model_diameter is None:
        raise ValueError(
            "this model does not say at which size of cells it was trained: give scale, 0.5 where "
            "cells appear twice as large as in its training images"
        )
    px = given.px if isinstance(given, DiameterEstimate) else given
    return replace(options, scale=1.0 if px is None else model_diameter / px)
