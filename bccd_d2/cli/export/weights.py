"""Make a model file of a finished run: safetensors with config, threshold and preprocessing.

bccd export weights output/cpu_tiny_maskrcnn --name cpu_tiny --out output/models
bccd export weights RUN --name NAME --half --ship   # into the package itself
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("export weights", __doc__)
    add = parser.add_argument
    add("run", type=Path, metavar="RUN", help="a run's folder, or one of its .pth files")
    add("--name", required=True, help="the model's name, and that of its file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--out", type=Path, metavar="FOLDER", help="folder for the file, its card and the registry"
    )
    where.add_argument("--ship", action="store_true", help="write into the package, as its default")
    add("--config-file", default="", metavar="CONFIG", help="default: config.yaml beside the run")
    add("--half", action="store_true", help="float16: half the size; compare the scores")
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.models.export import export_run
    from bccd_d2.models.file import PRETRAINED

    out = PRETRAINED if args.ship else args.out
    with common.writing(out, "export"):
        written = export_run(
            args.run,
            out,
            args.name,
            config_file=args.config_file,
            half=args.half,
            default=args.ship,
        )
    for what, path in written.items():
        print(f"{what + ':':10s}{path}")
