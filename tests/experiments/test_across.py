"""Methods over several datasets, of masks, boxes and points; what cannot train says so."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("detectron2")

from bccd_d2.data.convert.run import AnnotationSource, ConvertOptions, convert
from bccd_d2.evaluation.entries import DatasetEntries, Entry
from bccd_d2.experiments.across import choose_split
from bccd_d2.io.atomic import write_json_atomic
from bccd_d2.report.comparison.across import across_table, write_across


def as_other_kind(dataset: Path, out: Path, kind: str, cells: bool = True, **how) -> Path:
    """The test images of a converted dataset with boxes or points in place of masks."""
    content = json.loads((dataset / "annotations" / "instances_test.json").read_text())
    for image in content["images"]:
        image["split"] = "val"
    for annotation in content["annotations"]:
        del annotation["segmentation"]
        if kind == "points":
            x, y, w, h = annotation["bbox"]
            annotation["point"] = [x + w / 2, y + h / 2]
        annotation["iscrowd"] = int(not cells)
    description = json.loads((dataset / "dataset.json").read_text())
    images = dataset / description["image_root"] / "test" / "original"
    path = out.parent / f"{out.name}.json"
    write_json_atomic(path, content)
    source = AnnotationSource("coco", path, **how)
    convert(images=images, out=out, options=ConvertOptions(workers=1), annotations=source)
    return out


@pytest.fixture(scope="module")
def kinds(tiny_dataset: Path, tmp_path_factory) -> dict[str, Path]:
    """Datasets of boxes and of some points, without test images, and one without a cell."""
    base = tmp_path_factory.mktemp("kinds")
    return {
        "boxes": as_other_kind(tiny_dataset, base / "boxes", "boxes"),
        "points": as_other_kind(tiny_dataset, base / "points", "points", partial=True),
        "nothing": as_other_kind(tiny_dataset, base / "nothing", "boxes", cells=False),
    }


@pytest.fixture(scope="module")
def perfect(tiny_dataset: Path, tmp_path_factory) -> Path:
    """Label images that equal the truth."""
    folder = tmp_path_factory.mktemp("perfect")
    for path in (tiny_dataset / "labels" / "test").glob("*.png"):
        (folder / path.name).write_bytes(path.read_bytes())
    return folder


def test_one_row_per_method_and_one_column_per_dataset(
    tiny_dataset, kinds, perfect, tmp_path, capsys
):
    import compare

    call = ["--model", "otsu=otsu_watershed", "--labels", f"perfect={perfect}", "--device", "cpu"]
    for folder in (tiny_dataset, *kinds.values()):
        call += ["--dataset", str(folder)]
    assert compare.main([*call, "--out", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    head = f"| method | {tiny_dataset.name} test: AP / F1 / count error | boxes val: F1 / AP50 | "
    assert head + "points val: alone / merged | nothing val: F1 / AP50 |" in text
    row = next(line for line in text.splitlines() if line.startswith("| perfect"))
    cells = row.replace("**", "").split(" | ")[1:]
    assert cells[:3] == ["1.000 / 1.000 / 0.00", "1.000 / 1.000", "1.000 / 0.000"]
    assert cells[3].startswith("no cells / no cells")
    written = (tmp_path / "out" / "comparison.md").read_text()
    assert "not all cells" in written and "cannot be computed" in written
    found = json.loads((tmp_path / "out" / "comparison.json").read_text())["datasets"]
    assert list(found) == [tiny_dataset.name, "boxes", "points", "nothing"]
    points = found["points"]["methods"]["otsu"]["scores"]
    assert "spurious" not in points and 0 < points["alone"] <= points["recall"]
    assert found["nothing"]["methods"]["otsu"]["scores"]["F1"] is None
    assert found["boxes"]["methods"]["otsu"]["cost"]["s an image"] > 0
    assert (tmp_path / "out" / "boxes" / "perfect" / "bccd_val" / "per_image.csv").is_file()


def test_one_dataset_of_boxes_is_never_scored_by_masks(kinds, perfect, tmp_path, capsys):
    import compare

    call = ["--dataset", str(kinds["boxes"]), "--labels", f"perfect={perfect}"]
    assert compare.main([*call, "--out", str(tmp_path), "--device", "cpu"]) == 0
    assert "| boxes val: F1 / AP50 |" in capsys.readouterr().out
    assert not list(tmp_path.rglob("*.png"))


def test_datasets_of_one_name_and_splits_that_are_not_there(kinds, perfect, tmp_path, capsys):
    import compare

    call = ["--labels", f"perfect={perfect}", "--out", str(tmp_path), "--device", "cpu"]
    twice = ["--dataset", str(kinds["boxes"])] * 2
    assert compare.main([*call, *twice]) == 2
    assert "boxes twice" in capsys.readouterr().err
    wrong = ["--dataset", str(kinds["boxes"]), "DATASETS.TEST", '("bccd_test",)']
    assert compare.main([*call, *wrong]) == 2
    assert "has no split 'test' to compare on; it has val" in capsys.readouterr().err
    assert choose_split(str(kinds["boxes"]), ["DATASETS.TEST", '("bccd_val",)']).split == "val"


def test_eval_only_prints_what_the_dataset_allows(kinds, tmp_path, capsys, caplog):
    import train_net

    base = ["--config-file", "otsu_watershed", "--eval-only", "--device", "cpu"]
    val = ["DATASETS.TEST", '("bccd_val",)']
    for kind, groups in (("boxes", {"bbox", "boxes"}), ("points", {"points"})):
        out = tmp_path / kind
        call = [*base, "--dataset", str(kinds[kind]), "--out", str(out)]
        assert train_net.main(call) == 2  # it has no test images
        assert "add DATASETS.TEST '(\"bccd_val\",)'" in capsys.readouterr().err
        assert train_net.main([*call, *val]) == 0
        scores = json.loads((out / "evaluation" / "metrics.json").read_text())["scores"]
        assert set(scores) == groups
        printed = capsys.readouterr().out
        assert "report:" in printed and "no report page" not in printed
        page = (out / "report" / "report.md").read_text()
        assert ("box F1" in page) == (kind == "boxes") and "mask AP" not in page


@pytest.mark.parametrize("kind", ["boxes", "points"])
def test_training_on_boxes_or_points_is_refused_before_any_work(kinds, tmp_path, capsys, kind):
    import train_net

    out = tmp_path / "run"
    call = ["--config-file", "cpu_best", "--dataset", str(kinds[kind]), "--out", str(out)]
    call += ["DATASETS.TRAIN", '("bccd_val",)']
    assert train_net.main(call) == 2
    error = capsys.readouterr().err
    assert f"this dataset has {kind}, no masks" in error and "--eval-only" in error
    assert not out.exists()


def blank_masks(folder: Path, with_cells: tuple[str, ...] = ()) -> Path:
    """A converted dataset of images whose masks are empty, but for the splits named."""
    rng = np.random.default_rng(0)
    content = {"images": [], "annotations": [], "categories": []}
    for number, split in enumerate(("train", "train", "val", "test"), start=1):
        path = folder / "images" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(150, 250, (96, 96, 3), dtype=np.uint8)
        path.write_bytes(cv2.imencode(".png", pixels)[1].tobytes())
        content["images"].append({"id": number, "file_name": path.name, "split": split})
        if split in with_cells:
            square = [20, 20, 50, 20, 50, 50, 20, 50]
            content["annotations"].append(
                {"id": number, "image_id": number, "category_id": 1, "segmentation": [square]}
            )
    write_json_atomic(folder / "cells.json", content)
    source = AnnotationSource("coco", folder / "cells.json")
    options = ConvertOptions(workers=1)
    convert(images=folder / "images", out=folder / "out", options=options, annotations=source)
    return folder / "out"


def test_training_without_any_cell_is_refused(tmp_path, capsys, small_options):
    import train_net

    out = tmp_path / "run"
    base = ["--config-file", "cpu_tiny_maskrcnn", "--out", str(out)]
    options = small_options[: small_options.index("DATASETS.ROOT")]
    for given, key in (((), "TRAIN"), (("train",), "VALIDATION")):
        dataset = blank_masks(tmp_path / key, given)
        assert train_net.main([*base, "--dataset", str(dataset), *options]) == 2
        error = capsys.readouterr().err
        assert f"DATASETS.{key} names" in error and "has no cells" in error
    assert not out.exists()
    # the remedy that the message names
    fixed = ["DATASETS.VALIDATION", "()", "SOLVER.MAX_ITER", "1", "SOLVER.WARMUP_ITERS", "0"]
    assert train_net.main([*base, "--dataset", str(dataset), *options, *fixed]) == 0


def test_evaluation_without_any_cell_says_so(tmp_path, capsys):
    import compare
    import train_net

    dataset = blank_masks(tmp_path / "blank", ("train", "val"))
    call = ["--config-file", "otsu_watershed", "--eval-only", "--device", "cpu"]
    assert train_net.main([*call, "--dataset", str(dataset), "--out", str(tmp_path / "run")]) == 0
    printed = capsys.readouterr()
    assert "no cells" in printed.out + printed.err and "1.000" not in printed.out
    scores = json.loads((tmp_path / "run" / "evaluation" / "metrics.json").read_text())["scores"]
    assert scores["segm"]["AP"] is None and scores["pixels"]["Dice"] is None
    assert "no cells" in (tmp_path / "run" / "report" / "report.md").read_text()
    call = ["--dataset", str(dataset), "--model", "otsu=otsu_watershed", "--device", "cpu"]
    assert compare.main([*call, "--out", str(tmp_path / "comparison")]) == 0
    assert "no cells / no cells / " in capsys.readouterr().out


def test_the_table_marks_the_best_in_bold(tmp_path):
    scores = {"a": {"alone": 0.9, "merged": 0.2}, "b": {"alone": 0.8, "merged": 0.1}}
    rows = [Entry(name, values, {}) for name, values in scores.items()]
    lab = DatasetEntries("x", "val", "points", True, 3, 40, rows)
    text = across_table([lab])
    assert "| a | **0.900** / 0.200 |" in text and "| b | 0.800 / **0.100** |" in text
    other = DatasetEntries("y", "val", "points", True, 3, 40, rows[:1])
    with pytest.raises(ValueError, match="the same methods"):
        write_across([lab, other], tmp_path)
