"""Sound out over WebRTC, heard by real aiortc viewers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from aiortc import RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import RtcpSrPacket

from streamer.frame import Packet
from tests.streamer.server.moving_picture import FPS, LiveStream, Rendition, running
from tests.streamer.server.watcher import Watcher, run, until
from tests.streamer.sinks.sounds import OPUS, Tone


class Listener(Watcher):
    """A viewer that offers to receive sound as well."""

    def __init__(self, *, first: str = "video") -> None:
        super().__init__()
        self.sounds: list[Any] = []
        self.sound_times: list[int] = []
        self.first_sound = b""
        self.reports: dict[str, list[tuple[int, int]]] = {}
        """By kind of track: the instants of reports (NTP) and the timestamps they state."""
        if first == "audio":
            configuration = self.connection._RTCPeerConnection__configuration  # type: ignore[attr-defined]
            self.connection = RTCPeerConnection(configuration)
            self.connection.addTransceiver("audio", direction="recvonly")
            self.connection.addTransceiver("video", direction="recvonly")
            self.connection.on("track", self._on_track)
        else:
            self.connection.addTransceiver("audio", direction="recvonly")

    def _on_track(self, track: Any) -> None:
        if track.kind == "video":
            super()._on_track(track)
            return
        self._tasks.add(asyncio.create_task(self._listen(track)))

    async def _listen(self, track: Any) -> None:
        while True:
            try:
                self.sounds.append(await track.recv())
            except MediaStreamError:
                return

    async def accept(self, answer_sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))
        for receiver in self.connection.getReceivers():
            self._note_reports(receiver)
            if receiver.track is not None and receiver.track.kind == "audio":
                self._note_sound(receiver)
        self._count_rtp()

    def _note_sound(self, receiver: Any) -> None:
        handle = receiver._handle_rtp_packet

        async def noted(packet: Any, arrival_time_ms: int) -> None:
            self.first_sound = self.first_sound or packet.payload
            self.sound_times.append(packet.timestamp)
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = noted

    def _note_reports(self, receiver: Any) -> None:
        handle = receiver._handle_rtcp_packet

        async def noted(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket) and packet.sender_info.ntp_timestamp:
                info = packet.sender_info
                stated = (info.ntp_timestamp, info.rtp_timestamp)
                self.reports.setdefault(receiver.track.kind, []).append(stated)
            await handle(packet)

        receiver._handle_rtcp_packet = noted


@asynccontextmanager
async def sounding(rendition: Rendition, *, ahead_s: float = 0.0) -> AsyncIterator[list[Packet]]:
    """A tone that runs beside the picture; the sound of each instant is ``ahead_s`` earlier."""
    sent: list[Packet] = []

    async def play() -> None:
        tone = Tone()
        loop = asyncio.get_running_loop()
        begun = loop.time() - ahead_s
        number = 0
        while True:
            await asyncio.sleep(max(0.0, begun + number / 50 - loop.time()))
            number += 1
            for packet in tone.packets():
                sent.append(packet)
                await rendition.sink.send(packet)

    playing = asyncio.create_task(play())
    try:
        yield sent
    finally:
        playing.cancel()
        await asyncio.gather(playing, return_exceptions=True)


@asynccontextmanager
async def listening(rendition: Rendition, **options: Any) -> AsyncIterator[Listener]:
    listener = Listener(**options)
    try:
        session = await rendition.sink.answer(await listener.offer())
        await listener.accept(session.answer_sdp)
        await until(lambda: listener.is_connected, "the listener never connected")
        yield listener
    finally:
        await listener.close()


def pitch_hz(sounds: list[Any]) -> float:
    """The strongest pitch of the last sounds."""
    samples = np.concatenate([frame.to_ndarray().reshape(-1, 2)[:, 0] for frame in sounds[-25:]])
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * 48_000 / len(samples))


def test_a_viewer_who_offers_to_hear_hears_the_sound_as_it_was_coded() -> None:
    async def scenario(first: str) -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            async with sounding(rendition) as sent, listening(rendition, first=first) as viewer:
                await until(lambda: len(viewer.sounds) > 60, "no sound")
                await until(lambda: len(viewer.frames) > 10, "no picture")
                assert abs(pitch_hz(viewer.sounds) - 1_000) < 10
                steps = np.diff(viewer.sound_times) % 2**32
                assert (steps % 960 == 0).all()
                # A machine that stands still for a while may lose some; then it says so.
                assert (steps // 960 - 1).sum() <= rendition.sink.dropped
                assert len(viewer.sound_times) <= len(sent)

    for first in ("video", "audio"):
        run(scenario(first))


def test_a_viewer_who_does_not_bundle_them_sees_the_picture_and_hears_the_sound() -> None:
    async def scenario() -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            listener = Listener()
            offer_sdp = await listener.offer()
            bundle = "a=group:BUNDLE 0 1\r\n"
            assert bundle in offer_sdp
            session = await rendition.sink.answer(offer_sdp.replace(bundle, ""))
            assert "BUNDLE" not in session.answer_sdp
            await listener.accept(session.answer_sdp)
            async with sounding(rendition):
                await until(lambda: listener.sounds and listener.frames, "nothing came")
            await listener.close()

    run(scenario())


def test_reports_place_picture_and_sound_on_one_clock() -> None:
    """The picture is sent 300 ms after its sound; what the reports state must not show it."""

    async def scenario() -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            await until(lambda: rendition.keyframes, "nothing encoded")
            known = len(rendition.keyframes)
            async with (
                sounding(rendition, ahead_s=0.3) as sent,
                listening(rendition) as viewer,
            ):
                await until(lambda: len(viewer.reports) == 2, "no reports")
                first = next(one for one in sent if one.payload == viewer.first_sound)
                origins = {
                    "audio": viewer.sound_times[0] - first.pts,
                    "video": viewer.rtp_times[0] - rendition.keyframes[known],
                }

                def are_together() -> bool:
                    zeros = [
                        _zero_s(viewer.reports[kind][-1], origins[kind], rate_hz)
                        for kind, rate_hz in (("audio", 48_000), ("video", 90_000))
                    ]
                    return abs(zeros[0] - zeros[1]) < 0.02

                # Where the machine stands still between two of them, the next two are.
                await until(are_together, "the reports are apart")

    run(scenario())


def _zero_s(stated: tuple[int, int], origin: int, rate_hz: int) -> float:
    """The instant of media time 0, in seconds, by one report."""
    ntp, timestamp = stated
    ticks = (timestamp - origin) % 2**32
    ticks -= 2**32 if ticks >= 2**31 else 0
    return ntp / 2**32 - ticks / rate_hz


def test_viewers_who_cannot_or_will_not_hear_see_the_picture_as_before() -> None:
    async def scenario() -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            async with sounding(rendition):
                watcher = Watcher()
                session = await rendition.sink.answer(await watcher.offer())
                assert "m=audio" not in session.answer_sdp
                await watcher.accept(session.answer_sdp)
                await until(lambda: len(watcher.frames) > FPS, "no picture")
                await watcher.close()

    run(scenario())


def test_an_offer_to_hear_a_silent_stream_is_answered_without_sound() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            viewer = Listener()
            session = await rendition.sink.answer(await viewer.offer())
            audio = session.answer_sdp.split("m=audio")[1]
            assert "a=inactive" in audio
            await viewer.accept(session.answer_sdp)
            await until(lambda: viewer.frames, "no picture")
            await viewer.close()

    run(scenario())


def test_an_offer_of_other_sound_than_opus_is_answered_with_the_picture_alone() -> None:
    async def scenario() -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            viewer = Listener()
            offer = (await viewer.offer()).replace("opus/48000/2", "speex/48000/2")
            session = await rendition.sink.answer(offer)
            assert "a=inactive" in session.answer_sdp.split("m=audio")[1]
            await viewer.close()

    run(scenario())
