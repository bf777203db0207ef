"""Draw what the model sees: one image, several draws, with the outlines of its labels.

bccd preview augmentations --config-file cpu_tiny_maskrcnn --dataset OUT --out sheet.png \\
    INPUT.EXTRA.ELASTIC 6

Draw k shows the same place of the image whatever is switched on, so sheets can be laid side by
side.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("preview augmentations", __doc__)
    common.add_config(parser, "dataset")
    common.add_out(parser, "the sheet", metavar="PNG")
    add = parser.add_argument
    add("--image", default="0", help="number in the training set, or part of the file name")
    add("--draws", type=int, default=8, help="crops to draw (default 8)")
    add("--columns", type=int, default=4, help="crops in a row (default 4)")
    add("--plain", action="store_true", help="show each crop without outlines beside it too")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Write the sheet; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments.previews import augmented_crops
    from bccd_d2.report.draw import contact_sheet, write_png

    crops = augmented_crops(common.configured(args), args.image, args.draws, plain=args.plain)
    print(f"wrote {write_png(args.out, contact_sheet(crops, args.columns, 420 * args.columns))}")
