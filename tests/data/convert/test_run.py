"""The converter: exact pixels, layout of the output, splits, options, and the real sample."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import convert_to_coco
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from bccd_d2.data.convert import write as coco_files
from bccd_d2.data.convert.run import ConvertOptions, convert, is_current
from bccd_d2.io.label_images import read_label_file

SIZE = (90, 120)


def scene(seed: int, cells: int) -> tuple[np.ndarray, np.ndarray]:
    """RGB noise, and the label map of ``cells`` rectangles on a grid of 24 px, two of them cut."""
    rng = np.random.default_rng(seed)
    label_map = np.zeros(SIZE, np.int32)
    places = rng.permutation(15)[:cells]
    for label, place in enumerate(sorted(places.tolist()), start=1):
        y, x = 24 * (place // 5), 24 * (place % 5)
        h, w = rng.integers(10, 22, 2)
        label_map[y : y + h, x : x + w] = label
    return rng.integers(0, 256, (*SIZE, 3)).astype(np.uint8), label_map


def write_root(root: Path, images: dict[str, int], suffix: str = ".png") -> Path:
    """A dataset in the real layout; ``images`` is split -> number of images."""
    for split, count in images.items():
        for kind in ("original", "mask"):
            (root / split / kind).mkdir(parents=True, exist_ok=True)
        for index in range(count):
            image, label_map = scene(100 * len(split) + index, 3 + index % 9)
            mask = np.repeat(((label_map > 0) * 255).astype(np.uint8)[..., None], 3, axis=2)
            Image.fromarray(image).save(root / split / "original" / f"{split}_{index:02}{suffix}")
            Image.fromarray(mask).save(root / split / "mask" / f"{split}_{index:02}.png")
    return root


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text("utf-8"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_root(tmp_path_factory.mktemp("convert") / "root", {"train": 10, "test": 3})


@pytest.fixture(scope="module")
def out(root: Path) -> Path:
    convert(root, root.parent / "out", ConvertOptions(workers=1))
    return root.parent / "out"


def test_labels_and_json_hold_the_same_pixels_as_the_mask(root: Path, out: Path) -> None:
    content = load(out / "annotations/instances_train.json")
    for image in content["images"]:
        mask = np.asarray(Image.open(root / image["file_name"].replace("original", "mask")))
        label_map = read_label_file(out / image["label_file"])
        np.testing.assert_array_equal(label_map > 0, mask[..., 0] == 255)
        cells = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert [a["label"] for a in cells] == list(range(1, label_map.max() + 1))
        for a in cells:
            expected = label_map == a["label"]
            np.testing.assert_array_equal(coco_mask.decode(a["segmentation"]) > 0, expected)
            rows, columns = np.nonzero(expected)
            x, y, w, h = a["bbox"]
            assert (x, y) == (columns.min(), rows.min())
            assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1)
            assert a["area"] == expected.sum()
            at_edge = expected[[0, -1]].any() or expected[:, [0, -1]].any()
            assert a["touches_border"] == at_edge
            assert (a["category_id"], a["iscrowd"], a["rule"]) == (1, 0, "component")
    assert any(a["touches_border"] for a in content["annotations"])
    assert not all(a["touches_border"] for a in content["annotations"])


def test_pycocotools_reads_it(out: Path) -> None:
    coco = COCO(out / "annotations/instances_test.json")
    assert len(coco.getImgIds()) == 3
    cells = coco.loadAnns(coco.getAnnIds(catIds=[1]))
    assert all(coco.annToMask(a).sum() == a["area"] for a in cells)


def test_official_test_stays_and_validation_comes_from_train(out: Path) -> None:
    contents = {s: load(out / f"annotations/instances_{s}.json") for s in ("train", "val", "test")}
    stems = {s: {Path(i["file_name"]).stem for i in c["images"]} for s, c in contents.items()}
    assert stems["test"] == {"test_00", "test_01", "test_02"}
    assert len(stems["val"]) == 3
    assert stems["train"] | stems["val"] == {f"train_{i:02}" for i in range(10)}
    assert not stems["train"] & stems["val"]
    for image in contents["val"]["images"]:
        assert image["file_name"].startswith("train/original/")
        assert image["label_file"].startswith("labels/train/")
        assert image["split"] == "val"
    ids = [a["id"] for c in contents.values() for a in c["annotations"]]
    assert len(set(ids)) == len(ids)


def test_description(root: Path, out: Path) -> None:
    description = load(out / "dataset.json")
    assert description["format_version"] == 1
    assert description["image_root"] == "../root"
    assert description["options"]["min_area"] == 16
    assert description["versions"]["python"]
    counts = description["counts"]
    for split, entry in description["splits"].items():
        content = load(out / entry["json"])
        sizes = np.bincount([a["image_id"] for a in content["annotations"]])
        assert counts[split] == {
            "images": len(content["images"]),
            "cells": len(content["annotations"]),
            "max_cells": sizes.max(),
        }
    train = load(out / "annotations/instances_train.json")
    areas = [a["area"] for a in train["annotations"]]
    found = description["statistics"]["cell_area_percentiles"]
    assert found["33"] == pytest.approx(np.percentile(areas, 33), abs=0.01)
    assert found["67"] == pytest.approx(np.percentile(areas, 67), abs=0.01)
    pixels = [np.asarray(Image.open(root / i["file_name"]))[::4, ::4] for i in train["images"]]
    pixels = np.concatenate([p.reshape(-1, 3) for p in pixels])
    statistics = description["statistics"]
    np.testing.assert_allclose(statistics["pixel_mean_rgb"], pixels.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(statistics["pixel_std_rgb"], pixels.std(axis=0), atol=1e-3)


def test_moving_both_folders_together_keeps_it_working(tmp_path: Path) -> None:
    write_root(tmp_path / "here" / "root", {"train": 2})
    convert(tmp_path / "here" / "root", tmp_path / "here" / "out", ConvertOptions(workers=1))
    shutil.move(tmp_path / "here", tmp_path / "there with spaces")
    moved = tmp_path / "there with spaces"
    image_root = moved / "out" / load(moved / "out" / "dataset.json")["image_root"]
    content = load(moved / "out" / "annotations/instances_train.json")
    assert all((image_root / image["file_name"]).is_file() for image in content["images"])
    assert is_current(moved / "out", moved / "root", ConvertOptions())


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }


def test_processes_and_repetition_do_not_change_a_byte(root: Path, out: Path) -> None:
    other = root.parent / "parallel"
    convert(root, other, ConvertOptions(workers=2))
    assert files_of(other) == files_of(out)
    assert sorted(p.name for p in other.iterdir()) == sorted(coco_files.PRODUCTS)


def test_seed_changes_the_validation_images_only(root: Path, out: Path, tmp_path: Path) -> None:
    convert(root, tmp_path / "out", ConvertOptions(workers=1, seed=7))
    changed = {k for k, v in files_of(tmp_path / "out").items() if files_of(out)[k] != v}
    assert "annotations/instances_val.json" in changed
    assert not any(name.startswith("labels/") or "test" in name for name in changed)


def test_folds_partition_the_train_folder(root: Path, tmp_path: Path) -> None:
    report = convert(root, tmp_path, ConvertOptions(workers=1, folds=3))
    seen: list[str] = []
    for fold in range(3):
        names = {
            part: {i["file_name"] for i in load(report.files[f"fold{fold}_{part}"])["images"]}
            for part in ("train", "val")
        }
        assert len(names["train"] | names["val"]) == 10
        assert not names["train"] & names["val"]
        assert report.counts[f"fold{fold}_val"]["images"] in (3, 4)
        seen += names["val"]
    assert sorted(seen) == [f"train/original/train_{i:02}.png" for i in range(10)]
    assert "fold2_val" in load(tmp_path / "dataset.json")["splits"]


def test_max_images_takes_so_many_of_each_folder(root: Path, tmp_path: Path) -> None:
    report = convert(root, tmp_path, ConvertOptions(workers=1, max_images=2, val_fraction=0))
    assert {s: c["images"] for s, c in report.counts.items()} == {"train": 2, "test": 2}


def test_plain_folders_with_a_carved_test_split(root: Path, tmp_path: Path) -> None:
    folders = {"images": root / "train/original", "masks": root / "train/mask"}
    options = ConvertOptions(workers=1, val_fraction=0.2, test_fraction=0.3)
    report = convert(out=tmp_path, options=options, **folders)
    assert {s: c["images"] for s, c in report.counts.items()} == {"train": 5, "val": 2, "test": 3}
    image = load(report.files["test"])["images"][0]
    assert "/" not in image["file_name"]
    assert (tmp_path / image["label_file"]).is_file()
    assert is_current(tmp_path, options=options, **folders)


def test_test_fraction_is_refused_where_a_test_folder_exists(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has a test folder"):
        convert(root, tmp_path / "out", ConvertOptions(test_fraction=0.2))
    assert not (tmp_path / "out").exists()


def test_polygons_fill_the_same_pixels(root: Path, out: Path, tmp_path: Path) -> None:
    convert(root, tmp_path, ConvertOptions(workers=1, polygons=True))
    plain = load(out / "annotations/instances_train.json")["annotations"]
    outlined = load(tmp_path / "annotations/instances_train.json")["annotations"]
    for a, b in zip(plain, outlined, strict=True):
        rles = coco_mask.frPyObjects(b["segmentation"], *SIZE)
        filled = coco_mask.decode(coco_mask.merge(rles))
        np.testing.assert_array_equal(filled, coco_mask.decode(a["segmentation"]))


def converted_labels(tmp_path: Path, mask: np.ndarray, **options: Any) -> tuple[np.ndarray, list]:
    """Label map and annotations of one image with this mask."""
    for kind in ("original", "mask"):
        (tmp_path / "root/train" / kind).mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.zeros((*mask.shape[:2], 3), np.uint8)).save(
        tmp_path / "root/train/original/a.png"
    )
    Image.fromarray(mask).save(tmp_path / "root/train/mask/a.png")
    report = convert(tmp_path / "root", tmp_path / "out", ConvertOptions(workers=1, **options))
    content = load(report.files["train"])
    return read_label_file(tmp_path / "out/labels/train/a.png"), content["annotations"]


def test_connectivity_and_min_area_and_holes_reach_the_labels(tmp_path: Path) -> None:
    mask = np.zeros((60, 60), np.uint8)
    mask[5:25, 5:25] = mask[25:45, 25:45] = 255
    mask[10:14, 10:14] = 0
    mask[50:53, 50:53] = 255
    assert converted_labels(tmp_path, mask)[0].max() == 1
    assert converted_labels(tmp_path, mask, connectivity=4)[0].max() == 2
    assert converted_labels(tmp_path, mask, min_area=9)[0].max() == 2
    assert converted_labels(tmp_path, mask)[0][12, 12] == 0
    assert converted_labels(tmp_path, mask, fill_holes=True)[0][12, 12] == 1


def test_split_clumps_records_its_rule(tmp_path: Path) -> None:
    rows, columns = np.ogrid[:200, :300]
    mask = np.zeros((200, 300), np.uint8)
    for y, x in ((40, 40), (40, 130), (40, 220), (140, 60), (140, 112)):
        mask[(rows - y) ** 2 + (columns - x) ** 2 <= 30**2] = 255
    assert len(converted_labels(tmp_path, mask)[1]) == 4
    label_map, cells = converted_labels(tmp_path, mask, split_clumps=True)
    assert label_map.max() == 5
    assert sorted(a["rule"] for a in cells) == ["component"] * 3 + ["split"] * 2


def test_is_current_follows_inputs_and_options(tmp_path: Path) -> None:
    root = write_root(tmp_path / "root", {"train": 3})
    out, options = tmp_path / "out", ConvertOptions(workers=1)
    assert not is_current(out, root, options)
    convert(root, out, options)
    assert is_current(out, root, ConvertOptions(workers=2, strict=True))
    assert not is_current(out, root, ConvertOptions(min_area=17))
    mask = root / "train/mask/train_00.png"
    os.utime(mask, ns=(1, 1))
    assert not is_current(out, root, options)
    convert(root, out, options)
    assert is_current(out, root, options)
    (out / "annotations/instances_val.json").unlink()
    assert not is_current(out, root, options)


def test_conversion_replaces_the_old_one_and_nothing_else(tmp_path: Path) -> None:
    root = write_root(tmp_path / "root", {"train": 4, "test": 1})
    out = tmp_path / "out"
    convert(root, out, ConvertOptions(workers=1, folds=2))
    (out / "notes.txt").write_text("mine")
    shutil.rmtree(root / "test")
    convert(root, out, ConvertOptions(workers=1))
    names = set(files_of(out))
    assert "notes.txt" in names
    assert "annotations/instances_test.json" not in names
    assert not any("fold" in name or "labels/test" in name for name in names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"connectivity": 5}, "connectivity must be 4 or 8, got 5"),
        ({"min_area": 0}, "min_area must be at least 1"),
        ({"threshold": float("inf")}, "threshold must be above 0 and finite"),
        ({"val_fraction": 1.0}, "val_fraction must be in"),
        ({"test_fraction": 0.5, "val_fraction": 0.5}, "must leave training images"),
        ({"folds": 1}, "folds must be 0 or at least 2"),
        ({"max_images": 0}, "max_images must be at least 1"),
        ({"workers": 0}, "workers must be at least 1"),
        ({"seed": -1}, "seed must be at least 0"),
    ],
)
def test_options_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ConvertOptions(**options)


def test_tool_passes_every_option_on(
    monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    command = (
        f"--root {root} --out {tmp_path} --connectivity 4 --min-area 20 --fill-holes "
        "--split-clumps --threshold 100 --polygons --val-fraction 0.2 --seed 1 --folds 2 "
        "--max-images 8 --strict --workers 1 --mask-kind binary --ignore-value 7 --ignore-value -1 "
        "--no-invert --max-value 4095"
    )
    assert convert_to_coco.main(command.split()) == 0
    assert load(tmp_path / "dataset.json")["options"] == {
        "connectivity": 4,
        "min_area": 20,
        "fill_holes": True,
        "split_clumps": True,
        "threshold": 100.0,
        "mask_kind": "binary",
        "ignore_values": [7, -1],
        "invert": False,
        "max_value": 4095.0,
        "polygons": True,
        "val_fraction": 0.2,
        "test_fraction": 0.0,
        "seed": 1,
        "folds": 2,
        "splits": None,
        "max_images": 8,
    }
    printed = capsys.readouterr().out
    assert "skipped: none" in printed
    assert str(tmp_path / "dataset.json") in printed


@pytest.mark.data
def test_real_sample_has_the_reference_counts(sample_root: Path, tmp_path: Path) -> None:
    report = convert(sample_root, tmp_path, ConvertOptions(val_fraction=0.2))
    reference = load(sample_root / "reference_counts.json")["images"]
    rows = {Path(row["file"]).stem: row for row in report.audit["images"]}
    assert rows.keys() == reference.keys()
    assert len(rows) == 100
    for stem, expected in reference.items():
        assert rows[stem]["cells"] == expected["cells"], stem
        assert rows[stem]["covered_percent"] == pytest.approx(
            expected["covered_percent"], abs=0.01
        ), stem
        assert (rows[stem]["height"], rows[stem]["width"]) == (
            expected["height"],
            expected["width"],
        )
    assert report.counts["test"] == {"images": 20, "cells": 1604, "max_cells": 134}
    assert sum(report.counts[s]["cells"] for s in ("train", "val", "test")) == 7187
