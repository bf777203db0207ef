"""What a run says of images that are not to be trusted, and of pixel sizes that cannot be."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("detectron2")

from bccd_d2.cli.predict import main
from bccd_d2.inference.batch.pixel_sizes import contradictions
from bccd_d2.io import tiff_windows
from bccd_d2.synth.smear import draw_smear

OTSU = ["--config-file", "otsu_watershed", "--device", "cpu", "--quiet", "--save", "csv"]


def predict(*options: object) -> int:
    return main([*OTSU, *map(str, options)])


def rows_of(out: Path, name: str = "counts.csv") -> dict[str, dict[str, str]]:
    with (out / name).open(newline="") as stream:
        return {row.get("image", row.get("id")): row for row in csv.DictReader(stream)}


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    return draw_smear(seed=0, size=(240, 320)).image


def test_an_image_to_be_checked_is_named_everywhere_and_no_failure(picture, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    Image.fromarray(picture).save(tmp_path / "in/good.png")
    Image.fromarray(np.full_like(picture, 235)).save(tmp_path / "in/blank.png")
    out = tmp_path / "out"
    assert predict("--images", tmp_path / "in", "--out", out) == 0
    rows = rows_of(out)
    assert float(rows["good"]["trust"]) > 0.5 and rows["good"]["check"] == ""
    assert float(rows["blank"]["trust"]) < 0.5
    reason = rows["blank"]["check"]
    assert reason.startswith("no cell was found")
    told = [line for line in capsys.readouterr().err.splitlines() if "check this image" in line]
    assert told == [f"check this image: blank: {reason}"]
    record = json.loads((out / "run.json").read_text())
    assert record["check_images"] == [{"image": "blank", "reason": reason}]
    assert predict("--images", tmp_path / "in", "--out", out, "--resume") == 0
    assert rows_of(out) == rows and "check this image: blank" in capsys.readouterr().err


def test_many_images_to_be_checked_are_cut_short(picture, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for number in range(22):
        Image.fromarray(np.full((20, 20, 3), 235, np.uint8)).save(tmp_path / f"in/{number}.png")
    assert predict("--images", tmp_path / "in", "--out", tmp_path / "out") == 0
    told = capsys.readouterr().err.splitlines()
    assert len([line for line in told if line.startswith("check this image: ")]) == 21
    assert "check this image: 2 more, see" in told[-1]


def test_an_image_in_windows_says_that_it_was_not_checked(picture, tmp_path, capsys, monkeypatch):
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(128, 128))
    monkeypatch.setattr(tiff_windows.open_image, "__defaults__", (None, None, 1000))
    assert predict("--images", path, "--out", tmp_path / "out") == 0
    assert "large are too large to be checked" in capsys.readouterr().err
    assert rows_of(tmp_path / "out")["large"]["trust"] == ""


def test_each_file_has_the_pixel_size_that_it_says(picture, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    for name, per_cm in (("fine", 120_000), ("coarse", 10_000)):
        tifffile.imwrite(source / f"{name}.tif", picture, photometric="rgb", metadata=None,
                         resolution=(per_cm, per_cm), resolutionunit="CENTIMETER")  # fmt: skip
    tifffile.imwrite(source / "oblong.tif", picture, photometric="rgb", metadata=None,
                     resolution=(40_000, 20_000), resolutionunit="CENTIMETER")  # fmt: skip
    Image.fromarray(picture).save(source / "plain.png", dpi=(300, 300))
    out = tmp_path / "out"
    assert predict("--images", source, "--out", out) == 0
    rows = rows_of(out)
    fine = rows["fine"]
    assert float(fine["pixel_size"]) == pytest.approx(1 / 12, rel=1e-5)
    assert fine["pixel_size_from"] == "resolution tags"
    assert float(fine["per_mm2"]) == pytest.approx(int(fine["cells"]) * 144 / 0.0768, rel=1e-4)
    assert rows["plain"]["pixel_size"] == rows["plain"]["per_mm2"] == ""
    cells = rows_of(out, "csv/fine.csv")
    inside = [float(c["equivalent_diameter_um"]) for c in cells.values()
              if c["touches_border"] == "False"]  # fmt: skip
    assert float(fine["median_diameter_um"]) == pytest.approx(np.median(inside), rel=1e-4)
    assert "area_um2" not in next(iter(rows_of(out, "csv/plain.csv").values()))
    record = json.loads((out / "run.json").read_text())
    assert record["pixel_sizes"]["1 um, resolution tags"] == 1
    wide = float(rows["coarse"]["median_diameter_um"])
    [warned] = [text for text in record["warnings"] if "coarse" in text]
    assert f"pixel size 1 um (resolution tags) makes the cells of coarse {wide:.3g} um" in warned
    assert any("oblong is not used" in text for text in record["warnings"])
    # The remedies work on the very images that asked for them.
    fitting = warned.partition("--pixel-size ")[2].split()[0]
    again = [source / "coarse.tif", source / "oblong.tif"]
    capsys.readouterr()
    assert predict("--images", *again, "--out", out / "2", "--pixel-size", fitting) == 0
    assert "pixel size" not in capsys.readouterr().err
    assert float(rows_of(out / "2")["coarse"]["median_diameter_um"]) == pytest.approx(7.5, rel=0.06)


def test_sizes_that_fit_raise_no_warning():
    said = {"image": "a", "pixel_size": 0.1, "pixel_size_from": "OME metadata"}
    for diameter, warned in ((3.9, True), (4.0, False), (7.5, False), (12.0, False), (52.0, True)):
        assert bool(contradictions([{**said, "median_diameter_um": diameter}])) is warned
    small, large = ({**said, "image": i, "median_diameter_um": d} for i, d in (("s", 2), ("l", 50)))
    assert len(contradictions([small, large])) == 2
    assert contradictions([{**said}, {"image": "b"}]) == []
