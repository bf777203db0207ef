"""Many images: seconds and memory of `bccd predict` by the number of processes and of images.

    python benchmarks/scale.py --images SAMPLE/test/original --counts 20 60 --processes 1 2

Images are linked as often as needed. Seconds are those beyond the start, from the difference of two
numbers of images: by the clock, and of the processor, of all processes together. Memory is the peak
of the largest process. On a machine with other work only the processor's seconds can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--images", required=True, type=Path, help="folder of images")
    add("--counts", nargs=2, type=int, default=[20, 60], help="numbers of images (default 20 60)")
    add("--processes", nargs="+", type=int, default=[1, 2], help="default 1 2")
    add("--weights", default="any_smear", help="a model (default any_smear)")
    add("--precision", default="fp32", help="of its networks (default fp32)")
    return parser


def measured(call: list[str]) -> None:
    """Run a command and print what it took; the only child of its process."""
    import resource

    start = time.perf_counter()
    subprocess.run(call, check=True, stdout=subprocess.DEVNULL)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    unit = 1 if sys.platform == "darwin" else 1024
    took = {"wall": time.perf_counter() - start, "cpu": used.ru_utime + used.ru_stime,
            "mb": used.ru_maxrss * unit / 1e6}  # fmt: skip
    print(json.dumps(took))


def predict(folder: Path, count: int, processes: int, args: argparse.Namespace) -> dict:
    """What `bccd predict` with all outputs took on so many images."""
    files = sorted(path for path in args.images.iterdir() if path.is_file())
    given, out = folder / f"{count}", folder / f"out_{count}_{processes}"
    given.mkdir(exist_ok=True)
    for number in range(count):
        link, source = given / f"{number:05d}{files[0].suffix}", files[number % len(files)]
        if not link.exists():
            link.symlink_to(source.resolve())
    call = [sys.executable, "-m", "bccd_d2", "predict", "--images", str(given), "--out", str(out),
            "--weights", args.weights, "--precision", args.precision, "--scale", "1", "--quiet",
            "--processes", str(processes)]  # fmt: skip
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import scale; "
    worker = [sys.executable, "-c", code + "scale.measured(sys.argv[1:])", *call]
    done = subprocess.run(worker, check=True, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": "1"})  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Print the table."""
    args = get_parser().parse_args()
    few, many = sorted(args.counts)
    print("| processes | images a second | CPU s an image | "
          f"MB, {few} images | MB, {many} images |")  # fmt: skip
    print("| --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for processes in args.processes:
            first, second = (predict(Path(folder), n, processes, args) for n in (few, many))
            more = many - few
            rate = more / (second["wall"] - first["wall"])
            cpu = (second["cpu"] - first["cpu"]) / more
            print(f"| {processes} | {rate:.2f} | {cpu:.3f} | {first['mb']:.0f} "
                  f"| {second['mb']:.0f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
