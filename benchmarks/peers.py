"""Seconds an image of the shipped model against Cellpose, StarDist and R50-FPN, in one run.

    python benchmarks/peers.py --images FOLDER \\
        --cellpose CELLPOSE_ENV/bin/python WEIGHTS 103 0 0.4 \\
        --stardist STARDIST_ENV/bin/python MODEL_FOLDER

Each method is a process of its own, in the Python given for it, and loads its model before the
clock starts. They answer the same decoded images in turn, alone, from an (H, W, 3) uint8 array to
cells at full size; what a method does to the image before its network belongs to its time. The
first image does not count. Cellpose's file is a state dict of CPnet([2, 32, 64, 128, 256], 3, 3),
followed by the cells' diameter in px, its cell probability and its flow threshold; by default it
follows flows at full size, with resample=False where its network computed them. StarDist's is a
model folder with weights_best.h5 and thresholds.json, applied at --stardist-scale.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS",
           "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")  # fmt: skip


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", type=Path, help="folder of images; default: drawn smears of 1600x1200")
    add("--count", type=int, default=6, help="images, the first of which does not count")
    add("--threads", type=int, nargs="+", default=[1])
    add("--weights", default="", help="our model as in bccd predict; default: the shipped")
    add("--bf16", action="store_true", help="also ours with its network in bfloat16")
    add("--cellpose", nargs=5, metavar=("PYTHON", "FILE", "PX", "CELL", "FLOW"))
    add("--stardist", nargs=2, metavar=("PYTHON", "FOLDER"))
    add("--stardist-scale", default="0.5", help="its pixels for an image pixel (0.5)")
    add("--no-r50", action="store_true", help="leave R50-FPN Mask R-CNN out")
    add("--serve", nargs="+", help=argparse.SUPPRESS)
    return parser


def ours(weights: str, precision: str) -> Callable[[Any], int]:
    """The model as `load_pretrained` gives it."""
    from bccd_d2 import load_pretrained

    model = load_pretrained(weights, device="cpu", precision=precision)
    return lambda image: len(model.predict(image))


def r50() -> Callable[[Any], int]:
    """detectron2's R50-FPN Mask R-CNN, random weights, 100 masks, at half resolution."""
    import cv2
    import torch
    from inference import peer_model

    model = peer_model(100, "cpu")

    def answer(image: Any) -> int:
        height, width = image.shape[:2]
        small = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        tensor = torch.from_numpy(small).permute(2, 0, 1).contiguous()
        with torch.inference_mode():
            (found,) = model([{"image": tensor, "height": height, "width": width}])
        return len(found["instances"])

    return answer


def cellpose(file: str, diameter: str, cell: str, flow: str, grid: str) -> Callable[[Any], int]:
    """Cellpose 3's network on the green channel; flows followed on the "full" or "coarse" grid."""
    import torch
    from cellpose import models

    model = models.CellposeModel(gpu=False, pretrained_model=False)
    net = models.CPnet([2, 32, 64, 128, 256], 3, sz=3, mkldnn=False, max_pool=True, diam_mean=32.0)
    net.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    model.net, model.diam_mean, model.diam_labels = net.eval(), 32.0, 32.0

    options = {
        "diameter": float(diameter),
        "cellprob_threshold": float(cell),
        "flow_threshold": float(flow),
        "resample": grid == "full",
        "channels": [0, 0],
        "batch_size": 1,
    }
    return lambda image: int(model.eval(image[..., 1], **options)[0].max())


def stardist(folder: str, scale: str) -> Callable[[Any], int]:
    """StarDist on three channels, its labels brought back to full size."""
    import numpy as np
    from csbdeep.utils import normalize
    from PIL import Image
    from stardist.models import StarDist2D

    place = Path(folder)
    model = StarDist2D(None, name=place.name, basedir=str(place.parent))

    def answer(image: Any) -> int:
        size = (round(image.shape[1] * float(scale)), round(image.shape[0] * float(scale)))
        small = np.asarray(Image.fromarray(image).resize(size, Image.BOX))
        given = normalize(small, 1, 99.8, axis=(0, 1, 2)).astype(np.float32)
        labels = model.predict_instances(given)[0].astype(np.int32)
        full = Image.fromarray(labels).resize(image.shape[1::-1], Image.NEAREST)
        return int(np.asarray(full).max())

    return answer


def serve(name: str, given: Sequence[str], threads: int) -> int:
    """Answer the array files named on stdin, one a line, with seconds and cells as JSON."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints must not stand between the answers
    import numpy as np

    if name != "stardist":
        import cv2
        import torch

        torch.set_num_threads(threads)
        cv2.setNumThreads(threads)
    method = {"ours": ours, "r50": r50, "cellpose": cellpose, "stardist": stardist}[name](*given)
    print("ready", file=out, flush=True)
    for line in sys.stdin:
        image = np.load(line.strip())
        start, start_cpu = time.perf_counter(), time.process_time()
        cells = method(image)
        record = {"s": time.perf_counter() - start, "cpu": time.process_time() - start_cpu}
        print(json.dumps(record | {"cells": cells}), file=out, flush=True)
    return 0


def write_arrays(args: argparse.Namespace, folder: Path) -> list[Path]:
    """The images as .npy files, decoded."""
    import numpy as np

    from bccd_d2.inference.batch.sources import find_images
    from bccd_d2.io.images import read_image
    from bccd_d2.synth.smear import draw_smear

    if args.images:
        images = [read_image(path) for path in find_images([args.images]).images[: args.count]]
    else:
        images = [draw_smear(i, size=(1200, 1600), n_cells=90).image for i in range(args.count)]
    paths = [folder / f"{number}.npy" for number in range(len(images))]
    for path, image in zip(paths, images, strict=True):
        np.save(path, image)
    return paths


def start_all(args: argparse.Namespace, threads: int) -> dict[str, subprocess.Popen]:
    """One process a method, each with its model loaded."""
    asked = {"ours": (sys.executable, ["ours", args.weights, "fp32"])}
    if args.bf16:
        asked["ours, bf16"] = (sys.executable, ["ours", args.weights, "bf16"])
    if args.cellpose:
        for name, grid in (("Cellpose", "full"), ("Cellpose, resample=False", "coarse")):
            asked[name] = (args.cellpose[0], ["cellpose", *args.cellpose[1:], grid])
    if args.stardist:
        asked["StarDist"] = (args.stardist[0], ["stardist", args.stardist[1], args.stardist_scale])
    if not args.no_r50:
        asked["R50-FPN Mask R-CNN"] = (sys.executable, ["r50"])
    environment = os.environ | {name: str(threads) for name in THREADS}
    environment |= {"CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "2"}
    started = {}
    for name, (python, call) in asked.items():
        command = [python, __file__, "--threads", str(threads), "--serve", *call]
        started[name] = subprocess.Popen(command, env=environment, text=True,
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # fmt: skip
    for name, process in started.items():
        if process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"{name} did not start; what it said is above")
    return started


def ask(process: subprocess.Popen, path: Path) -> dict[str, float]:
    """One method's answer to one image."""
    process.stdin.write(f"{path}\n")
    process.stdin.flush()
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"a method ended at {path.name}; what it said is above")
    return json.loads(line)


def main(argv: Sequence[str] | None = None) -> int:
    """Print a table of medians over the images, ratios to ours."""
    args = get_parser().parse_args(argv)
    if args.serve:
        return serve(args.serve[0], args.serve[1:], args.threads[0])
    print("| threads | | cells | s an image | CPU s per image | ratio to ours | of CPU s |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        paths = write_arrays(args, Path(folder))
        for threads in args.threads:
            processes = start_all(args, threads)
            answers = {name: [] for name in processes}
            for path in paths:
                for name, process in processes.items():
                    answers[name].append(ask(process, path))
            for process in processes.values():
                process.stdin.close()
                process.wait()
            report(threads, answers)
    return 0


def report(threads: int, answers: dict[str, list[dict[str, float]]]) -> None:
    """A row a method."""
    rows = {}
    for name, records in answers.items():
        counted = records[1:] or records
        rows[name] = [statistics.median(r[key] for r in counted) for key in ("cells", "s", "cpu")]
    _, our_wall, our_cpu = rows["ours"]
    for name, (cells, wall, cpu) in rows.items():
        ratios = f"{wall / our_wall:.2f} | {cpu / our_cpu:.2f}"
        print(f"| {threads} | {name} | {cells:.0f} | {wall:.2f} | {cpu:.2f} | {ratios} |")


if __name__ == "__main__":
    raise SystemExit(main())
