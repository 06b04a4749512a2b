"""A live stream whose frames leave evenly: what its outputs get, and when."""

from __future__ import annotations

import asyncio

import pytest

from streamer.clock import MonotonicClock
from streamer.config import StreamSettings, parse_sink
from streamer.enhance.assembly import build_chain, choose_engines
from streamer.frame import Packet
from streamer.metrics import Metrics
from streamer.outlets import Outlets
from streamer.pipeline import Stream
from streamer.playout import DUE
from streamer.rate import Rate
from streamer.sinks.fanout import FanOut
from streamer.sources.opening import open_source

FRAMES = 45
DOUBLE = Rate(times=2)


class Seen:
    """An output that notes what comes, and when."""

    def __init__(self, clock: MonotonicClock, *, enough: int) -> None:
        self.packets: list[tuple[Packet, int]] = []
        self.is_closed = False
        self.has_enough = asyncio.Event()
        self._clock = clock
        self._enough = enough

    async def send(self, packet: Packet) -> None:
        self.packets.append((packet, self._clock.now_ns()))
        if len(self.packets) == self._enough:
            self.has_enough.set()

    async def close(self) -> None:
        self.is_closed = True


def played(rate: Rate | None, *, frames: int = FRAMES, stops_after: int = 0) -> tuple[Seen, Stream]:
    """A camera that ends after so many ``frames``, or is stopped when so many packets have left."""
    clock, metrics = MonotonicClock(), Metrics()
    seen = Seen(clock, enough=stops_after)
    settings = StreamSettings(
        source=f"synthetic:320x180@30?frames={frames}",
        sinks=(parse_sink("null:"),),
        scale=1,
        backend="reference",
        budget_ms=400,
        rate=rate,
    )

    async def play() -> Stream:
        source = await open_source(settings.source, clock=clock, paced=True)
        engines = await asyncio.to_thread(choose_engines, settings, clock, metrics)
        chain = await asyncio.to_thread(
            build_chain, settings, engines, source.video, clock=clock, metrics=metrics
        )
        outlets = Outlets(settings, source=source, clock=clock, metrics=metrics)
        assert outlets.enhanced is not None
        outlets.enhanced.fanout = FanOut(
            [("seen", seen)],
            may_drop=True,
            request_keyframe=outlets.enhanced.encoder.request_keyframe,
        )
        stream = Stream(
            settings, source=source, chain=chain, outlets=outlets, clock=clock, metrics=metrics
        )
        running = asyncio.create_task(stream.run())
        async with asyncio.timeout(120):
            if stops_after:
                await seen.has_enough.wait()
                stream.stop()
            await running
        return stream

    return seen, asyncio.run(play())


def check_all_left(seen: Seen, stream: Stream) -> None:
    """In order, each once, down to the last one."""
    times = [packet.time_s for packet, _ in seen.packets]
    assert times == sorted(set(times))
    assert stream.report()["frames"]["sent"] == len(times)
    assert seen.is_closed


def test_no_picture_leaves_before_its_time_and_all_do_before_the_stream_ends() -> None:
    seen, stream = played(DOUBLE)
    check_all_left(seen, stream)
    timed = [(packet, at_ns) for packet, at_ns in seen.packets if DUE in packet.stamps_ns]
    assert all(at_ns >= packet.stamps_ns[DUE] for packet, at_ns in timed)
    # Only what waited for its time when the source ended has none.
    assert len(timed) >= len(seen.packets) - 16
    assert stream.report()["latency_ms"]["cadence_error"]["n"] == len(seen.packets) - 1


def test_pictures_that_nobody_waits_for_have_no_time_to_keep() -> None:
    seen, stream = played(None)
    check_all_left(seen, stream)
    assert not any(DUE in packet.stamps_ns for packet, _ in seen.packets)


@pytest.mark.parametrize("rate", [DOUBLE, None])
def test_what_was_coded_when_the_stream_is_stopped_still_leaves(rate: Rate | None) -> None:
    seen, stream = played(rate, frames=0, stops_after=20)
    check_all_left(seen, stream)
