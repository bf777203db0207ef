"""The candidates of one image, found once; every threshold is then a choice among them.

They are sorted by score, the best first, so cell k is cell k at any threshold: those above it are
the first so many. Shared pixels are given to the better cell once, which does not depend on the
threshold either, so label image, COCO json, GeoJSON and CSV agree pixel by pixel.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from bccd_d2.api import PredictedCells
from bccd_d2.export.coco import write_coco
from bccd_d2.export.geojson import write_geojson
from bccd_d2.export.labels import write_label_tiff
from bccd_d2.export.table import Table, in_micrometres, write_csv
from bccd_d2.masks.overlap import resolve_overlaps
from bccd_d2.segmenter import AUTO

LOWEST = 0.05  # score of the weakest candidates that are asked for
DIAMETERS = (5.0, 2000.0)  # px of cells that a person may say
KINDS = {  # of download: what the file's name ends with, media type
    "csv": ("_cells.csv", "text/csv"),
    "geojson": (".geojson", "application/geo+json"),
    "coco": ("_coco.json", "application/json"),
    "labels": ("_labels.tif", "image/tiff"),
}


class HasThreshold(Protocol):
    """What says from which score on its cells count."""

    score_threshold: float


class Model(HasThreshold, Protocol):
    """What finds the cells; `bccd_d2.segmenter.Segmenter` is one."""

    name: str
    diameter: float | None  # px of the cells that it was trained on; None = it bears no other

    def predict(
        self,
        image: np.ndarray,
        score_threshold: float | None = None,
        *,
        diameter: str | float = AUTO,
    ) -> PredictedCells:
        """The cells of an (H, W, 3) uint8 RGB image with at least this score."""
        ...


@dataclass(frozen=True)
class Counts:
    """What one image amounts to at a threshold.

    Attributes:
        cells: number of cells.
        interior: those that do not touch the image's border.
        per_megapixel: cells in a million pixels.
        per_mm2: cells in a square millimetre; None without a pixel size.
        diameter: median equivalent diameter of the interior ones in pixels; None without any.
        coverage: share of the pixels that lie in cells, 0 to 1.
    """

    cells: int
    interior: int
    per_megapixel: float
    per_mm2: float | None
    diameter: float | None
    coverage: float


@dataclass(frozen=True, eq=False)
class Corrections:
    """What was done to one image's cells.

    Attributes:
        candidates: all that the model found, which a click may take up.
        threshold: at which a person took the cells over.
        past, future: cells before each step that can be undone, after each that can be redone.
        trail: every action with its time, undone ones too.
        saved: actions of the trail that the files hold; -1 = there are no files.
    """

    candidates: PredictedCells
    threshold: float
    past: tuple[PredictedCells, ...] = ()
    future: tuple[PredictedCells, ...] = ()
    trail: tuple[Mapping[str, Any], ...] = ()
    saved: int = -1

    @property
    def state(self) -> str:
        """For people: corrected, how often, and whether that is saved."""
        count = len(self.past)
        if self.saved == len(self.trail):
            return "saved"
        return f"{count} correction{'s' * (count != 1)}" if count else "unchanged"


@dataclass(frozen=True, eq=False)
class Findings:
    """Candidates of one image with their measurements, and the image for another look.

    Attributes:
        name: of the image file.
        cells: sorted by score, disjoint, none empty; they say how large cells were taken to be, and
            whether the image is to be trusted.
        table: `bccd_d2.export.table.measure` of them, with colours, without micrometres.
        size: for people, how large cells were taken to be; "" where the model bears no other size.
        estimated: px that cells were estimated to have; None = given, or unknown.
        picture: the image as PNG, lossless.
        notes: what else to say of the image.
        pixel_size: micrometres that its file says; None = nothing.
        corrections: what a person did; then all of ``cells`` count, at any threshold.
        source: SHA-256 of the file that was dropped.
    """

    name: str
    cells: PredictedCells
    table: Table
    size: str = ""
    estimated: float | None = None
    picture: bytes = b""
    notes: str = ""
    pixel_size: float | None = None
    corrections: Corrections | None = None
    source: str = ""

    @property
    def complaint(self) -> str:
        """Why a person should check the image; "" where nobody need."""
        return self.cells.trust.complaint if self.cells.trust else ""

    def image(self) -> np.ndarray:
        """The image, (H, W, 3) uint8 RGB."""
        bgr = cv2.imdecode(np.frombuffer(self.picture, np.uint8), cv2.IMREAD_COLOR)
        return np.ascontiguousarray(np.asarray(bgr)[..., ::-1])

    def above(self, threshold: float) -> tuple[PredictedCells, Table]:
        """The cells with at least this score, or as corrected, and their rows of the table."""
        if self.corrections is not None:
            return self.cells, self.table
        count = int((self.cells.scores >= np.float32(threshold)).sum())
        return self.cells[:count], {name: values[:count] for name, values in self.table.items()}

    def counts(self, threshold: float, pixel_size: float | None = None) -> Counts:
        """Counts at a threshold; ``pixel_size`` in micrometres."""
        cells, table = self.above(threshold)
        height, width = cells.image_size
        area = height * width
        whole = table["equivalent_diameter"][~table["touches_border"].astype(bool)]
        return Counts(
            cells=len(cells),
            interior=len(whole),
            per_megapixel=len(cells) / (area / 1e6),
            per_mm2=len(cells) / (area * (pixel_size / 1000) ** 2) if pixel_size else None,
            diameter=float(np.median(whole)) if len(whole) else None,
            coverage=float(table["area"].sum() / area),
        )

    def file(
        self, kind: str, threshold: float, pixel_size: float | None = None
    ) -> tuple[str, bytes]:
        """Name and content of a download with the cells at a threshold.

        Args:
            kind: one of `KINDS`.
            pixel_size: micrometres, for the CSV and the measurements in the GeoJSON; None = what
                the image's file says.

        Raises:
            ValueError: another kind.
        """
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        cells, table = self.above(threshold)
        pixel_size = pixel_size or self.pixel_size
        if pixel_size is not None:
            table = in_micrometres(table, pixel_size)
        name = Path(self.name).stem + KINDS[kind][0]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "download")
            if kind == "csv":
                write_csv(path, table)
            elif kind == "geojson":
                write_geojson(path, cells, table, classes=cells.classes)
            elif kind == "coco":
                write_coco(path, [(self.name, cells)], cells.classes)
            else:
                write_label_tiff(path, cells)
            return name, path.read_bytes()


def find_cells(
    model: Model, image: np.ndarray, name: str, diameter: float | None = None
) -> Findings:
    """Predict once, at the lowest threshold that the page offers.

    Args:
        image: (H, W, 3) uint8 RGB.
        diameter: px of its cells; None = estimated.

    Raises:
        ValueError: a diameter for a model that bears one size only.
    """
    size = AUTO if diameter is None else diameter
    predicted = model.predict(image, lowest_threshold(model), diameter=size)
    cells = replace(predicted, rles=resolve_overlaps(predicted).rles)
    order = np.argsort(-cells.scores, kind="stable")
    cells = cells[order[cells.areas[order] > 0]]
    estimated = predicted.diameter if diameter is None else None
    said = _size_text(model, diameter, estimated)
    return Findings(name, cells, cells.measure(image), said, estimated, pack(image))


def _size_text(model: Model, given: float | None, estimated: float | None) -> str:
    if model.diameter is None:
        return ""
    if given is not None:
        return f"cells taken as {given:g} px wide, as given"
    if estimated is not None:
        return f"cells taken as {estimated:.0f} px wide, estimated"
    return "no cell size could be estimated: give one"


def pack(image: np.ndarray) -> bytes:
    """An image, (H, W, 3) uint8 RGB, as PNG.

    Raises:
        ValueError: OpenCV could not encode it.
    """
    done, png = cv2.imencode(".png", image[..., ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise ValueError(f"OpenCV could not encode an image of {image.shape}")
    return png.tobytes()


def lowest_threshold(model: HasThreshold) -> float:
    """Where the page's slider begins: `LOWEST`, or the model's own threshold if that is lower."""
    return min(LOWEST, float(model.score_threshold))


def check_pixel_size(text: str | float | None) -> float | None:
    """Micrometres a pixel from what was typed, with a point or a comma; None for nothing.

    Raises:
        ValueError: not a number above 0.
    """
    size = _number(text)
    if size is not None and not (np.isfinite(size) and size > 0):
        raise ValueError(f"the pixel size must be micrometres above 0, or empty, not {text!r}")
    return size


def check_diameter(text: str | None) -> float | None:
    """Px across a cell from what was typed; None for nothing, which asks for an estimate.

    Raises:
        ValueError: not a number in `DIAMETERS`.
    """
    diameter, (least, most) = _number(text), DIAMETERS
    if diameter is not None and not least <= diameter <= most:
        raise ValueError(
            f"the cell diameter must be {least:g} to {most:g} px, or empty for an estimate, not "
            f"{text!r}"
        )
    return diameter


def _number(text: str | float | None) -> float | None:
    """A number with a point or a comma; None for nothing, NaN for what is none."""
    written = "" if text is None else str(text).strip()
    try:
        return float(written.replace(",", ".")) if written else None
    except ValueError:
        return float("nan")
