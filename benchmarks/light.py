"""What a bare installation costs: size, start, seconds an image by stage, and how backends agree.

    python benchmarks/light.py --images SAMPLE/test/original

Processor seconds of this process, one thread. Run it with the Python of the installation.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from bccd_d2 import load_pretrained
from bccd_d2.inference.batch.predict import BatchOptions, predict_batch
from bccd_d2.io.images import read_image


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """Processor seconds of a call, the mean of several after one that warms up."""
    work()
    start = time.process_time()
    for _ in range(times):
        work()
    return (time.process_time() - start) / times


def start_seconds(call: list[str]) -> float:
    """Wall seconds of a fresh Python, the least of five."""
    found = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *call], check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return min(found)


def installed_megabytes() -> float:
    """Of the environment's packages, without Python's bytecode."""
    files = Path(importlib.util.find_spec("numpy").origin).parents[1].rglob("*")
    return sum(f.stat().st_size for f in files if f.is_file() and f.suffix != ".pyc") / 1e6


def model_rows(images: list[np.ndarray], weights: str) -> list[tuple[str, float]]:
    """Seconds an image of each backend that is installed, from pixels to cells, and its network."""
    rows, counts = [], {}
    known = [("onnx", "fp32"), ("openvino", "fp32"), ("openvino", "bf16"), ("torch", "fp32")]
    libraries = {"onnx": "onnxruntime", "openvino": "openvino", "torch": "detectron2"}
    for backend, precision in known:
        if importlib.util.find_spec(libraries[backend]) is None:
            continue
        model = load_pretrained(weights, device="cpu", backend=backend, precision=precision)
        options = model.options(scale=1.0)
        spent = [cpu_seconds(lambda i=i, m=model, o=options: m.predict_with(i, o), 2)
                 for i in images]  # fmt: skip
        rows.append((f"pixels to cells, {backend} {precision}", float(np.mean(spent))))
        counts[f"{backend} {precision}"] = [len(model.predict_with(i, options)) for i in images]
        if backend != "torch":
            one = model.models[0]
            given = [one._input(image, 1.0, None)[None] for image in images]
            net = [cpu_seconds(lambda x=x, m=one: m._network(images=x), 2) for x in given]
            rows.append((f"  of that the network, {backend} {precision}", float(np.mean(net))))
    print("cells:", {name: sum(found) for name, found in counts.items()})
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, type=Path)
    parser.add_argument("--weights", default="any_smear")
    parser.add_argument("--count", type=int, default=8)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    files = sorted(path for path in args.images.iterdir() if path.is_file())[: args.count]
    images = [read_image(file) for file in files]
    print(platform.processor() or platform.machine(), platform.python_version(),
          {n: importlib.metadata.version(n) for n in ("onnxruntime", "numpy")})  # fmt: skip
    rows = [
        ("installed, MB", installed_megabytes()),
        ("import bccd_d2, s", start_seconds(["-c", "import bccd_d2"])),
        ("bccd predict --help, s", start_seconds(["-m", "bccd_d2", "predict", "--help"])),
        *model_rows(images, args.weights),
    ]
    with tempfile.TemporaryDirectory() as folder:
        start = time.process_time()
        given = tuple(map(str, files))
        predict_batch(BatchOptions(given, folder, (args.weights,), scale=1.0, progress=False))
        rows.append(("bccd predict, all outputs", (time.process_time() - start) / len(files)))
    for name, value in rows:
        print(f"| {name} | {value:.3f} |")


if __name__ == "__main__":
    main()
