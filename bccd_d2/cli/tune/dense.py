"""Choose how a trained dense model's maps become cells, on validation images; prints config keys.

bccd tune dense --config-file cpu_tiny_flows --weights output/cpu_tiny_flows
bccd tune dense --config-file dinov2_boundary --criterion F1 --table

The test split is not read. Add the printed keys to the config, or to the command of --eval-only.
"""

from __future__ import annotations

import argparse
import logging

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune dense", __doc__)
    common.add_config(parser, "dataset", "weights", "device")
    common.add_max_images(parser, 0, "evenly spaced validation images")
    add = parser.add_argument
    add("--rounds", type=int, default=1, help="times that each option is tuned (default 1)")
    add("--criterion", default="AP", choices=("AP", "F1", "count_error"), help="default: AP")
    add("--table", action="store_true", help="print every setting that was tried")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments.dense_tuning import DenseSearch, as_config_keys
    from bccd_d2.models.load import load_trained
    from bccd_d2.training.run import prepare

    common.show_logs(logging.INFO)
    config, model, _, _ = load_trained(prepare(common.configured(args)))
    search = DenseSearch(config, model, config.DATASETS.VALIDATION, args.max_images)
    trials = search.tune(rounds=args.rounds, criterion=args.criterion)
    for trial in trials if args.table else trials[:1]:
        print(f"AP {trial.ap:.4f}  F1 {trial.f1:.4f}  count error {trial.count_error:.2f}")
        print(" ".join(as_config_keys(trial.options)))
