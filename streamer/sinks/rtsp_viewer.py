"""One RTSP client as the mount sees it: its own ring of shared packets, and its clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import TypeAlias

from streamer.rtp.packetise_burst import RtpBurst
from streamer.sinks.packet_ring import PacketRing

Parcel: TypeAlias = tuple[int, RtpBurst]
"""A track's number, and one of its access units."""


@dataclass(frozen=True, slots=True)
class MediaAnchor:
    """Which wall-clock instant a media time stood for; both run on at the same pace."""

    media_s: Fraction
    wall_ns: int
    """Since 1970, UTC."""

    def media_at(self, wall_ns: int) -> Fraction:
        """Media time in seconds."""
        return self.media_s + Fraction(wall_ns - self.wall_ns, 1_000_000_000)


class RtspViewer:
    """From PLAY to PAUSE or to the end; begins with a keyframe where it has video."""

    def __init__(self, tracks: Iterable[int], *, has_video: bool, ring_packets: int) -> None:
        self.tracks = frozenset(tracks)
        self._has_video = has_video
        self._ring: PacketRing[Parcel] = PacketRing(ring_packets)
        self._ring.open()
        self.sent_bytes = 0
        """Counted by whoever takes."""

    @property
    def dropped(self) -> int:
        """Packets that it lost because it was slow."""
        return self._ring.dropped

    @property
    def needs_keyframe(self) -> bool:
        return self._has_video and self._ring.needs_keyframe

    def push(self, number: int, burst: RtpBurst) -> bool:
        """Queue one access unit of a track; true when its ring overflowed for it."""
        if number not in self.tracks:
            return False
        # Sound alone can be taken up anywhere; beside a picture it waits for the keyframe too.
        is_start = burst.is_keyframe or not self._has_video
        return self._ring.push((number, burst), is_keyframe=is_start)

    async def take(self) -> Parcel:
        """The oldest one; raises ``RingClosed`` at the end."""
        return await self._ring.take()

    def close(self) -> None:
        self._ring.close()
