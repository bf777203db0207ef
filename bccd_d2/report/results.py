"""The page of a prediction's results: each image with its outlines, counts and doubts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bccd_d2.io.images import read_image
from bccd_d2.io.records import read_rows
from bccd_d2.report.page import Fact, Facts, Page, Section, Table, Text, jpeg_figure, write_page

MOST = 12  # pictures on a page, so that it stays small
COLUMNS = {"image": str, "cells": int, "interior": int, "coverage": float}
READ_AGAIN = "predict again"


def write_results_page(
    results: str | Path,
    folder: str | Path,
    name: str = "results",
    *,
    drawn: Mapping[str, int] | None = None,
) -> list[Path]:
    """Write ``name``.html and ``name``.md about what `bccd predict` wrote into a folder.

    Args:
        results: the folder, with ``counts.csv`` and overlays.
        folder: for the page.
        drawn: how many cells each image really has, by its name, where that is known.

    Raises:
        FileNotFoundError, ValueError: there is no such table, or it is broken.
    """
    results = Path(results)
    rows = read_rows(results / "counts.csv", COLUMNS, READ_AGAIN)
    cells = sum(row["cells"] for row in rows)
    facts = [Fact("images", str(len(rows))), Fact("cells", str(cells), "found by the model")]
    if drawn:
        facts.append(Fact("drawn", str(sum(drawn.values())), "cells, slivers at the edge too"))
    head = ["image", "cells", "whole cells", "covered"] + (["drawn"] if drawn else [])
    lines = [
        [row["image"], str(row["cells"]), str(row["interior"]), f"{row['coverage']:.0%}"]
        + ([str(drawn.get(row["image"], ""))] if drawn else [])
        for row in rows
    ]
    table = Table("Cells found in each image", head, lines, numbers=range(1, len(head)))
    sections = [
        Section("counts", "Counts", [Facts(facts), table]),
        Section("pictures", "Outlines", _pictures(results, rows)),
    ]
    subtitle = f"{cells} cells in {len(rows)} images, outlined by the model that ships"
    return write_page(Page("Cells of a blood smear", subtitle, sections), folder, name)


def _pictures(results: Path, rows: list[dict]) -> list:
    blocks: list = []
    for row in rows[:MOST]:
        path = results / "overlay" / f"{row['image']}.png"
        if path.is_file():
            said = f"{row['image']}: {row['cells']} cells"
            blocks.append(jpeg_figure(read_image(path), f"outlines on {said}", said, width=1200))
    if len(rows) > MOST:
        blocks.append(Text(f"{len(rows) - MOST} more images: see the folder overlay.", "note"))
    return blocks or [Text("No overlays were written.", "absent")]
