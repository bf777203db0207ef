"""Teach a model which types its cells are, from annotated images: masks, boxes or points.

bccd convert --images smears --boxes labels --out datasets/mine
bccd types --dataset datasets/mine --out output/mine
bccd predict --images more-smears --weights output/mine --out results

The shipped model finds and outlines the cells; a small network that looks at each of them learns
the types of the annotations that they match. Small cells that it leaves out, such as platelets, are
learned too. A fifth of the images is held out: they say how far the answers are to be believed, and
whether cells that annotators leave out are to score less, on images that look like theirs alone.

Exit code: 0 done, 2 nothing was written.
"""

from __future__ import annotations

import argparse

from bccd_d2.cli import common


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("types", __doc__)
    add = parser.add_argument
    text = "folder that `bccd convert` wrote; again for more"
    add("--dataset", action="append", required=True, metavar="FOLDER", help=text)
    common.add_out(parser, "folder for the model")
    common.add_model(parser)
    add("--classes", type=_names, default=(), metavar="A,B", help="default: the annotations'")
    add("--taxonomy", default="blood", metavar="FILE", help="what labels mean (default blood)")
    add("--minutes", type=float, default=5, help="of training, processor time (default 5)")
    add("--holdout", type=float, default=0.2, metavar="SHARE", help="of images (default 0.2)")
    text = "cells that the model finds keep their scores on images like these too"
    add("--keep-scores", action="store_true", help=text)
    add("--seed", type=int, default=0, help="of the held-out choice and the training (default 0)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 2: nothing was written."""
    from bccd_d2.experiments.types.fit import FitOptions
    from bccd_d2.experiments.types.result import learn_types
    from bccd_d2.experiments.types.run import TypingOptions
    from bccd_d2.models.load import load_model

    options = TypingOptions(
        args.classes, args.taxonomy, held_out=args.holdout, keep_scores=args.keep_scores,
        fit=FitOptions(args.minutes, seed=args.seed), seed=args.seed,
    )  # fmt: skip
    model = load_model(args.weights, args.config_file, args.device)
    result = learn_types(model, args.dataset, args.out, options, progress=not args.quiet)
    print(result.text())
    print(f"use it with: bccd predict --weights {result.out} --images ... --out ...")
    return 0
