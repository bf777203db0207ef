"""Label images that other tools wrote, found by the image's stem: TIFF, PNG or NPY, and scores."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import tifffile

from bccd_d2.masks.labels import check_label_map, read_label_map, relabel

ENDINGS = (".tif", ".tiff", ".png", ".npy")
SUFFIXES = ("", "_cp_masks", "_masks", "_labels", "_label", "_mask")  # Cellpose writes _cp_masks


def find_label_file(folder: str | Path, stem: str) -> Path:
    """The label image of an image: ``<stem><suffix><ending>``, see `SUFFIXES` and `ENDINGS`.

    Raises:
        FileNotFoundError: there is none.
        ValueError: there are several.
    """
    folder = Path(folder)
    candidates = [folder / f"{stem}{suffix}{ending}" for suffix in SUFFIXES for ending in ENDINGS]
    found = [path for path in candidates if path.is_file()]
    if not found:
        raise FileNotFoundError(
            f"no label image of {stem} in {folder}; looked for {stem}.tif, .tiff, .png and .npy, "
            f"also with {', '.join(SUFFIXES[1:])} after the stem"
        )
    if len(found) > 1:
        raise ValueError(f"several label images of {stem}: {', '.join(map(str, found))}; keep one")
    return found[0]


def read_label_file(path: str | Path) -> np.ndarray:
    """(H, W) int32 label map, cells numbered 1..N without gaps.

    Axes of length 1 are dropped; whole numbers kept as floats are taken.

    Raises:
        FileNotFoundError: no such file.
        ValueError: unreadable, in colour, or not of whole numbers at least 0.
    """
    path = Path(path)
    if path.suffix.lower() == ".png":
        return relabel(read_label_map(path))
    if not path.is_file():
        raise FileNotFoundError(f"label image {path} does not exist")
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, allow_pickle=False)
        else:
            array = tifffile.imread(path)
    except Exception as error:  # tifffile raises struct.error, TypeError, ... on broken files
        raise ValueError(f"label image {path} is unreadable ({error})") from error
    array = np.squeeze(array)
    if np.issubdtype(array.dtype, np.floating) and np.array_equal(array, np.rint(array)):
        array = array.astype(np.int64)
    try:
        return relabel(check_label_map(array))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_label_scores(path: str | Path) -> dict[str, np.ndarray]:
    """Scores of labels by image stem, of a CSV table with the columns image, label and score.

    The labels of an image must be numbered 1..N without gaps, as its label image must.

    Returns:
        For each stem (N,) float32 in [0, 1], label k at k - 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: other columns, a gap, a label twice, or a score outside [0, 1].
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"scores {path} do not exist")
    rows: dict[str, dict[int, float]] = {}
    with path.open(newline="", encoding="utf-8") as stream:
        table = csv.DictReader(stream)
        for number, row in enumerate(table, start=2):
            try:
                image, label, score = row["image"], int(row["label"]), float(row["score"])
            except (KeyError, TypeError, ValueError):
                raise ValueError(
                    f"{path}, line {number}: needs image, label (a whole number) and score"
                ) from None
            if not 0 <= score <= 1 or label in rows.setdefault(image, {}):
                raise ValueError(
                    f"{path}, line {number}: score {score} of label {label} of {image} is outside "
                    "[0, 1], or the label's second"
                )
            rows[image][label] = score
    for image, scores in rows.items():
        if sorted(scores) != list(range(1, len(scores) + 1)):
            raise ValueError(f"{path}: the labels of {image} are not numbered 1 to {len(scores)}")
    return {
        image: np.array([scores[k] for k in sorted(scores)], dtype=np.float32)
        for image, scores in rows.items()
    }
