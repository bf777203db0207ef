"""A training step with all its hooks against a bare loop, and how long the model waits for data.

    python benchmarks/train_step.py --config-file configs/cpu_tiny_maskrcnn.yaml --steps 10
    python benchmarks/train_step.py --config-file configs/uni_maskrcnn.yaml MODEL.VIT.WEIGHTS ""

Both sides train the same model with the same optimizer on the same batches, made beforehand. The
bare loop is forward, backward, clipping and the optimizer's step, nothing else. They take turns in
short rounds, so that a machine that slows down slows both; the ratio is the median over rounds. The
data loader is measured apart, with the trainer: the share of a step that waits for the next batch.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any


def get_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--config-file", required=True, help="a YAML file of configs/")
    add("--steps", type=int, default=10, help="steps a round, each side")
    add("--rounds", type=int, default=5, help="rounds that count, after one that does not")
    add("--batches", type=int, default=8, help="different batches, made beforehand")
    add("--loader-steps", type=int, default=40, help="steps with the real loader; 0 = none")
    add("--threads", type=int, default=0, help="torch threads; 0 = torch's own choice")
    add("options", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="config keys to change")
    return parser


def bare_step(trainer: Any, batch: list[dict], clip: float) -> None:
    """One step without trainer and hooks."""
    import torch

    trainer.optimizer.zero_grad()
    with trainer.autocast():
        losses = trainer.model(batch)
    sum(losses.values()).backward()
    if clip:
        torch.nn.utils.clip_grad_norm_(trainer.model.parameters(), clip)
    trainer.optimizer.step()


def timed(function: Callable[[], None]) -> float:
    """Seconds of a call, with the GPU's work done."""
    import torch

    start = time.perf_counter()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


def compare(config: Any, training: Any, batches: list, args: argparse.Namespace) -> list[float]:
    """Trainer's time over the bare loop's, one ratio a round."""
    from detectron2.utils.events import EventStorage

    trainer = training.trainer
    clip = config.SOLVER.CLIP_GRADIENTS.CLIP_VALUE if config.SOLVER.CLIP_GRADIENTS.ENABLED else 0
    ratios = []
    for number in range(args.rounds + 1):
        chosen = list(itertools.islice(itertools.cycle(batches), args.steps))

        def bare(chosen: list = chosen) -> None:
            with EventStorage():
                for batch in chosen:
                    bare_step(trainer, batch, clip)

        def ours(start: int = number * args.steps, chosen: list = chosen) -> None:
            trainer.set_loader(chosen)
            trainer.train(start, start + args.steps)

        pair = (bare, ours) if number % 2 else (ours, bare)
        seconds = {side: timed(side) / args.steps for side in pair}
        ratio = seconds[ours] / seconds[bare]
        kept = "" if number else "  (warm-up, not counted)"
        print(f"round {number}: bare {seconds[bare]:.4f} s a step, trainer {seconds[ours]:.4f}, "
              f"ratio {ratio:.3f}{kept}", flush=True)  # fmt: skip
        ratios += [ratio] if number else []
    return ratios


def idle_share(config: Any, training: Any, steps: int) -> float:
    """Share of the steps' time that waits for data; the loader's start is left out."""
    from bccd_d2.training import loaders

    trainer = training.trainer
    records = loaders.records(config.DATASETS.TRAIN)
    warm = max(2, 2 * config.DATALOADER.NUM_WORKERS)
    trainer.set_loader(loaders.train_loader(config, records))
    trainer.train(0, warm)
    seconds = timed(lambda: trainer.train(warm, warm + steps))
    waited = [value for value, _ in trainer.storage.history("data_time").values()]
    return sum(waited) / seconds


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratio of each round, their median, and the share of time without data."""
    args = get_parser().parse_args(argv)
    import torch

    from bccd_d2.training import loaders
    from bccd_d2.training.assemble import assemble
    from bccd_d2.training.config import load_config
    from bccd_d2.training.run import prepare

    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        options = ["OUTPUT_DIR", folder, "DATASETS.VALIDATION", "()", "SOLVER.MAX_ITER", "1000000",
                   "SOLVER.EPOCHS", "0", "SOLVER.CHECKPOINT_PERIOD", "0",
                   "SOLVER.ACCUMULATE", "1"]  # fmt: skip
        config = prepare(load_config(args.config_file, [*args.options, *options]))
        training = assemble(config, lambda training: {})
        # Checkpoints belong to an interval, not to a step, and each round would end with one.
        hooks = training.trainer._hooks
        hooks[:] = [hook for hook in hooks if type(hook).__name__ != "Checkpoints"]
        loader = loaders.train_loader(config, loaders.records(config.DATASETS.TRAIN))
        batches = list(itertools.islice(loader, args.batches))
        del loader
        print(f"{args.config_file}: {config.MODEL.DEVICE}, {torch.get_num_threads()} threads, "
              f"batch {config.SOLVER.IMS_PER_BATCH}, crop {config.INPUT.CROP_SIZE}, "
              f"{config.SOLVER.PRECISION}")  # fmt: skip
        ratios = compare(config, training, batches, args)
        print(f"trainer over bare loop: {statistics.median(ratios):.3f} "
              f"(from {min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
        if args.loader_steps:
            share = idle_share(config, training, args.loader_steps)
            print(f"waiting for data: {100 * share:.1f}% of a step, "
                  f"{config.DATALOADER.NUM_WORKERS} loader processes")  # fmt: skip
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
