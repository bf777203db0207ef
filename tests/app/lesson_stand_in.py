"""Drawn smears with three things to learn, and a small network that was taught them wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bccd_d2.config.load import load_config
from bccd_d2.data.convert.run import ConvertOptions, convert
from bccd_d2.training.run import prepare, train

CONFIG = Path(__file__).resolve().parents[2] / "configs" / "dense" / "cpu_tiny_flows.yaml"
SIZE, STEP, RADIUS = (300, 400), 100, 18  # px
PLAIN, PALE, BUBBLE, PAIR = (150, 90, 130), (195, 170, 185), (250, 250, 250), 16
# Trained for seconds: half resolution, two levels.
SMALL = ["MODEL.DEVICE", "cpu", "MODEL.UNET.CHANNELS", "(8, 16, 32)", "MODEL.UNET.STEM_STRIDE", "1",
         "MODEL.DENSE.CHANNELS", "8", "MODEL.DENSE.DECODE.MIN_AREA", "200", "INPUT.CROP_SIZE", "96",
         "INPUT.EXTRA.ELASTIC", "0.0", "SOLVER.BASE_LR", "5e-3", "SOLVER.PRECISION", "fp32",
         "SOLVER.WARMUP_ITERS", "10", "SOLVER.CHECKPOINT_PERIOD", "10000", "SEED", "1"]  # fmt: skip


@dataclass(frozen=True)
class Field:
    """A smear.

    Attributes:
        image: (300, 400, 3) uint8 RGB.
        right: (300, 400) int32, cells.
        wrong: the same by someone who takes bubbles for cells, pale cells for nothing and two cells
            that touch for one.
        bubbles, pales, pairs: (x, y) of the middles.
    """

    image: np.ndarray
    right: np.ndarray
    wrong: np.ndarray
    bubbles: list[tuple[int, int]]
    pales: list[tuple[int, int]]
    pairs: list[tuple[int, int]]


def draw_field(seed: int, kinds: str = "....=o-") -> Field:
    """A smear of a kind for each letter: . cell, = two that touch, o bubble, - pale cell.

    They lie on the places of a grid, by chance, a little off the middles.
    """
    rng = np.random.default_rng(seed)
    image = np.full((*SIZE, 3), 225, np.uint8)
    right, wrong = np.zeros(SIZE, np.int32), np.zeros(SIZE, np.int32)
    found: dict[str, list[tuple[int, int]]] = {"o": [], "-": [], "=": []}
    places = rng.permutation(SIZE[0] // STEP * (SIZE[1] // STEP))
    for number, (kind, place) in enumerate(zip(kinds, places, strict=False), start=1):
        row, column = divmod(int(place), SIZE[1] // STEP)
        x, y = (STEP * np.array([column, row]) + 50 + rng.integers(-8, 9, 2)).tolist()
        found.setdefault(kind, []).append((x, y))
        for side in (-1, 1) if kind == "=" else (0,):
            middle = (x + side * PAIR, y)
            colour = {"o": BUBBLE, "-": PALE}.get(kind, PLAIN)
            cv2.circle(image, middle, RADIUS, colour, -1)
            if kind != "o":
                cv2.circle(right, middle, RADIUS, 2 * number + (side > 0), -1)
            else:
                cv2.circle(image, middle, RADIUS, PLAIN, 3)
            if kind != "-":
                cv2.circle(wrong, middle, RADIUS, number, -1)
    noise = rng.normal(0, 4, image.shape)
    image = np.clip(cv2.GaussianBlur(image, (0, 0), 1.0) + noise, 0, 255).astype(np.uint8)
    return Field(image, right, wrong, found["o"], found["-"], found["="])


def teach_wrongly(folder: Path, steps: int = 300) -> Path:
    """A run's folder: the small network that learned from wrong labels, in seconds."""
    for kind in ("images", "labels"):
        (folder / kind).mkdir(parents=True)
    for seed in range(100, 116):
        field = draw_field(seed, ".....=oo--"[: 6 + seed % 5])
        cv2.imwrite(str(folder / "images" / f"{seed}.png"), field.image[..., ::-1])
        cv2.imwrite(str(folder / "labels" / f"{seed}.png"), field.wrong.astype(np.uint16))
    places = {"images": folder / "images", "masks": folder / "labels"}
    convert(**places, out=folder / "data", options=ConvertOptions(workers=1))
    where = ["DATASETS.ROOT", str(folder / "data"), "OUTPUT_DIR", str(folder / "run")]
    train(prepare(load_config(CONFIG, [*SMALL, *where, "SOLVER.MAX_ITER", str(steps)])))
    return folder / "run"
