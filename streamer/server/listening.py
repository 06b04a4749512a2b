"""Listening for TCP connections, and what is said where that cannot be had."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Any, Final

from streamer.errors import ConfigError

BACKLOG: Final = 128
NAME_ONE: Final = "name an address of this machine"


def place_here(host: str, port: int) -> str:
    """``host:port`` as a program on this machine writes it into an address."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host)
    name = here or (f"[{host}]" if ":" in host else host)
    return f"{name}:{port}"


async def listen(host: str, port: int) -> list[socket.socket]:
    """Listening sockets, one for each family of ``host``; ``ConfigError`` where there is none, or where
    another program has the port in one of them: under one name there would be two servers."""
    where = f"{host or '*'}:{port}"
    if not 0 <= port <= 65_535:  # the resolver would quietly take the remainder
        raise ConfigError(f"cannot listen on {where}: a port is 0 to 65535; choose one of these")
    loop = asyncio.get_running_loop()
    listeners: list[socket.socket] = []
    failure: OSError | None = None
    try:
        found: list[Any] = await loop.getaddrinfo(
            host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise ConfigError(f"cannot listen on {where}: {_reason(error)}; {NAME_ONE}") from error
    # A file of hosts may say the same twice.
    for family, address in dict.fromkeys((one[0], one[4]) for one in found):
        try:
            # Where any port will do, all families take the one that the first has found.
            chosen = listeners[0].getsockname()[1] if listeners else port
            listeners.append(_bound(family, (address[0], chosen, *address[2:])))
        except OSError as error:
            if failure is None or error.errno == errno.EADDRINUSE:
                failure = error
    is_taken = failure is not None and failure.errno == errno.EADDRINUSE and port != 0
    # A host without IPv6 still has its IPv4 listener.
    if not listeners or is_taken:
        assert failure is not None
        for listener in listeners:
            listener.close()
        is_elsewhere = failure.errno == errno.EADDRNOTAVAIL
        advice = NAME_ONE if is_elsewhere else "choose another port or stop what uses it"
        raise ConfigError(f"cannot listen on {where}: {_reason(failure)}; {advice}") from failure
    return listeners


def _bound(family: int, address: tuple[Any, ...]) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if os.name == "posix":
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(address)
        made.listen(BACKLOG)
        made.setblocking(False)
    except BaseException:
        made.close()
        raise
    return made


def _reason(error: OSError) -> str:
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]
