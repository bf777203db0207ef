"""From nothing to outlined and scored cells: draw, convert, train, evaluate, report.

    python tools/demo.py --out output/demo
    python tools/demo.py --out output/demo --data "path/to/BCCD Dataset with mask"

What an earlier call finished is used again.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

CONFIG = Path(__file__).resolve().parents[1] / "configs" / "cpu_tiny_maskrcnn.yaml"


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--out", type=Path, default=Path("output/demo"), help="folder for all results")
    add("--data", type=Path, help="BCCD's own folder; default: synthetic smears, drawn here")
    add("--smears", type=int, default=40, help="synthetic training images to draw")
    add("--iterations", type=int, default=450, help="training steps (default 450)")
    add("--processes", type=int, default=2, help="training processes on the CPU")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0: all went well; 1: images had to be skipped."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.data.convert.run import ConvertOptions, convert, is_current
    from bccd_d2.evaluation.evaluators import format_scores
    from bccd_d2.experiments.run_cache import ensure_evaluated, ensure_trained
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch
    from bccd_d2.report.gallery import draw_predictions
    from bccd_d2.report.run.finish import report_line
    from bccd_d2.synth.dataset import write_dataset
    from bccd_d2.training.launch import Processes

    root, coco = args.data, args.out / "dataset"
    if root is None:
        print(f"1 of 6: synthetic smears in {(root := args.out / 'smears')}", flush=True)
        write_dataset(root, n_train=args.smears, n_test=max(2, args.smears // 4), seed=0)
    print(f"2 of 6: masks to COCO in {coco}", flush=True)
    current = is_current(coco, root, split := ConvertOptions(val_fraction=0.2))
    skipped = [] if current else convert(root=root, out=coco, options=split, progress=True).skips
    options = ["DATASETS.ROOT", coco, "OUTPUT_DIR", args.out / "train", "TEST.EVAL_PERIOD", 0]
    options += ["SOLVER.MAX_ITER", args.iterations, *args.options]
    config = load_config(CONFIG, [str(option) for option in options])
    print(f"3 of 6: training in {config.OUTPUT_DIR}", flush=True)
    ensure_trained(config, processes := Processes(args.processes))
    print("4 of 6: scores on the test split, which neither training nor threshold saw", flush=True)
    summary = ensure_evaluated(config, processes)
    folder = args.out / "train" / "evaluation" / config.DATASETS.TEST[0]
    print("5 of 6: pictures of truth and prediction, and a report", flush=True)
    pictures = draw_predictions(coco, "test", folder, args.out / "overlays")
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


if __name__ == "__main__":
    sys.exit(main())
