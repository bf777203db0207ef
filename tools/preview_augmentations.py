"""Draw what the model sees: one image, several draws, with the outlines of its labels.

python tools/preview_augmentations.py --config-file configs/cpu_tiny_maskrcnn.yaml \\
    --dataset OUT --out sheet.png INPUT.EXTRA.ELASTIC 6

Draw k shows the same place of the image whatever is switched on, so sheets can be laid side by
side.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, metavar="FILE", help="a YAML file of configs/")
    add("--dataset", default="", help="converted folder; default: the config's")
    add("--image", default="0", help="number in the training set, or part of the file name")
    add("--draws", type=int, default=8, help="crops to draw (default 8)")
    add("--columns", type=int, default=4, help="crops in a row (default 4)")
    add("--plain", action="store_true", help="show each crop without outlines beside it too")
    add("--out", required=True, metavar="PNG", help="the sheet")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    import numpy as np

    from bccd_d2.config.load import load_config
    from bccd_d2.data.mapper import LabelMapMapper
    from bccd_d2.masks.cells import Cells
    from bccd_d2.models.preprocessing import with_reference
    from bccd_d2.report.draw import contact_sheet, draw_outlines, write_png
    from bccd_d2.training import loaders
    from bccd_d2.training.run import prepare

    try:
        config = load_config(args.config_file, args.options)
        config.DATASETS.ROOT = args.dataset or config.DATASETS.ROOT
        config = with_reference(prepare(config))
        record = loaders.find_record(config.DATASETS.TRAIN, args.image)
        # A dense model's maps are drawn from the same cells.
        options = replace(loaders.mapper_options(config), dense=None)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    tiles = []
    for seed in range(args.draws):
        sample = LabelMapMapper(options, seed=seed)(record)
        image = sample["image"].permute(1, 2, 0).numpy()
        masks = sample["instances"].gt_masks.tensor.numpy()
        numbers = np.arange(1, len(masks) + 1, dtype=np.int32)[:, None, None]
        cells = Cells.from_label_map((masks * numbers).sum(axis=0, dtype=np.int32))
        tiles += [image] if args.plain else []
        tiles.append(draw_outlines(image, cells, thickness=4))
    print(f"wrote {write_png(args.out, contact_sheet(tiles, args.columns, 420 * args.columns))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
