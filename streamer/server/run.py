"""Serves the application inside an event loop that is already running."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Self

import uvicorn
from fastapi import FastAPI

from streamer.server.listening import listen, place_here

GRACE_S = 1
"""How long a request in progress may take once the server is asked to stop."""


class _QuietServer(uvicorn.Server):
    """Leaves the signals alone: Ctrl-C belongs to whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """``async with Server(app, host=..., port=...) as server`` listens until the block ends.

    Port 0 takes any free one; ``port`` and ``url`` then tell which. Raises ``ConfigError`` where
    the address cannot be had.
    """

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int = 8080) -> None:
        self.host = host
        self.port = port
        self._app = app
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where a browser on this machine finds the page."""
        return f"http://{place_here(self.host, self.port)}/"

    async def __aenter__(self) -> Self:
        listeners = await listen(self.host, self.port)
        self.port = listeners[0].getsockname()[1]
        config = uvicorn.Config(
            self._app,
            log_config=None,
            log_level="warning",
            access_log=False,
            lifespan="off",
            server_header=False,
            timeout_graceful_shutdown=GRACE_S,
        )
        self._server = _QuietServer(config)
        self._task = asyncio.create_task(self._server.serve(sockets=listeners))
        # The sockets listen already: a connection made now waits until it is accepted.
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task
