"""Benchmark methods on one test split: scores, cost, paired differences, plots and error maps.

bccd compare --dataset OUT --out output/comparison \\
    --model otsu=otsu_watershed \\
    --model tiny=cpu_tiny_maskrcnn,output/cpu_tiny_maskrcnn \\
    --labels cellpose=FOLDER_OF_LABEL_IMAGES

With --train-budget MINUTES, models without weights are first trained for that long each.
With several datasets (--dataset A --dataset B), or one of boxes or points, the result is a table
with a row per method and a column per dataset; models are trained on the first.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("compare", __doc__)
    add = parser.add_argument
    add(
        "--model",
        action="append",
        default=[],
        metavar="NAME=CONFIG[,WEIGHTS]",
        help="a config with a checkpoint, a run's folder or a shipped model's name; again for more",
    )
    add(
        "--labels",
        action="append",
        default=[],
        metavar="NAME=FOLDER[,THRESHOLD]",
        help="another tool's TIFF, PNG or NPY label images, named as the images; with a scores.csv "
        "(image,label,score) there AP ranks the cells, and those above a threshold count",
    )
    add(
        "--components",
        action="store_true",
        help="--labels are binary masks, each of their components is a cell",
    )
    add(
        "--dataset",
        action="append",
        default=[],
        metavar="FOLDER",
        help="converted dataset, of masks, boxes or points; again for more (default: the "
        "config's, else BCCD_DATASET); its test images, or validation images where it has none",
    )
    common.add_config_flags(parser, "device")
    common.add_out(parser, "folder for tables, plots and runs", type=Path)
    add("--reference", help="method that the others are held against (default: the first)")
    add("--error-maps", type=int, default=2, help="images per method, its worst by Dice (2)")
    add(
        "--train-budget",
        type=float,
        default=0,
        metavar="MINUTES",
        help="of training for each model without weights: processor time on a CPU, the clock's on "
        "a GPU; what OUT/runs has is used again, what was stopped goes on",
    )
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    with common.writing(args.out, "comparison"):
        _benchmark(args)


def _benchmark(args: argparse.Namespace) -> None:
    from bccd_d2.evaluation.paired import paired_differences
    from bccd_d2.experiments import benchmark
    from bccd_d2.experiments.across import choose_split, run_across
    from bccd_d2.report.comparison.across import across_table, write_across
    from bccd_d2.report.comparison.write import score_table, write_comparison

    common.show_logs()
    options = common.config_options(args)
    methods: list[Any] = [benchmark.parse_model(text) for text in args.model]
    methods += [benchmark.parse_labels(text, args.components) for text in args.labels]
    if args.reference and args.reference not in [one.name for one in methods]:
        raise ValueError(f"--reference {args.reference!r} is none of the methods given")
    datasets = [choose_split(folder, options) for folder in args.dataset or [""]]
    if len(datasets) > 1 or datasets[0].kind != "masks" or not datasets[0].scorable:
        found = run_across(methods, args.out, datasets, options, args.train_budget)
        written = write_across(found, args.out)
        print(across_table(found))
        print("wrote", *written, sep="\n  ")
        return
    options = datasets[0].options(options)
    entries = benchmark.run_benchmark(methods, args.out, options, args.train_budget)
    differences = paired_differences(entries, args.reference)
    pictures = benchmark.pictures(options)
    written = write_comparison(entries, differences, args.out, pictures, args.error_maps)
    print(score_table(entries))
    print("wrote", *written, sep="\n  ")
