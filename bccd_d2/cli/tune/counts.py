"""Measure how a model miscounts, so that bccd count can correct it and say how sure it is.

bccd predict --images datasets/mine/val_images --weights MODEL --out out/val
bccd tune counts --predictions out/val --dataset datasets/mine --split val --out MODEL.counts.json
bccd count sample/ --weights MODEL --miscounts MODEL.counts.json --out counted

Use images that neither training nor the choice of the threshold saw, with masks or boxes of all
cells. Where both the datasets and the model have types of cells, their confusion is measured too:
the taxonomy says what a label means to the model. Several folders of results go with as many
datasets, in the same order.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("tune counts", __doc__)
    add = parser.add_argument
    add("--predictions", type=Path, nargs="+", required=True, metavar="FOLDER",
        help="--out of bccd predict")  # fmt: skip
    common.add_dataset(parser, required=True, type=Path, nargs="+")
    add("--split", default="val", help="of the datasets (default val)")
    add("--taxonomy", default="blood", metavar="FILE", help="what labels mean (default blood)")
    add("--for", dest="model", default="", metavar="WEIGHTS",
        help="the model that this stands for (default: what predicted)")  # fmt: skip
    add("--open", nargs="+", default=[], metavar="LABEL",
        help="labels that say nothing of the type, such as RBC where nobody looked for parasites")
    common.add_out(parser, "file to write", metavar="FILE", type=Path)
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.config.files import TAXONOMIES
    from bccd_d2.io.atomic import write_json_atomic
    from bccd_d2.masks.taxonomy import read_taxonomy
    from bccd_d2.models.backend import model_path
    from bccd_d2.models.file import file_sha256
    from bccd_d2.slide.measure import measure_miscounts

    taxonomy = read_taxonomy(TAXONOMIES.find(args.taxonomy))
    checksum = file_sha256(model_path(args.model)) if args.model else ""
    found = measure_miscounts(
        args.predictions, args.dataset, args.split, taxonomy, checksum, args.open
    )
    write_json_atomic(args.out, found.to_json())
    print(f"measured on {found.measured_on}")
    heads = [f"found as {name}" for name in found.types]
    print("| type | true cells | " + " | ".join(heads) + " | missed |")
    print("| --- |" + " --- |" * (len(heads) + 2))
    truth, found_as = found.truth.sum(axis=0), found.found_as.sum(axis=0)
    for name, true, row in zip(found.types, truth, found_as, strict=True):
        cells = [name, *(str(int(n)) for n in (true, *row, true - row.sum()))]
        print("| " + " | ".join(cells) + " |")
    invented = (str(int(n)) for n in found.invented.sum(axis=0))
    print("| invented | | " + " | ".join(invented) + " | |")
    print(f"wrote {args.out}")
