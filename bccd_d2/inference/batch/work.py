"""The work on a share of a run's images, in this process or in several of this machine.

It stands above the rooms, as `inference.batch.predict` does, which plans it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from bccd_d2.inference.batch.outputs import OutputOptions, write_outputs
from bccd_d2.inference.batch.pixel_sizes import pixel_size_of
from bccd_d2.inference.batch.record import BatchOptions
from bccd_d2.inference.batch.resume import Marks
from bccd_d2.inference.batch.run import Outcome, run_jobs
from bccd_d2.inference.batch.sizing import EACH, Sizing, middle
from bccd_d2.inference.batch.sources import Job
from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.predictor import PredictOptions
from bccd_d2.io.pixel_size import PixelSize
from bccd_d2.io.processes import end_with_parent
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_windows import TiffWindows, open_image
from bccd_d2.io.value_range import ValueRange
from bccd_d2.masks.cells import Cells
from bccd_d2.segmenter import Segmenter, load_pretrained

_CHUNK = 16  # images, at most, that a worker takes at once


@dataclass(frozen=True, eq=False)
class _Read:
    """An image, how it became 8 bits, its file as it was when it was read, and its pixels' size."""

    image: Any
    value_range: ValueRange
    key: dict[str, Any]
    pixel_size: PixelSize | None


@dataclass(frozen=True, eq=False)
class _Found:
    """What the model said of an image, how it looked at it, and how large it took cells to be."""

    candidates: Cells
    how: PredictOptions
    diameter: float | None  # None = the model's own
    estimate: DiameterEstimate | None  # None = given, or common to all images


@dataclass(frozen=True)
class Plan:
    """What is the same for all images of a run.

    Attributes:
        how, sizing: how they are looked at, and how large their cells are.
        written: what is written, and where.
        marks: of the images that are finished.
        max_value: what is white in images of more than 8 bits.
    """

    how: PredictOptions
    sizing: Sizing
    written: OutputOptions
    marks: Marks
    max_value: float | None


def load_for(options: BatchOptions) -> Segmenter:
    """The model that a run asks for; see `segmenter.load_pretrained`."""
    how = {key: getattr(options, key) for key in ("config_file", "device", "precision", "backend")}
    return load_pretrained(options.weights, **how)


def work_on(jobs: Sequence[Job], model: Segmenter, plan: Plan, progress: bool) -> Outcome:
    """Read, predict on and write images, in this process."""
    how, sizing, written, marks = plan.how, plan.sizing, plan.written, plan.marks
    with tqdm(total=len(jobs), unit="image", disable=not progress or not jobs) as bar:

        def read(job: Job) -> _Read:
            key = marks.key(job)
            image, value_range = open_image(job.path, job.plane, plan.max_value)
            return _Read(image, value_range, key, pixel_size_of(job, written.pixel_size))

        def predict(read: _Read) -> _Found:
            tell = _tiles_of(bar) if isinstance(read.image, TiffWindows) else None
            px, chosen, estimate = sizing.px, how, sizing.estimate
            if sizing.mode == EACH:
                estimate = model.estimate_diameter(middle(read.image))
                px, chosen = estimate.px, replace(how, scale=model.scale_for(estimate.px))
            return _Found(model.candidates(read.image, chosen, tell), chosen, px, estimate)

        def write(job: Job, read: _Read, found: _Found) -> dict[str, Any]:
            marks.clear(job)
            cells = found.candidates.above(found.how.score_threshold)
            row = write_outputs(
                job, read.image, cells, written, read.value_range, read.pixel_size
            )
            row["diameter"] = None if found.diameter is None else round(found.diameter, 1)
            row |= _checked(model, read.image, found)
            if isinstance(read.image, TiffWindows):
                read.image.close()
                if marks.key(job) != read.key:
                    raise ValueError(f"{printable(job.path)} changed while it was read: try again")
            marks.set(job, row, written.files(job.name), read.key)
            return row

        return run_jobs(
            jobs,
            read,
            predict,
            write,
            on_done=lambda job: bar.update(),
        )


def _checked(model: Segmenter, image: Any, found: _Found) -> dict[str, Any]:
    """The columns that say whether an image's outlines are to be trusted."""
    if not isinstance(image, np.ndarray):
        return {"trust": None, "check": ""}
    trust = model.assess(image, found.candidates, found.how, found.estimate)
    return {"trust": round(trust.score, 2), "check": trust.complaint}


def _tiles_of(bar: tqdm) -> Callable[[int, int], None]:
    return lambda done, total: bar.set_postfix_str(f"tile {done} of {total}")


def work_in_processes(
    jobs: Sequence[Job], options: BatchOptions, plan: Plan, count: int, progress: bool
) -> list[Outcome]:
    """`work_on` in several processes, each with a model of its own and its share of the cores.

    Ctrl-C lets them finish what they have begun, some images each.

    Raises:
        OSError: one of them ended unexpectedly, as when memory is short.
    """
    threads = max(1, (os.cpu_count() or 1) // count)
    size = max(1, min(_CHUNK, -(-len(jobs) // (4 * count))))
    chunks = [jobs[start : start + size] for start in range(0, len(jobs), size)]
    outcomes: list[Outcome] = []
    context = multiprocessing.get_context("spawn")
    with (
        tqdm(total=len(jobs), unit="image", disable=not progress or not jobs) as bar,
        ProcessPoolExecutor(count, context, _begin, (options, plan, threads)) as pool,
    ):
        waiting = [pool.submit(_chunk, chunk) for chunk in chunks]
        try:
            for future, chunk in zip(waiting, chunks, strict=True):
                outcomes.append(future.result())
                bar.update(len(chunk))
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            done = [f.result() for f in waiting[len(outcomes) :] if not f.cancelled()]
            outcomes += [*done, Outcome(interrupted=True)]
        except BrokenProcessPool as error:
            raise OSError(
                "a worker process ended unexpectedly, perhaps for want of memory: take fewer "
                "--processes and go on with --resume"
            ) from error
    return outcomes


_given: tuple[Segmenter, Plan]  # of a worker process


def _begin(options: BatchOptions, plan: Plan, threads: int) -> None:
    global _given
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["OMP_NUM_THREADS"] = str(threads)
    cv2.setNumThreads(threads)
    _given = load_for(options), plan


def _chunk(jobs: Sequence[Job]) -> Outcome:
    model, plan = _given
    return work_on(jobs, model, plan, progress=False)
