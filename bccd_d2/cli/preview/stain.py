"""Draw images before and after stain normalisation to the training set.

bccd preview stain --dataset OUT --method macenko --out stain.png

Also prints how far the colours of the cells lie apart, over all images, before and after.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("preview stain", __doc__)
    common.add_dataset(parser)
    common.add_out(parser, "the sheet", metavar="PNG")
    add = parser.add_argument
    add("--method", default="reinhard", choices=("reinhard", "macenko"), help="default: reinhard")
    add("--strengths", type=float, nargs="+", default=[0.5, 1.0], help="default: 0.5 1")
    add("--split", default="val", help="whose images to draw; the reference is train's (val)")
    common.add_max_images(parser, 12, "evenly spaced images")
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Write the sheet; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.data.catalog import find_dataset
    from bccd_d2.experiments.previews import normalised_images
    from bccd_d2.report.draw import contact_sheet, write_png

    folder = args.dataset or find_dataset()
    shown = normalised_images(folder, args.split, args.method, args.strengths, args.max_images)
    print(f"reference: {args.method} {list(shown.reference)}")
    print(f"{len(shown.rows)} images of {args.split}, {shown.unchanged} of them left unchanged")
    captions = ["before", *(f"strength {strength:g}" for strength in args.strengths)]
    for caption, spread in zip(captions, shown.spreads, strict=True):
        print(f"{caption:14s} cells' colours spread over {spread:.1f} (CIE Lab)")
    tiles = [tile for row in shown.rows for tile in row]
    columns = 2 * len(captions)
    sheet = contact_sheet(tiles, columns, 330 * columns, captions=captions * len(shown.rows))
    print(f"wrote {write_png(args.out, sheet)}")
