"""Tune the baseline without learning on training images, and print its config keys.

python tools/tune_otsu.py --dataset OUT

The validation and test splits are not read.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", default="configs/otsu_watershed.yaml", metavar="FILE", help="a YAML file")
    add("--dataset", default="", help="converted folder; default: the config's")
    add("--images", type=int, default=24, help="training images of the search; 0 = all (24)")
    add("--finalists", type=int, default=8, help="best settings, scored on all of them (8)")
    add("--rounds", type=int, default=3, help="times that each option is tuned (3)")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.experiments.otsu_tuning import as_config_keys, tune
    from bccd_d2.training.run import prepare

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    dataset = ["DATASETS.ROOT", args.dataset] if args.dataset else []
    try:
        config = prepare(load_config(args.config_file, [*dataset, *args.options]))
        trials = tune(config, images=args.images, rounds=args.rounds, finalists=args.finalists)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    others = ", ".join(f"{trial.ap:.4f}" for trial in trials[1:])
    print(f"AP on all training images {trials[0].ap:.4f}; of the next best {others or '(none)'}")
    print(" ".join(as_config_keys(trials[0].options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
