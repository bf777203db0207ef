"""How well a typed model says what cells are, on a converted split of masks, boxes or points.

  python benchmarks/cell_types.py --dataset datasets/bccd --split val
  python benchmarks/cell_types.py --dataset datasets/home --split test --plot home.png

Every image is looked at as `bccd predict` does, at the size that the images of the split have in
common. Boxes and masks: AP at box IoU .5 of each class, ranked by the score times the probability
of the class; the confusion matrix of matched cells; recall of infected cells at a precision of .8;
counts of each image against truth, with --plot as scatter plots. Points: precision, recall and F1
of each class over the annotated points, one that no outline or a merged one holds being missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

GROUPS = ("red", "infected", "white", "platelet")


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="converted dataset")
    add("--split", default="val", help="of it (default val)")
    add("--weights", default="", help="a typed model (default: the shipped one)")
    add("--precision", default="fp32", help="of the networks: fp32, bf16 or int8 (default fp32)")
    add("--taxonomy", default="blood", help="what labels mean (default blood)")
    add("--max-images", type=int, default=0, help="at most so many (default: all)")
    add("--tta", default="", help="views to merge, such as flip (default: the image alone)")
    add("--least-score", type=float, default=0.05, help="of a candidate for AP (default .05)")
    add("--plot", default="", help="PNG of the scatter plots")
    return parser


def average_precision(ranks: np.ndarray, right: np.ndarray, count: int) -> float:
    """COCO's AP of 101 recalls; NaN without any true cell."""
    if not count:
        return float("nan")
    order = np.argsort(-ranks, kind="stable")
    hits = np.cumsum(right[order])
    precision = hits / np.arange(1, len(hits) + 1)
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(hits / count, np.linspace(0, 1, 101), side="left")
    return float(np.append(precision, 0)[np.minimum(place, len(precision))].mean())


def greedy(iou: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """(N,) bool: the best-ranked cells each take the true cell they overlap most, from .5 on."""
    right, taken = np.zeros(len(iou), bool), np.zeros(iou.shape[1], bool)
    for index in np.argsort(-ranks, kind="stable") if iou.shape[1] else ():
        overlap = np.where(taken, -1, iou[index])
        best = int(overlap.argmax())
        if overlap[best] >= 0.5:
            taken[best] = right[index] = True
    return right


def looked_at(args: argparse.Namespace) -> tuple[Any, list[tuple[Any, Any, np.ndarray]]]:
    """The model, and of each image its annotations, the cells found and what labels allow."""
    from bccd_d2 import load_pretrained
    from bccd_d2.config.files import TAXONOMIES
    from bccd_d2.experiments.types.examples import AnnotatedSplit
    from bccd_d2.masks.taxonomy import read_taxonomy

    model = load_pretrained(args.weights, precision=args.precision)
    taxonomy = read_taxonomy(TAXONOMIES.find(args.taxonomy))
    split = AnnotatedSplit(args.dataset, args.split)
    diameter = split.diameter(model.models[0])
    scale = model.diameter / diameter if diameter else 1.0
    options = model.options(args.least_score, scale=scale, tta=args.tta)
    rows = []
    for index in range(min(args.max_images or len(split), len(split))):
        image = split.annotated(index, diameter)
        cells = model.predict_with(image.pixels, options)
        kept = [taxonomy.allowed(str(name), model.classes) for name in image.names]
        rows.append((image, cells, np.array(kept).reshape(-1, len(model.classes))))
    print(f"{len(rows)} images, cells of {diameter:.0f} px, model {model.name}")
    return model, rows


def by_class(model: Any, rows: Sequence[Any]) -> None:
    """AP50 of each group of classes that labels tell apart."""
    from bccd_d2.masks.overlap import box_iou

    found = []
    for group in GROUPS:
        under = model.classes.under(group)
        ranks, right, count = [], [], 0
        for image, cells, allowed in rows:
            here, elsewhere = (allowed & under).any(axis=1), (allowed & ~under).any(axis=1)
            true, unknown = image.boxes[here & ~elsewhere], image.boxes[here & elsewhere]
            count += len(true)
            mine = cells[under[cells.class_ids]]
            boxes = mine.scored_boxes.astype(float)
            rank = mine.scores * mine.class_probabilities[:, under].sum(axis=1)
            hit = greedy(box_iou(boxes, true), rank)
            judged = hit | (box_iou(boxes, unknown).max(axis=1, initial=0) < 0.5)
            ranks.append(rank[judged])
            right.append(hit[judged])
        if under.any() and count:
            value = average_precision(np.concatenate(ranks), np.concatenate(right), count)
            found.append(value)
            print(f"{group}: {count} true, box AP50 {value:.3f}")
    print(f"mean {np.mean(found):.3f}")


def matched(model: Any, rows: Sequence[Any]) -> None:
    """The confusion matrix at the model's threshold, and recall of infected at precision .8."""
    from bccd_d2.masks.overlap import box_iou, match

    names = [*model.classes.names, "unsure", "missed"]
    table = np.zeros((len(model.classes) + 1, len(names)), int)
    infected = model.classes.under("infected")
    truth, said, annotated, lost = [], [], [], 0
    for image, cells, allowed in rows:
        cells = cells.above(model.score_threshold)
        pairs = match(box_iou(cells.scored_boxes.astype(float), image.boxes), 0.5)
        shown = model.classes.shown(cells.class_ids, cells.class_confidence)
        known = allowed.sum(axis=1) == 1
        partner = np.full(len(allowed), -1)
        partner[pairs.truth_index] = pairs.pred_index
        for true, mine in zip(allowed[known].argmax(axis=1), partner[known], strict=True):
            column = len(names) - 1 if mine < 0 else shown[mine]
            table[true, len(names) - 2 if column < 0 else column] += 1
        ill = known & infected[allowed.argmax(axis=1)]
        lost += int((ill & (partner < 0)).sum())
        judged = np.ones(len(cells), bool)
        judged[pairs.pred_index] = known[pairs.truth_index]
        right = np.zeros(len(cells), bool)
        right[pairs.pred_index] = ill[pairs.truth_index]
        one = np.zeros(len(cells), bool)
        one[pairs.pred_index] = known[pairs.truth_index]
        truth.append(right[judged])
        annotated.append(one[judged])
        said.append(cells.class_probabilities[judged][:, infected].sum(axis=1))
    print("matched cells, truth in rows:", ", ".join(names))
    for name, row in zip(model.classes.names, table, strict=False):
        print(f"  {name}: {row.tolist()}")
    if infected.any() and lost + sum(map(np.sum, truth)):
        likely, ill, one = map(np.concatenate, (said, truth, annotated))
        at_precision(likely[one], ill[one], lost, "against annotated cells")
        at_precision(likely, ill, lost, "outlines of nothing are mistakes too")


def at_precision(
    said: np.ndarray, truth: np.ndarray, lost: int, name: str, wanted: float = 0.8
) -> None:
    """The greatest recall of infected cells at a precision, over all thresholds."""
    order = np.argsort(-said, kind="stable")
    hits = np.cumsum(truth[order])
    precision, count = hits / np.arange(1, len(hits) + 1), hits[-1] + lost
    good = np.flatnonzero(precision >= wanted)
    best = hits[good[-1]] / count if len(good) else 0.0
    at = said[order][good[-1]] if len(good) else 1.0
    found = f"recall {best:.3f} at precision {wanted:g} (p >= {at:.2f})"
    print(f"infected: {count} true; {found}, {name}")


def points(model: Any, rows: Sequence[Any]) -> None:
    """Precision, recall and F1 of each class over annotated points."""
    count = len(model.classes)
    table = np.zeros((count, count + 1), int)
    for image, cells, allowed in rows:
        cells = cells.above(model.score_threshold)
        label_map = cells.to_label_map()
        if not len(allowed):
            continue
        x, y = image.boxes[:, :2].round().astype(int).T
        owner = label_map[y.clip(0, label_map.shape[0] - 1), x.clip(0, label_map.shape[1] - 1)]
        alone = (owner > 0) & (np.bincount(owner, minlength=len(cells) + 1)[owner] == 1)
        called = np.append(cells.class_ids, count)[np.where(alone, owner - 1, -1)]
        known = allowed.sum(axis=1) == 1
        np.add.at(table, (allowed[known].argmax(axis=1), called[known]), 1)
    scores = []
    for number, name in enumerate(model.classes.names):
        right, true = table[number, number], table[number].sum()
        recall, precision = right / max(true, 1), right / max(table[:, number].sum(), 1)
        scores.append(2 * right / max(true + table[:, number].sum(), 1))
        print(f"{name}: {true} points, precision {precision:.3f}, recall {recall:.3f}, "
              f"F1 {scores[-1]:.3f}")  # fmt: skip
    print(f"macro F1 {np.mean(scores):.3f}; right of all {np.trace(table) / table.sum():.3f}")


def counts(model: Any, rows: Sequence[Any], plot: str) -> None:
    """White cells, platelets and parasitaemia of each image against truth."""
    seen: dict[str, list[tuple[float, float]]] = {}
    for _, cells, allowed in rows:
        cells = cells.above(model.score_threshold)
        for group in ("white", "platelet", "infected"):
            under = model.classes.under(group)
            if not under.any():
                continue
            mine = int(under[cells.class_ids].sum())
            true = int((allowed.any(axis=1) & ~(allowed & ~under).any(axis=1)).sum())
            if group == "infected":
                red = model.classes.under("red")
                reds = int((allowed.any(axis=1) & ~(allowed & ~red).any(axis=1)).sum())
                found = int(red[cells.class_ids].sum())
                pair = 100 * true / max(reds, 1), 100 * mine / max(found, 1)
                seen.setdefault("parasitaemia, %", []).append(pair)
            else:
                seen.setdefault(f"{group} cells", []).append((true, mine))
    for name, pairs in seen.items():
        true, mine = np.array(pairs, float).T
        print(f"{name}: mean error {np.abs(true - mine).mean():.2f} an image, sum {mine.sum():g} "
              f"for {true.sum():g}")  # fmt: skip
    if plot:
        draw(seen, plot)


def draw(seen: dict[str, list[tuple[float, float]]], plot: str) -> None:
    """Scatter plots side by side."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(seen), figsize=(4 * len(seen), 4), squeeze=False)
    random = np.random.default_rng(0)
    for axis, (name, pairs) in zip(axes[0], seen.items(), strict=True):
        true, mine = np.array(pairs, float).T
        shift = random.uniform(-0.12, 0.12, (2, len(true))) if "%" not in name else np.zeros((2, 1))
        most = max(true.max(), mine.max(), 1)
        axis.plot([0, most], [0, most], color="#999999", linewidth=1)
        axis.scatter(true + shift[0], mine + shift[1], s=14, alpha=0.6)
        axis.set(xlabel=f"{name}: truth", ylabel="model")
    figure.tight_layout()
    figure.savefig(plot, dpi=80)
    print(f"wrote {plot}")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the figures."""
    args = get_parser().parse_args(argv)
    model, rows = looked_at(args)
    if rows and rows[0][0].kind == "points":
        points(model, rows)
        return 0
    by_class(model, rows)
    matched(model, rows)
    counts(model, rows, args.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
