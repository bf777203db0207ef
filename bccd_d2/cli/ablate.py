"""Train with each switch of a list alone, on the same seeds and budget, and table what it gives.

bccd ablate --config-file cpu_tiny_maskrcnn --switches data --dataset OUT \\
    --out output/ablation_data --seeds 0 1

Scored on validation images, never on the test split. Stopped and called again, it goes on.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("ablate", __doc__)
    common.add_config(parser, "dataset", "device")
    common.add_out(parser, "folder for the runs and the tables", type=Path)
    common.add_processes(parser, 2)
    add = parser.add_argument
    add(
        "--switches",
        required=True,
        metavar="FILE",
        help="YAML of name: {KEY: value}, or a shipped list by name: data, detector",
    )
    add("--only", nargs="+", metavar="NAME", help="these switches of the file (default: all)")
    add("--seeds", type=int, nargs="+", default=[0], help="a run each (default: 0)")
    add("--iterations", type=int, default=540, help="steps a run (540: about 6 minutes, 2 cores)")
    add("--plan", action="store_true", help="say what would be run and how long; train nothing")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments import ablation
    from bccd_d2.training.launch import Processes

    common.show_logs()
    switches = ablation.load_switches(args.switches)
    unknown = set(args.only or ()) - {s.name for s in switches}
    if unknown:
        raise ValueError(f"--only {sorted(unknown)}: not in {args.switches}")
    switches = [s for s in switches if not args.only or s.name in args.only]
    length = ["SOLVER.MAX_ITER", str(args.iterations), "SOLVER.EPOCHS", "0"]
    options = [*length, *common.config_options(args)]
    runs = ablation.plan(args.config_file, switches, args.seeds, args.out, options)
    todo = [run for run in runs if not Path(run.config.OUTPUT_DIR, "model_final.pth").is_file()]
    hours = ablation.expected_hours(todo, args.processes)
    print(f"{len(runs)} runs, {len(todo)} to do: about {hours:.1f} hours", flush=True)
    if args.plan:
        return
    report = partial(ablation.report, out=args.out)
    scores = ablation.run_ablation(runs, Processes(args.processes), report)
    print(ablation.format_markdown(ablation.summarise(scores)))
    print(f"wrote {args.out / 'ablation.md'} and {args.out / 'ablation.csv'}")
