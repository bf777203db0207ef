"""Headless Chromium on a served page, for the tests that use one."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
NEEDS = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver"),
]
SWITCHES = """--headless --no-sandbox --disable-gpu --disable-quic --no-first-run
--disable-background-networking --disable-component-update --disable-sync --disable-dev-shm-usage
--window-size=1400,1000""".split()
PATIENCE = 120  # s to wait for an answer; a busy machine is slow


class Browser:
    """The driver with the few things that the tests do."""

    def __init__(self, driver, url: str, downloads: Path) -> None:
        self.driver, self.downloads = driver, downloads
        driver.get(url)
        self.find(".bccd-empty")

    def find(self, css: str, seconds: float = PATIENCE):
        """The first element, waited for."""
        return self.until(lambda: self.all(css), f"no {css}", seconds)[0]

    def all(self, css: str) -> list:
        return self.driver.find_elements("css selector", css)

    def until(self, ask, what: str, seconds: float = PATIENCE):
        """The first true answer; fails with ``what`` when there is none.

        The page draws its cards anew: an element that went in between is asked for again.
        """
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with contextlib.suppress(StaleElementReferenceException):
                answer = ask()
                if answer:
                    return answer
            time.sleep(0.1)
        raise AssertionError(what)

    def drop(self, path: Path) -> None:
        self.find("#bccd-upload input[type=file]").send_keys(str(path))

    def card(self, key: str) -> str:
        css = f'[data-card="{key}"] .number'
        return self.until(lambda: [item.text for item in self.all(css)], f"no {css}")[0]

    def shows(self, key: str, text: str) -> None:
        self.until(lambda: self.card(key) == text, f"{key} is {self.card(key)}, not {text}")

    def download(self, kind: str, name: str) -> Path:
        path = self.downloads / name
        path.unlink(missing_ok=True)
        self.until(lambda: self.find(f"#bccd-{kind}").is_enabled(), f"{kind} stays grey")
        self.find(f"#bccd-{kind}").click()
        self.until(lambda: path.is_file() and path.stat().st_size, f"no {name}")
        return path

    def hosts(self) -> set[str]:
        """Every host the page asked; chrome:// pages of the browser itself are none."""
        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                url = urlsplit(message["params"]["request"]["url"])
                if url.scheme not in ("data", "blob", "chrome", "chrome-untrusted"):
                    found.add(url.hostname)
        return found


@contextlib.contextmanager
def opened(url: str, folder: Path) -> Iterator[Browser]:
    """The page in a browser whose profile and downloads lie in a folder."""
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for switch in [*SWITCHES, f"--user-data-dir={folder / 'profile'}"]:
        options.add_argument(switch)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    downloads = folder / "downloads"
    downloads.mkdir()
    try:
        driver.execute_cdp_cmd(
            "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(downloads)}
        )
        yield Browser(driver, url, downloads)
    finally:
        driver.quit()
