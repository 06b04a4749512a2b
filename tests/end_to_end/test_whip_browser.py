"""A headless Chromium publishes its camera by WHIP, and hears what is played to it over WebRTC."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from streamer.errors import SourceLost
from streamer.frame import Packet
from streamer.server.run import Server
from streamer.server.signalling import created, read_offer
from streamer.server.whip import whip_routes
from streamer.sources import counter
from streamer.sources.whip import WhipDoor
from tests.end_to_end.browser import PATIENCE_MS, Browsers
from tests.streamer.server.moving_picture import LiveStream, Rendition, running
from tests.streamer.sinks.sounds import OPUS
from tests.streamer.sinks.test_webrtc_sound import sounding
from tests.streamer.sources.publishing import WAIT_S, door

WIDTH, HEIGHT, FPS = 640, 360, 30
CAMERA_FRAMES = 60

CONNECT = """
async (connection, url) => {
  const isGathered = () => connection.iceGatheringState === "complete";
  await connection.setLocalDescription();
  while (!isGathered()) await new Promise((resolve) => setTimeout(resolve, 20));
  const response = await fetch(url, {
    method: "POST",
    headers: { "Content-Type": "application/sdp" },
    body: connection.localDescription.sdp,
  });
  const sdp = await response.text();
  if (response.status !== 201) throw new Error(`${response.status}: ${sdp}`);
  await connection.setRemoteDescription({ type: "answer", sdp });
  return response.headers.get("Location");
}
"""

PUBLISH = f"""
async ([url, codec]) => {{
  const media = await navigator.mediaDevices.getUserMedia({{
    video: {{ width: {WIDTH}, height: {HEIGHT}, frameRate: {FPS} }},
    audio: true,
  }});
  const connection = new RTCPeerConnection({{ iceServers: [], bundlePolicy: "max-bundle" }});
  window.connection = connection;
  for (const track of media.getTracks()) {{
    const way = {{ direction: "sendonly", streams: [media] }};
    const transceiver = connection.addTransceiver(track, way);
    if (track.kind !== "video") continue;
    const known = RTCRtpSender.getCapabilities("video").codecs;
    transceiver.setCodecPreferences(
      known.filter((one) => [`video/${{codec}}`, "video/rtx"].includes(one.mimeType)),
    );
    window.sender = transceiver.sender;
  }}
  return await ({CONNECT})(connection, url);
}}
"""

PUBLISH_LEFT = f"""
async (url) => {{
  const context = new AudioContext();
  const merger = context.createChannelMerger(2);
  const tone = context.createOscillator();
  tone.connect(merger, 0, 0);
  tone.start();
  const sound = context.createMediaStreamDestination();
  merger.connect(sound);
  await context.resume();
  const media = await navigator.mediaDevices.getUserMedia({{ video: true }});
  const connection = new RTCPeerConnection({{ iceServers: [] }});
  window.connection = connection;
  for (const track of [...media.getTracks(), ...sound.stream.getTracks()]) {{
    connection.addTransceiver(track, {{ direction: "sendonly" }});
  }}
  return await ({CONNECT})(connection, url);
}}
"""

LIMITS = """
async () => {
  for (const one of (await sender.getStats()).values()) {
    if (one.type === "outbound-rtp") return one.qualityLimitationDurations;
  }
}
"""

SHRINK = """
async () => {
  const parameters = sender.getParameters();
  parameters.encodings[0].scaleResolutionDownBy = 2;
  await sender.setParameters(parameters);
}
"""

LISTEN = f"""
async (url) => {{
  const connection = new RTCPeerConnection({{ iceServers: [] }});
  window.connection = connection;
  const player = document.querySelector("video");
  player.srcObject = new MediaStream();
  connection.ontrack = (event) => player.srcObject.addTrack(event.track);
  for (const kind of ["video", "audio"]) {{
    connection.addTransceiver(kind, {{ direction: "recvonly" }});
  }}
  await ({CONNECT})(connection, url);
  await player.play();
}}
"""

INBOUND = """
async () => {
  const found = {};
  for (const one of (await connection.getStats()).values()) {
    if (one.type === "inbound-rtp") found[one.kind] = one;
  }
  return found;
}
"""


def write_camera(path: Path) -> None:
    """What Chromium's camera shows: numbered pictures, over and over."""
    with path.open("wb") as file:
        # Chromium takes C420 alone, without the chroma's place.
        file.write(f"YUV4MPEG2 W{WIDTH} H{HEIGHT} F{FPS}:1 Ip A1:1 C420\n".encode())
        for number in range(CAMERA_FRAMES):
            y = np.full((HEIGHT, WIDTH), 90, np.uint8)
            y[:, (number * 10) % WIDTH :][:, :40] = 160
            u, v = (np.full((HEIGHT // 2, WIDTH // 2), level, np.uint8) for level in (110, 150))
            counter.burn((y, u, v), milliseconds=0, frame_number=number)
            file.write(b"FRAME\n" + y.tobytes() + u.tobytes() + v.tobytes())


@asynccontextmanager
async def browsing(browsers: Browsers, app: FastAPI, *flags: str) -> AsyncIterator[Any]:
    """A page of ``app`` in a browser of its own."""

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse("<!doctype html><title>test</title><video autoplay></video>")

    # It keeps its addresses hidden behind multicast names, as it does for users.
    async with Server(app, port=0) as server, browsers.own(*flags) as browser:
        tab = await browser.new_page()
        tab.set_default_timeout(PATIENCE_MS)
        await tab.goto(server.url)
        yield tab


@asynccontextmanager
async def publishing_browser(
    browsers: Browsers, opened: WhipDoor, camera: Path
) -> AsyncIterator[Any]:
    app = FastAPI()
    app.include_router(whip_routes({"camera": opened}))
    async with browsing(
        browsers,
        app,
        "--use-fake-device-for-media-stream",
        "--use-fake-ui-for-media-stream",
        f"--use-file-for-fake-video-capture={camera}",
    ) as tab:
        yield tab


async def decoded(coming: AsyncIterator[Packet], *, pictures: int) -> tuple[list[Any], int]:
    """So many pictures, and how many packets of sound came meanwhile."""
    decoder: Any = None
    frames: list[Any] = []
    sounds = 0
    async with asyncio.timeout(WAIT_S):
        while len(frames) < pictures:
            packet = await anext(coming)
            if packet.stream == "audio":
                sounds += 1
                continue
            if packet.video is not None:
                decoder = av.CodecContext.create(packet.video.codec, "r")
            frames += decoder.decode(av.Packet(packet.payload))
    return frames, sounds


async def drained(coming: AsyncIterator[Packet]) -> None:
    """Read what is still on its way."""
    async with asyncio.timeout(WAIT_S):
        async for _ in coming:
            pass


async def next_description(coming: AsyncIterator[Packet]) -> Packet:
    """The next packet from which on the picture is another one."""
    async with asyncio.timeout(WAIT_S):
        while (packet := await anext(coming)).video is None:
            pass
    return packet


def frame_number(frame: Any) -> int | None:
    luma = np.frombuffer(frame.planes[0], np.uint8)
    luma = luma.reshape(-1, frame.planes[0].line_size)[: frame.height, : frame.width]
    reading = counter.read(luma)
    return reading.frame_number if reading is not None else None


@pytest.mark.parametrize("codec", ["VP8", "H264"])
def test_chromium_publishes_its_camera_at_full_size_shrinks_it_and_leaves(
    browsers: Browsers, codec: str, tmp_path: Path
) -> None:
    async def scenario() -> None:
        camera = tmp_path / "camera.y4m"
        write_camera(camera)
        async with door() as opened, publishing_browser(browsers, opened, camera) as tab:
            session = await tab.evaluate(PUBLISH, ["/whip/camera", codec])
            source = await opened.source(timeout_s=WAIT_S)
            assert source.video.codec == codec.lower()
            assert source.audio is not None
            coming = source.packets()
            frames, sounds = await decoded(coming, pictures=4 * FPS)
            limits = await tab.evaluate(LIMITS)
            is_slow = limits["cpu"] > 0
            # Without an estimate of the bandwidth Chromium shrinks the picture within seconds.
            sizes = {(frame.width, frame.height) for frame in frames[FPS:]}
            assert sizes == {(WIDTH, HEIGHT)} or (is_slow and limits["bandwidth"] == 0)
            numbers = [number for frame in frames if (number := frame_number(frame)) is not None]
            assert len(numbers) > len(frames) // 2 or is_slow
            assert len(set(numbers)) > CAMERA_FRAMES // 2 or is_slow
            assert sounds > 100
            statistics = opened.statistics()
            assert statistics["keyframes_asked"] <= 1 + statistics["video"]["lost"]

            await tab.evaluate(SHRINK)
            changed = await next_description(coming)
            assert changed.is_keyframe
            assert changed.video is not None
            size = (changed.video.width, changed.video.height)
            assert size == (WIDTH // 2, HEIGHT // 2) or is_slow

            left = await tab.evaluate(
                "async (url) => (await fetch(url, { method: 'DELETE' })).status", session
            )
            assert left == 200
            assert not opened.is_publishing
            with pytest.raises(SourceLost, match="ended its session"):
                await drained(coming)

    browsers.run(scenario())


def test_chromium_publishes_both_channels_of_its_sound(browsers: Browsers, tmp_path: Path) -> None:
    async def scenario() -> None:
        camera = tmp_path / "camera.y4m"
        write_camera(camera)
        async with door() as opened, publishing_browser(browsers, opened, camera) as tab:
            await tab.evaluate(PUBLISH_LEFT, "/whip/camera")
            source = await opened.source(timeout_s=WAIT_S)
            coming = source.packets()
            decoder: Any = av.CodecContext.create("libopus", "r")
            decoder.sample_rate, decoder.layout = 48_000, "stereo"
            left = right = 0
            async with asyncio.timeout(WAIT_S):
                while left < 5_000:
                    packet = await anext(coming)
                    if packet.stream == "audio":
                        for frame in decoder.decode(av.Packet(packet.payload)):
                            left, right = frame.to_ndarray().reshape(-1, 2).max(axis=0)
            assert right < left / 4

    browsers.run(scenario())


def watching(rendition: Rendition) -> FastAPI:
    """An application that answers offers to watch this rendition."""
    app = FastAPI()

    @app.post("/watch")
    async def watch(request: Request) -> Response:
        session = await rendition.sink.answer(await read_offer(request))
        return created(session, endpoint="/watch")

    return app


async def listened(tab: Any) -> tuple[float, int]:
    """For how long, in sum, samples of sound were to be held back, and how many there were."""
    audio = (await tab.evaluate(INBOUND)).get("audio", {})
    return audio.get("jitterBufferTargetDelay", 0.0), audio.get("jitterBufferEmittedCount", 0)


def test_chromium_hears_the_sound_and_shows_it_with_its_picture(browsers: Browsers) -> None:
    """The sound leaves 300 ms before its picture: the browser must hold it back as long."""

    async def scenario() -> None:
        async with running(LiveStream(audio=OPUS)) as stream:
            rendition = stream.renditions["enhanced"]
            async with (
                sounding(rendition, ahead_s=0.3),
                browsing(browsers, watching(rendition)) as tab,
            ):
                await tab.evaluate(LISTEN, "/watch")
                held_s = [0.0, 0.0, 0.0]
                before = await listened(tab)
                async with asyncio.timeout(WAIT_S):
                    while min(held_s[-3:]) < 0.15:
                        await asyncio.sleep(1)
                        now = await listened(tab)
                        held_s.append((now[0] - before[0]) / max(1, now[1] - before[1]))
                        before = now
                inbound = await tab.evaluate(INBOUND)
                assert inbound["video"]["framesDecoded"] > FPS
                assert inbound["audio"]["totalAudioEnergy"] > 0

    browsers.run(scenario())
