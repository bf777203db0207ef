"""Teach the shipped model a microscope of yours: a few annotated images, and minutes.

bccd finetune --images smears --labels smears-cellpose --out output/mine
bccd finetune --images smears --boxes labels --classes classes.txt --ignore Platelets --out mine
bccd predict --images more-smears --weights output/mine --out results

A quarter of the images, at least one, is held out. The new model is kept only where it scores
better on them, else the start is; OUT is a model for predict and app in both cases. Boxes and
points become outlines first. Annotations are given as to `bccd convert`.

Exit code: 0 done, 1 done but some files were skipped (they are listed), 2 nothing was trained.
"""

from __future__ import annotations

import argparse
from typing import Any

from bccd_d2.cli import common
from bccd_d2.cli.convert import add_sources, take_sources

READING = ("mask_kind", "classes")  # flags that say how masks become cells


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("finetune", __doc__)
    add_sources(parser.add_argument)
    common.add_out(parser, "folder for the model, and what it was made of")
    common.add_model(parser)
    add = parser.add_argument
    add(
        "--minutes",
        type=float,
        default=10,
        help="of training: processor time on a CPU, the clock's on a GPU (default 10)",
    )
    add("--holdout", type=float, default=0.25, metavar="SHARE", help="of images (default 0.25)")
    add("--no-holdout", action="store_true", help="learn from all images; keep the model unchecked")
    add("--seed", type=int, default=0, help="of the held-out choice and the training (default 0)")
    add("--quiet", action="store_true", help="no progress bar")
    return parser


@common.command(get_parser)
def main(args: argparse.Namespace) -> int:
    """Run the command line: 0; 1: files were skipped; 2: nothing was trained."""
    from bccd_d2.experiments.fine_tuning import FineTuneOptions, fine_tune
    from bccd_d2.models.load import load_model

    arguments = vars(args)
    places, source = take_sources(arguments)
    held_out = 0.0 if args.no_holdout else args.holdout
    options = FineTuneOptions(args.minutes, held_out, seed=args.seed)
    start = load_model(args.weights, args.config_file, args.device)
    reading: dict[str, Any] = {k: arguments[k] for k in READING if k in arguments}
    result = fine_tune(
        start, places, args.out, source, reading, options, progress=not args.quiet
    )
    for text in result.skipped:
        print(f"skipped {text}")
    print(
        f"{result.train_images} images, {result.minutes:.1f} minutes of training "
        f"({result.clock} time), {result.held_out_images} images held out"
    )
    if result.before is None or result.after is None:
        print("no image was held out: nobody checked whether the new model is better")
    else:
        print(f"{result.score} on the held-out images: {start.name} {result.before:.3f}, new "
              f"{result.after:.3f} ({result.after - result.before:+.3f})")  # fmt: skip
        if result.finer:
            old, new = result.finer
            print(f"equal, so AP on them decided: {old:.3f}, new {new:.3f}")
        if not result.kept:
            print(f"not better: {result.out} holds {start.name} as it was")
    print(f"use it with: bccd predict --weights {result.out} --images ... --out ...")
    return 1 if result.skipped else 0
