"""Make a model file of a finished run: safetensors with config, operating point and preprocessing.

python tools/export_weights.py output/cpu_tiny_maskrcnn --name cpu_tiny --out output/models
python tools/export_weights.py RUN --name NAME --half --ship   # into the package itself
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
    add("run", type=Path, help="a run's folder, or one of its .pth files")
    add("--name", required=True, help="the model's name, and that of its file")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--out", type=Path, help="folder for the file, its card and the registry")
    where.add_argument("--ship", action="store_true", help="write into the package, as its default")
    add("--config-file", default="", help="YAML file; default: the config.yaml beside the run")
    add("--half", action="store_true", help="float16: half the size; compare the scores")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.models.export import export_run
    from bccd_d2.models.file import PRETRAINED

    out = PRETRAINED if args.ship else args.out
    try:
        written = export_run(args.run, out, args.name, config_file=args.config_file,
                             half=args.half, default=args.ship)  # fmt: skip
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    for what, path in written.items():
        print(f"{what + ':':10s}{path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
