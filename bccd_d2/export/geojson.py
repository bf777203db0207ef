"""GeoJSON that QuPath opens (File > Import objects from file, or drag it onto the image).

Coordinates are pixels of the full image with pixel corners as points, as in QuPath; QuPath converts
to micrometres by its own image's calibration.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.export.outlines import rle_to_rings
from bccd_d2.export.table import Table
from bccd_d2.io.atomic import atomic_file
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes

OBJECT_TYPES = ("detection", "annotation")
NOT_MEASURED = ("id", "type")  # columns of a table that are no numbers of a cell
_NAMESPACE = uuid.UUID("5b0f3b52-2f0e-4d1c-9a55-3d6b3f1c7e10")


def to_geojson(
    cells: Cells,
    table: Table | None = None,
    *,
    object_type: str = "detection",
    classes: Classes | None = None,
) -> dict[str, Any]:
    """A FeatureCollection with one feature a cell, named by its number from 1.

    The geometry is the exact outline, holes included: a Polygon, or a MultiPolygon for a cell in
    several parts. A cell with an empty mask is left out. The id is a UUID made from cell and mask,
    so the same cells always give the same file.

    Args:
        table: of `bccd_d2.export.table.measure` for these cells; its numbers become measurements.
            Without it the score and the area do.
        object_type: "detection" is light and meant for many; "annotation" can be edited.
        classes: of the cells, for the classifications; None = all are "cell".

    Raises:
        ValueError: another object type, or a table of other cells.
    """
    found = features(cells, table, object_type=object_type, classes=classes)
    return {"type": "FeatureCollection", "features": list(found)}


def features(
    cells: Cells,
    table: Table | None = None,
    *,
    object_type: str = "detection",
    plane: Mapping[str, int] | None = None,
    classes: Classes | None = None,
) -> Iterator[dict[str, Any]]:
    """The features of `to_geojson` one at a time; a large slide's would fill the memory at once.

    Raises:
        ValueError: another object type, or a table of other cells.
    """
    if object_type not in OBJECT_TYPES:
        raise ValueError(f"object_type must be one of {OBJECT_TYPES}, got {object_type!r}")
    if table is None:
        table = {"id": np.arange(1, len(cells) + 1), "score": cells.scores, "area": cells.areas}
    if len(table["id"]) != len(cells):
        raise ValueError(f"table must have a row for each of {len(cells)} cells")
    classes = classes or Classes()
    shown = classes.shown(cells.class_ids, cells.class_confidence)
    classifications = [
        {"name": name, "color": list(classes.colour(int(k)))}
        for k, name in zip(shown, classes.named(shown), strict=True)
    ]
    return _features(cells, table, object_type, (plane, classifications))


def _features(
    cells: Cells,
    table: Table,
    object_type: str,
    said: tuple[Mapping[str, int] | None, Sequence[dict[str, Any]]],
) -> Iterator[dict[str, Any]]:
    plane, classifications = said
    for index, rle in enumerate(cells.rles):
        parts = rle_to_rings(rle)
        if not parts:
            continue
        number = index + 1
        mask = f"{number} {rle['size']} {rle['counts']!r}"
        yield {
            "type": "Feature",
            "id": str(uuid.uuid5(_NAMESPACE, mask)),
            "geometry": _geometry(parts) | ({"plane": dict(plane)} if plane else {}),
            "properties": {
                "objectType": object_type,
                "name": str(number),
                "classification": classifications[index],
                "measurements": _measurements(table, index),
            },
        }


def write_geojson(
    path: str | Path,
    cells: Cells,
    table: Table | None = None,
    *,
    object_type: str = "detection",
    plane: Mapping[str, int] | None = None,
    classes: Classes | None = None,
) -> Path:
    """Write `to_geojson`, whole or not at all; name it ``.geojson``.

    Args:
        plane: QuPath's c, z and t, counted from 0, of an image in a stack.
    """
    found = features(cells, table, object_type=object_type, plane=plane, classes=classes)
    with atomic_file(path) as stream:
        stream.write(b'{"type": "FeatureCollection", "features": [')
        for number, feature in enumerate(found):
            text = json.dumps(feature, allow_nan=False)
            stream.write((",\n" if number else "\n").encode() + text.encode())
        stream.write(b"\n]}\n")
    return Path(path)


def _geometry(parts: list) -> dict[str, Any]:
    if len(parts) == 1:
        return {"type": "Polygon", "coordinates": parts[0]}
    return {"type": "MultiPolygon", "coordinates": parts}


def _measurements(table: Table, index: int) -> dict[str, float]:
    """Row ``index`` of the table as numbers, True as 1; what is not defined is left out."""
    kept = {name: values for name, values in table.items() if name not in NOT_MEASURED}
    row = {name: float(values[index]) for name, values in kept.items()}
    return {name: value for name, value in row.items() if np.isfinite(value)}
