"""Parameter sets of H.264 and H.265 as libav reads them: start codes, and all sets before each keyframe."""

from __future__ import annotations

from typing import Any

import av
import av.error

from streamer.rtp.annex_b import START, nal_units

_HEADER_SEARCH_BYTES = 65_536

# Types of NAL units that hold parameter sets: SPS and PPS; VPS, SPS and PPS.
_PARAMETER_SETS = {"h264": (7, 8), "hevc": (32, 33, 34)}

# HEVCDecoderConfigurationRecord (ISO/IEC 14496-15, 8.3.3.1): the size of lengths, and behind it how many
# arrays of parameter sets there are.
_HVCC_LENGTHS_AT, _HVCC_ARRAYS_AT = 21, 22


class Headers:
    """Puts parameter sets in front of keyframes, and length prefixes into start codes."""

    def __init__(self, film: Any) -> None:
        codec = film.codec_context
        self._types = _PARAMETER_SETS.get(codec.name, ())
        self._known = b""
        self._filter: av.BitStreamFilterContext | None = None
        self._length_bytes = 0
        """Of H.265 with lengths before its NAL units; 0 where there are start codes."""
        self.extradata = codec.extradata or b""
        """What the decoder needs beside the packets."""
        if self._types and self.extradata[:1] == b"\x01":
            if codec.name == "h264":
                self._filter = av.BitStreamFilterContext("h264_mp4toannexb", film)
            else:
                self._take_record(self.extradata)
        elif self._types:
            self._known = self.of(self.extradata)
        if self._types:
            self.extradata = b""

    def as_annex_b(self, packet: Any) -> list[Any]:
        if self._length_bytes:
            return self._with_start_codes(packet)
        if self._filter is None:
            return [packet]
        time_base = packet.time_base
        try:
            filtered = self._filter.filter(packet)
        except av.error.FFmpegError:
            # A packet whose lengths do not add up: as good as lost.
            self._filter.flush()
            return []
        for native in filtered:
            native.time_base = time_base
        return filtered

    def of(self, data: bytes) -> bytes:
        """The parameter sets at the head of an access unit, with their start codes."""
        if not self._types:
            return b""
        units = nal_units(data[:_HEADER_SEARCH_BYTES])
        sets = [unit for unit in units if self._type(unit[0]) in self._types]
        return b"".join(START + unit for unit in sets)

    def complete(self, keyframe: bytes) -> bytes:
        """``keyframe`` with the last known parameter sets where it has none."""
        found = self.of(keyframe)
        self._known = found or self._known
        return keyframe if found else self._known + keyframe

    def _type(self, first: int) -> int:
        return first & 0x1F if self._types == _PARAMETER_SETS["h264"] else first >> 1 & 0x3F

    def _with_start_codes(self, packet: Any) -> list[Any]:
        """As ``as_annex_b``, for H.265. libav's own filter keeps to the record that it began with: a picture
        that changed its size in FLV was read with the old one's."""
        if packet.has_sidedata("new_extradata"):
            self._take_record(bytes(packet.get_sidedata("new_extradata")))
        units = _units(bytes(packet), self._length_bytes)
        if not units:
            return []
        native = av.Packet(b"".join(START + unit for unit in units))
        native.pts, native.dts, native.time_base = packet.pts, packet.dts, packet.time_base
        native.duration, native.is_keyframe = packet.duration, packet.is_keyframe
        return [native]

    def _take_record(self, record: bytes) -> None:
        """The parameter sets in it are those of the keyframes from here on."""
        if len(record) <= _HVCC_ARRAYS_AT or record[0] != 1:
            return
        self._length_bytes = (record[_HVCC_LENGTHS_AT] & 3) + 1
        sets, at = [], _HVCC_ARRAYS_AT + 1
        for _ in range(record[_HVCC_ARRAYS_AT]):
            end = at + 3  # its type, and how many there are
            for _ in range(int.from_bytes(record[at + 1 : end], "big")):
                begin = end + 2
                end = begin + int.from_bytes(record[end:begin], "big")
                if end > len(record):
                    return
                sets.append(START + record[begin:end])
            at = end
        self._known = self.of(b"".join(sets))


def _units(data: bytes, length_bytes: int) -> list[bytes]:
    """The NAL units that each follow their length; none where the lengths do not add up: as good as lost."""
    units, at = [], 0
    while at < len(data):
        begin = at + length_bytes
        at = begin + int.from_bytes(data[at:begin], "big")
        units.append(data[begin:at])
    return [unit for unit in units if unit] if at == len(data) else []
