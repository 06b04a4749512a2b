"""The door to aiortc: which offers are answered, and that feedback and pacing take hold."""

from __future__ import annotations

import inspect
import socket
from collections.abc import Sequence

import pytest
from aioice import Connection
from aioice.ice import StunProtocol
from aioice.mdns import MDnsProtocol
from aiortc import RTCIceTransport, RTCPeerConnection, RTCRtpSender
from aiortc.rtcdtlstransport import RTCDtlsTransport
from aiortc.rtp import RtcpPacket
from aiortc.sdp import SessionDescription

from streamer.frame import RTP_TIME_BASE, Packet
from streamer.rtc.session import OfferInvalid, OfferUnsupported
from streamer.sinks import rtc_peer
from streamer.sinks.rtc_hooks import listen_to_feedback
from tests.streamer.server.moving_picture import WIDTH, LiveStream, Rendition, running
from tests.streamer.server.watcher import Watcher, run, until
from tests.streamer.sources.whip_peer import Microphone


async def answer(rendition: Rendition, offer_sdp: str) -> str:
    return (await rendition.sink.answer(offer_sdp)).answer_sdp


def test_a_packet_in_another_time_base_is_rescaled_once() -> None:
    packet = Packet(
        payload=b"\0\0\0\1\x65", pts=1001, dts=1001, time_base=RTP_TIME_BASE * 3, arrived_ns=0
    )
    out = rtc_peer.ready(packet)
    assert out.pts == 3003


def test_an_offer_with_sound_before_the_picture_is_answered() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            watcher = Watcher()
            both = RTCPeerConnection(watcher.connection._RTCPeerConnection__configuration)  # type: ignore[attr-defined]
            await watcher.connection.close()
            watcher.connection = both
            both.addTransceiver("audio", direction="recvonly")
            both.addTransceiver("video", direction="recvonly")
            both.on("track", watcher._on_track)
            await both.setLocalDescription()
            answer_sdp = await answer(rendition, both.localDescription.sdp)
            await watcher.accept(answer_sdp)
            await until(lambda: watcher.is_connected, "never connected")
            await until(
                lambda: any(getattr(frame, "width", 0) == WIDTH for frame in watcher.frames),
                "no picture",
            )
            await watcher.close()

    run(scenario())


@pytest.mark.parametrize(
    ("offer", "error", "reason"),
    [
        ("hello", OfferInvalid, "does not begin with v=0"),
        ("v=0\r\nm=video nine UDP/TLS/RTP/SAVPF 96\r\n", OfferInvalid, "cannot be parsed"),
        ("v=0\r\no=- 0 0 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n", OfferUnsupported, "no video"),
    ],
)
def test_a_bad_offer_is_refused(offer: str, error: type[Exception], reason: str) -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        with pytest.raises(error, match=reason):
            await rendition.sink.answer(offer)
        assert rendition.sink.viewers == 0
        await rendition.sink.close()

    run(scenario())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("a=fmtp:7 x=1", "an a=fmtp line is for a format without an a=rtpmap line"),
        ("a=candidate:1 1 udp 1 127.0.0.1 99999 typ host", "the port 99999; a port is 0 to 65535"),
        ("a=rtcp-fb:* x\r\n" * 1_000, "lines; up to 1000 are taken"),
    ],
    ids=["format", "port", "lines"],
)
def test_an_offer_with_an_impossible_line_is_refused(line: str, reason: str) -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        watcher = Watcher()
        with pytest.raises(OfferInvalid, match=reason):
            await rendition.sink.answer(f"{await watcher.offer()}{line}\r\n")
        await watcher.close()
        await rendition.sink.close()

    run(scenario())


def test_a_bundle_may_name_sections_that_there_are_not() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            watcher = Watcher()
            offer = await watcher.offer()
            assert "a=group:BUNDLE 0\r\n" in offer
            offer = offer.replace("a=group:BUNDLE 0", "a=group:BUNDLE sound 0")
            await watcher.accept(await answer(stream.renditions["enhanced"], offer))
            await until(lambda: watcher.frames, "no picture")
            await watcher.close()

    run(scenario())


def test_an_offer_without_h264_is_refused() -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        watcher = Watcher(codecs=("video/VP8", "video/rtx"))
        with pytest.raises(OfferUnsupported, match=r"no H\.264, only VP8; .* OpenH264"):
            await rendition.sink.answer(await watcher.offer())
        await watcher.close()
        await rendition.sink.close()

    run(scenario())


def test_an_offer_that_sends_instead_of_receiving_is_refused() -> None:
    async def scenario() -> None:
        rendition = Rendition("enhanced")
        watcher = Watcher()
        offer = (await watcher.offer()).replace("a=recvonly", "a=sendonly")
        with pytest.raises(OfferUnsupported, match="sendonly"):
            await rendition.sink.answer(offer)
        await watcher.close()
        await rendition.sink.close()

    run(scenario())


def test_answers_name_no_outside_server_and_hidden_addresses_are_not_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up: list[str] = []

    async def resolve(_: MDnsProtocol, hostname: str, *__: object, **___: object) -> None:
        looked_up.append(hostname)

    monkeypatch.setattr(MDnsProtocol, "resolve", resolve)

    async def scenario() -> None:
        rendition = Rendition("enhanced")
        watcher = Watcher()
        lines = (await watcher.offer()).splitlines()
        at = next(i for i, line in enumerate(lines) if line.startswith("a=candidate:"))
        lines[at] = "a=candidate:1 1 udp 2113937151 0b1c.local 51234 typ host"
        answer_sdp = await answer(rendition, "\r\n".join(lines) + "\r\n")
        assert looked_up == []
        assert "typ host" in answer_sdp
        assert "typ srflx" not in answer_sdp
        await watcher.close()
        await rendition.sink.close()

    run(scenario())


@pytest.mark.parametrize("datagram", [b"", b"\x80" * 1_600], ids=["empty", "too long"])
def test_what_anybody_may_send_to_a_port_ends_no_session(datagram: bytes) -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            rendition = stream.renditions["enhanced"]
            watcher = Watcher()
            answer_sdp = await answer(rendition, await watcher.offer())
            await watcher.accept(answer_sdp)
            await until(lambda: watcher.frames, "no picture")
            for media in SessionDescription.parse(answer_sdp).media:
                for one in media.ice_candidates:
                    send_to(one.ip, one.port, datagram)
            seen = len(watcher.frames)
            await until(lambda: len(watcher.frames) > seen + 30, "the picture stopped")
            assert rendition.sink.viewers == 1
            await watcher.close()

    run(scenario())


def send_to(host: str, port: int, datagram: bytes) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as stranger:
        stranger.sendto(datagram, (host, port))


def test_a_viewer_that_would_send_sound_is_told_that_it_is_not_taken() -> None:
    async def scenario() -> None:
        async with running(LiveStream()) as stream:
            watcher = Watcher()
            watcher.connection.addTransceiver(Microphone(), direction="sendrecv")
            answer_sdp = await answer(stream.renditions["enhanced"], await watcher.offer())
            picture, sound = SessionDescription.parse(answer_sdp).media
            assert (picture.direction, sound.direction) == ("sendonly", "inactive")
            await watcher.accept(answer_sdp)
            await until(lambda: watcher.frames, "no picture")
            await watcher.close()

    run(scenario())


def test_packets_missed_on_both_sides_of_the_wrap_are_known_by_their_numbers() -> None:
    asked: list[int] = []

    async def remember(sequences: Sequence[int]) -> None:
        asked.extend(sequences)

    async def scenario() -> None:
        connection = RTCPeerConnection()
        sender = connection.addTransceiver("video").sender
        listen_to_feedback(
            sender,
            keyframe_wanted=lambda: None,
            estimated_bps=lambda _: None,
            missing=remember,
        )
        # As browsers write it: 65534, and a bit for each of the three after it.
        nack = bytes((0x81, 205, 0, 3, *(0, 0, 0, 1), *(0, 0, 0, 2), *(0xFF, 0xFE, 0, 0b111)))
        for packet in RtcpPacket.parse(nack):
            await sender._handle_rtcp_packet(packet)
        await connection.close()

    run(scenario())
    assert asked == [65_534, 65_535, 0, 1]


def test_aiortc_still_has_what_the_hooks_take_hold_of() -> None:
    """See ``rtc_hooks`` and ``Outlet``: an upgrade must not break them in silence."""
    assert "sender.send(self.__localRtp(" in _source_of(RTCPeerConnection)
    assert "recipient._handle_rtcp_packet(" in _source_of(RTCDtlsTransport._handle_rtcp_data)
    assert "self._send_keyframe()" in _source_of(RTCRtpSender._handle_rtcp_packet)
    assert "for seq in packet.lost:" in _source_of(RTCRtpSender._handle_rtcp_packet)
    assert "await self.__track.recv()" in _source_of(RTCRtpSender._next_encoded_frame)
    assert "self._tx_srtp.protect(data)" in _source_of(RTCDtlsTransport._send_rtp)
    assert "self._send = self._connection.send" in _source_of(RTCIceTransport)
    assert "self.receiver.data_received(data, " in _source_of(StunProtocol.datagram_received)
    assert "active_pair = self._nominated.get(component)" in _source_of(Connection.sendto)
    assert "active_pair.protocol.send_data(data, active_pair.remote_addr)" in _source_of(
        Connection.sendto
    )


def _source_of(function: object) -> str:
    return inspect.getsource(function)  # type: ignore[arg-type]
