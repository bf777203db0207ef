"""The notebook for Colab, run from its first cell to its last where there is no Colab."""

from __future__ import annotations

import csv
import json
import sys
import types
from pathlib import Path

import cv2
import pytest

pytest.importorskip("pandas", reason="needs pandas: pip install 'bccd_d2[table]'")

from bccd_d2.synth.smear import draw_smear

PATH = Path(__file__).resolve().parents[2] / "integrations" / "colab" / "bccd.ipynb"
NOTEBOOK = json.loads(PATH.read_text(encoding="utf-8"))
CODE = ["".join(one["source"]) for one in NOTEBOOK["cells"] if one["cell_type"] == "code"]


def run() -> dict:
    """The names that its cells leave."""
    names: dict = {"__name__": "__main__"}
    for number, source in enumerate(CODE):
        exec(compile(source, f"cell {number}", "exec"), names)
    return names


def check_files(folder: Path, stem: str, cells: int) -> None:
    rows = list(csv.DictReader((folder / f"{stem}.csv").open()))
    features = json.loads((folder / f"{stem}.geojson").read_text())["features"]
    assert len(rows) == len(features) == cells >= 5
    assert {"area", "type", "pallor_area"} <= set(rows[0])
    assert cv2.imread(str(folder / f"{stem}.png")).ndim == 3


def test_it_is_kept_without_outputs_and_asks_colab_only_there():
    code = [one for one in NOTEBOOK["cells"] if one["cell_type"] == "code"]
    assert all(one["outputs"] == [] and one["execution_count"] is None for one in code)
    for source in CODE:
        lines = source.splitlines()
        assert all(line.startswith("    ") for line in lines if "files." in line), source


def test_elsewhere_it_outlines_a_drawn_smear(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run()
    assert names["overlay"].shape == names["image"].shape == (480, 640, 3)
    check_files(tmp_path / "bccd_output", "drawn", len(names["cells"]))


def test_in_colab_it_installs_what_is_uploaded_and_downloads_the_results(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    smear = draw_smear(seed=3, size=(300, 400), n_cells=9)
    cv2.imwrite("my smear.png", smear.image[..., ::-1])
    uploads, calls, downloads = iter(["b.whl", "my smear.png"]), [], []
    files = types.SimpleNamespace(upload=lambda: {next(uploads): b""}, download=downloads.append)
    colab = types.ModuleType("google.colab")
    colab.files = files
    monkeypatch.setitem(sys.modules, "google", types.ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    monkeypatch.setattr("subprocess.run", lambda call, **how: calls.append(call))
    names = run()
    assert calls[0][-1] == "b.whl[table]" and names["name"] == "my smear.png"
    check_files(tmp_path / "bccd_output", "my smear", len(names["cells"]))
    assert [Path(one).suffix for one in downloads] == [".csv", ".geojson", ".png"]


@pytest.mark.slow
def test_a_kernel_runs_it(tmp_path):
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient and ipykernel")
    nbformat = pytest.importorskip("nbformat")
    notebook = nbformat.reads(PATH.read_text(encoding="utf-8"), as_version=4)
    nbformat.validate(notebook)
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()
    shown = [kind for cell in notebook.cells for one in cell.get("outputs", [])
             for kind in one.get("data", {})]  # fmt: skip
    assert "image/png" in shown and "text/html" in shown
    assert (tmp_path / "bccd_output" / "drawn.csv").is_file()
