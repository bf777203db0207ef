"""A run's folder: a new run begins in a clean one, what an earlier run left is set aside."""

from __future__ import annotations

import logging
from pathlib import Path

logger = logging.getLogger(__name__)

RUN_PATTERNS = (  # what training, evaluation and report write; log.txt goes on
    "model_*.pth",
    "last_checkpoint",
    "config.yaml",
    "metrics.json",
    "events.out.tfevents.*",
    "threshold_sweep.json",
    "run.json",
    "evaluation",
    "report",
)


def left_in(folder: str | Path) -> list[Path]:
    """What an earlier run left in a folder, sorted."""
    return sorted({path for pattern in RUN_PATTERNS for path in Path(folder).glob(pattern)})


def set_aside(folder: str | Path) -> Path | None:
    """Move what an earlier run left into a folder ``earlier_N`` of its own; None for nothing."""
    folder, old = Path(folder), left_in(folder)
    if not old:
        return None
    number = 1
    while (aside := folder / f"earlier_{number}").exists():
        number += 1
    aside.mkdir()
    for path in old:
        path.rename(aside / path.name)
    logger.warning(
        "a new run begins in %s: what an earlier one left there was moved to %s (to go on from it, "
        "--resume)", folder, aside,
    )  # fmt: skip
    return aside


def check_start(folder: str | Path, weights: str | Path, resume: bool) -> None:
    """Pass weights that a new run in a folder would not move away.

    Args:
        folder: ``OUTPUT_DIR``.
        weights: ``MODEL.WEIGHTS``; "" for none.

    Raises:
        ValueError: it would.
    """
    if resume or not weights:
        return
    path = Path(weights).expanduser().resolve()
    moved = {left.resolve() for left in left_in(folder)}
    if moved & {path, *path.parents}:
        raise ValueError(
            f"MODEL.WEIGHTS {weights} lies in OUTPUT_DIR, where a new run sets aside "
            "what an earlier one left: name another OUTPUT_DIR, or add --resume to go on"
        )
