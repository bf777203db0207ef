"""What the page answers, asked without a browser; `test_browser.py` uses one."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
from pathlib import Path

import cv2
import pytest

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
    field, findings, view, *buttons = page._answer_upload(finder, uploaded, 0.5, "0.1")
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
    _, findings, view, *_ = page._answer_upload(finder, mine, 0.5, "")
    assert findings.name == "smear.png" and "aaaa" not in view
    assert other.is_file() and not mine.exists() and not old.exists()
    _, findings, *_ = page._answer_upload(finder, other, 0.5, "")
    assert findings is not None
    _, findings, view, *_ = page._answer_upload(finder, other, 0.5, "")  # it is gone by now
    assert findings is None and "smear.png" in view and str(other.parent) not in view


def test_a_bad_upload_is_explained_and_deleted(finder, uploaded):
    uploaded.write_bytes(b"no image")
    _, findings, view, *buttons = page._answer_upload(finder, uploaded, 0.5, "")
    assert findings is None and 'role="alert"' in view and "smear.png is unreadable" in view
    assert [button["interactive"] for button in buttons] == [False] * 4
    assert [path.name for path in uploaded.parents[1].iterdir()] == ["tmpabc"]  # of another's


def test_a_failing_model_is_shown_not_hidden(finder, model, uploaded):
    def fail(image, score_threshold=None):
        raise RuntimeError("out of memory <now>")

    model.predict = fail
    _, findings, view, *_ = page._answer_upload(finder, uploaded, 0.5, "")
    assert findings is None and "Out of memory &lt;now&gt;" in view


def test_a_wrong_pixel_size_spoils_no_result_but_the_file(finder, uploaded):
    import gradio

    _, findings, view, *_ = page._answer_upload(finder, uploaded, 0.5, "none")
    assert "per megapixel" in view
    with pytest.raises(gradio.Error, match="micrometres above 0"):
        page._answer_download("csv", findings, 0.5, "none")
    with pytest.raises(gradio.Error, match="Drop the image again"):
        page._answer_download("csv", None, 0.5, "")
    answer = json.loads(page._answer_download("csv", findings, 0.5, "0,1"))
    assert (answer["name"], answer["type"]) == ("smear_cells.csv", "text/csv")
    assert base64.b64decode(answer["base64"]) == findings.file("csv", 0.5, 0.1)[1]


def test_the_drawn_example_needs_no_file(finder):
    findings, view, *_ = page._answer_example(finder, 0.5, "")
    assert findings.name == "drawn_example.png" and "800 × 600 px" in view


def test_a_taken_port_is_said():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(OSError, match="port"):
            serve(DarkParts, options=ServeOptions(port=taken.getsockname()[1]))


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
