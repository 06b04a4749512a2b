"""Gathers the packets of coded pictures and releases each picture at its marker bit."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from streamer.rtp.packet import RtpPacket
from streamer.rtp.unit import MAX_UNIT_BYTES, AccessUnit

PROOF_UNITS = 8
MAX_PROOF_UNITS = 8192
MAX_PIECES = 1 << 16
"""A unit in more pieces is refused: tiny ones would take far more memory than they hold."""


class OpenUnit:
    """A picture that is still arriving; the codec's unpacker fills it."""

    __slots__ = (
        "arrived_ns",
        "flags",
        "follows_gap",
        "fragment",
        "has_picture",
        "insert_at",
        "is_damaged",
        "is_early_marked",
        "is_marked",
        "nal_at",
        "picture_at",
        "pieces",
        "size",
        "starts_whole",
        "timestamp",
    )

    def __init__(self, timestamp: int) -> None:
        self.timestamp = timestamp
        self.pieces: list[bytes] = []
        """Joined, they are the unit."""
        self.size = 0
        self.arrived_ns = 0
        self.is_damaged = False
        """Something of it is missing or makes no sense."""
        self.follows_gap = False
        self.has_picture = False
        """Coded picture data has begun, not only what stands before it."""
        self.starts_whole = False
        """The first of that data is where a picture begins."""
        self.fragment = -1
        """The kind of NAL unit that is in the middle of arriving in fragments, or -1."""
        self.nal_at = 0
        """In ``pieces``: where the newest NAL unit begins."""
        self.insert_at = 0
        """In ``pieces``: where parameter sets belong when the unit has none."""
        self.picture_at = 0
        """In ``pieces``: where the picture's data begins."""
        self.flags = 0
        """The unpacker's own."""
        self.is_marked = False
        """The newest packet had the marker bit and the picture's data could end there."""
        self.is_early_marked = False
        """Such a packet was followed by more of the same picture."""

    def begin_picture(self, *, is_whole: bool) -> None:
        """Picture data comes next; ``is_whole`` if the picture itself begins with it."""
        self.has_picture = True
        self.starts_whole = is_whole
        self.picture_at = len(self.pieces)


class Unpacker(Protocol):
    """One codec's way of cutting pictures into payloads. Nothing it is given makes it raise."""

    def add(self, unit: OpenUnit, payload: bytes) -> None:
        """Append what the payload, never empty, holds; mark the unit damaged where it must."""

    def begins_picture(self, payload: bytes) -> bool:
        """Whether the payload opens with what stands first in a picture."""

    def finish(self, unit: OpenUnit) -> tuple[bytes, bool]:
        """The complete unit's bytes, and whether a decoder can start with it."""


class Release(Enum):
    """What ends a unit."""

    MARKER = "marker"
    """The marker bit, or the next time stamp where a sender never sets it."""
    NEXT = "next"
    """Only what comes next: this sender sets the marker within pictures."""


class PictureAssembler:
    """The depacketiser of every video codec.

    Note [When a unit is complete]
    RFC 6184, 7798 and 7741 set the marker bit on a picture's last packet. Releasing there instead
    of at the first packet of the next picture saves one frame interval. Three kinds of senders:

    1. They mark the last packet: released at once.
    2. They never mark: released when the time stamp changes or a new picture begins.
    3. They mark every NAL unit. A marker before any picture data (on SPS, PPS, SEI) ends nothing,
       so one-slice pictures still leave at once. With several slices the first marker comes too
       early: seen when a picture continues after it was released, or at the very start when a
       parameter set was marked. From then on ``Release.NEXT`` holds, until ``PROOF_UNITS``
       units in a row were marked only at their end; four times as many after each relapse.
    """

    def __init__(self, unpacker: Unpacker) -> None:
        self._unpacker = unpacker
        self._unit: OpenUnit | None = None
        self._follows_loss = False
        self._released: int | None = None
        """Time stamp of the newest unit, if its marker ended it."""
        self._is_joining = True
        self._is_proven = False
        self._streak = 0
        self._proof = PROOF_UNITS
        self.release = Release.MARKER
        self.refused = 0

    @property
    def extradata(self) -> bytes:
        return b""

    def push(
        self, packet: RtpPacket, *, timestamp: int, lost_before: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """As in ``Depacketiser``."""
        ready: list[AccessUnit] = []
        unit = self._unit
        if lost_before:
            self._follows_loss = True
            unit = self._after_gap(timestamp)
        payload = packet.payload
        if not payload:
            return ready
        if unit is not None and (unit.timestamp != timestamp or unit.has_picture):
            unit = self._continue(unit, payload, timestamp, ready)
        if unit is None:
            unit = self._open(timestamp, follows_gap=lost_before > 0)
        if arrived_ns > unit.arrived_ns:  # noqa: PLR1730 - max() costs 50 ns per packet
            unit.arrived_ns = arrived_ns
        if not unit.is_damaged:
            self._fill(unit, payload)
        if packet.marker:
            self._on_marker(unit, ready)
        return ready

    def flush(self) -> list[AccessUnit]:
        """As in ``Depacketiser``; where markers are set, what has none lacks its end."""
        ready: list[AccessUnit] = []
        unit = self._unit
        if unit is not None and unit.has_picture:
            is_unmarked = self._released is not None and self.release is Release.MARKER
            unit.is_damaged = unit.is_damaged or is_unmarked
            self._close(unit, ready)
        self.restart()
        return ready

    def restart(self) -> None:
        """As in ``Depacketiser``."""
        self._unit = None
        self._released = None
        self._is_joining = True
        self._follows_loss = True

    def _open(self, timestamp: int, *, follows_gap: bool) -> OpenUnit:
        unit = self._unit = OpenUnit(timestamp)
        unit.follows_gap = follows_gap or self._is_joining
        self._is_joining = False
        if self._released is not None and timestamp != self._released:
            self._is_proven = True
        return unit

    def _after_gap(self, timestamp: int) -> OpenUnit | None:
        """What is open may have lost its end: it can only be given up."""
        unit = self._unit
        if unit is None:
            return None
        if unit.timestamp == timestamp:
            self._damage(unit)
            return unit
        if unit.has_picture:
            self.refused += 1
        self._unit = None
        return None

    def _continue(
        self, unit: OpenUnit, payload: bytes, timestamp: int, ready: list[AccessUnit]
    ) -> OpenUnit | None:
        """The unit that this payload belongs to; ``None`` if it opens a new one."""
        if unit.timestamp != timestamp:
            if unit.has_picture:
                self._close(unit, ready)
                return None
            # Parameter sets may be sent ahead with a time stamp of their own.
            unit.timestamp = timestamp
            return unit
        if unit.fragment < 0 and self._unpacker.begins_picture(payload):
            self._close(unit, ready)
            return None
        if unit.is_marked:
            unit.is_early_marked = True
            unit.is_marked = False
        return unit

    def _fill(self, unit: OpenUnit, payload: bytes) -> None:
        had_picture = unit.has_picture
        self._unpacker.add(unit, payload)
        if unit.has_picture and not had_picture and not unit.starts_whole:
            if unit.timestamp == self._released:
                self._hold_back()
                self._damage(unit)
                return
            if unit.follows_gap:
                unit.is_damaged = True
        if unit.is_damaged or unit.size > MAX_UNIT_BYTES or len(unit.pieces) > MAX_PIECES:
            self._damage(unit)

    def _on_marker(self, unit: OpenUnit, ready: list[AccessUnit]) -> None:
        if unit.is_damaged:
            if self.release is Release.MARKER:
                self._released = unit.timestamp
                self._close(unit, ready)
            return
        if unit.fragment >= 0:
            return
        if not unit.has_picture:
            if not self._is_proven:
                self.release = Release.NEXT
            return
        if self.release is Release.MARKER:
            self._released = unit.timestamp
            self._close(unit, ready)
        else:
            unit.is_marked = True

    def _close(self, unit: OpenUnit, ready: list[AccessUnit]) -> None:
        self._unit = None
        if unit.is_damaged or unit.fragment >= 0:
            self.refused += 1
            self._follows_loss = True
            return
        if self.release is Release.NEXT:
            self._prove(unit)
        elif unit.timestamp != self._released:
            self._released = None
        payload, is_keyframe = self._unpacker.finish(unit)
        follows_loss, self._follows_loss = self._follows_loss, False
        ready.append(
            AccessUnit(
                payload=payload,
                timestamp=unit.timestamp,
                is_keyframe=is_keyframe,
                follows_loss=follows_loss,
                arrived_ns=unit.arrived_ns,
            )
        )

    def _prove(self, unit: OpenUnit) -> None:
        """Count the units whose only marker stood at their end."""
        self._streak = self._streak + 1 if unit.is_marked and not unit.is_early_marked else 0
        if self._streak >= self._proof:
            self.release = Release.MARKER
            self._is_proven = True
            self._released = None

    def _hold_back(self) -> None:
        """A picture went on after its marker: from now on only the next one ends it."""
        self.release = Release.NEXT
        self._streak = 0
        self._proof = min(4 * self._proof, MAX_PROOF_UNITS)

    def _damage(self, unit: OpenUnit) -> None:
        unit.is_damaged = True
        # So that the next picture is seen to begin, even if the time stamp never changes.
        unit.has_picture = True
        unit.fragment = -1
        unit.pieces.clear()
        unit.size = 0
