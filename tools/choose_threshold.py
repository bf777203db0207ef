"""Choose a trained model's score threshold anew on validation images, after a change of decoding.

python tools/choose_threshold.py --config-file configs/cpu_tiny_flows.yaml
python tools/choose_threshold.py --config-file CONFIG --dataset OUT MODEL.WEIGHTS RUN/model_best.pth
python tools/choose_threshold.py --config-file configs/cpu_best.yaml \\
    --cross-validation output/folds/cross_validation.json

For a model trained on all images there is nothing left to choose on: the folds of
tools/cross_validate.py give it their threshold. The checkpoint keeps its weights and gets the new
threshold. The test split is not read.
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
    add("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    add("--dataset", default="", help="converted folder; default: the config's")
    add("--cross-validation", type=Path, metavar="FILE",
        help="take the threshold of these folds instead of scoring validation images")  # fmt: skip
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.experiments.threshold import choose_threshold, take_threshold
    from bccd_d2.models.checkpoint import weights_of
    from bccd_d2.training.run import prepare

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    dataset = ["DATASETS.ROOT", args.dataset] if args.dataset else []
    try:
        config = load_config(args.config_file, [*dataset, *args.options])
        if args.cross_validation:
            path = weights_of(config)
            point = take_threshold(path, args.cross_validation)
        else:
            path, point = choose_threshold(prepare(config))
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print(f"score threshold {point.score_threshold:.2f}, chosen on {point.origin}, now in {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
