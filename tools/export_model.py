"""Write a model's network as TorchScript, and prove that it answers as the model does.

python tools/export_model.py --output model.pt --size 1200 1600
python tools/export_model.py --weights RUN --output model.pt --size 1200 1600
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--output", type=Path, required=True, help="file to write")
    add("--weights", default="", help="a run's folder, .pth or .safetensors (default: the shipped)")
    add("--config-file", default="", help="YAML file in place of the model's own config")
    add("--size", type=int, nargs=2, default=(1200, 1600), metavar=("HEIGHT", "WIDTH"),
        help="px of the images it is for (default 1200 1600)")  # fmt: skip
    add("--device", default="cpu", help="where it is to run: cpu or cuda (default cpu)")
    add("--images", type=int, default=3, help="synthetic smears to compare on (default 3)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0; 1: the export differs by over 1e-3 and is removed; 2: bad input."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    import numpy as np

    from bccd_d2.models.load import load_model
    from bccd_d2.models.torchscript import TOLERANCE, export_torchscript, largest_difference
    from bccd_d2.synth.smear import draw_smear

    size = tuple(args.size)
    try:
        model = load_model(args.weights, args.config_file, args.device)
        path = export_torchscript(model, args.output, size)
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    images = [draw_smear(seed=seed, size=size).image for seed in range(args.images)]
    worst, compared = largest_difference(path, model, [np.full_like(images[0], 230), *images])
    print(f"{compared} answers compared, largest difference {worst:.2g}")
    if worst > TOLERANCE:
        path.unlink()
        print(f"error: that is more than {TOLERANCE:g}; {path} was not kept", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
