"""Times that run backwards in one container: another recording behind the first, or damage."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from typing import Any

import av
import pytest

from streamer.sources.joined import Joined

VIDEO, AUDIO = 0, 1
LASTS_MS = {VIDEO: 40, AUDIO: 20}

Times = Sequence[tuple[int, int]]
"""Streams and times in milliseconds, in the order of a file."""


def natives(times: Times) -> Iterator[Any]:
    with av.open(io.BytesIO(), "w", format="nut") as container:
        streams: tuple[Any, ...] = (
            container.add_stream("libx264", rate=25),
            container.add_stream("aac", rate=48_000),
        )
        for stream, time_ms in times:
            native: Any = av.Packet(b"x")
            native.stream = streams[stream]
            native.time_base = Fraction(1, 1000)
            native.dts, native.pts = time_ms, time_ms + 80
            native.duration = LASTS_MS[stream]
            yield native


def moved(times: Times) -> list[tuple[int, int]]:
    """Where ``times`` end up; pts were 80 ms behind dts."""
    given = list(Joined().given(natives(times)))
    assert all(0 <= native.pts - native.dts <= 80 for native in given)
    return [(native.stream_index, native.dts) for native in given]


def recording(*, begin_ms: int, video: int, audio: int) -> list[tuple[int, int]]:
    """Packets of both streams side by side; sound begins 10 ms after the picture."""
    times = [(VIDEO, begin_ms + 40 * n) for n in range(video)]
    times += [(AUDIO, begin_ms + 10 + 20 * n) for n in range(audio)]
    return sorted(times, key=lambda one: one[1])


def of(stream: int, times: Times) -> list[int]:
    return [time_ms for one, time_ms in times if one == stream]


def test_one_recording_stays_as_it_is() -> None:
    times = recording(begin_ms=1400, video=50, audio=100)
    assert moved(times) == times


@pytest.mark.parametrize("begin_ms", [0, 1400, 3000, 95_443_000])
def test_a_second_one_goes_behind_the_longest_stream_of_the_first(begin_ms: int) -> None:
    first = recording(begin_ms=1400, video=50, audio=103)
    second = recording(begin_ms=begin_ms, video=50, audio=100)
    # The last packets of the sound come after the first one of the second picture.
    times = [*first[:-3], second[0], *first[-3:], *second[1:]]
    seen = moved(times)
    video, audio = of(VIDEO, seen), of(AUDIO, seen)
    shift_ms = 1400 + 10 + 103 * 20 - (begin_ms + 10)
    assert video == of(VIDEO, first) + [at + shift_ms for at in of(VIDEO, second)]
    assert audio == of(AUDIO, first) + [at + shift_ms for at in of(AUDIO, second)]


def test_a_clock_that_jitters_moves_nothing_else() -> None:
    times = recording(begin_ms=0, video=50, audio=100)
    jittering = [(stream, at - 70 * (stream == AUDIO and at % 100 == 10)) for stream, at in times]
    seen = moved(jittering)
    assert of(VIDEO, seen) == of(VIDEO, times)
    assert all(a < b for a, b in pairwise(of(AUDIO, seen)))
    assert max(abs(a - b) for a, b in zip(of(AUDIO, seen), of(AUDIO, times), strict=True)) < 80


def test_a_third_one_that_comes_at_once_follows_too() -> None:
    part = recording(begin_ms=0, video=3, audio=6)
    seen = moved([*part, *part, *part])
    for stream in (VIDEO, AUDIO):
        assert all(a < b for a, b in pairwise(of(stream, seen)))
        assert len(of(stream, seen)) == 3 * len(of(stream, part))


def test_sound_that_ended_early_begins_again_with_its_picture() -> None:
    first = recording(begin_ms=0, video=250, audio=150)
    second = recording(begin_ms=5000, video=50, audio=100)
    seen = moved([*first, *second])
    assert of(VIDEO, seen)[250] == 10_000
    assert of(AUDIO, seen)[150] == 10_010


def test_a_second_one_without_sound_goes_behind_the_first() -> None:
    first = recording(begin_ms=0, video=50, audio=100)
    seen = moved([*first, *recording(begin_ms=0, video=100, audio=0)])
    assert of(VIDEO, seen) == list(range(0, 6000, 40))


@pytest.mark.parametrize("wrong_ms", [-9_000, 7_200_000])
@pytest.mark.parametrize("count", [1, 4])
def test_a_damaged_time_moves_nothing_else(count: int, wrong_ms: int) -> None:
    times = recording(begin_ms=20_000, video=50, audio=100)
    is_hit = [stream == AUDIO and 21_000 <= at < 21_000 + count * 20 for stream, at in times]
    hit = [
        (stream, at + wrong_ms * wrong) for (stream, at), wrong in zip(times, is_hit, strict=True)
    ]
    seen = moved(hit)
    assert of(VIDEO, seen) == of(VIDEO, times)
    assert len(of(AUDIO, seen)) == 100
    assert of(AUDIO, seen)[:50] == of(AUDIO, times)[:50]
    assert all(a < b for a, b in pairwise(of(AUDIO, seen)))
    if wrong_ms < 0:
        assert of(AUDIO, seen)[-40:] == of(AUDIO, times)[-40:]
