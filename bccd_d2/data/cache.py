"""Reading an image together with its label map, with a bounded memory of what was decoded."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from bccd_d2.io.images import read_image
from bccd_d2.io.label_images import read_label_file

Pair = tuple[np.ndarray, np.ndarray]


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
        self._pairs: OrderedDict[tuple[str, str | None], Pair] = OrderedDict()
        self._bytes = 0

    def __getstate__(self) -> dict[str, float]:
        return {"cache_mb": self.cache_mb}

    def __setstate__(self, state: dict[str, float]) -> None:
        PairReader.__init__(self, state["cache_mb"])

    @property
    def cached_bytes(self) -> int:
        """Bytes of pixels held now."""
        return self._bytes

    def read(
        self, image_file: str, label_file: str | None, max_value: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The image (H, W, 3) uint8 RGB and its label map (H, W) uint16, both read-only.

        Args:
            label_file: None gives a label map without cells.
            max_value: see `bccd_d2.io.images.read_plane`.

        Raises:
            FileNotFoundError: one of them is missing.
            ValueError: one cannot be decoded, or their sizes differ.
        """
        key = (image_file, label_file)
        if key in self._pairs:
            self._pairs.move_to_end(key)
            return self._pairs[key]
        try:
            image = read_image(image_file, max_value=max_value)
            label_map: np.ndarray = np.zeros(image.shape[:2], dtype=np.uint16)
            if label_file is not None:
                label_map = read_label_file(label_file, compact=False).astype(np.uint16)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"{error}; were images moved without the dataset? Convert it again"
            ) from error
        if image.shape[:2] != label_map.shape:
            raise ValueError(
                f"{image_file} is {image.shape[1]}x{image.shape[0]}, its label map {label_file} "
                f"{label_map.shape[1]}x{label_map.shape[0]}; convert the dataset again"
            )
        image.setflags(write=False)
        label_map.setflags(write=False)
        self._keep(key, (image, label_map))
        return image, label_map

    def _keep(self, key: tuple[str, str | None], pair: Pair) -> None:
        size = sum(array.nbytes for array in pair)
        if size > self.cache_mb * 1e6:
            return
        self._pairs[key] = pair
        self._bytes += size
        while self._bytes > self.cache_mb * 1e6:
            _, dropped = self._pairs.popitem(last=False)
            self._bytes -= sum(array.nbytes for array in dropped)
