"""Measure a converted dataset's box sizes and propose anchors for them.

bccd anchors --dataset OUT --scale 0.5 --out anchors.png
bccd anchors --dataset OUT --config-file cpu_tiny_maskrcnn
"""

from __future__ import annotations

import argparse
import logging

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("anchors", __doc__)
    common.add_dataset(parser)
    picture = "PNG of the anchors beside the cells of an image (default: none)"
    common.add_out(parser, picture, "--picture", metavar="PNG", default=None)
    add = parser.add_argument
    add("--config-file", metavar="CONFIG", help="judge its anchors, at its scale and strides")
    add("--split", default="train", help="whose boxes (default train)")
    add("--scale", type=float, help="detector px per image px (default: the config's, else 1)")
    add("--strides", type=int, nargs="+", help="default: the config's, else 4 8 16 32")
    add("--sizes", type=float, nargs="+", help="judge these sizes, one per level")
    add("--ratios", type=float, nargs="+", default=[0.5, 1, 2], help="of --sizes")
    add("--sizes-per-level", type=int, default=1, help="of the proposal (default 1)")
    add("--ratio-count", type=int, default=3, choices=(1, 3), help="of the proposal (default 3)")
    add("--growth", type=float, default=2**0.5, help="of sizes between levels")
    add("--clusters", type=int, default=6, help="of box shapes (default 6)")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Print clusters, proposal and recalls; 2 when what was given cannot work."""
    from bccd_d2.data import anchor_report, anchors, catalog

    common.show_logs(logging.INFO)
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
        current = anchors.Anchors(sizes, tuple(args.ratios), strides)
    table = anchors.load_boxes(folder, args.split).scaled(scale or 1.0)
    proposed = anchors.propose_anchors(
        table,
        strides,
        sizes_per_level=args.sizes_per_level,
        ratio_count=args.ratio_count,
        growth=args.growth,
        offset=current.offset if current else 0.0,
    )
    print(anchor_report.describe(table, proposed, current, clusters=args.clusters))
    if args.out:
        from bccd_d2.report.anchors import draw_anchors
        from bccd_d2.report.draw import write_png

        image, boxes = anchor_report.densest_image(folder, args.split, scale or 1.0)
        levels = [proposed.shapes(level) for level in range(len(proposed.strides))]
        names = [f"stride {stride}" for stride in strides]
        write_png(args.out, draw_anchors(image, boxes, levels, names=names))
        print(f"wrote {args.out}")
