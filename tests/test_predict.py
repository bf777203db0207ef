"""The predict command: its files agree, bad ones are told, runs go on, ranks share the images."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import shapely
import tifffile
from PIL import Image

pytest.importorskip("detectron2")

from bccd_d2.inference.batch.outputs import KINDS
from bccd_d2.io import tiff_windows as windows
from bccd_d2.io.label_images import read_label_file
from bccd_d2.masks.cells import Cells
from bccd_d2.synth.smear import draw_smear

REPO = Path(__file__).resolve().parents[1]
OTSU = ["--config-file", str(REPO / "configs" / "otsu_watershed.yaml"), "--device", "cpu"]


@pytest.fixture(scope="module")
def smears(tmp_path_factory) -> Path:
    """Three images in two folders, two of one name, and a TIFF of two pages."""
    root = tmp_path_factory.mktemp("smears")
    pictures = [draw_smear(seed=seed, size=(240, 320)).image for seed in range(4)]
    (root / "two").mkdir()
    Image.fromarray(pictures[0]).save(root / "a.png")
    Image.fromarray(pictures[1]).save(root / "two" / "a.jpg", quality=95)
    tifffile.imwrite(root / "pages.tif", np.stack(pictures[2:]), photometric="rgb")
    return root


def predict(*options: str) -> int:
    import predict as tool

    return tool.main([*OTSU, "--quiet", *map(str, options)])


def written(folder: Path) -> dict[str, int]:
    """Every file with the time it was written."""
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def results(smears, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("results")
    assert predict("--input", smears, "--output", out, "--pixel-size", 0.2, "--tta", "flip") == 0
    return out


def test_every_kind_of_file_is_written_under_names_of_its_own(results):
    names = {"smears0_a", "two_a", "pages.page001", "pages.page002"}
    assert not (results / "types").exists()  # the model knows one class
    kinds = [kind for kind in KINDS if kind != "types"]
    found = {kind: {path.name for path in (results / kind).iterdir()} for kind in kinds}
    for kind in kinds:
        suffix = KINDS[kind]
        assert len(found[kind]) == 4
        stems = {name.removesuffix(suffix) for name in found[kind]}
        assert stems - {next(n for n in stems if n.endswith("_a") and n != "two_a")} == names - {
            "smears0_a"
        }
    assert not [name for name in written(results) if "/." in name or name.startswith(".")]


def test_the_files_of_an_image_agree_cell_by_cell(results):
    total = 0
    for path in (results / "labels").iterdir():
        name = path.stem
        label_map = read_label_file(path, compact=False)
        coco = json.loads((results / "coco" / f"{name}.json").read_text())
        cells = Cells.from_coco(coco["annotations"], label_map.shape)
        np.testing.assert_array_equal(cells.to_label_map(), label_map)
        collection = json.loads((results / "geojson" / f"{name}.geojson").read_text())
        with (results / "csv" / f"{name}.csv").open(newline="") as stream:
            rows = list(csv.DictReader(stream))
        areas = np.bincount(label_map.ravel())[1:].tolist()
        total += len(areas)
        shapes = [shapely.geometry.shape(f["geometry"]) for f in collection["features"]]
        assert all(shape.is_valid for shape in shapes)
        assert [shape.area for shape in shapes] == areas
        assert [int(row["area"]) for row in rows] == areas
        assert [float(row["score"]) for row in rows] == pytest.approx(cells.scores, abs=1e-5)
        assert all(0 <= float(row["uncertainty"]) <= 1 for row in rows)
        assert float(rows[0]["area_um2"]) == pytest.approx(areas[0] * 0.04, rel=1e-4)
        with Image.open(results / "overlay" / f"{name}.png") as overlay:
            assert overlay.size == label_map.shape[::-1]
    assert total > 10


def test_the_run_is_summed_up(results, smears):
    with (results / "counts.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [row["page"] for row in rows] == ["1", "1", "2", "1"]
    for row in rows:
        labels = read_label_file(results / "labels" / f"{row['image']}.tif", compact=False)
        assert int(row["cells"]) == labels.max() >= int(row["interior"])
        assert float(row["per_megapixel"]) == pytest.approx(labels.max() / 0.0768, rel=1e-4)
        assert float(row["per_mm2"]) == pytest.approx(labels.max() / (0.0768 * 0.04), rel=1e-4)
        assert float(row["coverage"]) == pytest.approx((labels > 0).mean(), rel=1e-4)
    record = json.loads((results / "run.json").read_text())
    assert record["images"] == {"done": 4, "skipped": 0, "failed": 0}
    assert record["options"]["pixel_size"] == 0.2 and record["models"][0]["sha256"] == ""
    assert set(record["seconds_by_step"]) == {"read", "model", "write"} and record["seconds"] > 0
    assert record["versions"]["torch"]


def test_one_bad_file_is_told_and_the_rest_go_on(smears, tmp_path, capsys):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes((smears / "two" / "a.jpg").read_bytes()[:900])
    out = tmp_path / "out"
    assert predict("--input", bad, smears / "a.png", "--output", out, "--save", "csv") == 1
    said = capsys.readouterr()
    assert "failed:" in said.err and "bad.jpg is unreadable" in said.err
    assert "1 image done, 0 finished before, 1 failed" in said.out
    assert [path.name for path in (out / "csv").iterdir()] == ["a.csv"]
    [failure] = json.loads((out / "run.json").read_text())["failures"]
    assert failure["file"] == str(bad)


def test_resume_does_only_what_is_not_done(smears, tmp_path):
    call = ["--input", smears, "--output", tmp_path, "--save", "csv", "labels"]
    assert predict(*call) == 0
    before = written(tmp_path)
    lost = next((tmp_path / "labels").glob("pages.page002*"))
    lost.unlink()
    assert predict(*call, "--resume") == 0
    after = written(tmp_path)
    changed = {name for name in before if after[name] != before[name]}
    assert {n for n in changed if "/" in n and "page002" not in n} == set()
    assert lost.is_file()
    rows = (tmp_path / "counts.csv").read_text().splitlines()
    assert len(rows) == 5
    assert json.loads((tmp_path / "run.json").read_text())["images"]["skipped"] == 3
    assert predict(*call, "--resume", "--scale", "1.5") == 0
    assert json.loads((tmp_path / "run.json").read_text())["images"]["done"] == 4


def test_ctrl_c_leaves_whole_files_and_a_run_that_goes_on(tmp_path):
    source = tmp_path / "in"
    source.mkdir()
    picture = Image.fromarray(draw_smear(seed=1, size=(240, 320)).image)
    for index in range(50):
        picture.save(source / f"{index:03d}.png", compress_level=1)
    out = tmp_path / "out"
    call = [sys.executable, str(REPO / "tools" / "predict.py"), *OTSU, "--input", str(source),
            "--output", str(out), "--save", "csv", "labels"]  # fmt: skip
    # A shell's background job ignores Ctrl-C, and what it starts would inherit that.
    hears = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(call, stderr=subprocess.DEVNULL, preexec_fn=hears)
    deadline = time.time() + 60
    while len(list((out / "finished").glob("*.json"))) < 3 and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 130
    record = json.loads((out / "run.json").read_text())
    done = record["images"]["done"]
    assert record["interrupted"] and 3 <= done < 50
    assert len(list((out / "labels").glob("*.tif"))) == len(list((out / "csv").glob("*"))) == done
    for path in (out / "labels").iterdir():
        assert read_label_file(path, compact=False).shape == (240, 320)
    assert not list(out.rglob(".*"))
    again = ["--input", source, "--output", out, "--save", "csv", "labels", "--resume"]
    assert predict(*again) == 0
    record = json.loads((out / "run.json").read_text())
    assert (record["images"]["skipped"], record["images"]["done"]) == (done, 50 - done)
    assert len((out / "counts.csv").read_text().splitlines()) == 51


def test_ranks_share_the_images(smears, tmp_path):
    call = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2",
            str(REPO / "tools" / "predict.py"), *OTSU, "--input", str(smears),
            "--output", str(tmp_path), "--save", "csv"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(call, check=True, timeout=120, env=environment, stderr=subprocess.DEVNULL)
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["processes"] == 2 and record["images"]["done"] == 4
    assert len((tmp_path / "counts.csv").read_text().splitlines()) == 5
    assert len(list((tmp_path / "csv").iterdir())) == 4


def test_an_image_read_in_windows_gives_the_same_files(smears, tmp_path, monkeypatch):
    picture = draw_smear(seed=5, size=(500, 640)).image
    path = tmp_path / "large.tif"
    tifffile.imwrite(path, picture, photometric="rgb", tile=(128, 128), compression="zlib")
    call = ["--input", path, "--tile", "400", "--overlap", "150"]
    assert predict(*call, "--output", tmp_path / "whole") == 0
    monkeypatch.setattr(windows.open_image, "__defaults__", (0, 1000))
    monkeypatch.setattr("bccd_d2.inference.batch.outputs.OVERVIEW", 320)
    assert predict(*call, "--output", tmp_path / "windows") == 0
    files = [tmp_path / folder / "labels/large.tif" for folder in ("whole", "windows")]
    labels = [read_label_file(file, compact=False) for file in files]
    assert labels[0].max() > 10
    np.testing.assert_array_equal(*labels)
    for name in ("csv/large.csv", "geojson/large.geojson", "coco/large.json"):
        assert (tmp_path / "whole" / name).read_text() == (tmp_path / "windows" / name).read_text()
    with tifffile.TiffFile(tmp_path / "windows/labels/large.tif") as tif:
        assert tif.pages[0].is_tiled and tif.pages[0].dtype == np.uint16


def test_its_coco_is_what_the_evaluation_scores(tiny_dataset, tiny_smears, tmp_path):
    """With all candidates and overlaps kept, so average precision is the same to the digit."""
    import train_net

    options = ["DATASETS.ROOT", str(tiny_dataset), "OUTPUT_DIR", str(tmp_path / "run"),
               "MODEL.DEVICE", "cpu"]  # fmt: skip
    assert train_net.main([*OTSU[:2], "--eval-only", *options]) == 0
    scored = tmp_path / "run/evaluation/bccd_test/coco_instances_results.json"
    call = ["--input", tiny_smears / "test" / "original", "--output", tmp_path / "out"]
    assert predict(*call, "--save", "coco", "--keep-overlaps", "--score-threshold", 0) == 0
    files = (tmp_path / "out" / "coco").iterdir()
    found = [a for path in files for a in json.loads(path.read_text())["annotations"]]

    def kept(results):
        return sorted((r["segmentation"]["counts"], round(r["score"], 5)) for r in results)

    assert len(found) >= 5
    assert kept(found) == kept(json.loads(scored.read_text()))


def test_overlaps_are_shared_out_or_kept(tmp_path):
    from bccd_d2.inference.batch.outputs import settle

    masks = np.zeros((3, 20, 30), bool)
    masks[0, 2:10, 2:10] = masks[1, 6:14, 6:14] = masks[2, 3:5, 3:5] = True
    from pycocotools import mask as coco_mask

    rles = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in masks]
    cells = Cells.from_rles(rles, (20, 30), [0.9, 0.8, 0.7])
    assert settle(cells).areas.tolist() == [64, 64 - 16]
    assert settle(cells, keep_overlaps=True).areas.tolist() == [64, 64, 4]


def test_mistakes_end_with_one_line_and_exit_code_2(smears, tmp_path, capsys):
    for options, message in [
        (["--input", tmp_path / "none.png"], "none.png does not exist"),
        (["--input", smears, "--tta", "spin"], "tta must be of"),
        (["--input", smears, "--max-value", "nan"], "max_value must be above 0 and finite"),
        (["--input", smears, "--pixel-size", "0"], "pixel size must be"),
        (["--input", smears, "--score-threshold", "7"], "must lie in [0, 1], got 7.0"),
        (["--input", smears, "--weights", "no_such_model"], "none of the shipped models"),
    ]:
        assert predict(*options, "--output", tmp_path / "out") == 2
        error = capsys.readouterr().err
        assert message in error and len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_tool_offers_every_kind():
    from bccd_d2.cli.predict import KINDS as OFFERED

    assert OFFERED == tuple(KINDS)


def test_results_of_another_image_of_the_same_name_are_not_overwritten(smears, tmp_path, capsys):
    assert predict("--input", smears / "a.png", "--output", tmp_path, "--save", "csv") == 0
    before = written(tmp_path)
    assert predict("--input", smears / "two" / "a.jpg", "--output", tmp_path) == 2
    error = capsys.readouterr().err
    assert str(smears / "a.png") in error and "choose another --output" in error
    assert written(tmp_path) == before


def test_a_kind_of_file_that_is_not_asked_for_again_does_not_stay_stale(smears, tmp_path):
    once = ["--input", smears / "a.png", "--output", tmp_path]
    assert predict(*once, "--save", "csv", "labels") == 0
    assert predict(*once, "--save", "labels", "--scale", 0.5) == 0
    assert not list((tmp_path / "csv").iterdir()) and list((tmp_path / "labels").iterdir())


def test_two_predictions_into_one_folder_at_once_are_refused(smears, tmp_path, capsys):
    from bccd_d2.io.lock import hold_folder

    with hold_folder(tmp_path, "prediction"):
        assert predict("--input", smears / "a.png", "--output", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"in use by prediction (process {os.getpid()}" in error and str(tmp_path) in error
    assert predict("--input", smears / "a.png", "--output", tmp_path) == 0


def test_an_output_that_cannot_be_written_is_told_before_any_work(smears, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    weights = ["--weights", "no such model"]
    assert predict("--input", smears, "--output", tmp_path / "file", *weights) == 2
    assert "cannot write into" in capsys.readouterr().err


def test_a_name_that_is_no_utf8_is_listed_and_the_rest_done(smears, tmp_path, capsys):
    odd = os.fsdecode(b"b\xff\x1b[31m.png")
    (tmp_path / "in").mkdir()
    shutil.copy(smears / "a.png", tmp_path / "in" / "a.png")
    try:
        shutil.copy(smears / "a.png", tmp_path / "in" / odd)
    except OSError:
        pytest.skip("this file system takes no such name")
    code = predict("--input", tmp_path / "in", "--output", tmp_path / "out")
    with (tmp_path / "out" / "counts.csv").open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    failed = json.loads((tmp_path / "out" / "run.json").read_text())["failures"]
    told = [Path(row["file"]).name for row in rows] + [Path(one["file"]).name for one in failed]
    assert len(told) == 2 and "a.png" in told and rows[0]["cells"]
    assert code == int(bool(failed))
    assert "\x1b" not in capsys.readouterr().err
