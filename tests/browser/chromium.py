"""Headless Chromium as a tool: starts fresh, talks to nobody but the page, and tells what went wrong in its console."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from selenium.webdriver import Chrome, ChromeOptions, ChromeService

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--force-device-scale-factor=1",
)
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class NoBrowser(Exception):
    """This machine has no Chromium or no chromedriver."""


@contextmanager
def chromium(*, width: int = 1440, height: int = 960) -> Iterator[Chrome]:
    """A browser with a profile of its own. Raises NoBrowser."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    driver = shutil.which("chromedriver")
    if browser is None or driver is None:
        raise NoBrowser("install chromium and chromium-driver")
    profile = tempfile.mkdtemp(prefix="chromium-")
    options = ChromeOptions()
    options.binary_location = browser
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    chrome = Chrome(options=options, service=ChromeService(driver, env=environment))
    try:
        chrome.set_page_load_timeout(60)
        yield chrome
    finally:
        chrome.quit()
        shutil.rmtree(profile, ignore_errors=True)


def complaints(chrome: Chrome) -> list[str]:
    """What the browser's console holds against the pages since the last look: policy violations, script errors."""
    return [str(entry["message"]) for entry in chrome.get_log("browser") if entry["level"] in ("SEVERE", "WARNING")]
