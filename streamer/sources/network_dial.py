"""A TCP connection to the first of several addresses that answers."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress

APART_S = 0.25
"""Between two attempts (RFC 8305, section 5). An address that swallows what is sent to it, as IPv6 does
behind many a router, would otherwise cost its whole time limit, for each segment of a playlist anew."""


async def dial(addresses: Sequence[str], port: int) -> socket.socket:
    """The connection, which does not block; an address is tried when those before it have failed or had
    ``APART_S``. Raises ``OSError`` with what stood in the way last, and waits as long as one may answer."""
    failure = OSError("no address")
    waiting = list(addresses)
    trying: set[asyncio.Task[socket.socket | OSError]] = set()
    try:
        while waiting or trying:
            if waiting:
                trying.add(asyncio.create_task(_connected(waiting.pop(0), port)))
            done, _ = await asyncio.wait(
                trying,
                timeout=APART_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for attempt in done:
                trying.remove(attempt)
                outcome = attempt.result()
                if isinstance(outcome, socket.socket):
                    return outcome
                failure = outcome
        raise failure
    finally:
        for attempt in trying:
            if not attempt.cancel() and isinstance(late := attempt.result(), socket.socket):
                late.close()  # it answered at the same moment


def first_that_answers(addresses: Sequence[str], port: int, *, timeout_s: float) -> socket.socket:
    """As ``dial``, for a thread without an event loop; reads of the connection wait ``timeout_s`` each, and
    so does this."""

    async def within_its_time() -> socket.socket:
        async with asyncio.timeout(timeout_s):
            return await dial(addresses, port)

    connection = asyncio.run(within_its_time())
    connection.settimeout(timeout_s)
    with suppress(OSError):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


async def _connected(address: str, port: int) -> socket.socket | OSError:
    """The connection, or what stood in its way."""
    try:
        connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        return error  # without IPv6 there is not even a socket
    connection.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(connection, (address, port))
    except OSError as error:
        connection.close()
        # Without the address, which the event loop's own text repeats.
        return OSError(error.errno, os.strerror(error.errno)) if error.errno else error
    except BaseException:
        connection.close()
        raise
    return connection
