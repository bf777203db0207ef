"""Draw synthetic blood smears with masks in the layout of the BCCD dataset with masks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence


def _size(text: str) -> tuple[int, int]:
    """(height, width) from "WIDTHxHEIGHT"."""
    width, cross, height = text.lower().partition("x")
    if not cross or not width.isdigit() or not height.isdigit():
        raise argparse.ArgumentTypeError(f"wanted WIDTHxHEIGHT such as 1600x1200, got {text!r}")
    return int(height), int(width)


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, metavar="ROOT", help="folder to draw into")
    parser.add_argument("--train", type=int, default=40, metavar="N", help="training images")
    parser.add_argument("--test", type=int, default=10, metavar="N", help="test images")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same files")
    parser.add_argument(
        "--size", type=_size, default=(1200, 1600), metavar="WIDTHxHEIGHT", help="pixels"
    )
    parser.add_argument(
        "--format", choices=("png", "jpg", "mixed"), default="png", help="of the images"
    )
    parser.add_argument("--cells", type=int, metavar="N", help="cells an image, 0 to 190; varied")
    parser.add_argument("--workers", type=int, metavar="N", help="processes (default: CPU cores)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Draw the dataset; 0 when it is there, 2 for arguments that cannot be met."""
    parser = get_parser()
    args = parser.parse_args(argv)
    from bccd_d2.synth.dataset import write_dataset

    try:
        root = write_dataset(
            args.out,
            n_train=args.train,
            n_test=args.test,
            seed=args.seed,
            size=args.size,
            image_format=args.format,
            n_cells=args.cells,
            workers=args.workers,
        )
    except (ValueError, OSError) as error:
        parser.error(str(error))
    print(f"{args.train} training and {args.test} test smears with masks in {root}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
