"""An ablation: a list of switches, each alone against the base, on the same seeds and budget."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.config.files import SWITCHES, read_mapping
from bccd_d2.config.load import idle_keys, load_config
from bccd_d2.data.stain import check_method
from bccd_d2.experiments.cost import seconds_per_step
from bccd_d2.experiments.run_cache import ensure_trained
from bccd_d2.io.atomic import write_text_atomic
from bccd_d2.io.records import read_json, read_log
from bccd_d2.io.tables import write_table
from bccd_d2.training import loaders
from bccd_d2.training.launch import Processes

logger = logging.getLogger(__name__)

BASE = "base"
SCORES = ("AP", "AP50", "AP75", "F1", "PQ", "count_mae")
_OVERHEAD = 45  # s a run for starting and validating, on two cores
_LESS_IS_BETTER = {"count_mae"}


@dataclass(frozen=True)
class Switch:
    """A named change of the base config.

    Attributes:
        name: what the table and the folder of its runs are called.
        options: config keys and values in turn, as on the command line.
    """

    name: str
    options: tuple[str, ...] = ()


@dataclass(frozen=True)
class Run:
    """One training of an ablation: its switch, seed and config with ``OUTPUT_DIR`` set."""

    switch: str
    seed: int
    config: Any


def load_switches(path: str | Path) -> list[Switch]:
    """The switches of a YAML file that maps each name to {KEY: value}.

    Args:
        path: a file, or the name of a shipped one: "data", "detector".

    Raises:
        FileNotFoundError: no such file.
        ValueError: it holds something else, or a switch is called "base".
    """
    path = SWITCHES.find(path)
    content = read_mapping(path)
    if not content or BASE in content:
        raise ValueError(f"{path} must map names other than {BASE!r} to {{KEY: value}}")
    switches = []
    for name, changes in content.items():
        if not isinstance(changes, dict) or not changes:
            raise ValueError(f"{path}: {name} must be {{KEY: value, ...}}, got {changes!r}")
        pairs = [part for key, value in changes.items() for part in (str(key), str(value))]
        switches.append(Switch(str(name), tuple(pairs)))
    return switches


def plan(
    config_file: str | Path,
    switches: Sequence[Switch],
    seeds: Sequence[int],
    out: str | Path,
    options: Sequence[str] = (),
) -> list[Run]:
    """Every training of the ablation, seed by seed, the base first; nothing is trained yet.

    Validation comes once, at the end of a run, so that no run chooses among its checkpoints.

    Raises:
        KeyError, ValueError: a switch sets a key that does not exist or changes nothing in such a
            model, or a value it cannot have.
    """
    runs = []
    for seed in seeds:
        for switch in [Switch(BASE), *switches]:
            config = load_config(config_file, [*options, *switch.options])
            config.SEED, config.TEST.EVAL_PERIOD, config.TEST.EVAL_EPOCHS = int(seed), 0, 0.0
            config.OUTPUT_DIR = str(Path(out) / switch.name / f"seed{seed}")
            if switch.options and idle_keys(config, switch.options[::2]) == [*switch.options[::2]]:
                raise ValueError(f"switch {switch.name} is of detectors alone, and {config_file} "
                                 "is none: name others with --only")  # fmt: skip
            _check(config)
            runs.append(Run(switch.name, int(seed), config))
    return runs


def _check(config: Any) -> None:
    """Raise ValueError now for what would stop the run hours later."""
    tried = config.clone()
    if tried.INPUT.STAIN.METHOD:
        check_method(tried.INPUT.STAIN.METHOD)
        tried.INPUT.STAIN.METHOD = ""
    loaders.mapper_options(tried)


def expected_hours(runs: Sequence[Run], processes: int = 1) -> float:
    """About how long these runs take here, from a few steps of the first; 0 for none."""
    if not runs:
        return 0.0
    step = seconds_per_step(runs[0].config, processes)
    return sum(step * run.config.SOLVER.MAX_ITER + _OVERHEAD for run in runs) / 3600


def read_scores(folder: str | Path) -> dict[str, float]:
    """`SCORES` of a finished run on its validation images.

    AP, AP50 and AP75 are of masks; F1, PQ (IoU .5) and the count error in cells per image are those
    at the score threshold that suits the run best on these same images.
    """
    folder = Path(folder)
    scored = [row for row in read_log(folder / "metrics.json") if "segm/AP" in row]
    if not scored:
        raise ValueError(f"{folder / 'metrics.json'} has no scores; delete the folder, try again")
    last = scored[-1]
    shape = {"chosen": float, "thresholds": [float], "f1": [float], "pq": [float],
             "count_mae": [float]}  # fmt: skip
    sweep = read_json(folder / "threshold_sweep.json", shape, "delete the folder and try again")
    best = sweep["thresholds"].index(sweep["chosen"])
    scores = {name: float(last[f"segm/{name}"]) for name in ("AP", "AP50", "AP75")}
    return scores | {
        name: float(sweep[key][best])
        for name, key in (("F1", "f1"), ("PQ", "pq"), ("count_mae", "count_mae"))
    }


@contextmanager
def own_log_handlers() -> Iterator[None]:
    """Take away afterwards the log handlers that a run sets up.

    Else, with several runs in one process, each run would also write into the logs of those before.
    """
    loggers = [logging.getLogger(name) for name in ("detectron2", "fvcore", "bccd_d2")]
    before = [list(one.handlers) for one in loggers]
    try:
        yield
    finally:
        for one, kept in zip(loggers, before, strict=True):
            for handler in [h for h in one.handlers if h not in kept]:
                one.removeHandler(handler)
                handler.close()


def run_ablation(
    runs: Sequence[Run],
    processes: Processes,
    on_done: Callable[[Mapping[tuple[str, int], Mapping[str, float]]], None],
) -> dict[tuple[str, int], dict[str, float]]:
    """Train what is not trained yet, in order; a stopped ablation goes on where it was.

    Of a finished run's checkpoints only the last is kept.

    Args:
        on_done: called with all scores so far, by (switch, seed), after each run.
    """
    scores: dict[tuple[str, int], dict[str, float]] = {}
    for number, run in enumerate(runs, start=1):
        logger.info("run %d of %d: %s, seed %d", number, len(runs), run.switch, run.seed)
        with own_log_handlers():
            ensure_trained(run.config, processes)
        folder = Path(run.config.OUTPUT_DIR)
        scores[run.switch, run.seed] = read_scores(folder)
        for path in folder.glob("*.pth"):
            if path.name != "model_final.pth":  # the one that marks the run as finished
                path.unlink()
        on_done(scores)
    return scores


def summarise(scores: Mapping[tuple[str, int], Mapping[str, float]]) -> list[dict[str, Any]]:
    """One row a switch, the base first, then by gain in AP.

    Returns:
        Rows with ``switch``, ``seeds`` (how many), and for each score its ``mean``, ``spread``
        (standard deviation over seeds, None for one seed), ``gain`` over the base of the same seeds
        and ``gain_spread``; the base has no gain. A gain is positive where the switch is better.
    """
    rows = []
    for switch in dict.fromkeys(name for name, _ in scores):
        seeds = [seed for name, seed in scores if name == switch]
        row: dict[str, Any] = {"switch": switch, "seeds": len(seeds)}
        shared = [] if switch == BASE else [s for s in seeds if (BASE, s) in scores]
        for score in SCORES:
            values = [scores[switch, seed][score] for seed in seeds]
            sign = -1 if score in _LESS_IS_BETTER else 1
            gains = [sign * (scores[switch, s][score] - scores[BASE, s][score]) for s in shared]
            row |= {score: _mean(values), f"{score}_spread": _spread(values)}
            row |= {f"{score}_gain": _mean(gains), f"{score}_gain_spread": _spread(gains)}
        rows.append(row)
    return sorted(rows, key=lambda row: (row["switch"] != BASE, -(row["AP_gain"] or 0)))


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if len(values) else None


def _spread(values: Sequence[float]) -> float | None:
    return float(np.std(values, ddof=1)) if len(values) > 1 else None


def format_markdown(rows: Sequence[Mapping[str, Any]]) -> str:
    """The rows as a markdown table: mean ± spread, and the gain in AP and F1 over the base."""
    head = ["switch", "seeds", *SCORES, "gain AP", "gain F1"]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    for row in rows:
        cells = [row["switch"], str(row["seeds"])]
        for score in SCORES:
            form = ".2f" if score in _LESS_IS_BETTER else ".3f"
            cells.append(_cell(row[score], row[f"{score}_spread"], form))
        for score in ("AP", "F1"):
            cells.append(_cell(row[f"{score}_gain"], row[f"{score}_gain_spread"], "+.3f"))
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _cell(value: float | None, spread: float | None, form: str = ".3f") -> str:
    if value is None:
        return ""
    text = format(value, form)
    return text if spread is None else f"{text} ± {format(spread, form.lstrip('+'))}"


def report(scores: Mapping[tuple[str, int], Mapping[str, float]], out: str | Path) -> None:
    """Write the tables of the scores so far into ``out``."""
    write_tables(summarise(scores), out)


def write_tables(rows: Sequence[Mapping[str, Any]], out: str | Path) -> tuple[Path, Path]:
    """Write ablation.md and ablation.csv into ``out``; their paths."""
    markdown = write_text_atomic(Path(out) / "ablation.md", format_markdown(rows))
    return markdown, write_table(Path(out) / "ablation.csv", rows)
