"""What leaves for a viewer, as real aiortc viewers get it: headers, bursts, second attempts."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from aiortc.rtp import RTCP_RTPFB_NACK, RtcpRtpfbPacket, RtcpSrPacket, RtpPacket

from streamer.frame import RTP_TIME_BASE, Packet
from streamer.rtp.packetise import RtpPiece
from streamer.sinks.rtc_outlet import BURST_PACKETS, BURST_PAUSE_MS
from streamer.sinks.rtc_segments import runs
from streamer.sinks.rtc_sender import HISTORY_PACKETS
from streamer.sinks.rtc_tracks import PAYLOAD_BYTES, ReadyUnit, ready
from tests.streamer.server.moving_picture import LiveStream, Rendition, running
from tests.streamer.server.watcher import Watcher, run, until
from tests.streamer.sinks.sounds import opus_packet

SLICE = b"\0\0\0\1\x65" + bytes(range(1, 256)) * 400
"""About 80 RTP packets."""


def keyframe(payload: bytes = SLICE, *, pts: int = 0) -> Packet:
    return Packet(
        payload=payload,
        pts=pts,
        dts=pts,
        time_base=RTP_TIME_BASE,
        arrived_ns=0,
        is_keyframe=True,
    )


class Notary(Watcher):
    """Notes each RTP packet and report, and can have first attempts lost on their way."""

    def __init__(self, *, loses_each: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.first: list[RtpPacket] = []
        self.again: list[RtpPacket] = []
        """With the sequence numbers and payloads of first attempts."""
        self.lost: set[int] = set()
        self.reports: list[tuple[RtcpSrPacket, int, int]] = []
        """Each with the packets and payload bytes that had come by then."""
        self._loses_each = loses_each

    async def accept(self, answer_sdp: str) -> None:
        await super().accept(answer_sdp)
        receiver: Any = self.connection.getReceivers()[0]
        self._lose(receiver.transport.transport)
        handle, handle_report = receiver._handle_rtp_packet, receiver._handle_rtcp_packet
        ssrc = self._media_ssrc()

        async def noted(packet: RtpPacket, arrival_time_ms: int) -> None:
            if packet.ssrc != ssrc:
                sequence = int.from_bytes(packet.payload[:2], "big")
                self.again.append(_attempt(packet, sequence, packet.payload[2:]))
            elif packet.sequence_number in self.lost:
                self.again.append(_attempt(packet, packet.sequence_number, packet.payload))
            else:
                self.first.append(packet)
            await handle(packet, arrival_time_ms)

        async def noted_report(packet: Any) -> None:
            if isinstance(packet, RtcpSrPacket):
                size = sum(len(one.payload) for one in self.first)
                self.reports.append((packet, len(self.first), size))
            await handle_report(packet)

        receiver._handle_rtp_packet = noted
        receiver._handle_rtcp_packet = noted_report

    async def send_nack(self, sequence: int) -> None:
        receiver: Any = self.connection.getReceivers()[0]
        packet = RtcpRtpfbPacket(
            fmt=RTCP_RTPFB_NACK, ssrc=1, media_ssrc=self._media_ssrc(), lost=[sequence]
        )
        await receiver.transport._send_rtp(bytes(packet))

    def _lose(self, path: Any) -> None:
        """Lose packets where they are still encrypted, or SRTP takes second ones for replayed."""
        receive = path._recv
        ssrc = self._media_ssrc().to_bytes(4, "big")

        async def received() -> bytes:
            while True:
                data: bytes = await receive()
                sequence = int.from_bytes(data[2:4], "big")
                is_first = data[8:12] == ssrc and sequence not in self.lost
                if not is_first or not self._loses_each or sequence % self._loses_each:
                    return data
                self.lost.add(sequence)

        path._recv = received


def _attempt(packet: RtpPacket, sequence: int, payload: bytes) -> RtpPacket:
    return RtpPacket(
        marker=packet.marker,
        sequence_number=sequence,
        timestamp=packet.timestamp,
        payload=payload,
    )


@asynccontextmanager
async def noting(rendition: Rendition, **options: Any) -> AsyncIterator[Notary]:
    notary = Notary(**options)
    try:
        session = await rendition.sink.answer(await notary.offer())
        await notary.accept(session.answer_sdp)
        await until(lambda: notary.is_connected, "the viewer never connected")
        yield notary
    finally:
        await notary.close()


@pytest.mark.parametrize("codecs", [("video/H264", "video/rtx"), ("video/H264",)])
def test_lost_packets_are_sent_again_as_they_were(codecs: tuple[str, ...]) -> None:
    """In a stream of their own where the viewer knows one, else as if for the first time."""

    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            async with noting(rendition, loses_each=11, codecs=codecs) as viewer:
                await until(lambda: len(viewer.again) > 20, "nothing was sent again")
                await until(lambda: len(viewer.frames) > 30, "no picture")
                assert {one.sequence_number for one in viewer.again} <= viewer.lost
                # Parameter sets are the same before every keyframe.
                sent: dict[bytes, set[tuple[int, bool]]] = {}
                for packet in rendition.packets:
                    for piece in ready(packet).pieces:
                        sent.setdefault(piece.payload, set()).add((packet.pts, piece.is_marked))
                first = next(one for one in viewer.first if len(sent[one.payload]) == 1)
                ((pts, _),) = sent[first.payload]
                origin = first.timestamp - pts
                for again in viewer.again:
                    assert (again.timestamp, again.marker) in {
                        ((origin + pts) % 2**32, is_marked)
                        for pts, is_marked in sent[again.payload]
                    }

    run(scenario())


def test_a_keyframe_of_many_bursts_says_when_each_burst_left() -> None:
    """And leaves its reader time between them; see ``BURST_PAUSE_MS``.

    How much of a larger one a reader's socket holds would say how fast aiortc reads it here.
    """

    async def scenario() -> None:
        rendition = Rendition("enhanced")
        async with noting(rendition) as viewer:
            await until(lambda: rendition.keyframe_requests, "no keyframe was asked for")
            await rendition.sink.send(keyframe())
            pieces = len(ready(keyframe()).pieces)
            await until(lambda: len(viewer.first) == pieces, "RTP packets were lost")
            first = viewer.first[0].sequence_number
            assert [one.sequence_number for one in viewer.first] == [
                (first + number) % 2**16 for number in range(pieces)
            ]
            assert [one.marker for one in viewer.first] == [0] * (pieces - 1) + [1]
            assert {one.extensions.mid for one in viewer.first} == {viewer.transceiver.mid}
            left = [one.extensions.abs_send_time or 0 for one in viewer.first]
            bursts = {one: left.count(one) for one in left}
            assert max(bursts.values()) <= BURST_PACKETS
            assert len(bursts) >= pieces // BURST_PACKETS
            # In order, across the wrap of 64 s; 9/10, as the wall's clock may be set a little.
            pause = 0.9 * BURST_PAUSE_MS * 2**18 / 1_000
            assert all(pause <= (b - a) % 2**24 < 2**23 for a, b in pairwise(bursts))
        await rendition.sink.close()

    run(scenario())


def test_only_what_was_sent_lately_is_sent_again() -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        async with noting(rendition) as viewer:
            await until(lambda: rendition.keyframe_requests, "no keyframe was asked for")
            await rendition.sink.send(keyframe())
            await until(lambda: viewer.first and viewer.first[-1].marker, "no keyframe came")
            known = viewer.first[7]
            later = (known.sequence_number + HISTORY_PACKETS) % 2**16
            await viewer.send_nack(later)
            await viewer.send_nack(known.sequence_number)
            await until(lambda: viewer.again, "nothing was sent again")
            assert [one.payload for one in viewer.again] == [known.payload]
        await rendition.sink.close()

    run(scenario())


def test_reports_count_what_was_sent() -> None:
    async def scenario() -> None:
        async with (
            running(LiveStream()) as stream,
            noting(stream.renditions["enhanced"]) as viewer,
        ):

            def agree() -> bool:
                return any(
                    (info.packet_count, info.octet_count) == (packets, size)
                    for report, packets, size in viewer.reports
                    if (info := report.sender_info).packet_count
                )

            # The socket of a viewer that stood still may lose some, but not before each report.
            await until(agree, "no report states what came")

    run(scenario())


def test_a_slice_is_one_run_of_equal_packets() -> None:
    pieces = ready(keyframe(SLICE + SLICE)).pieces
    assert (
        len(list(runs([bytes(len(one.payload)) for one in pieces]))) == 2 * 2
    )  # of 64 and the rest
    assert max(len(one.payload) for one in pieces) == PAYLOAD_BYTES


def test_sound_that_cannot_be_encrypted_in_one_packet_is_left_out() -> None:
    packet = opus_packet(0)
    assert len(ready(packet).pieces) == 1
    long = Packet(
        payload=bytes(PAYLOAD_BYTES + 1),
        pts=packet.pts,
        dts=packet.dts,
        time_base=packet.time_base,
        arrived_ns=0,
        stream="audio",
    )
    assert ready(long).pieces == ()


def test_a_viewer_to_whom_sending_fails_is_hung_up(caplog: pytest.LogCaptureFixture) -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        async with noting(rendition) as viewer:
            await until(lambda: rendition.keyframe_requests, "no keyframe was asked for")
            ring = next(iter(rendition.sink._sessions.values())).ring
            ring.push(ReadyUnit(0, (RtpPiece(bytes(2_000), True),), 2_000), is_keyframe=True)
            await until(lambda: rendition.sink.viewers == 0, "the session stayed")
            await until(
                lambda: viewer.connection.connectionState == "closed", "the viewer was not told"
            )
        await rendition.sink.close()

    run(scenario())
    assert "too long" in caplog.text
