"""Serves the application inside an event loop that is already running."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Self

import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from streamer.server.listening import listen, place_here

GRACE_S = 1
"""How long a request in progress may take once the server is asked to stop."""

IDLE_S = 15.0
"""A connection that has begun no request for so long, or for twice that at most, is closed."""


class _QuietServer(uvicorn.Server):
    """Leaves the signals alone: Ctrl-C belongs to whoever runs the loop."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _ImpatientProtocol(H11Protocol):
    """Closes connections on which no request comes.

    uvicorn does so only after an answer. A browser connects in advance, and where its phone has left
    the network such a connection would stay for ever; so would half a request, sent on purpose.
    """

    _looking: asyncio.TimerHandle | None = None
    _idle_after: object = None
    """The request after which it was found idle, ``None`` before the first one; no request while busy."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._looking is not None:
            self._looking.cancel()
        super().connection_lost(exc)

    def _should_upgrade(self) -> bool:
        # Who offers HTTP/2 or a WebSocket, as curl and Java do by habit, also takes what is here;
        # uvicorn would log for each that a package is to be installed.
        return False

    def _look_later(self) -> None:
        self._looking = self.loop.call_later(IDLE_S, self._look)

    def _look(self) -> None:
        # uvicorn makes a new cycle for each request once its head is there.
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self.cycle is self._idle_after:
            self.transport.close()
            return
        self._idle_after = self.cycle if is_idle else self
        self._look_later()


class Server:
    """``async with Server(app, host=..., port=...) as server`` listens until the block ends.

    Port 0 takes any free one; ``port`` and ``url`` then tell which. Raises ``ConfigError`` where
    the address cannot be had.
    """

    def __init__(self, app: FastAPI, *, host: str = "127.0.0.1", port: int) -> None:
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
            http=_ImpatientProtocol,
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
