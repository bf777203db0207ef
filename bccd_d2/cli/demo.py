"""Draw smears, find their cells with the shipped model, and show them on a page.

bccd demo
bccd demo --out demo --no-browser

Needs no data, no training and no connection. `bccd walkthrough` also trains and scores a model.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from bccd_d2.cli import common


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = common.make_parser("demo", __doc__)
    common.add_out(
        parser, "folder for all it writes (default bccd_demo)", type=Path, default=Path("bccd_demo")
    )
    add = parser.add_argument
    add("--smears", type=int, default=2, help="to draw (default 2)")
    add("--no-browser", action="store_true", help="write the page and do not open it")
    return parser


@common.command(get_parser, detectron2=False)
def main(args: argparse.Namespace) -> None:
    """Run the command line; 0 when all went well, 2 when what was given cannot work."""
    from bccd_d2.inference.batch.predict import BatchOptions, predict_batch
    from bccd_d2.io.atomic import write_png_atomic
    from bccd_d2.report.results import write_results_page
    from bccd_d2.synth.smear import draw_smear

    if args.smears < 1:
        raise ValueError(f"--smears must be at least 1, got {args.smears}")
    smears, results = args.out / "smears", args.out / "results"
    drawn = {}
    print(f"1 of 3: drawing {args.smears} smears", flush=True)
    for number in range(1, args.smears + 1):
        smear = draw_smear(seed=[16, number])
        write_png_atomic(smears / f"smear{number}.png", smear.image)
        drawn[f"smear{number}"] = int(smear.label_map.max())
    print("2 of 3: finding their cells with the shipped model", flush=True)
    predict_batch(BatchOptions((str(smears),), str(results), progress=False))
    print("3 of 3: a page of them", flush=True)
    page = write_results_page(results, args.out, "demo", drawn=drawn)[0]
    print(f"results: {results}\npage:    {page.resolve().as_uri()}")
    print(f"Your own images: bccd predict --images FOLDER --out RESULTS, or bccd app\n"
          f"Opened in ImageJ or napari: {results / 'labels'}; in QuPath: {results / 'geojson'}"
          )  # fmt: skip
    if not args.no_browser:
        import webbrowser

        webbrowser.open(page.resolve().as_uri())
