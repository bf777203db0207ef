"""Draw synthetic blood smears with masks in the layout of the BCCD dataset with masks.

bccd smears --out datasets/smears
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def _size(text: str) -> tuple[int, int]:
    """(height, width) from "WIDTHxHEIGHT"."""
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdigit() or not height.isdigit():
        raise argparse.ArgumentTypeError(f"wanted WIDTHxHEIGHT such as 1600x1200, got {text!r}")
    return int(height), int(width)


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("smears", __doc__)
    common.add_out(parser, "folder to draw into")
    add = parser.add_argument
    add("--train", type=int, default=40, metavar="N", help="training images (default 40)")
    add("--test", type=int, default=10, metavar="N", help="test images (default 10)")
    add("--seed", type=int, default=0, help="same seed, same files (default 0)")
    add(
        "--size",
        type=_size,
        default=(1200, 1600),
        metavar="WIDTHxHEIGHT",
        help="pixels (default 1600x1200)",
    )
    add("--format", choices=("png", "jpg", "mixed"), default="png", help="of the images")
    add("--cells", type=int, metavar="N", help="cells per image, 0 to 190 (default: varied)")
    common.add_processes(parser, None, "--workers")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.synth.dataset import write_dataset

    root = write_dataset(
        args.out,
        n_train=args.train,
        n_test=args.test,
        seed=args.seed,
        size=args.size,
        image_format=args.format,
        n_cells=args.cells,
        workers=args.processes,
    )
    print(f"{args.train} training and {args.test} test smears with masks in {root}")
