"""Annotations through the command line: what goes together, what is refused, real data."""

from __future__ import annotations

import json
import os
from pathlib import Path

import convert_to_coco
import cv2
import numpy as np
import pytest

from bccd_d2.data.convert.matching import ImageIndex
from bccd_d2.data.convert.run import AnnotationSource, is_current


def write_images(folder: Path, *names: str) -> Path:
    for seed, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(seed).integers(0, 255, (60, 80, 3), dtype=np.uint8)
        path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())
    return folder


@pytest.fixture
def smears(tmp_path: Path) -> Path:
    write_images(tmp_path / "images", *(f"s{n}.png" for n in range(8)))
    (tmp_path / "points").mkdir()
    for n in range(8):
        (tmp_path / "points" / f"s{n}.txt").write_text(f"{10 + n} 20 {n % 2}\n")
    return tmp_path


def test_the_command_line_converts_points(smears, capsys):
    out = smears / "out"
    call = ["--images", str(smears / "images"), "--points", str(smears / "points")]
    assert convert_to_coco.main([*call, "--partial", "--out", str(out)]) == 0
    assert "category 1: 4" in capsys.readouterr().out
    description = json.loads((out / "dataset.json").read_text())
    assert description["annotations"] == "points" and description["complete"] is False
    assert description["counts"]["val"]["images"] == 2  # 30% of 8, stratified
    source = AnnotationSource("points", smears / "points", partial=True)
    assert is_current(out, images=smears / "images", annotations=source)
    whole = AnnotationSource("points", smears / "points")
    assert not is_current(out, images=smears / "images", annotations=whole)
    (smears / "points" / "s0.txt").write_text("1 1 1\n")
    assert not is_current(out, images=smears / "images", annotations=source)


def test_a_named_kind_that_no_box_has_can_be_ignored(tmp_path, capsys):
    images = write_images(tmp_path / "images", "s0.png", "s1.png", "s2.png")
    (tmp_path / "boxes").mkdir()
    for n in range(3):
        (tmp_path / "boxes" / f"s{n}.txt").write_text("0 .5 .5 .3 .3\n")
    (tmp_path / "boxes" / "classes.txt").write_text("RBC\nPlatelets\n")
    call = ["--images", str(images), "--boxes", str(tmp_path / "boxes")]
    out = ["--out", str(tmp_path / "out")]
    assert convert_to_coco.main([*call, *out, "--ignore", "Platelets"]) == 0
    assert convert_to_coco.main([*call, *out, "--ignore", "Plates"]) != 0
    assert "--ignore Plates: no such category" in capsys.readouterr().err


def test_workers_give_the_same_files(smears):
    call = ["--images", str(smears / "images"), "--points", str(smears / "points")]
    for workers in ("1", "2"):
        out = smears / f"out{workers}"
        assert convert_to_coco.main([*call, "--out", str(out), "--workers", workers]) == 0
    one, two = (smears / f"out{n}" / "annotations" / "instances_train.json" for n in "12")
    assert one.read_bytes() == two.read_bytes()


def test_choices_that_do_not_go_together(smears, capsys):
    images, points = str(smears / "images"), str(smears / "points")
    calls = {
        "give one of --boxes, --points": ["--images", images, "--points", points, "--boxes", "x"],
        "--partial goes with one of": ["--images", images, "--masks", images, "--partial"],
        "neither with root": ["--root", images, "--points", points],
        "leave --ignore-value out": [
            "--images", images, "--points", points, "--ignore-value", "5",
        ],
        "splits goes with images": ["--root", images, "--splits", points],
        "leave --min-area out": ["--images", images, "--points", points, "--min-area", "5"],
        "is no folder": ["--images", "nowhere", "--points", points],
        "does not exist": ["--images", images, "--points", "nowhere"],
        "no image of": ["--images", images, "--coco", str(smears / "empty.json")],
    }
    (smears / "empty.json").write_text('{"images": [], "annotations": []}')
    for message, call in calls.items():
        assert convert_to_coco.main([*call, "--out", str(smears / "out")]) == 2
        assert message in capsys.readouterr().err
    assert not (smears / "out").exists()


def test_lists_of_names_leave_nothing_unsaid(smears, capsys):
    lists = smears / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("\n".join(f"s{n}" for n in range(4)))
    (lists / "test.txt").write_text("s4.png\ngone\n")
    call = ["--images", str(smears / "images"), "--points", str(smears / "points")]
    call += ["--splits", str(lists), "--out", str(smears / "out"), "--val-fraction", "0.25"]
    assert convert_to_coco.main(call) == 1
    text = capsys.readouterr().out
    assert text.count("[no split]") == 3 and "lists gone (test)" in text
    counts = json.loads((smears / "out" / "dataset.json").read_text())["counts"]
    assert {k: v["images"] for k, v in counts.items()} == {"train": 3, "val": 1, "test": 1}


def test_lists_of_names_serve_masks_too(smears, capsys):
    lists = smears / "val.txt"
    lists.write_text("s1\ns2\n")
    masks = smears / "masks"
    masks.mkdir()
    for number in range(8):
        mask = np.zeros((60, 80), np.uint8)
        mask[10:30, 10 + number : 30 + number] = 255
        (masks / f"s{number}.png").write_bytes(cv2.imencode(".png", mask)[1].tobytes())
    call = ["--images", str(smears / "images"), "--masks", str(masks), "--splits", str(lists)]
    assert convert_to_coco.main([*call, "--out", str(smears / "out")]) == 0
    description = json.loads((smears / "out" / "dataset.json").read_text())
    assert {k: v["images"] for k, v in description["counts"].items()} == {"train": 6, "val": 2}
    assert description["annotations"] == "masks" and len(description["options"]["splits"]) == 16
    lists.write_text("other\n")
    (smears / "test.csv").write_text("other,val\n")
    call[-1] = str(smears / "test.csv").replace("test.csv", "names.csv")
    (smears / "names.csv").write_text("name,split\nother,val\n")
    assert convert_to_coco.main([*call, "--out", str(smears / "out2")]) == 2
    assert "name none of the images" in capsys.readouterr().err


def test_images_of_one_name_but_for_the_ending_are_refused(smears, capsys):
    write_images(smears / "images", "S0.jpg")
    call = ["--images", str(smears / "images"), "--points", str(smears / "points")]
    assert convert_to_coco.main([*call, "--out", str(smears / "out")]) == 1
    assert "s0 could be any of" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("a/x.png", "a/x.png"), ("somewhere/else/b/x.png", "b/x.png"), ("y.jpg", "y.tif"),
        ("/data/upload/1/0a1b2c3d-y.tif", "y.tif"), ("y_tif.rf.8e7f.jpg", "y.tif"), ("x.png", None),
        ("z", None), ("./a/x", "a/x.png"), ("Y.TIF", "y.tif"), ("../../a/x.jpg", "a/x.png"),
        ("w.v1", "w.v1.png"), ("", None),
    ],
)  # fmt: skip
def test_an_image_is_found_by_what_tools_call_it(tmp_path, name, found):
    names = ("a/x.png", "b/x.png", "y.tif", "w.v1.png", "masks/z.png", ".hidden/z.png")
    index = ImageIndex(write_images(tmp_path, *names, "y_mask.png"))
    assert len(index.files) == 4
    files = index.find([name])
    assert (files == [tmp_path / found]) if found else len(files) != 1


def test_names_are_harmless_and_files_that_cannot_be_read_are_listed(smears, capsys):
    images = smears / "images"
    (images / "gone.png").symlink_to(smears / "nowhere.png")
    (images / "slide.czi").write_bytes(b"x")
    try:
        (images / os.fsdecode(b"b\xff.png")).write_bytes((images / "s0.png").read_bytes())
        names = 3
    except OSError:  # a file system of UTF-8 names only
        names = 2
    content = {
        "images": [{"id": 1, "file_name": "s0.png"}, {"id": 2, "file_name": "x\x1b[2J\n.png"}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 7, "bbox": [1, 2, 30, 40]}],
        "categories": [{"id": 7, "name": "red\x1b[31m\ncell"}],
    }
    (smears / "coco.json").write_text(json.dumps(content))
    call = ["--images", str(images), "--coco", str(smears / "coco.json")]
    assert convert_to_coco.main([*call, "--out", str(smears / "out")]) == 1
    text = capsys.readouterr().out
    assert "\x1b" not in text and "red\\x1b[31m\\ncell: 1" in text and "no image x\\x1b[2J" in text
    assert text.count("[unread file]") == names


@pytest.mark.data
@pytest.mark.parametrize(
    ("call", "kind", "images", "cells"),
    [
        (["--images", "bccd_boxes/JPEGImages", "--boxes", "bccd_boxes/Annotations",
          "--splits", "bccd_boxes/ImageSets/Main"], "boxes", {"train": 205, "val": 87}, 3941),
        (["--images", "chula/Dataset", "--points", "chula/Label", "--partial"], "points",
         {"train": 222, "val": 96}, 10585),
        (["--images", "pbc_boxes/images", "--boxes", "pbc_boxes/labels"], "boxes",
         {"train": 225, "val": 96}, 5809),
    ],
)  # fmt: skip
def test_other_laboratories_convert_as_they_lie_there(
    sample_root, tmp_path, monkeypatch, call, kind, images, cells
):
    folder = sample_root.parent / "smears"
    if not folder.is_dir():
        pytest.skip("needs the smears of other laboratories beside the sample")
    monkeypatch.chdir(folder)
    assert convert_to_coco.main([*call, "--out", str(tmp_path / "out"), "--workers", "1"]) == 0
    description = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert description["annotations"] == kind
    assert {k: v["images"] for k, v in description["counts"].items()} == images
    assert sum(v["cells"] for v in description["counts"].values()) == cells
