"""What napari calls by ``napari.yaml``: a widget that finds cells, a reader of results, a smear.

Nothing here imports napari: images are arrays, layers are tuples of data, options and kind, as its
plugin interface wants them.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import napari.types

    from bccd_d2.export.table import Table

Layer = tuple[Any, dict[str, Any], str]
SMEAR: dict[str, Any] = {"seed": 11, "size": (600, 800), "n_cells": 24}


def find_cells(
    image: napari.types.ImageData,
    diameter_px: float = 0.0,
    score_threshold: float = 0.0,
    pixel_size_um: float = 0.0,
    model: str = "",
) -> napari.types.LayerDataTuple:
    """A labels layer of the cells in an image layer, with their measurements as features.

    Args:
        image: (H, W) or (H, W, 3 or more) of 8 bits, or of more, which are stretched to 8.
        diameter_px: across a typical cell; 0 = estimated.
        score_threshold: 0 = the model's own.
        pixel_size_um: 0 = unknown.
        model: a file, a run's folder or a shipped name; "" = the shipped one.
    """
    rgb = as_rgb(image)
    cells = _model(model).predict(
        rgb, score_threshold or None, diameter=diameter_px or "auto"
    )
    table = cells.measure(rgb, pixel_size_um or None)
    about = {"name": "cells", "features": features(table), "opacity": 0.5}
    if cells.trust is not None and cells.trust.complaint:
        about["name"] = f"cells (check this image: {cells.trust.complaint})"
    return cells.to_label_map(), about, "labels"


def as_rgb(image: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 of an image layer's data.

    Raises:
        ValueError: a stack, or no image.
    """
    image = np.asarray(image)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    if image.ndim != 3 or image.shape[2] not in (3, 4) or not image.size:
        raise ValueError(
            f"one image of grey or RGB is wanted, this layer has the shape {image.shape}: choose "
            "one plane of a stack"
        )
    image = image[..., :3]
    if image.dtype != np.uint8:
        low, high = float(image.min()), float(image.max())
        image = ((image - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8)
    return np.ascontiguousarray(image)


def features(table: Table) -> dict[str, Any]:
    """Columns for a labels layer, whose first row is of the background."""
    found: dict[str, Any] = {"index": np.concatenate([[0], table["id"]])}
    for name, values in table.items():
        if name == "id":
            continue
        first = [""] if values.dtype.kind in "OUS" else [0]
        found[name] = np.concatenate([np.array(first, dtype=values.dtype), values])
    return found


@functools.lru_cache(maxsize=2)
def _model(name: str) -> Any:
    from bccd_d2 import load_pretrained

    return load_pretrained(name)


def reader_of(path: str | Sequence[str]) -> Callable[[Any], list[Layer]] | None:
    """What reads a folder of `bccd predict`; None for any other path, which others may read."""
    from bccd_d2.slide.fields import is_results

    one = path if isinstance(path, str) else path[0] if len(path) == 1 else ""
    return read_results if one and is_results(one) else None


def read_results(path: str | Sequence[str]) -> list[Layer]:
    """An image and a labels layer, with measurements, for each image of a results folder.

    Only the first image is shown at first. An image that is gone leaves its labels.
    """
    from bccd_d2.io.label_images import find_label_file, read_label_file
    from bccd_d2.slide.fields import read_sample

    folder = Path(path if isinstance(path, str) else path[0])
    layers: list[Layer] = []
    for number, field in enumerate(read_sample(folder).fields):
        shown = {"visible": number == 0}
        try:
            layers.append((field.image(), {"name": field.name, "rgb": True, **shown}, "image"))
        except (OSError, ValueError):
            pass
        labels = read_label_file(find_label_file(folder / "labels", field.name), compact=False)
        table = {"id": np.arange(1, len(field.areas) + 1), "area": field.areas,
                 "type": np.array(field.types, dtype=object)}  # fmt: skip
        about = {"name": f"{field.name} cells", "features": features(table), "opacity": 0.5}
        layers.append((labels, {**about, **shown}, "labels"))
    return layers


def drawn_smear() -> list[Layer]:
    """A synthetic smear and its true cells."""
    from bccd_d2.synth.smear import draw_smear

    smear = draw_smear(**SMEAR)
    return [
        (smear.image, {"name": "drawn smear", "rgb": True}, "image"),
        (smear.label_map, {"name": "true cells", "opacity": 0.4, "visible": False}, "labels"),
    ]
