"""A training step with all its hooks against a bare loop, and how long the model waits for data.

    python benchmarks/train_step.py --config-file cpu_tiny_maskrcnn --steps 10
    python benchmarks/train_step.py --config-file uni_maskrcnn MODEL.VIT.WEIGHTS ""

Both sides train the same model with the same optimizer on the same batches, made beforehand. The
bare loop is forward, backward, clipping and the optimizer's step, nothing else. They take turns in
short rounds, so that a machine that slows down slows both; the ratio is the median over rounds. On
a CPU processor time is compared, which other programs hardly change, on a GPU wall time. The data
loader is measured apart, with the trainer: the share of a step's wall time that waits for data.
The operations of a step (`cost.operations`) over the bare loop's time are its TFLOP/s, on a known
GPU with their share of what the data sheet says.
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
    add("--compile", action="store_true", help="the backbone by torch.compile")
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


def timed(function: Callable[[], None], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of a call by the clock, with the GPU's work done."""
    import torch

    start = clock()
    function()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - start


def advance(trainer: Any, steps: int) -> None:
    """Steps with hooks, as the trainer's own loop makes them."""
    for _ in range(steps):
        trainer.before_step()
        trainer.run_step()
        trainer.after_step()
        trainer.iter += 1


def clip_of(config: Any) -> float:
    """The largest norm of the gradient that the config allows; 0 = any."""
    given = config.SOLVER.CLIP_GRADIENTS
    return given.CLIP_VALUE if given.ENABLED else 0


def compare(
    config: Any, trainer: Any, batches: list, args: argparse.Namespace
) -> tuple[list[float], float]:
    """Trainer's time over the bare loop's, one ratio a round; the bare loop's least s a step."""
    clip = clip_of(config)
    clock = time.perf_counter if config.MODEL.DEVICE.startswith("cuda") else time.process_time
    chosen = list(itertools.islice(itertools.cycle(batches), args.steps))

    def bare() -> None:
        for batch in chosen:
            bare_step(trainer, batch, clip)

    def ours() -> None:
        trainer.set_loader(chosen)
        advance(trainer, args.steps)

    ratios, bares = [], []
    for number in range(args.rounds + 1):
        pair = (bare, ours) if number % 2 else (ours, bare)
        seconds = {side: timed(side, clock) / args.steps for side in pair}
        ratio = seconds[ours] / seconds[bare]
        kept = "" if number else "  (warm-up, not counted)"
        print(f"round {number}: bare {seconds[bare]:.4f} s a step, trainer {seconds[ours]:.4f}, "
              f"ratio {ratio:.3f}{kept}", flush=True)  # fmt: skip
        ratios += [ratio] if number else []
        bares += [seconds[bare]] if number else []
    return ratios, min(bares)


def idle_share(config: Any, trainer: Any, steps: int) -> float:
    """Share of the steps' time that waits for data; the loader's start is left out."""
    from bccd_d2.training import loaders

    records = loaders.records(config.DATASETS.TRAIN)
    trainer.set_loader(loaders.train_loader(config, records))
    advance(trainer, max(2, 2 * config.DATALOADER.NUM_WORKERS))
    first = trainer.iter
    seconds = timed(lambda: advance(trainer, steps))
    history = trainer.storage.history("data_time").values()
    return sum(value for value, iteration in history if iteration >= first) / seconds


def speed(config: Any, work: float, seconds: float) -> str:
    """Images and operations a second of steps of ``work`` operations that take ``seconds``."""
    from bccd_d2.experiments.cost import share_of_peak

    images = config.SOLVER.IMS_PER_BATCH / seconds
    text = f"{images:.1f} images a second, {work / seconds / 1e12:.3g} TFLOP/s"
    if not config.MODEL.DEVICE.startswith("cuda"):
        return text
    share = share_of_peak(work / seconds, config.SOLVER.PRECISION)
    return text + ("" if share is None else f", {100 * share:.1f}% of the GPU's peak")


def main(argv: Sequence[str] | None = None) -> int:
    """Print the ratio of each round, their median, and the share of time without data."""
    args = get_parser().parse_args(argv)
    import torch
    from detectron2.utils.events import EventStorage

    from bccd_d2.config.load import load_config
    from bccd_d2.experiments.cost import operations
    from bccd_d2.models.preprocessing import with_reference
    from bccd_d2.training import loaders
    from bccd_d2.training.build import assemble
    from bccd_d2.training.run import prepare

    if args.threads:
        torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        options = ["OUTPUT_DIR", folder, "DATASETS.VALIDATION", "()", "SOLVER.MAX_ITER", "1000000",
                   "SOLVER.EPOCHS", "0", "SOLVER.CHECKPOINT_PERIOD", "0",
                   "SOLVER.ACCUMULATE", "1"]  # fmt: skip
        config = with_reference(prepare(load_config(args.config_file, [*args.options, *options])))
        trainer = assemble(config, lambda training: {}).trainer
        loader = loaders.train_loader(config, loaders.records(config.DATASETS.TRAIN))
        batches = list(itertools.islice(loader, args.batches))
        del loader
        print(f"{args.config_file}: {config.MODEL.DEVICE}, {torch.get_num_threads()} threads, "
              f"batch {config.SOLVER.IMS_PER_BATCH}, crop {config.INPUT.CROP_SIZE}, "
              f"{config.SOLVER.PRECISION}")  # fmt: skip
        trainer.max_iter = config.SOLVER.MAX_ITER
        with EventStorage(0) as trainer.storage:
            trainer.before_train()
            work = operations(lambda: bare_step(trainer, batches[0], clip_of(config)))
            if args.compile:
                trainer.model.backbone.compile()
            ratios, least = compare(config, trainer, batches, args)
            print(f"bare loop: {speed(config, work, least)}")
            print(f"trainer over bare loop: {statistics.median(ratios):.3f} "
                  f"(from {min(ratios):.3f} to {max(ratios):.3f})")  # fmt: skip
            if args.loader_steps:
                share = idle_share(config, trainer, args.loader_steps)
                print(f"waiting for data: {100 * share:.1f}% of a step, "
                      f"{config.DATALOADER.NUM_WORKERS} loader processes")  # fmt: skip
            trainer.after_train()
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
