"""Draw images before and after stain normalisation to the training set.

python tools/preview_stain.py --dataset OUT --method macenko --out stain.png

Also prints how far the colours of the cells lie apart, over all images, before and after.
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
    add("--dataset", help="converted folder; default: BCCD_DATASET and the like")
    add("--method", default="reinhard", choices=("reinhard", "macenko"), help="default: reinhard")
    add("--strengths", type=float, nargs="+", default=[0.5, 1.0], help="default: 0.5 1")
    add("--split", default="val", help="whose images to draw; the reference is train's (val)")
    add("--images", type=int, default=12, help="how many, over the whole range (default 12)")
    add("--out", required=True, metavar="PNG", help="the sheet")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    import cv2
    import numpy as np

    from bccd_d2.data import stain
    from bccd_d2.data.catalog import find_dataset, load_split
    from bccd_d2.io.images import read_image
    from bccd_d2.report.draw import contact_sheet, write_png

    try:
        folder = args.dataset or find_dataset()
        train = load_split(folder, "train")
        given = train[0]["max_value"] if train else None
        reference = stain.fit_reference([r["file_name"] for r in train], args.method, given)
        records = load_split(folder, args.split)
        chosen = np.linspace(0, len(records) - 1, min(args.images, len(records))).astype(int)
        tiles, captions, versions, unchanged = [], [], [], 0
        for index in chosen:
            image = read_image(records[index]["file_name"], max_value=given)
            source = stain.measure(image, args.method)
            small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
            row = [stain.normalise(small, source, reference, s) for s in (0, *args.strengths)]
            unchanged += all(np.array_equal(row[0], other) for other in row)
            tiles += row
            captions += ["before", *(f"strength {s:g}" for s in args.strengths)]
            versions.append(row)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    print(f"reference: {args.method} {list(reference.values)}")
    print(f"{len(chosen)} images of {args.split}, {unchanged} of them left unchanged")
    for name, column in zip(captions, zip(*versions, strict=True), strict=False):
        print(f"{name:14s} cells' colours spread over {stain.colour_spread(column):.1f} (CIE Lab)")
    columns = 2 * (1 + len(args.strengths))
    sheet = contact_sheet(tiles, columns, 330 * columns, captions=captions)
    print(f"wrote {write_png(args.out, sheet)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
