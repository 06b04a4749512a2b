"""The door for WHIP publishers, with real ones: aiortc in processes of their own."""

from __future__ import annotations

import asyncio
import random
import signal
from typing import Any

import av
import numpy as np
import pytest

from streamer.clock import MonotonicClock
from streamer.errors import SourceError, SourceLost
from streamer.frame import Packet
from streamer.rtc.session import OfferInvalid, OfferRefused, OfferUnsupported, PublisherPresent
from streamer.sources import counter
from streamer.sources.base import PacketSource
from streamer.sources.whip import WhipDoor, WhipSource
from tests.streamer.server.watcher import until
from tests.streamer.sources.publishing import (
    WAIT_S,
    PublisherProcess,
    door,
    published,
    publishing,
    run,
)
from tests.streamer.sources.whip_peer import Settings


class Watch:
    """Reads a source, and keeps what came and what a decoder made of it."""

    def __init__(self, source: WhipSource) -> None:
        self.packets: list[Packet] = []
        self.sounds: list[Packet] = []
        self.readings: list[counter.Reading | None] = []
        self.sizes: list[tuple[int, int]] = []
        self._coming = source.packets()
        self._decoder: Any = None

    @property
    def frame_numbers(self) -> list[int]:
        return [reading.frame_number for reading in self.readings if reading is not None]

    async def see(self, pictures: int) -> None:
        """Read so many pictures more."""
        wanted = len(self.packets) + pictures
        async with asyncio.timeout(WAIT_S):
            while len(self.packets) < wanted:
                packet = await anext(self._coming)
                if packet.stream == "audio":
                    self.sounds.append(packet)
                else:
                    self.packets.append(packet)
                    self._decode(packet)

    def _decode(self, packet: Packet) -> None:
        if packet.video is not None:
            self._decoder = av.CodecContext.create(packet.video.codec, "r")
        for frame in self._decoder.decode(av.Packet(packet.payload)):
            luma = np.frombuffer(frame.planes[0], np.uint8)
            luma = luma.reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width]
            self.readings.append(counter.read(luma))
            self.sizes.append((frame.width, frame.height))


@pytest.mark.parametrize(("codec", "name"), [("VP8", "vp8"), ("H264", "h264")])
def test_a_published_picture_and_its_sound_arrive_whole(codec: str, name: str) -> None:
    async def scenario() -> None:
        async with (
            door() as opened,
            published(opened, codec=codec, has_audio=True) as (source, _),
        ):
            assert isinstance(source, PacketSource)
            video, audio = source.video, source.audio
            assert (video.codec, video.width, video.height) == (name, 640, 360)
            assert video.is_live
            assert audio is not None
            assert (audio.codec, audio.rate_hz, audio.channels) == ("opus", 48_000, 2)
            seen = Watch(source)
            await seen.see(60)
            assert seen.packets[0].is_keyframe
            assert seen.packets[0].video == video
            assert not any(packet.video for packet in seen.packets[1:])
            assert not any(packet.follows_loss for packet in seen.packets)
            assert len(seen.readings) == 60
            assert seen.frame_numbers == sorted(set(seen.frame_numbers))
            assert len(seen.frame_numbers) > 30
            steps = np.diff([packet.pts for packet in seen.packets])
            assert (np.abs(steps - 3_000) <= 1).all()  # aiortc's VP8 rounds down
            assert _tone(seen.sounds) > 0.02

    run(scenario())


def _tone(sounds: list[Packet]) -> float:
    """The share of decoded samples that are loud."""
    decoder: Any = av.CodecContext.create("libopus", "r")
    decoder.sample_rate = 48_000
    decoder.layout = "stereo"
    frames = [frame for one in sounds for frame in decoder.decode(av.Packet(one.payload))]
    samples = np.concatenate([frame.to_ndarray().reshape(-1) for frame in frames])
    return float((np.abs(samples.astype(float)) > 0.05 * np.iinfo(np.int16).max).mean())


def test_lost_packets_are_asked_for_again_so_that_every_picture_arrives() -> None:
    async def scenario() -> None:
        async with (
            door() as opened,
            published(opened, codec="H264", loss=0.08, seed=5) as (source, _),
        ):
            seen = Watch(source)
            await seen.see(60)
            while (numbers := opened.statistics()["video"])["repaired"] < 3:
                await seen.see(10)
            first = seen.frame_numbers[0]
            if numbers["lost"] == 0:  # a second attempt may be lost as well, each time
                assert seen.frame_numbers == list(range(first, first + len(seen.packets)))
            assert None not in seen.readings

    run(scenario())


def test_what_cannot_be_repaired_is_never_seen_smeared() -> None:
    async def scenario() -> None:
        async with (
            door() as opened,
            published(opened, codec="H264", loss=0.04, seed=7, repairs=False) as (source, _),
        ):
            seen = Watch(source)
            await seen.see(60)
            while not any(packet.follows_loss for packet in seen.packets):
                await seen.see(20)
            statistics = opened.statistics()
            assert statistics["video"]["lost"] > 0
            assert statistics["withheld"] > 0
            assert statistics["keyframes_asked"] > 0
            for packet in seen.packets:
                assert packet.is_keyframe or not packet.follows_loss
            # Each decoded picture's counter is whole: a smear would spoil its check sum.
            assert None not in seen.readings
            assert len(seen.readings) == len(seen.packets)

    run(scenario())


def test_a_change_of_size_is_described_on_the_keyframe_that_begins_it() -> None:
    async def scenario() -> None:
        async with door() as opened, published(opened, codec="VP8") as (source, publisher):
            seen = Watch(source)
            await seen.see(10)
            await publisher.tell({"size": [320, 180]})
            while source.video.width != 320:
                await seen.see(1)
            changed = seen.packets[-1]
            assert changed.is_keyframe
            assert changed.video is not None
            assert (changed.video.width, changed.video.height) == (320, 180)
            assert seen.sizes[-1] == (320, 180)
            assert (640, 360) in seen.sizes

    run(scenario())


def test_a_second_publisher_is_refused_and_the_next_one_is_taken() -> None:
    async def scenario() -> None:
        async with door() as opened:
            first = await PublisherProcess.start(Settings())
            second = await PublisherProcess.start(Settings(codec="H264"))
            session = await opened.answer(await first.offer())
            await first.tell(session.answer_sdp)
            source = await opened.source(timeout_s=WAIT_S)
            offer = await second.offer()
            with pytest.raises(PublisherPresent, match="has a publisher already"):
                await opened.answer(offer)

            assert not await opened.hang_up("somebody-else")
            assert await opened.hang_up(session.id)
            assert not await opened.hang_up(session.id)
            with pytest.raises(SourceLost, match="ended its session"):
                await Watch(source).see(10_000)
            assert not opened.is_publishing

            await second.tell((await opened.answer(offer)).answer_sdp)
            again = await opened.source(timeout_s=WAIT_S)
            assert again.video.codec == "h264"
            await Watch(again).see(3)
            for publisher in (first, second):
                await publisher.close()

    run(scenario())


def test_a_publisher_that_says_good_bye_is_gone_at_once() -> None:
    async def scenario() -> None:
        async with door() as opened, published(opened) as (source, publisher):
            seen = Watch(source)
            await seen.see(3)
            leaving = asyncio.create_task(publisher.leave())
            with pytest.raises(SourceLost, match="hung up"):
                await seen.see(10_000)
            await leaving
            assert not opened.is_publishing

    run(scenario())


def test_a_publisher_that_is_killed_is_lost_and_its_place_is_free(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def scenario() -> None:
        async with door() as opened, published(opened) as (source, publisher):
            seen = Watch(source)
            await seen.see(3)
            monkeypatch.setattr("streamer.sources.rtc_publisher.SILENT_S", 2.0)
            publisher.kill()
            with pytest.raises(SourceLost, match="nothing came from it for 2 s"):
                await seen.see(10_000)
            assert not opened.is_publishing

    run(scenario())


def test_a_publisher_is_not_lost_because_the_program_stood_still() -> None:
    class Leaping(MonotonicClock):
        """Leaps ahead, as for a program that was stopped; counts how often it is looked at."""

        ahead_ns = looks = 0

        def now_ns(self) -> int:
            self.looks += 1
            return super().now_ns() + self.ahead_ns

    async def scenario() -> None:
        clock = Leaping()
        async with door(clock=clock) as opened, published(opened) as (source, publisher):
            seen = Watch(source)
            await seen.see(3)
            # Nothing comes until silence was looked for, as with packets that wait in a socket.
            publisher.process.send_signal(signal.SIGSTOP)
            before = -1
            while (received := opened.statistics()["video"]["received"]) != before:
                before = received
                await asyncio.sleep(0.1)
            clock.ahead_ns += 3600 * 10**9
            looks = clock.looks
            await until(lambda: clock.looks > looks + 8, "nobody looked for silence")
            publisher.process.send_signal(signal.SIGCONT)
            await seen.see(30)
            assert opened.is_publishing

    run(scenario())


def test_a_stream_that_stops_reading_sends_its_publisher_away() -> None:
    async def scenario() -> None:
        async with door() as opened, published(opened) as (source, _):
            seen = Watch(source)
            await seen.see(3)
            await source.close()
            assert not opened.is_publishing
            with pytest.raises(StopAsyncIteration):  # an end, and no loss
                await seen.see(10_000)

    run(scenario())


def test_a_publisher_may_come_before_the_stream_asks_for_it() -> None:
    async def scenario() -> None:
        async with door() as opened:

            async def answer(offer: str) -> str:
                return (await opened.answer(offer)).answer_sdp

            async with publishing(answer):
                await until(
                    lambda: opened.statistics().get("video", {}).get("received", 0) > 30,
                    "nothing was published",
                    within_s=WAIT_S,
                )
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0):
                        await opened.source()  # a reader that gives up leaves it to the next one
                source = await opened.source(timeout_s=WAIT_S)
                seen = Watch(source)
                await seen.see(5)
                assert seen.packets[0].is_keyframe
                assert seen.packets[0].time_s < 2

    run(scenario())


def test_waiting_for_nobody_ends_with_a_sentence() -> None:
    async def scenario() -> None:
        async with door() as opened:
            with pytest.raises(
                SourceError, match=r"nobody published .* /whip/camera within 0\.05 s"
            ):
                await opened.source(timeout_s=0.05)
            waiting = asyncio.create_task(opened.source())
            await asyncio.sleep(0)
            await opened.close()
            with pytest.raises(SourceError, match="camera is closed"):
                await waiting
            with pytest.raises(SourceError, match="camera is closed"):
                await opened.answer("v=0")

    run(scenario())


async def offer_of(**settings: Any) -> str:
    publisher = await PublisherProcess.start(Settings(**settings))
    try:
        return await publisher.offer()
    finally:
        await publisher.close()


def test_offers_that_cannot_be_used_are_refused_with_the_reason() -> None:
    async def scenario() -> None:
        offer = await offer_of(has_audio=True)
        head, audio, video = _sections(offer)
        cases: list[tuple[str, type[Exception], str]] = [
            ("hello", OfferInvalid, "does not begin with v=0"),
            (head + audio, OfferUnsupported, "no video section"),
            (offer.replace("a=sendonly", "a=recvonly"), OfferUnsupported, "offer sendonly"),
            (offer.replace("VP8/90000", "AV1/90000"), OfferUnsupported, "no H264 or VP8, only AV1"),
            (offer.replace("opus/48000/2", "L16/48000/2"), OfferUnsupported, "no opus"),
            (head + audio + video + video, OfferUnsupported, "2 video tracks"),
            (head + video * 40, OfferInvalid, "40 media sections"),
            (offer.replace("a=fingerprint", "a=nothing"), OfferInvalid, "no DTLS fingerprint"),
        ]
        async with door() as opened:
            for text, error, reason in cases:
                with pytest.raises(error, match=reason):
                    await opened.answer(text)
                assert not opened.is_publishing

    run(scenario())


def _sections(offer: str) -> tuple[str, str, str]:
    """Head, audio and video of an offer."""
    head, *medias = offer.split("\r\nm=")
    by_kind = {media.split()[0]: f"m={media.rstrip()}\r\n" for media in medias}
    return head + "\r\n", by_kind["audio"], by_kind["video"]


def test_damaged_offers_never_break_the_door() -> None:
    async def scenario() -> None:
        lines = (await offer_of(has_audio=True)).split("\r\n")
        chance = random.Random(3)
        refused = 0
        opened = WhipDoor("camera", clock=MonotonicClock())
        for _ in range(80):
            damaged = list(lines)
            for _ in range(chance.randrange(1, 6)):
                at = chance.randrange(1, len(damaged))
                damaged[at : at + 1] = _damage(damaged[at], chance)
            try:
                session = await opened.answer("\r\n".join(damaged))
            except OfferRefused:
                refused += 1
            else:
                assert session.answer_sdp.startswith("v=0")
                assert await opened.hang_up(session.id)
            assert not opened.is_publishing
        await opened.close()
        assert refused > 10

    run(scenario())


def _damage(line: str, chance: random.Random) -> list[str]:
    cut = chance.randrange(len(line) + 1)
    noise = "".join(chr(chance.randrange(32, 0x250)) for _ in range(chance.randrange(12)))
    return chance.choice(
        [
            [],
            [line, line],
            [line[:cut]],
            [line[:cut] + noise + line[cut:]],
            [line.replace(":", " ", 1)],
            [f"{line[:2]}{noise}"],
        ]
    )
