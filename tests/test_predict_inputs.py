"""What the predict command takes for an input, and how it says what it did not."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("detectron2")

from bccd_d2.synth.smear import draw_smear

from .test_predict import predict


@pytest.fixture
def picture() -> np.ndarray:
    """(240, 320, 3) uint8, a smear."""
    return draw_smear(seed=0, size=(240, 320)).image


def test_what_was_no_input_and_how_values_were_scaled_is_recorded(picture, tmp_path, capsys):
    source = tmp_path / "in"
    source.mkdir()
    Image.fromarray(picture).save(source / "s.png")
    Image.fromarray(picture[..., 0] // 255 * 255).save(source / "s_mask.png")
    (source / "dangling.png").symlink_to(tmp_path / "gone.png")
    deep = np.stack([picture.astype(np.uint16) * 16] * 2)
    tifffile.imwrite(source / "z.ome.tif", deep, photometric="rgb", metadata={"axes": "ZYXS"})
    tifffile.imwrite(source / "dark.tif", deep[0] // 8, photometric="rgb")
    out = source / "results"
    assert predict("--input", source, "--output", out, "--save", "geojson") == 1
    record = json.loads((out / "run.json").read_text())
    assert record["images"] == {"done": 4, "skipped": 0, "failed": 1}
    assert any("s_mask.png: by its name a mask of s" in text for text in record["left_out"])
    assert record["value_ranges"] == {"uint16 0 to 4095": 2, "uint16 0 to 1023": 1}
    assert "--max-value 4095" in record["warnings"][0]
    told = capsys.readouterr().err
    assert "left out:" in told and "warning:" in told and "gone.png, which does not exist" in told
    with (out / "counts.csv").open(newline="") as stream:
        rows = {row["image"]: row for row in csv.DictReader(stream)}
    assert rows["z.ome.page002"]["z"] == "1" and rows["s"]["value_range"] == ""
    features = json.loads((out / "geojson/z.ome.page002.geojson").read_text())["features"]
    assert features[0]["geometry"]["plane"] == {"c": -1, "z": 1, "t": 0}
    # Its own results are no inputs of the next run; white can be said.
    again = ["--input", source, "--output", tmp_path / "out", "--save", "csv"]
    assert predict(*again, "--max-value", 4095) == 1
    record = json.loads((tmp_path / "out/run.json").read_text())
    assert record["images"]["done"] == 4 and record["warnings"] == []
    assert any("results of an earlier run" in text for text in record["left_out"])


def test_a_file_replaced_while_it_is_read_is_done_again(picture, tmp_path, monkeypatch):
    from bccd_d2.inference.batch import work as batch

    source = tmp_path / "a.png"
    Image.fromarray(picture).save(source)
    original = batch.open_image

    def meddle(path, *options):
        found = original(path, *options)
        Image.fromarray(picture[::-1]).save(source)
        return found

    monkeypatch.setattr(batch, "open_image", meddle)
    call = ["--input", source, "--output", tmp_path / "out", "--save", "csv"]
    assert predict(*call) == 0
    monkeypatch.undo()
    assert predict(*call, "--resume") == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["images"]["done"] == 1
    assert predict(*call, "--resume") == 0
    assert json.loads((tmp_path / "out/run.json").read_text())["images"]["skipped"] == 1
