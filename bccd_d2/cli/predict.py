"""Find the cells in images of any size and write what a lab can use.

bccd predict --images smears/ --out results
bccd predict --images a.tif "b/*.png" --out results --save csv geojson --pixel-size 0.1 --tta flip
torchrun --nproc-per-node 2 -m bccd_d2 predict --images smears/ --out results
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bccd_d2.cli import common
from bccd_d2.io.text import printable

LISTED = 20  # files of a kind that are named at the end
KINDS = ("labels", "types", "coco", "geojson", "csv", "overlay")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("predict", __doc__)
    add = parser.add_argument
    add(
        "--images",
        "--input",
        nargs="+",
        required=True,
        metavar="PATH",
        dest="inputs",
        help="images (PNG, JPEG, BMP, WebP, TIFF), folders or globs",
    )
    common.add_out(parser, "folder for the results", "--output", dest="output")
    several = (
        "a run's folder, .pth or .safetensors; several are merged (default: the shipped model)"
    )
    common.add_model(parser, nargs="+", default=[], help=several)
    add("--save", nargs="+", choices=KINDS, default=KINDS, help="what to write (default: all)")
    add("--score-threshold", type=float, help="0 to 1 (default: the model's own; .05: all found)")
    add("--pixel-size", type=float, help="micrometres (default: as each TIFF file says)")
    add("--tile", type=int, help="px of a window (default: 1536 above 3 megapixels; 0: never)")
    add("--overlap", type=int, help="px that windows share, more than a cell (default 320)")
    add(
        "--diameter",
        default="auto",
        metavar="PX",
        help="across a typical cell, in px of the image; auto: one for all images, estimated; "
        "each: estimated for each (default auto)",
    )
    add("--scale", type=float, help="in place of --diameter: .5 where cells are twice as large")
    add("--tta", default="", help="more views, merged: flip, turn, scales: flip,turn,0.9")
    add("--label-bits", type=int, choices=(16, 32), help="of label images (default: as needed)")
    add("--max-value", type=float, help="what is white in images of more than 8 bits")
    add("--keep-overlaps", action="store_true", help="do not share out pixels of two cells")
    add("--quiet", action="store_true", help="no progress bar")
    _add_work(parser)
    return parser


def _add_work(parser: argparse.ArgumentParser) -> None:
    """How the work is done; the cells are the same."""
    add = parser.add_argument
    add(
        "--backend",
        choices=("auto", "onnx", "openvino", "torch"),
        default="auto",
        help="what computes the network (default auto: PyTorch for a GPU, ONNX Runtime else)",
    )
    add(
        "--precision",
        choices=("fp32", "bf16", "int8"),
        default="fp32",
        help="bf16: faster on a GPU and on CPUs that have it; int8: twice as fast on CPUs with "
        "VNNI, scores move in the third digit (default fp32)",
    )
    add("--batch", type=int, default=1, help="windows at once; more pays on a GPU (default 1)")
    add("--resume", action="store_true", help="skip what an earlier run finished likewise")
    common.add_processes(parser, 1, "--workers")
    add("--shard", default="", metavar="I/N", help="the I-th of N runs that share the images")


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: an image failed; 2: bad input; 130: stopped by Ctrl-C."""
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch

    given: dict[str, Any] = {}
    for key, value in vars(args).items():
        given[key] = tuple(value) if isinstance(value, list) else value
    given["progress"] = not given.pop("quiet")
    if "TORCHELASTIC_RUN_ID" in os.environ:
        from bccd_d2.training.launch import Processes, device_type, launch

        processes = Processes(device=device_type(args.device))
        summary = launch(predict_batch, processes, BatchOptions(**given))
    else:
        summary = predict_batch(BatchOptions(**given))
    for failure in summary.failures:
        print(printable(f"failed: {failure['file']}: {failure['reason']}"), file=sys.stderr)
    _list("left out", summary.left_out, summary.output)
    for text in summary.warnings:
        print(printable(f"warning: {text}"), file=sys.stderr)
    checks = [f"{name}: {reason}" for name, reason in summary.check_images.items()]
    _list("check this image", checks, summary.output)
    print(
        f"{summary.done} image{'s' * (summary.done != 1)} done, {summary.skipped} finished before, "
        f"{len(summary.failures)} failed; results in {summary.output}"
    )
    return 130 if summary.interrupted else int(bool(summary.failures))


def _list(what: str, texts: Sequence[str], output: Path) -> None:
    """Print the first few of what is to be read at the end."""
    for text in texts[:LISTED]:
        print(printable(f"{what}: {text}"), file=sys.stderr)
    if len(texts) > LISTED:
        print(f"{what}: {len(texts) - LISTED} more, see {output / 'run.json'}", file=sys.stderr)
