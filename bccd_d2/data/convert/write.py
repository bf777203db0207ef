"""The json files of a converted dataset, put together from the annotations on disk, and swapped in.

A dataset is one unit: readers find the old one or the new one, or, in the few renames between,
no dataset.json and so no dataset.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bccd_d2.data.convert.image import part_path
from bccd_d2.data.convert.pairing import relative_posix
from bccd_d2.data.convert.record import ImageRecord

CELL = "cell"
DESCRIPTION = "dataset.json"
PRODUCTS = (DESCRIPTION, "annotations", "labels", "audit.json", "audit.txt")
WORK_PREFIX = ".convert-"


def write_split(
    folder: Path,
    split: str,
    records: Sequence[ImageRecord],
    chosen: Sequence[int],
    image_root: Path,
    assigned: Sequence[str],
    categories: Sequence[str] = (CELL,),
) -> str:
    """Stream one COCO json from the parts under ``folder``; one image is in memory at a time.

    Image and annotation ids are numbered over the whole dataset, so an image has the same ids in
    every split and fold.

    Args:
        folder: the dataset being written.
        split: the json is ``annotations/instances_<split>.json``.
        records: all images of the dataset, in order.
        chosen: indices of the split's images.
        image_root: what file names are relative to.
        assigned: the name of each image's own split ("train", "val" or "test").
        categories: names; their ids count from 1.

    Returns:
        The json's path relative to ``folder``.
    """
    name = f"annotations/instances_{split}.json"
    first = np.cumsum([0] + [record.annotations for record in records])
    ids = {name: number for number, name in enumerate(categories, start=1)}
    listed = [{"id": ids[name], "name": name, "supercategory": "blood"} for name in categories]
    (folder / "annotations").mkdir(exist_ok=True)
    with open(folder / name, "w", encoding="utf-8") as stream:
        info = {"description": f"cells, split {split}", "version": "1"}
        if records and records[0].kind != "masks":
            info["annotations"] = records[0].kind
        stream.write(f'{{"info": {json.dumps(info)},\n"categories": {json.dumps(listed)},\n')
        images = [_image(records[i], i, image_root, assigned[i]) for i in chosen]
        stream.write('"images": ' + json.dumps(images) + ',\n"annotations": [')
        separator = "\n"
        for index in chosen:
            part = json.loads(part_path(folder, records[index].pair).read_text("utf-8"))
            for number, annotation in enumerate(part, start=int(first[index]) + 1):
                places = {"id": number, "image_id": index + 1}
                places["category_id"] = ids[annotation.get("category", CELL)]
                stream.write(separator + json.dumps({**places, **annotation}))
                separator = ",\n"
        stream.write("\n]}\n")
    return name


def _image(record: ImageRecord, index: int, image_root: Path, split: str) -> dict[str, Any]:
    height, width = record.image_size
    entry = {
        "id": index + 1,
        "file_name": relative_posix(record.pair.image, image_root),
        "height": height,
        "width": width,
        "value_range": record.value_range,
    }
    if record.kind == "masks":
        entry["label_file"] = f"labels/{record.pair.source}/{record.pair.stem}.png"
    if record.diameter is not None:
        entry["diameter"] = record.diameter
    return entry | {"split": split}


def check_replaceable(out: Path) -> None:
    """Refuse a folder that holds things of the same names that no conversion put there.

    Raises:
        ValueError: it does.
        NotADirectoryError: ``out`` is a file.
    """
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"out {out} is a file; choose a folder")
    ours = (out / DESCRIPTION).is_file() or any(out.glob(f"{WORK_PREFIX}*"))
    taken = [name for name in PRODUCTS if (out / name).exists()]
    if taken and not ours:
        raise ValueError(
            f"out {out} already holds {', '.join(taken)}, but no {DESCRIPTION}: not a converted "
            f"dataset, so it is left alone. Choose another folder"
        )


def publish(work: Path, out: Path) -> None:
    """Rename the products from ``work`` (a folder inside ``out``) to ``out``; the old ones go.

    The description leaves first and arrives last. When a rename fails the old dataset is put back.
    """
    old = work / "old"
    old.mkdir()
    try:
        for name in PRODUCTS:
            if (out / name).exists():
                os.replace(out / name, old / name)
        for name in reversed(PRODUCTS):
            if (work / name).exists():
                os.replace(work / name, out / name)
    except OSError:
        for name in reversed(PRODUCTS):
            if (old / name).exists():
                if (out / name).exists():
                    os.replace(out / name, work / name)
                os.replace(old / name, out / name)
        raise


def remove_leftovers(out: Path) -> None:
    """Delete what interrupted conversions left in ``out``; the caller holds the folder."""
    for folder in out.glob(f"{WORK_PREFIX}*"):
        shutil.rmtree(folder, ignore_errors=True)
