"""Sizes that are built on a thread of their own while others run; see ``test_tensorrt``."""

from __future__ import annotations

import logging
from pathlib import Path
from threading import Event

import numpy as np
import pytest

from streamer.errors import EngineError
from streamer.infer.engine_cache import user_engines
from streamer.infer.tensorrt import TensorRtEngine
from tests.streamer.infer.host_stream import HostStream
from tests.streamer.infer.tensorrt_double import World
from tests.streamer.infer.test_tensorrt import ready, run
from tests.streamer.models import shipped

pytestmark = pytest.mark.usefixtures("world")

SMALL = {"h": 8, "w": 8}


def test_a_size_is_built_on_another_thread_while_others_run(world: World) -> None:
    engine, may_end = ready(HostStream()), Event()
    assert len(world.builds) == 1
    world.waits_for_the_end = may_end
    assert not engine.is_ready(SMALL)
    assert world.is_building.wait(20)
    assert run(engine).any()
    assert not engine.is_ready(SMALL)
    may_end.set()
    engine._building.wait()
    assert engine.is_ready(SMALL)
    seen = run(engine, SMALL)
    assert len(world.builds) == 2
    engine.close()
    # From now on it is kept.
    again = TensorRtEngine(shipped("fp16"), stream=HostStream())
    assert again.is_ready(SMALL)
    assert np.array_equal(run(again, SMALL), seen)
    assert len(world.builds) == 2
    again.close()


def test_a_size_is_built_on_another_thread_also_where_nothing_can_be_kept(
    world: World, cache: Path
) -> None:
    cache.write_text("a file where the folder should be")
    engine = ready(HostStream())
    assert not engine.is_ready(SMALL)
    engine._building.wait()
    assert engine.is_ready(SMALL)
    assert run(engine, SMALL).any()
    assert len(world.builds) == 2
    engine.close()


@pytest.mark.parametrize("left", [0, 200])
def test_what_is_kept_and_of_no_use_is_built_on_another_thread(world: World, left: int) -> None:
    first = ready(HostStream())
    run(first, SMALL)
    first.close()
    kept = user_engines().path_of(first._key(SMALL))
    kept.write_bytes(kept.read_bytes()[:left])
    engine = ready(HostStream())
    may_end = world.waits_for_the_end = Event()
    for _ in range(3):
        assert not engine.is_ready(SMALL)
    assert world.is_building.wait(20)
    assert run(engine).any()
    may_end.set()
    engine._building.wait()
    assert engine.is_ready(SMALL)
    assert run(engine, SMALL).any()
    assert len(world.builds) == 3
    engine.close()


def test_what_is_kept_and_cannot_be_opened_is_built_on_another_thread(world: World) -> None:
    # As when a driver or a card changes without a word to the key.
    world.tensorrt_device = "Another"
    first = ready(HostStream())
    run(first, SMALL)
    first.close()
    world.tensorrt_device = "This computer"
    engine = ready(HostStream())
    assert len(world.builds) == 3
    assert engine.is_ready(SMALL)
    with pytest.raises(EngineError, match="incompatible device"):
        run(engine, SMALL)
    assert len(world.builds) == 3
    assert not engine.is_ready(SMALL)
    engine._building.wait()
    assert engine.is_ready(SMALL)
    assert run(engine, SMALL).any()
    assert len(world.builds) == 4
    engine.close()


def test_a_size_that_cannot_be_built_is_never_ready_and_said_to_be_so_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    engine = ready(HostStream())
    world.build_error = "Error Code 2: OutOfMemory"
    for _ in range(3):
        assert not engine.is_ready(SMALL)
        engine._building.wait()
    assert len(world.builds) == 2
    (record,) = [one for one in caplog.records if one.levelno == logging.WARNING]
    assert "sr-nano-x2-live-fp16 on tensorrt runs fewer pictures at once" in record.getMessage()
    engine.close()


def test_who_closes_waits_for_no_build(world: World) -> None:
    engine = ready(HostStream())
    world.waits_to_be_given_up = True
    assert not engine.is_ready(SMALL)
    assert world.is_building.wait(20)
    engine.close()
    assert len(world.builds) == 2
