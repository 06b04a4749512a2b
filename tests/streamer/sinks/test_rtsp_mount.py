"""The RTSP sink by itself: what it describes, whom it asks for keyframes and what it counts."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from fractions import Fraction

import pytest

from streamer.clock import ManualClock
from streamer.frame import Packet
from streamer.media import AudioInfo
from streamer.rtp.annex_b import nal_units
from streamer.rtp.packetise_burst import RtpLane, datagrams
from streamer.rtp.packetise_h264 import parameter_sets
from streamer.rtsp.sdp import sprop_parameter_sets
from streamer.sinks import rtsp_mount
from streamer.sinks.packet_ring import RingClosed
from streamer.sinks.rtsp_mount import OFF_BY_MS, RtspMount
from streamer.sinks.rtsp_tracks import SERVED_AUDIO
from streamer.sinks.rtsp_viewer import RtspViewer
from tests.streamer.rtp.test_packetise_audio import adts
from tests.streamer.server.rtsp_live import FPS, Camera, aac, audio_of, sound
from tests.streamer.server.watcher import run

G711 = audio_of("pcm_alaw", rate_hz=8_000, channels=1)


def camera_and_mount(
    *, audio: AudioInfo | None = None, ring_packets: int = 160
) -> tuple[Camera, RtspMount, ManualClock]:
    clock = ManualClock(1)
    camera = Camera(audio=audio, clock=clock)
    mount = camera.mount(audio=audio, ring_packets=ring_packets, wall_ns=lambda: 10**18)
    return camera, mount, clock


async def film(camera: Camera, mount: RtspMount, pictures: int) -> None:
    for _ in range(pictures):
        for packet in camera.next_packets():
            await mount.send(packet)


async def taken(viewer: RtspViewer, count: int) -> list[bool]:
    """Whether each of the next ones is a keyframe."""
    return [(await viewer.take())[1].is_keyframe for _ in range(count)]


def test_it_is_described_by_its_last_keyframe() -> None:
    async def scenario() -> None:
        small, mount, _ = camera_and_mount()
        large = Camera(width=640, height=352, clock=ManualClock(1), first=1)
        for camera in (small, large):
            await film(camera, mount, 1)
            sets = parameter_sets(nal_units(camera.sent[0].payload))
            assert sets is not None
            (media,) = await mount.described()
            written = media.formats[0].parameters["sprop-parameter-sets"]
            assert written == sprop_parameter_sets([sets.sps, *sets.pps])

    run(scenario())


def test_who_asks_before_the_first_keyframe_waits_for_it() -> None:
    async def scenario() -> None:
        camera, mount, _ = camera_and_mount()
        asking = asyncio.create_task(mount.described())
        await asyncio.sleep(0)
        assert camera.keyframe_requests == 1
        assert not asking.done()
        await film(camera, mount, 1)
        (media,) = await asyncio.wait_for(asking, 60)
        assert media.kind == "video"

    run(scenario())


def test_a_closed_mount_describes_nothing_and_keeps_nobody_waiting() -> None:
    async def scenario() -> None:
        _, mount, _ = camera_and_mount()
        asking = asyncio.create_task(mount.described())
        await asyncio.sleep(0)
        await mount.close()
        assert await asyncio.wait_for(asking, 60) == ()
        viewer = mount.join([0])
        assert mount.clients == 0
        with pytest.raises(RingClosed):
            await viewer.take()

    run(scenario())


@pytest.mark.parametrize(
    ("codec", "rate_hz", "channels"), [("mp2", 48_000, 2), ("ac3", 48_000, 6), ("opus", 48_000, 6)]
)
def test_sound_that_cannot_be_served_is_left_out_and_said_once(
    codec: str, rate_hz: int, channels: int, caplog: pytest.LogCaptureFixture
) -> None:
    async def scenario() -> None:
        audio = audio_of(codec, rate_hz=rate_hz, channels=channels)
        camera = Camera(clock=ManualClock(1))
        mount = camera.mount(audio=audio)
        for number in range(3):
            await film(camera, mount, 1)
            await mount.send(
                Packet(
                    payload=b"x" * 100,
                    pts=number,
                    dts=number,
                    time_base=audio.time_base,
                    arrived_ns=0,
                    stream="audio",
                )
            )
        assert [media.kind for media in await mount.described()] == ["video"]

    with caplog.at_level(logging.INFO):
        run(scenario())
    (record,) = caplog.records
    assert codec in record.message
    assert all(name in record.message for name in SERVED_AUDIO)


def test_aac_in_adts_is_described_by_its_first_packet_and_sent_bare() -> None:
    async def scenario() -> None:
        bare = aac()
        plain = replace(bare, extradata=b"")
        camera = Camera(clock=ManualClock(1))
        mount = camera.mount(audio=plain)
        await film(camera, mount, 1)
        units = [packet for packet, _ in zip(sound(bare), range(3), strict=False)]
        viewer = mount.join([1])
        for packet in units:
            await mount.send(replace(packet, payload=adts(packet.payload)))
        _, audio = await mount.described()
        assert bytes.fromhex(audio.formats[0].parameters["config"]) == bare.extradata[:2]
        for packet in units:
            number, burst = await viewer.take()
            (data,) = datagrams(RtpLane(1, 0, 0).address(burst), burst)
            assert number == 1
            assert bytes(data[12 + 4 :]) == packet.payload

    run(scenario())


def test_sound_that_never_comes_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtsp_mount, "DESCRIBED_WITHIN_S", 0.1)

    async def scenario() -> None:
        plain = replace(aac(), extradata=b"")
        camera = Camera(clock=ManualClock(1))
        mount = camera.mount(audio=plain)
        await film(camera, mount, 1)
        assert [media.kind for media in await mount.described()] == ["video"]
        again = asyncio.create_task(mount.described())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert again.done(), "the second client waits for nothing"

    run(scenario())


def test_a_client_begins_with_the_keyframe_that_was_asked_for_it() -> None:
    async def scenario() -> None:
        camera, mount, clock = camera_and_mount(audio=G711)
        await film(camera, mount, 3)
        viewer = mount.join([0, 1])
        assert camera.keyframe_requests == 1
        await film(camera, mount, 5)
        number, burst = await viewer.take()
        assert (number, burst.is_keyframe) == (0, True)
        clock.advance_ms(1_000)
        late = mount.join([0])
        await film(camera, mount, 2)
        assert await taken(late, 2) == [True, False]
        assert camera.keyframe_requests == 2

    run(scenario())


def test_clients_that_join_together_share_one_keyframe() -> None:
    async def scenario() -> None:
        camera, mount, _ = camera_and_mount()
        await film(camera, mount, 1)
        viewers = [mount.join([0]) for _ in range(10)]
        await film(camera, mount, 1)
        for viewer in viewers:
            assert await taken(viewer, 1) == [True]
        assert camera.keyframe_requests == 1
        assert mount.statistics()["keyframes"] == {"asked": 10, "requested": 1}
        await mount.close()

    run(scenario())


def test_a_full_ring_skips_to_the_keyframe_it_asks_for() -> None:
    async def scenario() -> None:
        camera, mount, clock = camera_and_mount(ring_packets=4)
        slow, quick = mount.join([0]), mount.join([0])
        seen: list[bool] = []
        for _ in range(3):
            await film(camera, mount, 2)
            seen += await taken(quick, 2)
            clock.advance_ms(1_000)
        assert mount.statistics()["dropped"] == 5, "four that waited, and the one that came"
        assert camera.keyframe_requests == 2, "one for the two who joined, one for the slow"
        assert await taken(slow, 1) == [True]
        assert seen == [True, False, False, False, False, True]
        mount.leave(slow)
        assert mount.statistics()["dropped"] == 5, "what it lost stays counted"

    run(scenario())


def test_nothing_is_split_while_nobody_plays() -> None:
    async def scenario() -> None:
        camera, mount, _ = camera_and_mount()
        splits: list[Packet] = []
        track = mount.tracks[0]
        burst = track.burst
        track.burst = lambda packet: splits.append(packet) or burst(packet)  # type: ignore
        await film(camera, mount, 5)
        assert not splits
        viewers = [mount.join([0]) for _ in range(3)]
        await film(camera, mount, 5)
        assert len(splits) == 5, "once for all three"
        assert [len(await taken(viewer, 5)) for viewer in viewers] == [5, 5, 5]

    run(scenario())


def test_all_clients_are_given_the_same_bytes_to_share() -> None:
    async def scenario() -> None:
        camera, mount, _ = camera_and_mount()
        one, two = mount.join([0]), mount.join([0])
        await film(camera, mount, 1)
        assert (await one.take())[1] is (await two.take())[1]

    run(scenario())


def test_rtp_times_are_exact_whatever_the_time_base() -> None:
    async def scenario() -> None:
        audio = replace(audio_of("opus", rate_hz=24_000, channels=1), time_base=Fraction(1, 90_000))
        camera = Camera(clock=ManualClock(1))
        mount = camera.mount(audio=audio)
        viewer = mount.join([1])
        for number in range(5):
            await mount.send(
                Packet(
                    payload=b"\x78abc",
                    pts=1800 * number,
                    dts=1800 * number,
                    time_base=audio.time_base,
                    arrived_ns=0,
                    stream="audio",
                )
            )
            # 20 ms are 960 ticks of Opus' clock, whatever it was sampled at.
            assert (await viewer.take())[1].ticks == 960 * number

    run(scenario())


def test_the_anchor_stays_until_media_and_clock_are_clearly_apart() -> None:
    async def scenario() -> None:
        camera, mount, clock = camera_and_mount()
        await film(camera, mount, 1)
        first = mount.anchor
        assert first is not None
        assert (first.media_s, first.wall_ns) == (Fraction(0), 10**18)
        # As many pictures as fit in the time, and then a bit of a stall.
        for _ in range(FPS):
            clock.advance_ms(1_000 / FPS)
            await film(camera, mount, 1)
        clock.advance_ms(OFF_BY_MS - 10)
        await film(camera, mount, 1)
        assert mount.anchor is first
        assert mount.latest_s is not None
        off_s = float(first.media_at(mount.wall_ns) - mount.latest_s)
        assert off_s == pytest.approx((OFF_BY_MS - 10) / 1_000 - 1 / FPS)
        clock.advance_ms(2 * OFF_BY_MS)
        await film(camera, mount, 1)
        assert mount.anchor is not first
        assert mount.anchor is not None
        assert mount.anchor.media_at(mount.wall_ns) == mount.latest_s

    run(scenario())


def test_statistics_name_no_client() -> None:
    async def scenario() -> None:
        camera, mount, _ = camera_and_mount()
        mount.join([0])
        await film(camera, mount, 1)
        assert mount.statistics() == {
            "name": "cam",
            "clients": 1,
            "joined": 1,
            "sent_bytes": 0,
            "dropped": 0,
            "keyframes": {"asked": 1, "requested": 1},
        }

    run(scenario())
