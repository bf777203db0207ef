"""``metrics.json`` of a training: a JSON object a line, appended; kills are allowed for."""

from __future__ import annotations

import json
import os
from pathlib import Path

from bccd_d2.io.records import check, read_text

_ROW = {"iteration": range(1 << 40), str: (float, None, str)}


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Rows by ascending iteration, counted from 1 under "iteration"; [] without the file.

    Of an iteration logged twice, as after a resume, the later row counts, and what was logged
    beyond it before does not. Lines that are no row, such as one cut by a kill, are left out, and
    so are values that are no finite number.

    Raises:
        ValueError: the file is no text.
    """
    path = Path(path)
    rows: dict[int, dict[str, float]] = {}
    text = read_text(path, "delete it, or run again") if path.is_file() else ""
    for line in text.splitlines():
        try:
            row = json.loads(line, parse_constant=lambda name: None)
            check(row, _ROW)
        except (ValueError, RecursionError):
            continue
        row = {name: value for name, value in row.items() if isinstance(value, (int, float))}
        done = row["iteration"] + 1
        if rows and done <= max(rows):
            rows = {i: r for i, r in rows.items() if i < done}
        rows[done] = row | {"iteration": done}
    return list(rows.values())


def drop_cut_line(path: str | Path) -> None:
    """Take a last line that does not end off a log: what is appended next begins a line."""
    path = Path(path)
    if not path.is_file():
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)
