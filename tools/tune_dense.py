"""Choose how a trained dense model's maps become cells, on validation images; prints config keys.

python tools/tune_dense.py --config-file configs/cpu_tiny_flows.yaml
python tools/tune_dense.py --config-file configs/dinov2_boundary.yaml --criterion F1 --table

The test split is not read. Add the printed keys to the config, or to the command of --eval-only.
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
    add("--config-file", required=True, metavar="FILE", help="of a DenseSegmentor")
    add("--dataset", default="", help="converted folder; default: the config's")
    add("--images", type=int, default=0, help="evenly spaced validation images; 0 = all (0)")
    add("--rounds", type=int, default=1, help="times that each option is tuned (1)")
    add("--criterion", default="AP", choices=("AP", "F1", "count_error"), help="what to tune (AP)")
    add("--table", action="store_true", help="print every setting that was tried")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.experiments.dense_tuning import DenseSearch, as_config_keys
    from bccd_d2.models.load import load_trained
    from bccd_d2.training.run import prepare

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    dataset = ["DATASETS.ROOT", args.dataset] if args.dataset else []
    try:
        config = prepare(load_config(args.config_file, [*dataset, *args.options]))
        config, model, _, _ = load_trained(config)
        search = DenseSearch(config, model, config.DATASETS.VALIDATION, args.images)
        trials = search.tune(rounds=args.rounds, criterion=args.criterion)
    except (KeyError, TypeError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    for trial in trials if args.table else trials[:1]:
        print(f"AP {trial.ap:.4f}  F1 {trial.f1:.4f}  count error {trial.count_error:.2f}")
        print(" ".join(as_config_keys(trial.options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
