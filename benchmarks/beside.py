"""Seconds an image of one model against another's, both seeing cells of the same size.

    python benchmarks/beside.py --images SAMPLE/test/original --cells 96 any_smear cpu_best

Processor seconds of this process, one thread, from pixels to cells: with types, and outlines alone.
The models take turns on each image, so that a busy machine slows both; the least of the rounds
counts. Backends that are not installed are left out.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from bccd_d2 import load_pretrained
from bccd_d2.io.images import read_image
from bccd_d2.models.backend import installed
from bccd_d2.models.model import CellModel


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("models", nargs=2, metavar="MODEL", help="a model with a diameter, and that to compare to")
    add("--images", required=True, type=Path, help="folder of images")
    add("--cells", required=True, type=float, metavar="PX", help="a usual cell in them, across")
    add("--count", type=int, default=5, help="at most so many images (default 5)")
    add("--rounds", type=int, default=3, help="after one that does not count (default 3)")
    return parser


def seconds(calls: list[Callable[[], object]], rounds: int) -> list[float]:
    """Processor seconds of each call, which take turns; the least of the rounds after the first."""
    found = np.zeros((rounds + 1, len(calls)))
    for turn in found:
        for place, call in enumerate(calls):
            start = time.process_time()
            call()
            turn[place] = time.process_time() - start
    return found[1:].min(axis=0).tolist()


def calls_of(model: CellModel, image: np.ndarray, zoom: float) -> list[Callable[[], object]]:
    """The answer of a model with types, and its outlines alone."""
    return [
        lambda: model([image], zoom=zoom),
        lambda: model.outlines([image], zoom=zoom, whole=None),
    ]


def main() -> None:
    """Print the table."""
    args = get_parser().parse_args()
    cv2.setNumThreads(1)
    files = sorted(path for path in args.images.iterdir() if path.is_file())[: args.count]
    images = [read_image(file) for file in files]
    print("| backend | model | s, with types | of the other's | s, outlines | of the other's |")
    print("| --- | --- | --- | --- | --- | --- |")
    for backend in installed():
        pair = [load_pretrained(name, device="cpu", backend=backend).models[0]
                for name in args.models]  # fmt: skip
        if pair[0].diameter is None:
            raise SystemExit(f"error: {args.models[0]} does not say which size of cells it knows")
        zoom = pair[0].diameter / args.cells
        zooms = [zoom, zoom * pair[0]._scale / pair[1]._scale]
        spent = np.mean([
            seconds([c for m, z in zip(pair, zooms, strict=True) for c in calls_of(m, image, z)],
                    args.rounds)
            for image in images
        ], axis=0).reshape(2, 2)  # fmt: skip
        for name, (typed, outlines) in zip(args.models, spent, strict=True):
            print(f"| {backend} | {name} | {typed:.3f} | {typed / spent[1, 0]:.2f} "
                  f"| {outlines:.3f} | {outlines / spent[1, 1]:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
