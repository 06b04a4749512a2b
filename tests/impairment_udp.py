"""A UDP proxy that loses, delays, reorders and repeats datagrams by a seed."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal, Self

from tests.impairment_fates import (
    CLEAR,
    Address,
    Controlled,
    Direction,
    Done,
    Fates,
    Impairment,
)

HELD_PACKETS = 10_000
"""What a stalled proxy keeps in each direction; the oldest are lost beyond that."""

REORDER_FLUSH_S = 0.1
"""A packet held back to come late goes out after this long where no other follows it."""


class UdpProxy(Controlled):
    """Datagrams to ``address`` go on to ``target``, and answers back to whoever sent first."""

    def __init__(
        self,
        target: Address,
        *,
        seed: int = 1,
        to_target: Impairment = CLEAR,
        to_client: Impairment = CLEAR,
        port: int = 0,
    ) -> None:
        self.target = target
        self.seed = seed
        self.impairments: dict[Direction, Impairment] = {
            "to_target": to_target,
            "to_client": to_client,
        }
        """May be replaced while running."""
        self.done = Done()
        self.mode: Literal["open", "stalled", "blackhole"] = "open"
        self.address: Address = ("127.0.0.1", port)
        self._listener: asyncio.DatagramTransport | None = None
        self._lanes: dict[Address, _Lane] = {}
        self._back: list[_Lane] = []
        self._upstreams: list[asyncio.DatagramTransport] = []
        self._opening: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        listener, _ = await self._loop.create_datagram_endpoint(
            lambda: _Receiver(self._from_client), local_addr=self.address
        )
        self._listener = listener
        self.address = listener.get_extra_info("sockname")[:2]

    async def close(self) -> None:
        for transport in (self._listener, *self._upstreams):
            if transport is not None:
                transport.abort()
        self._listener = None
        # Their sockets are closed in the loop's next round.
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def stall(self) -> None:
        """Hold every packet, as a Wi-Fi that has gone quiet; ``resume`` sends what was held."""
        self.mode = "stalled"

    def blackhole(self) -> None:
        """Swallow every packet until ``resume``."""
        self.mode = "blackhole"

    def cut(self) -> None:
        """The same as ``blackhole``: UDP has no connection that could end."""
        self.blackhole()

    def resume(self) -> None:
        self.mode = "open"
        self._now(self._release)

    async def _release(self) -> None:
        for lane in (*self._lanes.values(), *self._back):
            lane.release()

    def _from_client(self, data: bytes, client: Address) -> None:
        lane = self._lanes.get(client)
        if lane is None:
            lane = self._lanes[client] = self._converse(client)
        lane.take(data)

    def _converse(self, client: Address) -> _Lane:
        """A socket of its own towards the target for each client, bound without waiting."""
        upstream = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        upstream.setblocking(False)
        upstream.bind((self.address[0], 0))
        number = len(self._back)

        def to_client(data: bytes) -> None:
            if self._listener is not None:
                self._listener.sendto(data, client)

        def to_target(data: bytes) -> None:
            with suppress(OSError):
                upstream.sendto(data, self.target)

        back = _Lane(self, "to_client", number, to_client)
        self._back.append(back)

        async def listen() -> None:
            transport, _ = await self._loop.create_datagram_endpoint(
                lambda: _Receiver(lambda data, _: back.take(data)), sock=upstream
            )
            self._upstreams.append(transport)

        task = self._loop.create_task(listen())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return _Lane(self, "to_target", number, to_target)


class _Receiver(asyncio.DatagramProtocol):
    def __init__(self, take: Callable[[bytes, Address], None]) -> None:
        self._take = take

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self._take(data, addr[:2])


class _Lane:
    """One direction of one UDP conversation: fates, delays and what is held."""

    def __init__(
        self, proxy: UdpProxy, direction: Direction, number: int, send: Callable[[bytes], None]
    ) -> None:
        self._proxy = proxy
        self._direction: Direction = direction
        self._fates = Fates(proxy.seed, f"{direction} {number}")
        self._send = send
        self._late: list[tuple[int, bytes, asyncio.TimerHandle]] = []
        self._travelling: deque[bytes] = deque()
        self._held: deque[bytes] = deque()
        self._last_due_s = 0.0
        self._free_s = 0.0

    def take(self, data: bytes) -> None:
        """One packet has come in."""
        done, direction = self._proxy.done, self._direction
        impairment = self._proxy.impairments[direction]
        done.add(direction, "received")
        fate = self._fates.next(impairment)
        if self._proxy.mode == "blackhole":
            done.add(direction, "swallowed")
        elif fate.is_lost:
            done.add(direction, "lost")
        elif fate.held_for:
            done.add(direction, "reordered")
            timer = asyncio.get_running_loop().call_later(REORDER_FLUSH_S, self._flush, data)
            self._late.append((fate.held_for, data, timer))
            return
        else:
            for _ in range(1 + fate.is_twice):
                self._schedule(data, fate.delay_ms, impairment)
            done.add(direction, "duplicated", fate.is_twice)
        self._overtake()

    def release(self) -> None:
        """Send what was held while stalled."""
        while self._held and self._proxy.mode == "open":
            self._leave(self._held.popleft())

    def _overtake(self) -> None:
        waiting, self._late = self._late, []
        for left, data, timer in waiting:
            if left > 1:
                self._late.append((left - 1, data, timer))
            else:
                timer.cancel()
                self._flush(data)

    def _flush(self, data: bytes) -> None:
        self._late = [entry for entry in self._late if entry[1] is not data]
        impairment = self._proxy.impairments[self._direction]
        self._schedule(data, impairment.delay_ms, impairment)

    def _schedule(self, data: bytes, delay_ms: float, impairment: Impairment) -> None:
        loop = asyncio.get_running_loop()
        now_s = loop.time()
        if impairment.bandwidth_kbps:
            began_s = max(now_s, self._free_s)
            if (began_s - now_s) * 1000 > impairment.queue_ms:
                self._proxy.done.add(self._direction, "overflowed")
                return
            self._free_s = began_s + len(data) * 8 / (impairment.bandwidth_kbps * 1000)
            delay_ms += (self._free_s - now_s) * 1000
        due_s = max(now_s + delay_ms / 1000, self._last_due_s)
        self._last_due_s = due_s
        if due_s <= now_s and not self._travelling:
            self._leave(data)
        else:
            # Timers of the same instant fire in any order, so that each takes the first in line.
            self._travelling.append(data)
            loop.call_at(due_s, lambda: self._leave(self._travelling.popleft()))

    def _leave(self, data: bytes) -> None:
        if self._proxy.mode == "stalled":
            self._held.append(data)
            if len(self._held) > HELD_PACKETS:
                self._held.popleft()
                self._proxy.done.add(self._direction, "overflowed")
            return
        self._proxy.done.add(self._direction, "sent")
        self._proxy.done.add(self._direction, "bytes", len(data))
        self._send(data)
