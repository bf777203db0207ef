"""What is in a dataset of masks, and what is odd about it: the figures, the findings, the text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bccd_d2.data.convert.hashing import near_duplicates
from bccd_d2.data.convert.pairing import Skip, relative_posix
from bccd_d2.data.convert.placement import misplaced
from bccd_d2.data.convert.record import ImageRecord
from bccd_d2.data.convert.types import unmatched_rows
from bccd_d2.io.text import printable
from bccd_d2.io.value_range import mixed_ranges, summarise_ranges

CROWDED = 100
PERCENTILES = (1, 5, 25, 33, 50, 67, 75, 95, 99)


def percentiles(values: np.ndarray, levels: Sequence[int] = PERCENTILES) -> dict[str, float]:
    """Level -> value, rounded to 2 decimals; {} for no values."""
    values = np.asarray(values)
    if values.size == 0:
        return {}
    found = np.percentile(values, levels)
    return {str(k): round(float(v), 2) for k, v in zip(levels, found, strict=True)}


def summarise(records: Sequence[ImageRecord]) -> dict[str, Any]:
    """Figures of a group of images: counts, sizes, colours, coverage, border cells, specks, holes.

    Sizes are in px of the files, shares in [0, 1], colours 0 to 255.
    """
    counts = np.array([record.cells for record in records], dtype=np.int64)
    sized = [record for record in records if record.kind != "points"]
    areas = _joined([record.areas for record in sized])
    sides = _joined([r.boxes[:, 2:] - r.boxes[:, :2] for r in sized]).reshape(-1, 2)
    mean, deviation = colour_statistics(records)
    size_names = Counter(f"{r.image_size[1]}x{r.image_size[0]}" for r in records)
    total = max(int(counts.sum()), 1)
    return {
        "images": len(records),
        "cells": int(counts.sum()),
        "max_cells": int(counts.max(initial=0)),
        "image_sizes": dict(size_names.most_common()),
        "cells_per_image": {
            "min": int(counts.min(initial=0 if len(counts) == 0 else counts[0])),
            "mean": round(float(counts.mean()), 2) if len(counts) else 0.0,
            **percentiles(counts, (5, 50, 95)),
            "max": int(counts.max(initial=0)),
        },
        "share_of_images_over_100_cells": round(float(np.mean(counts > CROWDED)), 4)
        if len(counts)
        else 0.0,
        "covered": percentiles(np.array([r.covered for r in sized]) * 100, (0, 5, 50, 95, 100)),
        "cell_area": percentiles(areas),
        "cell_width": percentiles(sides[:, 0]),
        "cell_height": percentiles(sides[:, 1]),
        "border_cells": round(sum(int(r.border.sum()) for r in records) / total, 4),
        "pixel_mean_rgb": mean,
        "pixel_std_rgb": deviation,
        "specks": sum(r.specks for r in records),
        "holes": sum(r.holes for r in records),
        "suspected_clumps": sum(len(r.suspects) for r in records),
        "split_cells": sum(int(r.is_split.sum()) for r in records),
        "categories": dict(Counter(c for r in records for c in r.categories).most_common()),
        "ignored": sum(len(r.ignored_categories) for r in records),
        "typed": sum(r.unmatched.typed for r in records),
    }


def colour_statistics(records: Sequence[ImageRecord]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over all sampled pixels, each red, green, blue, 0 to 255.

    Zeros for no images.
    """
    count = sum(record.pixel_count for record in records)
    if count == 0:
        return [0.0] * 3, [0.0] * 3
    mean = np.asarray(sum(record.pixel_sum for record in records)) / count
    square = np.asarray(sum(record.pixel_square_sum for record in records)) / count
    deviation = np.sqrt(np.maximum(square - np.square(mean), 0))
    return [round(float(v), 3) for v in mean], [round(float(v), 3) for v in deviation]


def _joined(arrays: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate(arrays) if arrays else np.zeros(0)


def build_audit(
    records: Sequence[ImageRecord], assigned: Sequence[str], skips: Sequence[Skip], image_root: Any
) -> dict[str, Any]:
    """The audit as JSON data: ``summary`` by split, ``findings`` and a row for each of ``images``.

    Args:
        records: all converted images.
        assigned: the split of each.
        skips: files left out.
        image_root: what file names are relative to.
    """
    names = [relative_posix(record.pair.image, image_root) for record in records]
    groups: dict[str, list[ImageRecord]]
    groups = {split: [] for split in ("train", "val", "test") if split in assigned}
    for record, split in zip(records, assigned, strict=True):
        groups[split].append(record)
    return {
        "format_version": 1,
        "summary": {
            "all": summarise(records),
            **{split: summarise(group) for split, group in groups.items()},
        },
        "findings": {
            "skipped": [vars(skip) for skip in skips],
            "near_duplicates": _duplicates(records, names, assigned),
            **_values(records),
            "images_without_cells": [
                n for n, r in zip(names, records, strict=True) if r.cells == 0
            ],
            "masks_of_one_cell_over_everything": [
                n for n, r in zip(names, records, strict=True)
                if r.covered >= 0.99 and r.kind == "masks"
            ],
            "masks_with_more_than_two_grey_values": [
                {"file": n, "grey_values": r.grey_values, "mode": r.mask_mode}
                for n, r in zip(names, records, strict=True)
                if r.grey_values > 2 and r.reading == "binary"
            ],
            "suspected_clumps": [
                {"file": n, "labels": r.suspects}
                for n, r in zip(names, records, strict=True)
                if r.suspects
            ],
            **unmatched_rows(names, [record.unmatched for record in records]),
        },
        "annotation_notes": dict(sum((r.notes for r in records), Counter()).most_common()),
        "images": [_row(n, r, s) for n, r, s in zip(names, records, assigned, strict=True)],
    }


def _values(records: Sequence[ImageRecord]) -> dict[str, Any]:
    """How images and masks were read, and what of that is doubtful."""
    ranges = summarise_ranges(record.value_range for record in records)
    return {
        "value_ranges": ranges,
        "masks_read_as": dict(Counter(record.reading for record in records)),
        "warnings": [text for text in (mixed_ranges(ranges), misplaced(records)) if text],
    }


def _duplicates(
    records: Sequence[ImageRecord], names: Sequence[str], assigned: Sequence[str]
) -> list[dict[str, Any]]:
    hashes = np.array([record.image_hash for record in records])
    return [
        {
            "files": [names[a], names[b]],
            "splits": [assigned[a], assigned[b]],
            "across_splits": assigned[a] != assigned[b],
            "differing_bits": bits,
        }
        for a, b, bits in near_duplicates(hashes)
    ]


def _row(name: str, record: ImageRecord, split: str) -> dict[str, Any]:
    mean, deviation = colour_statistics([record])
    median = float(np.median(record.areas)) if record.cells else 0.0
    return {
        "file": name,
        "split": split,
        "width": record.image_size[1],
        "height": record.image_size[0],
        "cells": record.cells,
        "covered_percent": round(100 * record.covered, 3),
        "mask_percent": round(100 * record.mask_pixels / np.prod(record.image_size).item(), 3),
        "median_cell_area": median,
        "border_cells": int(record.border.sum()),
        "suspected_clumps": len(record.suspects),
        "split_cells": int(record.is_split.sum()),
        "specks": record.specks,
        "speck_pixels": record.speck_pixels,
        "holes": record.holes,
        "hole_pixels": record.hole_pixels,
        "grey_values": record.grey_values,
        "mask_mode": record.mask_mode,
        "mask_read_as": record.reading,
        "ignored_pixels": record.ignored_pixels,
        "value_range": record.value_range,
        "mean_rgb": mean,
        "std_rgb": deviation,
        **({"notes": dict(record.notes)} if record.notes else {}),
    }


def format_audit(audit: Mapping[str, Any]) -> str:
    """The audit as text for people: a table with a column a split, then the findings."""
    summary = audit["summary"]
    columns = [name for name in ("train", "val", "test", "all") if name in summary]
    lines = ["".join([f"{'':<30}", *(f"{name:>24}" for name in columns)])]
    for title, value in _TABLE:
        cells = (f"{value(summary[name]):>24}" for name in columns)
        lines.append("".join([f"{title:<30}", *cells]))
    found = _finding_lines(audit["findings"])
    lines += [*_annotation_lines(audit), "", *found]
    return "\n".join(map(printable, lines)) + "\n"


def _annotation_lines(audit: Mapping[str, Any]) -> list[str]:
    """Categories, and what was done to annotations; [] for binary masks."""
    summary = audit["summary"]["all"]
    lines = [f"category {name}: {count:,}" for name, count in summary["categories"].items()]
    if summary["typed"]:
        lines.append(f"cells with a type: {summary['typed']:,} of {summary['cells']:,}")
    if summary["ignored"]:
        lines.append(f"ignored (crowds, difficult): {summary['ignored']:,}")
    lines += [f"{note}: {count:,}" for note, count in audit.get("annotation_notes", {}).items()]
    return ["", *lines] if lines else []


def _range(summary: Mapping[str, Any], key: str, low: str, middle: str, high: str) -> str:
    values = summary[key]
    return f"{values[low]:.0f} / {values[middle]:.0f} / {values[high]:.0f}" if values else "-"


def _colour(values: Sequence[float]) -> str:
    return " ".join(f"{value:.0f}" for value in values)


_TABLE = (
    ("images", lambda s: f"{s['images']:,}"),
    ("cells", lambda s: f"{s['cells']:,}"),
    ("cells per image, min/med/max", lambda s: _range(s, "cells_per_image", "min", "50", "max")),
    ("images with over 100 cells", lambda s: f"{s['share_of_images_over_100_cells']:.1%}"),
    ("covered %, min/med/max", lambda s: _range(s, "covered", "0", "50", "100")),
    ("cell area px, p1/med/p99", lambda s: _range(s, "cell_area", "1", "50", "99")),
    ("cell width px, p1/med/p99", lambda s: _range(s, "cell_width", "1", "50", "99")),
    ("cell height px, p1/med/p99", lambda s: _range(s, "cell_height", "1", "50", "99")),
    ("cells at the border", lambda s: f"{s['border_cells']:.1%}" if s["cell_area"] else "-"),
    ("mean colour, R G B", lambda s: _colour(s["pixel_mean_rgb"])),
    ("its spread, R G B", lambda s: _colour(s["pixel_std_rgb"])),
    ("specks dropped", lambda s: f"{s['specks']:,}"),
    ("holes in cells", lambda s: f"{s['holes']:,}"),
    ("suspected clumps", lambda s: f"{s['suspected_clumps']:,}"),
    ("pieces of split clumps", lambda s: f"{s['split_cells']:,}"),
    ("image sizes", lambda s: ", ".join(s["image_sizes"]) if len(s["image_sizes"]) == 1
     else f"{len(s['image_sizes'])} sizes"),
)


def _finding_lines(findings: Mapping[str, Any], most: int = 20) -> list[str]:
    across = [d for d in findings["near_duplicates"] if d["across_splits"]]
    within = [d for d in findings["near_duplicates"] if not d["across_splits"]]
    grey = findings["masks_with_more_than_two_grey_values"]
    sections = (
        ("near-duplicate images in different splits (leakage)", [_twins(d) for d in across]),
        ("near-duplicate images within a split", [_twins(d) for d in within]),
        ("images without cells", findings["images_without_cells"]),
        ("masks that are all foreground", findings["masks_of_one_cell_over_everything"]),
        ("masks that were not binary", [f"{g['file']}: {g['grey_values']} values" for g in grey]),
        *_type_sections(findings),
        ("files that are no inputs", findings.get("left_out", [])),
        ("skipped", [f"[{s['kind']}] {s['file']}: {s['reason']}" for s in findings["skipped"]]),
    )
    ranges, readings = findings["value_ranges"], findings["masks_read_as"]
    lines = [
        "values that became 0 to 255: " + ", ".join(f"{k} ({n})" for k, n in ranges.items()),
        "masks read as: " + ", ".join(f"{k} ({n})" for k, n in readings.items()),
    ]
    lines += [f"warning: {warning}" for warning in findings["warnings"]]
    for title, entries in sections:
        lines.append(f"{title}: {len(entries) or 'none'}")
        lines += [f"  {entry}" for entry in entries[:most]]
        if len(entries) > most:
            lines.append(f"  ... and {len(entries) - most} more, see audit.json")
    return lines


def _type_sections(findings: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """What is left over where types were joined to cells; [] where nothing is."""
    strays, open_cells = (
        findings.get(key, []) for key in ("typed_objects_without_a_cell", "cells_without_a_type")
    )
    if not strays and not open_cells:
        return []
    places = [(s, ", ".join(f"{v:g}" for v in s["box"])) for s in strays]
    objects = [f"{s['file']}: {s['category']} at {place}" for s, place in places]
    cells = [f"{c['file']}: {len(c['labels'])} cells" for c in open_cells]
    return [
        ("typed objects that no cell fits", objects),
        ("images with cells that no typed object fits", cells),
    ]


def _twins(pair: Mapping[str, Any]) -> str:
    (a, b), (x, y) = pair["files"], pair["splits"]
    return f"{a} ({x}) ~ {b} ({y}), {pair['differing_bits']} of 256 bits differ"
