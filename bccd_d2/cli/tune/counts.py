"""Measure how a model miscounts, so that bccd count can correct it and say how sure it is.

bccd predict --images datasets/mine/val_images --weights MODEL --out out/val
bccd tune counts --predictions out/val --dataset datasets/mine --split val --out MODEL.counts.json
bccd count sample/ --weights MODEL --miscounts MODEL.counts.json --out counted

Use images that neither training nor the choice of the threshold saw. Where both the dataset and the
model have types of cells, their confusion is measured too.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune counts", __doc__)
    add = parser.add_argument
    add("--predictions", type=Path, required=True, metavar="FOLDER", help="--out of bccd predict")
    common.add_dataset(parser, required=True, type=Path)
    add("--split", default="val", help="of the dataset (default val)")
    common.add_out(parser, "file to write", metavar="FILE", type=Path)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    return common.run(get_parser(), _measure, argv, detectron2=False)


def _measure(args: argparse.Namespace) -> None:
    from bccd_d2.io.atomic import write_json_atomic
    from bccd_d2.slide.measure import measure_miscounts

    found = measure_miscounts(args.predictions, args.dataset, args.split)
    write_json_atomic(args.out, found.to_json())
    print(f"measured on {found.measured_on}")
    print("| true cells | type | found as it | missed or confused | invented |")
    print("| --- | --- | --- | --- | --- |")
    for index, name in enumerate(found.types):
        true, right = found.truth[:, index].sum(), found.found_as[:, index, index].sum()
        print(f"| {true} | {name} | {right} | {true - right} | {found.invented[:, index].sum()} |")
    print(f"wrote {args.out}")
