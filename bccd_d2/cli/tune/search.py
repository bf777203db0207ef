"""Search hyper-parameters with Optuna; trials that fall behind the median are stopped early.

bccd tune search --config-file cpu_tiny_maskrcnn --trials 20 --out output/search \\
    SOLVER.MAX_ITER 300 TEST.EVAL_PERIOD 100

Called again, it goes on until that many trials are finished in all. Needs Optuna:
pip install 'bccd_d2[tune]'.
"""

from __future__ import annotations

import argparse
from typing import Any

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune search", __doc__)
    common.add_config(parser, "dataset", "out", "weights", "device")
    add = parser.add_argument
    add(
        "--space",
        metavar="FILE",
        help="YAML of keys and ranges, or a shipped one by name (default: that of the model's "
        "kind, detector or dense)",
    )
    add("--trials", type=int, default=20, help="to finish, earlier calls included (default 20)")
    add("--startup", type=int, default=5, help="trials before any is stopped early (default 5)")
    add("--warmup", type=int, default=0, help="iterations that every trial gets (default 0)")
    add("--seed", type=int, default=0, help="of the sampler (default 0)")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.config.load import is_detector
    from bccd_d2.experiments.tuning import SearchOptions, read_space, search

    config = common.configured(args)
    options = SearchOptions(args.trials, args.startup, args.warmup, args.seed)
    kind = "detector" if is_detector(config) else "dense"
    study = search(config, read_space(args.space or kind), options)
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    print(f"\n{len(study.trials)} trials, {len(complete)} of them to the end")
    if complete:
        _print_best(study, config)
    print(f"written: {config.OUTPUT_DIR}/trials.csv")


def _print_best(study: Any, config: Any) -> None:
    from bccd_d2.report.search_plots import draw_search

    metric, best = config.SOLVER.BEST_METRIC, study.best_trial.number
    print(f"best: {metric} {study.best_value:.4f} in trial {best}, with the options")
    print("  " + " ".join(f"{key} {value}" for key, value in study.best_params.items()))
    for path in draw_search(study, config.OUTPUT_DIR):
        print(f"written: {path}")
