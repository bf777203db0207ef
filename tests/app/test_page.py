"""What the page answers, asked without a browser; `test_browser.py` uses one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")

from page_stand_in import DarkParts

from bccd_d2.app import page
from bccd_d2.app.server import ServeOptions, serve
from bccd_d2.app.upload import Limits
from bccd_d2.app.worker import look


class Here:
    """Looks at images in this process."""

    def __init__(self, model) -> None:
        self.model = model
        self.diameter = model.diameter

    def find(self, job):
        return look(self.model, Limits(), job)


@pytest.fixture
def finder(model) -> Here:
    return Here(model)


@pytest.fixture
def uploaded(tmp_path, image) -> Path:
    """An upload as Gradio leaves one: in a folder of its own, an empty file beside that."""
    path = tmp_path / "uploads" / "0123" / "smear.png"
    path.parent.mkdir(parents=True)
    cv2.imwrite(str(path), image[..., ::-1])
    (tmp_path / "uploads" / "tmpabc").touch()
    return path


def test_an_upload_is_answered_and_deleted(finder, model, uploaded):
    field, findings, view, hint, *buttons = page._answer_upload(finder, uploaded, 0.5, "0.1", "")
    assert field is None and model.calls == 1
    assert f'<span class="number">{findings.counts(0.5).cells}</span>' in view
    assert "smear.png" in view and "per mm²" in view
    assert [button["interactive"] for button in buttons] == [True] * 4
    assert [path.name for path in uploaded.parents[1].iterdir()] == ["tmpabc"]  # of another's


def test_finishing_one_upload_leaves_those_of_others(finder, uploaded):
    """The same picture of two users lies in one folder, for Gradio names that by the content."""
    mine = uploaded.with_name(f"{'a' * 32}_smear.png")
    uploaded.rename(mine)
    other = mine.with_name(f"{'b' * 32}_smear.png")
    shutil.copy(mine, other)
    old = uploaded.parents[1] / "tmpold"
    old.touch()
    os.utime(old, (0, 0))
    _, findings, view, *_ = page._answer_upload(finder, mine, 0.5, "", "")
    assert findings.name == "smear.png" and "aaaa" not in view
    assert other.is_file() and not mine.exists() and not old.exists()
    _, findings, *_ = page._answer_upload(finder, other, 0.5, "", "")
    assert findings is not None
    _, findings, view, *_ = page._answer_upload(finder, other, 0.5, "", "")  # it is gone by now
    assert findings is None and "smear.png" in view and str(other.parent) not in view


def test_a_bad_upload_is_explained_and_deleted(finder, uploaded):
    uploaded.write_bytes(b"no image")
    _, findings, view, hint, *buttons = page._answer_upload(finder, uploaded, 0.5, "", "")
    assert findings is None and 'role="alert"' in view and "smear.png is unreadable" in view
    assert [button["interactive"] for button in buttons] == [False] * 4
    assert [path.name for path in uploaded.parents[1].iterdir()] == ["tmpabc"]  # of another's


def test_of_many_files_every_refusal_stays_in_view(finder, uploaded, image):
    """The file of Thumbs.db and the like must not cost the images beside it."""
    folder = uploaded.parent
    (folder / "empty.png").touch()
    (folder / "Thumbs.db").write_bytes(b"x")
    cv2.imwrite(str(folder / "last.png"), 255 - image)
    names = ["empty.png", "smear.png", "Thumbs.db", "last.png"]
    paths = [str(folder / name) for name in names]
    *_, (_, findings, view, *_, images, _) = page._answer_uploads(
        finder, paths, 0.5, "", "", page.Images())  # fmt: skip
    assert findings.name == "last.png" and "<strong>last.png</strong>" in view
    assert view.count('class="bccd-error"') == 2 and list(images) == ["smear.png", "last.png"]
    assert "empty.png is unreadable" in view and "does not read Thumbs.db: save it as" in view
    folder.mkdir(exist_ok=True)
    (folder / "empty.png").touch()
    answers = page._answer_uploads(finder, paths[:1], 0.5, "", "", images)
    *_, (_, findings, view, *_) = answers
    assert findings is None and "empty.png" in view and "<strong>" not in view


def test_another_image_of_the_same_name_does_not_take_its_place(finder, uploaded, image):
    """Cameras call a field of every slide 001.png; the same file again is the same image."""
    again, other = uploaded.with_name("a"), uploaded.with_name("b")
    for folder, pixels in ((again, image), (other, 255 - image)):
        folder.mkdir()
        cv2.imwrite(str(folder / "smear.png"), pixels[..., ::-1])
    paths = [str(uploaded), str(again / "smear.png"), str(other / "smear.png")]
    answers = page._answer_uploads(finder, paths, 0.5, "", "", page.Images())
    *_, (_, findings, view, *_, images, _) = answers
    assert list(images) == ["smear.png", "smear_2.png"] and findings.name == "smear_2.png"
    assert (images["smear_2.png"].image() == 255 - image).all() and "smear_2.png" in view


def test_how_many_bits_became_eight_is_said(finder, tmp_path, image):
    tifffile.imwrite(tmp_path / "a.tif", image.astype(np.uint16) * 16, photometric="rgb")
    _, _, view, *_ = page._answer_upload(finder, tmp_path / "a.tif", 0.5, "", "")
    assert "uint16 0 to 4095 shown as 0 to 255" in view


def test_a_failing_model_is_shown_not_hidden(finder, model, uploaded):
    def fail(image, *options, **more):
        raise RuntimeError("out of memory <now>")

    model.predict = fail
    _, findings, view, *_ = page._answer_upload(finder, uploaded, 0.5, "", "")
    assert findings is None and "Out of memory &lt;now&gt;" in view


def test_a_wrong_pixel_size_spoils_no_result_but_the_file(finder, uploaded):
    import gradio

    _, findings, view, *_ = page._answer_upload(finder, uploaded, 0.5, "none", "")
    assert "per megapixel" in view
    with pytest.raises(gradio.Error, match="micrometres above 0"):
        page._answer_download("csv", findings, 0.5, "none")
    with pytest.raises(gradio.Error, match="Drop the image again"):
        page._answer_download("csv", None, 0.5, "")
    answer = json.loads(page._answer_download("csv", findings, 0.5, "0,1"))
    assert (answer["name"], answer["type"]) == ("smear_cells.csv", "text/csv")
    assert base64.b64decode(answer["base64"]) == findings.file("csv", 0.5, 0.1)[1]


def test_the_drawn_example_needs_no_file(finder):
    findings, view, *_ = page._answer_example(finder, 0.5, "", "")
    assert findings.name == "drawn_example.png" and "800 × 600 px" in view


def test_another_diameter_looks_at_the_same_pixels_again(finder, model, uploaded, image):
    _, first, view, hint, *_ = page._answer_upload(finder, uploaded, 0.5, "", "")
    assert "cells taken as 42 px wide, estimated" in view and "Check this image" not in view
    assert hint["placeholder"] == "42, estimated" and not uploaded.exists()
    np.testing.assert_array_equal(first.image(), image)
    given, view, hint, *_ = page._answer_again(finder, first, 0.5, "0.1", "30,5")
    assert "cells taken as 30.5 px wide, as given" in view and "smear.png" in view
    assert "per mm²" in view and "placeholder" not in hint
    assert given.cells.rles == first.cells.rles
    none, view, *_ = page._answer_again(finder, given, 0.5, "", "100")
    assert '<p class="bccd-check" role="alert"><strong>Check this image:</strong> ' in view
    assert "no cell was found; stain &lt;unexplained&gt;." in view
    back, view, hint, *_ = page._answer_again(finder, none, 0.5, "", "")
    assert back.cells.rles == first.cells.rles and hint["placeholder"] == "42, estimated"


def test_the_pixel_size_of_a_file_is_used_unless_one_is_typed(finder, tmp_path, image):
    path = tmp_path / "a.ome.tif"
    size = {"axes": "YXS", "PhysicalSizeX": 0.25, "PhysicalSizeY": 0.25}
    tifffile.imwrite(path, image, photometric="rgb", metadata=size)
    _, findings, view, *_ = page._answer_upload(finder, path, 0.5, "", "")
    assert "0.25 µm a pixel by its OME metadata" in view and 'data-pixel="0.25"' in view
    per_mm2 = findings.counts(0.5, 0.25).per_mm2
    assert f'<span class="number">{per_mm2:.0f}</span><span class="unit">per mm²' in view
    answer = json.loads(page._answer_download("csv", findings, 0.5, ""))
    assert base64.b64decode(answer["base64"]) == findings.file("csv", 0.5, 0.25)[1]
    assert findings.file("csv", 0.5, 0.1) != findings.file("csv", 0.5)
    again, view, *_ = page._answer_again(finder, findings, 0.5, "0.1", "40")
    assert again.pixel_size == 0.25 and "by its OME metadata" in view
    per_mm2 = again.counts(0.5, 0.1).per_mm2
    assert f'<span class="number">{per_mm2:.0f}</span><span class="unit">per mm²' in view


def test_a_second_look_that_cannot_be_leaves_what_there_is(finder, model, uploaded):
    import gradio

    with pytest.raises(gradio.Error, match="no image to look at: drop one"):
        page._answer_again(finder, None, 0.5, "", "40")
    _, findings, *_ = page._answer_upload(finder, uploaded, 0.5, "", "")
    for wrong in ("x", "4", "0", "-40", "nan", "1e9"):
        with pytest.raises(gradio.Error, match="5 to 2000 px, or empty"):
            page._answer_again(finder, findings, 0.5, "", wrong)

    def fail(image, *options, **more):
        raise RuntimeError("out of memory")

    model.predict = fail
    kept, view, *_ = page._answer_again(finder, findings, 0.5, "", "40")
    assert kept is findings and "Out of memory" in view
    del model.predict
    assert page._answer_again(finder, kept, 0.5, "", "40")[0] is not None


def test_pages_and_wrong_diameters_are_said_after_another_look(finder, tmp_path, image):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([image, image]), photometric="rgb")
    _, findings, view, *_ = page._answer_upload(finder, tmp_path / "a.tif", 0.5, "", "wrong")
    assert "the first of 2 pages" in view and "42 px wide, estimated" in view
    _, view, *_ = page._answer_again(finder, findings, 0.5, "", "50")
    assert "the first of 2 pages" in view and "50 px wide, as given" in view


def test_a_model_of_one_size_is_asked_for_no_other(finder, model, uploaded):
    model.diameter = finder.diameter = None
    _, findings, view, *_ = page._answer_upload(finder, uploaded, 0.5, "", "120")
    assert len(findings.cells) > 3 and "px wide" not in view
    assert not any(field.visible for field in page._size_inputs(finder))


def test_a_taken_port_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="port"):
            serve(DarkParts, options=ServeOptions(port=taken.getsockname()[1]))


@pytest.mark.parametrize("host", ["192.0.2.1", "no.such.host.invalid", "2001:db8::1"])
def test_a_host_that_is_not_this_computer_is_said_at_once(host):
    with pytest.raises(OSError, match=f"the host {host} is no address of this computer"):
        serve(DarkParts, options=ServeOptions(host=host))


def test_served_on_loopback_until_closed(monkeypatch):
    asked, connect = [], socket.socket.connect

    def recorded(self, address):
        asked.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    served = serve(DarkParts, options=ServeOptions(port=port))
    try:
        assert served.url == f"http://127.0.0.1:{port}/"
        assert Path(served.folder).is_dir()
        assert served._page.server_name == "127.0.0.1" and served._page.share is False
    finally:
        served.close()
    assert not Path(served.folder).exists()
    hosts = {address[0] for address in asked if isinstance(address, tuple)}
    assert hosts <= {"127.0.0.1", "::1", "localhost"}, "the server asked another host"
    with socket.socket() as again:
        assert again.connect_ex(("127.0.0.1", port)) != 0
