"""Convert images with masks, boxes or points of any format to COCO json, with an audit.

bccd convert --root "BCCD Dataset with mask" --out datasets/bccd
bccd convert --images my/images --masks my/masks --out datasets/mine
bccd convert --images smears --labels results/labels --out datasets/ours
bccd convert --images my/images --coco annotations.json --out datasets/mine
bccd convert --images my/images --masks my/masks --classes values.yaml --out datasets/typed
bccd convert --root "BCCD Dataset with mask" --types bbbc041_boxes.json --out datasets/typed

Exit code: 0 all files were used, 1 some were skipped (they are listed), 2 nothing was written.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from bccd_d2.cli import common

ANNOTATIONS = {
    "coco": "COCO json, or a folder of them",
    "boxes": "Pascal VOC xml, YOLO txt, or BBBC041's json",
    "points": "lists 'x y class' (text or CSV)",
    "geojson": "GeoJSON of QuPath",
    "seg": "Cellpose's _seg.npy",
    "folders": "a folder of masks for each class, named after it",
}


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("convert", __doc__)
    add_sources(parser.add_argument)
    _add_types(parser.add_argument)
    common.add_out(parser, "folder for annotations/, labels/, dataset.json, audit.*")
    _add_reading(parser.add_argument)
    _add_splits(parser.add_argument)
    common.add_processes(parser, None, "--workers")
    return parser


def add_sources(add: Callable[..., Any]) -> None:
    """Where images and annotations are."""
    add("--root", metavar="FOLDER", help="folder with {train,test}/{original,mask}")
    add("--images", metavar="FOLDER", help="a folder of images, instead of --root")
    add(
        "--masks",
        metavar="FOLDER",
        help="the folder of their masks, binary or one value per cell (same file stems, or with "
        "_mask and the like; default: among the images)",
    )
    add("--labels", metavar="FOLDER", help="as --masks, each value is a cell")
    for option, what in ANNOTATIONS.items():
        add(f"--{option}", metavar="PATH", help=f"instead of --masks: {what}")
    add("--partial", action="store_true", help="only some of the cells are annotated")
    add(
        "--classes",
        metavar="FILE",
        help="with --masks: YAML of the values or colours of each class; else the names of class "
        "numbers, for YOLO and points",
    )
    add("--ignore", metavar="NAMES", help="categories that are neither cell nor background: A,B")


def _add_types(add: Callable[..., Any]) -> None:
    """What the cells of masks are, from elsewhere."""
    add("--types", metavar="PATH", help="typed boxes (as --boxes) of the cells that masks outline")
    add("--type-points", metavar="PATH", help="the same as typed points (as --points)")


def _add_reading(add: Callable[..., Any]) -> None:
    """How masks and pixels become cells."""
    add(
        "--mask-kind",
        choices=("auto", "binary", "labels"),
        default="auto",
        help="what masks are; labels: each value is a cell (default: found out, file by file)",
    )
    add(
        "--ignore-value",
        type=int,
        action="append",
        dest="ignore_values",
        default=[],
        metavar="VALUE",
        help="of mask pixels that belong to no cell; again for more",
    )
    add(
        "--invert",
        action=argparse.BooleanOptionalAction,
        help="dark is cell; with --no-invert bright is, unchecked (default: bright)",
    )
    add("--threshold", type=float, help="foreground from this grey value on (masks not binary)")
    add("--max-value", type=float, help="what is white in images of more than 8 bits")
    add("--connectivity", type=int, default=8, help="4 or 8: which pixels touch (default 8)")
    add("--min-area", type=int, default=16, help="px; drop smaller components (default 16)")
    add("--fill-holes", action="store_true", help="give enclosed background to its cell")
    add("--split-clumps", action="store_true", help="cut merged cells apart at their necks")
    add("--polygons", action="store_true", help="outlines instead of RLE; holes are lost")


def _add_splits(add: Callable[..., Any]) -> None:
    """Which images are used, and for what."""
    add("--splits", metavar="PATH", help="lists of names: a folder of train.txt, val.txt, test.txt")
    add("--val-fraction", type=float, default=0.3, help="of the train folder (default 0.3)")
    add("--test-fraction", type=float, default=0.0, help="where there is no test folder")
    add("--seed", type=int, default=42, help="of splits, folds and --max-images (default 42)")
    add("--folds", type=int, default=0, help="also write K cross-validation folds")
    add("--max-images", type=int, help="at most so many pairs of each folder")
    add("--strict", action="store_true", help="any skipped file is an error; write nothing")


def take_sources(arguments: dict[str, Any]) -> tuple[dict[str, Any], Any]:
    """What the flags of `add_sources` say, taken out of ``arguments``: folders, annotations.

    ``--labels`` become the masks, and ``mask_kind`` then says so.
    """
    from bccd_d2.data.convert.annotated_pairs import source_of

    source = source_of(arguments)
    labels = arguments.pop("labels")
    if labels:
        arguments |= {"masks": labels, "mask_kind": "labels"}
    codes = arguments.pop("classes", None)
    if codes is not None:
        from bccd_d2.data.convert.class_masks import read_class_codes

        if labels:
            raise ValueError("--classes says what values are; with --labels each is a cell")
        arguments["classes"] = read_class_codes(codes)
    return {name: arguments.pop(name) for name in ("root", "images", "masks")}, source


def _take_types(arguments: dict[str, Any]) -> Any:
    """What ``--types`` or ``--type-points`` names, taken out of ``arguments``, with its classes."""
    from bccd_d2.data.convert.types import TypeSource

    given = {
        option: path
        for option, flag in (("boxes", "types"), ("points", "type_points"))
        if (path := arguments.pop(flag)) is not None
    }
    if len(given) > 1:
        raise ValueError("give --types or --type-points, not both")
    if not given:
        return None
    ((option, path),) = given.items()
    return TypeSource(option, path, arguments.pop("classes", None))


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: files were skipped; 2: nothing was written."""
    from bccd_d2.data.convert.run import ConvertOptions, convert

    arguments = vars(args)
    types = _take_types(arguments)
    places, source = take_sources(arguments)
    places["out"] = arguments.pop("out")
    arguments["workers"] = arguments.pop("processes")
    arguments["ignore_values"] = tuple(arguments["ignore_values"])
    options = ConvertOptions(**arguments)
    report = convert(**places, options=options, progress=True, annotations=source, types=types)
    print(report.text)
    for split, counts in report.counts.items():
        print(f"{split}: {counts['images']} images, {counts['cells']} cells: {report.files[split]}")
    print(f"wrote {report.files['dataset']} and {report.files['audit']}")
    if report.skips:
        print(f"{len(report.skips)} file(s) skipped, listed above and in {report.files['audit']}")
    return 1 if report.skips else 0
