"""The page of a converted dataset: what is in it and what is odd about it, seen rather than listed.

Example:
    write_dataset_report("datasets/bccd")  # writes datasets/bccd/explore/dataset.html and more
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from bccd_d2.io.tables import write_table
from bccd_d2.masks.classes import CELL
from bccd_d2.report.chart import Chart
from bccd_d2.report.dataset import plots
from bccd_d2.report.dataset.files import DatasetFiles, DatasetImage, read_dataset
from bccd_d2.report.draw import Colour, draw_outlines, write_png
from bccd_d2.report.page import (
    Block,
    Fact,
    Facts,
    Figure,
    Grid,
    Heading,
    Key,
    Page,
    Section,
    Table,
    Text,
    embed,
    jpeg_figure,
    save_png,
    write_page,
)
from bccd_d2.report.run.pictures import crop_window

INSIDE, BORDER, CLUMP = "inside", "at the border", "suspected clump"
CELL_COLOURS: dict[str, Colour] = {INSIDE: (0, 158, 115), BORDER: (0, 114, 178),
                                   CLUMP: (213, 94, 0)}  # fmt: skip
SAMPLES, CLUMPS, TWINS, LISTED = 6, 9, 6, 20


def write_dataset_report(folder: str | Path, out: str | Path | None = None) -> list[Path]:
    """Write dataset.html, dataset.md, the plots as PNG, images.csv and cells.csv; their paths.

    Args:
        folder: a converted dataset (holds ``dataset.json`` and ``audit.json``).
        out: None is ``folder/explore``.

    Raises:
        FileNotFoundError: no such dataset.
        ValueError: a file in it is broken.
    """
    dataset = read_dataset(folder)
    out = dataset.folder / "explore" if out is None else Path(out)
    written: list[Path] = []
    page = make_page(dataset, out, written)
    written = [*write_page(page, out, "dataset"), *written]
    return [*written, *_write_tables(dataset, out)]


def make_page(dataset: DatasetFiles, out: Path, written: list[Path]) -> Page:
    """All sections of a dataset's page; plots and samples go to ``out`` too, and to ``written``."""

    def plot(draw: Callable[[DatasetFiles], Chart], description: str, caption: str) -> Figure:
        chart = draw(dataset)
        name = draw.__name__.removeprefix("plot_")
        written.append(save_png(chart, out / f"{name}.png"))
        return embed(chart, description, f"How to read it: {caption}")

    sections = [
        Section("glance", "At a glance", _glance(dataset)),
        Section("splits", "Splits", [_split_table(dataset), *_type_table(dataset)]),
        Section("samples", "Samples", _samples(dataset, out, written)),
        Section("cells", "Cells and their sizes", [Grid("plots", [
            plot(plots.plot_cells_an_image, "Histogram of cells per image, a line a split.",
                 "lines of the splits should look alike; a model that may answer with at most 100 "
                 "cells misses some wherever the line reaches beyond 100."),
            plot(plots.plot_areas, "Histogram of cell areas, a line a split.",
                 "a second hump to the right, at twice the area, would be pairs of merged cells; "
                 "specks would show on the far left. The last bin holds all larger ones."),
            plot(plots.plot_shapes, "Scatter plot of height over width of all cells' boxes.",
                 "round cells lie on the line. Border cells are cut off and lie below and left of "
                 "the cloud, clumps beyond it."),
            plot(plots.plot_coverage, "Histogram of the covered share of images.",
                 "far right are crowded images, where cells touch and are hard to tell apart."),
        ])]),
        Section("border", "Border cells", [
            Text(_border_text(dataset)),
            plot(plots.plot_border, "Scatter plot: share of border cells over cells per image.",
                 "many images at 0% beside many well above it: annotators drew cut-off cells in "
                 "some images and skipped them in others. Look at interior scores then."),
        ]),
        Section("colours", "Colours", [
            plot(plots.plot_colours, "Mean colours of the images and their contrast.",
                 "clusters are stains, cameras or laboratories. A split that lies apart from the "
                 "training images tests another thing than it seems to; see INPUT.STAIN."),
        ]),
        Section("clumps", "Suspected clumps", _clumps(dataset)),
        Section("duplicates", "Near-duplicates", _duplicates(dataset)),
        Section("findings", "Other findings", _findings(dataset)),
    ]  # fmt: skip
    name = dataset.description["name"]
    total = dataset.audit["summary"]["all"]
    subtitle = f"{total['images']:,} images, {total['cells']:,} cells, in {dataset.folder}."
    return Page(f"Dataset {name}", subtitle, sections)


def _glance(dataset: DatasetFiles) -> list[Block]:
    total = dataset.audit["summary"]["all"]
    count, area = total["cells_per_image"], total["cell_area"]
    covered = total["covered"]
    facts = [
        Fact("images", f"{total['images']:,}", ", ".join(dataset.splits())),
        Fact("cells", f"{total['cells']:,}"),
        Fact("cells per image", f"{count.get('50', 0):.0f}",
             f"median; {count['min']} to {count['max']}"),
        Fact("area of a cell", f"{area['50']:,.0f} px" if area else "none",
             f"median; 98% from {area['1']:,.0f} to {area['99']:,.0f}" if area else ""),
        Fact("covered by cells", f"{covered['50']:.0f}%" if covered else "none",
             f"median; {covered['0']:.0f} to {covered['100']:.0f}%" if covered else ""),
        Fact("border cells", f"{total['border_cells']:.1%}", "of all cells"),
        Fact("suspected clumps", f"{total['suspected_clumps']:,}", "several cells drawn as one"),
        Fact("near-duplicates", str(len(dataset.audit["findings"]["near_duplicates"])), "pairs"),
    ]  # fmt: skip
    return [Facts(facts)]


def _split_table(dataset: DatasetFiles) -> Table:
    summary = dataset.audit["summary"]
    names = [*dataset.splits(), "all"]
    lines: tuple[tuple[str, Callable[[Mapping[str, Any]], str]], ...] = (
        ("images", lambda s: f"{s['images']:,}"),
        ("cells", lambda s: f"{s['cells']:,}"),
        ("cells per image, mean", lambda s: f"{s['cells_per_image']['mean']:.1f}"),
        ("cells per image, most", lambda s: f"{s['cells_per_image']['max']}"),
        ("images of over 100 cells", lambda s: f"{s['share_of_images_over_100_cells']:.1%}"),
        ("median area, px", lambda s: f"{s['cell_area']['50']:,.0f}" if s["cell_area"] else "-"),
        ("median cover", lambda s: f"{s['covered']['50']:.1f}%" if s["covered"] else "-"),
        ("border cells", lambda s: f"{s['border_cells']:.1%}"),
        ("suspected clumps", lambda s: f"{s['suspected_clumps']:,}"),
        ("mean red, 0 to 255", lambda s: f"{s['pixel_mean_rgb'][0]:.0f}"),
        ("mean green", lambda s: f"{s['pixel_mean_rgb'][1]:.0f}"),
        ("mean blue", lambda s: f"{s['pixel_mean_rgb'][2]:.0f}"),
        ("image sizes", lambda s: f"{len(s['image_sizes'])}"),
    )
    rows = [[title, *(value(summary[name]) for name in names)] for title, value in lines]
    return Table("Figures by split", ["", *names], rows, range(1, len(names) + 1))


def _type_table(dataset: DatasetFiles) -> list[Block]:
    """How many cells there are of each category; [] where all are "cell"."""
    summary = dataset.audit["summary"]
    names = [*dataset.splits(), "all"]
    every = summary["all"].get("categories", {})
    if not every.keys() - {CELL}:
        return []
    rows = [
        [kind, *(f"{summary[name]['categories'].get(kind, 0):,}" for name in names)]
        for kind in every
    ]
    return [Table("Cells by category", ["", *names], rows, range(1, len(names) + 1))]


def _samples(dataset: DatasetFiles, out: Path, written: list[Path]) -> list[Block]:
    """Images from the emptiest to the most crowded, evenly by rank, every cell outlined."""
    ranked = sorted(dataset.images.values(), key=lambda image: image.row["cells"])
    places = np.unique(np.linspace(0, len(ranked) - 1, min(SAMPLES, len(ranked))).round())
    figures, missing = [], []
    for number, place in enumerate(places.astype(int), start=1):
        image = ranked[place]
        try:
            picture = _outlined(image.read(), image)
        except (FileNotFoundError, ValueError) as error:
            missing.append(Text(str(error), "absent"))
            continue
        row = image.row
        text = (
            f"{row['file']} ({row['split']}): {row['cells']} cells, "
            f"{row['covered_percent']:.0f}% covered"
        )
        height = max(1, round(picture.shape[0] * 1000 / picture.shape[1]))
        small = cv2.resize(picture, (1000, height), interpolation=cv2.INTER_AREA)
        written.append(write_png(out / f"sample_{number}.png", small))
        figures.append(jpeg_figure(small, f"{text}; outlined.", text, width=900))
    intro = Text("From the emptiest to the most crowded image, evenly by rank. Outlines:")
    return [intro, Key(CELL_COLOURS), Grid("plots", figures), *missing]


def _outlined(picture: np.ndarray, image: DatasetImage) -> np.ndarray:
    kinds = np.where(image.clump, CLUMP, np.where(image.border, BORDER, INSIDE))
    for kind, colour in CELL_COLOURS.items():
        alpha = 0.0 if kind == INSIDE else 0.25
        picture = draw_outlines(
            picture, image.cells[kinds == kind], color=colour, thickness=5, fill_alpha=alpha
        )
    return picture


def _border_text(dataset: DatasetFiles) -> str:
    rows = [image.row for image in dataset.images.values() if image.row["cells"]]
    none = sum(row["border_cells"] == 0 for row in rows)
    share = dataset.audit["summary"]["all"]["border_cells"]
    return (
        f"{share:.1%} of all cells touch the image's border; {none} of {len(rows)} images with "
        "cells have none there."
    )


def _clumps(dataset: DatasetFiles) -> list[Block]:
    """The largest suspects, close up, at most one per image."""
    found = [image for image in dataset.images.values() if image.clump.any()]
    total = sum(int(image.clump.sum()) for image in found)
    if not total:
        return [Text("None found.")]
    largest = sorted(found, key=lambda image: -int(image.cells.areas[image.clump].max()))
    figures = []
    for image in largest[:CLUMPS]:
        index = int(np.where(image.clump, image.cells.areas, -1).argmax())
        try:
            picture = image.read()
        except (FileNotFoundError, ValueError):
            continue
        drawn = draw_outlines(picture, image.cells[[index]], color=CELL_COLOURS[CLUMP], thickness=5)
        x0, y0, x1, y1 = crop_window(image.cells.boxes[index], picture.shape[:2])
        text = f"{image.row['file']}, label {image.labels[index]}: {image.cells.areas[index]:,} px"
        figures.append(jpeg_figure(drawn[y0:y1, x0:x1], text, text, width=400))
    return [
        Text(
            f"{total:,} annotated cells in {len(found)} images look like several cells drawn as "
            "one: larger and less convex than others. The largest, one per image; "
            "bccd convert --split-clumps cuts them apart."
        ),
        Grid("crops", figures),
    ]


def _duplicates(dataset: DatasetFiles) -> list[Block]:
    pairs = dataset.audit["findings"]["near_duplicates"]
    if not pairs:
        return [Text("None found: no two images look the same.")]
    across = sum(pair["across_splits"] for pair in pairs)
    warning = f"{across} of them across splits: scores there are too good. " if across else ""
    blocks: list[Block] = [
        Text(f"{len(pairs)} pairs of images look the same. {warning}Nearest first:")
    ]
    for pair in pairs[:TWINS]:
        text = " and ".join(
            f"{f} ({s})" for f, s in zip(pair["files"], pair["splits"], strict=True)
        )
        blocks.append(Text(f"{text}: {pair['differing_bits']} of 256 bits differ."))
        figures = []
        for file in pair["files"]:
            try:
                picture = dataset.images[file].read()
            except (FileNotFoundError, ValueError):
                continue
            figures.append(jpeg_figure(picture, file, file, width=420))
        blocks.append(Grid("crops", figures))
    return blocks


def _findings(dataset: DatasetFiles) -> list[Block]:
    findings = dataset.audit["findings"]
    groups = (
        ("Images without cells", findings["images_without_cells"]),
        ("Masks that are all foreground", findings["masks_of_one_cell_over_everything"]),
        ("Masks that were not binary", [
            f"{item['file']}: {item['grey_values']} grey values"
            for item in findings["masks_with_more_than_two_grey_values"]
        ]),
        ("Skipped files", [
            f"{skip['file']} ({skip['kind']}): {skip['reason']}" for skip in findings["skipped"]
        ]),
    )  # fmt: skip
    blocks: list[Block] = []
    for title, entries in groups:
        blocks.append(Heading(f"{title}: {len(entries) or 'none'}"))
        blocks += [Text(entry) for entry in entries[:LISTED]]
        if len(entries) > LISTED:
            blocks.append(Text(f"and {len(entries) - LISTED} more, see audit.json", "note"))
    return blocks


def _write_tables(dataset: DatasetFiles, out: Path) -> list[Path]:
    """images.csv, the audit's rows, and cells.csv, one row a cell."""
    rows = []
    for image in dataset.images.values():
        row = dict(image.row)
        for key in ("mean_rgb", "std_rgb"):
            parts = zip(("red", "green", "blue"), row.pop(key), strict=True)
            row |= {f"{key.removesuffix('_rgb')}_{name}": value for name, value in parts}
        rows.append(row)
    cells = []
    for image in dataset.images.values():
        areas, boxes = image.cells.areas.tolist(), image.cells.boxes.astype(int).tolist()
        for index, (x0, y0, x1, y1) in enumerate(boxes):
            cells.append({
                "file": image.row["file"], "split": image.row["split"],
                "label": int(image.labels[index]), "area_px": areas[index],
                "x0": x0, "y0": y0, "x1": x1, "y1": y1,
                "touches_border": int(image.border[index]),
                "suspected_clump": int(image.clump[index]),
            })  # fmt: skip
    head = ["file", "split", "label", "area_px", "x0", "y0", "x1", "y1", "touches_border",
            "suspected_clump"]  # fmt: skip
    return [
        write_table(out / "images.csv", rows, None if rows else ["file"]),
        write_table(out / "cells.csv", cells, head),
    ]
