"""Measure a converted dataset's box sizes and propose anchors for them.

python tools/fit_anchors.py --dataset OUT --scale 0.5 --picture anchors.png
python tools/fit_anchors.py --dataset OUT --config-file configs/cpu_tiny_maskrcnn.yaml
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="converted folder; default: BCCD_DATASET and the like")
    parser.add_argument("--split", default="train", help="whose boxes; default train")
    parser.add_argument("--config-file", help="judge its anchors, at its scale and strides")
    parser.add_argument("--scale", type=float, help="detector px per image px; default: config's")
    parser.add_argument("--strides", type=int, nargs="+", help="default: config's, or 4 8 16 32")
    parser.add_argument("--sizes", type=float, nargs="+", help="judge these sizes, one a level")
    parser.add_argument("--ratios", type=float, nargs="+", default=[0.5, 1, 2], help="of --sizes")
    parser.add_argument("--sizes-per-level", type=int, default=1, help="of the proposal")
    parser.add_argument("--ratio-count", type=int, default=3, choices=(1, 3), help="likewise")
    parser.add_argument("--growth", type=float, default=2**0.5, help="of sizes between levels")
    parser.add_argument("--clusters", type=int, default=6, help="of box shapes")
    parser.add_argument("--picture", help="PNG of the anchors beside the cells of an image")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print clusters, proposal and recalls; write the picture when asked for."""
    args = get_parser().parse_args(argv)
    from bccd_d2.data import anchor_report, catalog
    from bccd_d2.data import anchors as statistics

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    folder = args.dataset or catalog.find_dataset()
    current, scale = None, args.scale
    strides = tuple(args.strides or (4, 8, 16, 32))
    if args.config_file:
        from bccd_d2.config.load import load_config

        config = load_config(args.config_file)
        current = anchor_report.anchors_of_config(config)
        strides, scale = current.strides, scale or config.INPUT.IMAGE_SCALE
    elif args.sizes:
        sizes = tuple((size,) for size in args.sizes)
        current = statistics.Anchors(sizes, tuple(args.ratios), strides)
    table = statistics.load_boxes(folder, args.split).scaled(scale or 1.0)
    proposed = statistics.propose_anchors(
        table,
        strides,
        sizes_per_level=args.sizes_per_level,
        ratio_count=args.ratio_count,
        growth=args.growth,
        offset=current.offset if current else 0.0,
    )
    print(anchor_report.describe(table, proposed, current, clusters=args.clusters))
    if args.picture:
        from bccd_d2.report import draw

        image, boxes = anchor_report.densest_image(folder, args.split, scale or 1.0)
        levels = [proposed.shapes(level) for level in range(len(proposed.strides))]
        names = [f"stride {stride}" for stride in strides]
        draw.write_png(args.picture, draw.draw_anchors(image, boxes, levels, names=names))
        print(f"wrote {args.picture}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
