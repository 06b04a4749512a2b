"""Gathers the packets of coded pictures and releases each picture at its marker bit."""

from __future__ import annotations

from enum import Enum
from typing import Protocol

from streamer.frame import Gap
from streamer.rtp.packet import RtpPacket
from streamer.rtp.unit import MAX_UNIT_BYTES, AccessUnit

PROOF_UNITS = 8
MAX_PROOF_UNITS = 8192
MAX_GAPS = 64
"""In one picture; with more there is nothing left to make the rest of, and each costs a look at all
that came."""
MAX_PIECES = 1 << 16
"""A unit in more pieces is refused: tiny ones would take far more memory than they hold."""


class OpenUnit:
    """A picture that is still arriving; the codec's unpacker fills it."""

    __slots__ = (
        "arrived_ns",
        "flags",
        "follows_gap",
        "fragment",
        "gaps",
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
        """Something of it makes no sense: it is given up."""
        self.gaps: list[Gap] = []
        """Where packets of it never came; what did is kept."""
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

    def cut(self, unit: OpenUnit) -> None:
        """The packets after the newest never came: keep what a decoder can use, or mark the unit
        damaged."""

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

    Note [Pictures with gaps]
    A picture that lost packets is handed on with what came of it, and says so. libav makes up the
    rest and the pictures after it refer to more that is right: over a picture left out that is worth
    2.0 dB with one slice a picture and 5.1 with four (H.264 at 2 Mbit/s, bursts of 3 packets, 5 % lost,
    every picture up to the next keyframe). Of a slice that stops in its middle the beginning is
    kept: 1 to 2 dB of these. A parameter set is whole or left out.
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
            unit = self._after_gap(timestamp, lost_before, ready)
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
        if self._released is not None and timestamp != self._released:
            self._is_proven = True
        return unit

    def _after_gap(self, timestamp: int, lost: int, ready: list[AccessUnit]) -> OpenUnit | None:
        """What is open goes on behind the gap, or has lost its end in it."""
        unit = self._unit
        if unit is not None:
            self._cut(unit, lost)
            if unit.timestamp == timestamp:
                return unit
            if unit.has_picture:
                self._close(unit, ready)
            self._unit = None
        # Whole pictures may have been in the gap.
        self._follows_loss = True
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
                self._give_up(unit)
                return
            if unit.follows_gap and not unit.gaps:
                unit.gaps.append(Gap(0, 0))
        if unit.is_damaged and (unit.gaps or unit.follows_gap):
            # A fragment whose beginning was lost, most likely: as good as lost itself.
            unit.is_damaged = False
            self._unpacker.cut(unit)
            self._widen_gap(unit, len(payload))
        if unit.is_damaged or unit.size > MAX_UNIT_BYTES or len(unit.pieces) > MAX_PIECES:
            self._give_up(unit)

    def _on_marker(self, unit: OpenUnit, ready: list[AccessUnit]) -> None:
        if unit.fragment >= 0:
            return
        if unit.is_damaged or unit.gaps:
            if self.release is Release.MARKER:
                self._close(unit, ready)
                self._released = unit.timestamp
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
        follows_loss = self._follows_loss
        self._follows_loss = bool(unit.gaps) or unit.is_damaged or unit.fragment >= 0
        if self._follows_loss:
            self.refused += 1
            if not self._is_usable(unit):
                return
        elif self.release is Release.NEXT:
            self._prove(unit)
        elif unit.timestamp != self._released:
            self._released = None
        self._is_joining = False
        own_bytes = sum(map(len, unit.pieces)) if unit.gaps else 0
        payload, is_keyframe = self._unpacker.finish(unit)
        # Parameter sets that it lacked stand before all its slices.
        added_bytes = len(payload) - own_bytes
        ready.append(
            AccessUnit(
                payload=payload,
                timestamp=unit.timestamp,
                is_keyframe=is_keyframe and not unit.gaps,
                gaps=tuple(Gap(at + added_bytes, missing) for at, missing in unit.gaps),
                follows_loss=follows_loss,
                arrived_ns=unit.arrived_ns,
            )
        )

    def _is_usable(self, unit: OpenUnit) -> bool:
        """Whether a decoder can make something of a unit that is not whole."""
        if unit.is_damaged or unit.fragment >= 0 or not unit.has_picture:
            return False
        # Before the first whole picture there is nothing that the missing parts could be made of,
        # and what follows a picture's marker is no picture.
        return not self._is_joining and unit.timestamp != self._released

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

    def _cut(self, unit: OpenUnit, lost: int) -> None:
        """So many packets are missing after what came."""
        if unit.is_damaged:
            return
        self._unpacker.cut(unit)
        unit.fragment = -1
        sizes = [len(piece) for piece in unit.pieces]
        at, missing_bytes = sum(sizes), lost * max(sizes, default=0)
        if unit.gaps and unit.gaps[-1].at == at:
            self._widen_gap(unit, missing_bytes)
        else:
            unit.gaps.append(Gap(at, missing_bytes))
        if unit.is_damaged or len(unit.gaps) > MAX_GAPS:
            self._give_up(unit)

    def _widen_gap(self, unit: OpenUnit, missing_bytes: int) -> None:
        last = unit.gaps.pop() if unit.gaps else Gap(sum(map(len, unit.pieces)), 0)
        unit.gaps.append(Gap(last.at, last.missing_bytes + missing_bytes))
        unit.fragment = -1

    def _give_up(self, unit: OpenUnit) -> None:
        unit.is_damaged = True
        # So that the next picture is seen to begin, even if the time stamp never changes.
        unit.has_picture = True
        unit.fragment = -1
        unit.pieces.clear()
        unit.size = 0
