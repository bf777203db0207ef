"""From nothing to outlined and scored cells: draw, convert, train, evaluate, report.

bccd walkthrough --out output/demo
bccd walkthrough --out output/demo --root "path/to/BCCD Dataset with mask"

What an earlier call finished is used again.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from bccd_d2.cli import common

CONFIG = "cpu_tiny_maskrcnn"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("walkthrough", __doc__)
    common.add_out(
        parser,
        "folder for all results (default output/demo)",
        type=Path,
        default=Path("output/demo"),
    )
    add = parser.add_argument
    add(
        "--root",
        "--data",
        type=Path,
        metavar="FOLDER",
        dest="root",
        help="BCCD's own folder (default: synthetic smears, drawn here)",
    )
    add("--smears", type=int, default=40, help="synthetic training images to draw (default 40)")
    add("--iterations", type=int, default=450, help="training steps (default 450)")
    common.add_processes(parser, 2)
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> int:
    """Run the command line; 0: all went well; 1: images had to be skipped; 2: bad input."""
    from bccd_d2.evaluation.table import format_scores
    from bccd_d2.experiments.run_cache import ensure_evaluated, ensure_trained
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch
    from bccd_d2.report.gallery import draw_predictions
    from bccd_d2.report.run.finish import report_line
    from bccd_d2.training.launch import Processes

    dataset, processes = args.out / "dataset", Processes(args.processes)
    root = _images(args)
    skipped = _convert(root, dataset)
    config = _config(args, dataset)
    print(f"3 of 6: training in {config.OUTPUT_DIR}", flush=True)
    ensure_trained(config, processes)
    print("4 of 6: scores on the test split, which neither training nor threshold saw", flush=True)
    summary = ensure_evaluated(config, processes)
    folder = args.out / "train" / "evaluation" / config.DATASETS.TEST[0]
    print("5 of 6: pictures of truth and prediction, and a report", flush=True)
    pictures = draw_predictions(dataset, "test", folder, args.out / "overlays")
    report = report_line(config.OUTPUT_DIR)
    print("6 of 6: the model that ships with the package on the same images", flush=True)
    shipped = str(args.out / "shipped_model")
    predict_batch(BatchOptions((str(root / "test" / "original"),), shipped, resume=True))
    print(f"\n{format_scores(summary['scores'])}\n\npictures: {pictures[0].parent}")
    print(f"scores:   {folder / 'scores.json'}\nmodel:    {config.OUTPUT_DIR}/model_best.pth")
    print(f"shipped:  {shipped}/counts.csv\n{report}")
    for skip in skipped:
        print(f"skipped:  {skip.file}: {skip.reason}", file=sys.stderr)
    return 1 if skipped else 0


def _images(args: argparse.Namespace) -> Path:
    """The folder of images and masks; synthetic ones are drawn where none is given."""
    if args.root is not None:
        return args.root
    from bccd_d2.synth.dataset import write_dataset

    root = args.out / "smears"
    print(f"1 of 6: synthetic smears in {root}", flush=True)
    write_dataset(root, n_train=args.smears, n_test=max(2, args.smears // 4), seed=0)
    return root


def _convert(root: Path, dataset: Path) -> list[Any]:
    """Convert unless that is done; the files that had to be skipped now."""
    from bccd_d2.data.convert.run import ConvertOptions, convert, is_current

    print(f"2 of 6: masks to COCO in {dataset}", flush=True)
    options = ConvertOptions(val_fraction=0.2)
    if is_current(dataset, root, options):
        return []
    return convert(root=root, out=dataset, options=options, progress=True).skips


def _config(args: argparse.Namespace, dataset: Path) -> Any:
    from bccd_d2.config.load import load_config

    options = ["DATASETS.ROOT", dataset, "OUTPUT_DIR", args.out / "train", "TEST.EVAL_PERIOD", 0]
    options += ["SOLVER.MAX_ITER", args.iterations]
    options += ["SOLVER.WARMUP_ITERS", min(100, args.iterations // 4), *args.options]
    return load_config(CONFIG, [str(option) for option in options])
