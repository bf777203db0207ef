"""How many cells models find on real images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bccd_d2.io.images import read_image


def counts_of_real_images(models: Sequence[Any], sample_root: Path) -> list[list[int]]:
    """A row for each of two test images, the cells that each model finds."""
    files = sorted((sample_root / "test" / "original").glob("*.jpg"))[:2]
    return [[len(model.predict(read_image(file), scale=1.0)) for model in models] for file in files]
