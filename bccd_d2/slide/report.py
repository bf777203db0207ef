"""The files of a sample's report: a page to read, the same as text, and a sheet to print."""

from __future__ import annotations

from pathlib import Path

from bccd_d2.report.page import write_page
from bccd_d2.slide.count import CountedSample
from bccd_d2.slide.page import make_page, some_cells
from bccd_d2.slide.sheet import write_sheet


def write_sample_report(counted: CountedSample, out: str | Path) -> list[Path]:
    """Write report.html, report.md and report.pdf, which is one page; their paths.

    Raises:
        ImportError: jinja2 is missing.
    """
    cells = some_cells(counted)
    return [*write_page(make_page(counted, cells), out, "report"),
            write_sheet(counted, cells, Path(out) / "report.pdf")]  # fmt: skip
