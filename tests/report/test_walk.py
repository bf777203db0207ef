"""The report is a view: from a run's folder to its page few files are touched."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from bccd_d2.report.run.page import write_report

from ..walk import follow

READ = {"io/files.py", "io/images.py", "io/records.py", "io/text.py"}
CELLS = {"masks/cells.py", "masks/rle.py"}
DRAWN = {"report/draw.py", "report/page.py", "report/page.html"}
PLOTTED = {"report/chart.py", "report/drawing.py", "report/legend.py"}
SAID = {f"report/run/{name}.py" for name in ("files", "page", "pictures", "plots")}


def test_a_report_reads_and_draws(small_run: Path):
    """Scores, matches, intervals: all that costs thought is the evaluation's, done before."""
    touched, _ = follow(lambda: write_report(small_run))
    touched -= {"io/atomic.py"}  # through which everything is written
    assert touched == READ | CELLS | DRAWN | PLOTTED | SAID
    assert len(touched) <= 16
