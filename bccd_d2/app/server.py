"""Serve the page on this computer, and leave nothing behind."""

from __future__ import annotations

import logging
import os
import tempfile
from dataclasses import dataclass
from typing import Any

from bccd_d2.app.results import Model
from bccd_d2.app.upload import Limits

SESSIONS = 16  # tabs whose findings are held in memory
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
    """

    host: str = "127.0.0.1"
    port: int = 0
    open_browser: bool = False


class Served:
    """A page that is being served, until `close`.

    Attributes:
        url: where.
        folder: where uploads lie while they are read.
    """

    def __init__(self, page: Any, url: str, folder: tempfile.TemporaryDirectory) -> None:
        self.url = url
        self.folder = folder.name
        self._page, self._folder = page, folder

    def close(self) -> None:
        """Stop serving and delete the folder for uploads."""
        try:
            self._page.close(verbose=False)
        finally:
            self._folder.cleanup()


def serve(
    model: Model, limits: Limits | None = None, options: ServeOptions | None = None
) -> Served:
    """Serve the page for a model in the background.

    Raises:
        ImportError: Gradio is not installed, or one before 6.
        OSError: the port is taken or the host is no address of this computer.
    """
    limits, options = limits or Limits(), options or ServeOptions()
    folder = tempfile.TemporaryDirectory(prefix="bccd_d2_app_")
    try:
        os.environ.update(_SETTINGS, GRADIO_TEMP_DIR=folder.name)
        _reach_loopback_directly()
        for name in ("httpx", "httpcore"):
            logging.getLogger(name).setLevel(logging.WARNING)
        import gradio

        if int(gradio.__version__.split(".")[0]) < 6:
            raise ImportError(f"the page needs Gradio 6 or later, found {gradio.__version__}")
        from bccd_d2.app.page import build_page, page_options

        page = build_page(model, limits)
        _, url, _ = page.queue(max_size=8).launch(
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
            **page_options(),
        )
    except BaseException:
        folder.cleanup()
        raise
    return Served(page, url, folder)


def _reach_loopback_directly() -> None:
    """Gradio looks at its own page once at the start: a proxy must not stand in between."""
    for name in ("no_proxy", "NO_PROXY"):
        hosts = [host for host in os.environ.get(name, "").split(",") if host]
        missing = [host for host in ("127.0.0.1", "localhost") if host not in hosts]
        os.environ[name] = ",".join([*hosts, *missing])
