"""Write a dense model as one ONNX file, and prove that it gives the model's maps.

bccd export network --out model.onnx
bccd export network --weights RUN --out model.onnx --half

It takes images of any size and number, (B, H, W, 3) uint8 RGB at the model's scale, and says in its
metadata how its maps become cells; `bccd predict --weights model.onnx` does so. Detectors stay with
PyTorch.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("export network", __doc__)
    common.add_model(parser, device="cpu")
    common.add_out(parser, "file to write, .onnx", "--output", metavar="FILE", type=Path)
    add = parser.add_argument
    add("--half", action="store_true", help="weights as float16: half the size")
    add(
        "--smears",
        "--images",
        type=int,
        default=3,
        metavar="N",
        help="synthetic smears to compare on (default 3)",
    )
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: the export differs by over 1e-3 and is removed; 2: bad input."""
    from bccd_d2.models.graph import TOLERANCE, export_network, largest_difference
    from bccd_d2.models.graph_model import SUFFIX
    from bccd_d2.models.load import load_model
    from bccd_d2.synth.smear import draw_smear

    model = load_model(args.weights, args.config_file, args.device)
    if args.out.suffix.lower() != SUFFIX:
        raise ValueError(f"--out {args.out} must end in {SUFFIX}")
    path = export_network(model, args.out, half=args.half)
    sizes = [(150 + 7 * seed, 210 - 5 * seed) for seed in range(args.smears)]
    images = [draw_smear(seed=seed, size=size).image for seed, size in enumerate(sizes)]
    worst = largest_difference(path, model, images)
    print(f"maps of {len(images)} smears compared, largest difference {worst:.2g}")
    if worst > TOLERANCE:
        path.unlink()
        print(f"error: that is more than {TOLERANCE:g}; {path} was not kept", file=sys.stderr)
        return 1
    print(f"wrote {path}, {path.stat().st_size / 1e6:.1f} MB")
    return 0
