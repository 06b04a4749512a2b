"""A server over real streams, and a browser that shows its page."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from streamer.config import StreamSettings
from tests.end_to_end.browser import Browsers, opened
from tests.streamer.server.many import Many, serving_many

WIDE = {"width": 1280, "height": 800}
FRONT = "synthetic:320x180@10"


@asynccontextmanager
async def showing(
    browsers: Browsers,
    *streams: StreamSettings,
    address: str = "",
    token: str | None = None,
    **context: Any,
) -> AsyncIterator[tuple[Many, Any]]:
    """The server, and the page at an address of it; ``context`` is the browser's."""
    context.setdefault("viewport", WIDE)
    async with (
        serving_many(*streams, token=token) as many,
        opened(await browsers.shared(), f"{many.url}{address}", **context) as page,
    ):
        yield many, page
