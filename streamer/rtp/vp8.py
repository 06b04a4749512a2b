"""VP8 over RTP (RFC 7741)."""

from __future__ import annotations

from streamer.rtp.access_units import OpenUnit

_EXTENDED, _START, _PARTITION = 0x80, 0x10, 0x07
_PICTURE_ID, _LEVEL_ID, _TEMPORAL, _KEY_ID = 0x80, 0x40, 0x20, 0x10
_KEY_START = b"\x9d\x01\x2a"


class Vp8Unpacker:
    """Payloads of VP8 into frames."""

    def add(self, unit: OpenUnit, payload: bytes) -> None:
        """As in ``Unpacker``."""
        at = descriptor_bytes(payload)
        if at >= len(payload):
            unit.is_damaged = True
            return
        if not unit.has_picture:
            unit.begin_picture(is_whole=self.begins_picture(payload))
            if not unit.starts_whole:
                # Unlike a slice, the middle of a frame is of no use to anybody.
                unit.is_damaged = True
                return
        data = payload[at:]
        unit.pieces.append(data)
        unit.size += len(data)

    def begins_picture(self, payload: bytes) -> bool:
        """As in ``Unpacker``: the start of partition 0 (section 4.2, S and PID)."""
        return payload[0] & (_START | _PARTITION) == _START

    def cut(self, unit: OpenUnit) -> None:
        """As in ``Unpacker``: a frame's end changes how all later ones are read."""
        unit.is_damaged = True

    def finish(self, unit: OpenUnit) -> tuple[bytes, bool]:
        """As in ``Unpacker``."""
        frame = b"".join(unit.pieces)
        # Frame header (RFC 6386, section 9.1): bit 0 clear, then the start code and the size.
        return frame, not frame[0] & 1 and frame[3:6] == _KEY_START and len(frame) >= 10


def descriptor_bytes(payload: bytes) -> int:
    """How long the payload descriptor is (section 4.2); longer than the payload if it is cut."""
    if not payload[0] & _EXTENDED:
        return 1
    if len(payload) < 2:
        return 2
    fields = payload[1]
    size = 2
    if fields & _PICTURE_ID:
        # With its top bit set the picture id is 15 bits wide.
        size += 2 if len(payload) > 2 and payload[2] & 0x80 else 1
    if fields & _LEVEL_ID:
        size += 1
    if fields & (_TEMPORAL | _KEY_ID):
        size += 1
    return size
