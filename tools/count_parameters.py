"""Print the parameters of configs, or of every published backbone, as a Markdown table.

python tools/count_parameters.py configs/*_maskrcnn.yaml
python tools/count_parameters.py
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
    parser.add_argument("configs", nargs="*", metavar="FILE", help="config files; none: presets")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; 0 when all went well, 2 when a config cannot be built."""
    args = get_parser().parse_args(argv)
    from bccd_d2._detectron2 import ready_detectron2

    ready_detectron2()
    from bccd_d2.config.load import load_config
    from bccd_d2.modeling.backbones.presets import PRESETS
    from bccd_d2.models.parameters import backbone_of, config_parameters, preset_parameters

    try:
        if not args.configs:
            print("| preset | patch | grid | parameters, M | licence | MODEL.VIT.WEIGHTS |")
            print("| --- | --- | --- | --- | --- | --- |")
            for name, preset in sorted(PRESETS.items()):
                millions = f"{preset_parameters(name) / 1e6:.1f}"
                cells = (name, preset.patch, preset.grid, millions, preset.licence, preset.hub)
                print(f"| {' | '.join(map(str, cells))} |")
            return 0
        print("| config | backbone | licence | backbone, M | model, M |\n" + "| --- " * 5 + "|")
        for path in args.configs:
            config = load_config(path)
            vit, whole = config_parameters(config)
            name, licence = backbone_of(config)
            cells = (Path(path).stem, name, licence, f"{vit / 1e6:.1f}", f"{whole / 1e6:.1f}")
            print(f"| {' | '.join(cells)} |")
    except (KeyError, ValueError, OSError) as error:
        print(f"error: {error.args[0] if error.args else error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
