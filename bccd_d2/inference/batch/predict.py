"""Predict on many image files with one model and write all results: what `bccd predict` calls.

This module stands above the rooms, as `bccd_d2.api` and `bccd_d2.segmenter` do.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from bccd_d2.inference.batch.group import Group, this_group
from bccd_d2.inference.batch.outputs import OutputOptions, write_counts, write_outputs
from bccd_d2.inference.batch.pixel_sizes import contradictions, pixel_size_of
from bccd_d2.inference.batch.record import BatchOptions, Summary, decides, record
from bccd_d2.inference.batch.resume import Marks
from bccd_d2.inference.batch.run import Outcome, run_jobs
from bccd_d2.inference.batch.sizing import (
    EACH,
    Sizing,
    middle,
    plan_sizes,
    some,
)
from bccd_d2.inference.batch.sources import Job, find_images, plan_jobs
from bccd_d2.inference.diameter import DiameterEstimate
from bccd_d2.inference.predictor import PredictOptions
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.pixel_size import PixelSize
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_windows import TiffWindows, open_image
from bccd_d2.io.value_range import ValueRange
from bccd_d2.masks.cells import Cells
from bccd_d2.segmenter import Segmenter, load_pretrained

logger = logging.getLogger(__name__)


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


def predict_batch(options: BatchOptions) -> Summary:
    """Predict on all images and write their files, counts.csv and run.json.

    Under several processes each takes every n-th image, and all return the same summary; the
    results folder must be one that they share. Every file is whole or absent.

    Raises:
        FileNotFoundError: an input or the model is missing.
        KeyError, ValueError: options or a model that cannot work.
        OSError: the folder for the results cannot be written, or another process does.
    """
    inputs = find_images(options.inputs, leave_out=options.output)
    jobs = plan_jobs(inputs)
    group = this_group()
    with hold_folder(options.output, "prediction", first=group.first, gather=group.gather):
        return _predict_batch(options, jobs, inputs.left_out, group)


def _predict_batch(
    options: BatchOptions, jobs: list[Job], left_out: list[str], group: Group
) -> Summary:
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    output = Path(options.output)
    written = OutputOptions(output, options.save, options.pixel_size, options.label_bits,
                            options.keep_overlaps)  # fmt: skip
    model = _load(options)
    written = written.told(model.classes)

    def picture(job: Job) -> Any:
        return open_image(job.path, job.plane, options.max_value)[0]

    sizing = plan_sizes(options.diameter, options.scale, model, jobs, picture)
    how = model.options(
        options.score_threshold, tile=options.tile, overlap=options.overlap, tta=options.tta,
        scale=options.scale or model.scale_for(sizing.px), batch=options.batch,
    )  # fmt: skip
    marks = Marks(output, decides(options, model, how))
    _refuse_foreign(jobs, marks, output)
    finished = {job.name: marks.row(job) for job in jobs} if options.resume else {}
    finished = {name: row for name, row in finished.items() if row is not None}
    todo = [job for job in jobs if job.name not in finished]
    share = todo[group.rank :: group.size]
    bar = options.progress and group.first
    outcome = _run(share, model, (how, sizing), written, marks, options.max_value, bar)
    outcomes = group.gather(outcome)
    rows = {**finished, **{k: v for part in outcomes for k, v in part.rows.items()}}
    summary = Summary(
        done=sum(len(part.rows) for part in outcomes),
        skipped=len(finished),
        failures=[failure for part in outcomes for failure in part.failures],
        interrupted=any(part.interrupted for part in outcomes),
        output=output,
        left_out=left_out,
        sizing=sizing,
        **_seen_in(rows, sizing),
    )
    if group.first:
        write_counts(output / "counts.csv", [rows[job.name] for job in jobs if job.name in rows])
        said = record(options, model, how, summary, group.size) | {
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "seconds_by_step": {
                step: round(sum(part.seconds[step] for part in outcomes), 3)
                for step in outcome.seconds
            },
        }
        write_json_atomic(output / "run.json", said, indent=1)
    return summary


def _load(options: BatchOptions) -> Segmenter:
    how = {key: getattr(options, key) for key in ("config_file", "device", "precision", "backend")}
    return load_pretrained(options.weights, **how)


def _refuse_foreign(jobs: list[Job], marks: Marks, output: Path) -> None:
    """Raise ValueError where results of another image of an equal name would be overwritten."""
    foreign = [(job, source) for job in jobs if (source := marks.foreign(job))]
    if foreign:
        job, source = foreign[0]
        more = f" and {len(foreign) - 1} more such" if len(foreign) > 1 else ""
        raise ValueError(
            f"{output} holds results of {source} under the name {job.name}, which those of "
            f"{job.path} would overwrite{more}; choose another --output"
        )


def _run(
    jobs: list[Job],
    model: Segmenter,
    looks: tuple[PredictOptions, Sizing],
    written: OutputOptions,
    marks: Marks,
    max_value: float | None,
    progress: bool,
) -> Outcome:
    how, sizing = looks
    with tqdm(total=len(jobs), unit="image", disable=not progress or not jobs) as bar:

        def read(job: Job) -> _Read:
            key = marks.key(job)
            image, value_range = open_image(job.path, job.plane, max_value)
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


def _seen_in(rows: dict[str, dict[str, Any]], sizing: Sizing) -> dict[str, Any]:
    """What a summary says that stands in the rows of the images."""
    unchecked = [name for name, row in rows.items() if row.get("trust") is None]
    doubts = contradictions(rows.values())
    if unchecked:
        doubts.append(f"{some(unchecked)} are too large to be checked: look at their overlays")
    sizes = [row for row in rows.values() if row.get("pixel_size") is not None]
    each = sizing.mode == EACH
    return {
        "value_ranges": Counter(r["value_range"] for r in rows.values() if "value_range" in r),
        "unsized": [name for name, row in rows.items() if each and row["diameter"] is None],
        "check_images": {name: row["check"] for name, row in rows.items() if row.get("check")},
        "pixel_sizes": Counter(f"{r['pixel_size']:g} um, {r['pixel_size_from']}" for r in sizes),
        "doubts": doubts,
    }


def _tiles_of(bar: tqdm) -> Callable[[int, int], None]:
    return lambda done, total: bar.set_postfix_str(f"tile {done} of {total}")
