import errno
import itertools
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

import pytest

from streamer.sources.network_dial import first_that_answers

NOBODY, SILENT, PEER = "127.0.0.3", "127.0.0.2", "127.0.0.1"


@contextmanager
def hosts() -> Iterator[int]:
    """A port on which one address listens, another swallows what comes, and a third refuses."""
    with ExitStack() as opened:
        peer = opened.enter_context(socket.create_server((PEER, 0)))
        port = int(peer.getsockname()[1])
        silent = opened.enter_context(socket.create_server((SILENT, port), backlog=0))
        # Linux answers no more once the queue is full.
        for _ in itertools.repeat(None, 4):
            waiting = opened.enter_context(socket.socket())
            waiting.setblocking(False)
            with suppress(BlockingIOError):
                waiting.connect(silent.getsockname())
        yield port


@pytest.mark.parametrize(
    "addresses", [[PEER], [NOBODY, PEER], [SILENT, PEER], [SILENT, NOBODY, PEER], [PEER, "::1"]]
)
def test_an_address_that_refuses_or_swallows_keeps_nobody_from_the_next(
    addresses: list[str],
) -> None:
    # Far longer than the test may take: the silent one is not waited for.
    with hosts() as port, first_that_answers(addresses, port, timeout_s=600) as connection:
        assert connection.getpeername() == (PEER, port)
        assert connection.gettimeout() == 600


def test_what_stood_in_the_way_is_raised() -> None:
    with hosts() as port:
        with pytest.raises(OSError, match="refused") as raised:
            first_that_answers([NOBODY], port, timeout_s=600)
        assert raised.value.errno == errno.ECONNREFUSED
        with pytest.raises(TimeoutError):
            first_that_answers([SILENT, NOBODY], port, timeout_s=0.1)
        with pytest.raises(OSError, match="no address"):
            first_that_answers([], port, timeout_s=600)
