"""Seeded damage to files: of bytes for any file, of values and fields for JSON."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np

ODD = (
    None, True, -1, 0, 1, 2**31 - 1, 2**31, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "x", "../../x", "/etc/passwd", "\x00", "\udcff", "=1", [], {}, [[]], [None],
    [1, 2], {"a": 1}, "9" * 400, [[[[[[]]]]]],
)  # fmt: skip
WORDS = (b"\x00", b"\xff", b"\x00" * 4, b"\xff" * 4, b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"{",
         b"}", b'"', b"\n", b"-", b"1e999", b"NaN", b"\x08\x00\x00\x00")  # fmt: skip


def mutated(content: bytes, rng: np.random.Generator, is_json: bool) -> bytes:
    """The content with one to four kinds of damage; JSON mostly stays JSON."""
    if is_json and rng.random() < 0.8:
        try:
            value = json.loads(content)
        except ValueError:
            return _bytes(content, rng)
        for _ in range(rng.integers(1, 4)):
            value = _value(value, rng)
        return json.dumps(value).encode()
    for _ in range(rng.integers(1, 5)):
        content = _bytes(content, rng)
    return content


def _bytes(content: bytes, rng: np.random.Generator) -> bytes:
    if not content:
        return bytes(rng.integers(0, 256, 9, dtype=np.uint8))
    # Headers decide most, so half of the damage is near the beginning.
    reach = len(content) if rng.random() < 0.5 else min(len(content), 400)
    place = int(rng.integers(0, reach))
    length = int(rng.integers(1, 1 + min(64, len(content))))
    word = WORDS[rng.integers(len(WORDS))]
    other = int(rng.integers(0, len(content)))
    flipped = bytes([content[place] ^ (1 << int(rng.integers(8)))])
    deeds = (
        lambda: content[:place] + flipped + content[place + 1 :],
        lambda: content[:place] + word + content[place + len(word) :],
        lambda: content[:place] + content[place + length :],
        lambda: content[:place] + content[other : other + length] + content[place:],
        lambda: content[:place] + word * int(rng.integers(1, 40)) + content[place:],
        lambda: content[:place],
    )
    return deeds[rng.choice(len(deeds), p=(0.3, 0.3, 0.1, 0.1, 0.1, 0.1))]()


def _value(value: Any, rng: np.random.Generator) -> Any:
    """A copy in which one node, at random, is another, is gone, or stands twice."""
    places: list[tuple[Any, ...]] = []
    _walk(value, (), places)
    path = places[rng.integers(len(places))]
    if not path:
        return copy.deepcopy(ODD[rng.integers(len(ODD))])
    *way, last = path
    parent = value
    for step in way:
        parent = parent[step]
    deed = rng.random()
    if deed < 0.2:
        del parent[last]
    elif deed < 0.3 and isinstance(parent, list):
        parent.insert(last, parent[last])
    elif deed < 0.4 and isinstance(parent, dict):
        parent[str(ODD[rng.integers(len(ODD))])] = parent.pop(last)
    else:
        parent[last] = copy.deepcopy(ODD[rng.integers(len(ODD))])
    return value


def _walk(value: Any, path: tuple[Any, ...], places: list[tuple[Any, ...]]) -> None:
    places.append(path)
    if isinstance(value, dict):
        for key in value:
            _walk(value[key], (*path, key), places)
    elif isinstance(value, list):
        for index in range(min(len(value), 12)):
            _walk(value[index], (*path, index), places)
