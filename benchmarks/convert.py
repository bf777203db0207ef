"""Converter against a naive loop on the same images, in one run.

  python benchmarks/convert.py --root "BCCD Dataset with mask" --images 30
  python benchmarks/convert.py                  (synthetic smears)

The naive loop does the least that gives the same annotations, in one process: label the mask, make
one full-size bitmap a cell, encode it with pycocotools, write the json. The converter does all it
does for a user: it also decodes the images, writes label PNGs and audits both.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", help="dataset in BCCD's layout; default: synthetic smears")
    parser.add_argument("--images", type=int, default=30, help="pairs of the train folder")
    parser.add_argument("--workers", type=int, help="processes of the converter (default: cores)")
    return parser


def naive(pairs: Sequence[Any], target: Path) -> list[dict[str, Any]]:
    """Annotations of all pairs, one full-size bitmap a cell; also written as json."""
    import cv2
    import numpy as np
    from PIL import Image
    from pycocotools import mask as coco_mask

    annotations = []
    for image_id, pair in enumerate(pairs, start=1):
        mask = (np.asarray(Image.open(pair.mask))[..., 0] == 255).astype(np.uint8)
        count, label_map = cv2.connectedComponents(mask, connectivity=8)
        for label in range(1, count):
            bitmap = np.asfortranarray((label_map == label).astype(np.uint8))
            area = int(bitmap.sum())
            if area < 16:
                continue
            rle = coco_mask.encode(bitmap)
            box = coco_mask.toBbox(rle).tolist()
            rle["counts"] = rle["counts"].decode("ascii")
            annotations.append(
                {"image_id": image_id, "segmentation": rle, "area": area, "bbox": box}
            )
    target.write_text(json.dumps({"annotations": annotations}))
    return annotations


def cpu_time() -> float:
    """Seconds of CPU so far, finished children included."""
    parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(sum(resource.getrusage(part)[:2]) for part in parts)


def peak_memory() -> tuple[float, float]:
    """Peak resident memory so far in MB: this process, its largest finished child."""
    unit = 2**20 if sys.platform == "darwin" else 2**10
    parts = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    own, child = (resource.getrusage(part).ru_maxrss / unit for part in parts)
    return own, child


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print; 1 when the two disagree on an annotation."""
    arguments = get_parser().parse_args(argv)
    import cv2

    from bccd_d2.data.convert.run import ConvertOptions, convert

    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        root = Path(arguments.root) if arguments.root else draw(work / "root", arguments.images)
        folders = {"images": root / "train/original", "masks": root / "train/mask"}
        times, memory = {}, {}
        for count in (max(arguments.images // 3, 1), arguments.images):
            options = ConvertOptions(
                val_fraction=0, max_images=count, workers=arguments.workers
            )
            start, start_cpu = time.perf_counter(), cpu_time()
            report = convert(out=work / "out", options=options, **folders, progress=True)
            times[count], memory[count] = time.perf_counter() - start, peak_memory()
            fast_cpu = cpu_time() - start_cpu
        ours = json.loads(report.files["train"].read_text("utf-8"))
        pairs = [Pairs(folders, image["file_name"]) for image in ours["images"]]
        start, start_cpu = time.perf_counter(), cpu_time()
        theirs = naive(pairs, work / "naive.json")
        slow, slow_cpu = time.perf_counter() - start, cpu_time() - start_cpu
    same = sorted(map(key, ours["annotations"])) == sorted(map(key, theirs))
    images, cells = len(pairs), len(theirs)
    fast = times[arguments.images]
    print(f"{images} images, {cells} cells; the same masks, areas and boxes: {same}")
    for name, wall, cpu in (("naive loop", slow, slow_cpu), ("converter", fast, fast_cpu)):
        print(
            f"{name:<12}{wall:7.2f} s  {1000 * wall / images:5.0f} ms an image, "
            f"{1000 * cpu / images:5.0f} ms of CPU"
        )
    print(f"ratio       {slow / fast:7.2f}")
    for count, (own, child) in memory.items():
        print(f"peak memory of {count} images: {own:.0f} MB, largest worker {child:.0f} MB")
    return 0 if same else 1


class Pairs:
    """Path of the mask that belongs to an image of the converted dataset."""

    def __init__(self, folders: dict[str, Path], file_name: str) -> None:
        self.mask = folders["masks"] / f"{Path(file_name).stem}.png"


def key(annotation: dict[str, Any]) -> tuple[str, int, list[float]]:
    """What both ways must agree on."""
    rle = annotation["segmentation"]
    return rle["counts"], annotation["area"], [float(v) for v in annotation["bbox"]]


def draw(root: Path, count: int) -> Path:
    """Synthetic smears of the real dataset's size."""
    from bccd_d2.synth.dataset import write_dataset

    write_dataset(root, n_train=count, n_test=0, seed=0)
    return root


if __name__ == "__main__":
    sys.exit(main())
