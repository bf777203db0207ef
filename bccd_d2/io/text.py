"""Text from outside, made harmless: in a terminal, in a spreadsheet, in Markdown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import logging

T = TypeVar("T")

_MARKDOWN = re.compile(r"([\\`*\[\]|])")
_FORMULA = ("=", "+", "-", "@", "\t")


def printable(text: object, lines: bool = False) -> str:
    """The text as it can be shown anywhere: what a terminal would obey, or cannot show, escaped.

    Bytes of file names that are no UTF-8 become ``\\xff``.

    Args:
        lines: line breaks and tabs stay, as in messages.

    >>> printable("a\\x1b[2J.png")
    'a\\\\x1b[2J.png'
    """
    return "".join(
        c if c.isprintable() or (lines and c in "\n\t") else _escaped(c) for c in str(text)
    )


def some(names: Sequence[str], most: int = 4) -> str:
    """The first names of a list, in a sentence."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def csv_text(value: T) -> T | str:
    """A cell's value; text that a spreadsheet would take for a formula gets a ``'`` before it.

    A carriage return, which would end the row, becomes ``\\x0d``.
    """
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "\\x0d")
    return f"'{text}" if text.startswith(_FORMULA) else text


def from_csv_text(text: str) -> str:
    """The text that `csv_text` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def markdown_text(text: str) -> str:
    """The text as Markdown that shows it: no HTML, no links, no table cell ends in it."""
    text = html.escape(printable(text, lines=True), quote=False)
    return _MARKDOWN.sub(r"\\\1", text)


def clean_logs() -> None:
    """Make what this package logs from now on `printable`, such as the names of files."""
    import logging

    factory = logging.getLogRecordFactory()

    def clean(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if record.name.startswith("bccd_d2"):
            record.msg, record.args = printable(record.getMessage(), lines=True), ()
        return record

    if getattr(factory, "__name__", "") != "clean":
        logging.setLogRecordFactory(clean)


def _escaped(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte, as os.fsdecode hands it on
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode("ascii")
