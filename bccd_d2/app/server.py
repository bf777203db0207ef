"""Serve the page on this computer, and leave nothing behind."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bccd_d2.app.guard import Guard
from bccd_d2.app.results import Model
from bccd_d2.app.teach import Bench
from bccd_d2.app.upload import Limits
from bccd_d2.app.worker import Finder
from bccd_d2.io.lock import hold_folder

SESSIONS = 16  # tabs whose findings are held in memory
WAITING = 64  # images that may wait for their turn
FOLDER = "bccd_d2_app_"
_SETTINGS = {  # read by Gradio and huggingface_hub from the environment
    "GRADIO_ANALYTICS_ENABLED": "False",
    "GRADIO_RUN_HISTORY": "False",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


@dataclass(frozen=True)
class ServeOptions:
    """Where and how the page is served.

    Attributes:
        host: the address to bind; the default is reached from this computer only.
        port: 0 = the first free one from 7860.
        open_browser: show the page in the default browser.
        bench: where corrections go and who learns from them.

    Raises:
        ValueError: no such port.
    """

    host: str = "127.0.0.1"
    port: int = 0
    open_browser: bool = False
    bench: Bench = Bench()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise ValueError(f"the port must be 0 to 65535, got {self.port}; 0 takes a free one")


class Served:
    """A page that is being served, until `close`.

    Attributes:
        url: where.
        folder: where uploads lie while they are read.
        name: of the model.
    """

    def __init__(self, page: Any, url: str, finder: Finder, folder: Path, kept: ExitStack) -> None:
        self.url, self.folder, self.name = url, str(folder), finder.name
        self._page, self._finder, self._kept = page, finder, kept

    def close(self) -> None:
        """Stop serving, whatever goes on, and delete the folder for uploads."""
        self._finder.close()
        try:
            self._page.close(verbose=False)
        finally:
            self._kept.close()


def serve(
    load: Callable[[], Model], limits: Limits | None = None, options: ServeOptions | None = None
) -> Served:
    """Serve the page for a model in the background.

    Args:
        load: makes the model, in a process of its own; it must be picklable.

    Raises:
        ImportError: Gradio is not installed, or one before 6.
        OSError: the port is taken or the host is no address of this computer.
        Exception: whatever ``load`` raises.
    """
    limits, options = limits or Limits(), options or ServeOptions()
    _check_host(options.host)
    with ExitStack() as stack:
        folder = stack.enter_context(_upload_folder())
        os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=str(folder))
        _reach_loopback_directly()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        import gradio

        if int(gradio.__version__.split(".")[0]) < 6:
            raise ImportError(f"the page needs Gradio 6 or later, found {gradio.__version__}")
        finder = Finder(load, limits)
        stack.callback(finder.close)
        page, url = _launch(finder, limits, options)
        return Served(page, url, finder, folder, stack.pop_all())


def _check_host(host: str) -> None:
    """Gradio would try a hundred ports of an address that is not ours, for minutes."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as tried:
            tried.bind((host, 0))
    except OSError as error:
        raise OSError(f"the host {host} is no address of this computer: give 127.0.0.1, or 0.0.0.0 "
                      "for all that it has") from error  # fmt: skip


def _launch(finder: Finder, limits: Limits, options: ServeOptions) -> tuple[Any, str]:
    """The page, being served, and its address."""
    from starlette.middleware import Middleware

    from bccd_d2.app.page import build_page, page_options

    page = build_page(finder, limits, options.bench)
    _, url, _ = page.queue(max_size=WAITING).launch(
        server_name=options.host,
        server_port=options.port or None,
        inbrowser=options.open_browser,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        enable_monitoring=False,
        ssr_mode=False,
        pwa=False,
        mcp_server=False,
        footer_links=[],
        max_file_size=int(limits.upload_mb * 2**20),
        state_session_capacity=SESSIONS,
        app_kwargs={"middleware": [Middleware(Guard, host=options.host)]},
        **page_options(),
    )
    return page, url


@contextmanager
def _upload_folder() -> Iterator[Path]:
    """A folder for uploads, gone afterwards; what servers that were killed left goes now."""
    root = Path(tempfile.gettempdir())
    for left in root.glob(f"{FOLDER}*"):
        with suppress(OSError):  # another's, or in use
            if not left.is_symlink() and left.is_dir():
                with hold_folder(left, "the page"):
                    shutil.rmtree(left)
    folder = Path(tempfile.mkdtemp(prefix=FOLDER))
    with hold_folder(folder, "the page"):
        try:
            (folder / "uploads").mkdir()
            yield folder / "uploads"
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _reach_loopback_directly() -> None:
    """Gradio looks at its own page once at the start: a proxy must not stand in between."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        missing = [host for host in ("127.0.0.1", "localhost") if host not in hosts]
        os.environ[name] = ",".join([*hosts, *missing])
