"""Plots of a comparison: scores side by side, and why pixel Dice misleads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bccd_d2.evaluation.entries import SCORES, Entry
from bccd_d2.report.chart import Chart, Plot
from bccd_d2.report.drawing import Style
from bccd_d2.report.page import save_png

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#b2a800")


def draw_scores(entries: Sequence[Entry], path: str | Path) -> Path:
    """Write a PNG of bars, one group a score, and the count errors on an axis of their own.

    Raises:
        ValueError: no entries.
    """
    _check(entries)
    names = [score for score in SCORES if score != "count error"]
    left = Plot("", "score", y_range=(0, 1), x_names=names)
    right = Plot("", "cells per image (less is better)", y_range=(0, None),
                 x_names=("count error",))  # fmt: skip
    width = 0.8 / len(entries)
    for number, entry in enumerate(entries):
        start = (number - len(entries) / 2) * width
        style = Style(_COLOURS[number % len(_COLOURS)])
        at = np.arange(len(names)) + start
        heights = [entry.scores[name] or 0.0 for name in names]
        left.boxes(at, at + width, 0, heights, style, entry.name)
        right.boxes(start, start + width, 0, entry.scores["count error"] or 0.0, style)
    return save_png(Chart([left, right], 1150, 430, (4, 1), legend="below"), path)


def draw_dice_against_count(entries: Sequence[Entry], path: str | Path) -> Path:
    """Write a PNG with a dot an image (pixel Dice, count error) and a diamond a method's mean.

    Methods of nearly one Dice lie above each other, however many cells they miscount. Dots of a
    method that lie on each other are moved apart by at most .15 cells.

    Raises:
        ValueError: no entries.
    """
    _check(entries)
    plot = Plot("pixel Dice of an image", "count error of an image, cells",
                "One Dice, many counts (diamonds: means)")  # fmt: skip
    rng = np.random.default_rng(0)
    for number, entry in enumerate(entries):
        colour = _COLOURS[number % len(_COLOURS)]
        dice = np.array([row["Dice"] for row in entry.per_image.values()])
        count = np.array([row["count error"] for row in entry.per_image.values()])
        shift = rng.uniform(-0.15, 0.15, len(count))
        plot.dots(dice, count + shift, Style(colour, size=4.5, alpha=0.45))
        mean = Style(colour, 1, marker="D", size=13, edge="#ffffff")
        label = f"{entry.name}: {dice.mean():.3f}, {count.mean():.1f}"
        plot.dots([dice.mean()], [count.mean()], mean, label)
    return save_png(Chart([plot], 770, 575, legend="below"), path)


def _check(entries: Sequence[Entry]) -> None:
    if not entries:
        raise ValueError("entries is empty: there is nothing to plot")
