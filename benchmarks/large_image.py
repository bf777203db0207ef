"""Pixels a second and peak memory of one large image, read and written in windows.

python benchmarks/large_image.py --size 20000 --config-file otsu_watershed
python benchmarks/large_image.py --size 8000 --weights output/cpu_tiny_maskrcnn --images FOLDER

The mosaic is made first, in a temporary folder, of the images of a folder or of synthetic smears,
and its making is not counted. Peak memory is that of a process that does nothing but predict.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

TILE = 512


def get_parser() -> argparse.ArgumentParser:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--size", type=int, default=20000, help="side of the mosaic, px")
    add("--images", type=Path, help="folder of images to lay out; default: synthetic smears")
    add("--weights", nargs="+", default=[], help="as in bccd predict; default: the shipped")
    add("--config-file", default="", help="as in bccd predict")
    add("--save", nargs="+", default=["labels", "coco", "geojson", "csv", "overlay"])
    add("--layout", choices=("tiles", "strips"), default="tiles", help="of the TIFF")
    add("--limit-gb", type=float, default=4.0, help="exit code 1 above this peak memory")
    add("--worker", nargs=2, default=None, help=argparse.SUPPRESS)
    return parser


def bricks(folder: Path | None):
    """Images to lay out side by side, (H, W, 3) uint8 each: a folder's, or eight smears."""
    from bccd_d2.inference.batch.sources import find_images
    from bccd_d2.io.images import read_image
    from bccd_d2.synth.smear import draw_smear

    if folder is not None:
        return [read_image(path) for path in find_images([folder]).images[:24]]
    return [draw_smear(seed=seed, size=(1200, 1600)).image for seed in range(8)]


def write_mosaic(path: Path, size: int, folder: Path | None, layout: str) -> None:
    """A zlib-compressed RGB TIFF of ``size`` x ``size`` px, made row by row."""
    import numpy as np
    import tifffile

    images = bricks(folder)
    high, wide = (min(image.shape[axis] for image in images) for axis in (0, 1))
    padded = -(-size // TILE) * TILE
    columns = -(-padded // wide)

    def rows() -> Iterator[np.ndarray]:
        """Bands of the mosaic, TILE px high."""
        ready = np.zeros((0, columns * wide, 3), np.uint8)
        number = 0
        for _ in range(0, padded, TILE):
            while len(ready) < TILE:
                chosen = [images[(number + i) % len(images)][:high, :wide] for i in range(columns)]
                number += columns + 1
                ready = np.concatenate([ready, np.concatenate(chosen, axis=1)])
            yield ready[:TILE]
            ready = ready[TILE:]

    def tiles() -> Iterator[np.ndarray]:
        for band in rows():
            for left in range(0, padded, TILE):
                yield np.ascontiguousarray(band[:, left : left + TILE])

    def strips() -> Iterator[np.ndarray]:
        for index, band in enumerate(rows()):
            yield np.ascontiguousarray(band[: size - index * TILE, :size])

    shape = {"tile": (TILE, TILE)} if layout == "tiles" else {"rowsperstrip": TILE}
    data = tiles() if layout == "tiles" else strips()
    tifffile.imwrite(path, data, shape=(size, size, 3), dtype=np.uint8, photometric="rgb",
                     compression="zlib", **shape)  # fmt: skip


def work(args: argparse.Namespace) -> int:
    """The process that is measured: predict on one file; prints a line of JSON."""
    import resource

    from bccd_d2._detectron2 import hush_detectron2

    hush_detectron2()
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch

    mosaic, out = args.worker
    options = BatchOptions(
        (mosaic,), out, weights=tuple(args.weights), config_file=args.config_file, device="cpu",
        save=tuple(args.save),
    )  # fmt: skip
    start, before = time.perf_counter(), time.process_time()
    summary = predict_batch(options)
    seconds, processor = time.perf_counter() - start, time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    problems = [failure["reason"] for failure in summary.failures]
    print(json.dumps({"s": seconds, "cpu": processor, "peak": peak, "problems": problems}))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Make the mosaic, predict on it in a process of its own, print what that took."""
    args = get_parser().parse_args(argv)
    if args.worker:
        return work(args)
    with tempfile.TemporaryDirectory() as folder:
        mosaic, out = Path(folder) / "mosaic.tif", Path(folder) / "out"
        write_mosaic(mosaic, args.size, args.images, args.layout)
        given = list(sys.argv[1:] if argv is None else argv)
        call = [sys.executable, __file__, *given, "--worker", str(mosaic), str(out)]
        done = subprocess.run(call, stdout=subprocess.PIPE, text=True, check=True)
        result = json.loads(done.stdout.splitlines()[-1])
        if result["problems"]:
            print(f"error: {result['problems'][0]}", file=sys.stderr)
            return 2
        record = json.loads((out / "run.json").read_text())
        cells = (out / "counts.csv").read_text().splitlines()[1].split(",")[5]
        sizes = {path.parent.name: path.stat().st_size / 1e6 for path in out.rglob("mosaic.*")}
    pixels, gigabytes = args.size**2, result["peak"] / 1e9
    print(f"image          {args.size} x {args.size} px in {args.layout}, {cells} cells")
    print(f"time           {result['s']:.0f} s, processor {result['cpu']:.0f} s")
    print(f"of it          {record['seconds_by_step']}")
    print(f"speed          {pixels / result['s'] / 1e6:.2f} megapixels a second")
    print(f"               {pixels / result['cpu'] / 1e6:.2f} megapixels a processor second")
    print(f"peak memory    {gigabytes:.2f} GB (limit {args.limit_gb:g} GB)")
    print(f"files          { {kind: round(size, 1) for kind, size in sorted(sizes.items())} } MB")
    return int(gigabytes > args.limit_gb)


if __name__ == "__main__":
    sys.exit(main())
