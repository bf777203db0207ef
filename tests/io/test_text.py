"""Names from outside do no harm in terminals, spreadsheets, Markdown and logs."""

from __future__ import annotations

import csv
import logging
from pathlib import Path

import pytest

from bccd_d2.io.records import read_rows
from bccd_d2.io.tables import write_table
from bccd_d2.io.text import clean_logs, csv_text, from_csv_text, markdown_text, printable

ODD = "a\x1b[31m\x07\x9b\u202e\udcff\r.png"


def test_what_a_terminal_would_obey_is_shown() -> None:
    assert printable(ODD) == r"a\x1b[31m\x07\x9b\u202e\xff\r.png"
    assert printable("ä µm\t名\n") == r"ä µm\t名\n"
    assert printable("ä µm\t名\n\r", lines=True) == "ä µm\t名\n\\r"
    assert printable("\ud800") == r"\ud800"
    assert printable(Path("a b.png")) == "a b.png"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", "\ta", "=cmd|' /C calc'!A0"])
def test_no_text_is_a_formula(text: str, tmp_path: Path) -> None:
    assert csv_text(text) == f"'{text}" and from_csv_text(f"'{text}") == text
    path = write_table(tmp_path / "a.csv", [{"name": text, "x": -1.5}, {"name": "'a", "y": None}])
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert rows == [{"name": f"'{text}", "x": "-1.5", "y": ""}, {"name": "'a", "x": "", "y": ""}]
    path = write_table(tmp_path / "b.csv", [{"name": text, "x": -1.5}])
    assert read_rows(path, {"name": str, "x": float}, "") == [{"name": text, "x": -1.5}]


def test_tables_take_every_name_and_no_strange_column(tmp_path: Path) -> None:
    path = write_table(tmp_path / "a.csv", [{"name": ODD}])
    assert r"\udcff" in path.read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="other"):
        write_table(tmp_path / "a.csv", [{"other": 1}], ["name"])
    assert write_table(tmp_path / "c.csv", [], ["a", "b"]).read_text() == "a,b\n"
    assert write_table(tmp_path / "d.csv", [{"=a": 1}]).read_text() == "'=a\n1\n"


def test_markdown_shows_what_was_written() -> None:
    text = markdown_text("<img src=x onerror=alert(1)> [a](javascript:b) | `c` *d* \x1b&lt;")
    assert "<" not in text and "&lt;img" in text and "&amp;lt;" in text
    for marked in (r"\[a\](javascript:b)", r"\|", r"\`c\`", r"\*d\*", r"\\x1b"):
        assert marked in text
    assert markdown_text("cpu_tiny 1.5 (a)") == "cpu_tiny 1.5 (a)"


def test_logs_are_printable(caplog) -> None:
    factory = logging.getLogRecordFactory()
    try:
        clean_logs()
        once = logging.getLogRecordFactory()
        clean_logs()
        assert logging.getLogRecordFactory() is once
        with caplog.at_level("WARNING"):
            logging.getLogger("bccd_d2.x").warning("cannot read %s", ODD)
            logging.getLogger("other").warning("%s", "\x1b")
    finally:
        logging.setLogRecordFactory(factory)
    assert caplog.messages == [rf"cannot read {printable(ODD)}", "\x1b"]
