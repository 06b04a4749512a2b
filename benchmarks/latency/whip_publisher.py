"""Publishes the camera's pictures with aiortc, H.264 by the same encoder as the RTSP camera's.

aiortc's own encoder runs x264's medium preset, which costs more than all that is measured here; so
it is given packets, and packetises, encrypts and sends them. The offer goes to standard output, the
answer comes from standard input, a JSON line each. It also tells when each picture was coded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from fractions import Fraction
from typing import Any

import av
from aiortc import RTCConfiguration, RTCPeerConnection, RTCRtpSender, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack

from benchmarks.latency.camera import HEAD, Pictures
from benchmarks.latency.observer import Observer, say
from streamer.clock import Clock, MonotonicClock

CODECS = ("video/H264", "video/rtx")


class CameraTrack(VideoStreamTrack):
    """The drawn pictures, each burnt at its time and coded at once."""

    def __init__(self, *, width: int, height: int, fps: Fraction, clock: Clock) -> None:
        super().__init__()
        self._pictures = Pictures(width=width, height=height, fps=fps)
        self._encoder = _encoder(width, height, fps)
        self._fps = fps
        self._clock = clock
        self._observer = Observer(clock)
        self._start_ns: int | None = None
        self._number = 0

    # aiortc sends what is coded already as it is, but its base class does not say so.
    async def recv(self) -> av.Packet[Any]:  # type: ignore[override]
        """The next picture; one whose time has passed is left out, as in ``camera.due_times``."""
        if self._start_ns is None:
            self._start_ns = self._clock.now_ns()
        passed_ns = self._clock.now_ns() - self._start_ns
        interval_ns = Fraction(1_000_000_000) / self._fps
        due = -(-passed_ns // interval_ns)
        left_ns = self._start_ns + due * interval_ns - self._clock.now_ns()
        await asyncio.sleep(max(0.0, float(left_ns) / 1e9))
        now_ns = self._clock.now_ns()
        planes = self._pictures.picture(self._number, now_ns)[HEAD.size :]
        picture = planes.reshape(-1, self._encoder.width)
        frame = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        frame.pts = (now_ns - self._start_ns) * 90_000 // 1_000_000_000
        frame.time_base = Fraction(1, 90_000)
        # On this loop: nothing else has to be done before the packet is there.
        (packet,) = self._encoder.encode(frame)
        packet.time_base = Fraction(1, 90_000)
        self._observer.see(picture[: self._encoder.height], self._clock.now_ns())
        self._number += 1
        return packet


def _encoder(width: int, height: int, fps: Fraction) -> av.VideoCodecContext:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.framerate, encoder.time_base = fps, Fraction(1, 90_000)
    encoder.bit_rate, encoder.gop_size, encoder.thread_count = 2_000_000, int(fps), 1
    encoder.profile = "Baseline"
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    return encoder


async def publish(options: Any) -> None:
    """Offer, take the answer, and send until stopped."""
    track = CameraTrack(
        width=options.width, height=options.height, fps=options.fps, clock=MonotonicClock()
    )
    connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    transceiver = connection.addTransceiver(track, direction="sendonly")
    known = RTCRtpSender.getCapabilities("video")
    assert known is not None
    transceiver.setCodecPreferences([one for one in known.codecs if one.mimeType in CODECS])
    await connection.setLocalDescription()
    say("offer", sdp=connection.localDescription.sdp)
    line = await asyncio.to_thread(sys.stdin.readline)
    if not line:
        return
    answer = RTCSessionDescription(json.loads(line)["sdp"], "answer")
    await connection.setRemoteDescription(answer)
    ended = asyncio.Event()
    connection.on("connectionstatechange", lambda: _notice(connection, ended))
    await ended.wait()
    await connection.close()


def main() -> None:
    """Publish until the connection ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    asyncio.run(publish(parser.parse_args()))


def _notice(connection: RTCPeerConnection, ended: asyncio.Event) -> None:
    say("state", state=connection.connectionState)
    if connection.connectionState in ("failed", "closed"):
        ended.set()


if __name__ == "__main__":
    main()
