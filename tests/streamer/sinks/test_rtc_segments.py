"""Bursts of datagrams over real sockets: at once where the kernel does it, else one by one."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import errno
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
from aioice import turn
from hypothesis import given
from hypothesis import strategies as st

from streamer.sinks import rtc_segments
from streamer.sinks.rtc_segments import MAX_BYTES, MAX_SEGMENTS, BurstSocket, runs
from tests.streamer.server.watcher import run, until
from tests.streamer.sinks.turn_relay import TurnRelay

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone cuts datagrams")

SO_NO_CHECK = 11
"""Of Linux; the kernel refuses to cut for a socket that sends no checksums."""

PICTURE = [1316] * 9 + [803] + [1316] * 18 + [400, 24]


def burst(lengths: list[int]) -> list[bytes]:
    """Datagrams of these lengths; each begins with its number."""
    return [
        number.to_bytes(4, "big") + bytes([number % 251]) * (length - 4)
        for number, length in enumerate(lengths)
    ]


class Inbox:
    """A UDP socket that reads nothing until it is asked for what came."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        self._socket.setblocking(False)
        try:
            self._socket.bind((host, 0))
        except OSError:
            self._socket.close()
            raise
        self.address: tuple[str, int] = self._socket.getsockname()[:2]
        self.got: list[bytes] = []

    def read(self) -> list[bytes]:
        """All that came since the beginning."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.got.append(self._socket.recv(65_535))
        return self.got

    async def until(self, wanted: list[bytes]) -> None:
        await until(lambda: len(self.read()) >= len(wanted), "datagrams were lost")
        assert self.got == wanted

    def close(self) -> None:
        self._socket.close()


class NarrowSocket(socket.socket):
    """A UDP socket whose buffer is full while it is told to be; loopback's never is."""

    is_full: ClassVar[bool] = False

    def sendto(self, *args: Any) -> int:
        if NarrowSocket.is_full:
            raise BlockingIOError
        return super().sendto(*args)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """The C library's ``sendto`` finds the buffer full as well, as Python's does."""
    sendto = rtc_segments._sendto()

    def narrow_sendto(*args: Any) -> int:
        if not NarrowSocket.is_full:
            return sendto(*args)
        ctypes.set_errno(errno.EAGAIN)
        return -1

    monkeypatch.setattr(rtc_segments, "_sendto", lambda: narrow_sendto)


@asynccontextmanager
async def sending(
    prepare: Callable[[socket.socket], None] = lambda _: None,
) -> AsyncIterator[tuple[BurstSocket, Inbox, list[int]]]:
    """A burst socket, where its datagrams arrive, and the lengths of those sent one by one."""
    sender = NarrowSocket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.bind(("127.0.0.1", 0))
    sender.setblocking(False)
    prepare(sender)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=sender)
    singles: list[int] = []
    sendto = transport.sendto

    def noted(data: bytes, address: Any) -> None:
        singles.append(len(data))
        sendto(data, address)

    transport.sendto = noted  # type: ignore[method-assign, assignment]
    inbox, sender_of_bursts = Inbox(), BurstSocket(transport)
    try:
        yield sender_of_bursts, inbox, singles
    finally:
        NarrowSocket.is_full = False
        transport.close()
        inbox.close()


def test_a_burst_arrives_in_order_and_nothing_of_it_goes_alone() -> None:
    async def scenario() -> None:
        async with sending() as (bursts, inbox, singles):
            if not bursts.segments:
                pytest.skip("this kernel cuts no datagrams")
            wanted = burst(PICTURE)
            bursts.send(wanted, inbox.address)
            await inbox.until(wanted)
            assert singles == []
            # What others send through the socket afterwards is not cut.
            bursts.transport.sendto(bytes(5_000), inbox.address)
            await inbox.until([*wanted, bytes(5_000)])

    run(scenario())


def test_a_kernel_that_refuses_loses_nothing_and_is_not_asked_again() -> None:
    def refuse(sender: socket.socket) -> None:
        sender.setsockopt(socket.SOL_SOCKET, SO_NO_CHECK, 1)

    async def scenario() -> None:
        async with sending(refuse) as (bursts, inbox, singles):
            wanted = burst(PICTURE)
            bursts.send(wanted[:12], inbox.address)
            assert not bursts.segments
            bursts.send(wanted[12:], inbox.address)
            await inbox.until(wanted)
            assert singles == PICTURE

    run(scenario())


@pytest.mark.usefixtures("narrow")
def test_what_a_full_socket_does_not_take_leaves_later_and_in_order() -> None:
    async def scenario() -> None:
        async with sending() as (bursts, inbox, singles):
            could = bursts.segments
            wanted = burst(PICTURE + PICTURE)
            NarrowSocket.is_full = True
            bursts.send(wanted[: len(PICTURE)], inbox.address)
            NarrowSocket.is_full = False
            # The transport has not had its turn yet and still keeps the first picture.
            bursts.send(wanted[len(PICTURE) :], inbox.address)
            await inbox.until(wanted)
            assert singles == PICTURE + PICTURE
            assert bursts.segments == could, "a full socket is no reason to give up"

    run(scenario())


def test_a_socket_of_another_kind_is_sent_to_one_by_one(tmp_path: Path) -> None:
    """Sockets other than UDP's would take a run for one datagram."""

    async def scenario() -> None:
        ours, theirs = (socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) for _ in range(2))
        theirs.bind(str(tmp_path / "theirs"))
        theirs.setblocking(False)
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=ours)
        bursts = BurstSocket(transport)
        assert not bursts.segments
        wanted = burst([900, 900, 900, 300])
        bursts.send(wanted, theirs.getsockname())
        assert [theirs.recv(4_000) for _ in wanted] == wanted
        transport.close()
        theirs.close()

    run(scenario())


@pytest.mark.parametrize("carrier", ["udp", "tcp"])
def test_what_is_relayed_goes_one_by_one_and_arrives_whole(carrier: str) -> None:
    async def scenario() -> None:
        inbox = Inbox()
        async with TurnRelay() as relay:
            transport, _ = await turn.create_turn_endpoint(
                asyncio.DatagramProtocol,
                server_addr=relay.address(carrier),
                username=None,
                password=None,
                transport=carrier,
            )
            bursts = BurstSocket(transport)  # type: ignore[arg-type]
            assert not bursts.segments
            wanted = burst(PICTURE)
            bursts.send(wanted, inbox.address)
            await until(lambda: len(inbox.read()) >= len(wanted), "datagrams were lost")
            assert sorted(inbox.got) == wanted
            transport.close()
            await until(lambda: relay.ended, "the allocation was not given back")
        inbox.close()

    run(scenario())


def test_a_burst_arrives_over_ipv6() -> None:
    async def scenario() -> None:
        try:
            inbox = Inbox("::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("::1", 0)
        )
        wanted = burst(PICTURE)
        BurstSocket(transport).send(wanted, inbox.address)
        await inbox.until(wanted)
        transport.close()
        inbox.close()

    run(scenario())


@given(st.lists(st.sampled_from([0, 10, 700, 1316, 40_000]), max_size=200))
def test_runs_are_all_that_was_given_and_what_one_call_takes(lengths: list[int]) -> None:
    datagrams = [bytes(length) for length in lengths]
    cut = list(runs(datagrams))
    assert [one for each in cut for one in each] == datagrams
    for each in cut:
        assert len({len(one) for one in each[:-1]}) <= 1
        assert len(each[-1]) <= len(each[0])
        assert len(each) <= MAX_SEGMENTS
        assert sum(map(len, each)) <= MAX_BYTES
