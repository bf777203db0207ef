"""Draw what a backbone sees of an image: the first three principal components of its tokens.

bccd preview features --config-file dinobloom_s_maskrcnn --image smear.png
bccd preview features --config-file CONFIG --image smear.png --weights RUN/model_best.pth

Five panels: the image; resized into the square that the backbone was trained with; whole and padded
as in the detector, with its position embedding resized, then tiled; cut into tiles of that square.
One colour means one thing in all of them.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("preview features", __doc__)
    common.add_config(parser, "weights", "device")
    common.add_out(
        parser, "PNG to write (default features.png)", metavar="PNG", default="features.png"
    )
    parser.add_argument("--image", required=True, metavar="FILE", help="the image to look at")
    parser.add_argument("--width", type=int, default=2400, help="px of the picture (default 2400)")
    common.add_options(parser)
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Write the picture; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.experiments.feature_panels import feature_panels
    from bccd_d2.report.draw import contact_sheet, write_png

    config = common.configured(args)
    if not (config.MODEL.WEIGHTS or config.MODEL.VIT.WEIGHTS):
        print("note: no weights are named, so these are a random backbone's features")
    panels = feature_panels(config, args.image)
    sheet = contact_sheet(list(panels.values()), 3, args.width, captions=list(panels))
    print(f"wrote {write_png(args.out, sheet)}")
