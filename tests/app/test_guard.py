"""Other hosts and origins are refused, frames forbidden, and uploads have names of their own."""

from __future__ import annotations

import asyncio
import re

import pytest

from bccd_d2.app.guard import HEADERS, Guard, plain_name, refusal


@pytest.mark.parametrize(
    ("host", "served"),
    [
        ("127.0.0.1:7860", "127.0.0.1"),
        ("localhost:9", "127.0.0.1"),
        ("[::1]:7860", "127.0.0.1"),
        ("192.168.1.7:7860", "0.0.0.0"),
        ("lab-pc.uni.example", "lab-pc.uni.example"),
    ],
)
def test_own_names_pass(host: str, served: str):
    assert refusal({"host": host}, served) == ""
    assert refusal({"host": host, "origin": f"http://{host}"}, served) == ""


@pytest.mark.parametrize(
    ("headers", "served"),
    [
        ({}, "127.0.0.1"),
        ({"host": ""}, "127.0.0.1"),
        ({"host": "evil.example:7860"}, "127.0.0.1"),
        ({"host": "evil.example"}, "0.0.0.0"),
        ({"host": "192.168.1.7:7860"}, "127.0.0.1"),
        ({"host": "localhost.evil.example"}, "127.0.0.1"),
        ({"host": "127.0.0.1:7860", "origin": "http://evil.example"}, "127.0.0.1"),
        ({"host": "127.0.0.1:7860", "origin": "http://127.0.0.1:80"}, "127.0.0.1"),
        ({"host": "127.0.0.1:7860", "origin": "null"}, "127.0.0.1"),
        ({"host": "127.0.0.1:7860", "origin": ""}, "127.0.0.1"),
    ],
)
def test_others_are_refused(headers: dict, served: str):
    assert refusal(headers, served)


def ask(path: str, headers: dict, chunks: tuple[bytes, ...] = (b"",), kind: str = "http"):
    """Messages that the guard sent, and the body that the page behind it received."""
    received, sent = [], []

    async def page(scope, receive, send):
        more = True
        while more:
            message = await receive()
            received.append(message["body"])
            more = message.get("more_body", False)
        head = [(b"x-frame-options", b"ALLOWALL"), (b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": 200, "headers": head})

    waiting = [
        {"type": "http.request", "body": chunk, "more_body": number < len(chunks)}
        for number, chunk in enumerate(chunks, start=1)
    ]

    async def receive():
        return waiting.pop(0)

    async def send(message):
        sent.append(message)

    raw = [(key.encode(), value.encode()) for key, value in headers.items()]
    scope = {"type": kind, "method": "POST", "path": path, "headers": raw}
    asyncio.run(Guard(page, "127.0.0.1")(scope, receive, send))
    return sent, b"".join(received)


def test_every_answer_carries_the_policy_once():
    sent, _ = ask("/", {"host": "localhost:1"})
    headers = [key.decode() for key, _ in sent[0]["headers"]]
    assert sorted(headers) == sorted({*(key.lower() for key in HEADERS), "content-type"})
    assert "frame-ancestors 'none'" in HEADERS["Content-Security-Policy"]
    assert dict(sent[0]["headers"])[b"x-frame-options"] == b"DENY"


def test_a_refusal_is_403_and_reaches_no_page():
    sent, received = ask("/upload", {"host": "evil.example"}, (b"x",))
    assert sent[0]["status"] == 403 and received == b""
    assert b"evil.example" in sent[1]["body"]
    sent, received = ask("/x", {"host": "evil.example"}, (b"x",), kind="websocket")
    assert sent == [{"type": "websocket.close", "code": 1008}] and received == b""


PART = b'--b\r\nContent-Disposition: form-data; name="files"; filename="%s"\r\n' \
       b"Content-Type: image/png\r\n\r\n"  # fmt: skip


@pytest.mark.parametrize("name", [b"a.png", "µm 名.png".encode(), b'fi"lename=".png'])
@pytest.mark.parametrize("cut", [None, 5, 40, 57, 61, 63, 90])
def test_an_upload_gets_a_name_of_its_own(name: bytes, cut: int | None):
    body = PART % name + b'content with filename="x" in it\r\n--b--'
    chunks = (body,) if cut is None else (body[:cut], body[cut:])
    seen = set()
    for _ in range(2):
        _, received = ask("/gradio_api/upload", {"host": "localhost"}, chunks)
        found = re.search(rb'filename="([0-9a-f]{32}_)', received)
        assert received.replace(found.group(1), b"", 1) == body
        seen.add(found.group(1))
    assert len(seen) == 2


def test_names_are_shown_as_they_were():
    assert plain_name("0123456789abcdef" * 2 + "_a_b.png") == "a_b.png"
    assert plain_name("0123_a.png") == "0123_a.png"
    _, received = ask("/other", {"host": "localhost"}, (PART % b"a.png",))
    assert received == PART % b"a.png"
