"""Plots of a comparison: scores side by side, and why pixel Dice misleads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from bccd_d2.evaluation.entries import SCORES, Entry

_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#444444", "#b2a800")
_LETTER = 0.1  # inches that a letter of the legend takes at most


def draw_scores(entries: Sequence[Entry], path: str | Path) -> Path:
    """Write a PNG of bars, one group a score, and the count errors on an axis of their own.

    Raises:
        ValueError: no entries.
    """
    _check(entries)
    names = [score for score in SCORES if score != "count error"]
    figure = Figure(figsize=(12, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(4, 1))
    width = 0.8 / len(entries)
    for number, entry in enumerate(entries):
        offset = (number - (len(entries) - 1) / 2) * width
        colour = _COLOURS[number % len(_COLOURS)]
        heights = [entry.scores[name] for name in names]
        left.bar(np.arange(len(names)) + offset, heights, width, color=colour, label=entry.name)
        right.bar([offset], [entry.scores["count error"]], width, color=colour)
    left.set_xticks(np.arange(len(names)), names)
    left.set_ylim(0, 1)
    left.set_ylabel("score")
    right.set_xticks([0], ["count error"])
    right.set_ylabel("cells per image (less is better)")
    _finish(figure, [left, right])
    return _save(figure, path)


def draw_dice_against_count(entries: Sequence[Entry], path: str | Path) -> Path:
    """Write a PNG with a dot an image (pixel Dice, count error) and a diamond a method's mean.

    Methods of nearly one Dice lie above each other, however many cells they miscount. Dots of a
    method that lie on each other are moved apart by at most .15 cells.

    Raises:
        ValueError: no entries.
    """
    _check(entries)
    figure = Figure(figsize=(8, 6), layout="constrained")
    axes = figure.subplots()
    rng = np.random.default_rng(0)
    for number, entry in enumerate(entries):
        colour = _COLOURS[number % len(_COLOURS)]
        dice = np.array([row["Dice"] for row in entry.per_image.values()])
        count = np.array([row["count error"] for row in entry.per_image.values()])
        shift = rng.uniform(-0.15, 0.15, len(count))
        axes.scatter(dice, count + shift, s=14, color=colour, alpha=0.45, linewidths=0)
        axes.scatter(
            dice.mean(), count.mean(), s=150, marker="D", color=colour, edgecolors="white",
            label=f"{entry.name}: {dice.mean():.3f}, {count.mean():.1f}",
        )  # fmt: skip
    axes.set_xlabel("pixel Dice of an image")
    axes.set_ylabel("count error of an image, cells")
    axes.set_title("One Dice, many counts (diamonds: means)")
    _finish(figure, [axes])
    return _save(figure, path)


def _check(entries: Sequence[Entry]) -> None:
    if not entries:
        raise ValueError("entries is empty: there is nothing to plot")


def _finish(figure: Figure, axes: Sequence) -> None:
    for one in axes:
        one.spines[["top", "right"]].set_visible(False)
        one.grid(axis="y", alpha=0.3)
        one.set_axisbelow(True)
    longest = max(len(label) for label in axes[0].get_legend_handles_labels()[1])
    fit = int(figure.get_figwidth() / (_LETTER * (longest + 8)))
    figure.legend(loc="outside lower center", ncols=min(4, max(1, fit)), frameon=False)


def _save(figure: Figure, path: str | Path) -> Path:
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path
