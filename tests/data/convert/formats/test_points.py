"""Lists of points in text and CSV, complete or not."""

from __future__ import annotations

import numpy as np
import pytest
from pycocotools.coco import COCO

from bccd_d2.data.catalog import load_split
from bccd_d2.export.table import measure, write_csv
from bccd_d2.masks.cells import Cells

from .conftest import HEIGHT, WIDTH


def test_points_a_file_an_image(run, tmp_path):
    folder = tmp_path / "Label"
    folder.mkdir()
    (folder / "a.txt").write_text("22 8 3\n50 26 0\r\n50 26 0\n")
    (folder / "b.txt").write_text("10.5,20.5\n")
    (folder / "c.txt").write_text("")
    found = run("points", folder, partial=True)
    assert found.description["annotations"] == "points"
    assert found.description["complete"] is False and not found.skips
    first, second = found.cells["a.png"]
    assert first["point"] == [22, 8] and (first["name"], second["name"]) == ("3", "0")
    assert found.cells["b.png"][0]["point"] == [10.5, 20.5]
    assert found.cells["b.png"][0]["name"] == "cell"
    assert found.notes == {"the same cell twice, one kept": 1}
    loaded = COCO(str(found.report.files["train"]))
    assert len(loaded.getAnnIds()) == 3
    assert found.audit["summary"]["all"]["cell_area"] == {}
    pytest.importorskip("detectron2")
    records = load_split(found.report.out, "train")
    assert records[0]["annotations"][0]["point"] == [22, 8] and records[0]["label_file"] is None


@pytest.mark.parametrize(
    "text",
    [
        "image,x,y,class\na.png,22,8,RBC\nb.png,50,26,WBC\n",  # one table
        "\ufeff ;Label;X;Y;class;image\n1;s;22;8;RBC;images\\a.png\n2;s;50;26;WBC;b.png\n",
        "y\tx\ttype\tfilename\n8\t22\tRBC\ta\n26\t50\tWBC\tb\n",
    ],
)
def test_one_table_for_many_images(run, tmp_path, text):
    (tmp_path / "points.csv").write_text(text, encoding="utf-8")
    found = run("points", tmp_path / "points.csv")
    assert found.cells["a.png"][0]["point"] == [22, 8]
    assert found.cells["b.png"][0]["point"] == [50, 26]
    assert [found.cells[n][0]["name"] for n in ("a.png", "b.png")] == ["RBC", "WBC"]


def test_names_of_classes(run, tmp_path):
    (tmp_path / "points").mkdir()
    (tmp_path / "points" / "a.txt").write_text("22 8 1\n")
    (tmp_path / "shapes.txt").write_text("normal\nmacrocyte\n")
    found = run("points", tmp_path / "points", classes=tmp_path / "shapes.txt")
    assert found.description["categories"] == ["macrocyte"]
    again = run("points", tmp_path / "points", classes=tmp_path / "shapes.txt")
    assert again.description["fingerprint"] == found.description["fingerprint"]
    (tmp_path / "shapes.txt").write_text("normal\nmicrocyte\n")
    other = run("points", tmp_path / "points", classes=tmp_path / "shapes.txt")
    assert other.description["fingerprint"] != found.description["fingerprint"]


def test_the_table_of_predictions_goes_back_in(run, tmp_path):
    """It has centroids among many columns; a cell's centroid lies in the cell."""
    label_map = np.zeros((HEIGHT, WIDTH), np.int32)
    label_map[4:13, 20:25], label_map[30:50, 40:60] = 1, 2
    cells = Cells.from_label_map(label_map)
    path = write_csv(tmp_path / "a.csv", measure(cells, np.zeros((HEIGHT, WIDTH, 3), np.uint8)))
    found = run("points", path)
    assert [one["point"] for one in found.cells["a.png"]] == [[22.5, 8.5], [50, 40]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0.5 0.5 0.1 0.1\n", "given with --boxes"),
        ("22\n", "holds 1 values"),
        ("22 8\n1 x\n", "line 2 must be 2 finite numbers"),
        ("a,b\n1,2\n", "names no columns x and y"),
        ("900 8\n", "1 of 1 cells lie outside a (80x60 px); are x and y exchanged"),
        ("8 70\n8 75\n20 20\n", "2 of 3 cells lie outside"),
    ],
)
def test_a_bad_list_costs_its_image_only(run, tmp_path, text, message):
    (tmp_path / "p").mkdir()
    (tmp_path / "p" / "a.txt").write_text(text)
    (tmp_path / "p" / "b.txt").write_text("79.9 59.9\n900 900\n")
    found = run("points", tmp_path / "p")
    assert list(found.cells) == ["b.png"] and found.cells["b.png"][0]["point"] == [79.9, 59.9]
    (reason,) = (why for kind, why in found.skips if kind == "unreadable annotations")
    assert message in reason and "a.txt" in reason
    assert found.notes["cells outside the image, dropped"] == 1


def test_a_decimal_comma_among_commas_is_refused(run, tmp_path):
    (tmp_path / "a.csv").write_text("x,y,class\n22,5,8,0,RBC\n")
    with pytest.raises(ValueError, match=r"line 2 holds 5 values, the first line 3; write dec"):
        run("points", tmp_path / "a.csv")
