"""Debian's Chromium for tests of pages; tests skip where it is absent."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")


class OpenPage:
    """A page in the browser, with what it said and asked for."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.said: list[str] = []
        self.asked: list[str] = []
        page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        page.on("request", lambda request: self.asked.append(request.url))

    def open(self, path: Path) -> Any:
        """Opens a file and waits until its charts are drawn."""
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("body[data-drawn]", timeout=120_000)
        return self.page


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A running browser."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (the dev extra)")
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, headless=True, args=list(FLAGS), timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture
def browse(chromium: Any) -> Iterator[Callable[..., OpenPage]]:
    """Opens pages with options of a browser context: viewport, color_scheme, .."""
    contexts = []

    def new(**options: Any) -> OpenPage:
        contexts.append(chromium.new_context(**options))
        contexts[-1].set_default_timeout(60_000)
        return OpenPage(contexts[-1].new_page())

    yield new
    for context in contexts:
        context.close()
