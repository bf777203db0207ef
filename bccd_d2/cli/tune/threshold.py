"""Choose a trained model's score threshold anew on validation images, after a change of decoding.

bccd tune threshold --config-file cpu_tiny_flows
bccd tune threshold --config-file CONFIG --dataset OUT --weights RUN/model_best.pth
bccd tune threshold --config-file cpu_best --cross-validation output/folds/cross_validation.json

For a model trained on all images there is nothing left to choose on: the folds of `bccd crossval`
give it their threshold. The checkpoint keeps its weights and gets the new threshold. The test split
is not read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune threshold", __doc__)
    common.add_config(parser, "dataset", "weights", "device")
    parser.add_argument(
        "--cross-validation",
        type=Path,
        metavar="FILE",
        help="take the threshold of these folds instead of scoring validation images",
    )
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments.threshold import choose_threshold, take_threshold
    from bccd_d2.models.load import weights_of
    from bccd_d2.training.run import prepare

    common.show_logs()
    config = common.configured(args)
    if args.cross_validation:
        path = weights_of(config)
        point = take_threshold(path, args.cross_validation)
    else:
        path, point = choose_threshold(prepare(config))
    print(f"score threshold {point.score_threshold:.2f}, chosen on {point.origin}, now in {path}")
