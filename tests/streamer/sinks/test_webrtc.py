"""The WebRTC sink with a real encoder in front and real aiortc viewers behind it."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import av
import pytest

from streamer.clock import ManualClock
from streamer.frame import RTP_TIME_BASE, Packet
from streamer.rtc.session import TooManyViewers
from streamer.sinks.rtc_feedback import APART_MS
from streamer.sinks.webrtc import WebRtcSink
from tests.streamer.server.moving_picture import (
    ENHANCED,
    FPS,
    HEIGHT,
    PLAIN,
    WIDTH,
    LiveStream,
    Rendition,
    running,
)
from tests.streamer.server.watcher import WAIT_S, Watcher, run, until, watching


async def answer(rendition: Rendition, offer_sdp: str) -> str:
    return (await rendition.sink.answer(offer_sdp)).answer_sdp


def level(watcher: Watcher, plane: int, *, row: float) -> float:
    """The middle of the last frame's plane, at ``row`` (0 top, 1 bottom) of its height."""
    frame = watcher.frames[-1]
    values = frame.to_ndarray(format="yuv420p")
    rows, columns = frame.height, frame.width
    if plane == 0:
        picture = values[:rows]
    else:
        quarter = rows * columns // 4
        flat = values.reshape(-1)[rows * columns + (plane - 1) * quarter :][:quarter]
        picture = flat.reshape(rows // 2, columns // 2)
    at = int(row * picture.shape[0])
    return float(picture[at : at + 4, picture.shape[1] // 3 : picture.shape[1] // 2].mean())


def test_a_viewer_gets_the_picture_at_its_size_with_its_content() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            compare = stream.renditions["compare"]
            async with watching(lambda offer: answer(compare, offer)) as watcher:
                await until(lambda: len(watcher.frames) > 10, "no frames")
                frame = watcher.frames[-1]
                assert (frame.width, frame.height) == (WIDTH, 2 * HEIGHT)
                for plane in range(3):
                    assert level(watcher, plane, row=0.15) == pytest.approx(ENHANCED[plane], abs=6)
                    assert level(watcher, plane, row=0.65) == pytest.approx(PLAIN[plane], abs=6)
                assert compare.sink.viewers == 1

    run(scenario())


def test_rtp_times_are_the_pts_of_the_packets() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            await until(lambda: rendition.keyframes, "nothing encoded")
            known = len(rendition.keyframes)
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: len(watcher.rtp_times) > 40, "no RTP")
                times = list(watcher.rtp_times)
                first = rendition.keyframes[known]
                sent = [packet.pts for packet in rendition.packets if packet.pts >= first]
                origin = (times[0] - first) % 2**32
                assert [(time - origin) % 2**32 for time in times] == sent[: len(times)]

    run(scenario())


def shown(frames: list[av.VideoFrame]) -> set[bytes]:
    """The last pictures, each as its bytes."""
    return {frame.to_ndarray(format="yuv420p").tobytes() for frame in frames[-40:]}


def test_two_viewers_share_one_encode() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with (
                watching(lambda offer: answer(rendition, offer)) as one,
                watching(lambda offer: answer(rendition, offer)) as other,
            ):
                await until(lambda: len(one.frames) > 20 and len(other.frames) > 20, "no frames")
                assert rendition.sink.viewers == 2
                assert len(rendition.packets) <= stream.frames + 1
                # One of them may be behind, by as much as the machine is busy.
                await until(
                    lambda: len(shown(one.frames) & shown(other.frames)) > 5,
                    "two viewers of one encode decode the same pictures",
                )

    run(scenario())


def test_a_new_viewer_begins_with_a_keyframe_made_for_it() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            await until(lambda: stream.frames > 10, "nothing encoded")
            before = rendition.keyframe_requests
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: watcher.frames, "no picture")
                assert rendition.keyframe_requests > before
                assert watcher.frames[0].key_frame
                assert rendition.keyframes[-1] > 10 * 90_000 // FPS

    run(scenario())


@pytest.mark.parametrize("kind", ["send_pli", "send_fir"])
def test_a_lost_picture_reported_by_the_browser_brings_a_keyframe(kind: str) -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: len(watcher.frames) > 10, "no frames")
                requests, keyframes = rendition.keyframe_requests, len(rendition.keyframes)
                await getattr(watcher, kind)()
                await until(lambda: rendition.keyframe_requests > requests, "request not heard")
                await until(lambda: len(rendition.keyframes) > keyframes, "no keyframe made")
                seen = len(watcher.frames)
                await until(
                    lambda: any(frame.key_frame for frame in watcher.frames[seen - 1 :]),
                    "the keyframe did not arrive",
                )

    run(scenario())


def test_a_storm_of_reports_makes_few_requests() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: len(watcher.frames) > 10, "no frames")
                loop = asyncio.get_running_loop()
                asked = rendition.sink.statistics()["keyframes"]["asked"]
                before, began_s = rendition.keyframe_requests, loop.time()
                for _ in range(50):
                    await watcher.send_pli()
                await until(
                    lambda: rendition.sink.statistics()["keyframes"]["asked"] >= asked + 50,
                    "reports lost",
                )
                made, took_s = rendition.keyframe_requests - before, loop.time() - began_s
                assert 1 <= made <= 2 + took_s * 1000 / APART_MS

    run(scenario())


def test_a_bandwidth_estimate_reaches_the_encoder() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: len(watcher.frames) > FPS, "no frames")
                async with asyncio.timeout(WAIT_S):
                    while 400_000 not in rendition.bitrates_bps:
                        # It is a limit only while clearly more than it is being sent.
                        await watcher.send_remb(400_000)
                        await asyncio.sleep(0.05)

    run(scenario())


def test_a_viewer_that_sleeps_does_not_slow_the_other() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with (
                watching(lambda offer: answer(rendition, offer)) as sleepy,
                watching(lambda offer: answer(rendition, offer)) as awake,
            ):
                await until(lambda: sleepy.frames and awake.frames, "no frames")
                sleepy.sleep()
                seen, made = len(awake.frames), stream.frames
                await until(lambda: stream.frames > made + 2 * FPS, "the stream stopped")
                sent = stream.frames - made
                await until(lambda: len(awake.frames) - seen >= sent - 5, "the other is slowed")
                assert rendition.sink.dropped == 0

    run(scenario())


def test_a_session_can_be_hung_up_once() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            sink = stream.renditions["enhanced"].sink
            watcher = Watcher()
            session = await sink.answer(await watcher.offer())
            await watcher.accept(session.answer_sdp)
            await until(lambda: watcher.frames, "no picture")
            assert await sink.hang_up(session.id)
            assert not await sink.hang_up(session.id)
            assert sink.viewers == 0
            await until(
                lambda: watcher.connection.connectionState == "closed", "the viewer was not told"
            )
            await watcher.close()

    run(scenario())


def test_a_viewer_that_leaves_is_forgotten() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: watcher.frames, "no picture")
            await until(lambda: rendition.sink.viewers == 0, "the session stayed")

    run(scenario())


def test_a_viewer_that_never_connects_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamer.sinks.webrtc.CONNECT_WITHIN_S", 0.2)

    async def scenario() -> None:
        rendition = Rendition("enhanced")
        watcher = Watcher()
        await rendition.sink.answer(await watcher.offer())  # the answer is thrown away
        assert rendition.sink.viewers == 1
        await until(lambda: rendition.sink.viewers == 0, "the session stayed")
        await watcher.close()
        await rendition.sink.close()

    run(scenario())


def test_only_so_many_may_watch() -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced", max_viewers=1)
        watcher = Watcher()
        offer = await watcher.offer()
        await rendition.sink.answer(offer)
        with pytest.raises(TooManyViewers, match="all of its 1 viewers"):
            await rendition.sink.answer(offer)
        await watcher.close()
        await rendition.sink.close()
        assert rendition.sink.viewers == 0

    run(scenario())


def test_closing_ends_every_session_whatever_its_viewer_does() -> None:
    async def scenario() -> None:
        stream = LiveStream()
        async with running(stream):
            rendition = stream.renditions["enhanced"]
            async with watching(lambda offer: answer(rendition, offer)) as watcher:
                await until(lambda: watcher.frames, "no picture")
                idle = Watcher()
                await answer(rendition, await idle.offer())
                async with asyncio.timeout(WAIT_S):
                    await rendition.sink.close()
                assert rendition.sink.viewers == 0
                await idle.close()

    run(scenario())


def test_loading_the_module_does_not_load_aiortc() -> None:
    check = "import sys, streamer.sinks.webrtc; sys.exit('aiortc' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


def test_a_full_ring_asks_for_a_keyframe_and_counts() -> None:
    async def scenario() -> None:
        requests: list[int] = []
        sink = WebRtcSink(
            "enhanced",
            request_keyframe=lambda: requests.append(1),
            set_target_bitrate=lambda _: None,
            clock=ManualClock(),
            ring_packets=2,
        )
        watcher = Watcher()
        session = await sink.answer(await watcher.offer())
        sink._sessions[session.id].ring.open()
        for number in range(4):
            await sink.send(
                Packet(
                    payload=b"\0\0\0\1\x65\1",
                    pts=number,
                    dts=number,
                    time_base=RTP_TIME_BASE,
                    arrived_ns=0,
                    is_keyframe=number == 0,
                )
            )
        assert sink.dropped == 4
        assert len(requests) == 1
        await sink.close()
        assert sink.dropped == 4, "what a viewer lost stays counted when it leaves"
        await watcher.close()

    run(scenario())
