"""Print the parameters of configs, or of every published backbone, as a Markdown table.

bccd parameters cpu_best uni_maskrcnn
bccd parameters configs/maskrcnn/*.yaml
bccd parameters
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("parameters", __doc__)
    parser.add_argument(
        "configs", nargs="*", metavar="CONFIG", help="configs by path or name; none: the presets"
    )
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when a config cannot be built."""
    if args.configs:
        _print_configs(args.configs)
    else:
        _print_presets()


def _print_presets() -> None:
    from bccd_d2.modeling.backbones.presets import PRESETS
    from bccd_d2.models.parameters import preset_parameters

    print("| preset | patch | grid | parameters, M | licence | MODEL.VIT.WEIGHTS |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, preset in sorted(PRESETS.items()):
        millions = f"{preset_parameters(name) / 1e6:.1f}"
        cells = (name, preset.patch, preset.grid, millions, preset.licence, preset.hub)
        print(f"| {' | '.join(map(str, cells))} |")


def _print_configs(files: Sequence[str]) -> None:
    from bccd_d2.config.load import load_config
    from bccd_d2.models.parameters import backbone_of, config_parameters

    print("| config | backbone | licence | backbone, M | model, M |\n" + "| --- " * 5 + "|")
    for file in files:
        config = load_config(file)
        backbone, whole = config_parameters(config)
        name, licence = backbone_of(config)
        cells = (Path(file).stem, name, licence, f"{backbone / 1e6:.1f}", f"{whole / 1e6:.1f}")
        print(f"| {' | '.join(cells)} |")
