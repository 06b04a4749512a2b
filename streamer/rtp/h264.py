"""H.264 over RTP (RFC 6184): single NAL units, STAP-A and FU-A."""

from __future__ import annotations

from streamer.rtp.access_units import OpenUnit
from streamer.rtp.bits import BitReader, OutOfBits, unescape
from streamer.rtp.nal_units import IDR, INTER, RECOVERY, SOFT_RECOVERY, NalUnpacker
from streamer.rtp.unit import TrackFormat, UnsupportedFormat

_SLICE, _PARTITION_A, _IDR, _SEI, _SPS, _PPS, _DELIMITER = 1, 2, 5, 6, 7, 8, 9
_STAP_A, _FU_A = 24, 28
_INTERLEAVED = (25, 26, 27, 29)
"""STAP-B, MTAP16, MTAP24, FU-B: sent only where packetization-mode=2 was agreed on."""
_RECOVERY_POINT = 6
_MAX_MESSAGES = 32
"""In one SEI NAL unit; more are not looked at, or a hostile one would cost milliseconds."""
_INTRA_SLICES = (2, 4, 7, 9)
_HEADERS = [bytes((value,)) for value in range(256)]


class H264Unpacker(NalUnpacker):
    """Payloads of H.264 into pieces of access units."""

    header_bytes = 1

    def __init__(self, format: TrackFormat) -> None:
        """Raises ``UnsupportedFormat`` for the interleaved mode."""
        super().__init__((_SPS, _PPS))
        if format.number("packetization-mode") == 2:
            raise UnsupportedFormat(
                "the H.264 track is interleaved (packetization-mode=2), which is not read here; "
                "packetization-mode 0 and 1 are: set the sender to one of these"
            )
        self.read_sets(format.fmtp.get("sprop-parameter-sets", ""))

    def add(self, unit: OpenUnit, payload: bytes) -> None:
        """As in ``Unpacker``."""
        kind = payload[0] & 0x1F
        if kind == _FU_A:
            self._add_fragment(unit, payload)
        elif 1 <= kind < _STAP_A:
            self.add_nal(unit, payload)
        elif kind == _STAP_A:
            self.add_aggregate(unit, payload, 1)
        elif kind in _INTERLEAVED:
            unit.is_damaged = True
        elif payload.startswith((b"\0\0\1", b"\0\0\0\1")):
            self.add_stray(unit, payload)

    def _add_fragment(self, unit: OpenUnit, payload: bytes) -> None:
        if len(payload) < 3:
            unit.is_damaged = True
            return
        state = payload[1]
        if state & 0x80:
            kind = state & 0x1F
            if not 1 <= kind < _STAP_A:
                unit.is_damaged = True
                return
            header = _HEADERS[payload[0] & 0xE0 | kind]
            self.begin_fragments(unit, kind, header, payload[2:])
        elif unit.fragment != state & 0x1F:
            # Its beginning never came.
            unit.is_damaged = True
            return
        else:
            unit.pieces.append(payload[2:])
            unit.size += len(payload)
        if state & 0x40 and not unit.is_damaged:
            self.end_fragments(unit)

    def begins_picture(self, payload: bytes) -> bool:
        """As in ``Unpacker``: a delimiter, or the slice with the first macroblock."""
        kind = payload[0] & 0x1F
        if kind == _FU_A and len(payload) > 2 and payload[1] & 0x80:
            return _opens(payload[1] & 0x1F, payload[2])
        if kind == _STAP_A and len(payload) > 4:
            return _opens(payload[3] & 0x1F, payload[4])
        return len(payload) > 1 and _opens(kind, payload[1])

    def kind_of(self, nal: bytes) -> int:
        return nal[0] & 0x1F

    def is_picture(self, kind: int) -> bool:
        return 1 <= kind <= _IDR

    def begin(self, unit: OpenUnit, kind: int, head: bytes) -> None:
        """As in ``NalUnpacker``."""
        if _SLICE <= kind <= _IDR:
            if not unit.has_picture:
                unit.begin_picture(is_whole=len(head) > 1 and head[1] >= 0x80)
            if kind == _IDR:
                unit.flags |= IDR
            elif self.is_soft and not _is_intra_slice(kind, head):
                unit.flags |= INTER
        elif kind >= _STAP_A:
            unit.is_damaged = True

    def examine(self, unit: OpenUnit, kind: int, nal: bytes) -> None:
        """As in ``NalUnpacker``."""
        try:
            if kind == _SPS:
                self.keep_set(unit, kind, BitReader(unescape(nal[4:24])).ue(), nal)
            elif kind == _PPS:
                self.keep_set(unit, kind, BitReader(unescape(nal[1:16])).ue(), nal)
            elif kind == _SEI:
                _examine_sei(unit, nal)
            elif kind == _DELIMITER:
                self.mark_delimiter(unit)
        except OutOfBits:
            # A decoder will refuse it; it is not ours to keep.
            return

    def is_intra(self, unit: OpenUnit) -> bool:
        return not unit.flags & INTER


def _opens(kind: int, second: int) -> bool:
    """``second`` is the byte after the header: its top bit is first_mb_in_slice = 0, in ue(v)."""
    if kind in (_SLICE, _PARTITION_A, _IDR):
        return second >= 0x80
    return kind == _DELIMITER


def _is_intra_slice(kind: int, head: bytes) -> bool:
    """Whether a slice's type (section 7.4.3) says that it needs no other picture."""
    if kind not in (_SLICE, _PARTITION_A):
        # Partitions B and C repeat nothing of their slice's header.
        return True
    reader = BitReader(unescape(head[1:24]))
    try:
        reader.ue()
        return reader.ue() in _INTRA_SLICES
    except OutOfBits:
        return False


def _examine_sei(unit: OpenUnit, nal: bytes) -> None:
    count = recovery_point(unescape(nal[1:]))
    if count is None:
        return
    try:
        frames = BitReader(count).ue()
    except OutOfBits:
        return
    unit.flags |= SOFT_RECOVERY if frames else RECOVERY


def recovery_point(messages: bytes) -> bytes | None:
    """The recovery point among SEI messages, ``None`` if there is none (H.264, annex D)."""
    at = 0
    for _ in range(_MAX_MESSAGES):
        # The last byte is the trailing bits.
        if at + 2 >= len(messages):
            break
        kind, at = _sei_number(messages, at)
        size, at = _sei_number(messages, at)
        if kind == _RECOVERY_POINT:
            return messages[at : at + size]
        at += size
    return None


def _sei_number(messages: bytes, at: int) -> tuple[int, int]:
    """A number in steps of 255, and where it ends."""
    number = 0
    while at < len(messages) and messages[at] == 0xFF:
        number += 255
        at += 1
    if at < len(messages):
        number += messages[at]
    return number, at + 1
