"""Photographs of a run's report: whole images with their verdicts, and a crop for each failure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bccd_d2.evaluation.failures import KINDS, MEANINGS
from bccd_d2.io.images import read_image
from bccd_d2.io.records import confined
from bccd_d2.masks.cells import Cells
from bccd_d2.masks.coco import EVALUATE_AGAIN
from bccd_d2.masks.rle import rle_from_json, rle_runs
from bccd_d2.report.draw import (
    ERROR_COLOURS,
    FN,
    FP,
    TP,
    VERDICT_COLOURS,
    Colour,
    draw_outlines,
    draw_verdicts,
    error_map,
)
from bccd_d2.report.page import (
    Block,
    Figure,
    Grid,
    Heading,
    Key,
    Section,
    Table,
    Text,
    jpeg_figure,
)
from bccd_d2.report.run.files import Evaluated
from bccd_d2.report.run.plots import plot_matched_iou

PICTURE_WIDTH, CROP_WIDTH = 760, 560
BEST, WORST = 2, 4

Event = Mapping[str, Any]  # of verdicts.json: kind, and the places of cells in truth and prediction


@dataclass(frozen=True, eq=False)
class SeenImage:
    """One evaluated image, its pixels (H, W, 3) uint8 RGB, its cells and a verdict on each."""

    name: str
    pixels: np.ndarray
    truth: Cells
    truth_is: np.ndarray
    prediction: Cells
    prediction_is: np.ndarray


def see(evaluated: Evaluated, image_id: int) -> SeenImage:
    """An image of the evaluation, read again, with the cells that were compared then.

    Raises:
        FileNotFoundError: it is gone.
        ValueError: it is unreadable, or not the one that was evaluated, or its masks are broken.
    """
    found = evaluated.images[image_id]
    path, size = confined(evaluated.folder, found["file_name"]), tuple(found["size"])
    if not all(event["truth"] or event["prediction"] for event in found["events"]):
        raise ValueError(f"verdicts.json: {path.name} has an event without cells; {EVALUATE_AGAIN}")
    pixels = read_image(path, max_value=evaluated.max_value)
    if pixels.shape[:2] != size:
        raise ValueError(
            f"image {path} is not the one that was evaluated: it has height and width "
            f"{pixels.shape[:2]}, not {size}; {EVALUATE_AGAIN}"
        )
    return SeenImage(path.name, pixels, *cells_of(found, "truth"), *cells_of(found, "prediction"))


def cells_of(image: Mapping[str, Any], side: str) -> tuple[Cells, np.ndarray]:
    """The cells of an image of verdicts.json and the verdict on each, (N,) of str.

    Args:
        side: "truth" or "prediction".

    Raises:
        ValueError: a mask is broken; or not every cell has a verdict; or an event names more.
    """
    masks, verdicts = image[side]["masks"], image[side]["verdicts"]
    places = [place for event in image["events"] for place in event[side]]
    try:
        if len(masks) != len(verdicts) or max(places, default=-1) >= len(masks):
            raise ValueError("masks, verdicts and events do not fit together")
        rles = [rle_from_json({"size": image["size"], "counts": counts}) for counts in masks]
        for rle in rles:  # a broken one would lead pycocotools out of its memory
            rle_runs(rle)
    except ValueError as error:
        raise ValueError(
            f"verdicts.json, {side} of {image['file_name']}: {error}; {EVALUATE_AGAIN}"
        ) from error
    return Cells.from_rles(rles, tuple(image["size"])), np.array(verdicts, dtype=str)


def picture_sections(
    evaluated: Evaluated, absent: Mapping[str, str], examples: int
) -> list[Section]:
    """Best and worst images, and failures by kind with examples.

    Args:
        absent: what the run does not hold; see `RunFiles`.
        examples: most close-ups of each kind of failure.
    """
    images, failures = Section("images", "Best and worst images"), Section("failures", "Failures")
    if "analysis" not in absent:
        failures.blocks += _failure_table(evaluated.scores["failures"])
        found = evaluated.scores["matched_iou"]
        if found["median"] is not None:
            failures.blocks.append(plot_matched_iou(found["counts"], found["median"]))
    if "images" in absent:
        for section in (images, failures):
            section.blocks.append(Text(absent["images"], "absent"))
        return [images, failures]
    images.blocks += _ranked_images(evaluated)
    failures.blocks += _examples(evaluated, examples)
    return [images, failures]


def _ranked_images(evaluated: Evaluated) -> list[Block]:
    scored = [row for row in evaluated.per_image if row["PQ"] is not None]
    if not scored:
        return [Text("No images: they are ranked by PQ, and there are no cells.", "absent")]
    ranked = sorted(scored, key=lambda row: row["PQ"])
    worst = ranked[:WORST]
    best = [row for row in ranked[::-1][:BEST] if row not in worst]
    blocks: list[Block] = [
        Text("Ranked by PQ. The colour of an outline says what became of a cell:"),
        Key(VERDICT_COLOURS),
        Text("In the error maps the colour is of pixels:"),
        Key({"found": ERROR_COLOURS[TP], "missed": ERROR_COLOURS[FN],
             "invented": ERROR_COLOURS[FP]}),
    ]  # fmt: skip
    for title, rows in (("Worst", worst), ("Best", best)):
        for place, row in enumerate(rows, start=1):
            blocks.append(Heading(f"{title} {place}: {Path(row['file_name']).name}"))
            try:
                image = see(evaluated, row["image_id"])
            except (FileNotFoundError, ValueError) as error:
                blocks.append(Text(str(error), "absent"))
                continue
            events = evaluated.images[row["image_id"]]["events"]
            caption = (
                f"PQ {row['PQ']:.3f}, F1 {row['F1@.5']:.3f}, Dice {row['pixel_Dice']:.3f}; "
                f"{row['truth']:.0f} true cells, {row['predicted']:.0f} predicted; "
                f"{_wrong(events) or 'no failure'}."
            )
            blocks += [Text(caption), image_figures(image)]
    return blocks


def _wrong(events: Sequence[Event]) -> str:
    """How many events there are of each kind, in words; "" for none."""
    numbers = {kind: sum(event["kind"] == kind for event in events) for kind in KINDS}
    return ", ".join(f"{number} {kind}" for kind, number in numbers.items() if number)


def _failure_table(kinds: Mapping[str, Mapping[str, int]]) -> list[Block]:
    rows = [
        [kind, *(f"{kinds[kind][key]:,}" for key in ("events", "true_cells", "predicted_cells"))]
        for kind in KINDS
    ]
    sums = [sum(kinds[kind][key] for kind in KINDS) for key in ("true_cells", "predicted_cells")]
    rows.append(["all", "", *(f"{total:,}" for total in sums)])
    notes = [*(MEANINGS[kind] for kind in KINDS), ""]
    head = ["kind", "events", "true cells lost", "predicted cells wrong"]
    return [
        Table("Failures at the operating point, IoU .5, all images", head, rows, (1, 2, 3), notes),
        Text(
            "Lost true and wrong predicted cells are those that F1 counts against the model. A "
            "prediction that swallows two cells may still match the larger one; then only the "
            "smaller one is lost.", "note",
        ),
    ]  # fmt: skip


def _examples(evaluated: Evaluated, most: int) -> list[Block]:
    """Crops of each kind, image by image so that each file is read once."""
    events = {image_id: image["events"] for image_id, image in evaluated.images.items()}
    chosen = {kind: pick_examples(events, kind, most, max(1, most // 3)) for kind in KINDS}
    figures: dict[tuple[str, int], Figure] = {}
    for image_id in sorted({image_id for picked in chosen.values() for image_id, _ in picked}):
        try:
            image = see(evaluated, image_id)
        except (FileNotFoundError, ValueError):
            continue
        for kind, picked in chosen.items():
            for place, (number, event) in enumerate(picked):
                if number == image_id:
                    figures[kind, place] = failure_figure(image, event)
    blocks: list[Block] = [
        Text("Close-ups, ground truth left and prediction right: what takes part in the failure "
             "thick and in colour, its neighbours thin and white.")
    ]  # fmt: skip
    for kind in KINDS:
        found = [figures[kind, place] for place in range(most) if (kind, place) in figures]
        if found:
            total = evaluated.scores["failures"][kind]["events"]
            blocks.append(Heading(f"{kind.capitalize()}: {len(found)} of {total:,}"))
            blocks.append(Grid("crops", found))
    return blocks if len(blocks) > 1 else []


def pick_examples(
    images: Mapping[int, Sequence[Event]], kind: str, most: int = 6, per_image: int = 2
) -> list[tuple[int, Event]]:
    """Up to ``most`` events of a kind with their image's id, those of most cells first.

    No image gives more than ``per_image``, so that one bad image does not fill the page.

    Args:
        images: events by image id.
    """
    chosen = []
    for image_id, events in images.items():
        own = sorted((event for event in events if event["kind"] == kind), key=_most_cells_first)
        chosen += [(image_id, event) for event in own[:per_image]]
    return sorted(chosen, key=lambda item: _most_cells_first(item[1]))[:most]


def _most_cells_first(event: Event) -> int:
    return -len(event["truth"]) - len(event["prediction"])


def image_figures(image: SeenImage) -> Grid:
    """Truth, prediction and error map of one image, as three figures."""
    truth = draw_verdicts(image.pixels, image.truth, image.truth_is)
    predicted = draw_verdicts(image.pixels, image.prediction, image.prediction_is)
    errors = error_map(image.truth, image.prediction, image.pixels)
    pictures = (
        (truth, f"Ground truth: {len(image.truth)} cells"),
        (predicted, f"Prediction: {len(image.prediction)} cells"),
        (errors, "Error map: pixels found, missed, invented"),
    )
    return Grid(
        "image",
        [
            jpeg_figure(picture, f"{image.name}. {text}.", text, width=PICTURE_WIDTH)
            for picture, text in pictures
        ],
    )


def failure_figure(image: SeenImage, event: Event) -> Figure:
    """One failure close up: ground truth left, prediction right, what takes part thick."""
    sides = ((image.truth, event["truth"]), (image.prediction, event["prediction"]))
    window = crop_window(event_box(sides), image.pixels.shape[:2])
    colour = VERDICT_COLOURS[event["kind"]]
    left, right = (
        close_up(image.pixels, window, cells, members, colour) for cells, members in sides
    )
    gap = np.full((left.shape[0], 8, 3), 255, dtype=np.uint8)
    picture = np.hstack([left, gap, right])
    counts = (_count(len(event["truth"]), "true"), _count(len(event["prediction"]), "predicted"))
    parts, name = ", ".join(counts), Path(image.name).stem
    short = name if len(name) <= 16 else f"{name[:8]}…"
    x0, y0, x1, y1 = window
    return jpeg_figure(
        picture,
        f"{event['kind']}: {parts}; ground truth left, prediction right.",
        f"{parts[0].upper()}{parts[1:]}. {short}, x {x0} to {x1}, y {y0} to {y1} px",
        width=CROP_WIDTH,
    )


def event_box(sides: Sequence[tuple[Cells, Sequence[int]]]) -> np.ndarray:
    """(4,) float: the box x0 y0 x1 y1 round the chosen cells of each side."""
    every = [box for cells, members in sides for box in cells.boxes[list(members)]]
    boxes = np.array([box for box in every if box[2] > box[0]] or every, dtype=np.float64)
    return np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])


def _count(count: int, word: str) -> str:
    return f"{count or 'no'} {word} cell{'' if count == 1 else 's'}"


def crop_window(
    box: Sequence[float] | np.ndarray, image_size: tuple[int, int]
) -> tuple[int, int, int, int]:
    """A square x0 y0 x1 y1 round a box with as much again round it, moved into the image.

    At least 96 px wide, and cut off only where the image itself is smaller.
    """
    height, width = image_size
    side = max(96, round(1.9 * max(box[2] - box[0], box[3] - box[1])))
    corners = []
    for middle, limit in (((box[0] + box[2]) / 2, width), ((box[1] + box[3]) / 2, height)):
        start = int(np.clip(round(middle - side / 2), 0, max(0, limit - side)))
        corners.append((start, min(start + side, limit)))
    (x0, x1), (y0, y1) = corners
    return x0, y0, x1, y1


def close_up(
    image: np.ndarray,
    window: tuple[int, int, int, int],
    cells: Cells,
    members: Sequence[int],
    colour: Colour,
) -> np.ndarray:
    """(h, w, 3): the window, its cells outlined in white, the event's members in colour."""
    x0, y0, x1, y1 = window
    boxes = cells.boxes
    near = (boxes[:, 0] < x1) & (boxes[:, 2] > x0) & (boxes[:, 1] < y1) & (boxes[:, 3] > y0)
    chosen = np.zeros(len(cells), dtype=bool)
    chosen[list(members)] = True
    # Line widths are for an image 1600 px long: here they are wanted in px of the crop.
    unit = 1600 / max(image.shape[:2]) * max(x1 - x0, y1 - y0) / 276
    drawn = draw_outlines(image, cells[near & ~chosen], color=(255, 255, 255), thickness=1.5 * unit)
    drawn = draw_outlines(drawn, cells[chosen], color=colour, thickness=4 * unit, fill_alpha=0.15)
    crop = drawn[y0:y1, x0:x1]
    scale = (CROP_WIDTH - 8) / 2 / crop.shape[1]
    size = ((CROP_WIDTH - 8) // 2, max(1, round(scale * crop.shape[0])))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(crop, size, interpolation=method)
