"""The page under ten users at once, some of whom mean harm."""

from __future__ import annotations

import json
import socket
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("gradio", reason="needs gradio: pip install 'bccd_d2[app]'")
import httpx

from bccd_d2.app.server import Served, ServeOptions, serve
from bccd_d2.app.upload import Limits
from bccd_d2.synth.smear import draw_smear

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "app"))
from page_stand_in import Harmful

DONE = "process_completed"


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    page = serve(Harmful, Limits(seconds=2, memory_gb=1), ServeOptions(port=port))
    yield page
    page.close()


def picture(red: int = 200) -> bytes:
    image = draw_smear(seed=4, size=(200, 300), n_cells=5).image
    image[0, 0] = red
    return cv2.imencode(".png", np.ascontiguousarray(image[..., ::-1]))[1].tobytes()


class User:
    """A tab of the page, without its browser."""

    def __init__(self, url: str) -> None:
        self.web = httpx.Client(base_url=url, timeout=60, trust_env=False)
        self.session = uuid.uuid4().hex
        config = self.web.get("/config").json()
        wanted = [d for d in config["dependencies"] if any(t[1] == "upload" for t in d["targets"])]
        self.upload_event = wanted[0]["id"]

    def upload(self, content: bytes, name: str = "smear.png", **headers: str) -> httpx.Response:
        return self.web.post(
            "/gradio_api/upload", files={"files": (name, content, "image/png")}, headers=headers
        )

    def look(self, path: str) -> list[Any]:
        """What the page answers for an uploaded file."""
        file = {"path": path, "orig_name": "smear.png", "meta": {"_type": "gradio.FileData"}}
        asked = {"data": [[file], 0.5, "", "", None], "fn_index": self.upload_event,
                 "session_hash": self.session}  # fmt: skip
        self.web.post("/gradio_api/queue/join", json=asked).raise_for_status()
        listen = {"session_hash": self.session}
        with self.web.stream("GET", "/gradio_api/queue/data", params=listen) as stream:
            for line in stream.iter_lines():
                message = json.loads(line[6:]) if line.startswith("data: ") else {}
                if message.get("msg") == DONE and message["success"]:
                    return message["output"]["data"]
                if message.get("msg") == DONE:
                    break
        raise LookupError("the page did not take it")


def text_of(answer: list[Any]) -> str:
    return next(part for part in answer if isinstance(part, str) and "bccd" in part)


def test_ten_users_with_one_picture_each_get_their_answer(served) -> None:
    """Among them are two whose images hang or end the process."""

    def use(deed: int) -> str:
        user = User(served.url)
        [path] = user.upload(picture(deed)).json()
        assert Path(path).name != "smear.png"  # nobody can guess another's
        return text_of(user.look(path))

    with ThreadPoolExecutor(10) as pool:
        said = list(pool.map(use, [200, 200, 200, 1, 200, 3, 200, 200, 200, 200]))
    for number, text in enumerate(said):
        assert served.folder not in text and "smear.png" in text
        assert ("bccd-result" in text) == (number not in (3, 5)), text[:300]
    assert list(Path(served.folder).rglob("*.png")) == []


def test_other_origins_hosts_and_frames_are_refused(served) -> None:
    user = User(served.url)
    assert user.upload(picture(), Origin="http://evil.example").status_code == 403
    assert user.upload(picture(), Origin="null").status_code == 403
    assert user.web.get("/config", headers={"Host": "evil.example"}).status_code == 403
    answer = user.web.get("/")
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in answer.headers["Content-Security-Policy"]
    own = f"http://{httpx.URL(served.url).netloc.decode()}"
    assert user.upload(picture(), Origin=own).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["../../evil.png", "/etc/evil.png", "a\\..\\evil.png", "<b>.png", "\x1b[2J.png", "é.png"],
)
def test_no_name_leaves_the_folder_or_the_text(served, name: str) -> None:
    user = User(served.url)
    answer = user.upload(b"no image", name)
    if answer.status_code != 200:
        return
    [path] = answer.json()
    assert Path(path).resolve().is_relative_to(Path(served.folder).resolve())
    text = text_of(user.look(path))
    assert "<b>" not in text and "\x1b" not in text and served.folder not in text


@pytest.mark.parametrize("path", ["/etc/passwd", __file__, "../../evil.png"])
def test_files_of_the_server_are_no_uploads(served, path: str) -> None:
    with pytest.raises(LookupError):
        User(served.url).look(path)
    assert Path(__file__).is_file()
