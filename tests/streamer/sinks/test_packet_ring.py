"""One viewer's ring: where it begins, what it loses, how it ends."""

from __future__ import annotations

import pytest

from streamer.sinks.packet_ring import PacketRing, RingClosed
from tests.streamer.server.watcher import run


def test_a_full_ring_skips_to_the_next_keyframe() -> None:
    async def scenario() -> None:
        ring: PacketRing[str] = PacketRing(3)
        assert not ring.push("early", is_keyframe=True)
        ring.open()
        assert not ring.push("p0", is_keyframe=False)
        for name in ("I1", "p2", "p3"):
            assert not ring.push(name, is_keyframe=name[0] == "I")
        assert ring.push("p4", is_keyframe=False), "the fourth does not fit"
        assert ring.dropped == 4
        assert not ring.push("p5", is_keyframe=False)
        assert ring.dropped == 5
        assert ring.needs_keyframe
        ring.push("I6", is_keyframe=True)
        assert await ring.take() == "I6"
        ring.close()
        with pytest.raises(RingClosed):
            await ring.take()

    run(scenario())


def test_a_keyframe_that_finds_the_ring_full_takes_its_place() -> None:
    async def scenario() -> None:
        ring: PacketRing[str] = PacketRing(2)
        ring.open()
        ring.push("I0", is_keyframe=True)
        ring.push("p1", is_keyframe=False)
        assert ring.push("I2", is_keyframe=True)
        assert not ring.needs_keyframe
        assert (await ring.take(), ring.dropped) == ("I2", 2)

    run(scenario())
