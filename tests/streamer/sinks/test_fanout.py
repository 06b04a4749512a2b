from __future__ import annotations

import asyncio
from fractions import Fraction

import pytest

from streamer.errors import SinkError
from streamer.frame import Packet
from streamer.sinks.base import Sink
from streamer.sinks.fanout import RING_PACKETS, FanOut


def packet(pts: int, *, is_keyframe: bool = False) -> Packet:
    return Packet(
        payload=b"x",
        pts=pts,
        dts=pts,
        time_base=Fraction(1, 30),
        arrived_ns=0,
        is_keyframe=is_keyframe,
    )


class Collect:
    """Keeps what it gets; refuses from ``limit`` packets on, waits while ``gate`` is shut."""

    def __init__(self, limit: int = 10**9, gate: asyncio.Event | None = None) -> None:
        self.got: list[int] = []
        self.closed = 0
        self._limit = limit
        self._gate = gate

    async def send(self, packet: Packet) -> None:
        if self._gate is not None:
            await self._gate.wait()
        if len(self.got) >= self._limit:
            raise SinkError("the disk is full; free some space")
        self.got.append(packet.pts)

    async def close(self) -> None:
        self.closed += 1


class Requests:
    """Counts the keyframes asked for."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self) -> None:
        self.number += 1


def fan_out(*sinks: Sink, may_drop: bool, requests: Requests | None = None) -> FanOut:
    return FanOut(
        [(f"sink{number}", sink) for number, sink in enumerate(sinks)],
        may_drop=may_drop,
        request_keyframe=requests or Requests(),
    )


async def finished(fanout: FanOut, packets: range) -> None:
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(fanout.run())
        for pts in packets:
            await fanout.send(packet(pts, is_keyframe=pts % 50 == 0))
        await fanout.close()


def test_every_sink_gets_everything_in_order_and_is_closed_once() -> None:
    async def scenario() -> None:
        sinks = (Collect(), Collect())
        await finished(fan_out(*sinks, may_drop=False), range(100))
        assert [sink.got for sink in sinks] == 2 * [list(range(100))]
        assert [sink.closed for sink in sinks] == [1, 1]

    asyncio.run(scenario())


def test_a_sink_that_fails_is_closed_and_the_others_go_on() -> None:
    async def scenario() -> None:
        good, bad = Collect(), Collect(limit=5)
        fanout = fan_out(bad, good, may_drop=False)
        await finished(fanout, range(100))
        assert good.got == list(range(100))
        assert bad.got == list(range(5))
        assert (good.closed, bad.closed) == (1, 1)
        assert [str(failure) for failure in fanout.failures] == [
            "the disk is full; free some space"
        ]
        # What comes after that was not lost by being too slow; one packet had waited for room.
        assert sum(fanout.dropped.values()) <= 1

    asyncio.run(scenario())


def test_when_the_last_sink_has_failed_the_fan_out_fails() -> None:
    async def scenario() -> None:
        fanout = fan_out(Collect(limit=5), Collect(limit=9), may_drop=False)
        with pytest.raises(BaseExceptionGroup) as failure:
            await finished(fanout, range(100))
        assert failure.group_contains(SinkError, match="the disk is full")
        assert len(fanout.failures) == 2

    asyncio.run(scenario())


def test_a_slow_live_sink_loses_packets_up_to_a_keyframe_and_the_fast_one_none() -> None:
    async def scenario() -> None:
        gate, requests = asyncio.Event(), Requests()
        slow, fast = Collect(gate=gate), Collect()
        fanout = fan_out(slow, fast, may_drop=True, requests=requests)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fanout.run())
            for pts in range(RING_PACKETS + 40):
                await fanout.send(packet(pts, is_keyframe=pts == 0))
                await asyncio.sleep(0)
            await fanout.send(packet(500, is_keyframe=True))
            await fanout.send(packet(501))
            gate.set()
            await fanout.close()
        assert fast.got == [*range(RING_PACKETS + 40), 500, 501]
        # What was on its way when it began to lag, and then from the keyframe on.
        assert slow.got == [0, 500, 501]
        assert requests.number == 1
        assert fanout.dropped == {"sink.sink0": RING_PACKETS + 39, "sink.sink1": 0}

    asyncio.run(scenario())


def test_what_outputs_of_one_name_lost_is_added_up() -> None:
    async def scenario() -> None:
        # As two keys of one server: the label leaves the key out.
        gate = asyncio.Event()
        slow, fast = ("rtmp://host", Collect(gate=gate)), ("rtmp://host", Collect())
        fanout = FanOut([slow, fast], may_drop=True, request_keyframe=lambda: None)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(fanout.run())
            for pts in range(RING_PACKETS + 40):
                await fanout.send(packet(pts, is_keyframe=pts == 0))
                await asyncio.sleep(0)
            assert fanout.dropped["sink.rtmp://host"] > 0
            gate.set()
            await fanout.close()

    asyncio.run(scenario())


def test_a_cancelled_fan_out_still_closes_its_sinks() -> None:
    async def scenario() -> None:
        sink = Collect()
        running = asyncio.ensure_future(fan_out(sink, may_drop=False).run())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running
        assert sink.closed == 1

    asyncio.run(scenario())
