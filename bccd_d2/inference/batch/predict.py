"""Predict on many image files with one model and write all results: what `bccd predict` calls.

This module stands above the rooms, as `bccd_d2.api` and `bccd_d2.segmenter` do.
"""

from __future__ import annotations

import logging
import platform
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import torch
from detectron2.utils import comm
from tqdm import tqdm

import bccd_d2
from bccd_d2.inference.batch.outputs import KINDS, OutputOptions, write_counts, write_outputs
from bccd_d2.inference.batch.resume import Marks
from bccd_d2.inference.batch.run import Outcome, run_jobs
from bccd_d2.inference.batch.sizing import (
    AUTO,
    EACH,
    Sizing,
    middle,
    plan_sizes,
    some,
    unsized,
)
from bccd_d2.inference.batch.sources import Job, find_images, plan_jobs
from bccd_d2.inference.predictor import PredictOptions
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.io.lock import hold_folder
from bccd_d2.io.text import printable
from bccd_d2.io.tiff_windows import TiffWindows, open_image
from bccd_d2.io.value_range import ValueRange, mixed_ranges
from bccd_d2.masks.cells import Cells
from bccd_d2.segmenter import Segmenter, load_pretrained

logger = logging.getLogger(__name__)

DECIDE = ("pixel_size", "label_bits", "keep_overlaps", "max_value")  # on an image's results


@dataclass(frozen=True)
class BatchOptions:
    """A run over image files; lengths in pixels of the images.

    Attributes:
        inputs: files, folders and globs; see `inference.batch.sources.find_images`.
        output: folder for the results.
        weights: () = the shipped model; several make an ensemble; see `segmenter.load_pretrained`.
        config_file: in place of the model's own config.
        device, precision: see `segmenter.load_pretrained`.
        save: kinds of files, of `inference.batch.outputs.KINDS`.
        score_threshold, tile, overlap, tta, scale, batch: see `segmenter.Segmenter.predict`.
        diameter: px across a typical cell; "auto": one for all images, estimated from some of them;
            "each": estimated for each.
        pixel_size, label_bits, keep_overlaps: see `inference.batch.outputs.OutputOptions`.
        max_value: what is white in images of more than 8 bits; None = by each one's values.
        resume: leave out images that an earlier run finished with the same options.
        progress: show a progress bar.
    """

    inputs: tuple[str, ...]
    output: str
    weights: tuple[str, ...] = ()
    config_file: str = ""
    device: str = "auto"
    precision: str = "fp32"
    save: tuple[str, ...] = tuple(KINDS)
    score_threshold: float | None = None
    tile: int | None = None
    overlap: int | None = None
    tta: str = ""
    diameter: str = AUTO
    scale: float | None = None
    batch: int = 1
    pixel_size: float | None = None
    label_bits: int | None = None
    keep_overlaps: bool = False
    max_value: float | None = None
    resume: bool = False
    progress: bool = True


@dataclass(frozen=True)
class Summary:
    """What a run did.

    Attributes:
        done: images predicted on now.
        skipped: images that were finished before.
        failures: image, file, page and reason of each that could not be done.
        interrupted: stopped by Ctrl-C.
        output: folder of the results.
        left_out: a sentence for each file or kind of file that was no input.
        value_ranges: how many images of more than 8 bits have each range that became 0 to 255.
        sizing: how large cells were taken to be.
        unsized: images for which "each" found no size.
    """

    done: int
    skipped: int
    failures: list[dict[str, Any]]
    interrupted: bool
    output: Path
    left_out: list[str] = field(default_factory=list)
    value_ranges: dict[str, int] = field(default_factory=dict)
    sizing: Sizing | None = None
    unsized: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What to look at before the results are used."""
        found = [text for text in [mixed_ranges(self.value_ranges)] if text]
        found += self.sizing.warnings if self.sizing else []
        return [*found, unsized(some(self.unsized))] if self.unsized else found


@dataclass(frozen=True, eq=False)
class _Read:
    """An image, how it became 8 bits, and its file as it was when it was read."""

    image: Any
    value_range: ValueRange
    key: dict[str, Any]


@dataclass(frozen=True, eq=False)
class _Found:
    """An image's cells, and the diameter that they were taken to have; None = the model's own."""

    cells: Cells
    diameter: float | None


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
    with hold_folder(
        options.output, "prediction", first=comm.is_main_process(), gather=comm.all_gather
    ):
        return _predict_batch(options, jobs, inputs.left_out)


def _predict_batch(options: BatchOptions, jobs: list[Job], left_out: list[str]) -> Summary:
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    output = Path(options.output)
    written = OutputOptions(output, options.save, options.pixel_size, options.label_bits,
                            options.keep_overlaps)  # fmt: skip
    model = load_pretrained(options.weights, config_file=options.config_file,
                            device=options.device, precision=options.precision)  # fmt: skip

    def picture(job: Job) -> Any:
        return open_image(job.path, job.plane, options.max_value)[0]

    sizing = plan_sizes(options.diameter, options.scale, model, jobs, picture)
    how = model.options(
        options.score_threshold, tile=options.tile, overlap=options.overlap, tta=options.tta,
        scale=options.scale or model.scale_for(sizing.px), batch=options.batch,
    )  # fmt: skip
    marks = Marks(output, _decides(options, model, how))
    _refuse_foreign(jobs, marks, output)
    finished = {job.name: marks.row(job) for job in jobs} if options.resume else {}
    finished = {name: row for name, row in finished.items() if row is not None}
    todo = [job for job in jobs if job.name not in finished]
    share = todo[comm.get_rank() :: comm.get_world_size()]
    bar = options.progress and comm.is_main_process()
    outcome = _run(share, model, (how, sizing), written, marks, options.max_value, bar)
    outcomes = comm.all_gather(outcome)
    rows = {**finished, **{k: v for part in outcomes for k, v in part.rows.items()}}
    ranges = [row["value_range"] for row in rows.values() if "value_range" in row]
    summary = Summary(
        done=sum(len(part.rows) for part in outcomes),
        skipped=len(finished),
        failures=[failure for part in outcomes for failure in part.failures],
        interrupted=any(part.interrupted for part in outcomes),
        output=output,
        left_out=left_out,
        value_ranges=dict(Counter(ranges)),
        sizing=sizing,
        unsized=[k for k, row in rows.items() if sizing.mode == EACH and row["diameter"] is None],
    )
    if comm.is_main_process():
        write_counts(output / "counts.csv", [rows[job.name] for job in jobs if job.name in rows])
        record = _record(options, model, how, summary) | {
            "started": started.isoformat(timespec="seconds"),
            "seconds": round(time.perf_counter() - clock, 3),
            "seconds_by_step": {
                step: round(sum(part.seconds[step] for part in outcomes), 3)
                for step in outcome.seconds
            },
        }
        write_json_atomic(output / "run.json", record, indent=1)
    return summary


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
            return _Read(*open_image(job.path, job.plane, max_value), key)

        def predict(read: _Read) -> _Found:
            tell = _tiles_of(bar) if isinstance(read.image, TiffWindows) else None
            px, chosen = sizing.px, how
            if sizing.mode == EACH:
                px = model.estimate_diameter(middle(read.image)).px
                chosen = replace(how, scale=model.scale_for(px))
            return _Found(model.predict_with(read.image, chosen, tell), px)

        def write(job: Job, read: _Read, found: _Found) -> dict[str, Any]:
            marks.clear(job)
            row = write_outputs(job, read.image, found.cells, written, read.value_range)
            row["diameter"] = None if found.diameter is None else round(found.diameter, 1)
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


def _tiles_of(bar: tqdm) -> Callable[[int, int], None]:
    return lambda done, total: bar.set_postfix_str(f"tile {done} of {total}")


def _decides(options: BatchOptions, model: Segmenter, how: PredictOptions) -> dict[str, Any]:
    """All that decides on an image's results."""
    chosen = {key: getattr(options, key) for key in DECIDE}
    return {
        **chosen,
        "save": sorted(options.save),
        "version": bccd_d2.__version__,
        "models": [one.identity() for one in model.models],
        "how": {**asdict(how), "batch": None},
        "each": options.diameter == EACH and options.scale is None,
    }


def _record(
    options: BatchOptions, model: Segmenter, how: PredictOptions, summary: Summary
) -> dict[str, Any]:
    """What run.json says, but for the times."""
    return {
        "versions": {
            "bccd_d2": bccd_d2.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
        },
        "models": [
            {
                "name": one.name,
                "file": Path(one.source).name,
                "sha256": one.digest(),
                "score_threshold": one.score_threshold,
            }
            for one in model.models
        ],
        "device": model.models[0].device,
        "threads": torch.get_num_threads(),
        "processes": comm.get_world_size(),
        "options": asdict(options),
        "looked_at": {**asdict(how), "score_threshold": how.score_threshold},
        "images": {
            "done": summary.done,
            "skipped": summary.skipped,
            "failed": len(summary.failures),
        },
        "diameter": asdict(summary.sizing) if summary.sizing else {},
        "interrupted": summary.interrupted,
        "failures": summary.failures,
        "left_out": summary.left_out,
        "value_ranges": summary.value_ranges,
        "warnings": summary.warnings,
    }
