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
    """Run the command line; 0 when all went well, 1 when images had to be skipped."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.data.to_coco import ConvertOptions, convert, is_current
    from bccd_d2.evaluation.evaluators import format_scores
    from bccd_d2.report.finish import report_line
    from bccd_d2.report.gallery import draw_predictions
    from bccd_d2.synth.dataset import write_dataset
    from bccd_d2.training.config import load_config
    from bccd_d2.training.launch import Processes
    from bccd_d2.training.reuse import ensure_evaluated, ensure_trained

    root, coco = args.data, args.out / "dataset"
    if root is None:
        root = args.out / "smears"
        print(f"1 of 5: synthetic smears in {root}", flush=True)
        write_dataset(root, n_train=args.smears, n_test=max(2, args.smears // 4), seed=0)
    print(f"2 of 5: masks to COCO in {coco}", flush=True)
    split = ConvertOptions(val_fraction=0.2)
    skipped = []
    if not is_current(coco, root, split):
        skipped = convert(root=root, out=coco, options=split, progress=True).skips
    config = load_config(CONFIG, args.options)
    config.DATASETS.ROOT, config.OUTPUT_DIR = str(coco), str(args.out / "train")
    config.SOLVER.MAX_ITER, config.TEST.EVAL_PERIOD = args.iterations, 0
    print(f"3 of 5: training in {config.OUTPUT_DIR}", flush=True)
    processes = Processes(args.processes)
    ensure_trained(config, processes)
    print("4 of 5: scores on the test split, which neither training nor threshold saw", flush=True)
    summary = ensure_evaluated(config, processes)
    folder = Path(config.OUTPUT_DIR) / "evaluation" / config.DATASETS.TEST[0]
    print("5 of 5: pictures of truth and prediction, and a report", flush=True)
    pictures = draw_predictions(coco, "test", folder, args.out / "overlays")
    print(f"\n{format_scores(summary['scores'])}\n")
    print(f"pictures: {pictures[0].parent}\nscores:   {folder / 'scores.json'}")
    print(f"model:    {config.OUTPUT_DIR}/model_best.pth")
    print(report_line(config.OUTPUT_DIR))
    for skip in skipped:
        print(f"skipped:  {skip.file}: {skip.reason}", file=sys.stderr)
    return 1 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
