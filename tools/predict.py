"""Find the cells in images of any size and write what a lab can use.

python tools/predict.py --input smears/ --output results
python tools/predict.py --input "a.tif" "b/*.png" --output results --save csv geojson \\
    --pixel-size 0.1 --tta flip
torchrun --nproc-per-node 2 tools/predict.py --input smears/ --output results
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

KINDS = ("labels", "coco", "geojson", "csv", "overlay")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--input", nargs="+", required=True, metavar="PATH", dest="inputs",
        help="images (PNG, JPEG, BMP, TIFF), folders or globs")  # fmt: skip
    add("--output", required=True, help="folder for the results")
    add("--weights", nargs="+", default=[], metavar="MODEL", help="a run's folder, .pth or "
        ".safetensors; several are merged (default: the shipped model)")  # fmt: skip
    add("--config-file", default="", help="YAML file in place of the model's own config")
    add("--device", default="auto", help="cpu, cuda, cuda:1 (default: a GPU where there is one)")
    add("--precision", choices=("fp32", "bf16"), default="fp32",
        help="bf16: faster on a GPU and on CPUs that have it (default fp32)")  # fmt: skip
    add("--save", nargs="+", choices=KINDS, default=KINDS, help="what to write (default: all)")
    add("--score-threshold", type=float, help="0 to 1 (default: the model's own; .05: all found)")
    add("--pixel-size", type=float, help="micrometres a pixel, for tables in micrometres")
    add("--tile", type=int, help="px of a window (default: 1536 above 3 megapixels; 0: never)")
    add("--overlap", type=int, help="px that windows share, more than a cell (default 320)")
    add("--scale", type=float, default=1.0, help=".5 where cells are twice as large as usual (1)")
    add("--tta", default="", help="more views, merged: flip, turn, scales: flip,turn,0.9")
    add("--batch", type=int, default=1, help="windows at once; more pays on a GPU (default 1)")
    add("--label-bits", type=int, choices=(16, 32), help="of label images (default: as needed)")
    add("--keep-overlaps", action="store_true", help="do not share out pixels of two cells")
    add("--resume", action="store_true", help="skip what an earlier run finished likewise")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0; 1: an image failed; 2: bad input; 130: stopped by Ctrl-C."""
    args = vars(get_parser().parse_args(argv))
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    import torch

    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch
    from bccd_d2.training.launch import Processes, launch

    args["progress"] = not args.pop("quiet")
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in args.items()}
    on_gpu = options["device"].startswith("cuda") or (
        options["device"] == "auto" and torch.cuda.is_available()
    )
    try:
        processes = Processes(device="cuda" if on_gpu else "cpu")
        summary = launch(predict_batch, processes, BatchOptions(**options))
    except (KeyError, ValueError, OSError, ImportError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    for failure in summary.failures:
        print(f"failed: {failure['file']}: {failure['reason']}", file=sys.stderr)
    print(f"{summary.done} images done, {summary.skipped} finished before, "
          f"{len(summary.failures)} failed; results in {summary.output}")  # fmt: skip
    return 130 if summary.interrupted else int(bool(summary.failures))


if __name__ == "__main__":
    sys.exit(main())
