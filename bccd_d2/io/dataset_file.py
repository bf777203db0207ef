"""``dataset.json``: what the converter says of a dataset, and where its files lie."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bccd_d2.io.records import confined, read_json

DESCRIPTION = "dataset.json"
HOW_TO_CONVERT = "bccd convert --root ROOT --out OUT"
_COUNTS = {"images?": range(1 << 40), "cells?": range(1 << 40), "max_cells?": range(1 << 31)}
SHAPE = {
    "format_version": int,
    "image_root": str,
    "name?": str,
    "splits": {str: {"json": str}},
    "counts?": {str: _COUNTS},
    "statistics?": {
        "split?": str,
        "pixel_mean_rgb?": [float],
        "pixel_std_rgb?": [float],
        "cell_area_percentiles?": {str: float},
        "cell_width_percentiles?": {str: float},
        "cell_height_percentiles?": {str: float},
        "cells_per_image?": dict,
    },
    "annotations?": str,
    "complete?": bool,
    "weak?": dict,
    "categories?": [str],
    "options?": dict,
    "versions?": {str: str},
    "fingerprint?": str,
    "skipped?": range(1 << 40),
    "left_out?": [str],
    "value_ranges?": {str: range(1 << 40)},
    "masks_read_as?": {str: range(1 << 40)},
}


def read_description(folder: str | Path) -> dict[str, Any]:
    """The content of ``folder/dataset.json``.

    Raises:
        FileNotFoundError: the folder is not a converted dataset.
        ValueError: the file is broken, or of another format version; the message names the field.
    """
    path = Path(folder) / DESCRIPTION
    raw = any((Path(folder) / split / "original").is_dir() for split in ("train", "test"))
    how = HOW_TO_CONVERT.replace("ROOT", shlex.quote(str(folder))) if raw else HOW_TO_CONVERT
    version = read_json(path, dict, f"make it with: {how}, and name OUT").get("format_version")
    if version != 1:
        raise ValueError(f"{path}: format_version 1 wanted, got {version!r:.40}; convert again")
    return read_json(path, SHAPE, "convert the dataset again")


def image_root(folder: str | Path, description: Mapping[str, Any] | None = None) -> Path:
    """The absolute folder that image file names of a converted dataset are relative to."""
    description = read_description(folder) if description is None else description
    return Path(os.path.abspath(Path(folder) / description["image_root"]))


def max_value(description: Mapping[str, Any]) -> float | None:
    """What becomes 255 in the dataset's images of more than 8 bits; None = as their values say.

    For `bccd_d2.io.images.read_plane`.
    """
    found = (description.get("options") or {}).get("max_value")
    return float(found) if isinstance(found, (int, float)) and found > 0 else None


def split_json(
    folder: str | Path, split: str, description: Mapping[str, Any] | None = None
) -> Path:
    """The COCO json of a split.

    Raises:
        KeyError: the dataset has no such split; the message lists those it has.
        ValueError: the json lies outside the dataset.
    """
    description = read_description(folder) if description is None else description
    splits = description["splits"]
    if split not in splits:
        raise KeyError(
            f"{Path(folder) / DESCRIPTION} has no split '{split}'; it has "
            f"{', '.join(sorted(splits))}"
        )
    return Path(os.path.abspath(confined(folder, splits[split]["json"])))
