"""The fields of a sample as a prediction left them: cells with types, and where the image is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.evaluation.cell_kinds import CELL
from bccd_d2.evaluation.counting import in_counting_frame
from bccd_d2.io.images import planes, read_image
from bccd_d2.io.records import read_json, read_rows
from bccd_d2.io.tables import BOX, PALLOR
from bccd_d2.io.tiff_pages import Plane
from bccd_d2.masks.labels import disc_diameter

REMEDY = "predict again: bccd predict --images ... --out ... (--save csv at least)"
_CELLS = {"id": int, **dict.fromkeys(BOX, int), "area": int, "score": float}
_COUNTS = {"image": str, "file": str, "page": int, "height": int, "width": int}
_RUN = {"models": [dict], "looked_at": dict, "options": dict, "failures": [{"file": str}]}


@dataclass(frozen=True, eq=False)
class Field:
    """One image of a sample.

    Attributes:
        name: of its results.
        image_size: height, width.
        boxes: (N, 4) half-open x0 y0 x1 y1 of its cells.
        areas: (N,) px.
        types: N names.
        page: of its file, from 0.
        sources: where its file may lie.
        pixel_size: micrometres; None = not known.
        max_value: what was white when it was predicted on.
        pallor: (N, 2) area and contrast of the cells' pale centres; None = not measured.
    """

    name: str
    image_size: tuple[int, int]
    boxes: np.ndarray
    areas: np.ndarray
    types: tuple[str, ...]
    page: int = 0
    sources: tuple[Path, ...] = ()
    pixel_size: float | None = None
    max_value: float | None = None
    pallor: np.ndarray | None = None

    @property
    def counted(self) -> np.ndarray:
        """(N,) bool, the cells in the counting frame."""
        return in_counting_frame(self.boxes, self.image_size)

    @property
    def diameter(self) -> float | None:
        """Median px across the cells; None without any."""
        return float(disc_diameter(np.median(self.areas))) if len(self.areas) else None

    def image(self) -> np.ndarray:
        """The image, (H, W, 3) uint8 RGB.

        Raises:
            FileNotFoundError: it is where it was no more.
            ValueError: it is not what was predicted on.
        """
        path = next((path for path in self.sources if path.is_file()), None)
        if path is None:
            raise FileNotFoundError(f"the image of {self.name} is gone: {self.sources[:1]}")
        plane = next((p for p in planes(path).images if p.page == self.page), Plane((self.page,)))
        image = read_image(path, plane=plane, max_value=self.max_value)
        if image.shape[:2] != self.image_size:
            raise ValueError(f"{path} has another size than when it was predicted on")
        return image


@dataclass(frozen=True, eq=False)
class Sample:
    """The fields of one results folder.

    Attributes:
        name: of the sample.
        fields: in the order of counts.csv.
        models: name and SHA-256 of each model.
        complaints: why an image's outlines are not to be trusted, by field.
        classes: what the model says a cell may be; () = it is not said.
        as_measured: predicted as a model is measured, with one view and its own threshold.
        failed: files in which no cells could be looked for, so that they are no fields.
    """

    name: str
    fields: list[Field]
    models: list[tuple[str, str]]
    complaints: dict[str, str]
    classes: tuple[str, ...] = ()
    as_measured: bool = True
    failed: tuple[str, ...] = ()

    @property
    def types(self) -> tuple[str, ...]:
        """All names that its cells have or could have, "cell" where there is none."""
        names = {name for field in self.fields for name in field.types} | set(self.classes)
        return tuple(sorted(names)) or (CELL,)


def is_results(folder: str | Path) -> bool:
    """Whether a folder was filled by `bccd predict`."""
    return (Path(folder) / "counts.csv").is_file() and (Path(folder) / "run.json").is_file()


def read_sample(folder: str | Path, name: str = "") -> Sample:
    """Read what `bccd predict` wrote.

    Args:
        name: of the sample; "" = that of the folder.

    Raises:
        FileNotFoundError, ValueError: a file is missing or broken; the message names it.
    """
    folder = Path(folder)
    run = read_json(folder / "run.json", _RUN, REMEDY)
    options = run["options"]
    white = options.get("max_value")
    rows = read_rows(folder / "counts.csv", _COUNTS, REMEDY)
    if not rows:
        raise ValueError(f"{folder / 'counts.csv'} lists no image; {REMEDY}")
    fields = [_field(folder, row, white if isinstance(white, (int, float)) else None)
              for row in rows]  # fmt: skip
    models = [(str(m.get("name", "")), str(m.get("sha256", ""))) for m in run["models"]]
    complaints = {row["image"]: row["check"] for row in rows if row.get("check")}
    looked, own = run["looked_at"], [m.get("score_threshold") for m in run["models"]]
    usual = len(looked.get("views", [0])) == 1 and looked.get("score_threshold") in own
    classes = tuple(str(kind) for m in run["models"] for kind in m.get("classes", ()))
    failed = tuple(Path(one["file"]).name for one in run["failures"])
    name = name or folder.resolve().name
    return Sample(name, fields, models, complaints, classes, usual, failed)


def _field(folder: Path, row: dict[str, Any], max_value: float | None) -> Field:
    name = row["image"]
    cells = read_rows(folder / "csv" / f"{name}.csv", _CELLS, REMEDY)
    boxes = np.array([[cell[side] for side in BOX] for cell in cells], dtype=np.int64)
    size = row.get("pixel_size") or None
    return Field(
        name=name,
        image_size=(row["height"], row["width"]),
        boxes=boxes.reshape(-1, 4),
        areas=np.array([cell["area"] for cell in cells], dtype=np.int64),
        types=tuple(cell.get("type") or CELL for cell in cells),
        page=row["page"] - 1,
        sources=(*_marked(folder, name), Path(row["file"])),
        pixel_size=float(size) if size else None,
        max_value=max_value,
        pallor=_pallor(cells),
    )


def _pallor(cells: list[dict[str, Any]]) -> np.ndarray | None:
    """NaN where nothing was measured; None for results of an earlier version."""
    if not all(name in cell for cell in cells for name in PALLOR):
        return None
    read = [[float(cell[name]) if cell[name] else np.nan for name in PALLOR] for cell in cells]
    return np.array(read, dtype=np.float64).reshape(-1, len(PALLOR))


def _marked(folder: Path, name: str) -> list[Path]:
    """Where the mark of a finished image says that its file lies."""
    mark = folder / "finished" / f"{name}.json"
    if not mark.is_file():
        return []
    return [Path(read_json(mark, {"source": str}, REMEDY)["source"])]
