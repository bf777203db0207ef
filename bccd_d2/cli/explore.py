"""Write the page of a converted dataset: samples, sizes, colours, border cells, clumps, twins.

bccd explore --dataset datasets/bccd
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("explore", __doc__)
    common.add_dataset(parser, required=True, type=Path)
    common.add_out(
        parser,
        "folder for dataset.html, PNG and CSV (default DATASET/explore)",
        type=Path,
        default=None,
    )
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.report.dataset.page import write_dataset_report

    with common.writing(args.out, "dataset page"):
        print("wrote", *write_dataset_report(args.dataset, args.out), sep="\n  ")
