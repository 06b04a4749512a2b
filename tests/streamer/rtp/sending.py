"""A sender for tests: pictures cut into RTP packets in any lawful way, and a network that loses."""

from __future__ import annotations

import random
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from streamer.rtp.packet import RtpPacket
from streamer.rtp.receiver import TrackReceiver
from streamer.rtp.unit import AccessUnit

START = b"\0\0\0\1"
MS = 1_000_000


@dataclass(frozen=True)
class Picture:
    """NAL units, and from which one on they are picture data."""

    nals: tuple[bytes, ...]
    first_slice: int
    is_keyframe: bool = False

    @property
    def payload(self) -> bytes:
        return b"".join(START + nal for nal in self.nals)

    @property
    def slices(self) -> bytes:
        return b"".join(START + nal for nal in self.nals[self.first_slice :])


def is_part_of(payload: bytes, picture: Picture) -> bool:
    """Whether a payload is some of the picture's slices, in their order, whole or cut short.

    What stands before the first one is not looked at.
    """
    slices = picture.nals[picture.first_slice :]
    left = payload.split(START)[1:]
    while left and not any(nal.startswith(left[0]) for nal in slices):
        left.pop(0)
    found = bool(left)
    for nal in slices:
        if left and nal.startswith(left[0]):
            left.pop(0)
    return found and not left


@dataclass
class Sender:
    """Numbers payloads; wraps of sequence and timestamp come early."""

    payload_type: int = 96
    sequence: int = 65_500
    timestamp: int = 2**32 - 20_000
    ssrc: int = 0x1234
    sent: list[RtpPacket] = field(default_factory=list)

    def send(self, payload: bytes, *, marker: bool) -> None:
        packet = RtpPacket(
            self.payload_type,
            self.sequence & 0xFFFF,
            self.timestamp & 0xFFFFFFFF,
            self.ssrc,
            marker,
            payload,
        )
        self.sequence += 1
        self.sent.append(packet)


def as_bytes(packet: RtpPacket) -> bytes:
    second = packet.payload_type | (0x80 if packet.marker else 0)
    numbers = packet.sequence, packet.timestamp, packet.ssrc
    return struct.pack("!BBHII", 0x80, second, *numbers) + packet.payload


def cut_h264(
    nals: Sequence[bytes], *, size: int, rng: random.Random, aggregates: bool
) -> list[tuple[bytes, bool]]:
    """Payloads, and whether one or more NAL units are complete after each (RFC 6184)."""
    payloads: list[tuple[bytes, bool]] = []
    at = 0
    while at < len(nals):
        nal = nals[at]
        together = rng.randint(1, 3) if aggregates else 1
        group = nals[at : at + together]
        if together > 1 and sum(len(one) + 2 for one in group) < size:
            body = b"".join(len(one).to_bytes(2, "big") + one for one in group)
            payloads.append((bytes((0x78,)) + body, True))
            at += len(group)
            continue
        if (len(nal) <= size and rng.random() < 0.8) or len(nal) < 3:
            payloads.append((nal, True))
        else:
            parts = _parts(nal[1:], size)
            for index, part in enumerate(parts):
                state = nal[0] & 0x1F | 0x80 * (index == 0) | 0x40 * (index == len(parts) - 1)
                head = bytes((nal[0] & 0xE0 | 28, state))
                payloads.append((head + part, index == len(parts) - 1))
        at += 1
    return payloads


def cut_h265(
    nals: Sequence[bytes], *, size: int, rng: random.Random, aggregates: bool, don: bool = False
) -> list[tuple[bytes, bool]]:
    """As ``cut_h264``, by RFC 7798; ``don`` adds the fields of decoding order."""
    payloads: list[tuple[bytes, bool]] = []
    number = b"\1\2" if don else b""
    at = 0
    while at < len(nals):
        nal = nals[at]
        together = rng.randint(2, 3) if aggregates and rng.random() < 0.5 else 1
        group = nals[at : at + together]
        if len(group) > 1 and sum(len(one) + 3 for one in group) < size:
            lengths = [len(one).to_bytes(2, "big") + one for one in group]
            body = (b"\0" if don else b"").join(lengths)
            payloads.append((bytes((48 << 1, 1)) + number + body, True))
            at += len(group)
            continue
        if (len(nal) <= size and rng.random() < 0.8) or len(nal) < 4:
            payloads.append((nal[:2] + number + nal[2:], True))
        else:
            parts = _parts(nal[2:], size)
            kind = nal[0] >> 1 & 0x3F
            for index, part in enumerate(parts):
                state = kind | 0x80 * (index == 0) | 0x40 * (index == len(parts) - 1)
                head = bytes((nal[0] & 0x81 | 49 << 1, nal[1], state))
                first = number if index == 0 else b""
                payloads.append((head + first + part, index == len(parts) - 1))
        at += 1
    return payloads


def cut_vp8(frame: bytes, *, size: int, descriptor: bytes = b"\x10") -> list[bytes]:
    """Payloads by RFC 7741; ``descriptor`` is the first one's, later ones drop its S bit."""
    later = bytes((descriptor[0] & ~0x10,)) + descriptor[1:]
    parts = _parts(frame, size)
    return [(later if index else descriptor) + part for index, part in enumerate(parts)]


def _parts(data: bytes, size: int) -> list[bytes]:
    """At least two where the data allows it: one fragment alone is against the RFCs."""
    size = max(1, min(size, (len(data) + 1) // 2))
    return [data[at : at + size] for at in range(0, len(data), size)]


def through(
    receiver: TrackReceiver,
    packets: Sequence[RtpPacket],
    *,
    rng: random.Random | None = None,
    loss: float = 0.0,
    twice: float = 0.0,
    late_ms: int = 0,
    spared: int = 1,
) -> tuple[list[AccessUnit], set[int]]:
    """The units that come out of a network, and the indices of the packets that it lost.

    A packet leaves every millisecond and is up to ``late_ms`` on its way. The first ``spared``
    ones are neither lost nor late, so the receiver knows where the sender began; nor is the last
    one lost, so it knows where the sender ended.
    """
    rng = rng or random.Random(0)
    lost: set[int] = set()
    arriving: list[tuple[float, RtpPacket]] = []
    for index, packet in enumerate(packets):
        if spared <= index < len(packets) - 1 and rng.random() < loss:
            lost.add(index)
            continue
        delay = rng.uniform(0.0, late_ms) if index >= spared else 0.0
        arriving.append((index + delay, packet))
        if rng.random() < twice:
            arriving.append((index + rng.uniform(delay, late_ms), packet))
    arriving.sort(key=lambda pair: pair[0])
    units: list[AccessUnit] = []
    for at_ms, packet in arriving:
        now_ns = int(at_ms * MS)
        while (due_ns := receiver.next_due_ns) is not None and due_ns <= now_ns:
            units += receiver.due(due_ns)
        units += receiver.receive(as_bytes(packet), now_ns)
    return units + receiver.flush(), lost


def gaps(count: int, lost: set[int]) -> int:
    """How many of ``count`` packets are missing before the last one that arrived."""
    arrived = [index for index in range(count) if index not in lost]
    return sum(index < arrived[-1] for index in lost)
