"""Sound in another codec, for sinks that take it only now and then."""

from __future__ import annotations

import asyncio
from fractions import Fraction

from streamer.frame import Packet
from streamer.sinks.audio_transcode import AudioTranscoder
from streamer.sinks.recoded import RecodedSink
from tests.streamer.sinks.network_peers import G711, sound


class Kept:
    """When what it got was heard, in seconds."""

    def __init__(self) -> None:
        self.times: list[Fraction] = []

    async def send(self, packet: Packet) -> None:
        self.times.append(packet.time_s)

    async def close(self) -> None:
        pass


class Switch:
    """A sink with one listener at a time, or none."""

    def __init__(self, to: Kept | None) -> None:
        self.to = to

    async def send(self, packet: Packet) -> None:
        if self.to is not None:
            await self.to.send(packet)

    async def close(self) -> None:
        pass


def test_who_joins_later_hears_nothing_of_what_the_encoder_still_held() -> None:
    first, second = Kept(), Kept()
    switch = Switch(first)
    sink = RecodedSink(
        switch, AudioTranscoder(G711, "aac"), is_wanted=lambda: switch.to is not None
    )

    async def scenario() -> None:
        for number in range(6_000):  # two minutes
            switch.to = first if number < 250 else second if number >= 5_000 else None
            await sink.send(sound(number))
        await sink.close()

    asyncio.run(scenario())
    assert Fraction(48, 10) < first.times[-1] < 5
    assert Fraction(999, 10) <= second.times[0] < Fraction(1002, 10)
    assert Fraction(1198, 10) < second.times[-1] < 120
