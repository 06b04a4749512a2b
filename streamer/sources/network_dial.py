"""A TCP connection to the first of several addresses that answers."""

from __future__ import annotations

import os
import selectors
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

APART_S = 0.25
"""Between two attempts (RFC 8305, section 5). An address that swallows what is sent to it, as IPv6 does
behind many a router, would otherwise cost its whole time limit, for each segment of a playlist anew."""


def first_that_answers(addresses: Sequence[str], port: int, *, timeout_s: float) -> socket.socket:
    """The connection, whose reads wait ``timeout_s`` each; an address is tried when those before it have
    failed or had ``APART_S``. Raises ``OSError`` with what stood in the way last."""
    failures = [OSError("no address")]
    with selectors.DefaultSelector() as trying:
        try:
            for address in addresses:
                try:
                    trying.register(_begun(address, port), selectors.EVENT_WRITE)
                except OSError as error:
                    failures.append(error)
                found = _answered(trying, failures, within_s=APART_S)
                if found is not None:
                    return _ready(found, timeout_s=timeout_s)
            found = _answered(trying, failures, within_s=timeout_s)
            if found is not None:
                return _ready(found, timeout_s=timeout_s)
            raise TimeoutError if trying.get_map() else failures[-1]
        finally:
            for key in list(trying.get_map().values()):
                _taken(trying, key).close()


def _begun(address: str, port: int) -> socket.socket:
    """A connection under way. Raises ``OSError`` where it fails at once."""
    family, kind, protocol, _, place = socket.getaddrinfo(
        address, port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
    )[0]
    connection = socket.socket(family, kind, protocol)
    connection.setblocking(False)
    try:
        connection.connect(place)
    except BlockingIOError:
        pass
    except BaseException:
        connection.close()
        raise
    return connection


def _answered(
    trying: selectors.BaseSelector, failures: list[OSError], *, within_s: float
) -> socket.socket | None:
    """One that stands; ``None`` where none is left that could, or for so long none has answered."""
    while trying.get_map():
        ready = trying.select(within_s)
        if not ready:
            return None
        for key, _ in ready:
            connection = _taken(trying, key)
            reason = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not reason:
                return connection
            connection.close()
            failures.append(OSError(reason, os.strerror(reason)))
    return None


def _taken(trying: selectors.BaseSelector, key: selectors.SelectorKey) -> socket.socket:
    trying.unregister(key.fileobj)
    connection: Any = key.fileobj
    assert isinstance(connection, socket.socket)
    return connection


def _ready(connection: socket.socket, *, timeout_s: float) -> socket.socket:
    connection.settimeout(timeout_s)
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection
