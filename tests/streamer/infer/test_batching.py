"""Streams on threads of their own, with engines that compute; who comes when is set by events."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from threading import Event, get_ident
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from streamer.clock import MonotonicClock
from streamer.errors import EngineError
from streamer.infer.batching import BatchingEngine
from streamer.infer.batching_trial import STORED
from streamer.infer.engine import Deadline, Tensors
from streamer.infer.ort import OrtCpuEngine
from streamer.infer.ort_cuda import OrtCudaEngine, Provider
from streamer.infer.self_test import SIZES, check
from streamer.model import MODELS, ModelManifest, read_manifest
from tests.streamer.infer.batch_streams import (
    FOR_EVER_NS,
    LATE_NS,
    PATIENCE_S,
    Streams,
    Watched,
    at_once,
    each,
    residual_of,
)
from tests.streamer.models import tiny

Opening = Callable[..., Streams]


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opening]:
    all_of_them: list[Streams] = []

    def open_streams(number: int, **settings: Any) -> Streams:
        all_of_them.append(Streams(tiny(tmp_path), number, **settings))
        return all_of_them[-1]

    yield open_streams
    for streams in all_of_them:
        streams.door.close()


@pytest.mark.parametrize(("number", "size"), [(1, 1), (2, 2), (3, 4), (4, 4), (7, 8), (8, 8)])
def test_streams_that_come_together_are_one_run_and_each_gets_its_own(
    opened: Opening, number: int, size: int
) -> None:
    streams = opened(number)
    for again in range(1, 4):
        assert at_once(each(streams, *range(number))) == [None] * number
        assert streams.runs == {size: again}


def test_more_streams_than_a_batch_holds_are_several_runs(opened: Opening) -> None:
    streams = opened(16)
    assert at_once(each(streams, *range(16))) == [None] * 16
    assert streams.runs == {8: 2}


def test_nobody_waits_for_others_beyond_its_deadline(opened: Opening) -> None:
    streams = opened(3)
    # The others never come, and the window never ends.
    streams.deadlines[0].ns = MonotonicClock().now_ns() + 20_000_000
    assert at_once(each(streams, 0)) == [None]
    streams.deadlines[1].ns = LATE_NS
    assert at_once(each(streams, 1)) == [None]
    assert streams.runs == {1: 2}
    # No place of the batch is run that nobody is in.
    assert streams.engine.batches[-2:] == [1, 1]


def test_without_a_deadline_the_window_ends_the_waiting(opened: Opening) -> None:
    streams = opened(3, window_ns=1_000_000)
    assert at_once(each(streams, 0)) == [None]
    learnt = opened(3, window_ns=None)
    assert at_once(each(learnt, 0)) == [None]


def test_a_stream_that_ends_is_not_waited_for(opened: Opening) -> None:
    streams = opened(3)
    assert at_once([*each(streams, 0, 1), streams.leases[2].close]) == [None] * 3
    assert streams.runs == {2: 1}
    streams.leases[2].close()
    with pytest.raises(EngineError, match="sr-tiny-x2 is closed, and nothing runs after that"):
        streams.run(2)


def test_the_next_batch_fills_while_one_runs(opened: Opening) -> None:
    streams = opened(4)
    begun, may_end = Event(), Event()

    def hold(number: int) -> None:
        if not begun.is_set():
            begun.set()
            assert may_end.wait(PATIENCE_S)

    streams.engine.before = hold
    streams.deadlines[0].ns = LATE_NS

    def first_alone_then_with_the_others() -> None:
        streams.run(0)
        streams.deadlines[0].ns = None
        streams.run(0)

    def later(number: int) -> Callable[[], None]:
        def run() -> None:
            assert begun.wait(PATIENCE_S)
            if number == 3:
                may_end.set()
            streams.run(number)

        return run

    calls = [first_alone_then_with_the_others, *(later(number) for number in (1, 2, 3))]
    assert at_once(calls) == [None] * 4
    assert streams.runs == {1: 1, 4: 1}


def test_an_engine_that_fails_says_the_same_to_all_of_the_batch_and_is_asked_again(
    opened: Opening,
) -> None:
    streams = opened(4)

    def fail(number: int) -> None:
        raise EngineError("the device is lost; start anew")

    streams.engine.before = fail
    errors = at_once(each(streams, 0, 1, 2, 3))
    assert [str(error) for error in errors] == ["the device is lost; start anew"] * 4
    assert all(isinstance(error, EngineError) for error in errors)
    assert len({id(error) for error in errors}) == 4
    streams.engine.before = lambda number: None
    for _ in range(STORED + 1):
        assert at_once(each(streams, 0, 1, 2, 3)) == [None] * 4


@pytest.mark.parametrize(
    "arrays",
    [
        ({"packed": np.zeros((1, 5, 6, 8), np.float32)}, np.zeros((1, 24, 6, 8), np.float32)),
        ({"packed": np.zeros((2, 6, 6, 8), np.float32)}, np.zeros((2, 24, 6, 8), np.float32)),
        ({}, np.zeros((1, 24, 6, 8), np.float32)),
        ({"packed": np.zeros((1, 6, 6, 8), np.float32)}, np.zeros((1, 24, 6, 9), np.float32)),
        ({"packed": np.zeros((1, 6, 6, 8), np.float32)}, np.zeros((1, 24, 6, 8), np.uint8)),
    ],
)
def test_arrays_that_do_not_fit_are_the_fault_of_their_stream_alone(
    opened: Opening, arrays: tuple[Any, Any]
) -> None:
    streams = opened(3)
    inputs, residual = arrays
    # The others would wait for it otherwise.
    streams.deadlines[0].ns = streams.deadlines[1].ns = LATE_NS
    bad = partial(streams.leases[2].run, inputs, {"residual": residual})
    *fine, error = at_once([*each(streams, 0, 1), bad])
    assert fine == [None, None]
    assert isinstance(error, EngineError)
    assert "sr-tiny-x2" in str(error)
    streams.deadlines[0].ns = streams.deadlines[1].ns = None
    assert at_once(each(streams, 0, 1, 2)) == [None] * 3


def test_a_picture_that_cannot_be_copied_costs_the_others_nothing(opened: Opening) -> None:
    streams = opened(2)
    of_another_kind = {"packed": np.zeros((1, 6, 6, 8), np.complex64)}
    residual = {"residual": np.zeros((1, 24, 6, 8), np.float32)}
    for _ in range(STORED + 1):
        bad = partial(streams.leases[1].run, of_another_kind, residual)
        fine, error = at_once([*each(streams, 0), bad])
        assert fine is None
        assert isinstance(error, TypeError)
    streams.deadlines[1].ns = LATE_NS
    for _ in range(10 * STORED):
        # A batch that nobody reads.
        assert isinstance(at_once([bad])[0], TypeError)
    # Before the last of those is run it takes whoever comes, and the other one would wait for a third.
    streams.deadlines[0].ns = LATE_NS
    assert at_once(each(streams, 0)) == [None]
    streams.deadlines[0].ns = streams.deadlines[1].ns = None
    assert at_once(each(streams, 0, 1)) == [None] * 2


def test_the_engine_is_called_by_one_thread_that_is_nobodys(opened: Opening) -> None:
    streams = opened(4)
    callers: set[int] = set()

    def call(number: int) -> Callable[[], None]:
        def run() -> None:
            callers.add(get_ident())
            streams.run(number)

        return run

    assert at_once([call(number) for number in range(4)]) == [None] * 4
    assert len(streams.engine.threads) == 1
    assert not streams.engine.threads & (callers | {get_ident()})


def test_a_batch_size_that_fails_is_left_out_and_that_is_said_once(
    opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    class Small(Watched):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            if len(inputs["packed"]) > 2:
                raise EngineError("no memory for that; free some")
            super().run(inputs, outputs)

    with caplog.at_level(logging.WARNING):
        streams = opened(4, engine=Small)
        for _ in range(2):
            assert at_once(each(streams, 0, 1, 2, 3)) == [None] * 4
    assert streams.runs == {2: 4}
    (record,) = caplog.records
    assert record.getMessage() == (
        "sr-tiny-x2 on ort-cpu runs at most 2 pictures at once: no memory for that; free some"
    )


def test_a_batch_size_that_gives_other_pictures_is_never_used(
    opened: Opening, caplog: pytest.LogCaptureFixture
) -> None:
    class MixingUp(Watched):
        """All right with two; with more, two of them change places."""

        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            super().run(inputs, outputs)
            residual = outputs["residual"]
            if len(residual) > 2:
                residual[[0, 2]] = residual[[2, 0]]

    streams = opened(4, engine=MixingUp)
    assert at_once(each(streams, 0, 1, 2, 3)) == [None] * 4
    assert streams.runs == {2: 2}
    assert "runs at most 2 pictures at once: residual of sr-tiny-x2 is off by" in caplog.text


def test_nobody_waits_for_a_larger_batch_size_that_has_to_be_built(opened: Opening) -> None:
    built, asked = Event(), list[int]()

    class BuildsFirst(Watched):
        def is_ready(self, sizes: Mapping[str, int]) -> bool:
            asked.append(sizes["n"])
            return built.is_set()

    streams = opened(2, engine=BuildsFirst)
    assert at_once(each(streams, 0, 1)) == [None] * 2
    assert streams.runs == {1: 2}
    built.set()
    # The engine's thread looks again when there is a picture.
    for deadline in streams.deadlines:
        deadline.ns = LATE_NS
    streams.run(0)
    streams.run(0)
    for deadline in streams.deadlines:
        deadline.ns = None
    assert at_once(each(streams, 0, 1)) == [None] * 2
    assert streams.runs == {1: 4, 2: 1}
    # A single picture is never left waiting.
    assert set(asked) == {2}


def test_a_stream_that_is_gone_before_its_batch_size_is_tried_costs_the_others_nothing(
    opened: Opening, monkeypatch: pytest.MonkeyPatch
) -> None:
    streams = opened(1)
    sizes, prepare, is_prepared = (("h", 6), ("w", 8)), streams.door._prepare, Event()

    def prepare_once_it_is_gone(*wanted: Any) -> None:
        streams.door.leave(sizes)
        prepare(*wanted)
        is_prepared.set()

    monkeypatch.setattr(streams.door, "_prepare", prepare_once_it_is_gone)
    streams.door.enter(sizes)
    assert is_prepared.wait(PATIENCE_S)
    assert at_once(each(streams, 0)) == [None]


def test_a_model_that_cannot_run_at_all_says_so_to_every_stream(tmp_path: Path) -> None:
    class Broken(Watched):
        def run(self, inputs: Tensors, outputs: Tensors) -> None:
            raise EngineError("the device is lost; start anew")

    with pytest.raises(EngineError, match="the device is lost; start anew"):
        Streams(tiny(tmp_path), 1, engine=Broken)


def test_pictures_of_two_sizes_are_batches_of_their_own(opened: Opening) -> None:
    streams = opened(4)
    for number in (2, 3):
        streams.pictures[number] = np.ones((1, 6, 10, 12), np.float32) * number
        streams.expected[number] = residual_of(
            OrtCpuEngine(streams.door.manifest, threads=1), streams.pictures[number]
        )
        streams.deadlines[number].ns = LATE_NS
        streams.run(number)
        streams.deadlines[number].ns = None
    assert streams.runs == {1: 2}
    assert at_once(each(streams, 0, 1, 2, 3)) == [None] * 4
    assert streams.runs == {1: 2, 2: 2}


def test_closing_ends_the_waiting(tmp_path: Path) -> None:
    streams = Streams(tiny(tmp_path), 2)
    error, _ = at_once([*each(streams, 0), streams.door.close])
    assert isinstance(error, EngineError)
    assert "is closed, and nothing runs after that; open the stream again" in str(error)
    assert streams.engine.is_closed


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_thread_that_broke(opened: Opening) -> None:
    streams = opened(2)

    def fail(number: int) -> None:
        raise ZeroDivisionError

    streams.engine.before = fail
    errors = at_once(each(streams, 0, 1))
    assert [type(error) for error in errors] == [EngineError] * 2
    assert [type(error) for error in at_once(each(streams, 0, 1))] == [EngineError] * 2


def test_a_lease_passes_the_self_test_of_its_model(opened: Opening) -> None:
    streams = opened(1)
    check(streams.leases[0])
    assert streams.leases[0].backend == "ort-cpu"
    assert streams.leases[0].manifest.inputs[0].sized(SIZES) == (1, 6, 48, 64)


def test_a_half_precision_model_is_batched_in_its_own_type() -> None:
    manifest = read_manifest(MODELS / "sr-nano-x2-live-fp16.json")

    def open_one(model: ModelManifest) -> OrtCudaEngine:
        return OrtCudaEngine(model, provider=Provider(name="CPUExecutionProvider", device="cpu"))

    alone = open_one(manifest)
    door = BatchingEngine(open_one, manifest, MonotonicClock(), window_ns=FOR_EVER_NS)
    deadline = Deadline(LATE_NS)
    leases = [door.lease(deadline) for _ in range(2)]
    pictures = [np.full((1, 6, 18, 32), value, np.float32) for value in (0.25, 0.75)]
    for lease in leases:
        residual_of(lease, pictures[0])
    deadline.ns = None
    seen: dict[int, NDArray[Any]] = {}
    calls = [lambda n=n: seen.__setitem__(n, residual_of(leases[n], pictures[n])) for n in range(2)]
    assert at_once(calls) == [None] * 2
    for number, picture in enumerate(pictures):
        expected = np.zeros((1, 24, 18, 32), np.float32)
        alone.run({"packed": picture}, {"residual": expected})
        assert np.array_equal(seen[number], expected)
    assert door.runs[2] == 1
    door.close()
