"""GeoJSON as QuPath writes it: one file an image, named as the image; and this project's own.

A cell object's ``nucleusGeometry`` is left out: the cell is what its ``geometry`` says. Where a
file holds detections or cells, its annotations are the regions that they were found in, no cells.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert.formats.common import DEFAULT_CATEGORY, ImageShapes, Shape
from bccd_d2.data.convert.formats.files import (
    FormatError,
    files_of,
    numbers,
    read_json,
    ring_of,
    split_of,
)
from bccd_d2.data.convert.pairing import Skip

ENDINGS = (".geojson", ".json")
NO_CELLS = ("tile", "tma_core", "root")
REGIONS = "annotations around detections, taken as regions"
OTHERS = "features that are no cell (tiles, regions, lines), left out"
NUCLEI = "outlines of nuclei inside cells, left out"


def read_geojson(path: str | Path) -> tuple[list[ImageShapes], list[Skip]]:
    """What a GeoJSON file, or each of a folder, says about the image of its name.

    ``x.geojson`` belongs to the image x, whatever its ending; ``x.tif.geojson`` to x.tif.

    Raises:
        FileNotFoundError: no such file.
    """
    several = Path(path).is_dir()
    images = []
    for file in files_of(path, *ENDINGS):
        split = split_of(file.relative_to(path)) if several else None
        images.append(_read_file(file, split))
    return images, []


def _read_file(file: Path, split: str | None) -> ImageShapes:
    notes: Counter = Counter()
    shapes: list[Shape] = []
    error = None
    try:
        features = _features(read_json(file), file)
        kinds = {_object_type(feature) for _, feature in features}
        found_in_regions = bool(kinds & {"detection", "cell"})
        for place, feature in features:
            shapes += _shapes(feature, (file, place), found_in_regions, notes)
    except FormatError as broken:
        shapes, error = [], str(broken)
    return ImageShapes(file.stem, file, tuple(shapes), split=split, error=error, notes=notes)


def _features(content: Any, file: Path) -> list[tuple[str, Mapping]]:
    """All features with their places in the file: of a collection, of a list, or the only one."""
    place = "features"
    if isinstance(content, Mapping) and content.get("type") == "Feature":
        content, place = [content], ""
    elif isinstance(content, Mapping) and content.get("type") == "FeatureCollection":
        content = content.get("features")
    if not isinstance(content, list) or not all(isinstance(one, Mapping) for one in content):
        raise FormatError(
            file, "", "is no GeoJSON of features", "export it from QuPath as GeoJSON"
        )
    return [(f"{place}[{n}]", feature) for n, feature in enumerate(content)]


def _properties(feature: Mapping) -> Mapping:
    given = feature.get("properties")
    return given if isinstance(given, Mapping) else {}


def _object_type(feature: Mapping) -> str:
    """QuPath's object type in its new spelling; older versions wrote it as the id."""
    given = _properties(feature)
    name = given.get("objectType") or given.get("object_type") or feature.get("id")
    name = str(name).lower()
    for kind in ("cell", "detection", "annotation", "tile", "tma_core", "root"):
        if name in (kind, f"path{kind}object"):
            return kind
    return ""


def _category(feature: Mapping) -> str:
    given = _properties(feature).get("classification")
    if isinstance(given, Mapping):
        names = given.get("names")
        joined = ": ".join(map(str, names)) if isinstance(names, list) else ""
        given = given.get("name") or joined
    return str(given) if given else DEFAULT_CATEGORY


def _shapes(
    feature: Mapping, where: tuple[Path, str], found_in_regions: bool, notes: Counter
) -> Iterator[Shape]:
    kind, category = _object_type(feature), _category(feature)
    if kind in NO_CELLS or category == "Region*":
        notes[OTHERS] += 1
        return
    if kind == "annotation" and found_in_regions:
        notes[REGIONS] += 1
        return
    notes[NUCLEI] += feature.get("nucleusGeometry") is not None
    common = {"category": category, "ignored": category == "Ignore*"}
    yield from _geometry(feature.get("geometry"), where, common, notes)


def _geometry(
    geometry: Any, where: tuple[Path, str], common: Mapping[str, Any], notes: Counter
) -> Iterator[Shape]:
    file, place = where
    given = geometry if isinstance(geometry, Mapping) else {}
    kind, coordinates = given.get("type"), given.get("coordinates")
    place = f"{place}.geometry"
    if kind == "Polygon":
        yield Shape(**common, polygons=(_polygon(coordinates, file, place),))
    elif kind == "MultiPolygon":
        parts = coordinates if isinstance(coordinates, list) else []
        yield Shape(**common, polygons=tuple(_polygon(part, file, place) for part in parts))
    elif kind in ("Point", "MultiPoint"):
        points = [coordinates] if kind == "Point" else coordinates
        for point in points if isinstance(points, list) else [points]:
            x, y = numbers(point[:2] if isinstance(point, list) else point, 2, file, place)
            yield Shape(**common, point=(x, y))
    elif kind in ("LineString", "MultiLineString"):
        notes[OTHERS] += 1
    else:
        raise FormatError(
            file, place, f"is of type {kind!r}", "give cells as Polygon, MultiPolygon or Point"
        )


def _polygon(coordinates: Any, file: Path, place: str) -> tuple[np.ndarray, ...]:
    if not isinstance(coordinates, list) or not coordinates:
        raise FormatError(file, place, "is a polygon without a ring", "remove it")
    return tuple(ring_of(ring, file, place) for ring in coordinates)
