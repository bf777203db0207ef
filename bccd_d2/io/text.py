"""Text from outside, made harmless: in a terminal, in a spreadsheet, in Markdown."""

from __future__ import annotations

import logging
import re

# Control characters, marks that turn the direction of writing, and bytes that are no UTF-8.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_MARKDOWN = re.compile(r"([\\`*\[\]|])")
_FORMULA = ("=", "+", "-", "@", "\t")


def printable(text: object) -> str:
    """The text with whatever a terminal would obey, or could not show, as ``\\x1b`` or ``\\udcff``.

    Line breaks and tabs stay.
    """
    return _CONTROL.sub(_escaped, str(text))


def csv_text(value: object) -> object:
    """A cell's value; text that a spreadsheet would take for a formula gets a ``'`` before it.

    A carriage return, which would end the row, becomes ``\\x0d``.
    """
    if not isinstance(value, str):
        return value
    value = value.replace("\r", "\\x0d")
    return f"'{value}" if value.startswith(_FORMULA) else value


def from_csv_text(text: str) -> str:
    """The text that `csv_text` was given."""
    return text[1:] if text.startswith("'") and text[1:].startswith(_FORMULA) else text


def markdown_text(text: str) -> str:
    """The text as Markdown that shows it: no HTML, no links, no table cell ends in it."""
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _MARKDOWN.sub(r"\\\1", text)


def clean_logs() -> None:
    """Make what this package logs from now on `printable`, such as the names of files."""
    factory = logging.getLogRecordFactory()

    def clean(*args: object, **kwargs: object) -> logging.LogRecord:
        record = factory(*args, **kwargs)
        if record.name.startswith("bccd_d2"):
            record.msg, record.args = printable(record.getMessage()), ()
        return record

    if getattr(factory, "__name__", "") != "clean":
        logging.setLogRecordFactory(clean)


def _escaped(match: re.Match[str]) -> str:
    code = ord(match.group())
    return f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}"
