"""The Python API: cells that know how to become files, tables and pictures.

`bccd_d2.masks.cells.Cells` is what the rooms hand each other and knows nothing of them. This module
stands above all rooms, so it may use any; no room may import it (`tests/test_layering.py`). Its
names are had from the package itself, which loads them when first asked for.

Example:
    from bccd_d2 import PredictedCells
    cells = PredictedCells.from_label_map(label_map)
    cells.to_dataframe(image, pixel_size=0.1)
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from bccd_d2.masks.cells import Cells
from bccd_d2.masks.classes import Classes

if TYPE_CHECKING:
    import pandas

    from bccd_d2.export.table import Table
    from bccd_d2.inference.trust import Trust


@dataclass(frozen=True, eq=False)
class PredictedCells(Cells):
    """`Cells` for users: the same cells with exports; choosing from them keeps the kind.

    Cell number k, from 1, is the same one in every export.

    Attributes:
        diameter: px that the image's cells were taken to have; None = as the model's training.
        trust: whether the image's outlines are to be trusted; None where it was not asked.
        classes: what the class ids stand for.
    """

    diameter: float | None = None
    trust: Trust | None = None
    classes: Classes = Classes()

    @classmethod
    def of(cls, cells: Cells, classes: Classes | None = None) -> PredictedCells:
        """The same cells as this kind; nothing is copied."""
        given = {field.name: getattr(cells, field.name) for field in fields(Cells)}
        return cls(**given, classes=classes or Classes())

    @property
    def class_names(self) -> list[str]:
        """The name of each cell's class, "unsure" where its probability is too low."""
        return self.classes.named(self.classes.shown(self.class_ids, self.class_confidence))

    def to_coco(self, image_id: int = 1) -> list[dict[str, Any]]:
        """COCO results, in the order of the cells; see `bccd_d2.export.coco.to_results`."""
        from bccd_d2.export.coco import to_results

        return to_results(self, image_id)

    def measure(self, image: np.ndarray | None = None, pixel_size: float | None = None) -> Table:
        """Columns of measurements as arrays; see `bccd_d2.export.table`.

        Args:
            image: (H, W, 3) uint8 RGB, for the colour columns.
            pixel_size: micrometres a pixel, for the columns in micrometres.
        """
        from bccd_d2.export.table import measure

        return measure(self, image, pixel_size=pixel_size, classes=self.classes)

    def to_geojson(
        self, image: np.ndarray | None = None, pixel_size: float | None = None
    ) -> dict[str, Any]:
        """A FeatureCollection for QuPath with the numbers of `measure` as measurements."""
        from bccd_d2.export.geojson import to_geojson

        table = self.measure(image, pixel_size)
        return to_geojson(self, table, classes=self.classes)

    def to_dataframe(
        self, image: np.ndarray | None = None, pixel_size: float | None = None
    ) -> pandas.DataFrame:
        """The table of `measure` as a pandas DataFrame indexed by id.

        Raises:
            ImportError: pandas is not installed; the message names the extra.
        """
        from bccd_d2.export.table import to_dataframe

        return to_dataframe(self.measure(image, pixel_size))

    def draw(self, image: np.ndarray, **options: Any) -> np.ndarray:
        """A copy of the image, (H, W, 3) uint8 RGB, with each cell's outline on it.

        Where types are told, outlines have their colours.

        Args:
            options: those of `bccd_d2.report.draw.draw_outlines` (color, thickness, fill_alpha,
                scores).

        Raises:
            ValueError: the image does not fit the cells.
        """
        from bccd_d2.report.draw import draw_outlines, type_colours

        colours = type_colours(self, self.classes)
        return draw_outlines(image, self, **{"color": colours} | options)
