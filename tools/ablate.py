"""Train with each switch of a list alone, on the same seeds and budget, and table what it gives.

python tools/ablate.py --config-file configs/cpu_tiny_maskrcnn.yaml \\
    --switches configs/ablations/data.yaml --dataset OUT --out output/ablation_data --seeds 0 1

Scored on validation images, never on the test split. Stopped and called again, it goes on.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="the base, a YAML file of configs/")
    add("--switches", required=True, metavar="FILE", help="YAML: name: {KEY: value, ...}")
    add("--only", nargs="+", metavar="NAME", help="these switches of the file; default: all")
    add("--dataset", default="", help="converted folder; default: the config's")
    add("--out", type=Path, required=True, help="folder for the runs and the tables")
    add("--seeds", type=int, nargs="+", default=[0], help="a run each (default: 0)")
    add("--iterations", type=int, default=540, help="steps a run (540: about 6 minutes, 2 cores)")
    add("--processes", type=int, default=2, help="training processes on the CPU (default 2)")
    add("--plan", action="store_true", help="say what would be run and how long; train nothing")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys of all runs")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.experiments import ablation
    from bccd_d2.training.launch import Processes

    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    options = ["SOLVER.MAX_ITER", str(args.iterations), "SOLVER.EPOCHS", "0", *args.options]
    if args.dataset:
        options += ["DATASETS.ROOT", args.dataset]
    try:
        switches = ablation.load_switches(args.switches)
        unknown = set(args.only or ()) - {s.name for s in switches}
        if unknown:
            raise ValueError(f"--only {sorted(unknown)}: not in {args.switches}")
        switches = [s for s in switches if not args.only or s.name in args.only]
        runs = ablation.plan(args.config_file, switches, args.seeds, args.out, options)
        todo = [run for run in runs if not Path(run.config.OUTPUT_DIR, "model_final.pth").is_file()]
        hours = ablation.expected_hours(todo, args.processes)
        print(f"{len(runs)} runs, {len(todo)} to do: about {hours:.1f} hours", flush=True)
        if not args.plan:
            report = partial(ablation.report, out=args.out)
            scores = ablation.run_ablation(runs, Processes(args.processes), report)
            print(ablation.format_markdown(ablation.summarise(scores)))
            print(f"wrote {args.out / 'ablation.md'} and {args.out / 'ablation.csv'}")
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
