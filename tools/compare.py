"""Compare methods on one test split: scores, cost, paired differences, plots and error maps.

python tools/compare.py --dataset OUT --out output/comparison \\
    --model otsu=configs/otsu_watershed.yaml \\
    --model tiny=configs/cpu_tiny_maskrcnn.yaml,output/cpu_tiny_maskrcnn \\
    --labels cellpose=FOLDER_OF_LABEL_IMAGES

With --train-budget MINUTES, models without weights are first trained for that long each.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--model", action="append", default=[], metavar="NAME=CONFIG[,WEIGHTS]",
        help="a YAML file with a checkpoint or a run's folder; again for more")  # fmt: skip
    add("--labels", action="append", default=[], metavar="NAME=FOLDER[,THRESHOLD]",
        help="another tool's TIFF, PNG or NPY label images, named as the images; with a scores.csv "
        "(image,label,score) there AP ranks the cells, and those above a threshold count")
    add("--components", action="store_true",
        help="--labels are binary masks, each of their components is a cell")  # fmt: skip
    add("--dataset", default="", help="converted folder; default: the configs'")
    add("--out", type=Path, required=True, help="folder for tables, plots and runs")
    add("--reference", help="method that the others are held against (default: the first)")
    add("--error-maps", type=int, default=2, help="images a method, its worst by Dice (2)")
    add("--train-budget", type=float, default=0, metavar="MINUTES",
        help="of training for each model without weights: processor time on a CPU, the clock's on "
        "a GPU; what OUT/runs has is used again, what was stopped goes on")  # fmt: skip
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys of all models")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.evaluation.paired import paired_differences
    from bccd_d2.experiments import benchmark as contest
    from bccd_d2.report.comparison.write import score_table, write_comparison

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = [*(["DATASETS.ROOT", args.dataset] if args.dataset else []), *args.options]
    try:
        chosen = [contest.parse_model(text) for text in args.model]
        chosen += [contest.parse_labels(text, args.components) for text in args.labels]
        if args.reference and args.reference not in [one.name for one in chosen]:
            raise ValueError(f"--reference {args.reference!r} is none of the methods given")
        entries = contest.run_contest(chosen, args.out, options, args.train_budget)
        differences = paired_differences(entries, args.reference)
        written = write_comparison(
            entries, differences, args.out, contest.pictures(options), args.error_maps
        )
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print(score_table(entries))
    print("wrote", *written, sep="\n  ")
    return 0


if __name__ == "__main__":
    sys.exit(main())
