"""Engines built ahead are those that streams ask for; over a TensorRT that computes by ONNX Runtime."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.infer.backends import Use, choose_super_resolution
from streamer.infer.batching_pool import ENGINES
from streamer.infer.engine import Deadline
from streamer.infer.engine_cache import user_engines
from streamer.infer.prebuild import build_engines, buildable
from streamer.infer.sizes import parse_picture
from streamer.infer.swapping import Swapping
from streamer.infer.tensorrt_build import BuildSettings
from tests.command import RunHere
from tests.streamer.infer.batch_streams import LATE_NS, at_once
from tests.streamer.infer.tensorrt_double import World

pytestmark = pytest.mark.usefixtures("device")

MODEL = "sr-nano-x2-live-fp16"


def built(*pictures: str, streams: int = 1) -> list[str]:
    """What is said."""
    said: list[str] = []
    build_engines(
        buildable(scale=2, variant="nano"),
        [parse_picture(picture) for picture in pictures],
        settings=BuildSettings(),
        clock=ManualClock(),
        report=said.append,
        streams=streams,
    )
    return said


def shapes(world: World) -> list[list[int]]:
    return [build["shapes"]["packed"] for build in world.builds]


def test_each_size_is_built_once_and_said_to_be_there_afterwards(world: World) -> None:
    first = built("64x48", "129x97")
    # That of the self-test is 128x96 too.
    assert shapes(world) == [[1, 6, 48, 64], [1, 6, 24, 32]]
    sizes = [path.stat().st_size for path in user_engines().folder.glob("engine-*")]
    assert [line.rpartition(", ")[0] for line in first] == [
        f"{MODEL} for 64x48, 1 at once: built in 0.0 s",
        f"{MODEL} for 128x96, 1 at once: was there already",
    ]
    for line in first:
        size_kb = int(line.rpartition(", ")[2].removesuffix(" kB"))
        # Beside the plan the file holds its key.
        assert any(0 <= size / 1000 - size_kb < 2 for size in sizes)
    again = built("64x48", "129x97")
    assert [line.endswith(first[1].partition(": ")[2]) for line in again] == [True, True]
    assert len(world.builds) == 2


@pytest.mark.parametrize(
    ("streams", "places"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 4]), (50, [1, 2, 4, 8])]
)
def test_as_many_at_once_are_built_as_so_many_streams_are_run_in(
    world: World, streams: int, places: list[int]
) -> None:
    built("64x48", streams=streams)
    assert shapes(world)[1:] == [[n, 6, 24, 32] for n in places]


def test_large_pictures_are_built_for_as_few_at_once_as_they_are_run_in(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamer.infer.batching_trial.MOST_BYTES", 1 << 19)
    built("64x48", streams=50)
    assert shapes(world)[1:] == [[1, 6, 24, 32], [2, 6, 24, 32]]


def test_streams_find_what_was_built_ahead_for_as_many(world: World) -> None:
    number = 3
    built("64x48", streams=number)
    ahead = len(world.builds)
    deadlines = [Deadline(LATE_NS) for _ in range(number)]
    engines = [
        choose_super_resolution(
            scale=2,
            backend="tensorrt",
            variant="nano",
            use=Use(clock=MonotonicClock(), deadline=deadline),
        ).engines[0]
        for deadline in deadlines
    ]
    picture = {"packed": np.ones((1, 6, 24, 32), np.float32)}

    def send(one: int) -> None:
        engines[one].run(picture, {"residual": np.empty((1, 24, 24, 32), np.float32)})

    for _ in range(2):
        for one in range(number):
            assert at_once([partial(send, one)]) == [None]
    share: Any = engines[0]
    # Batches of four hold three: nothing larger will be asked for, and all of it was there.
    assert [group.places for group in share._engine._groups.values()] == [4]
    # Self-tests have a size of their own, which is no stream's.
    assert [shape for shape in shapes(world)[ahead:] if shape[2:] != [48, 64]] == []
    for engine in engines:
        engine.close()
    assert len(ENGINES) == 0


def test_auto_goes_over_before_larger_batch_sizes_are_built(world: World) -> None:
    choice = choose_super_resolution(
        scale=2,
        backend="auto",
        variant="nano",
        use=Use(clock=MonotonicClock(), deadline=Deadline(LATE_NS)),
    )
    (engine,) = choice.engines
    assert isinstance(engine, Swapping)
    for _ in range(2):
        picture = np.ones((1, 6, 24, 32), np.float32)
        engine.run({"packed": picture}, {"residual": np.empty((1, 24, 24, 32), np.float32)})
        engine.wait()
    assert engine.backend == "tensorrt"
    assert shapes(world) == [[1, 6, 24, 32], [1, 6, 48, 64]]
    engine.close()
    assert len(ENGINES) == 0


def test_the_command_builds_for_streams_side_by_side(world: World, streamer: RunHere) -> None:
    done = streamer("engines", "build", "--size", "64x48", "--tier", "nano", "--streams", "2")
    assert (done.code, done.err) == (0, "")
    first, second = done.out.splitlines()
    assert first.startswith(f"{MODEL} for 64x48, 1 at once: built in ")
    assert second.startswith(f"{MODEL} for 64x48, 2 at once: built in ")
    assert shapes(world) == [[1, 6, 48, 64], [1, 6, 24, 32], [2, 6, 24, 32]]
    again = streamer("engines", "build", "--size", "64x48", "--tier", "nano", "--streams", "2")
    assert again.out.count(" at once: was there already, ") == 2
    assert streamer("engines", "build", "--size", "64x48", "--streams", "0").code == 2
