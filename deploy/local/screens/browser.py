"""The page of `medstream watch --web` in Debian's Chromium, without a screen."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, ViewportSize, sync_playwright

from deploy.local.errors import LocalStackError

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
_SIZE = ViewportSize(width=1280, height=720)


@contextmanager
def opened(url: str) -> Iterator[Page]:
    """The page with its words shown. Raises LocalStackError where there is no Chromium."""
    chromium = shutil.which("chromium")
    if chromium is None:
        raise LocalStackError("the pictures need Chromium; on Debian: apt install chromium")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=list(FLAGS))
        page = browser.new_page(viewport=_SIZE, color_scheme="light")
        page.goto(url)
        page.click("#text:enabled")
        yield page
        browser.close()


def take(page: Page, path: Path) -> None:
    """A PNG of what is seen of the page."""
    page.screenshot(path=path)
