"""Denoising of a stream: while it is noisy, with a network that may fail, without new memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing

import pytest

from streamer.clock import ManualClock
from streamer.enhance.denoise import Denoising
from streamer.enhance.noise_watch import LOOKS, NoiseWatch
from streamer.errors import EngineError
from streamer.frame import Planes
from streamer.infer.engine import Engine, Tensors
from streamer.infer.guarded import Guarded
from streamer.infer.ort import OrtCpuEngine
from streamer.metrics import Metrics
from tests.streamer.denoising_network import cleaned, denoise, manifest, opened
from tests.streamer.noisy_pictures import HEIGHT, WIDTH, drawn, noisy
from tests.streamer.pictures import same

STILL = drawn()


@pytest.fixture
def engine() -> Iterator[Engine]:
    with closing(opened()) as it:
        yield it


class Broken(OrtCpuEngine):
    """Fails in the runs it is told to fail in."""

    def __init__(self, *fails: int) -> None:
        super().__init__(manifest("denoise-lite"), threads=1)
        self._fails, self._runs = fails, 0

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self._runs += 1
        if self._runs - 1 in self._fails:
            raise EngineError("it broke")
        super().run(inputs, outputs)


def denoising(
    engine: Engine, *, metrics: Metrics | None = None, watch: NoiseWatch | None = None
) -> Denoising:
    return Denoising(engine, ManualClock(), metrics or Metrics(), watch=watch)


def test_a_failure_leaves_the_picture_and_is_followed_by_a_beginning() -> None:
    metrics = Metrics()
    pictures = [noisy(STILL, 5, seed=n) for n in range(7)]
    with closing(Broken(3)) as engine:
        it = denoising(Guarded(engine, ManualClock(), metrics), metrics=metrics)
        seen = [it.cleaned(planes) for planes in pictures]
    assert [out is came for out, came in zip(seen, pictures, strict=True)] == [
        n == 3 for n in range(7)
    ]
    assert metrics.counts("unsound.") == {"denoise-lite": 1}
    with closing(OrtCpuEngine(manifest("denoise-lite"), threads=1)) as engine:
        anew = denoising(engine)
        for out, came in zip(seen[4:], pictures[4:], strict=True):
            assert same(out, anew.cleaned(came))


def test_an_engine_that_was_given_up_leaves_all_pictures() -> None:
    with closing(Broken(*range(2, 90))) as engine:
        it = denoising(Guarded(engine, ManualClock(), Metrics()))
        for number in range(20):
            came = noisy(STILL, 5, seed=number)
            assert (it.cleaned(came) is came) == (number >= 2)


def test_without_a_watch_every_picture_is_cleaned_and_counted(engine: Engine) -> None:
    metrics = Metrics()
    it = denoising(engine, metrics=metrics)
    for _ in range(6):
        assert it.cleaned(STILL) is not STILL
    assert metrics.timings()["denoise"].n == metrics.counted("cleaned") == 6


def touched(it: Denoising, pictures: Iterable[Planes]) -> list[bool]:
    """Which pictures are not the very same any more."""
    return [it.cleaned(planes) is not planes for planes in pictures]


def test_with_a_watch_only_noisy_pictures_are_touched(engine: Engine) -> None:
    metrics = Metrics()
    it = denoising(engine, metrics=metrics, watch=NoiseWatch())
    assert not any(touched(it, [STILL] * 30))
    assert "denoise" not in metrics.timings()
    seen = touched(it, (noisy(STILL, 5, seed=seed) for seed in range(40)))
    assert all(seen[30:])
    assert seen == sorted(seen), "it does not go on and off"
    assert metrics.timings()["denoise"].n == sum(seen)
    seen = touched(it, [STILL] * 60)
    assert seen[0]
    assert not any(seen[40:])
    assert seen == sorted(seen, reverse=True)


def test_where_noise_begins_again_nothing_is_followed(engine: Engine) -> None:
    it = denoising(engine, watch=NoiseWatch())
    assert touched(it, (noisy(STILL, 5, seed=seed) for seed in range(6)))[-1]
    assert not touched(it, [STILL] * 60)[-1]
    alone, begun, other = denoise(engine), 0, drawn(seed=7)
    for seed in range(30):
        came = noisy(other, 5, seed=seed)
        seen = it.cleaned(came)
        if seen is not came:
            begun += 1
            assert same(seen, cleaned(alone, came))
    assert begun > LOOKS


def test_no_memory_is_taken_for_each_picture(engine: Engine) -> None:
    it, came = denoising(engine), [noisy(STILL, 5, seed=seed) for seed in range(8)]
    it.cleaned(came[0])
    pool = it._pool
    for number in range(100):
        it.cleaned(came[number % 8])
    assert it._pool is pool
    # What was made last, what is being made, and what a helper that came late has not let go of.
    assert pool.allocated <= 12


def test_a_picture_that_is_kept_is_not_written_over(engine: Engine) -> None:
    it = denoising(engine)
    kept = [it.cleaned(noisy(drawn(width=64, height=48), 5, seed=n)) for n in range(6)]
    again = denoising(engine)
    for n, planes in enumerate(kept):
        assert same(planes, again.cleaned(noisy(drawn(width=64, height=48), 5, seed=n)))


class Slow(OrtCpuEngine):
    """Takes some time of a clock for each picture."""

    def __init__(self, clock: ManualClock, takes_ms: float) -> None:
        super().__init__(manifest("denoise-lite"), threads=1)
        self._clock = clock
        self.takes_ms = takes_ms

    def run(self, inputs: Tensors, outputs: Tensors) -> None:
        self._clock.advance_ms(self.takes_ms)
        super().run(inputs, outputs)


def seen_for(
    it: Denoising, clock: ManualClock, *, seconds: int, left_ms: float = 80.0
) -> list[bool]:
    """Which pictures of a stream at 25 fps are cleaned, each of which is to be done in so much time."""
    came, began_ms = drawn(width=64, height=48), clock.now_ns() / 1e6
    it.interval_ms = lambda: 40.0
    seen = []
    for number in range(25 * seconds):
        clock.advance_ms(max(0.0, began_ms + 40 * number - clock.now_ns() / 1e6))
        until_ns = clock.now_ns() + round(left_ms * 1e6)
        seen.append(it.cleaned(came, until_ns=until_ns) is not came)
    return seen


def test_it_goes_on_where_it_keeps_up_with_the_pictures() -> None:
    clock = ManualClock()
    with closing(Slow(clock, 35)) as engine:
        assert all(seen_for(Denoising(engine, clock, Metrics()), clock, seconds=10))


@pytest.mark.parametrize(("takes_ms", "left_ms"), [(44, 80.0), (33, 25.0)])
def test_what_it_takes_too_long_for_is_hardly_ever_tried(takes_ms: float, left_ms: float) -> None:
    clock = ManualClock()
    with closing(Slow(clock, takes_ms)) as engine:
        it = Denoising(engine, clock, Metrics())
        seen = seen_for(it, clock, seconds=20, left_ms=left_ms)
        # Twice, as once says nothing: at first, and again after 8 seconds, and 8 more.
        assert sum(seen) == 6
        assert it.cleaned(STILL) is not STILL


def test_when_a_load_has_gone_it_is_back_soon() -> None:
    clock = ManualClock()
    with closing(Slow(clock, 20)) as engine:
        it = Denoising(engine, clock, Metrics())
        assert all(seen_for(it, clock, seconds=1))
        engine.takes_ms = 60
        assert sum(seen_for(it, clock, seconds=4)) < 30
        engine.takes_ms = 20
        assert all(seen_for(it, clock, seconds=25)[-25:])


def test_without_time_no_picture_is_cleaned() -> None:
    clock = ManualClock()
    with closing(Slow(clock, 1)) as engine:
        it = Denoising(engine, clock, Metrics())
        assert not any(seen_for(it, clock, seconds=5, left_ms=0))


def test_a_picture_without_time_is_not_looked_at_either() -> None:
    watch = NoiseWatch()
    with closing(opened()) as engine:
        it = denoising(engine, watch=watch)
        for seed in range(30):
            came = noisy(STILL, 5, seed=seed)
            assert it.cleaned(came, until_ns=0) is came
    assert not watch.is_noisy


def test_warming_up_is_nothing_to_be_followed(engine: Engine) -> None:
    cold, warm = denoising(engine), denoising(engine)
    warm.warm_up(WIDTH, HEIGHT)
    for n in range(3):
        came = noisy(STILL, 5, seed=n)
        assert same(warm.cleaned(came), cold.cleaned(came))


def test_closing_closes_the_engine() -> None:
    class Noted(OrtCpuEngine):
        is_closed = False

        def close(self) -> None:
            self.is_closed = True
            super().close()

    engine = Noted(manifest("denoise-lite"), threads=1)
    denoising(engine).close()
    assert engine.is_closed
