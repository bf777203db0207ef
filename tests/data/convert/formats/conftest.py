"""Folders of small images, and the shortest way from annotations to a converted dataset."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bccd_d2.data.convert.run import AnnotationSource, ConvertOptions, convert

HEIGHT, WIDTH = 60, 80


def write_image(path: Path, seed: int = 0, size: tuple[int, int] = (HEIGHT, WIDTH)) -> Path:
    """An image of noise, which no other seed's looks like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    done, data = cv2.imencode(path.suffix, pixels)
    assert done
    path.write_bytes(data.tobytes())
    return path


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


class Converted:
    """A converted dataset and what was said about it."""

    def __init__(self, report: Any) -> None:
        self.report = report
        self.description = json.loads((report.out / "dataset.json").read_text())
        self.audit = report.audit
        self.notes = report.audit["annotation_notes"]
        self.skips = [(skip.kind, skip.reason) for skip in report.skips]
        self.images: dict[str, dict] = {}
        self.cells: dict[str, list[dict]] = {}
        for split in ("train", "val", "test"):
            if split in report.files:
                self._add(json.loads(report.files[split].read_text()))

    def _add(self, content: dict) -> None:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        categories = {one["id"]: one["name"] for one in content["categories"]}
        for image in content["images"]:
            self.images[image["file_name"]] = image
            self.cells[image["file_name"]] = []
        for one in content["annotations"]:
            one["name"] = categories[one["category_id"]]
            self.cells[names[one["image_id"]]].append(one)

    def boxes(self, image: str) -> list[list[float]]:
        return [one["bbox"] for one in self.cells[image]]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Images a.png, b.png and c.jpg of 80x60 px."""
    folder = tmp_path / "images"
    for seed, name in enumerate(("a.png", "b.png", "c.jpg")):
        write_image(folder / name, seed)
    return folder


@pytest.fixture
def run(images: Path, tmp_path: Path) -> Callable[..., Converted]:
    """``run("coco", path, ...)`` converts `images` with these annotations into a new folder."""

    def start(option: str, path: Path, **choices: Any) -> Converted:
        out = tmp_path / f"out{len(list(tmp_path.glob('out*')))}"
        names = ("classes", "partial", "ignore")
        source = AnnotationSource(
            option, path, **{k: choices.pop(k) for k in names if k in choices}
        )
        folder = choices.pop("images", images)
        options = ConvertOptions(workers=1, **{"val_fraction": 0.0, **choices})
        return Converted(convert(images=folder, out=out, options=options, annotations=source))

    return start
