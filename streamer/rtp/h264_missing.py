"""What stands for H.264 pictures that never came, so that a decoder goes on as if they had.

Note [Missing frame numbers]
~~~~~~~~~~~~~~~~~~~~~~~~~~~~
References are numbered, and a decoder that sees a jump makes up what is missing. libav does so too,
but misses the end of the numbers (they wrap, every 16 pictures with libx264's defaults): it takes
what follows for older than what was shown and leaves it out until they wrap again, up to 15
pictures. So the missing ones are given to it: skipped pictures, which show the last one again, with
the numbers in between. What they look like is never shown: a prediction has stood there already.
"""

from __future__ import annotations

from collections.abc import Iterator

from streamer.rtp.h264_headers import (
    HEADER_BYTES,
    Pps,
    Slice,
    Sps,
    read_pps,
    read_slice,
    read_sps,
)
from streamer.rtp.h264_skipped import skipped_picture

MOST = 16
"""Pictures at a time; a decoder keeps no more."""

_SLICE, _IDR, _SPS, _PPS = 1, 5, 7, 8
_START = b"\0\0\1"
_MOST_UNITS = 64
"""NAL units before the first slice that are looked at."""


class MissingPictures:
    """Fed with all access units that a decoder is fed with, in their order; belongs to one thread.

    Nothing that arrives makes it raise. Streams that are not plain (see ``h264_headers``) get nothing.
    """

    def __init__(self) -> None:
        self._sps: dict[int, Sps] = {}
        self._pps: dict[int, Pps] = {}
        self._is_plain = True
        self._last: Slice | None = None
        self._last_reference = 0
        """The frame number of the newest reference."""

    def before(self, unit: bytes, *, follows_loss: bool) -> list[bytes]:
        """The access units that a decoder is to be given before this one, in Annex B as it is.

        ``follows_loss`` says that pictures before it may be missing; else none are.
        """
        last = self._last
        head = self._last = self._read(unit)
        if head is None:
            return []
        missing = []
        if last is not None and follows_loss and self._is_plain and not head.is_idr:
            missing = self._missing(last, head)
        if head.is_reference:
            self._last_reference = 0 if head.resets else head.frame_num
        return missing

    def _missing(self, last: Slice, head: Slice) -> list[bytes]:
        if last.sps != head.sps or (head.first and _is_one_picture(last, head)):
            return []
        numbers = 1 << head.sps.frame_num_bits
        begin = 0 if last.resets else last.poc_lsb
        count = (head.frame_num - self._last_reference - 1) % numbers
        following = (self._last_reference + 1) % numbers
        between = _between(begin, head.poc_lsb, count, bits=head.sps.poc_bits)
        if between is not None:
            return [
                _skipped(head, frame_num=(following + index) % numbers, poc_lsb=poc_lsb)
                for index, poc_lsb in enumerate(between)
            ]
        # An IDR picture was among them, and its numbers began anew.
        count = head.frame_num - 1
        between = _between(0, head.poc_lsb, count, bits=head.sps.poc_bits)
        if between is None:
            return []
        forward = (begin + 1) % (1 << head.sps.poc_bits)
        return [
            _skipped(head, frame_num=following, poc_lsb=forward, resets=True),
            *(
                _skipped(head, frame_num=1 + index, poc_lsb=poc_lsb)
                for index, poc_lsb in enumerate(between)
            ),
        ]

    def _read(self, unit: bytes) -> Slice | None:
        """The header of its first slice, the parameter sets before it remembered."""
        for kind, nal in _nal_units(unit):
            if kind == _SPS:
                self._keep_sps(nal)
            elif kind == _PPS:
                found = read_pps(nal)
                if found is None:
                    self._pps.clear()
                else:
                    self._pps[found.number] = found
            elif _SLICE <= kind <= _IDR:
                if kind not in (_SLICE, _IDR):
                    return None
                head = read_slice(nal, self._sps, self._pps)
                self._is_plain = self._is_plain and (head is None or head.is_plain)
                return head
        return None

    def _keep_sps(self, nal: bytes) -> None:
        found = read_sps(nal)
        if found is None:
            self._sps.clear()
        elif self._sps.get(found.number) != found:
            self._sps[found.number] = found
            self._is_plain = True


def _is_one_picture(last: Slice, head: Slice) -> bool:
    return (last.frame_num, last.poc_lsb) == (head.frame_num, head.poc_lsb)


def _between(begin: int, end: int, count: int, *, bits: int) -> list[int] | None:
    """``count`` values that rise from one pic_order_cnt_lsb to another; ``None`` where they cannot.

    A decoder takes each step for the shorter way round (section 8.2.1.1).
    """
    if not 0 <= count <= MOST:
        return None
    if not bits or not count:
        return [0] * count
    size = 1 << bits
    distance = (end - begin) % size
    if distance <= count:
        distance += size
    if 2 * distance > size * (count + 1):
        return None
    return [(begin + distance * step // (count + 1)) % size for step in range(1, count + 1)]


def _skipped(head: Slice, *, frame_num: int, poc_lsb: int, resets: bool = False) -> bytes:
    return skipped_picture(head.sps, head.pps, frame_num=frame_num, poc_lsb=poc_lsb, resets=resets)


def _nal_units(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and bytes of each, up to the first slice, of which the beginning is enough."""
    at = unit.find(_START)
    for _ in range(_MOST_UNITS):
        if at < 0 or at + 4 > len(unit):
            return
        begin = at + 3
        kind = unit[begin] & 0x1F
        if _SLICE <= kind <= _IDR:
            yield kind, unit[begin : begin + HEADER_BYTES]
            return
        at = unit.find(_START, begin)
        yield kind, unit[begin : at if at >= 0 else len(unit)]
