"""Draw cells, verdicts and errors onto images; every function leaves its input alone.

Images are (H, W, 3) uint8 RGB. Line widths and letters are given for an image 1600 px long and grow
and shrink with the picture.
"""

from __future__ import annotations

import colorsys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from bccd_d2.evaluation.failures import (
    FOUND,
    KINDS,
    MERGED,
    MISSED,
    OUTLINE,
    SPLIT,
    SPURIOUS,
    Failures,
    find_failures,
)
from bccd_d2.io.atomic import write_png_atomic
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import UNSURE, Classes
from bccd_d2.masks.rle import decode_crop, rle_to_polygons

Colour = tuple[int, int, int]

# Okabe and Ito's, which colour-blind readers tell apart.
VERDICT_COLOURS: dict[str, Colour] = {
    FOUND: (0, 158, 115),
    MERGED: (230, 159, 0),
    SPLIT: (0, 0, 0),
    MISSED: (213, 94, 0),
    SPURIOUS: (0, 114, 178),
    OUTLINE: (204, 121, 167),
}
TP, FP, FN, TN = "TP", "FP", "FN", "TN"
ERROR_COLOURS: Mapping[str, Colour] = {
    TP: (0, 158, 115),
    FP: (0, 114, 178),
    FN: (213, 94, 0),
    TN: (40, 40, 40),
}
_SUBPIXEL = 4  # bits; OpenCV draws antialiased at 1/16 px
INK, PAPER = (20, 20, 20), (255, 255, 255)


def cell_colour(index: int) -> Colour:
    """A bright RGB colour for cell ``index``, far in hue from its neighbours in number."""
    hue = (0.13 + index * 0.618034) % 1
    return _rgb(round(255 * v) for v in colorsys.hsv_to_rgb(hue, 0.95, (1.0, 0.8)[index % 2]))


def type_colours(cells: Cells, classes: Classes) -> list[Colour] | None:
    """The colour of each cell's type, grey where it is unsure; None where there are no types."""
    if not classes.typed:
        return None
    shown = classes.shown(cells.class_ids, cells.class_confidence)
    return [classes.colour(int(k)) for k in shown]


def type_legend(cells: Cells, classes: Classes, width: int) -> np.ndarray:
    """(h, width, 3) uint8 white bar: the number of cells of each type in its colour, darkened.

    Types without a cell are left out, but the bar is always there.
    """
    shown = classes.shown(cells.class_ids, cells.class_confidence)
    words = [(f"{len(cells)} cells:", INK)]
    for k, name in zip((*range(len(classes)), -1), (*classes.names, UNSURE), strict=True):
        count = int((shown == k).sum())
        if count:
            words.append((f"{count} {name}", _rgb(0.85 * v for v in classes.colour(k))))
    return caption_bar(words, width)


def _rgb(values: Iterable[float]) -> Colour:
    red, green, blue = (int(value) for value in values)
    return red, green, blue


def check_image(image: np.ndarray) -> np.ndarray:
    """A contiguous copy.

    Raises:
        ValueError: not (H, W, 3) uint8.
    """
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise ValueError(f"image must be (H, W, 3) uint8 RGB, got {image.shape} {image.dtype}")
    return np.array(image, order="C")


def line_width(image: np.ndarray, thickness: float) -> int:
    """Px of a line of ``thickness`` on an image 1600 px long; at least 1."""
    return max(1, round(thickness * max(image.shape[:2]) / 1600))


def draw_outlines(
    image: np.ndarray,
    cells: Cells,
    *,
    color: Colour | Sequence[Colour] | None = None,
    thickness: float = 3,
    fill_alpha: float = 0.0,
    scores: bool = False,
) -> np.ndarray:
    """A copy of the image with each cell's outline on it; the same pixels when there is no cell.

    Args:
        color: one RGB for all, one a cell, or None for a different one each.
        thickness: px on an image 1600 px long, at least 1 on any; centred on the mask's edge.
        fill_alpha: 0 leaves the cells' inside as it is, 1 paints it over.
        scores: write each score into its cell.

    Raises:
        ValueError: image and cells differ in size, or there are not as many colours as cells.
    """
    drawn = check_image(image)
    if drawn.shape[:2] != cells.image_size:
        raise ValueError(f"cells of an image of {cells.image_size} do not fit {drawn.shape[:2]}")
    colors = _colors(color, len(cells))
    if fill_alpha > 0:
        for rle, paint in zip(cells.rles, colors, strict=True):
            crop, y0, x0 = decode_crop(rle)
            window = drawn[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]]
            window[crop] = np.round((1 - fill_alpha) * window[crop] + fill_alpha * np.array(paint))
    width = line_width(drawn, thickness)
    for rle, paint in zip(cells.rles, colors, strict=True):
        lines = [_fixed_point(polygon) for polygon in rle_to_polygons(rle, tolerance=0.75)]
        cv2.polylines(drawn, lines, True, paint, width, cv2.LINE_AA, _SUBPIXEL)
    if scores:
        boxes = cells.boxes
        texts = [f"{score:.2f}" for score in cells.scores]
        _write_centred(drawn, texts, (boxes[:, :2] + boxes[:, 2:]) / 2)
    return drawn


def _colors(color: Colour | Sequence[Colour] | None, count: int) -> list[Colour]:
    if color is None:
        return [cell_colour(index) for index in range(count)]
    if len(color) == 3 and np.isscalar(color[0]):
        return [_rgb(cast(Colour, color))] * count
    if len(color) != count:
        raise ValueError(f"color must be one RGB or one for each of {count} cells, got {color}")
    return [_rgb(one) for one in cast(Sequence[Colour], color)]


def _fixed_point(polygon: list[float]) -> np.ndarray:
    """Pixel corners to OpenCV's subpixel integers, which count from pixel centres."""
    points = (np.array(polygon).reshape(-1, 2) - 0.5) * 2**_SUBPIXEL
    return np.round(points).astype(np.int32)


def _write_centred(image: np.ndarray, texts: Iterable[str], centres: np.ndarray) -> None:
    scale = 0.5 * max(0.6, max(image.shape[:2]) / 1600)
    width = max(1, round(2 * scale))
    for text, (x, y) in zip(texts, centres, strict=True):
        (across, high), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, scale, width)
        corner = (int(x - across / 2), int(y + high / 2))
        for paint, line in ((PAPER, 3 * width), (INK, width)):
            cv2.putText(
                image, text, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, paint, line, cv2.LINE_AA
            )


def side_by_side(
    image: np.ndarray,
    truth: Cells,
    prediction: Cells,
    *,
    iou: float = 0.5,
    width: int | None = None,
) -> np.ndarray:
    """Ground truth on the left, prediction on the right, captions with counts above.

    Cells that match at IoU >= ``iou`` have thin green outlines. Errors are thick and tinted in the
    colours of `VERDICT_COLOURS`, by the verdicts of `failures.find_failures`.

    Args:
        width: px of the whole picture; None keeps the image's own size twice.

    Returns:
        (h, w, 3) uint8.
    """
    verdicts = find_failures(truth, prediction, iou)
    panels = [
        draw_verdicts(image, truth, verdicts.truth),
        draw_verdicts(image, prediction, verdicts.prediction),
    ]
    gap = max(2, image.shape[1] // 150)
    spacer = np.full((image.shape[0], gap, 3), 255, dtype=np.uint8)
    picture = np.hstack([panels[0], spacer, panels[1]])
    if width is not None:
        picture = _resize(picture, width)
    words, middle = _comparison_captions(verdicts), (picture.shape[1] + 1) // 2
    left = caption_bar(words[0], middle)
    right = caption_bar(words[1], picture.shape[1] - middle)
    return np.vstack([np.hstack([left, right]), picture])


def draw_verdicts(image: np.ndarray, cells: Cells, verdicts: np.ndarray) -> np.ndarray:
    """A copy of the image with each cell in the colour of its verdict, errors thick and tinted.

    Args:
        verdicts: one per cell, as `failures.find_failures` gives them.
    """
    drawn = check_image(image)
    for verdict, color in VERDICT_COLOURS.items():
        chosen = cells[verdicts == verdict]
        wrong = verdict != FOUND
        drawn = draw_outlines(
            drawn, chosen, color=color, thickness=6 if wrong else 3, fill_alpha=0.3 * wrong
        )
    return drawn


def error_map(
    truth: np.ndarray | Cells,
    prediction: np.ndarray | Cells,
    image: np.ndarray | None = None,
    *,
    alpha: float = 0.55,
) -> np.ndarray:
    """(H, W, 3) uint8 RGB: true and false positives green and blue, false negatives vermilion.

    Needs no instances: masks (H, W) bool do, of `Cells` it is their union.

    Args:
        image: (H, W, 3) uint8 to lay the colours over; true negatives then stay as they are.
            Without it they are dark grey.
        alpha: 0 leaves the image, 1 hides it.

    Raises:
        ValueError: sizes differ, or ``alpha`` is outside [0, 1].
    """
    masks = [m.union() if isinstance(m, Cells) else np.asarray(m) > 0 for m in (truth, prediction)]
    true, found = masks
    if true.ndim != 2 or true.shape != found.shape:
        raise ValueError(f"masks must be of one (H, W), got {true.shape} and {found.shape}")
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be in [0, 1], got {alpha}")
    kind = np.select([true & found, found, true], [0, 1, 2], default=3)
    colours = np.array([ERROR_COLOURS[k] for k in (TP, FP, FN, TN)], dtype=np.uint8)[kind]
    if image is None:
        return colours
    if image.shape != colours.shape or image.dtype != np.uint8:
        raise ValueError(f"image must be {colours.shape} uint8, got {image.shape} {image.dtype}")
    mixed = np.round((1 - alpha) * image + alpha * colours).astype(np.uint8)
    return np.where((kind == 3)[..., None], image, mixed)


def _comparison_captions(verdicts: Failures) -> list[list[tuple[str, Colour]]]:
    """For each side its words with their colours; kinds without a cell are left out."""
    captions = []
    for side, title, own in (
        (verdicts.truth, "ground truth", MISSED),
        (verdicts.prediction, "prediction", SPURIOUS),
    ):
        words = [(f"{title}: {len(side)} cells,", INK)]
        for verdict in (FOUND, *KINDS):
            count = int(np.count_nonzero(side == verdict))
            if not count and verdict not in (FOUND, own):
                continue
            text = f"{count} {verdict}"
            words.append((text, _rgb(0.8 * v for v in VERDICT_COLOURS[verdict])))
        captions.append(words)
    return captions


def caption_bar(words: Sequence[tuple[str, Colour]], width: int) -> np.ndarray:
    """(h, width, 3) uint8 white bar with coloured words; letters shrink until they fit."""
    size = max(10, round(width / 36))
    room = width - size
    needed = sum(_font(size).getlength(text + "  ") for text, _ in words)
    size = max(6, int(size * min(1, room / max(1, needed))))
    bar = Image.new("RGB", (width, round(1.8 * size)), PAPER)
    pen, x = ImageDraw.Draw(bar), size / 2
    for text, color in words:
        pen.text((x, 0.3 * size), text, fill=color, font=_font(size))
        x += _font(size).getlength(text + "  ")
    return np.asarray(bar)


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _resize(image: np.ndarray, width: int) -> np.ndarray:
    height = max(1, round(image.shape[0] * width / image.shape[1]))
    shrink = width < image.shape[1]
    method = cv2.INTER_AREA if shrink else cv2.INTER_LINEAR
    return cv2.resize(image, (width, height), interpolation=method)


def contact_sheet(
    images: Sequence[np.ndarray],
    columns: int = 4,
    width: int = 1600,
    *,
    captions: Sequence[str] | None = None,
    gap: int = 6,
) -> np.ndarray:
    """Images in rows on white, each as wide as a column, in proportion.

    Args:
        width: px of the sheet.
        captions: a line above each image.

    Raises:
        ValueError: no images, or not one caption an image, or ``columns`` below 1.
    """
    if not len(images) or columns < 1:
        raise ValueError(f"needs an image and a column, got {len(images)} and {columns}")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"captions must be one for each of {len(images)}, got {len(captions)}")
    columns = min(columns, len(images))
    each = (width - gap * (columns + 1)) // columns
    if each < 1:
        raise ValueError(f"width {width} is too small for {columns} columns; use fewer")
    tiles = [_resize(check_image(image), each) for image in images]
    if captions is not None:
        bars = [caption_bar([(text, INK)], each) for text in captions]
        tiles = [np.vstack(pair) for pair in zip(bars, tiles, strict=True)]
    return tile_grid(tiles, columns, gap, width)


def tile_grid(tiles: Sequence[np.ndarray], columns: int, gap: int, width: int) -> np.ndarray:
    """Tiles of one width in rows as high as their highest tile, on white."""
    rows = [tiles[start : start + columns] for start in range(0, len(tiles), columns)]
    heights = [max(tile.shape[0] for tile in row) for row in rows]
    sheet = np.full((sum(heights) + gap * (len(rows) + 1), width, 3), 255, dtype=np.uint8)
    top = gap
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = gap + column * (tile.shape[1] + gap)
            sheet[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
        top += height + gap
    return sheet


def write_png(path: str | Path, image: np.ndarray) -> Path:
    """Write (H, W, 3) uint8 RGB as PNG, whole or not at all; answers the path."""
    return write_png_atomic(path, check_image(image))
