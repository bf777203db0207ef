"""Measurements of cells, one row a cell: what the CSV, the data frame and QuPath show.

| column | definition | unit |
| --- | --- | --- |
| id | number of the cell, from 1 | |
| score | the model's confidence, 0 to 1 | |
| type | where the model tells types: the name, or "unsure" | |
| type_probability | of that type, or of the best one where it is unsure, 0 to 1 | |
| uncertainty | where several views or models were merged: how far they disagree, 0 to 1 | |
| centroid_x, centroid_y | centre of mass; the first pixel's is (0.5, 0.5), as in the GeoJSON | px |
| box_x0 .. box_y1 | tight half-open box | px |
| area | pixels of the mask, holes left out | px2 |
| perimeter | Crofton's formula in 4 directions (scikit-image), holes included | px |
| equivalent_diameter | of the disc with this area | px |
| circularity | 4 pi area / perimeter^2, at most 1 as in ImageJ; 1 is a disc | |
| eccentricity | of the ellipse with the same second moments; 0 is a disc, towards 1 a line | |
| solidity | area / area of the outline's convex hull; 1 is convex | |
| mean_red, mean_green, mean_blue | mean over the mask | 0 to 255 |
| mean_intensity | mean of .299 R + .587 G + .114 B | 0 to 255 |
| pallor_area | pale centre of a red cell (`export/pallor.py`) over the cell's area, 0 to 1 | |
| pallor_contrast | what the centre lacks of the rim's optical density, 0 to 1 | |
| touches_border | the mask lies on the image's edge, so its shape is cut | True/False |

With a pixel size also centroid_x_um, centroid_y_um, area_um2, perimeter_um, equivalent_diameter_um.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from bccd_d2.export.pallor import NOTHING, background_green, central_pallor
from bccd_d2.io.tables import BOX, PALLOR, write_table
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes
from bccd_d2.masks.labels import disc_diameter

if TYPE_CHECKING:
    import pandas

Table = dict[str, np.ndarray]
SHAPE = ("centroid_x", "centroid_y", "perimeter", "eccentricity", "solidity")
COLOUR = ("mean_red", "mean_green", "mean_blue", "mean_intensity")
LUMA = np.array([0.299, 0.587, 0.114])


def measure(
    cells: Cells,
    image: np.ndarray | None = None,
    *,
    pixel_size: float | None = None,
    classes: Classes | None = None,
) -> Table:
    """The columns above, each (N,), in the order of the cells; (0,) each without cells.

    Overlapping cells are each measured whole. An empty mask has area 0 and NaN for what is then
    not defined.

    Args:
        image: (H, W, 3) uint8 RGB; without it the colour columns are left out.
        pixel_size: micrometres a pixel; without it those columns are left out.
        classes: of the cells; without types those columns are left out.

    Raises:
        ValueError: the image does not fit the cells, or the pixel size is not positive.
    """
    if image is not None and (image.shape != (*cells.image_size, 3) or image.dtype != np.uint8):
        raise ValueError(
            f"image must be (H, W, 3) uint8 RGB of size {cells.image_size}, got {image.shape} "
            f"{image.dtype}"
        )
    if pixel_size is not None and not (np.isfinite(pixel_size) and pixel_size > 0):
        raise ValueError(f"pixel_size must be micrometres a pixel above 0, got {pixel_size}")
    table: Table = {"id": np.arange(1, len(cells) + 1), "score": cells.scores.astype(np.float64)}
    if classes is not None and classes.typed:
        best = cells.class_confidence
        table["type"] = np.array(classes.named(classes.shown(cells.class_ids, best)), dtype=object)
        known = np.full(len(cells), np.nan) if best is None else best.astype(np.float64)
        table["type_probability"] = known
    if cells.uncertainty is not None:
        table["uncertainty"] = cells.uncertainty.astype(np.float64)
    shape = np.array([_shape(*crop) for crop in cells.crops()]).reshape(-1, len(SHAPE))
    columns = dict(zip(SHAPE, shape.T, strict=True))
    table["centroid_x"], table["centroid_y"] = columns["centroid_x"], columns["centroid_y"]
    table.update(zip(BOX, cells.boxes.astype(np.int64).T, strict=True))
    area = table["area"] = cells.areas
    perimeter = table["perimeter"] = columns["perimeter"]
    table["equivalent_diameter"] = disc_diameter(area)
    table["circularity"] = np.minimum(4 * np.pi * area / perimeter**2, 1)
    table["eccentricity"], table["solidity"] = columns["eccentricity"], columns["solidity"]
    if image is not None:
        table.update(_colours(cells, image))
    table["touches_border"] = cells.touches_border() & (area > 0)
    return table if pixel_size is None else in_micrometres(table, pixel_size)


def in_micrometres(table: Table, pixel_size: float) -> Table:
    """The table with its columns in micrometres added, the pixel size being micrometres."""
    return {**table, **_micrometres(table, pixel_size)}


def write_csv(path: str | Path, table: Table) -> Path:
    """Write a table with a header line, whole or not at all; what is not defined stays blank."""
    columns = [[_cell(value) for value in values.tolist()] for values in table.values()]
    rows = (dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True))
    return write_table(path, rows, list(table))


def to_dataframe(table: Table) -> pandas.DataFrame:
    """The table as a pandas DataFrame indexed by the cell's id.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas
    except ImportError as error:
        raise ImportError(
            "a data frame needs pandas: pip install 'bccd_d2[table]'. Without it, "
            "bccd_d2.export.table.measure gives the same columns as arrays."
        ) from error
    return pandas.DataFrame(table).set_index("id")


def _cell(value: float | int | bool | str) -> float | int | bool | str:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.6g}"
    return value


def _shape(crop: np.ndarray, y0: int, x0: int) -> tuple[float, ...]:
    """The columns of SHAPE for one cell; NaN for an empty mask."""
    if not crop.any():
        return (np.nan,) * len(SHAPE)
    rows, columns = np.nonzero(crop)
    centre_y, centre_x = rows.mean(), columns.mean()
    perimeter = _perimeter(np.pad(crop, 1))
    eccentricity = _eccentricity(rows - centre_y, columns - centre_x)
    solidity = len(rows) / _hull_area(crop)
    return centre_x + x0 + 0.5, centre_y + y0 + 0.5, perimeter, eccentricity, solidity


def _perimeter(mask: np.ndarray) -> float:
    """Cauchy and Crofton's: how often lines in four directions enter the mask, times their gaps.

    As scikit-image's ``perimeter_crofton``; the mask has a rim of background.
    """
    here, outside = mask[1:, 1:], ~mask
    straight = np.count_nonzero(here & outside[1:, :-1]) + np.count_nonzero(here & outside[:-1, 1:])
    falling = np.count_nonzero(here & outside[:-1, :-1])
    rising = np.count_nonzero(mask[:-1, 1:] & outside[1:, :-1])
    return float(np.pi / 4 * (straight + (falling + rising) / np.sqrt(2)))


def _eccentricity(dy: np.ndarray, dx: np.ndarray) -> float:
    """From the moments of the pixel centres, as scikit-image; 0 for a single pixel."""
    small, large = np.linalg.eigvalsh(np.array([[dy @ dy, dy @ dx], [dy @ dx, dx @ dx]]))
    return float(np.sqrt(np.clip(1 - small / large, 0, 1))) if large > 0 else 0.0


def _hull_area(crop: np.ndarray) -> float:
    """Area of the convex hull of the pixels' corners; only each row's two ends can lie on it."""
    rows = np.flatnonzero(crop.any(axis=1))
    left = crop[rows].argmax(axis=1)
    right = crop.shape[1] - crop[rows, ::-1].argmax(axis=1)
    x, y = np.concatenate([left, right] * 2), np.concatenate([rows, rows, rows + 1, rows + 1])
    hull = cv2.convexHull(np.stack([x, y], axis=1).astype(np.float32))
    return float(cv2.contourArea(hull))


def _colours(cells: Cells, image: np.ndarray) -> Table:
    """The columns of COLOUR and PALLOR."""
    light = background_green(image)
    rows = [_colour(image, light, *crop) for crop in cells.crops()]
    columns = np.array(rows).reshape(-1, len(COLOUR) + len(PALLOR)).T
    return dict(zip((*COLOUR, *PALLOR), columns, strict=True))


def _colour(
    image: np.ndarray, light: float, crop: np.ndarray, y0: int, x0: int
) -> tuple[float, ...]:
    """The columns of COLOUR and PALLOR for one cell; NaN for an empty mask."""
    if not crop.any():
        return (np.nan,) * len(COLOUR) + NOTHING
    window = np.ascontiguousarray(image[y0 : y0 + crop.shape[0], x0 : x0 + crop.shape[1]])
    mean = np.array(cv2.mean(window, crop.view(np.uint8))[:3])
    return *mean, float(mean @ LUMA), *central_pallor(window, crop, light)


def _micrometres(table: Table, size: float) -> Table:
    lengths = ("centroid_x", "centroid_y", "perimeter", "equivalent_diameter")
    scaled = {f"{name}_um": table[name] * size for name in lengths}
    scaled["area_um2"] = table["area"] * size**2
    order = ("centroid_x_um", "centroid_y_um", "area_um2", "perimeter_um", "equivalent_diameter_um")
    return {name: scaled[name] for name in order}
