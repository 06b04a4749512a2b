"""What the garbage collector may do in the middle of anything."""

from __future__ import annotations

import gc
from threading import Thread

from tests.streamer.gpu.emulated import Emulated

PATIENCE_S = 20


class CollectedMeanwhile(str):
    """A name at which the collector runs, as it may wherever something is allocated."""

    __slots__ = ()

    def __hash__(self) -> int:
        gc.collect()
        return super().__hash__()


def test_a_picture_may_be_freed_while_its_stream_counts(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    held: list[object] = [gpu.memory.lease(1000, gpu.compute)]
    held.append(held)
    gpu.close()
    del held
    counting = Thread(target=gpu.metrics.count, args=(CollectedMeanwhile("x"),), daemon=True)
    counting.start()
    counting.join(PATIENCE_S)
    assert not counting.is_alive(), "it waits for itself"
    assert emulated.count("memory") == 0
    assert gpu.metrics.counted("gpu.device.bytes") == 0
