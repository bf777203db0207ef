"""Are fields that should not be counted left out, and good ones kept?

  python benchmarks/field_quality.py --predictions OUT

Every image of a prediction is judged as it is, and gets seven faults, one at a time, among nine
others.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

INKS = ((0, 0, 0), (255, 255, 255), (255, 0, 0), (255, 255, 0), (0, 0, 255), (0, 255, 0))
PENS = ((20, 20, 25), (190, 30, 40), (20, 110, 50))
Fault = Callable[[np.ndarray, np.random.Generator, float], np.ndarray]


def get_parser() -> argparse.ArgumentParser:
    """The command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--predictions", type=Path, required=True, help="--out of bccd predict")
    parser.add_argument("--seed", type=int, default=0)
    return parser


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
    """Several layers of the field until more than .85 of it is stained."""
    from bccd_d2.masks.stain import stain_map

    light = np.percentile(image.reshape(-1, 3), 80, axis=0)
    passed, layers = np.ones(image.shape), image
    for _ in range(12):
        turned = image[:: rng.choice([1, -1]), :: rng.choice([1, -1])]
        turned = np.roll(turned, (int(rng.integers(2000)), int(rng.integers(2000))), (0, 1))
        turned = cv2.GaussianBlur(turned, (0, 0), 1.0)
        passed = passed * (turned / light).clip(0.05, 1)
        layers = as_jpeg((passed.clip(0.15) * light).clip(0, 255).astype(np.uint8))
        if stain_map(layers, 0.3).share > 0.85:
            break
    return layers


def empty(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """Background alone, not quite evenly lit."""
    from bccd_d2.masks.stain import stain_map

    height, width = image.shape[:2]
    light = np.median(image[~stain_map(image).stained], axis=0)
    uneven = cv2.resize(rng.normal(0, 4, (4, 5)).astype(np.float32), (width, height))[..., None]
    noise = rng.normal(0, 2, image.shape)
    return as_jpeg((light + uneven + noise).clip(0, 255).astype(np.uint8))


def restain(image: np.ndarray, rng: np.random.Generator, diameter: float) -> np.ndarray:
    """The same field in another stain: optical densities turned by 25 to 35 degrees.

    As far as the stains of two laboratories lie apart; light stays what it is.
    """
    from bccd_d2.masks.stain import stain_map

    stain = stain_map(image).stained
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
    """Measure and print a table."""
    given = get_parser().parse_args(argv)
    fields(np.random.default_rng(given.seed), given.predictions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
