"""Reading, predicting and writing at once: while one image is predicted on, the next is read and
the last is written. What waits is bounded, so memory does not grow with the number of images.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bccd_d2.inference.batch.sources import Job
from bccd_d2.io.errors import explain
from bccd_d2.io.text import printable

logger = logging.getLogger(__name__)

Read = TypeVar("Read")  # an image
Found = TypeVar("Found")  # what the model says of it

_POLL = 0.2  # s between looks at whether the run was stopped


@dataclass
class Outcome:
    """What became of the images.

    Attributes:
        rows: of each image done, by name.
        failures: name, file, page and reason of each that was not.
        seconds: spent on reading, on the model and on writing; they overlap.
        interrupted: stopped by Ctrl-C; what was done is whole.
    """

    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    failures: list[dict[str, Any]] = field(default_factory=list)
    seconds: dict[str, float] = field(
        default_factory=lambda: dict.fromkeys(("read", "model", "write"), 0.0)
    )
    interrupted: bool = False

    def fail(self, job: Job, error: BaseException | str) -> None:
        """Note that an image was not done."""
        reason = error if isinstance(error, str) else explain(error)
        self.failures.append(
            {"image": job.name, "file": printable(job.path), "page": job.page + 1, "reason": reason}
        )


def run_jobs(
    jobs: Sequence[Job],
    read: Callable[[Job], Read],
    predict: Callable[[Read], Found],
    write: Callable[[Job, Read, Found], dict[str, Any]],
    *,
    writers: int = 2,
    on_done: Callable[[Job], None] | None = None,
) -> Outcome:
    """Take every image through the three steps; an error ends that image and no other.

    Args:
        read: in a thread of its own, at most two images ahead.
        predict: in the calling thread.
        write: in ``writers`` threads; answers with the image's row.
        on_done: called in the calling thread as images end, well or not.
    """
    outcome, stop = Outcome(), threading.Event()
    tell = on_done or (lambda job: None)
    reader = _Reader(jobs, read, stop, outcome)
    writing = _Writers(write, writers, outcome, tell)
    try:
        for job, image in reader:
            found = image if isinstance(image, Exception) else _predict(predict, image, outcome)
            if isinstance(found, Exception):
                outcome.fail(job, found)
                tell(job)
            else:
                writing.submit(job, image, found)
                writing.settle(wait=False)
        writing.settle(wait=True)
    except KeyboardInterrupt:
        outcome.interrupted = True
        logger.warning("stopped; images being written are finished first")
    finally:
        stop.set()
        writing.close(outcome.interrupted)
        reader.join()
    return outcome


def _predict(
    predict: Callable[[Read], Found], image: Read, outcome: Outcome
) -> Found | Exception:
    start = time.perf_counter()
    try:
        return predict(image)
    except Exception as error:  # out of memory, a size the model refuses, ...
        return error
    finally:
        outcome.seconds["model"] += time.perf_counter() - start


class _Reader:
    """Iterates over (job, image or the error of reading it), reading ahead in a thread."""

    def __init__(
        self, jobs: Sequence[Job], read: Callable, stop: threading.Event, outcome: Outcome
    ) -> None:
        self._jobs, self._read, self._stop, self._outcome = jobs, read, stop, outcome
        self._queue: queue.Queue = queue.Queue(maxsize=1)
        self._thread = threading.Thread(target=self._fill, name="read", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[tuple[Job, Any]]:
        for _ in self._jobs:
            item = None
            while item is None:
                with contextlib.suppress(queue.Empty):
                    # A wait without a limit would not hear Ctrl-C on every system.
                    item = self._queue.get(timeout=_POLL)
            yield item

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()

    def _fill(self) -> None:
        for job in self._jobs:
            start = time.perf_counter()
            try:
                if job.problem:
                    raise ValueError(job.problem)
                item = job, self._read(job)
            except Exception as error:
                item = job, error
            self._outcome.seconds["read"] += time.perf_counter() - start
            while not self._stop.is_set():
                try:
                    self._queue.put(item, timeout=_POLL)
                    break
                except queue.Full:
                    continue
            if self._stop.is_set():
                return


class _Writers:
    """Writes in threads, no more than two images a thread at once."""

    def __init__(
        self, write: Callable, count: int, outcome: Outcome, tell: Callable[[Job], None]
    ) -> None:
        self._write, self._outcome, self._tell = write, outcome, tell
        self._room = threading.BoundedSemaphore(2 * count)
        self._pool = ThreadPoolExecutor(count, thread_name_prefix="write")
        self._pending: list[tuple[Job, Future]] = []

    def submit(self, job: Job, image: Any, found: Any) -> None:
        """Have an image written; waits where too many are."""
        while not self._room.acquire(timeout=_POLL):
            pass
        future = self._pool.submit(self._timed, job, image, found)
        future.add_done_callback(lambda _: self._room.release())
        self._pending.append((job, future))

    def settle(self, wait: bool) -> None:
        """Take in what has been written, or with ``wait`` all that will be."""
        for job, future in list(self._pending):
            if not wait and not future.done():
                continue
            if not future.cancelled():
                error = future.exception()
                if error is None:
                    self._outcome.seconds["write"] += future.result()
                else:
                    self._outcome.fail(job, error)
                self._tell(job)
            self._pending.remove((job, future))

    def close(self, interrupted: bool) -> None:
        """Finish what is being written; what only waits is given up when interrupted."""
        self._pool.shutdown(wait=True, cancel_futures=interrupted)
        self.settle(wait=True)

    def _timed(self, job: Job, image: Any, found: Any) -> float:
        start = time.perf_counter()
        # Noted here, so that Ctrl-C in the calling thread cannot lose what is written.
        self._outcome.rows[job.name] = self._write(job, image, found)
        return time.perf_counter() - start
