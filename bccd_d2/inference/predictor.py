"""From an image of any size to cells: windows, views and models, merged and stitched.

An image up to `WHOLE` pixels goes to the model in one piece, a larger one in windows. For every
window each model looks at each view (`augmentation`); what they say is merged on masks, thresholded
and stitched (`stitch`). Memory grows with the number of cells, not with the pixels, as long as the
image itself is read in windows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from bccd_d2.inference.stitch import stitch
from bccd_d2.inference.tiling import Tile, plan_tiles
from bccd_d2.inference.tta import View, merge_views
from bccd_d2.masks.cells import Cells

WHOLE = 3_000_000  # px: 1944x1383 in one piece; twice that may hold more cells than a model reports
TILE, OVERLAP = 1536, 320  # px; an overlap of three cells of the size models are trained on
MOST_PIXELS = 2**32 - 1  # of an image: run lengths are 32-bit numbers
_SAMPLES, _SAMPLE = 4, 256  # windows a side and their px, for the colours of an image


class Answer(Protocol):
    """A model: images (H, W, 3) uint8 RGB in, the cells of each in its own frame out.

    ``zoom`` is a factor on the model's own scale. Where ``looks_at_whole`` is True, ``whole`` gives
    pixels that stand for the colours of the image that the given ones are parts of.
    """

    looks_at_whole: bool

    def __call__(
        self, images: Sequence[np.ndarray], *, zoom: float, whole: np.ndarray | None
    ) -> list[Cells]: ...


@dataclass(frozen=True)
class PredictOptions:
    """How an image is looked at; lengths in pixels of the image.

    Attributes:
        score_threshold: cells below it are left out, in [0, 1].
        tile: side of a window; None = by the size of the image; 0 = never cut it.
        overlap: of neighbouring windows; cells larger than that less 16 px may be cut off at a
            seam, which is warned of. None = 320, less where tiles are small.
        views: of `augmentation.parse_views`.
        scale: 0.5 where cells appear twice as large as in the images the model was trained on.
        batch: windows that go through the model together; more than 1 pays on a GPU.
    """

    score_threshold: float = 0.0
    tile: int | None = None
    overlap: int | None = None
    views: tuple[View, ...] = (View(),)
    scale: float = 1.0
    batch: int = 1

    def __post_init__(self) -> None:
        checks = [
            ("score_threshold", 0 <= self.score_threshold <= 1, "lie in [0, 1]"),
            ("tile", self.tile is None or self.tile >= 0, "be None, 0 or pixels"),
            ("overlap", self.overlap is None or self.overlap >= 0, "be None or pixels from 0"),
            ("views", len(self.views) > 0, "hold at least one"),
            ("scale", 0 < self.scale <= 100, "be above 0 and at most 100"),
            ("batch", self.batch >= 1, "be at least 1"),
        ]
        for name, passed, wanted in checks:
            if not passed:
                raise ValueError(f"{name} must {wanted}, got {getattr(self, name)}")

    def tiles(self, image_size: tuple[int, int]) -> list[Tile]:
        """The windows for an image of (height, width); one that fills it where none are needed.

        Raises:
            ValueError: see `tiling.plan_tiles`.
        """
        height, width = image_size
        whole = height * width * self.scale**2 <= WHOLE if self.tile is None else self.tile == 0
        if whole:
            return plan_tiles(image_size, max(height, width, 1), 0)
        tile = self.tile or round(TILE / self.scale)
        overlap = min(round(OVERLAP / self.scale), tile // 2)
        return plan_tiles(image_size, tile, overlap if self.overlap is None else self.overlap)


def predict_cells(
    models: Sequence[Answer],
    image: Any,
    options: PredictOptions | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Cells:
    """The cells of one image; with several views or models also their uncertainty.

    Args:
        models: their answers are merged on masks.
        image: (H, W, 3) uint8 RGB, an array or whatever gives arrays for ``image[rows, columns]``
            (`windows.TiffWindows`).
        progress: called with windows done and windows in all.

    Raises:
        ValueError: no models, another shape or type, an empty image, or one too large.
    """
    options = options or PredictOptions()
    size = check_image(image)
    if not models:
        raise ValueError("models must hold at least one")
    tiles = options.tiles(size)
    parts = _answers(models, image, tiles, options)
    if len(tiles) == 1:
        return next(parts)[1]
    return stitch(_counted(parts, len(tiles), progress), size)


def check_image(image: Any) -> tuple[int, int]:
    """Height and width of an image that can be predicted on.

    Raises:
        ValueError: not (H, W, 3) uint8, empty, or of more than `MOST_PIXELS`.
    """
    shape, dtype = getattr(image, "shape", None), getattr(image, "dtype", None)
    if shape is None or len(shape) != 3 or shape[2] != 3 or dtype != np.uint8:
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB, got {type(image).__name__} {shape} {dtype}; "
            "bccd_d2.io.images.read_image reads files of any depth as that"
        )
    height, width = int(shape[0]), int(shape[1])
    if not 0 < height * width <= MOST_PIXELS:
        raise ValueError(f"image must have 1 to {MOST_PIXELS} pixels, got {height}x{width}")
    return height, width


def colours_of(image: Any) -> np.ndarray:
    """(h, w, 3) uint8: the image, or of a large one windows spread over it, side by side."""
    height, width = image.shape[:2]
    if height * width <= WHOLE:
        return np.asarray(image[:, :])
    rows = np.linspace(0, max(0, height - _SAMPLE), _SAMPLES).astype(int)
    columns = np.linspace(0, max(0, width - _SAMPLE), _SAMPLES).astype(int)
    bands = [
        np.concatenate([np.asarray(image[y : y + _SAMPLE, x : x + _SAMPLE]) for x in columns], 1)
        for y in rows
    ]
    return np.concatenate(bands)


def _answers(
    models: Sequence[Answer], image: Any, tiles: Sequence[Tile], options: PredictOptions
) -> Iterator[tuple[Tile, Cells]]:
    """Each tile with the cells of its window above the threshold."""
    cut = len(tiles) > 1 and any(model.looks_at_whole for model in models)
    whole = colours_of(image) if cut else None
    for start in range(0, len(tiles), options.batch):
        batch = tiles[start : start + options.batch]
        windows = [np.ascontiguousarray(tile.cut(image)) for tile in batch]
        seen: list[list[Cells]] = [[] for _ in batch]
        for model in models:
            for view in options.views:
                given = [view.apply(window) for window in windows]
                zoom = options.scale * view.zoom
                for place, cells in enumerate(model(given, zoom=zoom, whole=whole)):
                    seen[place].append(view.undo(cells, windows[place].shape[:2]))
        for tile, answers in zip(batch, seen, strict=True):
            yield tile, merge_views(answers).above(options.score_threshold)


def _counted(
    parts: Iterator[tuple[Tile, Cells]], total: int, progress: Callable[[int, int], None] | None
) -> Iterator[tuple[Tile, Cells]]:
    for done, part in enumerate(parts, start=1):
        yield part
        if progress is not None:
            progress(done, total)
