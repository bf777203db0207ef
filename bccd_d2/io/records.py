"""JSON, YAML and CSV files read once and checked at the door: the error says file, field, remedy.

A shape says what a value must be, and is written as the value looks:

| shape | what passes |
| --- | --- |
| ``str``, ``bool``, ``dict``, ``list`` | that type |
| ``int`` | a whole number; True is none |
| ``range(1, 9)`` | a whole number in it |
| ``float`` | a finite number |
| ``object`` | anything |
| ``[shape]`` | a list of such values |
| ``[shape, shape]`` | a list of just so many |
| ``{"name": shape, "other?": shape}`` | an object with that field, and perhaps the other |
| ``{str: shape}`` | an object with such values under any names |
| ``(shape, None)`` | one of these |
| ``{str: None}`` | an object without fields |

Hand-written, for a schema library would take minutes on the 90,000 annotations of one dataset.
"""

from __future__ import annotations

import csv
import json
import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from bccd_d2.io.text import from_csv_text

_NAMES: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "a whole number",
    float: "a finite number",
    dict: "an object {...}",
    list: "a list [...]",
    None: "nothing",
}
_LOG_ROW = {"iteration": range(1 << 40), str: (float, None, str)}


class _PlainLoader(yaml.SafeLoader):
    """YAML as configs are written: every key once, and no anchors on more than flat lists."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        alias = self.check_event(yaml.AliasEvent)
        node = super().compose_node(parent, index)
        parts = [node] if isinstance(node, yaml.ScalarNode) else node.value
        if alias and not all(isinstance(part, yaml.ScalarNode) for part in parts):
            raise yaml.YAMLError(f"anchors on nested values are not read{node.start_mark}")
        return node

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        mapping = super().construct_mapping(node, deep=deep)
        if len(mapping) < len(node.value):
            raise yaml.YAMLError(f"a key stands twice{node.start_mark}")
        return mapping


def read_text(path: str | Path, remedy: str) -> str:
    """The content of a file that must be UTF-8 text.

    Args:
        remedy: what to do about a broken file; it ends the message.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no UTF-8 text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} does not exist; {remedy}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8 (byte {error.start}); {remedy}") from error


def read_json(path: str | Path, shape: Any, remedy: str) -> Any:
    """The value in a JSON file, of that shape.

    Raises:
        FileNotFoundError, ValueError: see `read_text`; or it is no JSON, or of another shape.
    """
    text = read_text(path, remedy)
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid json ({_short(error)}); {remedy}") from error
    return _checked(path, value, shape, remedy)


def read_yaml(path: str | Path, shape: Any, remedy: str) -> Any:
    """The value in a YAML file, of that shape; an empty file holds None.

    Anchors on nested values are refused, for a few lines of them stand for gigabytes. So is a key
    given twice.

    Raises:
        FileNotFoundError, ValueError: see `read_text`; or it is no YAML, or of another shape.
    """
    text = read_text(path, remedy)
    try:
        value = yaml.load(text, _PlainLoader)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, KeyError) as error:
        raise ValueError(f"{path} is not valid YAML ({_short(error)}); {remedy}") from error
    return _checked(path, value, shape, remedy)


def read_rows(
    path: str | Path,
    columns: Mapping[str, Callable[[str], Any]],
    remedy: str,
    others: Callable[[str], Any] = str,
    ours: bool = True,
) -> list[dict[str, Any]]:
    """The rows of a CSV file with a head, as numbers or text; [] for a head alone.

    Args:
        columns: name -> str, int, float or a reader of a text; each must be there in every row.
        others: the same for all other columns.
        ours: this package wrote it, so a last line without an end is cut.

    Raises:
        FileNotFoundError, ValueError: see `read_text`; or a row is cut or of another kind.
    """
    lines = read_text(path, remedy).splitlines(keepends=True)
    if ours and (not lines or not lines[-1].endswith(("\n", "\r"))):
        raise ValueError(f"{path} is cut short: its last line does not end; {remedy}")
    rows = []
    try:
        table = csv.DictReader(lines, strict=True)
        for row in table:
            missing = [name for name in (*columns, *row) if name and row.get(name) is None]
            if missing:
                raise ValueError(f"line {table.line_num} lacks {', '.join(missing)}")
            if None in row:
                raise ValueError(f"line {table.line_num} has more values than the head")
            kinds = {name: columns.get(name, others) for name in row}
            rows.append({k: _cell(k, v, kinds[k], table.line_num) for k, v in row.items()})
    except (ValueError, TypeError, csv.Error) as error:
        raise ValueError(f"{path} is broken ({_short(error)}); {remedy}") from error
    return rows


def read_log(path: str | Path) -> list[dict[str, float]]:
    """Rows of a training log by ascending iteration, counted from 1 under "iteration".

    The log is a JSON object a line, appended; without the file there are no rows. A kill is allowed
    for.

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
            check(row, _LOG_ROW)
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


def _cell(name: str, text: str, kind: Callable[[str], Any], line: int) -> Any:
    """A cell's value."""
    try:
        value = kind(from_csv_text(text))
    except ValueError:
        value = math.nan
    if isinstance(value, float) and not math.isfinite(value):
        wanted = _NAMES.get(kind, _NAMES[float])
        raise ValueError(f"line {line}: {name} must be {wanted}, got {text[:40]!r}")
    return value


def check(value: Any, shape: Any, field: str = "") -> None:
    """Pass a value of a shape; the top of this file says what shapes there are.

    Raises:
        ValueError: it is of another one; the message names the field, what was wanted and got.
    """
    problem = _problem(value, shape, field)
    if problem:
        raise ValueError(problem)


def _checked(path: str | Path, value: Any, shape: Any, remedy: str) -> Any:
    problem = _problem(value, shape, "")
    if problem:
        raise ValueError(f"{path}: {problem}; {remedy}")
    return value


def _problem(value: Any, shape: Any, field: str) -> str:
    """What is wrong with a value; "" for nothing."""
    if isinstance(shape, tuple):
        problems = [_problem(value, one, field) for one in shape]
        return "" if "" in problems else problems[0]
    if isinstance(shape, list) and isinstance(value, list):
        if len(shape) > 1 and len(value) != len(shape):
            return f"{field or 'the file'} must have {len(shape)} values, got {len(value)}"
        shapes = shape * len(value) if len(shape) == 1 else shape
        pairs = enumerate(zip(value, shapes, strict=True))
        return next(filter(None, (_problem(v, s, f"{field}[{i}]") for i, (v, s) in pairs)), "")
    if isinstance(shape, dict) and isinstance(value, dict):
        return next(filter(None, _field_problems(value, shape, field)), "")
    if _is(value, shape):
        return ""
    got = f"{type(value).__name__} {str(value)[:40]!r}" if value is not None else "nothing"
    return f"{field or 'the file'} must be {_name(shape)}, got {got}"


def _field_problems(value: dict, shape: Mapping[Any, Any], field: str) -> Iterator[str]:
    prefix = f"{field}." if field else ""
    for key, inner in shape.items():
        if key is str:
            for name, item in value.items():
                yield _problem(item, inner, f"{prefix}{name}")
            continue
        name = key.removesuffix("?")
        if name in value:
            yield _problem(value[name], inner, f"{prefix}{name}")
        elif not key.endswith("?"):
            yield f"{prefix}{name} is missing"


def _is(value: Any, shape: Any) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    if isinstance(shape, range):
        return whole and value in shape
    if shape is int:
        return whole
    if shape is float:
        return (whole and abs(value) < 2**63) or (isinstance(value, float) and math.isfinite(value))
    if shape is None:
        return value is None
    return isinstance(shape, type) and isinstance(value, shape)


def _name(shape: Any) -> str:
    if isinstance(shape, range):
        return f"a whole number from {shape.start} to {shape.stop - 1}"
    if isinstance(shape, (dict, list)):
        shape = type(shape)
    return _NAMES.get(shape, str(shape))


def _short(error: BaseException) -> str:
    """An error's message in one line."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) < 200 else f"{text[:200]} ..."


def confined(root: str | Path, name: str) -> Path:
    """The path of ``name`` below ``root``; links are not followed.

    Raises:
        ValueError: the name is absolute, or leads out of the root.
    """
    plain = name.replace("\\", "/")
    absolute = plain.startswith("/") or re.match("[A-Za-z]:/", plain)
    if not name or "\0" in name or absolute or ".." in plain.split("/"):
        raise ValueError(f"the file name {name!r} leads out of {root}")
    return Path(root) / name
