"""Write the report of a run: one self-contained HTML page, the same as Markdown, numbers as JSON.

bccd report output/cpu_tiny_maskrcnn
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("report", __doc__)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="OUTPUT_DIR of a training, or --out of bccd evaluate")
    common.add_out(
        parser,
        "folder for report.html, report.md, metrics.json (default RUN/report)",
        type=Path,
        default=None,
    )
    add(
        "--dataset",
        type=Path,
        metavar="FOLDER",
        help="converted dataset, where it is not the config's any more",
    )
    add("--split", metavar="NAME", help="evaluated dataset, as bccd_test (default: the first)")
    add("--examples", type=int, default=6, help="close-ups of each kind of failure (default 6)")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.report.run.page import write_report

    with common.writing(args.out, "report"):
        written = write_report(
            args.run, args.out, dataset=args.dataset, name=args.split, examples=args.examples
        )
    print("wrote", *written, sep="\n  ")
