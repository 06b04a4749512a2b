"""SETUP: which of the ways that a client offers its packets take."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace

from streamer.rtsp.transport import Transport, parse_transports
from streamer.server.rtsp_caller import Caller, Refusal
from streamer.server.rtsp_desk import RtspDesk
from streamer.server.rtsp_session import RtspSession
from streamer.server.rtsp_ways import Address, TcpWay, UdpPair, UdpWay

_log = logging.getLogger(__name__)

MAX_CHOICES = 16


@dataclass(frozen=True, slots=True)
class TcpChoice:
    """Between the messages of the connection."""

    channels: tuple[int, int]

    def answer(self, asked: Transport) -> Transport:
        return Transport(lower="tcp", profile=asked.profile, interleaved=self.channels)


@dataclass(frozen=True, slots=True)
class UdpChoice:
    """As datagrams, from two ports of ours to two of the client's."""

    pair: UdpPair
    rtp: Address
    rtcp: Address

    def answer(self, asked: Transport) -> Transport:
        return Transport(
            lower="udp",
            profile=asked.profile,
            client_port=(self.rtp[1], self.rtcp[1]),
            server_port=self.pair.ports,
        )


async def choose(
    header: str, *, desk: RtspDesk, caller: Caller, session: RtspSession | None
) -> tuple[TcpChoice | UdpChoice, Transport]:
    """The first way that can be had, and the Transport header that says so.

    Raises ``Refusal`` (461) where there is none. Packets go to the client's own address only,
    whatever ``destination`` says: a server must not be made to flood a third party.
    """
    for asked in parse_transports(header)[:MAX_CHOICES]:
        if asked.is_multicast or asked.profile not in ("AVP", "AVPF"):
            continue
        if asked.mode not in (None, "PLAY"):
            continue
        if session is not None and session.way.is_tcp != (asked.lower == "tcp"):
            # Its packets wait in one ring, so all of its tracks go the same way.
            continue
        choice = await _try(asked, desk=desk, caller=caller, session=session)
        if choice is not None:
            return choice, choice.answer(asked)
    raise Refusal(461)


def prepare(
    choice: TcpChoice | UdpChoice,
    *,
    desk: RtspDesk,
    caller: Caller,
    session: RtspSession,
    track: int,
) -> None:
    """Let the packets of ``track`` and the client's reports take the way chosen."""
    way = session.way
    if isinstance(choice, TcpChoice) and isinstance(way, TcpWay):
        caller.assign(choice.channels, session)
        way.add_track(track, rtcp_channel=choice.channels[1])
    elif isinstance(choice, UdpChoice) and isinstance(way, UdpWay):
        desk.listen_to(choice.rtcp, session)
        way.add_track(track, rtp=choice.rtp, rtcp=choice.rtcp)


def new_way(choice: TcpChoice | UdpChoice, caller: Caller) -> TcpWay | UdpWay:
    return TcpWay(caller.writer) if isinstance(choice, TcpChoice) else UdpWay(choice.pair)


def described(answer: Transport, *, ssrc: int) -> str:
    """The header's value in the answer."""
    return str(replace(answer, ssrc=ssrc, mode="PLAY"))


async def _try(
    asked: Transport, *, desk: RtspDesk, caller: Caller, session: RtspSession | None
) -> TcpChoice | UdpChoice | None:
    if asked.lower == "tcp":
        channels = caller.free_channels(asked.interleaved)
        return None if channels is None else TcpChoice(channels)
    if asked.client_port is None or 0 in asked.client_port:
        return None
    rtp, rtcp = (caller.address(port) for port in asked.client_port)
    if desk.is_taken(rtcp, session):
        return None
    try:
        pair = await desk.udp_pair(caller.own_address)
    except OSError as error:
        _log.warning("RTSP over UDP cannot be served: %s", error.strerror or error)
        return None
    return UdpChoice(pair, rtp, rtcp)
