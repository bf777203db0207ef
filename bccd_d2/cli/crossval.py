"""Cross-validate a config on the folds of a converted dataset: mean and spread of every score.

bccd convert --root ROOT --out OUT --folds 5
bccd crossval --config-file cpu_tiny_maskrcnn --dataset OUT --out output/folds

An interrupted call goes on where it was. A fold is scored with its last weights, at a score
threshold chosen on the other folds: its held-out images decide nothing.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("crossval", __doc__)
    common.add_config(parser, "dataset", "out", "device")
    common.add_processes(parser, 1, "--num-gpus")
    parser.add_argument(
        "--ensemble", action="store_true", help="also score the merged folds on DATASETS.TEST"
    )
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.evaluation.folds import spread_table
    from bccd_d2.evaluation.table import format_scores
    from bccd_d2.experiments.cross_validation import cross_validate
    from bccd_d2.inference.merge import merge
    from bccd_d2.training.launch import Processes, device_type

    config = common.configured(args)
    processes = Processes(args.processes, device=device_type(config.MODEL.DEVICE))
    summary = cross_validate(config, processes, merge if args.ensemble else None)
    print(f"\nheld-out images of each fold\n\n{spread_table(summary['validation'])}\n")
    if "test" in summary:
        print(f"each fold's model on the test split\n\n{spread_table(summary['test'])}\n")
        print(f"all folds merged on the test split\n\n{format_scores(summary['test_ensemble'])}\n")
    print(f"score threshold from all held-out images: {summary['score_threshold']:.2f}")
    print(f"written: {config.OUTPUT_DIR}/cross_validation.json, .csv")
