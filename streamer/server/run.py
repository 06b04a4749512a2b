"""Serves the application inside an event loop that is already running."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Any, Self

import uvicorn
from fastapi import FastAPI

from streamer.errors import ConfigError

GRACE_S = 1
"""How long a request in progress may take once the server is asked to stop."""

BACKLOG = 128


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
        here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host)
        name = here or (f"[{self.host}]" if ":" in self.host else self.host)
        return f"http://{name}:{self.port}/"

    async def __aenter__(self) -> Self:
        listener = await _listen(self.host, self.port)
        self.port = listener.getsockname()[1]
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
        self._task = asyncio.create_task(self._server.serve(sockets=[listener]))
        # The socket listens already: a connection made now waits until it is accepted.
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await self._task


async def _listen(host: str, port: int) -> socket.socket:
    """A listening socket, or a sentence about why there is none."""
    loop = asyncio.get_running_loop()
    where = f"{host or '*'}:{port}"
    if not 0 <= port <= 65_535:  # the resolver would quietly take the remainder
        raise ConfigError(f"cannot listen on {where}: a port is 0 to 65535")
    try:
        found: list[Any] = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        family, kind, protocol, _, address = found[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {_reason(error)}") from error
    try:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"cannot listen on {where}: {_reason(error)}; choose another port or stop what uses it"
        ) from error
    return listener


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
