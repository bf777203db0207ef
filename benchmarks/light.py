"""What prediction costs: start, seconds an image by stage and backend, and whether backends agree.

    python benchmarks/light.py --images SAMPLE/test/original --write docs/benchmarks.md

Processor seconds of this process, one thread. ``--write`` puts the table between the marks of a
document. Backends that are not installed are left out.
"""

from __future__ import annotations

import argparse
import importlib.metadata
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
from bccd_d2.models.backend import LIBRARIES, installed

PRECISIONS = {"onnx": ("fp32", "int8"), "openvino": ("fp32", "bf16", "int8"), "torch": ("fp32",)}


def cpu_seconds(work: Callable[[], object], times: int) -> float:
    """Processor seconds of a call, the least of several: other work slows a core that it shares."""
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return min(found)


def start_seconds(call: list[str]) -> float:
    """Wall seconds of a fresh Python, the least of ten."""
    found = []
    for _ in range(10):
        start = time.perf_counter()
        subprocess.run([sys.executable, *call], check=True, capture_output=True)
        found.append(time.perf_counter() - start)
    return min(found)


def model_rows(
    images: list[np.ndarray], weights: str
) -> tuple[list[tuple[str, float]], dict[str, int]]:
    """Seconds an image of each installed backend, from pixels to cells, and its cells in all."""
    rows, counts = [], {}
    for backend, precision in ((b, p) for b in installed() for p in PRECISIONS[b]):
        model = load_pretrained(weights, device="cpu", backend=backend, precision=precision)
        options = model.options(scale=1.0)
        spent = [cpu_seconds(lambda i=i, m=model, o=options: m.predict_with(i, o), 4)
                 for i in images]  # fmt: skip
        rows.append((f"pixels to cells, {backend} {precision}", float(np.mean(spent))))
        cells = [len(model.predict_with(image, options)) for image in images]
        counts[f"{backend} {precision}"] = sum(cells)
        if backend != "torch":
            one = model.models[0]
            given = [one._input(image, 1.0, None)[None] for image in images]
            net = [cpu_seconds(lambda x=x, m=one: m._network(images=x), 5) for x in given]
            rows.append((f"  of that finding, {backend} {precision}", float(np.mean(net))))
    return rows, counts


def batch(files: list[Path], args: argparse.Namespace, precision: str) -> float:
    """Processor seconds an image of `bccd predict` with all outputs, without the start.

    Wants two images: the difference of all images and of one, the least of two.
    """
    spent = {}
    for count in (1, len(files)):
        given = tuple(map(str, files[:count]))

        def work(given: tuple[str, ...] = given) -> None:
            with tempfile.TemporaryDirectory() as folder:
                options = BatchOptions(given, folder, (args.weights,), scale=1.0, progress=False,
                                       precision=precision)  # fmt: skip
                predict_batch(options)

        spent[count] = cpu_seconds(work, 2)
    return (spent[len(files)] - spent[1]) / (len(files) - 1)


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", required=True, type=Path, help="folder of images")
    parser.add_argument("--weights", default="any_smear", help="a model (default any_smear)")
    parser.add_argument("--count", type=int, default=8, help="at most so many images (default 8)")
    parser.add_argument("--write", type=Path, metavar="FILE", help="put the table in this page")
    return parser


def main() -> None:
    """Print the table."""
    args = get_parser().parse_args()
    cv2.setNumThreads(1)
    files = sorted(path for path in args.images.iterdir() if path.is_file())[: args.count]
    images = [read_image(file) for file in files]
    rows = [
        ("Python alone", start_seconds(["-c", "pass"])),
        ("import bccd_d2", start_seconds(["-c", "import bccd_d2"])),
        ("bccd predict --help", start_seconds(["-m", "bccd_d2", "predict", "--help"])),
    ]
    found, cells = model_rows(images, args.weights)
    rows += [*found, *((f"bccd predict, all outputs, {precision}", batch(files, args, precision))
                       for precision in ("fp32", "int8") if len(files) > 1)]  # fmt: skip
    eager = dict(rows).get("pixels to cells, torch fp32")
    lines = [machine(), "", f"| {args.weights}, {len(images)} images | s | of PyTorch's |",
             "| --- | --- | --- |"]  # fmt: skip
    for name, value in rows:
        shown = f"{value / eager:.2f}" if eager and name.startswith("pixels") else ""
        lines.append(f"| {name} | {value:.3f} | {shown} |")
    lines += ["", "Cells found: " + ", ".join(f"{n} {c}" for n, c in cells.items()) + "."]
    print("\n".join(lines))
    if args.write:
        write_between(args.write, "\n".join(lines))


def machine() -> str:
    """The processor and the versions, in a sentence."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    computing = {**LIBRARIES, "torch": "torch"}
    names = [computing[backend] for backend in installed()]
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    processor = names[0] if names else platform.processor()
    return f"{processor}, {os.cpu_count()} cores, Python {platform.python_version()}, {versions}."


def write_between(path: Path, text: str) -> None:
    """Put a text between this benchmark's marks in a document."""
    before, begin, rest = path.read_text(encoding="utf-8").partition("<!-- light.py begins -->\n")
    _, end, after = rest.partition("<!-- light.py ends -->")
    if not end:
        raise ValueError(f"{path} has no marks of light.py")
    path.write_text(f"{before}{begin}{text}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
