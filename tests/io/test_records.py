"""Files are checked when they are read: the error says file, field and remedy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bccd_d2.io.records import check, confined, read_json, read_rows

SHAPE = {
    "name": str,
    "count?": range(1, 9),
    "size": [int, int],
    "rows": [{"x": float}],
    "any": {str: (bool, None)},
    "empty?": ({"a": int}, {str: None}),
}
RIGHT = {"name": "a", "size": [1, 2], "rows": [{"x": 1}, {"x": 0.5, "y": 1}], "any": {"q": None}}


def test_what_fits_passes() -> None:
    check(RIGHT, SHAPE)
    check(RIGHT | {"count": 8, "rows": [], "any": {}, "empty": {}, "other": 1}, SHAPE)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 3}, "name must be text, got int '3'"),
        ({"name": None}, "name must be text, got nothing"),
        ({"count": 9}, "count must be a whole number from 1 to 8, got int '9'"),
        ({"count": True}, "count must be a whole number"),
        ({"count": 2.0}, "count must be a whole number"),
        ({"size": [1]}, "size must have 2 values, got 1"),
        ({"size": [1, True]}, r"size\[1\] must be a whole number, got bool"),
        ({"rows": [{"x": 1}, {}]}, r"rows\[1\].x is missing"),
        ({"rows": [{"x": float("inf")}]}, r"rows\[0\].x must be a finite number"),
        ({"rows": {}}, r"rows must be a list"),
        ({"any": {"q": 1}}, "any.q must be true or false"),
        ({"empty": {"b": 1}}, "empty.a is missing"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}"):
        check(RIGHT | change, SHAPE)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not valid json"),
        (b"{", "is not valid json"),
        (b"\xff{}", "is no text in UTF-8"),
        (b"[" * 100000, "is not valid json"),
        (b"[]", "the file must be an object"),
        (b'{"a": NaN}', "a must be a finite number"),
        (b'{"a": 1e999}', "a must be a finite number"),
        (b'{"a": ' + b"9" * 5000 + b"}", "is not valid json|a must be a finite number"),
    ],
)
def test_json(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"a\.json.*({reason}).*; do this") as caught:
        read_json(path, {"a": float}, "do this")
    assert len(str(caught.value)) < 500 and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "cut short"),
        ("name,x\na,1\nb,", "cut short"),
        ("name,x\na,1\nb\n", "line 3 lacks x"),
        ("name,x\na,1,2\n", "line 2 has more values"),
        ("name\na\n", "line 2 lacks x"),
        ("name,x\na,b\n", "line 2: x must be a finite number, got 'b'"),
        ("name,x\na,nan\n", "line 2: x must be a finite number"),
        ('name,x\na,"1\n', "is broken"),
    ],
)
def test_rows(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"a\.csv.*{reason}.*; do this"):
        read_rows(path, {"name": str, "x": float}, "do this")
    path.write_text("name,x,y\na,1,2\n")
    row = {"name": "a", "x": 1.0, "y": "2"}
    assert read_rows(path, {"name": str, "x": float}, "do this") == [row]


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../a", "a/../../b", "..", "C:/a", "C:\\a", "\\\\host\\a",
             "a\\..\\..\\b", "a\0b"]
)  # fmt: skip
def test_names_do_not_lead_out_of_their_folder(name: str) -> None:
    with pytest.raises(ValueError, match="leads out of here"):
        confined("here", name)


@pytest.mark.parametrize("name", ["a.png", "test/original/a b.png", "a..b/..c.png", "img:1.png"])
def test_names_inside_stay_as_they_are(name: str) -> None:
    assert confined("here", name) == Path("here", name)


def test_a_number_that_json_cannot_hold_is_no_way_round() -> None:
    assert json.loads("1e400") == float("inf")
    with pytest.raises(ValueError, match="finite"):
        check(json.loads("[1e400]"), [float])
