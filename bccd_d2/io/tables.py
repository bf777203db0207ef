"""CSV files, written whole or not at all; a spreadsheet may open them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bccd_d2.io.atomic import write_text_atomic
from bccd_d2.io.text import csv_text

# Columns of the table of cells that those who count a sample's cells read again.
BOX = ("box_x0", "box_y0", "box_x1", "box_y1")
PALLOR = ("pallor_area", "pallor_contrast")


def write_table(
    path: str | Path, rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None
) -> Path:
    """Write rows with a head; a column that a row lacks, or that is None there, is blank in it.

    Text that would be a formula in a spreadsheet is written with a ``'`` before it, which
    `records.read_rows` takes off again.

    Args:
        columns: their order; None = as they first appear in the rows.

    Raises:
        ValueError: a row has a column that is not in ``columns``.
        OSError: the file cannot be written.
    """
    rows = list(rows)
    if columns is None:
        columns = list(dict.fromkeys(name for row in rows for name in row))
    text = io.StringIO()
    writer = csv.DictWriter(text, [csv_text(name) for name in columns], lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({csv_text(name): csv_text(value) for name, value in row.items()})
    return write_text_atomic(path, text.getvalue())
