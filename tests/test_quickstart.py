"""docs/quickstart.ipynb runs, with a model that needs no weights and with the shipped one."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import tifffile

pytest.importorskip("detectron2")
pytest.importorskip("pandas", reason="needs pandas: pip install 'bccd_d2[table]'")

from bccd_d2.models.file import read_registry

REPO = Path(__file__).resolve().parents[1]
NOTEBOOK = json.loads((REPO / "docs" / "quickstart.ipynb").read_text(encoding="utf-8"))
OTSU = str(REPO / "configs" / "otsu_watershed.yaml")
SHIPPED = pytest.param(
    "",
    marks=pytest.mark.skipif(not read_registry()["default"], reason="no model ships yet"),
)


@pytest.mark.parametrize("config_file", [OTSU, SHIPPED])
def test_the_notebook_goes_from_an_image_to_files(config_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    names: dict = {"__name__": "__main__"}
    for cell in NOTEBOOK["cells"]:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "quickstart.ipynb", "exec"), names)
            if "parameters" in cell["metadata"].get("tags", []):
                names["CONFIG_FILE"] = config_file
    count = len(names["settled"])
    assert 5 < count < 60
    assert f"{len(names['cells'])} cells" in capsys.readouterr().out
    out = tmp_path / "quickstart_output"
    assert tifffile.imread(out / "labels.tif").max() == count
    rows = list(csv.DictReader((out / "cells.csv").open()))
    assert [int(row["area"]) for row in rows] == names["settled"].areas.tolist()
    assert len(json.loads((out / "coco.json").read_text())["annotations"]) == count
    assert len(json.loads((out / "cells.geojson").read_text())["features"]) == count


def test_the_notebook_is_kept_without_outputs():
    code = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
