"""Folders that this package filled: their pictures are results, not inputs."""

from __future__ import annotations

import json
from pathlib import Path

PREDICTED = ("labels", "types", "coco", "geojson", "csv", "overlay", "finished")
CONVERTED = ("labels", "annotations")  # of a converted dataset
TRAINED = ("report", "evaluation")  # of a training


class OwnFolders:
    """Knows folders that a prediction, a conversion or a training of ours filled.

    Args:
        results: a folder that a prediction is about to fill, which may hold images too.
    """

    def __init__(self, results: Path | None = None) -> None:
        self._results = results
        self._known: dict[Path, bool] = {}

    def holds(self, folder: Path) -> bool:
        """Whether a folder lies in one of them."""
        real = folder.resolve()
        if real not in self._known:
            self._known[real] = self._look(real)
        return self._known[real]

    def _look(self, real: Path) -> bool:
        if _says(real / "run.json", "sessions"):
            return True
        for inner, outer in zip((real, *real.parents), real.parents, strict=False):
            if inner.name in PREDICTED and (outer == self._results or _is_prediction(outer)):
                return True
            if inner.name in CONVERTED and _says(outer / "dataset.json", "format_version"):
                return True
            if inner.name in TRAINED and _says(outer / "run.json", "sessions"):
                return True
        return False


def _is_prediction(folder: Path) -> bool:
    marks = folder / "finished"  # a run that was killed has no run.json yet
    if _says(folder / "run.json", "models", "looked_at"):
        return True
    return marks.is_dir() and any(marks.glob("*.json"))


def _says(path: Path, *keys: str) -> bool:
    """Whether a json file is an object with these keys."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(content, dict) and all(key in content for key in keys)
