"""The page of a dataset of rectangles, its pictures and tables."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("jinja2")

from bccd_d2.report.dataset.files import read_dataset
from bccd_d2.report.dataset.page import _type_table, write_dataset_report

from .pages import check_self_contained

SECTIONS = ["glance", "splits", "samples", "cells", "border", "colours", "clumps", "duplicates",
            "findings"]  # fmt: skip
PLOTS = {"cells_an_image.png", "areas.png", "shapes.png", "coverage.png", "border.png",
         "colours.png"}  # fmt: skip


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_page_and_the_files_beside_it(small_dataset: Path, tmp_path: Path, capsys):
    import explore

    out = tmp_path / "out"
    assert explore.main(["--dataset", str(small_dataset), "--out", str(out)]) == 0
    assert str(out / "dataset.html") in capsys.readouterr().out
    names = {path.name for path in out.iterdir()}
    samples = {f"sample_{number}.png" for number in (1, 2, 3)}
    assert names == PLOTS | samples | {"dataset.html", "dataset.md", "images.csv", "cells.csv"}
    page = check_self_contained((out / "dataset.html").read_text())
    assert page.sections == SECTIONS
    # 6 drawings, 3 samples, 1 clump, 2 twins
    assert len(page.images) == 12
    assert "x.png (unreadable): <broken> & empty" in page.text
    assert "a.png, label 4: 900 px" in page.text and "7 of 256 bits differ" in page.text
    assert "1 of 2 images with cells have none there" in page.text
    assert "| cells | 6 | 6 |" in (out / "dataset.md").read_text()
    cells = rows(out / "cells.csv")
    assert len(cells) == 6 and sum(int(cell["area_px"]) for cell in cells) == 4 * 900 + 2 * 600
    assert [c["label"] for c in cells if c["suspected_clump"] == "1"] == ["4"]
    assert [c["file"] for c in cells if c["touches_border"] == "1"] == ["a.png"]
    images = rows(out / "images.csv")
    assert [image["cells"] for image in images] == ["4", "0", "2"]
    assert images[0]["mean_green"] == "170.0"


def test_a_converted_dataset_with_its_own_audit(tiny_dataset: Path, tmp_path: Path):
    written = write_dataset_report(tiny_dataset, tmp_path)
    page = check_self_contained(written[0].read_text())
    assert page.sections == SECTIONS and "train, val, test" in page.text
    audit = json.loads((tiny_dataset / "audit.json").read_text())
    assert len(rows(tmp_path / "cells.csv")) == audit["summary"]["all"]["cells"]


def test_images_that_are_gone_are_named(small_dataset: Path):
    for path in (small_dataset / "images").iterdir():
        path.unlink()
    written = write_dataset_report(small_dataset)
    assert written[0] == small_dataset / "explore" / "dataset.html"
    page = check_self_contained(written[0].read_text())
    assert "a.png does not exist" in page.text and len(page.images) == 6


def test_no_dataset_and_an_audit_of_another_one(small_dataset: Path, tmp_path: Path, capsys):
    import explore

    assert explore.main(["--dataset", str(tmp_path)]) == 2
    assert "bccd convert" in capsys.readouterr().err
    audit = json.loads((small_dataset / "audit.json").read_text())
    audit["images"][0]["file"] = "other.png"
    (small_dataset / "audit.json").write_text(json.dumps(audit))
    assert explore.main(["--dataset", str(small_dataset)]) == 2
    assert "is not annotated" in capsys.readouterr().err


def test_categories_are_counted_by_split(small_dataset: Path, tmp_path: Path):
    shutil.copytree(small_dataset, tmp_path / "d", dirs_exist_ok=True)
    path = tmp_path / "d" / "audit.json"
    audit = json.loads(path.read_text())
    for name, summary in audit["summary"].items():
        summary["categories"] = {"red": 3, "white": 1} if name == "all" else {"red": 3}
    path.write_text(json.dumps(audit))
    dataset = read_dataset(tmp_path / "d")
    (table,) = _type_table(dataset)
    assert table.rows[1][0] == "white" and table.rows[1][-1] == "1" and table.rows[1][1] == "0"
    assert _type_table(read_dataset(small_dataset)) == []
