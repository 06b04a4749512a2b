from __future__ import annotations

import pytest

from streamer.errors import EngineError
from streamer.gpu.hardware import Intake
from tests.streamer.gpu.emulated import OUT_OF_MEMORY, Emulated


def test_a_door_that_cannot_be_opened_leaves_nothing_behind(emulated: Emulated) -> None:
    events = emulated.count("events")
    emulated.fail("cuStreamCreate", OUT_OF_MEMORY, after=2)
    with pytest.raises(EngineError, match="OUT_OF_MEMORY; free memory of the device"):
        emulated.gpu()
    assert (emulated.count("streams"), emulated.count("events")) == (0, events)


def test_a_door_is_closed_also_where_there_is_no_memory_for_an_event(emulated: Emulated) -> None:
    events = emulated.count("events")
    gpu = emulated.gpu()
    gpu.memory.lease(1, gpu.compute)
    emulated.fail("cuEventCreate", OUT_OF_MEMORY)
    gpu.close()
    left = [emulated.count(what) for what in ("streams", "memory", "events")]
    assert left == [0, 0, events]


def test_a_decoders_door_is_closed_where_nothing_can_be_taken_over(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    own, streams = gpu.another(), emulated.count("streams")
    emulated.fail("cuEventCreate", OUT_OF_MEMORY)
    with pytest.raises(EngineError, match="OUT_OF_MEMORY; free memory of the device"):
        Intake(own)
    assert emulated.count("streams") == streams // 2
    gpu.close()
