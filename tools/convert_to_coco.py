"""Convert blood-smear images and binary masks to COCO json, label PNGs and an audit.

  python tools/convert_to_coco.py --root "BCCD Dataset with mask" --out datasets/bccd
  python tools/convert_to_coco.py --images my/images --masks my/masks --out datasets/mine

Exit code: 0 all files were used, 1 some were skipped (they are listed), 2 nothing was written.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

ANNOTATIONS = {
    "labels": "label images, one value a cell (TIFF, PNG, NPY)",
    "coco": "COCO json, or a folder of them",
    "boxes": "Pascal VOC xml, YOLO txt, or BBBC041's json",
    "points": "lists 'x y class' (text or CSV)",
    "geojson": "GeoJSON of QuPath",
    "seg": "Cellpose's _seg.npy",
}


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", help="folder with {train,test}/{original,mask}")
    add("--images", help="a folder of images, instead of --root")
    add("--masks", help="the folder of their masks (same file stems)")
    for option, what in ANNOTATIONS.items():
        add(f"--{option}", metavar="PATH", help=f"instead of --masks: {what}")
    add("--partial", action="store_true", help="only some of the cells are annotated")
    add("--splits", metavar="PATH", help="lists of names: a folder of train.txt, val.txt, test.txt")
    add("--classes", metavar="FILE", help="names of class numbers, for YOLO and points")
    add("--out", required=True, help="folder for annotations/, labels/, dataset.json, audit.*")
    add("--connectivity", type=int, default=8, help="4 or 8: which pixels touch (default 8)")
    add("--min-area", type=int, default=16, help="px; drop smaller components (default 16)")
    add("--fill-holes", action="store_true", help="give enclosed background to its cell")
    add("--split-clumps", action="store_true", help="cut merged cells apart at their necks")
    add("--threshold", type=float, help="foreground from this grey value on (masks not binary)")
    add("--polygons", action="store_true", help="outlines instead of RLE; holes are lost")
    add("--val-fraction", type=float, default=0.3, help="of the train folder (default 0.3)")
    add("--test-fraction", type=float, default=0.0, help="where there is no test folder")
    add("--seed", type=int, default=42, help="of splits, folds and --max-images (default 42)")
    add("--folds", type=int, default=0, help="also write K cross-validation folds")
    add("--max-images", type=int, help="at most so many pairs of each folder")
    add("--strict", action="store_true", help="any skipped file is an error; write nothing")
    add("--workers", type=int, help="processes (default: all cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Convert and print the audit; returns the exit code."""
    arguments = vars(get_parser().parse_args(argv))
    from bccd_d2.data.convert.annotated_pairs import source_of
    from bccd_d2.data.convert.run import ConvertOptions, convert

    places = {name: arguments.pop(name) for name in ("root", "images", "masks", "out")}
    try:
        source = source_of(arguments)
        options = ConvertOptions(**arguments)
        report = convert(**places, options=options, progress=True, annotations=source)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(report.text)
    for split, counts in report.counts.items():
        print(f"{split}: {counts['images']} images, {counts['cells']} cells: {report.files[split]}")
    print(f"wrote {report.files['dataset']} and {report.files['audit']}")
    if report.skips:
        print(f"{len(report.skips)} file(s) skipped, listed above and in {report.files['audit']}")
    return 1 if report.skips else 0


if __name__ == "__main__":
    sys.exit(main())
