"""Tune the baseline without learning on training images, and print its config keys.

bccd tune otsu --dataset OUT

The validation and test splits are not read.
"""

from __future__ import annotations

import argparse
import logging

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune otsu", __doc__)
    common.add_config(parser, "dataset", "device", default="otsu_watershed")
    common.add_max_images(parser, 24, "training images of the search")
    add = parser.add_argument
    add("--finalists", type=int, default=8, help="best settings, scored on all of them (default 8)")
    add("--rounds", type=int, default=3, help="times that each option is tuned (default 3)")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments.otsu_tuning import as_config_keys, tune
    from bccd_d2.training.run import prepare

    common.show_logs(logging.INFO)
    config = prepare(common.configured(args))
    trials = tune(config, images=args.max_images, rounds=args.rounds, finalists=args.finalists)
    others = ", ".join(f"{trial.ap:.4f}" for trial in trials[1:])
    print(f"AP on all training images {trials[0].ap:.4f}; of the next best {others or '(none)'}")
    print(" ".join(as_config_keys(trials[0].options)))
