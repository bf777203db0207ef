"""Finding cells in a process of its own: an image that hangs or swells ends that process alone."""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from bccd_d2.app.overlay import result_html
from bccd_d2.app.results import (
    Findings,
    Model,
    check_diameter,
    check_pixel_size,
    find_cells,
)
from bccd_d2.app.upload import Limits, take_in
from bccd_d2.io.processes import end_with_parent, resident_bytes
from bccd_d2.synth.smear import draw_smear

LOG = logging.getLogger(__name__)
EXAMPLE: dict[str, Any] = {"seed": 11, "size": (600, 800), "n_cells": 24}
_POLL = 0.05  # s between looks at a working process
_READ = "read"  # what it says once the image is in memory


@dataclass(frozen=True)
class Job:
    """One image to look at.

    Attributes:
        path: of the upload; "" = the drawn example, or the image of an earlier look.
        name: what the user calls it.
        threshold, pixel_size, diameter: as set on the page; a wrong size counts as none.
        earlier: look at the same image.
    """

    path: str
    name: str
    threshold: float
    pixel_size: str = ""
    diameter: str = ""
    earlier: Findings | None = None


@dataclass(frozen=True)
class Described:
    """What the page says of a model that lives in another process."""

    name: str
    score_threshold: float
    diameter: float | None
    digest: str = ""


def look(
    model: Model, limits: Limits, job: Job, read: Callable[[], None] = lambda: None
) -> tuple[Findings, str]:
    """The cells of an image, and the HTML that shows them.

    Args:
        read: called once the image is read, before the model looks at it.

    Raises:
        ValueError: the image is refused; see `upload.take_in`.
    """
    image, said = _image(limits, job)
    read()
    diameter = _right(check_diameter, job.diameter) if model.diameter is not None else None
    findings = replace(find_cells(model, image, said.pop("name"), diameter), **said)
    pixel_size = _right(check_pixel_size, job.pixel_size)
    return findings, result_html(findings, image, job.threshold, pixel_size)


def _image(limits: Limits, job: Job) -> tuple[np.ndarray, dict[str, Any]]:
    """The image, and what the findings say of it: name, notes and pixel size."""
    if job.earlier is not None:
        kept = job.earlier
        said = {"name": kept.name, "notes": kept.notes, "pixel_size": kept.pixel_size}
        return kept.image(), said
    if not job.path:
        return draw_smear(**EXAMPLE).image, {"name": "drawn_example.png"}
    upload = take_in(job.path, limits, job.name)
    notes = [f"the first of {upload.pages} pages"] if upload.pages > 1 else []
    if upload.values.dtype not in ("uint8", "bool"):
        notes.append(f"{upload.values} shown as 0 to 255")
    size = upload.pixel_size
    if size is not None:
        known = f"{size.micrometres:g} µm a pixel by its {size.source}"
        notes.append(known if size.micrometres else f"pixel size not used ({size.source})")
    said = {"name": upload.name, "notes": ", ".join(notes)}
    return upload.image, {**said, "pixel_size": size.micrometres if size else None}


def _right(check: Callable[[str], float | None], text: str) -> float | None:
    """What was typed; None where it is wrong, which the page points out itself."""
    try:
        return check(text)
    except ValueError:
        return None


class Finder:
    """Looks at one image at a time, in another process with limits of time and memory.

    A process that breaks one is killed, and the next image gets a new one.

    Args:
        load: makes the model; it is called in the other process, so it must be picklable.
        limits: see `upload.Limits`.

    Raises:
        Exception: whatever ``load`` raised.
    """

    def __init__(self, load: Callable[[], Model], limits: Limits) -> None:
        self._load, self._limits = load, limits
        self._one_at_a_time = threading.Lock()
        self._closed = False
        self._process: Any = None
        self._start()

    def find(self, job: Job) -> tuple[Findings, str]:
        """`look` at an image.

        Raises:
            ValueError: the image is refused, or breaks a limit; the message is for the user.
            RuntimeError: the model failed.
        """
        with self._one_at_a_time:
            if self._closed:
                raise ValueError("the page is being closed")
            if not self._process.is_alive():
                self._start()
            try:
                self._connection.send(job)
                self._receive(job, self._limits.read_seconds, "reading it")
                answer = self._receive(job, self._limits.seconds, "finding its cells")
            except (EOFError, OSError) as error:
                self._kill()
                raise ValueError(
                    f"the image {job.name} ended the process that looked at it, perhaps for want "
                    "of memory. Cut it, or make it smaller"
                ) from error
            return answer

    def replace(self, load: Callable[[], Model]) -> None:
        """Look with another model from now on; the old one stays where it cannot be loaded.

        Raises:
            Exception: whatever ``load`` raised.
        """
        with self._one_at_a_time:
            before, self._load = self._load, load
            self._kill()
            try:
                self._start()
            except BaseException:
                self._load = before
                raise

    def close(self) -> None:
        """End the other process at once; whoever waits for it gets an error."""
        self._closed = True
        self._kill()

    def _start(self) -> None:
        context = get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(
            target=_work, args=(theirs, self._load, self._limits), name="cells", daemon=True
        )
        self._process.start()
        theirs.close()
        try:
            described = self._connection.recv()
        except EOFError as error:
            raise OSError("the process that loads the model ended; is there memory?") from error
        if isinstance(described, BaseException):
            raise described
        self.name, self.score_threshold = described.name, described.score_threshold
        self.diameter, self.digest = described.diameter, described.digest

    def _receive(self, job: Job, seconds: float, doing: str) -> Any:
        """The next word of the other process; it is killed where that breaks a limit."""
        end = time.monotonic() + seconds
        most = self._limits.memory_gb * 1e9
        while not self._connection.poll(_POLL):
            if resident_bytes(self._process.pid) > most:
                self._kill()
                raise ValueError(
                    f"the image {job.name} needs more than the {self._limits.memory_gb:g} GB of "
                    f"memory allowed here for {doing}. Cut it, or make it smaller"
                )
            if time.monotonic() > end:
                self._kill()
                raise ValueError(
                    f"the image {job.name} takes more than the {seconds:g} s allowed here for "
                    f"{doing}. Cut it, or use bccd predict, which has no limit"
                )
        answer = self._connection.recv()
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _kill(self) -> None:
        self._process.kill()
        self._process.join()


def _digest(model: Model) -> str:
    """SHA-256 of the weights, by which what was measured of a model is found; "" for several."""
    parts = getattr(model, "models", [])
    return str(parts[0].digest()) if len(parts) == 1 else ""


def _work(connection: Connection, load: Callable[[], Model], limits: Limits) -> None:
    """Answer jobs until the page goes away."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the page's to hear
    end_with_parent()
    try:
        model = load()
    except Exception as error:
        connection.send(error)
        return
    connection.send(
        Described(model.name, float(model.score_threshold), model.diameter, _digest(model))
    )
    while True:
        job = connection.recv()
        try:
            connection.send(look(model, limits, job, lambda: connection.send(_READ)))
        except ValueError as error:
            connection.send(ValueError(str(error)))
        except Exception as error:  # the page must say it, whatever it is
            LOG.exception("could not find the cells of an image")
            connection.send(RuntimeError(str(error) or type(error).__name__))
