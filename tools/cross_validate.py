"""Cross-validate a config on the folds of a converted dataset: mean and spread of every score.

    python tools/convert_to_coco.py --root ROOT --out OUT --folds 5
    python tools/cross_validate.py --config-file configs/cpu_tiny_maskrcnn.yaml \\
        DATASETS.ROOT OUT OUTPUT_DIR output/folds

An interrupted call goes on where it was. A fold is scored with its last weights, at a score
threshold chosen on the other folds: its held-out images decide nothing.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    add("--ensemble", action="store_true", help="also score the merged folds on DATASETS.TEST")
    add("--num-gpus", type=int, default=1, help="processes, on GPU or CPU (default 1)")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    import torch

    from bccd_d2.config.load import load_config
    from bccd_d2.evaluation.evaluators import format_scores
    from bccd_d2.evaluation.folds import spread_table
    from bccd_d2.experiments.cross_validation import cross_validate
    from bccd_d2.inference.merge import merge
    from bccd_d2.training.launch import Processes

    try:
        config = load_config(args.config_file, args.options)
        device = config.MODEL.DEVICE.split(":")[0]
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        processes = Processes(args.num_gpus, device=device)
        summary = cross_validate(config, processes, merge if args.ensemble else None)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print(f"\nheld-out images of each fold\n\n{spread_table(summary['validation'])}\n")
    if "test" in summary:
        print(f"each fold's model on the test split\n\n{spread_table(summary['test'])}\n")
        print(f"all folds merged on the test split\n\n{format_scores(summary['test_ensemble'])}\n")
    print(f"score threshold from all held-out images: {summary['score_threshold']:.2f}")
    print(f"written: {config.OUTPUT_DIR}/cross_validation.json, .csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
