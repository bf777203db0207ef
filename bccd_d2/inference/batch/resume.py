"""Which images are finished: a small mark for each, written last, so that a run can go on.

A mark says from which file, with which options and into which files; an image counts as finished
only when all of that still holds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bccd_d2.inference.batch.sources import Job
from bccd_d2.io.atomic import write_json_atomic

FOLDER = "finished"


class Marks:
    """The marks in a run's folder.

    Args:
        folder: of the run.
        options: whatever decides on the results, such as the model's checksum; JSON.
    """

    def __init__(self, folder: str | Path, options: Mapping[str, Any]) -> None:
        self._folder = Path(folder)
        text = json.dumps(options, sort_keys=True, default=str)
        self._options = hashlib.sha256(text.encode()).hexdigest()

    def path(self, job: Job) -> Path:
        """The file of an image's mark."""
        return self._folder / FOLDER / f"{job.name}.json"

    def clear(self, job: Job) -> None:
        """Take off the mark and the files it lists, before any file of the image is written anew.

        So nothing stays of a kind of file that was asked for then and is not now.
        """
        for file in self._read(job).get("files", {}):
            if Path(file).parent.name and ".." not in Path(file).parts:
                (self._folder / file).unlink(missing_ok=True)
        self.path(job).unlink(missing_ok=True)

    def foreign(self, job: Job) -> str:
        """The other file whose results lie in the folder under this image's name; "" for none."""
        source = str(self._read(job).get("source", ""))
        return "" if source == str(job.path.resolve()) else source

    def _read(self, job: Job) -> dict[str, Any]:
        """The mark as it stands; {} where there is none, or a broken one."""
        try:
            mark = json.loads(self.path(job).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        right = isinstance(mark, dict) and isinstance(mark.get("files"), dict)
        return mark if right else {}

    def set(
        self,
        job: Job,
        row: Mapping[str, Any],
        files: Mapping[str, Path],
        key: Mapping[str, Any] | None = None,
    ) -> None:
        """Mark an image as finished, with its row of counts and the files it has.

        Args:
            key: of the file as it was when it was read; None = as it is now.
        """
        sizes = {
            str(path.relative_to(self._folder)): path.stat().st_size for path in files.values()
        }
        mark = {**(key or self.key(job)), "files": sizes, "row": dict(row)}
        write_json_atomic(self.path(job), mark)

    def row(self, job: Job) -> dict[str, Any] | None:
        """The row of counts of a finished image; None where it has to be done."""
        mark = self._read(job)
        try:
            same = all(mark[name] == value for name, value in self.key(job).items())
            there = all(
                (self._folder / file).stat().st_size == size for file, size in mark["files"].items()
            )
        except (OSError, KeyError):
            return None
        row = mark.get("row")
        return row if same and there and isinstance(row, dict) else None

    def key(self, job: Job) -> dict[str, Any]:
        """What an image's results depend on: its file as it is now, and the options."""
        state = job.path.stat()
        return {
            "source": str(job.path.resolve()),
            "page": job.page,
            "bytes": state.st_size,
            "modified": state.st_mtime_ns,
            "options": self._options,
        }
