"""WHEP viewers: one reads the counter of each picture as soon as its last packet is there.

aiortc receives; its jitter buffer, which holds a picture until the next one begins, is replaced by
one that goes by RTP's marker bit, as browsers do. Packets lost are asked for again, as by any
aiortc client. Further viewers receive everything but decode nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import time
import urllib.error
import urllib.request
from collections.abc import Callable

import av
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.mediastreams import MediaStreamTrack
from aiortc.rtp import RtpPacket

from benchmarks.latency.observer import Observer, luma_of, say
from streamer.clock import Clock, MonotonicClock

CODECS = ("video/H264", "video/rtx")
CAPACITY = 512
"""Packets; a power of two, as aiortc asks for."""
_TRIES = 300
_RETRY_S = 0.1
_TELL_S = 0.5


class MarkerBuffer(JitterBuffer):
    """Gives a picture when its last packet, the marked one, is there with all before it."""

    def __init__(self) -> None:
        super().__init__(capacity=CAPACITY, is_video=True)

    def _remove_frame(self, sequence_number: int) -> JitterFrame | None:
        packets: list[RtpPacket] = []
        for count in range(self.capacity):
            packet = self._packets[((self._origin or 0) + count) % self.capacity]
            if packet is None:
                return None
            if packets and packet.timestamp != packets[0].timestamp:
                # A sender without markers: the picture ended before this packet.
                return self._taken(packets)
            packets.append(packet)
            if packet.marker:
                return self._taken(packets)
        return None

    def _taken(self, packets: list[RtpPacket]) -> JitterFrame | None:
        self.remove(len(packets))
        data = b"".join(packet._data for packet in packets)  # type: ignore[attr-defined]
        return JitterFrame(data=data, timestamp=packets[0].timestamp)


class CountingBuffer(JitterBuffer):
    """Counts pictures by their markers and keeps nothing."""

    def __init__(self) -> None:
        super().__init__(capacity=1, is_video=True)
        self.pictures = 0

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        self.pictures += packet.marker
        return False, None


class Viewer:
    """One WHEP session; it joins once and never again."""

    def __init__(self, buffer: JitterBuffer, on_picture: Callable[[av.VideoFrame], None]) -> None:
        self._connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self._on_picture = on_picture
        self._reading: asyncio.Task[None] | None = None
        transceiver = self._connection.addTransceiver("video", direction="recvonly")
        known = RTCRtpReceiver.getCapabilities("video")
        assert known is not None
        transceiver.setCodecPreferences([one for one in known.codecs if one.mimeType in CODECS])
        name = "_RTCRtpReceiver__jitter_buffer"
        assert hasattr(transceiver.receiver, name), "this aiortc keeps its packets elsewhere"
        setattr(transceiver.receiver, name, buffer)
        self._connection.on("track", self._on_track)

    @property
    def state(self) -> str:
        return str(self._connection.connectionState)

    async def join(self, url: str) -> None:
        """Post the offer, again while the server is not ready; raises ``OSError``."""
        await self.accept(await asyncio.to_thread(_answer, url, await self.offer()))

    async def offer(self) -> str:
        """What it would receive, as SDP."""
        await self._connection.setLocalDescription()
        return str(self._connection.localDescription.sdp)

    async def accept(self, answer_sdp: str) -> None:
        """Begin to receive what was agreed on."""
        await self._connection.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))

    def _on_track(self, track: MediaStreamTrack) -> None:
        self._reading = asyncio.create_task(self._read(track))

    async def _read(self, track: MediaStreamTrack) -> None:
        while True:
            picture = await track.recv()
            assert isinstance(picture, av.VideoFrame)
            self._on_picture(picture)


async def watch(url: str, *, silent: int, clock: Clock) -> None:
    """Watch until stopped; with ``silent`` that many viewers who only receive, else one who reads."""
    counters = [CountingBuffer() for _ in range(silent)]
    observer = Observer(clock)
    buffers: list[JitterBuffer] = [*counters] or [MarkerBuffer()]
    viewers = [
        Viewer(buffer, lambda picture: observer.see(luma_of(picture), clock.now_ns()))
        for buffer in buffers
    ]
    await asyncio.gather(*(viewer.join(url) for viewer in viewers))
    said = None
    while True:
        states = [viewer.state for viewer in viewers]
        if states != said:
            say("states", states=states, at_ns=clock.now_ns())
            said = states
        if counters:
            pictures = [counter.pictures for counter in counters]
            say("pictures", pictures=pictures, at_ns=clock.now_ns())
        await asyncio.sleep(_TELL_S)


def main() -> None:
    """Watch until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the WHEP endpoint")
    parser.add_argument("--silent", type=int, default=0, help="so many who decode nothing")
    options = parser.parse_args()
    asyncio.run(watch(options.url, silent=options.silent, clock=MonotonicClock()))


def _answer(url: str, offer: str) -> str:
    for _ in range(_TRIES):
        if (answer := _post(url, offer)) is not None:
            return answer
        time.sleep(_RETRY_S)
    raise TimeoutError(f"{url} took no viewer")


def _post(url: str, offer: str) -> str | None:
    """The answer; ``None`` while nobody listens or the stream is not there yet."""
    request = urllib.request.Request(
        url, offer.encode(), {"Content-Type": "application/sdp"}, method="POST"
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return str(response.read().decode())
    except urllib.error.HTTPError as error:
        if error.code in (404, 503):
            return None
        raise
    except OSError:
        return None


if __name__ == "__main__":
    main()
