"""Predict on many image files with one model and write all results: what `bccd predict` calls.

This module stands above the rooms, as `bccd_d2.api` and `bccd_d2.segmenter` do.
"""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from bccd_d2.inference.batch.group import Group, this_group
from bccd_d2.inference.batch.outputs import OutputOptions, write_counts
from bccd_d2.inference.batch.pixel_sizes import contradictions
from bccd_d2.inference.batch.record import BatchOptions, Summary, decides, record, shard_of
from bccd_d2.inference.batch.resume import Marks
from bccd_d2.inference.batch.run import Outcome
from bccd_d2.inference.batch.sizing import EACH, Sizing, plan_sizes
from bccd_d2.inference.batch.sources import Job, find_images, plan_jobs
from bccd_d2.inference.batch.work import Plan, load_for, work_in_processes, work_on
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.text import some
from bccd_d2.io.tiff_windows import open_image
from bccd_d2.segmenter import Segmenter


def predict_batch(options: BatchOptions) -> Summary:
    """Predict on all images and write their files, counts.csv and run.json.

    Under torchrun each process takes every n-th image, and all return the same summary; the
    results folder must be one that they share. A shard writes counts.3of16.csv and run.3of16.json
    in their place. Every file is whole or absent.

    Raises:
        FileNotFoundError: an input or the model is missing.
        KeyError, ValueError: options or a model that cannot work.
        OSError: the folder for the results cannot be written, or another process does.
    """
    inputs = find_images(options.inputs, leave_out=options.output)
    jobs = plan_jobs(inputs)
    group = this_group()
    if group.size > 1 and options.processes > 1:
        raise ValueError("--processes goes without torchrun, which starts processes itself")
    with hold_folder(
        options.output, "prediction", first=group.first, gather=group.gather,
        shared=bool(options.shard),
    ):  # fmt: skip
        return _predict_batch(options, jobs, inputs.left_out, group)


def _predict_batch(
    options: BatchOptions, jobs: list[Job], left_out: list[str], group: Group
) -> Summary:
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    model = load_for(options)
    plan = _plan(options, jobs, model)
    number, count = shard_of(options.shard)
    jobs = jobs[number - 1 :: count]
    known = ((job.name, plan.marks.row(job)) for job in jobs if options.resume)
    finished = {name: row for name, row in known if row is not None}
    todo = [job for job in jobs if job.name not in finished]
    outcomes = _work(todo, options, model, plan, group)
    rows = {**finished, **{k: v for part in outcomes for k, v in part.rows.items()}}
    output = Path(options.output)
    summary = Summary(
        done=sum(len(part.rows) for part in outcomes),
        skipped=len(finished),
        failures=[failure for part in outcomes for failure in part.failures],
        interrupted=any(part.interrupted for part in outcomes),
        output=output,
        left_out=left_out,
        sizing=plan.sizing,
        **_seen_in(rows, plan.sizing),
    )
    if group.first:
        part = f".{number}of{count}" if options.shard else ""
        table = [rows[job.name] for job in jobs if job.name in rows]
        write_counts(output / f"counts{part}.csv", table)
        steps = Outcome().seconds
        said = record(options, model, plan.how, summary, group.size) | {
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "seconds_by_step": {
                step: round(sum(one.seconds[step] for one in outcomes), 3) for step in steps
            },
        }
        write_json_atomic(output / f"run{part}.json", said, indent=1)
    return summary


def _plan(options: BatchOptions, jobs: list[Job], model: Segmenter) -> Plan:
    """How all images of a run are looked at: those of other shards too, so all agree."""
    output = Path(options.output)
    written = OutputOptions(output, options.save, options.pixel_size, options.label_bits,
                            options.keep_overlaps)  # fmt: skip

    def picture(job: Job) -> Any:
        return open_image(job.path, job.plane, options.max_value)[0]

    sizing = plan_sizes(options.diameter, options.scale, model, jobs, picture)
    how = model.options(
        options.score_threshold, tile=options.tile, overlap=options.overlap, tta=options.tta,
        scale=options.scale or model.scale_for(sizing.px), batch=options.batch,
    )  # fmt: skip
    marks = Marks(output, decides(options, model, how))
    _refuse_foreign(jobs, marks, output)
    return Plan(how, sizing, written.told(model.classes), marks, options.max_value)


def _work(
    todo: list[Job], options: BatchOptions, model: Segmenter, plan: Plan, group: Group
) -> list[Outcome]:
    """What became of the images, in this process, in workers of it, or in those of torchrun."""
    if options.processes > 1:
        return work_in_processes(todo, options, plan, options.processes, options.progress)
    bar = options.progress and group.first
    return group.gather(work_on(todo[group.rank :: group.size], model, plan, bar))


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
