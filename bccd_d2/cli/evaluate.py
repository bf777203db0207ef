"""Score predictions that lie in files, of this package or any other tool, against a split.

bccd predict --images my/test --out results
bccd evaluate --predictions results --dataset datasets/mine --split test --out scores
bccd report scores

Predictions are the --out of bccd predict, a COCO results json, or a folder of label images (a
scores.csv with image, label, score ranks their cells). Neither PyTorch nor detectron2 is needed.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("evaluate", __doc__)
    add = parser.add_argument
    add("--predictions", required=True, metavar="PATH", help="a folder or a COCO results json")
    common.add_dataset(parser, required=True)
    add("--split", default="test", help="of the dataset (default test)")
    add(
        "--score-threshold",
        type=float,
        default=0.0,
        help="cells below it count for AP alone (default 0: all count)",
    )
    add("--max-cells", type=int, default=300, help="an image, of the best scores (default 300)")
    common.add_out(parser, "folder for scores.json and more", type=Path, metavar="FOLDER")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.data.catalog import split_metadata
    from bccd_d2.evaluation.evaluators import evaluator_for
    from bccd_d2.evaluation.predicted import read_predictions
    from bccd_d2.evaluation.table import format_scores, misfit

    metadata = split_metadata(args.dataset, args.split)
    with common.writing(args.out, "evaluate"):
        evaluator = evaluator_for(
            f"{Path(args.dataset).resolve().name}_{args.split}",
            metadata=metadata,
            max_detections=args.max_cells,
            score_threshold=args.score_threshold,
            output_dir=args.out,
        )
        evaluator.reset()
        for image_id, cells in read_predictions(args.predictions, evaluator.images()).items():
            evaluator.add(image_id, cells)
        scores = evaluator.evaluate()
        print(format_scores(scores))
    if said := misfit(scores):
        print(f"warning: {said}", file=sys.stderr)
    print(f"wrote {args.out}")
