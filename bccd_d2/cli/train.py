"""Train or evaluate a cell segmentation model.

bccd train --config-file cpu_tiny_maskrcnn --dataset datasets/bccd
bccd train --config-file cpu_tiny_maskrcnn --dataset datasets/bccd --eval-only
bccd train --config-file cpu_tiny_maskrcnn --processes 2 SOLVER.MAX_ITER 300 SEED 1
bccd train --config-file any_smear --dataset home --dataset home --dataset others-weak
torchrun --nproc-per-node 2 -m bccd_d2 train --config-file cpu_tiny_maskrcnn --device cpu

With several datasets a model learns from the training images of all of them; one that is given
twice counts twice. Validation and test images are those of the first.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("train", __doc__)
    common.add_config(parser, "out", "weights", "device")
    parser.add_argument(
        "--dataset",
        action="append",
        default=[],
        metavar="FOLDER",
        help="converted dataset; again for more (default: the config's, else BCCD_DATASET)",
    )
    parser.add_argument(
        "--classes",
        metavar="NAMES",
        help="types that cells may be of: A,B,C; auto: those of the data (default: the config's, "
        "one class)",
    )
    common.add_processes(parser, 1, "--num-gpus")
    add = parser.add_argument
    add("--eval-only", action="store_true", help="score DATASETS.TEST; train nothing")
    add("--resume", action="store_true", help="go on from the run's last checkpoint")
    add("--num-machines", type=int, default=1, help="machines that train together (default 1)")
    add("--machine-rank", type=int, default=0, help="which machine this is, from 0")
    add("--dist-url", default="auto", help="where machines meet: tcp://HOST:PORT")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.report.run.finish import report_line
    from bccd_d2.training.launch import Processes, device_type, launch
    from bccd_d2.training.run import check, run, take_datasets

    config = common.configured(args)
    if args.dataset:
        take_datasets(config, args.dataset)
    if args.classes:
        names = (name.strip() for name in args.classes.split(","))
        config.MODEL.CLASSES.NAMES = tuple(name for name in names if name)
    device = device_type(config.MODEL.DEVICE)
    processes = Processes(
        args.processes, args.num_machines, args.machine_rank, args.dist_url, device
    )
    check(config, args.eval_only, args.resume)  # Mistakes end in one line.
    launch(run, processes, config, args.eval_only, args.resume)
    if args.machine_rank == 0 and (line := report_line(config.OUTPUT_DIR)):
        print(line)
