"""A trained model as a function from images to cells, whatever computes its network."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bccd_d2.data.preprocess import Preprocessor, resize_image, scaled_size
from bccd_d2.masks.cells import Cells
from bccd_d2.modeling.options import classes_of
from bccd_d2.models.file import DECIDING, file_sha256
from bccd_d2.models.preprocessing import preprocess_options

logger = logging.getLogger(__name__)

PRECISIONS = ("fp32", "bf16", "int8")


class CellModel:
    """What a config and its weights say of images; a subclass has the network.

    Attributes:
        name: the model file's own, else the run folder's or the file's.
        score_threshold: the operating point that was chosen with the model, in [0, 1].
        diameter: px, at the model's own scale, of the cells that it was trained on; None for a
            model that was trained on images of one scale alone.
        classes: what its cells may be.
        looks_at_whole: the preprocessing of a part depends on the colours of the whole image.
        source: file of the weights; "" for a model without any.
        precision: of `PRECISIONS`, what the network computes in.
        backend: what computes the network: "torch", "onnx" or "openvino".
        device: where it does, such as "cpu" or "cuda:0".
    """

    backend: str
    device: str

    def __init__(
        self,
        name: str,
        config: Mapping[str, Any],
        score_threshold: float,
        source: str = "",
        precision: str = "fp32",
    ) -> None:
        if precision not in PRECISIONS:
            raise ValueError(f"precision must be one of {PRECISIONS}, got {precision!r}")
        self.name, self.source, self.precision = name, source, precision
        self.score_threshold = float(score_threshold)
        given = config["INPUT"]
        self._scale = float(given["IMAGE_SCALE"])
        diameter = given.get("DIAMETER", 0)
        self.diameter: float | None = diameter / self._scale if diameter else None
        self.classes = classes_of(config)
        self._look = preprocess_options(config)
        self.looks_at_whole = self._look.stain is not None and self._look.stain_strength > 0
        self._cap = int(config["TEST"]["DETECTIONS_PER_IMAGE"])

    def digest(self) -> str:
        """SHA-256 of the weights' file; "" for a model without weights."""
        return file_sha256(self.source) if self.source else ""

    def identity(self) -> str:
        """SHA-256 of the weights, of what the config says on answering, and of the precision."""
        deciding = {k: v for k, v in self._portable().items() if k.startswith(DECIDING)}
        text = self.digest() + json.dumps(deciding, sort_keys=True)
        text += "" if self.precision == "fp32" else self.precision
        return hashlib.sha256(text.encode()).hexdigest()

    def __call__(
        self,
        images: Sequence[np.ndarray],
        *,
        zoom: float = 1.0,
        whole: np.ndarray | None = None,
        untyped: bool = False,
    ) -> list[Cells]:
        """The candidates of each image, in its own frame, of all scores the model gives.

        Images of one size go through the model together, others one by one; the answer does not
        depend on that.

        Args:
            images: (H, W, 3) uint8 RGB each.
            zoom: factor on top of the model's own scale, for cells of another size.
            whole: (h, w, 3) uint8 RGB, pixels that stand for the colours of the whole image that
                ``images`` are parts of; None = each image stands for itself.
            untyped: outlines alone: no types, and no cells or scores that come of them.
        """
        parts = [self._input(image, zoom, whole) for image in images]
        sizes = [(int(image.shape[0]), int(image.shape[1])) for image in images]
        if len({part.shape for part in parts}) == 1:
            found = self._answer(parts, sizes, untyped)
        else:
            pairs = zip(parts, sizes, strict=True)
            found = [self._answer([part], [size], untyped)[0] for part, size in pairs]
        self._warn_about_cap(found)
        return found

    def outlines(
        self, images: Sequence[np.ndarray], *, zoom: float, whole: np.ndarray | None
    ) -> list[Cells]:
        """The answer without types."""
        return self(images, zoom=zoom, whole=whole, untyped=True)

    def _answer(
        self, images: Sequence[np.ndarray], sizes: Sequence[tuple[int, int]], untyped: bool = False
    ) -> list[Cells]:
        """The cells of images (h, w, 3) uint8 RGB of one size, each in a frame of its size."""
        raise NotImplementedError

    def _portable(self) -> Mapping[str, Any]:
        """The config by dotted key, as `models.file.portable_config` has it."""
        raise NotImplementedError

    def _input(self, image: np.ndarray, zoom: float, whole: np.ndarray | None) -> np.ndarray:
        size = scaled_size(image.shape[:2], self._scale * zoom)
        part = resize_image(image, size)
        return Preprocessor(self._look)(part, image if whole is None else whole, "")

    def _warn_about_cap(self, found: Sequence[Cells]) -> None:
        if any((cells.scores >= self.score_threshold).sum() >= self._cap for cells in found):
            logger.warning(
                "an image or tile has %d cells or more, and no more are reported: use smaller "
                "tiles, or raise TEST.DETECTIONS_PER_IMAGE",
                self._cap,
            )
