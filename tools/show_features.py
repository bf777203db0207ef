"""Draw what a backbone sees of an image: the first three principal components of its tokens.

python tools/show_features.py --config-file configs/dinobloom_s_maskrcnn.yaml --image smear.png
python tools/show_features.py --config-file ... --image smear.png MODEL.WEIGHTS RUN/model_best.pth

Five panels: the image; resized into the square that the backbone was trained with; whole and padded
as in the detector, with its position embedding resized, then tiled; cut into tiles of that square.
One colour means one thing in all of them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    add("--image", required=True, metavar="FILE", help="the image to look at")
    add("--out", default="features.png", metavar="FILE", help="PNG to write (features.png)")
    add("--width", type=int, default=2400, help="px of the picture (default 2400)")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the picture; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.experiments.feature_panels import feature_panels
    from bccd_d2.report.draw import contact_sheet, write_png

    try:
        config = load_config(args.config_file, args.options)
        if not (config.MODEL.WEIGHTS or config.MODEL.VIT.WEIGHTS):
            print("note: no weights are named, so these are a random backbone's features")
        panels = feature_panels(config, args.image)
        sheet = contact_sheet(list(panels.values()), 3, args.width, captions=list(panels))
        print(f"wrote {write_png(args.out, sheet)}")
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
