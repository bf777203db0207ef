"""Files, folders and globs become jobs whose results cannot overwrite each other."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

from bccd_d2.inference.batch.outputs import KINDS
from bccd_d2.inference.batch.sources import Inputs, find_images, plan_jobs


def draw(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3)).save(path)
    return path


def test_files_folders_and_globs_each_give_their_images_once(tmp_path):
    a, b = draw(tmp_path / "a.png"), draw(tmp_path / "sub" / "b.JPG")
    draw(tmp_path / ".hidden" / "c.png")
    draw(tmp_path / "results" / "overlay" / "a.png")
    (tmp_path / "notes.txt").write_text("no image")
    everything = find_images([tmp_path], leave_out=tmp_path / "results")
    assert everything.images == [a, b]
    assert find_images([b, tmp_path / "*.png", str(tmp_path / "s*")]).images == [b, a]
    assert find_images([tmp_path / "notes.txt"]).images == [tmp_path / "notes.txt"]


@pytest.mark.parametrize("given", ["none.png", "empty", "*.tif"])
def test_what_gives_no_image_is_named(tmp_path, given):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=given.replace("*", r"\*")):
        find_images([draw(tmp_path / "a.png"), tmp_path / given])
    with pytest.raises(FileNotFoundError, match="no input"):
        find_images([])


def test_names_that_would_collide_tell_themselves_apart(tmp_path):
    files = ["one/x.png", "two/x.png", "y.png", "y.jpg", "deep/one/x.tif", "Y.bmp", "z.png"]
    names = [job.name for job in plan_jobs(Inputs([draw(tmp_path / file) for file in files]))]
    assert len({name.lower() for name in names}) == len(files)
    assert names[-1] == "z"
    assert names[1] == "two_x" and names[4].startswith("deep_one_x")
    assert {names[2], names[3]} == {"y_png", "y_jpg"}


def test_a_name_like_that_of_a_page_gets_a_number(tmp_path):
    tifffile.imwrite(tmp_path / "m.tif", np.zeros((2, 8, 9, 3), np.uint8), photometric="rgb")
    other = draw(tmp_path / "m.page001.png")
    jobs = plan_jobs(Inputs([tmp_path / "m.tif", other]))
    assert [(job.name, job.page) for job in jobs] == [
        ("m.page001", 0), ("m.page002", 1), ("m.page001_2", 0)]  # fmt: skip


def test_a_broken_file_is_a_job_with_a_problem(tmp_path):
    (tmp_path / "broken.tif").write_bytes(b"II*\0 and no more")
    (tmp_path / "notes.txt").write_text("no image")
    files = [tmp_path / "broken.tif", tmp_path / "notes.txt", draw(tmp_path / "a.png")]
    jobs = plan_jobs(Inputs(files))
    assert [bool(job.problem) for job in jobs] == [True, True, False]
    assert "broken.tif is unreadable" in jobs[0].problem
    assert "must be one of" in jobs[1].problem


def test_what_is_no_input_is_listed(tmp_path):
    draw(tmp_path / "s0.png")
    draw(tmp_path / "s0_mask.png")
    draw(tmp_path / "b.webp")
    for name in ("c.gif", "d.czi", "notes.txt", ".hidden.png"):
        (tmp_path / name).write_bytes(b"x")
    found = find_images([tmp_path])
    assert [path.name for path in found.images] == ["b.webp", "s0.png"]
    text = "; ".join(found.left_out)
    for part in ("s0_mask.png: by its name a mask of s0", "c.gif: files of this type",
                 "d.czi: files of this type", "1 .txt files", "1 hidden"):  # fmt: skip
        assert part in text
    assert find_images([tmp_path / "*.png"]).images == [tmp_path / "s0.png"]
    assert find_images([tmp_path / "s0_mask.png"]).images == [tmp_path / "s0_mask.png"]


def test_a_folder_of_masks_beside_its_images_is_no_input(tmp_path):
    """The layout of the BCCD dataset with masks, and that of most others."""
    for place in ("train/original/a", "train/mask/a", "images/val/b", "labels/val/b", "c/d",
                  "c/masks/d_mask", "labels2/e", "masks/f"):  # fmt: skip
        draw(tmp_path / f"{place}.png")
    found = find_images([tmp_path])
    kept = ["c/d", "images/val/b", "labels2/e", "masks/f", "train/original/a"]
    assert [p.relative_to(tmp_path).as_posix() for p in found.images] == [f"{k}.png" for k in kept]
    left = "; ".join(found.left_out)
    pairs = {"train/mask": "train/original", "labels": "images", "c/masks": "c"}
    for folder, images in pairs.items():
        said = f"{tmp_path / folder}: by its name and its files' the masks of {tmp_path / images}"
        assert said in left
    assert len(find_images([tmp_path / "train" / "mask"]).images) == 1


def test_links_are_followed_once_and_dangling_ones_fail(tmp_path):
    draw(tmp_path / "elsewhere" / "a.png")
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "ring").symlink_to(folder)
    (folder / "dangling.png").symlink_to(tmp_path / "gone.png")
    found = find_images([folder])
    assert [path.name for path in found.images] == ["dangling.png", "a.png"]
    assert "searched already" in "; ".join(found.left_out)
    jobs = plan_jobs(found)
    assert "gone.png, which does not exist" in jobs[0].problem and not jobs[1].problem


@pytest.mark.parametrize(
    ("mark", "content", "inner"),
    [
        ("run.json", {"models": [], "looked_at": {}}, ("overlay", "labels")),
        ("finished/x.json", {}, ("overlay",)),
        ("dataset.json", {"format_version": 1}, ("labels",)),
        ("run.json", {"sessions": []}, ("", "report", "evaluation/bccd_val")),
    ],
)
def test_what_earlier_runs_wrote_is_no_input(mark, content, inner, tmp_path):
    draw(tmp_path / "in" / "a.png")
    run = tmp_path / "in" / "earlier"
    (run / mark).parent.mkdir(parents=True)
    (run / mark).write_text(json.dumps(content))
    for name in inner:
        draw(run / name / "b.png")
    found = find_images([tmp_path / "in"])
    assert [path.name for path in found.images] == ["a.png"]
    assert any("result" in text for text in found.left_out)
    with pytest.raises(FileNotFoundError, match="has no image.*left out:.*earlier run"):
        find_images([run / inner[-1]])
    assert find_images([run / inner[-1] / "b.png"]).images


def test_results_beside_the_images_are_no_input(tmp_path):
    draw(tmp_path / "a.png")
    for kind in KINDS:
        draw(tmp_path / kind / "a.png")
    found = find_images([tmp_path], leave_out=tmp_path)
    assert found.images == [tmp_path / "a.png"]


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such names")
def test_a_name_that_is_no_utf8_is_a_job_with_a_problem(tmp_path):
    data = draw(tmp_path / "a.png").read_bytes()
    with open(os.fsencode(tmp_path) + b"/bad\xff.png", "wb") as stream:
        stream.write(data)
    jobs = plan_jobs(find_images([tmp_path]))
    assert [bool(job.problem) for job in jobs] == [False, True]
    assert "no UTF-8" in jobs[1].problem
    jobs[1].name.encode("utf-8")


def test_pages_that_are_no_images_are_listed(tmp_path):
    large = np.zeros((64, 80, 3), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tif:
        tif.write(large, photometric="rgb")
        tif.write(large[::2, ::2], photometric="rgb", subfiletype=1)
    found = find_images([tmp_path])
    assert len(plan_jobs(found)) == 1
    assert "a.tif, page 2: marked as a smaller copy" in found.left_out[0]
