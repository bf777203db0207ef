"""Do the intervals of `bccd count` hold the truth?

  python benchmarks/counts.py shares
  python benchmarks/counts.py types
  python benchmarks/counts.py cells --miscounts M.json --truth T.json
  python benchmarks/counts.py typed --miscounts M.json --truth T.json

shares: simulated slides of known shares, with fields and a model's errors drawn anew each time.
types: the same for whole slides of five types, whose confusion is measured on 40 images.
cells: slides of 5 to 20 fields drawn with replacement from annotated images. Both files are of
bccd tune counts, M of images that may teach (validation), T of those that the slides are made of.
typed: the same for red cells and parasitaemia, of a model that tells types.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

FIELDS = (5, 7, 10, 15, 20)


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=("shares", "types", "cells", "typed"))
    add("--miscounts", type=Path, help="cells, typed: of images that may teach")
    add("--truth", type=Path, help="cells, typed: of the images that slides are made of")
    add("--draws", type=int, default=2000, help="slides (default 2000)")
    add("--seed", type=int, default=0)
    return parser


def share_coverage(
    rng: np.random.Generator, fields: int, share: float, model: tuple[float, float],
    between: float, draws: int,
) -> float:  # fmt: skip
    """How often the interval of a share holds it.

    Args:
        model: chance that a cell of the one kind, and one of the other, is called the one.
        between: correlation of two cells of one field.
    """
    from bccd_d2.evaluation.counting import Channel, Share, share_of

    def look(count: int, p: float) -> np.ndarray:
        """(4, count) found, missed, alarms and rightly not called, some 70 cells a field."""
        cells = rng.negative_binomial(6, 6 / 76, count) + 1
        spread = 1 / between - 1 if between else 0.0
        chance = rng.beta(p * spread, (1 - p) * spread, count) if spread else p
        one = rng.binomial(cells, chance)
        hits, alarms = rng.binomial(one, model[0]), rng.binomial(cells - one, model[1])
        return np.stack([hits, one - hits, alarms, cells - one - alarms])

    held = 0
    for _ in range(draws):
        right, missed, alarms, rest = look(fields, share)
        taught = look(40, 0.03)
        channel = Channel(Share.of(taught[0], taught[1]), Share.of(taught[2], taught[3]))
        found = share_of(right + alarms, missed + rest, channel)
        held += found.low is None or found.high is None or found.low <= share <= found.high
    return held / draws


def shares(rng: np.random.Generator, draws: int) -> list[float]:
    """Print coverage of shares; all of them."""
    print("| fields | share | found, alarms | correlation | coverage |")
    print("| --- | --- | --- | --- | --- |")
    found = []
    models = ((0.85, 0.003), (0.7, 0.01))
    for fields, share, model, between in itertools.product(
        (5, 10, 20), (0.002, 0.01, 0.05), models, (0.0, 0.01)
    ):
        found.append(share_coverage(rng, fields, share, model, between, draws))
        print(f"| {fields} | {share:.1%} | {model[0]}, {model[1]} | {between} | {found[-1]:.1%} |")
    print(f"mean {np.mean(found):.1%}, {min(found):.1%} to {max(found):.1%}")
    return found


TYPES = ("red blood cell", "ring", "neutrophil", "lymphocyte", "platelet")
FOUND_AS = np.array(  # of each type, as each type; the rest is missed
    [[0.955, 0.003, 0, 0, 0.002], [0.12, 0.82, 0, 0, 0.01], [0, 0, 0.88, 0.08, 0],
     [0, 0, 0.09, 0.86, 0.01], [0.01, 0.03, 0, 0, 0.75]]
)  # fmt: skip
INVENTED = np.array([0.01, 0.0005, 0.0005, 0.0005, 0.004])  # for each true cell
SLIDE, TAUGHT = (0.9, 0.02, 0.015, 0.01, 0.055), (0.84, 0.06, 0.03, 0.02, 0.05)


def _looked_at(
    rng: np.random.Generator, images: int, mix: Sequence[float]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """True cells of each type, what they were found as, and what was invented, image by image."""
    total = rng.negative_binomial(6, 6 / 86, images) + 1
    true = np.array([rng.multinomial(n, mix) for n in total])
    chances = np.concatenate([FOUND_AS, 1 - FOUND_AS.sum(axis=1, keepdims=True)], axis=1)
    found = np.array([[rng.multinomial(n, c)[:-1] for n, c in zip(row, chances, strict=True)]
                      for row in true])  # fmt: skip
    return true, found, rng.poisson(INVENTED * total[:, None])


def slides(rng: np.random.Generator, draws: int) -> dict[int, dict[str, float]]:
    """Print coverage of the numbers of simulated slides, by fields; all of it."""
    from bccd_d2.evaluation.miscounts import Miscounts
    from bccd_d2.evaluation.slide_counts import count_slide

    red = SLIDE[0] + SLIDE[1]
    truth = {
        "red_cells": 81 * red, "parasitaemia": 100 * SLIDE[1] / red,
        "white_neutrophil": 100 * SLIDE[2] / (SLIDE[2] + SLIDE[3]),
        "white_cells_per_100_red_cells": 100 * (SLIDE[2] + SLIDE[3]) / red,
        "platelets_per_100_red_cells": 100 * SLIDE[4] / red,
    }  # fmt: skip
    print("| fields | " + " | ".join(truth) + " |\n|" + " --- |" * (len(truth) + 1))
    every = {}
    for fields in (5, 10, 20):
        held = dict.fromkeys(truth, 0)
        for _ in range(draws):
            measured = Miscounts(TYPES, *_looked_at(rng, 40, TAUGHT))
            _, found, invented = _looked_at(rng, fields, SLIDE)
            counted = count_slide(TYPES, found.sum(axis=1) + invented, measured)
            by_key = {one.key: one.estimate for one in counted}
            for key, value in truth.items():
                low, high = by_key[key].low, by_key[key].high
                held[key] += low is not None and high is not None and low <= value <= high
        every[fields] = {key: count / draws for key, count in held.items()}
        print(f"| {fields} | " + " | ".join(f"{v:.1%}" for v in every[fields].values()) + " |")
    return every


def cells(rng: np.random.Generator, draws: int, miscounts: Path, truth: Path) -> list[float]:
    """Print coverage of cells a field; all of them."""
    from bccd_d2.evaluation.counting import mean_per_field
    from bccd_d2.evaluation.miscounts import read_miscounts

    taught, slide = read_miscounts(miscounts), read_miscounts(truth)
    every, all_taught = (np.ones(len(one.types), dtype=bool) for one in (slide, taught))
    true, found = slide.true(every), slide.found(every)
    print(f"{len(true)} images, {true.mean():.2f} true cells a field, {found.mean():.2f} found")
    print("| fields | coverage | width of the interval |\n| --- | --- | --- |")
    held = []
    for fields in FIELDS:
        inside, width = 0, 0.0
        for _ in range(draws):
            chosen = found[rng.integers(0, len(found), fields)]
            one = mean_per_field(chosen, taught.found(all_taught), taught.true(all_taught))
            low, high = one.low or 0.0, one.high or 0.0
            inside, width = inside + (low <= true.mean() <= high), width + high - low
        held.append(inside / draws)
        print(f"| {fields} | {held[-1]:.1%} | {width / draws / true.mean():.0%} |")
    print(f"mean {np.mean(held):.1%}")
    return held


def typed(rng: np.random.Generator, draws: int, miscounts: Path, truth: Path) -> dict[str, float]:
    """Print coverage of red cells a field and parasitaemia; the means over `FIELDS`.

    Slides are made of cells of known type alone, as the measurement is.
    """
    from bccd_d2.evaluation.cell_kinds import ALL_RED, INFECTED, kind_of
    from bccd_d2.evaluation.miscounts import read_miscounts
    from bccd_d2.evaluation.slide_counts import count_slide

    taught, slide = read_miscounts(miscounts), read_miscounts(truth)
    kinds = np.array([kind_of(name) for name in slide.types])
    red, infected = np.isin(kinds, ALL_RED), kinds == INFECTED
    if not red.any() or not infected.any():
        raise SystemExit(
            f"{truth} tells of {', '.join(slide.types)}: it must tell red cells and infected ones; "
            "convert the dataset with --types and measure again"
        )
    seen = slide.found_as.sum(axis=1) + slide.invented
    share = 100 * slide.true(infected).sum() / slide.true(red).sum()
    wanted = {"red_cells": slide.true(red).mean(), "parasitaemia": float(share)}
    print(f"{len(seen)} images: " + ", ".join(f"{k} {v:.2f}" for k, v in wanted.items()))
    print("| fields | " + " | ".join(f"{k} | estimate, width" for k in wanted) + " |")
    print("| --- |" + " --- | --- |" * len(wanted))
    every: dict[str, list[float]] = {key: [] for key in wanted}
    for fields in FIELDS:
        held, said = dict.fromkeys(wanted, 0), {key: np.zeros(2) for key in wanted}
        for _ in range(draws):
            counted = count_slide(slide.types, seen[rng.integers(0, len(seen), fields)], taught)
            by_key = {one.key: one.estimate for one in counted}
            for key, value in wanted.items():
                low, high = by_key[key].low or 0.0, by_key[key].high or 0.0
                held[key] += low <= value <= high
                said[key] += (by_key[key].value or 0.0, high - low)
        cells_of = []
        for key in wanted:
            every[key].append(held[key] / draws)
            value, width = said[key] / draws
            cells_of.append(f"{held[key] / draws:.1%} | {value:.2f}, {width:.2f}")
        print(f"| {fields} | " + " | ".join(cells_of) + " |")
    return {key: float(np.mean(values)) for key, values in every.items()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print tables."""
    parser = get_parser()
    given = parser.parse_args(argv)
    rng = np.random.default_rng(given.seed)
    if given.what == "shares":
        shares(rng, given.draws)
    elif given.what == "types":
        slides(rng, given.draws)
    else:
        if not (given.miscounts and given.truth):
            parser.error(f"{given.what} needs --miscounts and --truth")
        measure = cells if given.what == "cells" else typed
        measure(rng, given.draws, given.miscounts, given.truth)
    return 0


if __name__ == "__main__":
    sys.exit(main())
