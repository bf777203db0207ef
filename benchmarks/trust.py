"""How well the trust of `bccd predict` tells bad answers from good ones, on annotated images.

  bccd predict --images pbc/val --out out/pbc
  python benchmarks/trust.py --predictions out/pbc --dataset datasets/pbc

Both options again for more pairs, which are pooled. The images predicted are those measured: keep
the ones aside that something was trained on. An answer is bad where its score is below
--good: of masks and boxes F1 at IoU .5 (recall where some cells carry no box), of points the share
that lies alone in an outline. Images without any annotation are left out.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--predictions", action="append", required=True, help="--out of predict; again for more")
    add("--dataset", action="append", required=True, help="converted dataset of each of them")
    add("--good", type=float, default=0.7, help="score of a good answer (default .7)")
    add("--threshold", type=float, default=0.5, help="trust below it is an alarm (default .5)")
    return parser


def score(kind: str, truth: Any, label_map: np.ndarray, complete: bool) -> float | None:
    """One image's score in [0, 1], see the top; None where nothing is annotated."""
    from bccd_d2.evaluation.boxes import box_scores, compare_boxes, count_boxes
    from bccd_d2.evaluation.instances import compare, count_instances, instance_scores
    from bccd_d2.evaluation.points import count_points, point_scores
    from bccd_d2.masks.cells import Cells

    cells = Cells.from_label_map(label_map)
    if kind == "points":
        return point_scores([count_points(truth.cells, cells)])["alone"]
    if kind == "boxes":
        found = compare_boxes(truth.cells, cells.boxes, cells.scores)
        return box_scores([count_boxes(found, 0.0)])["F1@.5" if complete else "recall@.5"]
    return instance_scores([count_instances(compare(truth.cells, cells), 0.0)])["F1@.5"]


def answers(predictions: str, dataset: str) -> list[tuple[float, float]]:
    """(trust, score) of each annotated image that was predicted and checked."""
    from bccd_d2.data.catalog import read_description
    from bccd_d2.evaluation.truth import read_true_boxes, read_true_points, read_truth
    from bccd_d2.io.label_images import find_label_file, read_label_file
    from bccd_d2.io.records import read_rows

    description = read_description(dataset)
    kind = description.get("annotations", "masks")
    read = {"masks": read_truth, "boxes": read_true_boxes, "points": read_true_points}[kind]
    files = [Path(dataset) / split["json"] for split in description["splits"].values()]
    by_stem = {Path(t.file_name).stem: t for file in files for t in read(file).values()}
    found = []
    table = Path(predictions) / "counts.csv"
    for row in read_rows(table, {"image": str, "trust": str}, "predict again"):
        truth = by_stem.get(Path(row["image"]).stem)
        if truth is None or not row["trust"]:
            continue
        labels = find_label_file(Path(predictions) / "labels", Path(row["image"]).stem)
        value = score(kind, truth, read_label_file(labels), description.get("complete", True))
        if value is not None:
            found.append((float(row["trust"]), value))
    if not found:
        raise ValueError(f"{predictions} holds no checked image of {dataset}")
    return found


def area_under_curve(trust: np.ndarray, good: np.ndarray) -> float:
    """Chance that a good answer is trusted more than a bad one, ties half (Hanley, McNeil 1982)."""
    difference = trust[good][:, None] - trust[~good][None]
    return float((difference > 0).mean() + (difference == 0).mean() / 2)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print a table."""
    parser = get_parser()
    arguments = parser.parse_args(argv)
    if len(arguments.predictions) != len(arguments.dataset):
        parser.error("give --predictions and --dataset equally often")
    pairs = zip(arguments.predictions, arguments.dataset, strict=True)
    groups = [(p, answers(p, dataset)) for p, dataset in pairs]
    if len(groups) > 1:
        groups.append(("all", [answer for _, found in groups for answer in found]))
    print("| answers | images | bad | area under curve | bad found | false alarms |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, found in groups:
        trust, values = np.array(found).T
        good, alarm = values >= arguments.good, trust < arguments.threshold
        text = f"| {Path(name).name} | {len(good)} | {(~good).sum()} |"
        area = f"{area_under_curve(trust, good):.3f}" if 0 < good.sum() < len(good) else ""
        caught = f"{alarm[~good].mean():.0%}" if (~good).any() else ""
        false = f"{alarm[good].mean():.0%}" if good.any() else ""
        print(f"{text} {area} | {caught} | {false} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
