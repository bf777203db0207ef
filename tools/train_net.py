"""Train or evaluate a cell segmentation model.

python tools/train_net.py --config-file configs/cpu_tiny_maskrcnn.yaml
python tools/train_net.py --config-file configs/cpu_tiny_maskrcnn.yaml --eval-only
torchrun --nproc-per-node 2 tools/train_net.py --config-file ... MODEL.DEVICE cpu
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
    add("--eval-only", action="store_true", help="score DATASETS.TEST; train nothing")
    add("--resume", action="store_true", help="go on from OUTPUT_DIR's last checkpoint")
    add("--num-gpus", type=int, default=1, help="processes a machine, on GPU or CPU (default 1)")
    add("--num-machines", type=int, default=1, help="machines that train together (default 1)")
    add("--machine-rank", type=int, default=0, help="which machine this is, from 0")
    add("--dist-url", default="auto", help="where machines meet: tcp://HOST:PORT")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    import torch

    from bccd_d2.config.load import load_config
    from bccd_d2.report.run.finish import report_line
    from bccd_d2.training.launch import Processes, launch
    from bccd_d2.training.run import check_weights, prepare, run

    try:
        config = load_config(args.config_file, args.options)
        device = config.MODEL.DEVICE
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        processes = Processes(
            args.num_gpus, args.num_machines, args.machine_rank, args.dist_url, device.split(":")[0]
        )
        prepare(config.clone())  # Mistakes end here, in one process and one line.
        check_weights(config, args.eval_only, args.resume)
        launch(run, processes, config, args.eval_only, args.resume)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    if args.machine_rank == 0 and (line := report_line(config.OUTPUT_DIR)):
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
