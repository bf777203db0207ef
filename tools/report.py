"""Write the report of a run: one self-contained HTML page, the same as Markdown, numbers as JSON.

python tools/report.py output/cpu_tiny_maskrcnn
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
    add("run", type=Path, metavar="RUN", help="OUTPUT_DIR of a training or an evaluation")
    add("--out", type=Path, help="folder for report.html, report.md, metrics.json (RUN/report)")
    add("--dataset", type=Path, help="converted folder, where it is not the config's any more")
    add("--split", metavar="NAME", help="evaluated dataset, as bccd_test (default: the first)")
    add("--examples", type=int, default=6, help="close-ups of each kind of failure (default 6)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    try:
        from bccd_d2.report.run.page import write_report
    except ModuleNotFoundError as error:
        print(f"error: {error.name} is missing: pip install 'bccd_d2[report]'", file=sys.stderr)
        return 2
    try:
        written = write_report(
            args.run, args.out, dataset=args.dataset, name=args.split, examples=args.examples
        )
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print("wrote", *written, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
