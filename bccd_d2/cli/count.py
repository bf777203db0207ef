"""Count a sample: many fields of one slide make one set of numbers, each with a 95% interval.

bccd count smear/ --out counted
bccd count results/ --out counted --include field_07 --pixel-size 0.1
bccd count patient_1/ patient_2/ --out counted

A FOLDER holds the images of one sample, or what bccd predict wrote of them. Fields that should not
be counted (out of focus, nearly empty, too dense, clumps, another stain, a scale bar or writing)
are left out with their reason. Several folders are several samples, a row each in samples.csv.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bccd_d2.cli import common
from bccd_d2.io.text import printable

if TYPE_CHECKING:
    from bccd_d2.slide.count import CountedSample, CountOptions


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("count", __doc__)
    add = parser.add_argument
    add("folders", nargs="+", metavar="FOLDER", type=Path, help="images of a sample, or results")
    common.add_out(parser, "folder for sample.json, fields.csv and the report", type=Path)
    common.add_model(parser)
    add("--diameter", default="auto", metavar="PX", help="as of bccd predict (default auto)")
    add("--pixel-size", type=float, help="micrometres (default: as each file says)")
    add("--include", nargs="+", default=[], metavar="FIELD",
        help="count these whatever the checks say; all: every one")  # fmt: skip
    add("--exclude", nargs="+", default=[], metavar="FIELD", help="do not count these")
    add("--miscounts", default="", metavar="FILE",
        help="of bccd tune counts (default: what ships with the model)")  # fmt: skip
    add("--platelet-factor", type=float, metavar="N",
        help="platelets a microlitre for each in one image (default: 15000 for each in an oil "
        "immersion field of .038 mm2, which needs the pixel size)")  # fmt: skip
    add("--quiet", action="store_true", help="no progress bar")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: an image or sample failed; 2: bad input; 130: stopped."""
    from bccd_d2.io.tables import write_table
    from bccd_d2.slide.count import CountOptions, summary_row

    options = CountOptions(tuple(args.include), tuple(args.exclude), args.miscounts,
                           args.pixel_size, args.platelet_factor)  # fmt: skip
    names = _names(args.folders)
    rows, failed = [], False
    with common.writing(args.out, "count"):
        for folder, name in zip(args.folders, names, strict=True):
            out = args.out if len(names) == 1 else args.out / name
            try:
                counted, lost = _one(folder, name, out, args, options)
            except (OSError, ValueError) as error:
                if len(names) == 1:
                    raise
                print(printable(f"failed: {folder}: {error}"), file=sys.stderr)
                failed = True
                continue
            failed |= lost
            rows.append(summary_row(counted))
            _tell(counted)
        if rows:
            print(f"wrote {write_table(args.out / 'samples.csv', rows)}")
    return int(failed)


def _one(
    folder: Path, name: str, out: Path, args: argparse.Namespace, options: CountOptions
) -> tuple[CountedSample, bool]:
    """Count one folder; whether an image in it could not be predicted on."""
    from bccd_d2.slide.count import count_sample, write_sample
    from bccd_d2.slide.fields import is_results, read_sample
    from bccd_d2.slide.report import write_sample_report

    results = folder
    if not is_results(folder):
        results = out / "predictions"
        _predict(folder, results, args)
    counted = count_sample(read_sample(results, name), options)
    for path in (*write_sample(counted, out), *write_sample_report(counted, out)):
        print(f"wrote {path}")
    return counted, bool(counted.sample.failed)


def _predict(folder: Path, results: Path, args: argparse.Namespace) -> None:
    """Find the cells in a folder's images."""
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch

    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is no folder: name one of images, or of results")
    more: dict[str, Any] = {"weights": (args.weights,)} if args.weights else {}
    summary = predict_batch(
        BatchOptions(
            (str(folder),), str(results), config_file=args.config_file, device=args.device,
            save=("labels", "csv", "overlay"), diameter=args.diameter, pixel_size=args.pixel_size,
            resume=True, progress=not args.quiet, **more,
        )
    )  # fmt: skip
    for failure in summary.failures:
        print(printable(f"failed: {failure['file']}: {failure['reason']}"), file=sys.stderr)
    if summary.interrupted:
        raise KeyboardInterrupt


def _names(folders: Sequence[Path]) -> list[str]:
    """A name for each folder, its own with as many of those above as tell them apart."""
    full = [folder.resolve() for folder in folders]
    if len(set(full)) < len(full):
        raise ValueError("a folder is named twice: each is a sample of its own")
    depth = 1
    names = [path.name for path in full]
    while len(set(names)) < len(names):
        depth += 1
        names = ["_".join(path.parts[-depth:]) for path in full]
    return names


def _tell(counted: CountedSample) -> None:
    from bccd_d2.slide.page import interval, number

    kept = len(counted.counted)
    print(printable(f"{counted.sample.name}: {kept} of {len(counted.fields)} fields count"))
    for one in counted.fields:
        if not one.counts:
            print(printable(f"left out: {one.field.name}: {'; '.join(one.reasons) or one.said}"))
    for q in counted.quantities:
        said = " ".join(filter(None, (q.remark, q.estimate.note)))
        print(f"{q.label}, {q.unit}: {number(q.estimate.value)} ({interval(q.estimate)})"
              + (f"; {said}" if said else ""))  # fmt: skip
    for text in counted.warnings:
        print(printable(f"warning: {text}"), file=sys.stderr)
