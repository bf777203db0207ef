"""Models that are quick and known, or do harm; in a module that a spawned process can import."""

from __future__ import annotations

import os
import time
from dataclasses import replace

import cv2
import numpy as np

from bccd_d2 import PredictedCells
from bccd_d2.app.teach import Progress, Taught
from bccd_d2.inference.trust import Trust
from bccd_d2.masks.classes import Classes


class DarkParts:
    """Stands in for a trained model: dark connected parts, the first in the image the surest."""

    name, score_threshold, diameter = "stand-in <1>", 0.4, 30.0

    def __init__(self) -> None:
        self.calls = 0

    def predict(
        self,
        image: np.ndarray,
        score_threshold: float | None = None,
        *,
        diameter: str | float = "auto",
    ) -> PredictedCells:
        """Looking for cells of 100 px or more it finds none, and says that nothing fits."""
        self.calls += 1
        if diameter != "auto" and diameter >= 100:
            unfit = Trust(0.1, ("no cell was found", "stain <unexplained>"), {})
            return replace(PredictedCells.empty(image.shape[:2]), diameter=diameter, trust=unfit)
        count, labels = cv2.connectedComponents((image[..., 1] < 150).astype(np.uint8))
        areas = np.bincount(labels.ravel(), minlength=count)
        numbers = np.zeros(count, np.int32)
        large = np.flatnonzero(areas > 200)[1:]
        numbers[large] = np.arange(1, len(large) + 1)
        cells = PredictedCells.from_label_map(numbers[labels])
        cells = PredictedCells.from_rles(
            cells.rles[::-1], cells.image_size, np.linspace(0.02, 0.98, len(cells))
        )
        cells = replace(cells, diameter=42.0 if diameter == "auto" else diameter)
        return cells.above(self.score_threshold if score_threshold is None else score_threshold)


class Harmful(DarkParts):
    """By the red of the first pixel it hangs, swells, ends its process or fails; else as above."""

    def predict(self, image: np.ndarray, *options, **more) -> PredictedCells:
        deed = int(image[0, 0, 0])
        if deed == 1:
            time.sleep(600)
        if deed == 2:
            held = [np.ones(10**7, np.uint8) for _ in range(1000)]
            time.sleep(600 + len(held))
        if deed == 3:
            os._exit(9)
        if deed == 4:
            raise RuntimeError("the network fails <now>")
        return super().predict(image, *options, **more)


def missing() -> DarkParts:
    """A model that is not there."""
    raise FileNotFoundError("no weights at x.pth")


class Taller(DarkParts):
    """What `PatientTeacher` makes of it: the same with another name, and much surer."""

    name = "taught"

    def predict(self, image: np.ndarray, *options, **more) -> PredictedCells:
        found = super().predict(image, 0.0, **more)
        return replace(found, scores=found.scores**0.2).above(options[0] if options else 0.4)


class PatientTeacher:
    """Looks at what was saved and makes `Taller` of it."""

    def __init__(self) -> None:
        self.lessons: list[list[str]] = []

    def teach(self, store, minutes):
        """Three words, a tenth of a second apart."""
        self.lessons.append(sorted(path.name for path in (store / "labels").iterdir()))
        for share in (0.2, 0.5, 0.8):
            yield Progress(share, f"training, {minutes:g} min")
            time.sleep(0.1)
        text = "images learned from: 2, held out: 1; F1@.5 0.800 before, 0.900 after"
        yield Taught("folder", True, text)

    def load(self, folder: str):
        return Taller


class TypedParts(DarkParts):
    """As above, with types by turns: red, white, platelet; every fifth is unsure."""

    CLASSES = Classes(("red <1>", "white", "platelet"), (), ("#c80000", "#1f77ff", "#ffb000"), 0.6)

    def predict(self, image: np.ndarray, *options, **more) -> PredictedCells:
        cells = super().predict(image, *options, **more)
        number = np.arange(len(cells))
        best = np.where(number % 5 == 4, 0.5, 0.9)
        probabilities = np.repeat((1 - best)[:, None] / 2, 3, axis=1)
        probabilities[number, number % 3] = best
        return replace(cells.with_classes(probabilities), classes=self.CLASSES)
