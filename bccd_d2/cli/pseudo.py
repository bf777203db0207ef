"""Turn a converted dataset of boxes or points into one of outlines that a dense model learns from.

bccd pseudo --dataset datasets/boxes --out datasets/boxes-weak
bccd train --config-file any_smear --dataset datasets/boxes-weak DATASETS.VALIDATION "()"
bccd pseudo --dataset datasets/boxes --out datasets/outlined --keep-boxes
bccd train --config-file dinov2s_boxes_maskrcnn --dataset datasets/outlined DATASETS.VALIDATION "()"

A model outlines the cells at the right size; what agrees with a box or a point is kept, and the
rest of what might be cell teaches nothing. The labels are for training, not for scoring. Stopped,
the same command goes on where it was.

Exit code: 0 all images were used, 1 some were skipped (they are listed), 2 nothing was written.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def _names(text: str) -> tuple[str, ...]:
    """Names joined by commas; "" for none."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("pseudo", __doc__)
    common.add_dataset(parser, required=True)
    common.add_out(parser, "folder for the dataset of outlines")
    common.add_model(parser)
    add = parser.add_argument
    add("--splits", type=_names, default=("train",), metavar="A,B", help="default: train")
    by_name = "(default: those whose names say so; '' for none)"
    add("--white", type=_names, metavar="A,B", help=f"categories of white cells {by_name}")
    add(
        "--keep-boxes",
        action="store_true",
        help="stay a dataset of boxes, with outlines for those that have one: for a Mask R-CNN",
    )
    add("--background", type=_names, metavar="A,B", help=f"categories that are no cell {by_name}")
    common.add_max_images(parser, 0, "images of each split")
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: images were skipped; 2: nothing was written."""
    from bccd_d2.experiments.weak_labels import WeakOptions, make_weak_labels
    from bccd_d2.models.load import load_model

    model = load_model(args.weights, args.config_file, args.device)
    options = WeakOptions(args.splits, args.white, args.background, args.max_images,
                          args.keep_boxes)  # fmt: skip
    report = make_weak_labels(model, args.dataset, args.out, options, progress=True)
    print(report.text)
    print(f"wrote {report.out / 'dataset.json'} and {report.out / 'audit.json'}")
    return 1 if report.skips else 0
