"""What a run is asked, what it answers, and what it writes down of itself in run.json."""

from __future__ import annotations

import math
import os
import platform
import re
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bccd_d2
from bccd_d2.inference.batch.outputs import KINDS
from bccd_d2.inference.batch.sizing import AUTO, EACH, Sizing, unsized
from bccd_d2.inference.predictor import PredictOptions
from bccd_d2.io.processes import threads
from bccd_d2.io.text import some
from bccd_d2.io.value_range import mixed_ranges
from bccd_d2.masks.classes import Classes
from bccd_d2.segmenter import Segmenter

LIBRARIES = {"torch": "torch", "onnx": "onnxruntime", "openvino": "openvino"}  # of backends
DECIDE = ("pixel_size", "label_bits", "keep_overlaps", "max_value")  # on an image's results


@dataclass(frozen=True)
class BatchOptions:
    """A run over image files; lengths in pixels of the images.

    Attributes:
        inputs: files, folders and globs; see `inference.batch.sources.find_images`.
        output: folder for the results.
        weights: () = the shipped model; several make an ensemble; see `segmenter.load_pretrained`.
        config_file: in place of the model's own config.
        device, precision, backend: see `segmenter.load_pretrained`.
        save: kinds of files, of `inference.batch.outputs.KINDS`.
        score_threshold, tile, overlap, tta, scale, batch: see `segmenter.Segmenter.predict`.
        diameter: px across a typical cell; "auto": one for all images, estimated from some of them;
            "each": estimated for each.
        pixel_size, label_bits, keep_overlaps: see `inference.batch.outputs.OutputOptions`.
        max_value: what is white in images of more than 8 bits; None = by each one's values.
        resume: leave out images that an earlier run finished with the same options.
        processes: of this machine that work at once.
        shard: "3/16": this is the third of sixteen runs that share the images; "" = the only one.
        progress: show a progress bar.
    """

    inputs: tuple[str, ...]
    output: str
    weights: tuple[str, ...] = ()
    config_file: str = ""
    device: str = "auto"
    precision: str = "fp32"
    backend: str = "auto"
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
    processes: int = 1
    shard: str = ""
    progress: bool = True

    def __post_init__(self) -> None:
        if self.processes < 1:
            raise ValueError(f"processes must be at least 1, got {self.processes}")
        if self.max_value is not None and not 0 < self.max_value < math.inf:
            raise ValueError(f"max_value must be above 0 and finite, got {self.max_value}")
        shard_of(self.shard)


def shard_of(text: str) -> tuple[int, int]:
    """Which shard of how many "3/16" names; (1, 1) for "".

    Raises:
        ValueError: no such text.
    """
    found = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text or "1/1")
    if found is None or int(found[1]) > int(found[2]):
        raise ValueError(f"shard must be I/N from 1/N to N/N, such as 3/16, got {text!r}")
    return int(found[1]), int(found[2])


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
        check_images: those whose outlines are not to be trusted, with the reason.
        pixel_sizes: how many images have each size of pixels, by whom.
        doubts: further warnings.
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
    check_images: dict[str, str] = field(default_factory=dict)
    pixel_sizes: dict[str, int] = field(default_factory=dict)
    doubts: list[str] = field(default_factory=list)

    @property
    def warnings(self) -> list[str]:
        """What to look at before the results are used."""
        found = [text for text in [mixed_ranges(self.value_ranges)] if text]
        found += self.sizing.warnings if self.sizing else []
        found += [unsized(some(self.unsized))] if self.unsized else []
        return found + self.doubts


def decides(options: BatchOptions, model: Segmenter, how: PredictOptions) -> dict[str, Any]:
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


def _classes(classes: Classes) -> dict[str, Any]:
    """What the values of class images stand for, from 1 on; {} of a model of one class."""
    if not classes.typed:
        return {}
    return {"classes": list(classes.names), "unsure_below": classes.unsure_below}


def record(
    options: BatchOptions,
    model: Segmenter,
    how: PredictOptions,
    summary: Summary,
    processes: int = 1,
) -> dict[str, Any]:
    """What run.json says, but for the times."""
    backends = sorted({one.backend for one in model.models})
    return {
        "versions": {
            "bccd_d2": bccd_d2.__version__,
            "python": platform.python_version(),
            **{LIBRARIES[name]: version(LIBRARIES[name]) for name in backends},
        },
        "models": [
            {
                "name": one.name,
                "file": Path(one.source).name,
                "sha256": one.digest(),
                "score_threshold": one.score_threshold,
                **_classes(model.classes),
            }
            for one in model.models
        ],
        "device": model.models[0].device,
        "backend": " + ".join(backends),
        "threads": threads() or os.cpu_count(),
        "processes": processes * options.processes,
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
        "pixel_sizes": summary.pixel_sizes,
        "check_images": [{"image": k, "reason": v} for k, v in summary.check_images.items()],
        "warnings": summary.warnings,
    }
