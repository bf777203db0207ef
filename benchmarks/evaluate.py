"""Time of our scores against plain pycocotools on crowded images, in one run.

python benchmarks/evaluate.py --images 10
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from collections.abc import Sequence


def get_parser() -> argparse.ArgumentParser:
    """Command line of the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=10, help="number of 1600x1200 images")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cap", type=int, default=300, help="detections an image that count")
    return parser


def draw_image(rng, cells: int):
    """Truth of ``cells`` ellipses on a jittered grid in 1600x1200, and predictions near them.

    Predictions are moved and scaled a little, a tenth is missing, a fifth is doubled.
    """
    import cv2
    import numpy as np

    from bccd_d2.masks.cells import Cells
    from bccd_d2.masks.rle import encode_crop

    size, step = (1200, 1600), 96
    grid = [(y, x) for y in range(60, size[0] - 50, step) for x in range(60, size[1] - 50, step)]
    chosen = [grid[i] for i in rng.permutation(len(grid))[:cells]]

    def ellipse(y, x, axes, angle):
        mask = np.zeros(size, np.uint8)
        centre, axes = (round(x), round(y)), tuple(max(1, round(a)) for a in axes)
        cv2.ellipse(mask, centre, axes, angle, 0, 360, 1, cv2.FILLED)
        return encode_crop(mask.astype(bool), 0, 0, size)

    true = [(y, x, rng.uniform(42, 58, 2), rng.uniform(0, 180)) for y, x in chosen]
    truth = Cells.from_rles([ellipse(*cell) for cell in true], size)
    truth = Cells.from_label_map(truth.to_label_map())
    found = []
    for y, x, axes, angle in true:
        copies = (rng.random() > 0.1) + (rng.random() < 0.2)
        for _ in range(copies):
            dy, dx = rng.normal(0, 3, 2)
            found.append(ellipse(y + dy, x + dx, axes * rng.uniform(0.92, 1.08, 2), angle))
    return truth, Cells.from_rles(found, size, rng.uniform(0.05, 1, len(found)))


def plain_pycocotools(truth, predictions, cap: int) -> dict[str, float]:
    """Box and mask AP up to ``cap`` detections an image by pycocotools alone."""
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    images, annotations, results = [], [], []
    for image_id, (cells, found) in enumerate(zip(truth, predictions, strict=True), start=1):
        height, width = cells.image_size
        images.append({"id": image_id, "height": height, "width": width})
        for rle in cells.rles:
            row = {"id": len(annotations) + 1, "image_id": image_id, "category_id": 1, "iscrowd": 0}
            row |= {"area": float(coco_mask.area(rle)), "bbox": coco_mask.toBbox(rle).tolist()}
            annotations.append(row | {"segmentation": rle})
        for rle, score in zip(found.rles, found.scores.tolist(), strict=True):
            row = {"image_id": image_id, "category_id": 1, "score": score, "segmentation": rle}
            results.append(row)
    values = {}
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": annotations, "info": {}}
        coco.dataset["categories"] = [{"id": 1, "name": "cell"}]
        coco.createIndex()
        loaded = coco.loadRes(results)
        for task in ("bbox", "segm"):
            evaluator = COCOeval(coco, loaded, task)
            evaluator.params.maxDets = [cap]
            evaluator.evaluate()
            evaluator.accumulate()
            values[task] = float(evaluator.eval["precision"][:, :, 0, 0, 0].mean())
    return values


def main(argv: Sequence[str] | None = None) -> int:
    """Run both on the same images and print seconds per image, AP of both, and the ratios."""
    args = get_parser().parse_args(argv)
    import numpy as np

    from bccd_d2.evaluation.coco import area_bins, coco_scores
    from bccd_d2.evaluation.scores import dataset_scores, score_image
    from bccd_d2.evaluation.thresholds import sweep

    rng = np.random.default_rng(args.seed)
    pairs = [draw_image(rng, int(n)) for n in np.linspace(100, 190, args.images)]
    truth, predictions = [t for t, _ in pairs], [p for _, p in pairs]
    bins = area_bins({33: 7000, 67: 8500})

    def coco() -> dict[str, float]:
        options = {"max_detections": args.cap, "bins": bins}
        tasks = ("bbox", "segm")
        return {t: coco_scores(truth, predictions, task=t, **options).values["AP"] for t in tasks}

    def plain() -> dict[str, float]:
        return plain_pycocotools(truth, predictions, args.cap)

    def views() -> dict:
        return dataset_scores([score_image(t, p, 0.5) for t, p in pairs])

    measured = {}
    for name, work in (
        ("plain pycocotools, boxes and masks", plain),
        ("ours, boxes and masks", coco),
        ("ours, instances, interior and pixels", views),
        ("ours, sweep of 91 score thresholds", lambda: sweep(truth, predictions)),
    ):
        start = time.perf_counter()
        answer = work()
        measured[name] = (time.perf_counter() - start) / args.images, answer
        print(f"{name:40s} {measured[name][0]:7.3f} s an image")
    (slow, wanted), (fast, got), (others, _), _ = measured.values()
    number = np.mean([len(cells) for cells in truth])
    print(f"{number:.0f} true cells per image; AP {got}, pycocotools {wanted}")
    print(f"ratio COCO against COCO: {slow / fast:.1f}")
    print(f"ratio all three views against COCO: {slow / (fast + others):.1f}")
    return 0 if np.allclose(list(got.values()), list(wanted.values()), atol=1e-6) else 1


if __name__ == "__main__":
    sys.exit(main())
