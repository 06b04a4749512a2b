import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from random import Random
from typing import Any

import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceError, SourceLost
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.media import AudioInfo, Color, VideoInfo
from streamer.metrics import Metrics
from streamer.sources.base import PacketSource
from streamer.sources.lasting import Lasting, Patience

DEADLINE_S = 60.0
CLOCK = MonotonicClock()
QUICK = Patience(first_wait_s=0.001, longest_wait_s=0.002, silent_after_s=10)
SOUND = AudioInfo(codec="aac", rate_hz=48_000, channels=2, time_base=RTP_TIME_BASE)


def picture(width: int = 320, *, is_live: bool = True, fps: int | Fraction = 30) -> VideoInfo:
    return VideoInfo(
        codec="h264",
        width=width,
        height=180,
        fps=Fraction(fps),
        time_base=RTP_TIME_BASE,
        color=Color(matrix="bt601"),
        is_live=is_live,
    )


def packet(number: int, *, is_keyframe: bool = False, stream: Any = "video") -> Packet:
    return Packet(
        payload=b"x",
        pts=3000 * number,
        dts=3000 * number,
        time_base=RTP_TIME_BASE,
        arrived_ns=CLOCK.now_ns(),
        is_keyframe=is_keyframe,
        stream=stream,
    )


@dataclass(eq=False)
class Camera:
    """A connection that plays its script: packets, or what becomes of it."""

    script: Sequence[Packet | Exception | str]
    video: VideoInfo = field(default_factory=picture)
    audio: AudioInfo | None = None
    wishes: int = 0
    is_closed: bool = False
    _end: asyncio.Event = field(default_factory=asyncio.Event)

    async def packets(self) -> AsyncIterator[Packet]:
        for step in self.script:
            if isinstance(step, Exception):
                raise step
            if step == "silence":
                await self._end.wait()
                return
            assert isinstance(step, Packet)
            yield replace(step, arrived_ns=CLOCK.now_ns())

    async def request_keyframe(self) -> None:
        self.wishes += 1

    async def close(self) -> None:
        self.is_closed = True
        self._end.set()


class Cameras:
    """An opener that gives one after another, or refuses."""

    def __init__(self, *connections: Camera | Exception) -> None:
        self.left = list(connections)
        self.opened = 0

    async def __call__(self) -> PacketSource:
        self.opened += 1
        following = self.left.pop(0)
        if isinstance(following, Exception):
            raise following
        return following


def lost() -> SourceLost:
    return SourceLost("rtsp://user:secret@cam broke off; check it")


async def opened(cameras: Callable[[], Awaitable[PacketSource]], **others: Any) -> Lasting:
    given: dict[str, Any] = {
        "label": "cam",
        "clock": CLOCK,
        "metrics": Metrics(),
        "random": Random(1),
        "patience": QUICK,
        **others,
    }
    return await Lasting.open(cameras, **given)


async def reaches(source: Lasting, state: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while source.state != state:  # noqa: ASYNC110 - its callback is another test's subject
            await asyncio.sleep(0)


async def taken(source: Lasting, count: int) -> list[Packet]:
    got: list[Packet] = []
    async with asyncio.timeout(DEADLINE_S):
        async for one in source.packets():
            got.append(one)
            if len(got) == count:
                break
    await source.close()
    return got


def test_a_lost_source_is_opened_again_and_the_timeline_goes_on() -> None:
    async def play() -> None:
        metrics = Metrics()
        states: list[tuple[str, str]] = []
        first = Camera([packet(n, is_keyframe=n == 0) for n in range(5)] + [lost()])
        second = Camera(
            [packet(n, is_keyframe=n == 0) for n in range(5)] + ["silence"], video=picture(640)
        )
        source = await opened(
            Cameras(first, second),
            metrics=metrics,
            on_state=lambda state, reason: states.append((state, reason)),
        )
        got = await taken(source, 10)
        assert [one.dts for one in got] == sorted({one.dts for one in got})
        assert [one.follows_loss for one in got] == [n == 5 for n in range(10)]
        assert [one.video for one in got] == [picture(640) if n == 5 else None for n in range(10)]
        assert source.video == picture(640)
        assert first.is_closed
        assert [state for state, _ in states] == ["connecting", "live", "lost", "live", "closed"]
        assert "broke off" in states[2][1]
        assert "secret" not in states[2][1]
        assert metrics.counted("source.reconnects") == 1
        assert metrics.counts("source.state.") == {
            "connecting": 1,
            "live": 2,
            "lost": 1,
            "closed": 1,
        }
        assert metrics.timings()["source.reconnect"].n == 1

    asyncio.run(play())


def test_after_a_reconnect_every_keyframe_says_the_very_same_description() -> None:
    async def play() -> None:
        first = Camera([packet(n, is_keyframe=n in (0, 2)) for n in range(4)] + [lost()])
        second = Camera(
            [packet(n, is_keyframe=n in (0, 2)) for n in range(4)] + ["silence"],
            video=picture(640),
        )
        source = await opened(Cameras(first, second))
        got = await taken(source, 8)
        assert [one.video is source.video for one in got] == [n in (4, 6) for n in range(8)]
        assert [one.video for one in got[:4]] == [None] * 4

    asyncio.run(play())


def test_a_first_open_that_fails_is_raised_at_once() -> None:
    cameras = Cameras(SourceError("wrong password"))
    with pytest.raises(SourceError, match="wrong password"):
        asyncio.run(opened(cameras))
    assert cameras.opened == 1


def test_a_first_open_that_fails_is_tried_again_where_somebody_waits() -> None:
    async def play() -> None:
        cameras = Cameras(
            SourceError("no"), SourceError("no"), Camera([packet(0, is_keyframe=True), "silence"])
        )
        source = await opened(cameras, wait_for_first=True)
        assert len(await taken(source, 1)) == 1
        assert cameras.opened == 3

    asyncio.run(play())


def test_it_tries_for_ever_and_says_each_reason_once(caplog: pytest.LogCaptureFixture) -> None:
    async def play() -> None:
        down = [SourceError("rtsp://u:pw@cam is down") for _ in range(20)]
        first = Camera([packet(0, is_keyframe=True), lost()])
        again = Camera([packet(0, is_keyframe=True), "silence"])
        cameras = Cameras(first, *down, SourceError("cam refused; ask it"), again)
        with caplog.at_level(logging.WARNING):
            assert len(await taken(await opened(cameras), 2)) == 2

    asyncio.run(play())
    reasons = [text for text in caplog.messages if "trying on" in text]
    assert len(reasons) == 2
    assert reasons[1] == "trying on: cam cannot be opened: it refused; ask it"
    assert [text for text in caplog.messages if "pw" in text or "secret" in text] == []
    assert sum("cam is lost" in text for text in caplog.messages) == 1
    assert sum("back after" in text for text in caplog.messages) == 1


def test_waits_grow_with_full_jitter_and_repeat_with_the_seed() -> None:
    patience = Patience()

    def waits(lost_for_s: float) -> list[list[float]]:
        """For each number of failures, what 200 streams would wait."""
        return [
            [
                patience.wait_s(failures, lost_for_s=lost_for_s, random=Random(seed))
                for seed in range(200)
            ]
            for failures in range(12)
        ]

    assert waits(1) == waits(1)
    for lost_for_s, most_s in ((1.0, 1.0), (3600.0, 15.0)):
        for failures, sample in enumerate(waits(lost_for_s)):
            longest_s = min(most_s, 0.25 * 2**failures)
            assert all(0 <= wait <= longest_s for wait in sample)
            assert max(sample) > 0.9 * longest_s
            assert min(sample) < 0.1 * longest_s


def test_silence_is_a_loss_even_while_audio_comes() -> None:
    async def play() -> None:
        class Radio(Camera):
            async def packets(self) -> AsyncIterator[Packet]:
                yield packet(0, is_keyframe=True)
                for number in range(10_000):
                    await asyncio.sleep(0.005)
                    yield packet(number, stream="audio")

        radio = Radio([], audio=SOUND)
        again = Camera([packet(0, is_keyframe=True), "silence"], audio=SOUND)
        source = await opened(Cameras(radio, again), patience=replace(QUICK, silent_after_s=0.2))
        async with asyncio.timeout(DEADLINE_S):
            async for one in source.packets():
                if one.follows_loss:
                    break
        assert "sent no picture" in source.reason
        assert radio.is_closed
        await source.close()

    asyncio.run(play())


def test_a_reader_that_takes_long_is_no_silence() -> None:
    async def play() -> None:
        camera = Camera([packet(n, is_keyframe=n == 0) for n in range(4)] + ["silence"])
        source = await opened(Cameras(camera), patience=replace(QUICK, silent_after_s=0.05))
        count = 0
        async for _ in source.packets():
            await asyncio.sleep(0.15)
            count += 1
            if count == 4:
                break
        assert source.state == "live"
        await source.close()

    asyncio.run(play())


def test_a_slow_camera_has_three_of_its_intervals_and_a_film_all_time() -> None:
    assert Patience().silence_s(picture()) == 5 < Patience().silence_s(picture(is_live=False))
    assert Patience().silence_s(picture(fps=Fraction(1, 4))) == 12
    assert Patience().silence_s(replace(picture(), fps=None)) == 5


def test_after_a_reconnect_nothing_comes_before_a_keyframe_and_one_is_asked_for() -> None:
    async def play() -> None:
        first = Camera([packet(0, is_keyframe=True), lost()], audio=SOUND)
        script: list[Packet | Exception | str] = [
            packet(0),
            packet(1, stream="audio"),
            packet(1),
            packet(2, is_keyframe=True),
            packet(3, stream="audio"),
            packet(3),
            "silence",
        ]
        second = Camera(script, audio=SOUND)
        got = await taken(await opened(Cameras(first, second)), 4)
        assert [(one.stream, one.is_keyframe) for one in got[1:]] == [
            ("video", True),
            ("audio", False),
            ("video", False),
        ]
        assert second.wishes == 1

    asyncio.run(play())


@pytest.mark.parametrize(
    "other",
    [None, replace(SOUND, codec="opus"), replace(SOUND, rate_hz=44_100)],
    ids=["gone", "codec", "rate"],
)
def test_audio_that_changed_is_left_out_and_said_once(
    other: AudioInfo | None, caplog: pytest.LogCaptureFixture
) -> None:
    async def play() -> None:
        def camera(audio: AudioInfo | None, *end: Exception | str) -> Camera:
            sounds = [packet(1, stream="audio")] if audio else []
            return Camera([packet(0, is_keyframe=True), *sounds, packet(1), *end], audio=audio)

        cameras = Cameras(
            camera(SOUND, lost()),
            camera(other, lost()),
            camera(other, lost()),
            camera(SOUND, "silence"),
        )
        source = await opened(cameras)
        got = await taken(source, 10)
        assert [one.stream for one in got].count("audio") == 2  # the first and the last
        assert source.audio == SOUND

    asyncio.run(play())
    assert sum("go on without it" in text for text in caplog.messages) == 1


def test_closing_ends_it_while_it_reads_while_it_waits_and_while_it_opens() -> None:
    async def play() -> None:
        reading = Camera([packet(0, is_keyframe=True), "silence"])
        source = await opened(Cameras(reading))
        task = asyncio.create_task(taken(source, 2))
        await reaches(source, "live")
        await source.close()
        assert len(await task) == 1

        waiting = Cameras(Camera([packet(0, is_keyframe=True), lost()]))
        source = await opened(
            waiting, patience=Patience(first_wait_s=1000, soon_wait_s=1000, longest_wait_s=1000)
        )
        task = asyncio.create_task(taken(source, 2))
        await reaches(source, "lost")
        await source.close()
        assert len(await task) == 1
        assert source.state == "closed"

        began = asyncio.Event()
        cancelled = asyncio.Event()
        cameras = Cameras(Camera([packet(0, is_keyframe=True), lost()]))

        async def opener() -> PacketSource:
            if not cameras.opened:
                return await cameras()
            began.set()
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.set()
            raise AssertionError

        source = await opened(opener)
        task = asyncio.create_task(taken(source, 2))
        async with asyncio.timeout(DEADLINE_S):
            await began.wait()
            await source.close()
            assert len(await task) == 1
        assert cancelled.is_set()

    asyncio.run(play())


def test_a_source_that_is_not_live_ends_and_a_live_one_does_not() -> None:
    async def play() -> None:
        film = [packet(0, is_keyframe=True)]
        whole, cut = (Camera([*film, *end], video=picture(is_live=False)) for end in ((), [lost()]))
        assert len(await taken(await opened(Cameras(whole)), 99)) == 1
        with pytest.raises(SourceLost):
            await taken(await opened(Cameras(cut)), 99)
        cameras = Cameras(Camera(film), Camera([*film, "silence"]))
        assert len(await taken(await opened(cameras), 2)) == 2

    asyncio.run(play())


def test_a_hundred_losses_stay_on_one_timeline() -> None:
    async def play() -> None:
        cameras = Cameras(
            *(
                Camera([packet(n + 7 * k, is_keyframe=n == 0) for n in range(3)] + [lost()])
                for k in range(100)
            )
        )
        got = await taken(await opened(cameras), 300)
        assert [one.dts for one in got] == sorted({one.dts for one in got})
        assert sum(one.follows_loss for one in got) == 99

    asyncio.run(play())
