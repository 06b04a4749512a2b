"""How evenly doubled pictures leave, and how late, where the encoder takes a different time for each:
the real pacer, showing and leaving, with a camera, making and coding by a virtual clock."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import pairwise

import pytest

from streamer.clock import ManualClock
from streamer.config import SinkSpec, StreamSettings
from streamer.costs import Costs
from streamer.frame import Frame, Origin, Packet
from streamer.hold import Hold
from streamer.link import Link, Overflow
from streamer.metrics import Metrics
from streamer.pace import Pacer, Pacing, lead_ms
from streamer.showing import Showing
from streamer.sinks.fanout import FanOut
from streamer.sinks.leaving import Leaving
from streamer.tally import Tally
from tests.streamer.stream_model import frame_at, nothing, packet_of
from tests.streamer.test_pace import Steady
from tests.streamer.virtual_time import run

BUDGET_MS = 80.0
SETTLED = 120
"""Frames, after which the first ones count no more."""


@dataclass
class Left:
    """Packets of one run, and when they left; a sink."""

    clock: ManualClock
    packets: list[tuple[Packet, int]] = field(default_factory=list)

    async def send(self, packet: Packet) -> None:
        self.packets.append((packet, self.clock.now_ns()))

    async def close(self) -> None:
        """Nothing is open."""

    def errors_ms(self, first: int = SETTLED) -> list[float]:
        """By how much the distances of neighbours differ from those of their times; sorted."""
        return sorted(
            abs(after_ns - before_ns - (after.time_s - before.time_s) * 10**9) / 1e6
            for (before, before_ns), (after, after_ns) in pairwise(self.packets[first:])
        )

    def latencies_ms(self, first: int = SETTLED) -> list[float]:
        """Of real frames; sorted."""
        return sorted(
            (at_ns - packet.arrived_ns) / 1e6
            for packet, at_ns in self.packets[first:]
            if packet.origin is Origin.DECODED
        )


def at(ordered: list[float], share: float) -> float:
    return ordered[int(share * (len(ordered) - 1))]


@dataclass(kw_only=True)
class Doubled:
    """A camera at 30 fps whose frames are doubled and coded; times in ms."""

    jitter_ms: float = 5.0
    """Frames come late by up to this."""
    ready_ms: Callable[[int, random.Random], float] = lambda _, numbers: numbers.uniform(12, 18)
    """What enhancing the frame of this number takes, and making the one before it."""
    encode_ms: Callable[[int, random.Random], float] = lambda _, numbers: numbers.uniform(4, 11)
    """What coding the picture of this number takes."""
    stalls: frozenset[int] = frozenset()
    """Before these frames the camera stops for 300 ms; then all come at once."""
    makes_frames: bool = True
    seed: int = 3

    def run(self, count: int) -> Left:
        clock = ManualClock()
        left = Left(clock)
        run(self._play(count, clock, left), clock)
        return left

    async def _play(self, count: int, clock: ManualClock, left: Left) -> None:
        numbers = random.Random(self.seed)
        metrics, costs = Metrics(), Costs(clock)
        link: Link[Frame] = Link("enhanced_link", capacity=1, overflow=Overflow.WAIT)
        step_s = Fraction(1, 60) if self.makes_frames else Fraction(1, 30)
        rhythm = Steady(step_s=step_s, makes_frames=self.makes_frames)
        pacing = Pacing(
            is_even=True,
            conceals=False,
            budget_ms=lambda: BUDGET_MS - costs.p95_ms(),
            lead_ms=lambda: lead_ms(costs),
        )
        showing = Showing(
            link,
            pacer=Pacer(pacing, rhythm=lambda: rhythm, clock=clock, metrics=metrics),
            hold=Hold(clock, fps=Fraction(30)),
            conceal=nothing,
            clock=clock,
        )
        fanout = FanOut([("left", left)], may_drop=True, request_keyframe=lambda: None)
        leaving = Leaving(
            [fanout],
            StreamSettings(
                source="rtsp://camera/", sinks=(SinkSpec(kind="null"),), budget_ms=BUDGET_MS
            ),
            Tally(metrics, clock),
            clock=clock,
            metrics=metrics,
        )
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._shoot(count, clock, link, numbers))
            tasks.create_task(leaving.run())
            tasks.create_task(fanout.run())
            coded = 0
            async for frame in showing.frames():
                if frame is None:
                    continue
                began_ns = clock.now_ns()
                await asyncio.sleep(self.encode_ms(coded, numbers) / 1000)
                await leaving.put(packet_of(frame), fanout, counts=True)
                coded_ns = clock.now_ns()
                costs.add((coded_ns - began_ns) / 1e6)
                showing.coded(frame, coded_ns)
                coded += 1
            await leaving.close()

    async def _shoot(
        self, count: int, clock: ManualClock, link: Link[Frame], numbers: random.Random
    ) -> None:
        stalled_ms = 0.0
        for number in range(count):
            stalled_ms = 300.0 if number in self.stalls else max(0.0, stalled_ms - 1000 / 30)
            due_ms = 1000 * number / 30 + numbers.uniform(0, self.jitter_ms) + stalled_ms
            await asyncio.sleep(max(0.0, due_ms / 1000 - clock.now_ns() / 1e9))
            arrived_ns = clock.now_ns()
            await asyncio.sleep(self.ready_ms(number, numbers) / 1000)
            if number and self.makes_frames:
                made = frame_at(Fraction(2 * number - 1, 60), arrived_ns)
                await link.put(replace(made, origin=Origin.INTERPOLATED))
            await link.put(frame_at(Fraction(number, 30), arrived_ns))
        await link.close()


@pytest.mark.parametrize("jitter_ms", [0.0, 5.0, 15.0])
def test_pictures_leave_evenly_though_each_takes_another_time_to_be_coded(jitter_ms: float) -> None:
    left = Doubled(jitter_ms=jitter_ms).run(600)
    assert len(left.packets) >= 1195
    assert at(left.errors_ms(), 0.95) < 2.0


def test_evenness_costs_what_the_slowest_take_longer_to_be_coded_than_usual_ones() -> None:
    evenly = Doubled().run(600).latencies_ms()
    always_alike = Doubled(encode_ms=lambda _, __: 7.5).run(600).latencies_ms()
    for share in (0.5, 0.95):
        assert at(evenly, share) <= at(always_alike, share) + 11 - 7.5 + 0.5


def test_pictures_leave_evenly_again_as_soon_as_a_stall_of_the_input_is_caught_up_with() -> None:
    stalls = frozenset({200, 350, 500})
    left = Doubled(stalls=stalls).run(600)
    media_s = [packet.time_s for packet, _ in left.packets]
    for number in stalls:
        caught_up = next(n for n, s in enumerate(media_s) if s >= Fraction(number, 30) + 1)
        following = Left(left.clock, left.packets[caught_up : caught_up + 180])
        assert at(following.errors_ms(first=0), 0.95) < 1.0
        assert at(following.latencies_ms(first=0), 0.95) < BUDGET_MS


def test_an_encoder_that_becomes_slower_is_followed_and_nothing_is_lost() -> None:
    slower = Doubled(encode_ms=lambda n, numbers: numbers.uniform(4, 8) + (5 if n > 500 else 0))
    left = slower.run(900)
    assert len(left.packets) >= 1795
    assert at(left.errors_ms(first=800), 0.95) < 2.0


def test_pictures_do_not_wait_for_an_encoder_that_stalls_now_and_then() -> None:
    stalling = Doubled(encode_ms=lambda n, _: 60.0 if n % 15 == 0 else 5.0).run(600)
    quick = Doubled(encode_ms=lambda _, __: 5.0).run(600)
    assert at(stalling.latencies_ms(), 0.5) <= at(quick.latencies_ms(), 0.95) + 2 * 5.0


def test_frames_leave_evenly_while_nothing_is_made_between_them() -> None:
    left = Doubled(makes_frames=False, ready_ms=lambda _, numbers: numbers.uniform(10, 20)).run(600)
    assert len(left.packets) == 600
    assert at(left.errors_ms(first=60), 0.95) < 1.0


def test_while_nothing_is_made_no_frame_waits_longer_than_half_an_interval_for_slower_ones() -> (
    None
):
    def ready_ms(number: int, numbers: random.Random) -> float:
        return numbers.uniform(10, 12) + (30 if number % 5 == 0 else 0)

    left = Doubled(
        makes_frames=False, jitter_ms=0, ready_ms=ready_ms, encode_ms=lambda _, __: 5.0
    ).run(600)
    assert at(left.latencies_ms(), 0.7) <= 12 + 5 + 1000 / 60
