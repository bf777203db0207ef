"""Reading an image together with its label map, with a bounded memory of what was decoded."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.masks.labels import read_label_map


def read_rgb(path: str | Path) -> np.ndarray:
    """The image as (H, W, 3) uint8 RGB; grey, palette, 16-bit and alpha files are converted.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be decoded.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"image {path} does not exist; were the images moved without the converted dataset?"
        )
    pixels = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError(f"image {path} cannot be decoded; replace it or convert the dataset again")
    return cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


class PairReader:
    """Reads pairs of image and label map, keeping the last used ones decoded.

    A 1600x1200 pair takes 9.6 MB decoded, so 80 of them need ``cache_mb=800``. Each process has its
    own cache: with W loader workers the memory is W times as large. Pickling leaves the cache
    behind.

    Args:
        cache_mb: bound in MB (10^6 bytes); 0 keeps nothing. A pair larger than it is not kept.
    """

    def __init__(self, cache_mb: float = 0) -> None:
        if cache_mb < 0:
            raise ValueError(f"cache_mb must be at least 0, got {cache_mb}")
        self.cache_mb = cache_mb
        self._pairs: OrderedDict[tuple[str, str], tuple[np.ndarray, np.ndarray]] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, float]:
        return {"cache_mb": self.cache_mb}

    def __setstate__(self, state: dict[str, float]) -> None:
        self.__init__(state["cache_mb"])

    @property
    def cached_bytes(self) -> int:
        """Bytes of pixels held now."""
        return self._bytes

    def read(self, image_file: str, label_file: str) -> tuple[np.ndarray, np.ndarray]:
        """The image (H, W, 3) uint8 RGB and its label map (H, W) uint16, both read-only.

        Raises:
            FileNotFoundError: one of them is missing.
            ValueError: one cannot be decoded, or their sizes differ.
        """
        key = (image_file, label_file)
        if key in self._pairs:
            self._pairs.move_to_end(key)
            return self._pairs[key]
        image = read_rgb(image_file)
        label_map = read_label_map(label_file).astype(np.uint16)
        if image.shape[:2] != label_map.shape:
            raise ValueError(
                f"{image_file} is {image.shape[1]}x{image.shape[0]}, its label map {label_file} "
                f"{label_map.shape[1]}x{label_map.shape[0]}; convert the dataset again"
            )
        image.setflags(write=False)
        label_map.setflags(write=False)
        self._keep(key, (image, label_map))
        return image, label_map

    def _keep(self, key: tuple[str, str], pair: tuple[np.ndarray, np.ndarray]) -> None:
        size = sum(array.nbytes for array in pair)
        if size > self.cache_mb * 1e6:
            return
        self._pairs[key] = pair
        self._bytes += size
        while self._bytes > self.cache_mb * 1e6:
            _, dropped = self._pairs.popitem(last=False)
            self._bytes -= sum(array.nbytes for array in dropped)
