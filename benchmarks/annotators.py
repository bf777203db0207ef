"""How far scores can go where annotators left cells out: F1 with one threshold for all images,
and with a threshold for each image that its own annotations chose.

  bccd predict --images bccd_val --score-threshold .05 --save coco --out out/low
  python benchmarks/annotators.py --predictions out/low --dataset datasets/bccd_boxes

The second is close to the most that these outlines in this order allow, even if one knew how much
the annotators of each image leave out. Boxes, at IoU .5. Then the boxes for each outline above
--score, over images: how evenly they were drawn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--predictions", required=True, help="--out of predict with a low --score-threshold")
    add("--dataset", required=True, help="converted dataset with boxes")
    add("--split", default="val")
    add("--leave-out", nargs="+", default=(), help="predicted types that the boxes are not of")
    add("--score", type=float, default=0.75, help="the one threshold (default .75)")
    return parser


def f1(counts: Sequence) -> float:
    """F1 at box IoU .5 of `count_boxes` of several images, pooled; 0 to 1."""
    from bccd_d2.evaluation.boxes import box_scores

    return box_scores(counts)["F1@.5"] or 0.0


def best_counts(comparison):
    """`count_boxes` of one image at the threshold with its highest F1."""
    from bccd_d2.evaluation.boxes import count_boxes

    tried = [count_boxes(comparison, t) for t in (*np.unique(comparison.scores), 1.01)]
    return max(tried, key=lambda counts: f1([counts]))


def of_other_types(folder: str, name: str, left_out: Sequence[str]) -> np.ndarray:
    """(N,) bool: the predicted cells of an image that are of none of the types."""
    from bccd_d2.masks.coco import read_typed_coco

    [image], names = read_typed_coco(Path(folder) / "coco" / f"{Path(name).stem}.json")
    return np.array([names[row["category_id"]] not in left_out for row in image.annotations], bool)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print."""
    args = get_parser().parse_args(argv)
    from bccd_d2.data.catalog import split_metadata
    from bccd_d2.evaluation.boxes import compare_boxes, count_boxes
    from bccd_d2.evaluation.predicted import read_predictions
    from bccd_d2.evaluation.truth import read_true_boxes

    truth = read_true_boxes(split_metadata(args.dataset, args.split)["json_file"])
    found = read_predictions(args.predictions, truth)
    if args.leave_out:
        found = {i: cells[of_other_types(args.predictions, truth[i].file_name, args.leave_out)]
                 for i, cells in found.items()}  # fmt: skip
    pairs = [compare_boxes(truth[i].cells, c.scored_boxes, c.scores) for i, c in found.items()]
    one = [count_boxes(pair, args.score) for pair in pairs]
    own = [best_counts(pair) for pair in pairs]
    some = [c for c in one if c.truth]
    outlines = np.array([c.predicted for c in some])
    boxed = np.array([c.truth for c in some]) / np.maximum(outlines, 1)
    print(f"{len(pairs)} images, F1 with the threshold {args.score}: {f1(one):.3f}")
    print(f"F1 with a threshold for each image, chosen with its annotations: {f1(own):.3f}")
    print("boxes for an outline, over images: " + ", ".join(
        f"{name} {value:.2f}" for name, value in zip(
            ("5%", "median", "95%"), np.quantile(boxed, (.05, .5, .95)), strict=True)))  # fmt: skip
    return 0


if __name__ == "__main__":
    sys.exit(main())
