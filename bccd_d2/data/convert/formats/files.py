"""What the readers share: files as text or json, numbers and outlines checked, clear refusals."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np

Ring = np.ndarray  # (K, 2) float x, y
FAR = 1e9  # px; what lies further out is no coordinate


class FormatError(ValueError):
    """A file, or the part of it for one image, that cannot be used: file, field and remedy."""

    def __init__(self, file: Any, field_name: str, wrong: str, remedy: str) -> None:
        place = f" {field_name}" if field_name else ""
        super().__init__(f"{file}:{place} {wrong}; {remedy}")


def read_text(path: str | Path) -> str:
    """The text of an annotation file, UTF-8 with or without a mark, or Latin-1 else.

    Raises:
        FileNotFoundError: no such file.
        FormatError: it holds zero bytes, so is no text.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"annotation file {path} does not exist")
    data = path.read_bytes()
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise FormatError(path, "", "is no text", "remove it, or name its format")
    for encoding in ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            return data.decode(encoding)
        except UnicodeDecodeError:
            pass
    return data.decode("latin-1")


def read_json(path: str | Path) -> Any:
    """The content of a json file.

    Raises:
        FileNotFoundError: no such file.
        FormatError: it is no json.
    """
    try:
        return json.loads(read_text(path))
    except FormatError:
        raise
    except (ValueError, RecursionError) as error:
        raise FormatError(
            path, "", f"is no json ({error})", "it may be cut short: export it again"
        ) from error


SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "dev": "val",
          "validation": "val", "test": "test", "testing": "test"}  # fmt: skip


def split_of(path: str | Path) -> str | None:
    """ "train", "val" or "test" where the file's name or a folder above it says so, else None.

    The nearest name counts: ``train/labels/x.txt``, ``instances_val2017.json``.
    """
    path = Path(path)
    for name in (path.stem, *(folder.name for folder in path.parents)):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in SPLITS:
                return SPLITS[word]
    return None


def files_of(path: str | Path, *endings: str) -> list[Path]:
    """The file itself, or those with these endings in a folder and below, hidden ones excepted.

    Raises:
        FileNotFoundError: no such file or folder, or no such file in it.
    """
    path = Path(path)
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise FileNotFoundError(f"{path} does not exist; name a file or a folder of {endings[0]}")
    found = sorted(p for p in path.rglob("*") if p.name.lower().endswith(endings) and p.is_file())
    found = [p for p in found if not any(n.startswith(".") for n in p.relative_to(path).parts)]
    if not found:
        raise FileNotFoundError(f"{path} holds no file that ends in {' or '.join(endings)}")
    return found


def numbers(values: Any, count: int, file: Path, where: str) -> tuple[float, ...]:
    """``count`` finite numbers from a list of a file.

    Raises:
        FormatError: it is something else.
    """
    try:
        found = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        found = ()
    if len(found) != count or not all(math.isfinite(v) and abs(v) < FAR for v in found):
        raise FormatError(
            file, where, f"must be {count} finite numbers, got {str(values)[:60]!r}",
            "correct it or remove the entry",
        )
    return found


def ring_of(values: Any, file: Path, where: str) -> Ring:
    """(K, 2) float points of a ring, from a flat list x, y, x, y, ... or a list of pairs.

    Raises:
        FormatError: fewer than three points, or something that is no finite number.
    """
    try:
        points = np.asarray(values, dtype=np.float64)
        points = points.reshape(-1, 2) if points.ndim == 1 else points[:, :2]
        good = points.ndim == 2 and len(points) >= 3 and bool((np.abs(points) < FAR).all())
    except (TypeError, ValueError, IndexError):
        good = False
    if not good:
        raise FormatError(
            file, where, f"must be an outline of three points or more, got {str(values)[:60]!r}",
            "correct it or remove the entry",
        )
    return points
