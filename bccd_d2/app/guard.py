"""Who may talk to the page, and what a browser may do with it: an ASGI middleware.

A web page of another host that the user has open could else send images to this one (CSRF), read
its answers under a name of its own (DNS rebinding), or lay itself over it (clickjacking).
"""

from __future__ import annotations

import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import urlsplit

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

LOOPBACK = {"localhost", "127.0.0.1", "::1"}
POLICY = (  # Gradio makes functions of texts and carries its styles and icons inline
    "default-src 'self'; script-src 'self' 'unsafe-inline' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; font-src 'self' data:; "
    "connect-src 'self'; worker-src 'self' blob:; object-src 'none'; base-uri 'self'; "
    "form-action 'self'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_MARK = re.compile("^[0-9a-f]{32}_")  # what an upload's name begins with here
_HEAD = 1 << 16  # bytes of an upload in which its name must stand
_FILE_NAME = re.compile(rb"(filename\*?=(?:\"|[\w-]*''))", re.IGNORECASE)


class Guard:
    """Refuses other hosts and origins, sets `HEADERS`, and gives every upload a name of its own.

    Gradio keeps an upload by its content, so two users with one picture would share a file, and
    the first to finish would delete the other's.

    Args:
        app: what answers.
        host: the address that is served.
    """

    def __init__(self, app: Any, host: str) -> None:
        self._app, self._host = app, host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or refuse it with 403."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        headers = {key.decode("latin-1"): v.decode("latin-1") for key, v in scope["headers"]}
        reason = refusal(headers, self._host)
        if reason:
            await _refuse(scope, receive, send, reason)
            return
        if scope.get("method") == "POST" and scope["path"].endswith("/upload"):
            receive = _marked(receive)
        await self._app(scope, receive, _dressed(send))


def refusal(headers: MutableMapping[str, str], served: str) -> str:
    """Why a request with these headers is refused; "" when it is not.

    Args:
        headers: by lower-case name.
        served: the address that is bound.
    """
    host = headers.get("host", "")
    name = urlsplit(f"//{host}").hostname or ""
    if not _is_ours(name, served):
        return f"this page is not called {host!r}; open it by its address, such as 127.0.0.1"
    origin = headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != host:
        return f"a page of {origin!r} may not use this one"
    return ""


def plain_name(name: str) -> str:
    """The name that an upload had before it was given one of its own."""
    return _MARK.sub("", name)


def _is_ours(name: str, served: str) -> bool:
    """Whether a host name can only mean this computer: no name that others hand out."""
    if name in LOOPBACK or name == served:
        return True
    if served in LOOPBACK:
        return False
    if name.lower() in {socket.gethostname().lower(), socket.getfqdn().lower()}:
        return True
    try:
        return bool(ipaddress.ip_address(name))
    except ValueError:
        return False


def _marked(receive: Receive) -> Receive:
    """The request with a random beginning to the name of its file."""
    mark = secrets.token_hex(16).encode() + b"_"
    pending = True

    async def marked() -> MutableMapping[str, Any]:
        nonlocal pending
        message = await receive()
        if not pending:
            return message
        held = message.get("body", b"")
        while b"\r\n\r\n" not in held and len(held) < _HEAD and message.get("more_body"):
            message = await receive()
            held += message.get("body", b"")
        pending = False
        head, blank, content = held.partition(b"\r\n\r\n")
        return {**message, "body": _FILE_NAME.sub(rb"\g<1>" + mark, head) + blank + content}

    return marked


def _dressed(send: Send) -> Send:
    async def dressed(message: MutableMapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            ours = {key.lower().encode(): v.encode() for key, v in HEADERS.items()}
            kept = [(key, v) for key, v in message.get("headers", []) if key.lower() not in ours]
            message = {**message, "headers": [*kept, *ours.items()]}
        await send(message)

    return dressed


async def _refuse(scope: Scope, receive: Receive, send: Send, reason: str) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
        return
    body = reason.encode("utf-8", "replace")
    head = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 403, "headers": head})
    await send({"type": "http.response.body", "body": body})
