"""H.265 over RTP (RFC 7798): single NAL units, aggregation packets and fragmentation units.

Note [No part of an H.265 picture]
libav conceals nothing in H.265: what is missing of a picture is what its memory held before, and
neither that picture nor those that refer to it say so. Shown up to the next keyframe they are 5 dB
worse than the last whole picture again (x265, bursts of four packets, 5 % lost; single clips 19).
Of a picture that never came libav does know, and gives none of those that need it: so one that is
not whole is left out.
"""

from __future__ import annotations

from streamer.rtp.access_units import OpenUnit
from streamer.rtp.bits import BitReader, OutOfBits, unescape
from streamer.rtp.h264 import recovery_point
from streamer.rtp.nal_units import IDR, RECOVERY, SOFT_RECOVERY, NalUnpacker
from streamer.rtp.unit import TrackFormat, UnsupportedFormat

_FIRST_IRAP, _LAST_IRAP, _LAST_PICTURE = 16, 21, 31
_VPS, _SPS, _PPS, _DELIMITER, _PREFIX_SEI = 32, 33, 34, 35, 39
_TRAILING = (36, 37, 38, 40)
"""End of sequence, end of stream, filler, suffix SEI: they belong to the picture before."""
_AP, _FU, _PACI = 48, 49, 50


class H265Unpacker(NalUnpacker):
    """Payloads of H.265 into pieces of access units."""

    header_bytes = 2

    def __init__(self, format: TrackFormat) -> None:
        """Raises ``UnsupportedFormat`` where NAL units come in another order than decoded."""
        super().__init__((_VPS, _SPS, _PPS))
        if format.number("sprop-depack-buf-nalus"):
            raise UnsupportedFormat(
                "the H.265 track is interleaved (sprop-depack-buf-nalus is not 0), which is not "
                "read here; set the sender to send NAL units in decoding order"
            )
        self._don_bytes = 2 if format.number("sprop-max-don-diff") else 0
        for name in ("sprop-vps", "sprop-sps", "sprop-pps"):
            self.read_sets(format.fmtp.get(name, ""))

    def add(self, unit: OpenUnit, payload: bytes) -> None:
        """As in ``Unpacker``."""
        if len(payload) < 2 + self._don_bytes:
            unit.is_damaged = True
            return
        kind = payload[0] >> 1 & 0x3F
        if kind == _FU:
            self._add_fragment(unit, payload)
        elif payload.startswith((b"\0\0\1", b"\0\0\0\1")):
            # Type 0 with layer 0 and a temporal id of -1 is no NAL unit.
            self.add_stray(unit, payload)
        elif kind < _AP:
            self.add_nal(unit, payload[:2] + payload[4:] if self._don_bytes else payload)
        elif kind == _AP:
            # Each unit but the first has a difference of decoding order in a byte before it.
            self.add_aggregate(unit, payload, 2 + self._don_bytes, skip=self._don_bytes // 2)
        elif kind == _PACI:
            unit.is_damaged = True

    def _add_fragment(self, unit: OpenUnit, payload: bytes) -> None:
        if len(payload) < 4:
            unit.is_damaged = True
            return
        state = payload[2]
        if state & 0x80:
            kind = state & 0x3F
            if kind >= _AP:
                unit.is_damaged = True
                return
            header = bytes((payload[0] & 0x81 | kind << 1, payload[1]))
            self.begin_fragments(unit, kind, header, payload[3 + self._don_bytes :])
        elif unit.fragment != state & 0x3F:
            # Its beginning never came.
            unit.is_damaged = True
            return
        else:
            unit.pieces.append(payload[3:])
            unit.size += len(payload)
        if state & 0x40 and not unit.is_damaged:
            self.end_fragments(unit)

    def begins_picture(self, payload: bytes) -> bool:
        """As in ``Unpacker``: a delimiter, or a picture's first slice segment."""
        kind = payload[0] >> 1 & 0x3F
        at = 2
        if kind == _FU and len(payload) > 2:
            if not payload[2] & 0x80:
                return False
            kind = payload[2] & 0x3F
            at = 3
        at += self._don_bytes
        if kind == _AP and len(payload) > at + 2:
            at += 2
            kind = payload[at] >> 1 & 0x3F
            at += 2
        if kind == _DELIMITER:
            return True
        return kind <= _LAST_PICTURE and len(payload) > at and payload[at] >= 0x80

    def cut(self, unit: OpenUnit) -> None:
        """As in ``Unpacker``; see Note [No part of an H.265 picture]."""
        unit.is_damaged = True

    def kind_of(self, nal: bytes) -> int:
        return nal[0] >> 1 & 0x3F

    def is_picture(self, kind: int) -> bool:
        return kind <= _LAST_PICTURE

    def begin(self, unit: OpenUnit, kind: int, head: bytes) -> None:
        """As in ``NalUnpacker``."""
        if kind <= _LAST_PICTURE:
            if not unit.has_picture:
                unit.begin_picture(is_whole=len(head) > 2 and head[2] >= 0x80)
                unit.is_damaged = not unit.starts_whole
            if _FIRST_IRAP <= kind <= _LAST_IRAP:
                unit.flags |= IDR
        elif kind >= _AP:
            unit.is_damaged = True

    def examine(self, unit: OpenUnit, kind: int, nal: bytes) -> None:
        """As in ``NalUnpacker``."""
        try:
            if kind == _VPS:
                self.keep_set(unit, kind, nal[2] >> 4, nal)
            elif kind == _SPS:
                self.keep_set(unit, kind, _sps_number(nal), nal)
            elif kind == _PPS:
                self.keep_set(unit, kind, BitReader(unescape(nal[2:16])).ue(), nal)
            elif kind == _PREFIX_SEI:
                _examine_sei(unit, nal)
            elif kind == _DELIMITER:
                self.mark_delimiter(unit)
            elif kind in _TRAILING and not unit.has_picture:
                self._leave_out(unit, nal)
        except (OutOfBits, IndexError):
            # A decoder will refuse it; it is not ours to keep.
            return

    def _leave_out(self, unit: OpenUnit, nal: bytes) -> None:
        """Its picture has left already: before the next one it would be out of place."""
        del unit.pieces[unit.nal_at :]
        unit.size -= len(nal) + 4


def _sps_number(nal: bytes) -> int:
    """sps_seq_parameter_set_id (H.265, section 7.3.2.2), behind profile_tier_level (7.3.3)."""
    reader = BitReader(unescape(nal[2:160]))
    reader.bits(4)
    sub_layers = reader.bits(3)
    reader.bits(1 + 88 + 8)
    present = [(reader.bits(1), reader.bits(1)) for _ in range(sub_layers)]
    if sub_layers:
        reader.bits(2 * (8 - sub_layers))
    for has_profile, has_level in present:
        reader.bits(88 * has_profile + 8 * has_level)
    return reader.ue()


def _examine_sei(unit: OpenUnit, nal: bytes) -> None:
    """A recovery point counts in pictures, se(v): a first bit of 1 is 0 (H.265, section D.2.8)."""
    found = recovery_point(unescape(nal[2:]))
    if found:
        unit.flags |= RECOVERY if found[0] >= 0x80 else SOFT_RECOVERY
