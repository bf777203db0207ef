"""Tables of a comparison: methods by score and cost, and their paired differences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from bccd_d2.evaluation.entries import COSTS, LESS_IS_BETTER, SCORES, Entry
from bccd_d2.evaluation.paired import Difference
from bccd_d2.io.atomic import write_text_atomic
from bccd_d2.io.images import read_image
from bccd_d2.io.tables import write_table
from bccd_d2.io.text import markdown_text
from bccd_d2.masks.cells import Cells
from bccd_d2.report.comparison.crowded import draw_crowded
from bccd_d2.report.comparison.plots import draw_dice_against_count, draw_scores
from bccd_d2.report.draw import contact_sheet, error_map, write_png

_DIGITS = {"count error": 2, "parameters (M)": 2, "GFLOPs": 1, "training (min)": 1, "steps": 0}
_DIGITS |= {"s an image": 3, "CPU s an image": 3, "peak memory (MB)": 0}
_NOTES = (
    "Scores in [0, 1] at each method's own score threshold (AP over all of them); the count error "
    "in cells an image. GFLOPs are billions of multiply-adds for one image. CPU s are processor "
    "time of all threads. Peak memory is that of the whole process, or of the GPU. Training "
    "minutes are those of its steps, of processor time on a CPU and by the clock on a GPU; blank "
    "where the method was trained elsewhere or does not learn."
)


def score_table(entries: Sequence[Entry]) -> str:
    """A markdown table, the best of each score in bold; unknown costs are blank."""
    best: dict[str, float] = {}  # of those that could be scored
    for score in SCORES:
        known = [value for entry in entries if (value := entry.scores[score]) is not None]
        if known:
            best[score] = min(known) if score in LESS_IS_BETTER else max(known)
    lines = [_row(["method", *SCORES, *COSTS]), _row(["---"] * (1 + len(SCORES) + len(COSTS)))]
    for entry in entries:
        cells = [markdown_text(entry.name)]
        for score in SCORES:
            value = entry.scores[score]
            text = _number(score, value)
            cells.append(f"**{text}**" if value is not None and value == best[score] else text)
        cells += [_number(cost, entry.cost.get(cost)) for cost in COSTS]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def difference_table(differences: Sequence[Difference]) -> str:
    """A markdown table of paired gains with their 95% intervals; "" when there are none."""
    if not differences:
        return ""
    head = ["method", "against", "score", "gain an image", "95% interval", "better on"]
    lines = [_row(head), _row(["---"] * len(head))]
    for one in differences:
        interval = f"{one.low:+.3f} to {one.high:+.3f}"
        clear = "" if one.low <= 0 <= one.high else " *"
        better = f"{one.better} of {one.images}"
        names = [markdown_text(name) for name in (one.name, one.reference)]
        cells = [*names, one.score, f"{one.gain:+.3f}", interval + clear, better]
        lines.append(_row(cells))
    return "\n".join(lines) + "\n"


def write_tables(
    entries: Sequence[Entry], differences: Sequence[Difference], folder: str | Path, title: str
) -> list[Path]:
    """Write comparison.md, comparison.csv, differences.csv and per_image.csv; their paths."""
    folder = Path(folder)
    text = f"# {title}\n\n{score_table(entries)}\n{_NOTES}\n"
    if differences:
        text += (
            f"\n## Image by image\n\n{difference_table(differences)}\n"
            "Means over images; a gain is positive where the method is better, for the count "
            "error too. \\* marks intervals (bootstrap over images) that leave out 0.\n"
        )
    rows = [
        {"method": e.name} | dict(e.scores) | {cost: e.cost.get(cost) for cost in COSTS}
        for e in entries
    ]
    images = [
        {"method": entry.name, "file_name": file} | dict(scores)
        for entry in entries
        for file, scores in entry.per_image.items()
    ]
    fields = [field.name for field in dataclasses.fields(Difference)]
    return [
        write_text_atomic(folder / "comparison.md", text),
        write_table(folder / "comparison.csv", rows, ["method", *SCORES, *COSTS]),
        write_table(folder / "differences.csv", map(dataclasses.asdict, differences), fields),
        write_table(folder / "per_image.csv", images, None if images else ["method"]),
    ]


def write_comparison(
    entries: Sequence[Entry],
    differences: Sequence[Difference],
    folder: str | Path,
    pictures: Mapping[str, tuple[Path, Cells]],
    worst: int = 2,
) -> list[Path]:
    """Write tables, scores.png, dice_against_count.png, crowded.png and error maps; the paths.

    Args:
        pictures: for each file name the image's path and its true cells.
        worst: images a method in errors_<method>.png, those of least pixel Dice; 0 writes none.
    """
    folder = Path(folder)
    written = write_tables(entries, differences, folder, f"{len(pictures)} test images")
    written.append(draw_scores(entries, folder / "scores.png"))
    written.append(draw_dice_against_count(entries, folder / "dice_against_count.png"))
    crowded = draw_crowded(entries, pictures)
    if crowded is not None:
        written.append(write_png(folder / "crowded.png", crowded))
    for entry in entries if worst > 0 else ():
        files = sorted(entry.per_image, key=lambda file: entry.per_image[file]["Dice"])[:worst]
        maps, captions = [], []
        for file in files:
            path, truth = pictures[file]
            maps.append(error_map(truth, entry.predictions[file], read_image(path)))
            captions.append(f"{Path(file).stem[:8]}: Dice {entry.per_image[file]['Dice']:.3f}")
        sheet = contact_sheet(maps, columns=2, captions=captions)
        written.append(write_png(folder / f"errors_{entry.name}.png", sheet))
    return written


def _number(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.{_DIGITS.get(name, 3)}f}"


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"
