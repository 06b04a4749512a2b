"""What H.264 and H.265 share: NAL units from fragments, and parameter sets kept for keyframes."""

from __future__ import annotations

import base64
import binascii
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence

from streamer.rtp.access_units import OpenUnit
from streamer.rtp.annex_b import START, nal_units

IDR, RECOVERY, SOFT_RECOVERY, INTER = 1, 2, 4, 8
"""``OpenUnit.flags``: a picture that depends on none; a point to join at; one from which pictures
become right little by little; slices that need others."""
_SET_FLAG = 16

MAX_SETS = 64
MAX_SET_BYTES = 16 << 10
SOFT_AFTER_UNITS = 250
"""Without an IDR for so many units (8 s at 30 fps), a stream is taken to refresh little by little."""


class ParameterSets:
    """The newest parameter sets of a stream, by kind and number."""

    def __init__(self, kinds: Sequence[int]) -> None:
        """``kinds`` are their NAL unit types, in the order a decoder needs them."""
        self.kinds = tuple(kinds)
        self._sets: dict[tuple[int, int], bytes] = {}

    def keep(self, kind: int, number: int, nal: bytes) -> None:
        """Remember one; those past any stream's need are not kept."""
        key = (kind, number)
        if len(nal) <= MAX_SET_BYTES and (key in self._sets or len(self._sets) < MAX_SETS):
            self._sets[key] = nal

    def of_kind(self, kind: int) -> list[bytes]:
        return [nal for key, nal in sorted(self._sets.items()) if key[0] == kind]

    @property
    def is_complete(self) -> bool:
        """Whether there is one of each kind."""
        return {kind for kind, _ in self._sets} == set(self.kinds)


class NalUnpacker(ABC):
    """The common part of the two unpackers; see ``Unpacker``."""

    header_bytes: int
    """How long the header of a NAL unit is."""

    def __init__(self, kinds: Sequence[int]) -> None:
        self.sets = ParameterSets(kinds)
        self._flags = {kind: _SET_FLAG << index for index, kind in enumerate(kinds)}
        self._all_sets = sum(self._flags.values())
        self._since_idr = SOFT_AFTER_UNITS
        """At first any point to join at is welcome."""

    @property
    def is_soft(self) -> bool:
        """Whether the stream seems to have no IDR: any point to join at must do."""
        return self._since_idr >= SOFT_AFTER_UNITS

    def read_sets(self, text: str) -> None:
        """Keep the parameter sets of an SDP: base64, separated by commas. Bad ones are skipped."""
        for part in text.split(","):
            try:
                nal = base64.b64decode(part.strip() + "==")
            except binascii.Error:
                continue
            # Some cameras describe them with a start code.
            nal = re.sub(rb"^\x00{2,3}\x01", b"", nal)
            if len(nal) > 2:
                self.examine(OpenUnit(0), self.kind_of(nal), nal)

    @abstractmethod
    def kind_of(self, nal: bytes) -> int:
        """The NAL unit's type."""

    @abstractmethod
    def begin(self, unit: OpenUnit, kind: int, head: bytes) -> None:
        """A NAL unit begins; ``head`` is its header and at least some of what follows."""

    @abstractmethod
    def examine(self, unit: OpenUnit, kind: int, nal: bytes) -> None:
        """A NAL unit that is no picture data is complete."""

    @abstractmethod
    def is_picture(self, kind: int) -> bool:
        """Whether NAL units of this type hold picture data."""

    def add_nal(self, unit: OpenUnit, nal: bytes) -> None:
        """Append a whole NAL unit, its header at its front."""
        kind = self.kind_of(nal)
        if unit.fragment >= 0:
            unit.is_damaged = True
            return
        self.begin(unit, kind, nal)
        unit.nal_at = len(unit.pieces)
        unit.pieces += (START, nal)
        unit.size += len(nal) + 4
        if not self.is_picture(kind):
            self.examine(unit, kind, nal)

    def cut(self, unit: OpenUnit) -> None:
        """As in ``Unpacker``: a slice that stops is of use, half a parameter set does harm."""
        if unit.fragment >= 0 and not self.is_picture(unit.fragment):
            del unit.pieces[unit.nal_at :]

    def add_stray(self, unit: OpenUnit, payload: bytes) -> None:
        """Append what some encoders send against the RFC: NAL units with their start codes."""
        for nal in nal_units(payload):
            if len(nal) >= self.header_bytes:
                self.add_nal(unit, nal)

    def add_aggregate(self, unit: OpenUnit, payload: bytes, at: int, skip: int = 0) -> None:
        """Append NAL units that each follow their 16-bit length, from ``at`` on.

        ``skip`` bytes stand before each length but the first.
        """
        end = len(payload)
        while at < end:
            start = at + 2
            at = start + int.from_bytes(payload[at:start], "big")
            if at > end or start > end:
                unit.is_damaged = True
                return
            if at >= start + self.header_bytes:
                self.add_nal(unit, payload[start:at])
            at += skip if at < end else 0

    def begin_fragments(self, unit: OpenUnit, kind: int, header: bytes, data: bytes) -> None:
        """The first part of a NAL unit whose header is ``header``."""
        if unit.fragment >= 0:
            unit.is_damaged = True
            return
        self.begin(unit, kind, header + data[:64])
        unit.fragment = kind
        unit.nal_at = len(unit.pieces)
        unit.pieces += (START, header, data)
        unit.size += len(data) + 6

    def end_fragments(self, unit: OpenUnit) -> None:
        """The last part has been appended."""
        kind, unit.fragment = unit.fragment, -1
        if not self.is_picture(kind):
            self.examine(unit, kind, b"".join(unit.pieces[unit.nal_at + 1 :]))

    def mark_delimiter(self, unit: OpenUnit) -> None:
        """A delimiter is complete: parameter sets that are added stand behind it."""
        if unit.nal_at == 0:
            unit.insert_at = len(unit.pieces)

    def keep_set(self, unit: OpenUnit, kind: int, number: int, nal: bytes) -> None:
        """A parameter set is part of the unit; it serves later keyframes too."""
        unit.flags |= self._flags[kind]
        self.sets.keep(kind, number, nal)

    def finish(self, unit: OpenUnit) -> tuple[bytes, bool]:
        """As in ``Unpacker``: keyframes get the parameter sets that they lack."""
        flags = unit.flags
        is_soft = self.is_soft
        self._since_idr = 0 if flags & IDR else self._since_idr + 1
        is_keyframe = bool(flags & (IDR | RECOVERY))
        if is_soft and not is_keyframe:
            is_keyframe = bool(flags & SOFT_RECOVERY) or self.is_intra(unit)
        # No decoder can start without them, whatever the picture is.
        is_keyframe = is_keyframe and self.sets.is_complete
        if is_keyframe and flags & self._all_sets != self._all_sets:
            self._add_missing(unit)
        return b"".join(unit.pieces), is_keyframe

    def is_intra(self, unit: OpenUnit) -> bool:
        """Whether the picture is known to need no other; asked only where ``is_soft``."""
        return False

    def _add_missing(self, unit: OpenUnit) -> None:
        """What has none of the unit's own before it goes to its front; the rest to the picture."""
        front: list[bytes] = []
        late: list[bytes] = []
        has_own = False
        for kind in self.sets.kinds:
            if unit.flags & self._flags[kind]:
                has_own = True
                continue
            for nal in self.sets.of_kind(kind):
                (late if has_own else front).extend((START, nal))
        unit.pieces[unit.picture_at : unit.picture_at] = late
        unit.pieces[unit.insert_at : unit.insert_at] = front
