"""Write the page of a converted dataset: samples, sizes, colours, border cells, clumps, twins.

python tools/explore.py --dataset datasets/bccd
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", type=Path, required=True, help="folder that convert_to_coco.py wrote")
    add("--out", type=Path, help="folder for dataset.html, PNG and CSV (default DATASET/explore)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    try:
        from bccd_d2.report.dataset.page import write_dataset_report
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is missing: pip install 'bccd_d2[report]'", file=sys.stderr)
        return 2
    try:
        written = write_dataset_report(args.dataset, args.out)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print("wrote", *written, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
