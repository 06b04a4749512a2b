"""A headless Chromium for the tests, and what to say where there is none."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import pytest

from tests.streamer.server.watcher import TEST_WITHIN_S

Result = TypeVar("Result")

REQUIRE = "STREAMER_REQUIRE_PROGRAMS"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--autoplay-policy=no-user-gesture-required",
)
PATIENCE_MS = 60_000
"""What playwright waits for anything; a slow machine takes long to start a browser."""

SHOW_ADDRESSES = "--disable-features=WebRtcHideLocalIpsWithMdns,SpareRendererForSitePerProcess"
"""Without the first Chromium hides its addresses behind multicast names, as it does for users; without
the second it starts a process for a page that nobody opens, a third of what a page costs."""


def needs_chromium() -> str:
    """The path of Chromium; skips the test where it or playwright is missing.

    With STREAMER_REQUIRE_PROGRAMS=1 a missing program is a failure instead.
    """
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    has_playwright = importlib.util.find_spec("playwright") is not None
    if found is not None and has_playwright:
        return found
    wanted = "Chromium (apt-get install chromium)" if found is None else "playwright (pip install)"
    if os.environ.get(REQUIRE) == "1":
        pytest.fail(f"this test needs {wanted}, and {REQUIRE}=1 says that it must run")
    pytest.skip(f"this test needs {wanted}")


class Browsers:
    """Chromium, started once for all tests, on the one loop that their scenarios run on; each page has
    a fresh profile of it. Playwright and a browser take two seconds of a processor to start."""

    def __init__(self) -> None:
        self._path = needs_chromium()
        self._runner = asyncio.Runner()
        self._runner.run(self._start())
        self._shared: Any = None

    async def _start(self) -> None:
        from playwright.async_api import async_playwright

        self._playwright = await async_playwright().start()

    def run(self, scenario: Coroutine[Any, Any, Result]) -> Result:
        """Run a test's scenario, and not for ever; what it leaves running is cancelled."""
        return self._runner.run(_bounded(scenario))

    async def shared(self) -> Any:
        """The browser of all tests, which shows its addresses; another one if it has crashed."""
        if self._shared is None or not self._shared.is_connected():
            self._shared = await self._launch(SHOW_ADDRESSES)
        return self._shared

    @asynccontextmanager
    async def own(self, *flags: str) -> AsyncIterator[Any]:
        """A browser for one test, with these flags besides."""
        browser = await self._launch(*flags)
        try:
            yield browser
        finally:
            await browser.close()

    async def _launch(self, *flags: str) -> Any:
        # Ours are all the flags that matter; playwright's own headless flag is for another shell.
        return await self._playwright.chromium.launch(
            executable_path=self._path,
            args=[*FLAGS, *flags],
            ignore_default_args=["--headless"],
            headless=True,
            timeout=PATIENCE_MS,
        )

    def close(self) -> None:
        self._runner.run(self._stop())
        self._runner.close()

    async def _stop(self) -> None:
        if self._shared is not None:
            await self._shared.close()
        await self._playwright.stop()


async def _bounded(scenario: Coroutine[Any, Any, Result]) -> Result:
    others = asyncio.all_tasks()
    try:
        return await asyncio.wait_for(scenario, TEST_WITHIN_S)
    finally:
        left = asyncio.all_tasks() - others
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


@asynccontextmanager
async def opened(browser: Any, url: str, **context: Any) -> AsyncIterator[Any]:
    """A page at ``url`` in a fresh profile; what its console complains about fails the test."""
    profile = await browser.new_context(**context)
    page = await profile.new_page()
    page.set_default_timeout(PATIENCE_MS)
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    page.complaints = complaints
    try:
        await page.goto(url)
        yield page
    finally:
        await profile.close()


async def page_value(page: Any, name: str) -> Any:
    """One value of ``window.streamerPage``."""
    return await page.evaluate("name => window.streamerPage?.[name]", name)


async def wait_for_page(page: Any, condition: str, *, within_s: float = 60.0) -> None:
    """Wait until the JavaScript ``condition`` over ``streamerPage`` holds."""
    await page.wait_for_function(
        f"() => {{ const page = window.streamerPage; return page && ({condition}); }}",
        timeout=within_s * 1000,
        polling=50,
    )


PixelReader = Callable[[float, float], Awaitable[tuple[int, int, int]]]


def pixel_reader(page: Any) -> PixelReader:
    """Reads the canvas: the mean colour of a few pixels at ``x, y``, as parts of its size."""

    async def read(x: float, y: float) -> tuple[int, int, int]:
        rgb = await page.evaluate(
            """([x, y]) => {
                const canvas = document.getElementById("picture");
                const at = [Math.round(x * canvas.width) - 2, Math.round(y * canvas.height) - 2];
                const { data } = canvas.getContext("2d").getImageData(...at, 4, 4);
                const mean = (c) => data.filter((_, i) => i % 4 === c).reduce((a, b) => a + b) / 16;
                return [mean(0), mean(1), mean(2)].map(Math.round);
            }""",
            [x, y],
        )
        return (rgb[0], rgb[1], rgb[2])

    return read
