"""What pretraining buys: configs with and without it, on 10, 30, ... training images, with seeds.

    python benchmarks/pretraining.py --dataset datasets/sample --vit-weights FILE \\
        --images 10 30 72 --seeds 0 1 --minutes 1 --out output/pretraining \\
        --arm "pretrained=dinov2s_cpu_flows" \\
        --arm "none=dinov2s_cpu_flows MODEL.BACKBONE.NAME build_residual_unet"

An arm is a config with keys and values of its own; MODEL.VIT.WEIGHTS is --vit-weights unless the
arm says otherwise ("NAME=CONFIG MODEL.VIT.WEIGHTS ''" is random). Each is trained for the same time
(processor time on a CPU, the clock's on a GPU) or, with --steps, for as many steps; the seed
chooses the images too, the same for all arms. Validation chooses the threshold, test is scored
once, and gains are the first arm's over the others. Every run that ends is a row of OUT/rows.json
and is not done again. On a GPU, --device cuda --minutes .3 fits a dozen runs into ten minutes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

COLUMNS = ("AP", "AP50", "AP75", "PQ", "F1", "Dice", "count error")


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--dataset", required=True, help="converted, with masks and the splits train, val, test")
    add("--vit-weights", default="", help="MODEL.VIT.WEIGHTS (default: as each config says)")
    add("--arm", action="append", required=True, metavar="NAME=CONFIG [KEY VALUE ...]")
    add("--images", type=int, nargs="+", default=[10, 30], help="training images")
    add("--seeds", type=int, nargs="+", default=[0, 1])
    add("--minutes", type=float, default=0, help="of training for each run")
    add("--steps", type=int, default=0, help="in place of --minutes")
    add("--device", default="auto")
    add("--out", required=True, type=Path)
    return parser


def parse_arm(text: str) -> tuple[str, str, list[str]]:
    """Name, config and config keys with values in turn of ``NAME=CONFIG [KEY VALUE ...]``."""
    name, _, rest = text.partition("=")
    config, *options = shlex.split(rest) or [""]
    if not (name and config) or len(options) % 2:
        raise ValueError(f"an arm is NAME=CONFIG [KEY VALUE ...], got {text!r}")
    return name, config, options


def subset(dataset: str, images: int, seed: int) -> str:
    """The registered name of ``images`` training images that the seed chooses.

    Those of a smaller number are among those of a larger one.
    """
    import numpy as np
    from detectron2.data import DatasetCatalog, MetadataCatalog

    from bccd_d2.data.catalog import register_dataset

    register_dataset(dataset)
    whole = DatasetCatalog.get("bccd_train")
    if images > len(whole):
        raise ValueError(f"{dataset} has {len(whole)} training images, not {images}")
    order = np.random.default_rng(seed).permutation(len(whole))[:images]
    name = f"bccd_train-{images}-{seed}"
    if name not in DatasetCatalog.list():
        DatasetCatalog.register(name, lambda: [whole[i] for i in order])
        known = MetadataCatalog.get("bccd_train").as_dict()
        MetadataCatalog.get(name).set(**{k: v for k, v in known.items() if k != "name"})
    return name


def configured(
    args: argparse.Namespace, arm: tuple[str, str, list[str]], images: int, seed: int
) -> Any:
    """The config of one run."""
    from bccd_d2.config.load import load_config

    name, file, options = arm
    train = subset(args.dataset, images, seed)
    fixed = [
        "DATASETS.ROOT", args.dataset, "DATASETS.TRAIN", f"('{train}',)", "SEED", str(seed),
        "MODEL.DEVICE", args.device, "OUTPUT_DIR", str(args.out / f"{name}-{images}-{seed}"),
        "TEST.EVAL_EPOCHS", "0", "TEST.EVAL_PERIOD", "0", "TEST.LOSS_BATCHES", "0",
    ]  # fmt: skip
    if args.steps:
        fixed += ["SOLVER.EPOCHS", "0", "SOLVER.MAX_ITER", str(args.steps)]
        fixed += ["SOLVER.WARMUP_ITERS", str(max(1, args.steps // 20))]
    if args.vit_weights:
        fixed += ["MODEL.VIT.WEIGHTS", args.vit_weights]
    return load_config(file, [*fixed, *options])


def run_one(args: argparse.Namespace, config: Any) -> dict[str, Any]:
    """Train and score one run: its scores by column, its steps and its minutes."""
    from bccd_d2.evaluation.entries import pick_scores
    from bccd_d2.experiments.ablation import own_log_handlers
    from bccd_d2.experiments.budget import train_within
    from bccd_d2.models.load import load_trained, run_weights
    from bccd_d2.training.run import prepare, run, score

    start = time.process_time()
    if args.steps:
        with own_log_handlers():
            run(config)
        minutes, steps = (time.process_time() - start) / 60, args.steps
    else:
        spent = train_within(config, args.minutes)[1]
        minutes, steps = spent.minutes, spent.iterations
    config = config.clone()
    config.defrost()
    config.MODEL.WEIGHTS = str(run_weights(config, Path(config.OUTPUT_DIR)))
    config, model, point, _ = load_trained(prepare(config, ("TEST",)))
    results, _ = score(config, model, config.DATASETS.TEST, score_threshold=point.score_threshold)
    found = pick_scores(results, "masks")
    return {"minutes": minutes, "steps": steps} | {name: found[name] for name in COLUMNS}


def table(rows: Sequence[dict[str, Any]], reference: str) -> str:
    """Markdown: mean and range over seeds of each arm and number of images, and the gain in AP."""
    lines = [
        f"| images | arm | seeds | steps | {' | '.join(COLUMNS)} | AP less than {reference} |",
        "| --- " * (5 + len(COLUMNS)) + "|",
    ]
    for images, arm in dict.fromkeys((row["images"], row["arm"]) for row in rows):
        mine = [r for r in rows if (r["images"], r["arm"]) == (images, arm)]
        cells = [_spread([r[name] for r in mine], name) for name in COLUMNS]
        held = {r["seed"]: r["AP"] for r in rows if (r["images"], r["arm"]) == (images, reference)}
        gains = [held[r["seed"]] - r["AP"] for r in mine if r["seed"] in held]
        gain = _spread(gains, "AP") if gains and arm != reference else ""
        steps = round(statistics.mean(r["steps"] for r in mine))
        head = f"| {images} | {arm} | {len(mine)} | {steps} | "
        lines.append(head + " | ".join([*cells, gain]) + " |")
    return "\n".join(lines)


def _spread(values: Sequence[float], name: str) -> str:
    """``mean (least to largest)`` of a few values."""
    digits = 2 if name == "count error" else 3
    mean = f"{statistics.mean(values):.{digits}f}"
    if len(values) == 1:
        return mean
    return f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def main(argv: Sequence[str] | None = None) -> int:
    """Do the runs that are missing and print the table."""
    args = get_parser().parse_args(argv)
    from bccd_d2.io.atomic import write_json_atomic

    if bool(args.minutes) == bool(args.steps):
        print("error: give --minutes or --steps", file=sys.stderr)
        return 2
    arms = [parse_arm(text) for text in args.arm]
    path = args.out / "rows.json"
    args.out.mkdir(parents=True, exist_ok=True)
    rows = json.loads(path.read_text()) if path.is_file() else []
    for images in args.images:
        for seed in args.seeds:
            for arm in arms:
                key = {"arm": arm[0], "images": images, "seed": seed}
                if any(key.items() <= row.items() for row in rows):
                    continue
                rows.append(key | run_one(args, configured(args, arm, images, seed)))
                write_json_atomic(path, rows)
                print(rows[-1], flush=True)
    print(table(rows, arms[0][0]))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
