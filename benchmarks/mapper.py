"""Samples a second of our mapper and of detectron2's own, on the same crops of the same images.

    python benchmarks/mapper.py --dataset OUT

One process, one thread. Both read the image, cut a square crop, shrink it, mirror it at random and
jitter brightness, contrast and saturation; detectron2's takes the cells from RLE annotations
(`mask_format="bitmask"`), ours from the label map. The crop is cut before it is resized on both
sides, which is detectron2's fastest order.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", help="converted folder; default: BCCD_DATASET and the like")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=2, help="passes over the images, each side")
    parser.add_argument("--crop", type=int, default=320, help="side in the detector's frame")
    parser.add_argument("--scale", type=float, default=0.5, help="detector px per image px")
    return parser


def stock_mapper(crop: int, scale: float) -> Callable:
    """detectron2's DatasetMapper with the same crop, size, flips and colour jitter as ours."""
    from detectron2.data import DatasetMapper
    from detectron2.data import transforms as T

    source = round(crop / scale)
    steps = [
        T.RandomCrop("absolute", (source, source)),
        T.Resize((crop, crop)),
        T.RandomFlip(horizontal=True, vertical=False),
        T.RandomBrightness(0.85, 1.15),
        T.RandomContrast(0.85, 1.15),
        T.RandomSaturation(0.8, 1.2),
    ]
    return DatasetMapper(
        is_train=True, augmentations=steps, image_format="RGB", use_instance_mask=True,
        instance_mask_format="bitmask",
    )  # fmt: skip


def our_mapper(crop: int, scale: float, cache_mb: float) -> Callable:
    """`LabelMapMapper` doing the same."""
    from bccd_d2.data.augment.photometric import PhotometricOptions
    from bccd_d2.data.mapper import LabelMapMapper, MapperOptions

    options = MapperOptions(
        image_scale=scale,
        scale_range=(1.0, 1.0),
        crop_size=(crop, crop),
        rotate90=False,
        photometric=PhotometricOptions(hue=0, blur_probability=0, noise_probability=0),
        cache_mb=cache_mb,
        uniform_probability=1.0,
        min_visible=0.0,
        min_pixels=1,
    )
    return LabelMapMapper(options, seed=0)


def measure(mapper: Callable, records: list[dict], rounds: int) -> tuple[float, float]:
    """Samples a second, and the mean number of cells in a sample."""
    cells = 0
    start = time.perf_counter()
    for _ in range(rounds):
        cells += sum(len(mapper(record)["instances"]) for record in records)
    count = rounds * len(records)
    return count / (time.perf_counter() - start), cells / count


def main(argv: Sequence[str] | None = None) -> int:
    """Print samples a second of the three, and the two ratios."""
    args = get_parser().parse_args(argv)
    import cv2
    import torch

    from bccd_d2.data.catalog import find_dataset, load_split

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    records = load_split(args.dataset or find_dataset(), args.split)[: args.images]
    cached = our_mapper(args.crop, args.scale, cache_mb=1e5)
    measure(cached, records, 1)
    sides = {
        "detectron2 DatasetMapper": stock_mapper(args.crop, args.scale),
        "LabelMapMapper, no cache": our_mapper(args.crop, args.scale, cache_mb=0),
        "LabelMapMapper, cached": cached,
    }
    stock = None
    print(f"{len(records)} images, {args.rounds} rounds, crop {args.crop} px at {args.scale}")
    for name, mapper in sides.items():
        mapper(records[0])
        speed, cells = measure(mapper, records, args.rounds)
        stock = stock or speed
        print(f"{name:26s} {speed:7.1f} samples/s  {speed / stock:6.1f}x  {cells:5.1f} cells")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
