from __future__ import annotations

import pytest

from streamer.errors import EngineError
from tests.streamer.gpu.emulated import OUT_OF_MEMORY, Emulated


def test_a_door_that_cannot_be_opened_leaves_nothing_behind(emulated: Emulated) -> None:
    emulated.fail("cuStreamCreate", OUT_OF_MEMORY, after=2)
    with pytest.raises(EngineError, match="OUT_OF_MEMORY; free memory of the device"):
        emulated.gpu()
    assert emulated.count("streams") == 0
