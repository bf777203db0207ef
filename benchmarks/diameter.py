"""How well the size of cells is estimated, on converted datasets of masks, boxes or points.

  python benchmarks/diameter.py --dataset datasets/pbc --dataset datasets/chula
  python benchmarks/diameter.py --dataset datasets/sample --sizes 15 25 50 100 175 250

The true diameter of an image is the median over the annotated cells that the border does not cut:
of masks that of the disc of equal area, of boxes the root of width times height. Points say no
size: there it is the median outline that holds one point, at the size at which most points lie
alone in an outline. With --sizes each image is also resized so that its cells have that many px.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.masks.labels import disc_diameter

TRIED = (16.0, 23.0, 32.0, 45.0, 64.0, 90.0, 128.0)  # px, for points
BEYOND = 1.4


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", action="append", required=True, help="converted dataset; again for more")
    add("--split", default="val", help="of each of them (default val)")
    add("--images", type=int, default=0, help="at most so many of each (default: all)")
    add("--only", nargs="+", default=[], help="kinds of boxes that count, such as RBC (all)")
    add("--sizes", type=float, nargs="+", default=[], help="px to resize the cells to")
    add("--weights", default="", help="a model (default: the shipped one)")
    return parser


def true_images(folder: str, split: str, only: Sequence[str]) -> tuple[str, list[Any]]:
    """The kind of a dataset's annotations and the images of its split."""
    from bccd_d2.data.catalog import read_description
    from bccd_d2.evaluation.boxes import TrueBoxes
    from bccd_d2.evaluation.truth import TrueImage, read_true_points, read_truth
    from bccd_d2.masks.coco import read_coco

    description = read_description(folder)
    kind = description.get("annotations", "masks")
    path = Path(folder) / description["splits"][split]["json"]
    if kind != "boxes":
        read = read_truth if kind == "masks" else read_true_points
        return kind, list(read(path).values())
    images = []
    for image in read_coco(path):
        rows = [row for row in image.annotations if not only or row.get("category") in only]
        corners = np.array([row["bbox"] for row in rows], dtype=float).reshape(-1, 4)
        corners[:, 2:] += corners[:, :2]
        boxes = TrueBoxes(corners, np.zeros((0, 4)), image.size)
        images.append(TrueImage(image.entry["file_name"], boxes, image.size))
    return kind, images


def true_diameter(kind: str, truth: Any, image: np.ndarray, model: Any) -> float | None:
    """The image's true diameter in px, see the top; None where no annotation tells."""
    if kind == "points":
        return _diameter_of_points(truth.cells, image, model)
    if kind == "masks":
        whole = ~truth.cells.touches_border()
        sizes = disc_diameter(truth.cells.areas[whole])
    else:
        corners, (height, width) = truth.cells.boxes, truth.image_size
        whole = (corners[:, :2] > 1).all(1) & (corners[:, 2] < width - 1)
        whole &= corners[:, 3] < height - 1
        sides = corners[whole, 2:] - corners[whole, :2]
        sizes = np.sqrt(sides.prod(axis=1))
    return float(np.median(sizes)) if len(sizes) else None


def _diameter_of_points(points: np.ndarray, image: np.ndarray, model: Any) -> float | None:
    """Median diameter of the outlines that hold one point, at the size where most do."""
    most, found = 0, None
    for size in TRIED:
        cells = model.predict(image, diameter=size)
        labels = cells.to_label_map()
        x, y = points.round().astype(int).T
        inside = labels[y.clip(0, labels.shape[0] - 1), x.clip(0, labels.shape[1] - 1)]
        alone = np.bincount(inside, minlength=len(cells) + 1)[1:] == 1
        areas = np.bincount(labels.ravel(), minlength=len(cells) + 1)[1:]
        if alone.sum() > most:
            most, found = int(alone.sum()), float(np.median(disc_diameter(areas[alone])))
    return found


def resized(image: np.ndarray, factor: float) -> np.ndarray:
    """The image with sides times ``factor``."""
    import cv2

    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=how)


def measure(
    folder: str, images: Sequence[Any], kind: str, sizes: Sequence[float], model: Any
) -> list[str]:
    """Rows of the table of one dataset."""
    from bccd_d2.io.dataset_file import image_root
    from bccd_d2.io.images import read_image

    errors: dict[float, list[float | None]] = {size: [] for size in (0.0, *sizes)}
    for truth in images:
        image = read_image(image_root(folder) / truth.file_name)
        true = true_diameter(kind, truth, image, model)
        if true is None:
            continue
        for size, found in errors.items():
            factor = size / true if size else 1.0
            seen = image if factor == 1 else resized(image, factor)
            px = model.estimate_diameter(seen).px
            found.append(None if px is None else float(np.log(px / (true * factor))))
    name = Path(folder).name
    return [row(name, kind, size, found) for size, found in errors.items()]


def row(name: str, kind: str, size: float, errors: Sequence[float | None]) -> str:
    """One line: errors as factors minus 1, either way."""
    known = np.expm1(np.abs([error for error in errors if error is not None]))
    at = f"{size:g} px" if size else "as it is"
    text = f"| {name} | {kind} | {at} | {len(errors)} | {len(errors) - len(known)} |"
    if not len(known):
        return text + " | | | |"
    middle, high, worst = np.median(known), np.percentile(known, 95), known.max()
    beyond = int((known > BEYOND - 1).sum())
    return text + f" {middle:.1%} | {high:.1%} | {worst:.0%} | {beyond} |"


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    arguments = get_parser().parse_args(argv)
    import torch

    from bccd_d2 import load_pretrained

    torch.set_num_threads(1)
    model = load_pretrained(arguments.weights) if arguments.weights else load_pretrained()
    if model.diameter is None:
        print(f"model {model.name} estimates no size", file=sys.stderr)
        return 2
    print("| dataset | truth | cells | images | none | median error | 95% | worst | beyond 40% |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for folder in arguments.dataset:
        kind, images = true_images(folder, arguments.split, arguments.only)
        images = images[: arguments.images or None]
        lines = measure(folder, images, kind, arguments.sizes, model)
        print("\n".join(lines), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
