"""A real viewer for the tests: an aiortc client, and how to wait for what it should see."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import av
from aiortc import (
    RTCConfiguration,
    RTCPeerConnection,
    RTCRtpReceiver,
    RTCSessionDescription,
)
from aiortc.mediastreams import MediaStreamError
from aiortc.rtp import (
    RTCP_PSFB_APP,
    RTCP_PSFB_FIR,
    RTCP_PSFB_PLI,
    RtcpPsfbPacket,
    RtpPacket,
    pack_remb_fci,
)

Result = TypeVar("Result")
TEST_WITHIN_S = 180.0
WAIT_S = 60.0
"""Generous: the machine may be slow or stall, and only a failure waits this long."""


def run(scenario: Coroutine[Any, Any, Result]) -> Result:
    """Run a test's scenario on a fresh loop, and not for ever."""

    async def bounded() -> Result:
        return await asyncio.wait_for(scenario, TEST_WITHIN_S)

    return asyncio.run(bounded())


async def until(
    condition: Callable[[], object], what: str = "", *, within_s: float = WAIT_S
) -> None:
    """Wait for ``condition``; fails with ``what`` when it does not come true."""
    loop = asyncio.get_running_loop()
    give_up = loop.time() + within_s
    while not condition():
        assert loop.time() < give_up, f"waited {within_s} s in vain: {what or condition}"
        await asyncio.sleep(0.01)


class Watcher:
    """Receives video, remembers each frame and how many RTP packets each was."""

    def __init__(self, *, codecs: Sequence[str] = ("video/H264", "video/rtx")) -> None:
        self.connection = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.frames: list[av.VideoFrame] = []
        self.rtp_times: list[int] = []
        self.rtp_packets: Counter[int] = Counter()
        self.wakes = asyncio.Event()
        self.wakes.set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.transceiver = self.connection.addTransceiver("video", direction="recvonly")
        known = RTCRtpReceiver.getCapabilities("video")
        assert known is not None
        self.transceiver.setCodecPreferences(
            [codec for codec in known.codecs if codec.mimeType in codecs]
        )
        self.connection.on("track", self._on_track)

    def _on_track(self, track: Any) -> None:
        task = asyncio.create_task(self._read(track))
        self._tasks.add(task)

    async def _read(self, track: Any) -> None:
        while True:
            await self.wakes.wait()
            try:
                frame = await track.recv()
            except MediaStreamError:
                return
            self.frames.append(frame)

    async def offer(self) -> str:
        await self.connection.setLocalDescription()
        return self.connection.localDescription.sdp

    async def accept(self, answer_sdp: str) -> None:
        await self.connection.setRemoteDescription(RTCSessionDescription(answer_sdp, "answer"))
        self._count_rtp()

    def _count_rtp(self) -> None:
        receiver = self.connection.getReceivers()[0]
        handle = receiver._handle_rtp_packet
        ssrc = self._media_ssrc()

        async def counted(packet: RtpPacket, arrival_time_ms: int) -> None:
            if packet.ssrc == ssrc:  # not the second attempts, which have an SSRC of their own
                if packet.timestamp not in self.rtp_packets:
                    self.rtp_times.append(packet.timestamp)
                self.rtp_packets[packet.timestamp] += 1
            await handle(packet, arrival_time_ms)

        receiver._handle_rtp_packet = counted  # type: ignore[method-assign]

    @property
    def is_connected(self) -> bool:
        return self.connection.connectionState == "connected"

    def sleep(self) -> None:
        """Stop reading anything from the network, as a suspended machine does."""
        self.wakes.clear()
        receiver = self.connection.getReceivers()[0]

        async def ignore(packet: RtpPacket, arrival_time_ms: int) -> None:
            return None

        receiver._handle_rtp_packet = ignore  # type: ignore[method-assign]

    def _media_ssrc(self) -> int:
        answer = self.connection.remoteDescription.sdp
        line = next(line for line in answer.splitlines() if line.startswith("a=ssrc:"))
        return int(line.removeprefix("a=ssrc:").split()[0])

    async def send_pli(self) -> None:
        await self._send_feedback(RTCP_PSFB_PLI)

    async def send_fir(self) -> None:
        await self._send_feedback(RTCP_PSFB_FIR)

    async def send_remb(self, estimate_bps: int) -> None:
        fci = pack_remb_fci(estimate_bps, [self._media_ssrc()])
        await self._send_feedback(RTCP_PSFB_APP, fci=fci)

    async def _send_feedback(self, kind: int, *, fci: bytes = b"") -> None:
        receiver = self.connection.getReceivers()[0]
        media_ssrc = 0 if kind == RTCP_PSFB_APP else self._media_ssrc()
        packet = RtcpPsfbPacket(fmt=kind, ssrc=1, media_ssrc=media_ssrc, fci=fci)
        await receiver.transport._send_rtp(bytes(packet))

    async def close(self) -> None:
        await self.connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def watching(
    answer: Callable[[str], Coroutine[Any, Any, str]], **options: Any
) -> AsyncIterator[Watcher]:
    """A watcher whose offer went through ``answer``; connected when the block begins."""
    watcher = Watcher(**options)
    try:
        await watcher.accept(await answer(await watcher.offer()))
        await until(lambda: watcher.is_connected, "the watcher never connected")
        yield watcher
    finally:
        await watcher.close()
