"""RTCP (RFC 3550, section 6): reports between sender and receiver, and the clock they carry."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

NTP_TO_UNIX_S = 2_208_988_800
"""Seconds from 1900, where NTP counts from, to 1970."""

SR, RR, SDES, BYE, RTPFB, PSFB = 200, 201, 202, 203, 205, 206
_CNAME = 1
_NACK = 1
_PLI, _FIR = 1, 4
_SENDER = struct.Struct("!QIII")
_BLOCK = struct.Struct("!IIIIII")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportBlock:
    """How one source was received, as RFC 3550, section 6.4.1 counts it."""

    ssrc: int
    fraction_lost: int
    """Of 256, since the last report."""
    cumulative_lost: int
    """Signed, 24 bits."""
    highest_sequence: int
    """Extended: cycles in the upper 16 bits."""
    jitter: int
    """In ticks of the media clock."""
    last_sender_report: int
    """Middle 32 bits of its NTP time; 0 before the first one."""
    delay_since_last: int
    """In 1/65536 s."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderReport:
    """What a sender says of itself: which instant its media clock stood for."""

    ssrc: int
    ntp: int
    """64-bit NTP time; 0 where the sender has no clock."""
    rtp_timestamp: int
    packets: int
    octets: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverReport:
    """What a receiver saw."""

    ssrc: int
    reports: tuple[ReportBlock, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceDescription:
    """The canonical name of a source: equal for the tracks of one sender."""

    ssrc: int
    cname: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bye:
    """Sources that leave."""

    ssrcs: tuple[int, ...]
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureLoss:
    """A receiver asks for a keyframe: PLI (RFC 4585, 6.3.1) or FIR (RFC 5104, 4.3.1)."""

    sender_ssrc: int
    media_ssrc: int


Report: TypeAlias = SenderReport | ReceiverReport | SourceDescription | Bye | PictureLoss


def parse_compound(data: bytes) -> list[Report]:
    """The reports in one datagram, as far as it makes sense; unknown kinds are passed over.

    Never raises: what follows a damaged part is left out.
    """
    reports: list[Report] = []
    at = 0
    while at + 4 <= len(data):
        first, kind, words = struct.unpack_from("!BBH", data, at)
        end = at + 4 + 4 * words
        if first & 0xC0 != 0x80 or end > len(data):
            break
        body = data[at + 4 : end]
        if first & 0x20 and body:
            body = body[: max(0, len(body) - body[-1])]
        reports += _parse_one(kind, first & 0x1F, body)
        at = end
    return reports


def _parse_one(kind: int, count: int, body: bytes) -> Sequence[Report]:
    if kind == SDES:
        return _parse_descriptions(count, body)
    if kind == BYE:
        return _parse_bye(count, body)
    if len(body) < 4:
        return ()
    ssrc = int.from_bytes(body[:4], "big")
    if kind == SR and len(body) >= 24:
        ntp, timestamp, packets, octets = _SENDER.unpack_from(body, 4)
        return (
            SenderReport(
                ssrc=ssrc,
                ntp=ntp,
                rtp_timestamp=timestamp,
                packets=packets,
                octets=octets,
                reports=_parse_blocks(count, body[24:]),
            ),
        )
    if kind == RR:
        return (ReceiverReport(ssrc=ssrc, reports=_parse_blocks(count, body[4:])),)
    if kind == PSFB and count == _PLI and len(body) >= 8:
        return (PictureLoss(sender_ssrc=ssrc, media_ssrc=int.from_bytes(body[4:8], "big")),)
    if kind == PSFB and count == _FIR and len(body) >= 12:
        return (PictureLoss(sender_ssrc=ssrc, media_ssrc=int.from_bytes(body[8:12], "big")),)
    return ()


def _parse_blocks(count: int, data: bytes) -> tuple[ReportBlock, ...]:
    blocks = []
    for index in range(min(count, len(data) // _BLOCK.size)):
        ssrc, lost, highest, jitter, last, delay = _BLOCK.unpack_from(data, index * _BLOCK.size)
        cumulative = lost & 0xFFFFFF
        if cumulative & 0x800000:
            cumulative -= 0x1000000
        blocks.append(
            ReportBlock(
                ssrc=ssrc,
                fraction_lost=lost >> 24,
                cumulative_lost=cumulative,
                highest_sequence=highest,
                jitter=jitter,
                last_sender_report=last,
                delay_since_last=delay,
            )
        )
    return tuple(blocks)


def _parse_descriptions(count: int, body: bytes) -> list[SourceDescription]:
    """Chunks of items, each chunk ended by a zero and filled to a multiple of four bytes."""
    found = []
    at = 0
    for _ in range(count):
        if at + 4 > len(body):
            break
        ssrc = int.from_bytes(body[at : at + 4], "big")
        item = at + 4
        while item < len(body) and body[item]:
            text = body[item + 2 : item + 2 + body[item + 1]] if item + 1 < len(body) else b""
            if body[item] == _CNAME and text:
                found.append(SourceDescription(ssrc=ssrc, cname=text.decode(errors="replace")))
            item += 2 + len(text)
        at = (item // 4 + 1) * 4
    return found


def _parse_bye(count: int, body: bytes) -> list[Bye]:
    if len(body) < 4 * count:
        return []
    ssrcs = struct.unpack_from(f"!{count}I", body)
    rest = body[4 * count :]
    reason = rest[1 : 1 + rest[0]].decode(errors="replace") if rest else ""
    return [Bye(ssrcs=ssrcs, reason=reason)]


def build_sender_report(report: SenderReport, *, cname: str) -> bytes:
    """A compound packet: the report and the sender's name (RFC 3550, section 6.1)."""
    body = struct.pack("!I", report.ssrc) + _SENDER.pack(
        report.ntp,
        report.rtp_timestamp & 0xFFFFFFFF,
        report.packets & 0xFFFFFFFF,
        report.octets & 0xFFFFFFFF,
    )
    body += _build_blocks(report.reports)
    return _framed(SR, len(report.reports), body) + _build_description(report.ssrc, cname)


def build_receiver_report(report: ReceiverReport, *, cname: str) -> bytes:
    """A compound packet: the report and the receiver's name."""
    body = struct.pack("!I", report.ssrc) + _build_blocks(report.reports)
    return _framed(RR, len(report.reports), body) + _build_description(report.ssrc, cname)


def build_bye(ssrc: int, *, cname: str, reason: str = "") -> bytes:
    """A compound packet that says the source leaves; it opens with an empty receiver report."""
    text = reason.encode()[:255]
    body = struct.pack("!I", ssrc)
    if text:
        body += bytes((len(text),)) + text
    leave = _framed(BYE, 1, body)
    return build_receiver_report(ReceiverReport(ssrc=ssrc), cname=cname) + leave


def build_picture_loss(*, sender_ssrc: int, media_ssrc: int, cname: str) -> bytes:
    """A compound packet that asks the sender of ``media_ssrc`` for a keyframe (PLI)."""
    ask = _framed(PSFB, _PLI, struct.pack("!II", sender_ssrc, media_ssrc))
    return build_receiver_report(ReceiverReport(ssrc=sender_ssrc), cname=cname) + ask


def build_missing(*, sender_ssrc: int, media_ssrc: int, sequences: Sequence[int]) -> bytes:
    """A packet that asks ``media_ssrc`` for packets again (a generic NACK, RFC 4585, section 6.2.1).

    ``sequences``, 0 to 65535, are in the order they were sent, so they may pass the wrap. It is not
    part of a compound packet (RFC 5506).
    """
    body = struct.pack("!II", sender_ssrc, media_ssrc)
    rest = list(sequences)
    while rest:
        first = rest.pop(0)
        following = 0
        # Nobody is asked for 0 as the one after 65535: aiortc would look for 65536.
        while rest and first < rest[0] <= first + 16:
            following |= 1 << (rest.pop(0) - first - 1)
        body += struct.pack("!HH", first, following)
    return _framed(RTPFB, _NACK, body)


def _build_blocks(blocks: Iterable[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | block.cumulative_lost & 0xFFFFFF,
            block.highest_sequence & 0xFFFFFFFF,
            block.jitter & 0xFFFFFFFF,
            block.last_sender_report,
            block.delay_since_last & 0xFFFFFFFF,
        )
        for block in blocks
    )


def _build_description(ssrc: int, cname: str) -> bytes:
    text = cname.encode()[:255]
    chunk = struct.pack("!IBB", ssrc, _CNAME, len(text)) + text
    return _framed(SDES, 1, chunk + bytes(4 - len(chunk) % 4))


def _framed(kind: int, count: int, body: bytes) -> bytes:
    body += bytes(-len(body) % 4)
    return struct.pack("!BBH", 0x80 | count, kind, len(body) // 4) + body


def ntp_to_ns(ntp: int) -> int:
    """Nanoseconds since 1970 (UTC) of a 64-bit NTP time.

    Times whose top bit is clear lie after 2036, as RFC 4330, section 3 has it.
    """
    seconds, fraction = ntp >> 32, ntp & 0xFFFFFFFF
    if not seconds & 0x80000000:
        seconds += 1 << 32
    return (seconds - NTP_TO_UNIX_S) * 1_000_000_000 + (fraction * 1_000_000_000 + (1 << 31) >> 32)


def ns_to_ntp(ns: int) -> int:
    """The 64-bit NTP time of nanoseconds since 1970; ``ntp_to_ns`` gives them back exactly."""
    seconds, rest = divmod(ns, 1_000_000_000)
    fraction = ((rest << 32) + 500_000_000) // 1_000_000_000
    return ((seconds + NTP_TO_UNIX_S << 32) + fraction) & 0xFFFFFFFFFFFFFFFF
