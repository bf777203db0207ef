"""Teach the page's model what a person corrected: `bccd finetune` beside the page."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from bccd_d2.app.results import Findings, Model
from bccd_d2.io.processes import processor_seconds
from bccd_d2.io.records import read_json

RECORD = {
    "kept": bool, "score": str, "before": (float, None), "after": (float, None),
    "train_images": int, "held_out_images": int,
}  # fmt: skip
_POLL = 0.5  # s between looks at the training
_AROUND = 45.0  # s for converting, scoring and loading, about


@dataclass(frozen=True)
class Progress:
    """How far a lesson is: a share in [0, 1], and in words."""

    share: float
    text: str


@dataclass(frozen=True)
class Taught:
    """What came of a lesson.

    Attributes:
        folder: of the model to use from now on.
        kept: it is a new one; else the old one was as good.
        text: for people.
    """

    folder: str
    kept: bool
    text: str


class Teacher(Protocol):
    """What teaches; `FineTune` is one."""

    def teach(self, store: Path, minutes: float) -> Iterator[Progress | Taught]:
        """Learn from the images of a `corrections.Store`; the last word is `Taught`."""
        ...

    def load(self, folder: str) -> Callable[[], Model]:
        """What makes the model of a folder, in another process."""
        ...


@dataclass(frozen=True)
class Bench:
    """Where corrections go and who learns from them; without a folder they are only downloaded."""

    folder: Path | None = None
    teacher: Teacher | None = None


@dataclass
class FineTune:
    """Runs `bccd finetune` in a process of its own.

    Attributes:
        weights: of the model to begin with; "" = the shipped one. A lesson moves it on.
        config_file, device: as of `bccd finetune`.
    """

    weights: str = ""
    config_file: str = ""
    device: str = "auto"
    _running: list[Any] = field(default_factory=list, repr=False)

    def command(self, store: Path, out: Path, minutes: float) -> list[str]:
        """The command line of a lesson; a single image leaves none to score on."""
        few = len(list((store / "labels").glob("*.png"))) < 2
        given = ["--images", str(store / "images"), "--labels", str(store / "labels"),
                 "--out", str(out), "--minutes", f"{minutes:g}", "--device", self.device,
                 "--quiet"]  # fmt: skip
        given += ["--weights", self.weights] if self.weights else []
        given += ["--config-file", self.config_file] if self.config_file else []
        return ["finetune", *given, *(["--no-holdout"] if few else [])]

    def teach(self, store: Path, minutes: float) -> Iterator[Progress | Taught]:
        """See `Teacher`.

        Raises:
            ValueError: a lesson is under way, or the training could not be; the message says why.
        """
        if self._running:
            raise ValueError("a lesson is under way: wait for it")
        out, log = _free(store / "models"), store / "models" / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as stream:
            call = [sys.executable, "-m", "bccd_d2", *self.command(store, out, minutes)]
            process = subprocess.Popen(call, stdout=stream, stderr=subprocess.STDOUT)
        self._running.append(process)
        try:
            begin, whole = time.monotonic(), minutes * 60 + _AROUND
            while process.poll() is None:
                spent = time.monotonic() - begin
                doing = "training" if (out / "training").is_dir() else "reading the corrections"
                share = (processor_seconds(process.pid) or spent) / whole  # as the minutes count
                yield Progress(min(share, 0.97), f"{doing}, {spent:.0f} s")
                time.sleep(_POLL)
        finally:
            process.kill()
            process.wait()
            self._running.clear()
        record = out / "finetune.json"
        if not record.is_file():
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ValueError(said[-1] if said else "the training ended without a word")
        yield self._taught(out, read_json(record, RECORD, "teach again"))

    def _taught(self, out: Path, record: Mapping[str, Any]) -> Taught:
        if record["kept"]:
            self.weights, self.config_file = str(out), ""
        images = f"images learned from: {record['train_images']}"
        if record["before"] is None or record["after"] is None:
            return Taught(str(out), record["kept"], f"{images}; none was left to check on")
        text = (
            f"{images}, held out: {record['held_out_images']}; {record['score']} "
            f"{record['before']:.3f} before, {record['after']:.3f} after"
        )
        if not record["kept"]:
            text += ": not better, so the page keeps its model. Correct more images"
        return Taught(str(out), record["kept"], text)

    def load(self, folder: str) -> Callable[[], Model]:
        """See `Teacher`."""
        from bccd_d2.segmenter import load_pretrained

        return partial(load_pretrained, folder, device=self.device)


def _free(folder: Path) -> Path:
    number = 1
    while (folder / f"taught_{number}").exists():
        number += 1
    return folder / f"taught_{number}"


def next_field(images: Mapping[str, Findings]) -> str:
    """The uncorrected image that the model is least sure of; "" where all are corrected.

    By trust, or by the mean score of its cells where trust was not asked.
    """
    doubtful = {name: _doubt(one) for name, one in images.items() if one.corrections is None}
    return max(doubtful, key=doubtful.__getitem__) if doubtful else ""


def _doubt(findings: Findings) -> float:
    if findings.cells.trust is not None:
        return 1 - findings.cells.trust.score
    return 1 - float(np.mean(findings.cells.scores)) if len(findings.cells) else 1.0
