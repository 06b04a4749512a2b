import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from fractions import Fraction
from functools import cache, wraps
from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from streamer.clock import ManualClock, MonotonicClock
from streamer.errors import ConfigError
from streamer.frame import Frame, Origin
from streamer.sources.base import FrameSource
from streamer.sources.counter import read
from streamer.sources.drawing import Planes
from streamer.sources.scene import Scene
from streamer.sources.synthetic import Pace, SyntheticSettings, SyntheticSource, parse


@asynccontextmanager
async def closing(source: SyntheticSource) -> AsyncIterator[SyntheticSource]:
    try:
        yield source
    finally:
        await source.close()


@cache
def scene(*, seed: int = 1, cut_s: int = 5) -> Scene:
    return Scene(seed=seed, width=320, height=180, cut_s=Fraction(cut_s))


def change(before: Planes, after: Planes) -> float:
    """Mean absolute difference of luma."""
    return float(np.abs(before[0].astype(np.int16) - after[0]).mean())


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Runs a coroutine as a test; one that hangs fails."""

    @wraps(test)
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), timeout=60))

    return run


async def drained(url: str) -> list[Frame]:
    async with closing(SyntheticSource(parse(url), MonotonicClock())) as source:
        return [frame async for frame in source.frames()]


def test_an_empty_url_means_the_defaults() -> None:
    assert parse("synthetic:") == SyntheticSettings(
        width=640,
        height=360,
        fps=Fraction(30),
        seed=1,
        cut_s=Fraction(5),
        pace=Pace.REALTIME,
        frames=0,
    )


def test_every_part_of_the_url_is_read() -> None:
    url = "synthetic:1280x720@30000/1001?seed=3&cut_s=2.5&pace=fast&frames=90"
    assert parse(url) == SyntheticSettings(
        width=1280,
        height=720,
        fps=Fraction(30000, 1001),
        seed=3,
        cut_s=Fraction(5, 2),
        pace=Pace.FAST,
        frames=90,
    )
    assert parse("synthetic:@29.97").fps == Fraction(2997, 100)
    assert parse("synthetic:?frames=2").frames == 2


@pytest.mark.parametrize(
    "url",
    [
        "rtsp://camera",
        "synthetic",
        "synthetic:640",
        "synthetic:640x",
        "synthetic:641x360",
        "synthetic:640x361",
        "synthetic:158x96",
        "synthetic:160x94",
        "synthetic:3842x2160",
        "synthetic:3840x2162",
        "synthetic:1920x240",
        "synthetic:640x360@0",
        "synthetic:640x360@241",
        "synthetic:640x360@30/0",
        "synthetic:640x360@-5",
        "synthetic:640x360@",
        "synthetic:640x360@fast",
        "synthetic:?seed=-1",
        "synthetic:?seed=one",
        "synthetic:?seed=",
        "synthetic:?seed=1&seed=2",
        "synthetic:?speed=2",
        "synthetic:?pace=slow",
        "synthetic:?cut_s=0",
        "synthetic:?frames=1.5",
        "synthetic:?frames",
    ],
)
def test_a_wrong_url_is_refused_with_what_is_allowed_and_an_example(url: str) -> None:
    with pytest.raises(ConfigError, match=r"got .+; allowed: .+; e\.g\. synthetic:"):
        parse(url)


def test_the_example_in_the_errors_is_itself_accepted() -> None:
    with pytest.raises(ConfigError) as refused:
        parse("synthetic:1x1")
    assert parse(str(refused.value).rpartition(" ")[2]).fps == 60


def test_the_same_seed_gives_the_same_bytes_and_another_seed_another_picture() -> None:
    first, other = scene(), scene(seed=2)
    same = Scene(seed=1, width=320, height=180, cut_s=Fraction(5))
    for second in (1, 7, 12):
        at = Fraction(second) + Fraction(1, 3)
        drawn, again = first.draw(at), same.draw(at)
        assert all(np.array_equal(a, b) for a, b in zip(drawn, again, strict=True))
        assert change(drawn, other.draw(at)) > 4


def test_a_picture_does_not_depend_on_those_drawn_before() -> None:
    drawn = scene()
    expected = drawn.draw(Fraction(13))
    for number in range(5):
        drawn.draw(Fraction(3 * number, 7))
    assert change(drawn.draw(Fraction(13)), expected) == 0


def test_a_cut_changes_the_picture_and_motion_between_cuts_is_moderate() -> None:
    shots = scene(cut_s=1)
    drawn = [shots.draw(Fraction(number, 30)) for number in range(95)]
    changes = [change(before, after) for before, after in pairwise(drawn)]
    cuts = [changes.pop(index) for index in (89, 59, 29)]
    assert min(cuts) > 25
    assert min(changes) > 0.3
    assert max(changes) < 20
    assert max(changes) < min(cuts) / 1.5


def test_the_picture_is_detailed_colourful_and_in_limited_range() -> None:
    drawn = scene()
    for second in (1, 6, 11):
        luma, u, v = drawn.draw(Fraction(second))
        assert luma.min() >= 16
        assert luma.max() <= 235
        assert luma.std() > 20
        assert max(u.std(), v.std()) > 5
        neighbours = np.abs(np.diff(luma.astype(np.int16), axis=1)).mean()
        assert neighbours > 6, "a scene for enlargers needs energy near the finest frequencies"


@pytest.mark.parametrize(("width", "height"), [(160, 96), (180, 320), (400, 100)])
def test_any_shape_of_picture_is_filled(width: int, height: int) -> None:
    tall = Scene(seed=3, width=width, height=height, cut_s=Fraction(1))
    for second in range(3):
        luma, u, v = tall.draw(Fraction(second))
        assert luma.shape == (height, width)
        assert u.shape == v.shape == (height // 2, width // 2)
        assert luma.min() >= 16, "uncovered memory or an uncovered corner"


@in_loop
async def test_fast_pace_gives_every_frame_in_order_with_its_number_burnt_in() -> None:
    frames = await drained("synthetic:320x180@25?pace=fast&frames=40&cut_s=0.5")
    assert [frame.pts for frame in frames] == list(range(40))
    readings = [read(frame.planes[0]) for frame in frames]
    assert [reading.frame_number for reading in readings if reading] == list(range(40))
    for frame, reading in zip(frames, readings, strict=True):
        assert frame.time_base == Fraction(1, 25)
        assert frame.origin is Origin.DECODED
        assert frame.color.matrix == "bt601"
        assert reading is not None
        assert 0 <= frame.arrived_ns // 1_000_000 - reading.milliseconds < 60_000
    arrivals = [frame.arrived_ns for frame in frames]
    assert arrivals == sorted(arrivals)


@in_loop
async def test_frames_keep_their_own_memory() -> None:
    frames = await drained("synthetic:320x180?pace=fast&frames=5")
    for first, second in pairwise(frames):
        assert not np.shares_memory(first.planes[0], second.planes[0])
        assert first.planes[0].flags.writeable


@in_loop
async def test_realtime_frames_never_leave_before_their_time() -> None:
    clock = ManualClock()
    settings = SyntheticSettings(width=160, height=96, fps=Fraction(240), frames=20)
    async with closing(SyntheticSource(settings, clock)) as source:
        frames = source.frames()
        seen = [await anext(frames)]
        while True:
            coming = asyncio.ensure_future(anext(frames, None))
            while not coming.done():
                clock.advance_ms(1)
                await asyncio.sleep(0.001)
            frame = await coming
            if frame is None:
                break
            seen.append(frame)
        assert all(frame.arrived_ns >= frame.time_s * 1_000_000_000 for frame in seen)
        pts = [frame.pts for frame in seen]
        assert pts == sorted(set(pts))
        assert len(seen) + source.skipped == 20


@in_loop
async def test_a_late_reader_skips_to_the_present_and_time_stays_true() -> None:
    clock = ManualClock(start_ns=1_000_000_000)
    settings = SyntheticSettings(width=160, height=96, fps=Fraction(50))
    async with closing(SyntheticSource(settings, clock)) as source:
        frames = source.frames()
        seen, was_due = [await anext(frames)], 0
        for away_ms in (20, 20, 110, 20, 70, 20, 1000, 20):
            clock.advance_ms(away_ms)
            frame = await anext(frames)
            due = (clock.now_ns() - 1_000_000_000) // 20_000_000
            # A picture already drawn was replaced by one that is due. One that was on its way is
            # handed over late, once: it was the newest when it was begun.
            assert frame.pts in (due, max(seen[-1].pts + 1, was_due))
            was_due = due
            seen.append(frame)
        clock.advance_ms(20)
        seen.append(await anext(frames))
        assert seen[-1].pts >= 60, "the second lost while the reader was away is not made up"
        pts = [frame.pts for frame in seen]
        assert source.skipped >= 50
        assert pts == sorted(set(pts))
        await frames.aclose()  # type: ignore[attr-defined]


@in_loop
async def test_skipped_and_seen_frames_add_up_to_the_length_asked_for() -> None:
    clock = ManualClock()
    settings = SyntheticSettings(width=160, height=96, fps=Fraction(50), frames=10)
    async with closing(SyntheticSource(settings, clock)) as source:
        frames = source.frames()
        seen = [await anext(frames)]
        clock.advance_ms(60_000)
        seen += [frame async for frame in frames]
        assert len(seen) + source.skipped == 10
        assert all(frame.pts < 10 for frame in seen)


@in_loop
async def test_closing_ends_a_stream_that_waits_and_can_be_repeated() -> None:
    clock = ManualClock(start_ns=1)
    source = SyntheticSource(SyntheticSettings(width=160, height=96, fps=Fraction(1)), clock)
    frames = source.frames()
    await anext(frames)
    waiting = asyncio.ensure_future(anext(frames, None))
    await asyncio.sleep(0)
    await source.close()
    assert await waiting is None
    await source.close()
    assert [frame async for frame in source.frames()] == []


@in_loop
async def test_it_describes_itself() -> None:
    source = SyntheticSource(parse("synthetic:1280x720@60?frames=30"), MonotonicClock())
    assert isinstance(source, FrameSource)
    assert (source.video.width, source.video.height) == (1280, 720)
    assert source.video.fps == 60
    assert source.video.time_base == Fraction(1, 60)
    assert source.video.color.matrix == "bt709"
    assert source.video.duration_s == 0.5
    assert source.video.is_live
    assert source.audio is None
    await source.request_keyframe()
    await source.close()
