"""Image files as the pictures that the report draws on."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np


def read_image(path: str | Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB of an image file, turned as its EXIF says.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read as an image.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"image {path} does not exist; did the dataset move?")
    image = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f"{path} cannot be read as an image; replace it and convert again")
    return np.ascontiguousarray(image[..., ::-1])
