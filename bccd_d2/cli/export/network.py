"""Write a model's network as TorchScript, and prove that it gives the model's predictions.

bccd export network --out model.pt --size 1200 1600
bccd export network --weights RUN --out model.pt --size 1200 1600
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("export network", __doc__)
    common.add_model(parser, device="cpu")
    common.add_out(parser, "file to write", "--output", metavar="FILE", type=Path)
    add = parser.add_argument
    add(
        "--size",
        type=int,
        nargs=2,
        default=(1200, 1600),
        metavar=("HEIGHT", "WIDTH"),
        help="px of the images it is for (default 1200 1600)",
    )
    add(
        "--smears",
        "--images",
        type=int,
        default=3,
        metavar="N",
        help="synthetic smears to compare on (default 3)",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line: 0; 1: the export differs by over 1e-3 and is removed; 2: bad input."""
    return common.run(get_parser(), _export, argv)


def _export(args: argparse.Namespace) -> int:
    import numpy as np

    from bccd_d2.models.load import load_model
    from bccd_d2.models.torchscript import TOLERANCE, export_torchscript, largest_difference
    from bccd_d2.synth.smear import draw_smear

    size = tuple(args.size)
    model = load_model(args.weights, args.config_file, args.device)
    path = export_torchscript(model, args.out, size)
    images = [draw_smear(seed=seed, size=size).image for seed in range(args.smears)]
    worst, compared = largest_difference(path, model, [np.full_like(images[0], 230), *images])
    print(f"{compared} predictions compared, largest difference {worst:.2g}")
    if worst > TOLERANCE:
        path.unlink()
        print(f"error: that is more than {TOLERANCE:g}; {path} was not kept", file=sys.stderr)
        return 1
    print(f"wrote {path}")
    return 0
