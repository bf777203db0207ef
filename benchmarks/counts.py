"""Do the intervals of `bccd count` hold the truth, and are bad fields left out?

  python benchmarks/counts.py shares
  python benchmarks/counts.py types
  python benchmarks/counts.py cells --miscounts M.json --truth T.json
  python benchmarks/counts.py typed --miscounts M.json --truth T.json
  python benchmarks/counts.py fields --predictions OUT

shares: simulated slides of known shares, with fields and a model's errors drawn anew each time.
types: the same for whole slides of five types, whose confusion is measured on 40 images.
cells: slides of 5 to 20 fields drawn with replacement from annotated images. Both files are of
bccd tune counts, M of images that may teach (validation), T of those that the slides are made of.
typed: the same for red cells and parasitaemia, of a model that tells types.
fields: every image of a prediction gets seven faults, one at a time, among nine other fields.
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

FIELDS = (5, 7, 10, 15, 20)
INKS = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (255, 255, 0), (0, 0, 255), (0, 255, 0))
PENS = ((20, 20, 25), (190, 30, 40), (20, 110, 50))
Fault = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("what", choices=("shares", "types", "cells", "typed", "fields"))
    add("--miscounts", type=Path, help="cells, typed: of images that may teach")
    add("--truth", type=Path, help="cells, typed: of the images that slides are made of")
    add("--predictions", type=Path, help="fields: --out of bccd predict")
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


def as_jpeg(image: np.ndarray) -> np.ndarray:
    """The image as JPEG of quality 90 leaves it, for faults come before the file does."""
    _, stored = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 90])
    return np.asarray(cv2.imdecode(stored, cv2.IMREAD_COLOR))


def _ink(image: np.ndarray, rng: np.random.Generator) -> tuple[int, int, int]:
    """One that can be seen on the background."""
    usual = np.median(image.reshape(-1, 3), axis=0)
    seen = [ink for ink in INKS if np.abs(np.array(ink) - usual).max() > 100]
    return seen[rng.integers(len(seen))]


def text(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """Writing, as a camera's software puts it in."""
    image, (height, width) = image.copy(), image.shape[:2]
    size = rng.uniform(0.8, 3) * width / 1600
    words = ("Patient 12", "20 um", "2019-03-11", "field 7 x100", "Giemsa")
    place = (int(rng.uniform(0.02, 0.5) * width), int(rng.uniform(0.1, 0.95) * height))
    thick = max(1, int(size * rng.uniform(1, 2.2)))
    cv2.putText(image, words[rng.integers(len(words))], place, int(rng.integers(0, 4)), size,
                _ink(image, rng), thick, cv2.LINE_AA)  # fmt: skip
    return as_jpeg(image)


def bar(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """A scale bar near the lower edge."""
    image, (height, width) = image.copy(), image.shape[:2]
    x, y = int(rng.uniform(0.02, 0.75) * width), int(rng.uniform(0.8, 0.97) * height)
    x1, y1 = x + int(rng.uniform(0.06, 0.2) * width), y + int(rng.integers(3, 12))
    image[y:y1, x:x1] = _ink(image, rng)
    return as_jpeg(image)


def pen(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """A felt pen's stroke on the glass, a little out of focus."""
    height, width = image.shape[:2]
    points = np.array([width, height]) * rng.uniform(0.1, 0.9, (5, 2))
    way = np.linspace(0, 1, 60)[:, None]
    curve = [(1 - way) ** 2 * a + 2 * way * (1 - way) * b + way**2 * c
             for a, b, c in (points[:3], points[2:])]  # fmt: skip
    stroke = np.zeros((height, width), np.float32)
    cv2.polylines(stroke, [np.concatenate(curve).astype(np.int32)], False, (1.0,),
                  int(rng.uniform(0.13, 0.32) * diameter))  # fmt: skip
    stroke = 0.92 * cv2.GaussianBlur(stroke, (0, 0), rng.uniform(1, 4))[..., None]
    colour = np.array(PENS[rng.integers(len(PENS))])
    return as_jpeg((image * (1 - stroke) + colour * stroke).astype(np.uint8))


def defocus(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """Every point a disc of .15 to .3 of a cell's diameter in radius."""
    radius = int(rng.uniform(0.15, 0.3) * diameter)
    disc = np.zeros((2 * radius + 1, 2 * radius + 1), np.float32)
    cv2.circle(disc, (radius, radius), radius, (1.0,), -1)
    image = cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT)
    return as_jpeg((image + rng.normal(0, 1.5, image.shape)).clip(0, 255).astype(np.uint8))


def dense(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """Several layers of the field until more than .72 of it is stained."""
    from bccd_d2.inference.trust import stain_map

    light = np.percentile(image.reshape(-1, 3), 80, axis=0)
    passed, layers = np.ones(image.shape), image
    for _ in range(12):
        turned = image[:: rng.choice([1, -1]), :: rng.choice([1, -1])]
        turned = np.roll(turned, (int(rng.integers(2000)), int(rng.integers(2000))), (0, 1))
        turned = cv2.GaussianBlur(turned, (0, 0), 1.0)
        passed = passed * (turned / light).clip(0.05, 1)
        layers = as_jpeg((passed.clip(0.15) * light).clip(0, 255).astype(np.uint8))
        if stain_map(layers, 0.3)[0].mean() > 0.72:
            break
    return layers


def empty(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """Background alone, not quite evenly lit."""
    from bccd_d2.inference.trust import stain_map

    height, width = image.shape[:2]
    light = np.median(image[~stain_map(image)[0]], axis=0)
    uneven = cv2.resize(rng.normal(0, 4, (4, 5)).astype(np.float32), (width, height))[..., None]
    noise = rng.normal(0, 2, image.shape)
    return as_jpeg((light + uneven + noise).clip(0, 255).astype(np.uint8))


def restain(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """The same field in another stain: optical densities turned by 25 to 35 degrees.

    As far as the stains of two laboratories lie apart; light stays what it is.
    """
    from bccd_d2.inference.trust import stain_map

    stain = stain_map(image)[0]
    light = np.median(image[~stain], axis=0) + 1
    density = np.log(light / (image + 1.0))
    usual = np.median(density[stain], axis=0)
    usual /= np.linalg.norm(usual)
    for _ in range(100):  # towards a colour that a stain can have
        side = np.cross(usual, rng.normal(size=3))
        angle = np.radians(rng.uniform(25, 35))
        turned = np.cos(angle) * usual + np.sin(angle) * side / np.linalg.norm(side)
        if turned.min() > 0.1:
            break
    moved = density + (density @ usual)[..., None] * (turned - usual)
    return as_jpeg((light * np.exp(-moved) - 1).clip(0, 255).astype(np.uint8))


FAULTS: dict[str, Fault] = {
    "defocus": defocus, "dense": dense, "empty": empty, "text": text, "bar": bar, "pen": pen,
    "restain": restain,
}  # fmt: skip


def fields(rng: np.random.Generator, predictions: Path) -> dict[str, list[bool]]:
    """Print how many fields of each fault are left out, and which others; all of them.

    Fields are compared with those of their own size, as one camera makes a sample.
    """
    from bccd_d2.slide.fields import read_sample
    from bccd_d2.slide.quality import judge_fields, measure_field

    groups: dict[tuple[int, int], list] = {}
    for field in read_sample(predictions).fields:
        groups.setdefault(field.image_size, []).append(field)
    out: dict[str, list[bool]] = {name: [] for name in ("as they are", *FAULTS)}
    for group in groups.values():
        diameter = float(np.median([field.diameter or 50.0 for field in group]))
        number = [int(field.counted.sum()) for field in group]
        good = [measure_field(field.image(), diameter) for field in group]
        for field, why in zip(group, judge_fields(good, number), strict=True):
            out["as they are"].append(bool(why))
            if why:
                print(f"left out: {field.name}: {'; '.join(why)}")
        for index, field in enumerate(group):
            others = [n for n in range(len(group)) if n != index]
            some = rng.choice(others, min(9, len(others)), replace=False) if others else []
            for name, fault in FAULTS.items():
                bad = measure_field(fault(field.image(), rng, diameter), diameter)
                cells = 0 if name == "empty" else number[index]
                judged = judge_fields([*(good[n] for n in some), bad],
                                      [*(number[n] for n in some), cells])  # fmt: skip
                out[name].append(bool(judged[-1]))
    print("| fields | images | left out |\n| --- | --- | --- |")
    for name, verdicts in out.items():
        print(f"| {name} | {len(verdicts)} | {sum(verdicts)} ({np.mean(verdicts):.1%}) |")
    return out


def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print tables."""
    parser = get_parser()
    given = parser.parse_args(argv)
    rng = np.random.default_rng(given.seed)
    if given.what == "shares":
        shares(rng, given.draws)
    elif given.what == "types":
        slides(rng, given.draws)
    elif given.what in ("cells", "typed"):
        if not (given.miscounts and given.truth):
            parser.error(f"{given.what} needs --miscounts and --truth")
        measure = cells if given.what == "cells" else typed
        measure(rng, given.draws, given.miscounts, given.truth)
    else:
        if not given.predictions:
            parser.error("fields needs --predictions")
        fields(rng, given.predictions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
