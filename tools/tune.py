"""Search hyper-parameters with Optuna; trials that fall behind the median are stopped early.

    python tools/tune.py --config-file configs/cpu_tiny_maskrcnn.yaml --trials 20 \\
        OUTPUT_DIR output/search SOLVER.MAX_ITER 300 TEST.EVAL_PERIOD 100

Called again, it goes on until that many trials are finished in all. Needs: pip install .[tune]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

SPACE = "detector"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    add("--space", default=str(SPACE), metavar="FILE", help="YAML of keys and ranges to search")
    add("--trials", type=int, default=20, help="trials to finish, earlier calls included")
    add("--startup", type=int, default=5, help="trials before any is stopped early (default 5)")
    add("--warmup", type=int, default=0, help="iterations that every trial gets")
    add("--seed", type=int, default=0, help="of the sampler")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    try:
        from bccd_d2.experiments.tuning import SearchOptions, read_space, search
        from bccd_d2.report.search_plots import draw_search
    except ImportError as error:
        print(f"error: {error}; install it with: pip install '.[tune]'", file=sys.stderr)
        return 2
    from bccd_d2.config.load import load_config

    try:
        config = load_config(args.config_file, args.options)
        options = SearchOptions(args.trials, args.startup, args.warmup, args.seed)
        study = search(config, read_space(args.space), options)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    print(f"\n{len(study.trials)} trials, {len(complete)} of them to the end")
    if complete:
        print(f"best: {config.SOLVER.BEST_METRIC} {study.best_value:.4f} in trial "
              f"{study.best_trial.number}, with the options")  # fmt: skip
        print("  " + " ".join(f"{key} {value}" for key, value in study.best_params.items()))
        for path in draw_search(study, config.OUTPUT_DIR):
            print(f"written: {path}")
    print(f"written: {config.OUTPUT_DIR}/trials.csv")
    return 0


if __name__ == "__main__":
    sys.exit(main())
