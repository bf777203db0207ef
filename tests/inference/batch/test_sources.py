"""Files, folders and globs become jobs whose results cannot overwrite each other."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from PIL import Image

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
