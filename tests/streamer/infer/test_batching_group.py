"""Whole traces of many streams, with a clock that is moved by hand and an engine that only costs time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

import pytest

from streamer.clock import ManualClock
from streamer.infer.batching_graph import batched
from streamer.infer.batching_group import BATCHES, Batch, Group, batch_sizes
from streamer.infer.batching_trial import most_places
from streamer.infer.batching_window import Business, Request
from streamer.model import MODELS, read_manifest

MS = 1_000_000
SIZES = (("h", 180), ("w", 320))


@dataclass
class Trace:
    """One size of picture, as ``BatchingEngine`` handles it, in made-up time."""

    streams: int
    cost_ms: Callable[[int], float]
    window_ms: float | None = None
    most: int = BATCHES[-1]
    clock: ManualClock = field(default_factory=ManualClock)
    done: list[tuple[Request, int, int]] = field(default_factory=list)
    """Each request, when its run began and when it ended."""
    sizes: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.group = Group(SIZES, self.clock)
        self.group.streams = self.streams
        self.business = Business(0)
        while self.group.wants and self.group.places < self.most:
            size = self.group.wants
            spare = [Batch({}, {}, size) for _ in range(4)]
            self.group.take(spare, size, [round(self.cost_ms(size) * MS)])
        self.running: Batch | None = None
        self.began_ns = self.free_ns = 0
        self.outside: list[Request] = []

    def play(self, requests: list[Request]) -> None:
        coming = sorted(requests, key=lambda request: request.arrived_ns)
        while coming or self.outside or self.running or self.group.waiting:
            now_ns = self.clock.now_ns()
            while coming and coming[0].arrived_ns <= now_ns:
                self.outside.append(coming.pop(0))
            self._step(now_ns)
            dues = [coming[0].arrived_ns] if coming else []
            if self.running is not None:
                dues.append(self.free_ns)
            elif (due_ns := self.group.due_ns(self.window_ns)) is not None:
                dues.append(due_ns)
            if dues:
                self.clock.advance_ms(max(0, min(dues) - now_ns) / MS)

    @property
    def window_ns(self) -> int:
        return self.business.window_ns if self.window_ms is None else round(self.window_ms * MS)

    def _step(self, now_ns: int) -> None:
        if self.running is not None and now_ns >= self.free_ns:
            batch, self.running = self.running, None
            self.business.ran(self.began_ns, now_ns)
            size = self.group.costs.size_for(len(batch.members))
            self.group.costs.spent(size, now_ns - self.began_ns)
            self.sizes[len(batch.members)] += 1
            self.done += [(member, self.began_ns, now_ns) for member in batch.members]
            batch.unread = 0
            batch.done.set()
            self.group.give_back(batch)
        while self.outside:
            begins_ns = max(now_ns, self.free_ns) + self.group.closed_ns
            batch_or_none = self.group.join(self.outside[0], begins_ns=begins_ns)
            if batch_or_none is None:
                break
            batch_or_none.unfilled = 0
            self.outside.pop(0)
        ready = self.group.ready(self.window_ns) if self.running is None else None
        if ready is not None:
            self.group.begin(ready)
            size = self.group.costs.size_for(len(ready.members))
            self.running, self.began_ns = ready, now_ns
            self.free_ns = now_ns + round(self.cost_ms(size) * MS)

    @property
    def late(self) -> int:
        return sum(request.misses(ended_ns) for request, _, ended_ns in self.done)

    @property
    def mean(self) -> float:
        """Pictures a run."""
        return sum(size * runs for size, runs in self.sizes.items()) / self.sizes.total()


def cameras(number: int, *, seconds: float, budget_ms: float | None, seed: int) -> list[Request]:
    """Streams at 30 fps, each with a phase of its own and 3 ms of jitter."""
    random = Random(seed)
    requests = []
    for _ in range(number):
        phase_ms = random.uniform(0, 1000 / 30)
        for frame in range(int(seconds * 30)):
            at_ns = round((phase_ms + frame * 1000 / 30 + random.uniform(0, 3)) * MS)
            deadline_ns = None if budget_ms is None else at_ns + round(budget_ms * MS)
            requests.append(Request(at_ns, deadline_ns))
    return requests


def shared_ms(size: int) -> float:
    """A launch, and something for each picture: what a GPU costs."""
    return 0.8 + 0.2 * size


@pytest.mark.parametrize("seed", range(4))
def test_every_request_is_served_once_and_no_batch_is_too_large(seed: int) -> None:
    random = Random(seed)
    requests = [
        Request(at_ns := random.randrange(400 * MS), random.choice([None, at_ns + 3 * MS, at_ns]))
        for _ in range(600)
    ]
    trace = Trace(20, shared_ms)
    trace.play(requests)
    assert Counter(request for request, _, _ in trace.done) == Counter(requests)
    assert max(trace.sizes) <= BATCHES[-1]
    assert all(begun_ns >= request.arrived_ns for request, begun_ns, _ in trace.done)


@pytest.mark.parametrize("seed", range(3))
def test_fifty_cameras_hold_together_where_one_by_one_they_would_not(seed: int) -> None:
    requests = cameras(50, seconds=2, budget_ms=25, seed=seed)
    one_by_one = Trace(50, shared_ms, most=1)
    one_by_one.play(requests)
    # A run of one takes 1.0 ms, and 1,500 come each second.
    assert one_by_one.late > len(requests) / 2
    trace = Trace(50, shared_ms)
    trace.play(requests)
    assert trace.late == 0
    assert trace.mean > 2


@pytest.mark.parametrize("seed", range(3))
def test_nobody_is_late_for_having_waited(seed: int) -> None:
    # Alone each has 0.3 ms to spare; a window of 10 ms would make all of them late.
    requests = cameras(6, seconds=2, budget_ms=1.3, seed=seed)
    trace = Trace(6, shared_ms, window_ms=10)
    trace.play(requests)
    ends = sorted((begun_ns, ended_ns) for _, begun_ns, ended_ns in trace.done)

    def found_it_idle(request: Request) -> bool:
        """Nobody was running or waiting when it came, nor came before it would have been done."""
        until_ns = request.arrived_ns + round(1.3 * MS)
        return not any(
            begun_ns < until_ns and ended_ns > request.arrived_ns
            for begun_ns, ended_ns in ends
            if begun_ns != own[request]
        )

    own = {request: begun_ns for request, begun_ns, _ in trace.done}
    idle = [one for one in trace.done if found_it_idle(one[0])]
    assert len(idle) > len(requests) / 2
    assert not any(request.misses(ended_ns) for request, _, ended_ns in idle)


def test_one_camera_never_waits() -> None:
    requests = cameras(1, seconds=1, budget_ms=None, seed=1)
    trace = Trace(1, shared_ms, window_ms=10)
    trace.play(requests)
    assert all(begun_ns == request.arrived_ns for request, begun_ns, _ in trace.done)


def test_without_deadlines_waiting_ends_with_the_window() -> None:
    requests = cameras(4, seconds=2, budget_ms=None, seed=1)
    trace = Trace(4, lambda size: 0.01, window_ms=5)
    trace.play(requests)
    longest_ns = max(begun_ns - request.arrived_ns for request, begun_ns, _ in trace.done)
    assert 4 * MS < longest_ns <= 5.02 * MS


def test_a_picture_in_a_hurry_overtakes_the_batch_that_fills() -> None:
    trace = Trace(9, shared_ms, window_ms=50)
    patient = [Request(0), Request(0), Request(0)]
    # Four together take 1.6 ms, one alone 1.0.
    hurried = Request(1 * MS, 1 * MS + round(1.2 * MS))
    trace.play([*patient, hurried])
    (begun_ns, ended_ns) = next((b, e) for request, b, e in trace.done if request is hurried)
    assert (begun_ns, ended_ns) == (1 * MS, 2 * MS)
    assert trace.sizes == {1: 1, 3: 1}


def test_a_larger_batch_size_is_of_use_only_to_as_many_streams() -> None:
    clock = ManualClock()
    group = Group(SIZES, clock)
    wanted = []
    for streams in (1, 2, 3, 4, 5, 50):
        group.streams = streams
        while group.wants:
            wanted.append((streams, group.wants))
            group.take([], group.wants, [MS])
    assert wanted == [(1, 1), (2, 2), (3, 4), (5, 8)]


def test_a_batch_size_that_cannot_be_had_is_not_asked_for_again() -> None:
    group = Group(SIZES, ManualClock())
    group.streams = 8
    group.take([Batch({}, {}, 1)], 1, [MS])
    group.refuse("no memory")
    assert (group.wants, group.places, group.fault) == (0, 1, "")
    nothing = Group(SIZES, ManualClock())
    nothing.streams = 8
    nothing.refuse("no memory")
    assert (nothing.wants, nothing.fault) == (0, "no memory")


def group_of(streams: int, clock: ManualClock) -> Group:
    group = Group(SIZES, clock)
    group.streams = streams
    while group.wants:
        size = group.wants
        group.take([Batch({}, {}, size) for _ in range(4)], size, [round(shared_ms(size) * MS)])
    return group


def test_a_batch_is_not_run_before_all_its_pictures_are_in_it() -> None:
    clock = ManualClock()
    group = group_of(2, clock)
    group.join(Request(0), begins_ns=0)
    batch = group.join(Request(0), begins_ns=0)
    assert batch is not None
    assert batch.unfilled == 2
    for left in (1, 0):
        assert group.ready(0) is None
        batch.unfilled = left
    assert group.ready(0) is batch


def test_who_is_in_a_hurry_comes_before_batches_that_are_full() -> None:
    clock = ManualClock()
    group = group_of(9, clock)
    full = [group.join(Request(0), begins_ns=0) for _ in range(8)][-1]
    assert group.has_closed
    filling = group.join(Request(0), begins_ns=0)
    alone = group.join(Request(0, round(1.1 * MS)), begins_ns=0)
    for batch in (full, filling, alone):
        assert batch is not None
        batch.unfilled = 0
    for batch in (alone, full, filling):
        assert batch is not None
        assert group.ready(0) is batch
        group.begin(batch)


@pytest.mark.parametrize("most", BATCHES)
@pytest.mark.parametrize("streams", range(1, 12))
def test_what_a_group_asks_for_is_what_there_is_to_build_ahead(streams: int, most: int) -> None:
    group = Group(SIZES, ManualClock(), most=most)
    group.streams, asked = streams, list[int]()
    while group.wants:
        asked.append(group.wants)
        group.take([Batch({}, {}, group.wants)], group.wants, [1])
    assert tuple(asked) == batch_sizes(streams=streams, most=most)
    assert asked[-1] >= min(streams, most)
    assert asked[-1] < 2 * min(streams, most)


def test_where_all_storage_is_in_use_a_request_has_to_wait() -> None:
    clock = ManualClock()
    group = group_of(1, clock)
    batches = [group.join(Request(0), begins_ns=0) for _ in range(4)]
    assert group.join(Request(0), begins_ns=0) is None
    first = batches[0]
    assert first is not None
    first.unread = 0
    group.give_back(first)
    # It was not even run.
    assert group.join(Request(0), begins_ns=0) is None
    first.done.set()
    group.give_back(first)
    again = group.join(Request(0), begins_ns=0)
    assert again is not None
    assert (len(again.members), again.done.is_set()) == (1, False)


@pytest.mark.parametrize(
    ("width", "height", "places"), [(64, 36, 8), (640, 360, 8), (1280, 720, 4), (1920, 1080, 2)]
)
def test_large_pictures_are_fewer_in_a_batch(width: int, height: int, places: int) -> None:
    model = batched(read_manifest(MODELS / "sr-lite-x2-live-fp16.json"))
    sizes = (("h", height // 2), ("w", width // 2))
    assert most_places(model, sizes) == places
    group = Group(sizes, ManualClock(), most=places)
    group.streams = 50
    while group.wants:
        group.take([], group.wants, [MS])
    assert group.places == places


def test_the_largest_pictures_go_one_by_one() -> None:
    model = batched(read_manifest(MODELS / "sr-lite-x4-live-fp16.json"))
    assert most_places(model, (("h", 2160), ("w", 4096))) == 1
