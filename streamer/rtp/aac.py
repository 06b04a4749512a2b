"""AAC over RTP: mpeg4-generic (RFC 3640) and MP4A-LATM without in-band config (RFC 6416)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from streamer.rtp.aac_config import AacConfig, parse_config
from streamer.rtp.bits import BitReader, OutOfBits
from streamer.rtp.packet import RtpPacket
from streamer.rtp.unit import AccessUnit, TrackFormat, UnsupportedFormat

MAX_AAC_BYTES = 1 << 16
"""Eight times the largest frame of eight channels (6144 bits each)."""

_HBR = {"sizelength": 13, "indexlength": 3, "indexdeltalength": 3}
_LBR = {"sizelength": 6, "indexlength": 2, "indexdeltalength": 2}
_MODES = {"aac-hbr": _HBR, "aac-lbr": _LBR, "generic": {}}


class Interleaved(ValueError):
    """The units come in another order than they are played."""


class AacFrames:
    """What both formats share: frames that may be cut over packets, and their time."""

    def __init__(self, extradata: bytes, config: AacConfig, clock_rate: int) -> None:
        self.extradata = extradata
        self.config = config
        self.refused = 0
        self._frame_ticks = config.frame_ticks(clock_rate)
        self._follows_loss = False
        self._parts: list[bytes] = []
        self._parts_size = 0
        self._parts_timestamp = 0

    def flush(self) -> list[AccessUnit]:
        """As in ``Depacketiser``; what is in parts is not whole."""
        self.restart()
        return []

    def restart(self) -> None:
        """As in ``Depacketiser``."""
        self._drop_parts()
        self._follows_loss = True

    def _drop_parts(self) -> None:
        if self._parts:
            self._refuse()
            self._parts.clear()
            self._parts_size = 0

    def _refuse(self) -> None:
        self.refused += 1
        self._follows_loss = True

    def _collect(self, data: bytes, timestamp: int) -> None:
        """One more part of the frame at ``timestamp``."""
        if self._parts and timestamp != self._parts_timestamp:
            self._drop_parts()
        self._parts_timestamp = timestamp
        self._parts.append(data)
        self._parts_size += len(data) or 1
        if self._parts_size > MAX_AAC_BYTES:
            self._drop_parts()

    def _collected(self) -> bytes:
        whole = b"".join(self._parts)
        self._parts.clear()
        self._parts_size = 0
        return whole

    def _unit(self, payload: bytes, timestamp: int, arrived_ns: int) -> AccessUnit:
        follows_loss, self._follows_loss = self._follows_loss, False
        return AccessUnit(
            payload=payload,
            timestamp=timestamp,
            is_keyframe=True,
            follows_loss=follows_loss,
            arrived_ns=arrived_ns,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headers:
    """Widths in bits of the AU-header section's fields (RFC 3640, section 3.2.1)."""

    size: int
    index: int
    index_delta: int
    cts_delta: int
    dts_delta: int
    has_random_access: bool
    stream_state: int
    auxiliary_size: int
    constant_size: int

    @classmethod
    def of(cls, format: TrackFormat) -> _Headers:
        mode = format.fmtp.get("mode", "AAC-hbr").lower()
        if mode not in _MODES:
            raise UnsupportedFormat(
                f"the AAC track's mode is {mode[:32]!r}, which is not read here; "
                "AAC-hbr, AAC-lbr and generic are: set the sender to AAC-hbr"
            )
        widths = _MODES[mode]

        def width(name: str) -> int:
            return min(format.number(name, widths.get(name, 0)), 32)

        headers = cls(
            size=width("sizelength"),
            index=width("indexlength"),
            index_delta=width("indexdeltalength"),
            cts_delta=width("ctsdeltalength"),
            dts_delta=width("dtsdeltalength"),
            has_random_access=bool(width("randomaccessindication")),
            stream_state=width("streamstateindication"),
            auxiliary_size=width("auxiliarydatasizelength"),
            constant_size=format.number("constantsize"),
        )
        if not headers.size and not headers.constant_size:
            raise UnsupportedFormat(
                "the AAC track says neither sizeLength nor constantSize, so its frames cannot be "
                "told apart; the session description is damaged"
            )
        return headers

    @property
    def has_section(self) -> bool:
        return bool(
            self.size or self.index or self.index_delta or self.cts_delta or self.dts_delta
            or self.has_random_access or self.stream_state
        )  # fmt: skip

    def read(self, payload: bytes) -> tuple[list[int], int]:
        """The sizes of the units in a payload and where the first one begins.

        Raises ``OutOfBits`` for what is cut and ``Interleaved`` for units out of order.
        """
        sizes: list[int] = []
        at = 0
        if self.has_section:
            bits = int.from_bytes(payload[:2], "big")
            at = 2 + (bits + 7) // 8
            if at > len(payload):
                raise OutOfBits
            reader = BitReader(payload[2:at])
            while reader.position < bits:
                before = reader.position
                sizes.append(self._read_one(reader, is_first=not sizes))
                if reader.position == before:
                    raise OutOfBits
        if self.auxiliary_size:
            reader = BitReader(payload[at : at + 4 + 1])
            at += (self.auxiliary_size + reader.bits(self.auxiliary_size) + 7) // 8
        if not sizes and self.constant_size:
            sizes = [self.constant_size] * ((len(payload) - at) // self.constant_size)
        return sizes, at

    def _read_one(self, reader: BitReader, *, is_first: bool) -> int:
        size = reader.bits(self.size) if self.size else self.constant_size
        if is_first:
            reader.bits(self.index)
        elif reader.bits(self.index_delta):
            raise Interleaved
        if self.cts_delta and reader.bits(1):
            reader.bits(self.cts_delta)
        if self.dts_delta and reader.bits(1):
            reader.bits(self.dts_delta)
        reader.bits(int(self.has_random_access))
        reader.bits(self.stream_state)
        return size


class Mpeg4Generic(AacFrames):
    """RFC 3640: several frames in a packet, or one frame in several packets."""

    def __init__(self, format: TrackFormat) -> None:
        """Raises ``UnsupportedFormat`` where the description lacks what a decoder needs."""
        extradata = _hexadecimal(format.fmtp.get("config", ""))
        config = parse_config(extradata)
        if config is None:
            raise UnsupportedFormat(
                "the AAC track has no usable config in its session description, without which no "
                "decoder can start; use a sender that states it"
            )
        super().__init__(extradata, config, format.clock_rate)
        self._frame_ticks = format.number("constantduration") or self._frame_ticks
        self._headers = _Headers.of(format)

    def push(
        self, packet: RtpPacket, *, timestamp: int, lost_before: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """As in ``Depacketiser``."""
        if lost_before:
            self._drop_parts()
            self._follows_loss = True
        payload = packet.payload
        if not payload:
            return []
        try:
            sizes, at = self._headers.read(payload)
        except (OutOfBits, Interleaved):
            self._drop_parts()
            self._refuse()
            return []
        if len(sizes) == 1 and sizes[0] > len(payload) - at:
            return self._add_part(payload[at:], sizes[0], timestamp, arrived_ns)
        self._drop_parts()
        return self._cut(payload, sizes, at, timestamp, arrived_ns)

    def _cut(
        self, payload: bytes, sizes: list[int], at: int, timestamp: int, arrived_ns: int
    ) -> list[AccessUnit]:
        units: list[AccessUnit] = []
        if not sizes or at + sum(sizes) > len(payload):
            self._refuse()
            return units
        for index, size in enumerate(sizes):
            if size:
                frame = payload[at : at + size]
                units.append(self._unit(frame, timestamp + index * self._frame_ticks, arrived_ns))
            at += size
        return units

    def _add_part(
        self, data: bytes, size: int, timestamp: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """Every part repeats the header with the size of the whole (section 3.2.3)."""
        self._collect(data, timestamp)
        if self._parts_size < size:
            return []
        if self._parts_size > size:
            self._drop_parts()
            return []
        return [self._unit(self._collected(), timestamp, arrived_ns)]


class Latm(AacFrames):
    """RFC 6416 with ``cpresent=0``: the config is in the session description."""

    def __init__(self, format: TrackFormat) -> None:
        """Raises ``UnsupportedFormat`` for layers, programs and configs within the stream."""
        extradata, config, self._frames = _stream_mux_config(format)
        super().__init__(extradata, config, format.clock_rate)
        self._is_skipping = False

    def push(
        self, packet: RtpPacket, *, timestamp: int, lost_before: int, arrived_ns: int
    ) -> list[AccessUnit]:
        """As in ``Depacketiser``: the marker ends an audioMuxElement (RFC 6416, section 6.1)."""
        if lost_before:
            self._is_skipping = bool(self._parts) and timestamp == self._parts_timestamp
            self._drop_parts()
            self._follows_loss = True
        if self._is_skipping and timestamp == self._parts_timestamp:
            # The rest of an element whose middle is missing.
            return []
        self._is_skipping = False
        if not packet.payload:
            return []
        self._collect(packet.payload, timestamp)
        if not packet.marker or not self._parts:
            return []
        return self._cut(self._collected(), timestamp, arrived_ns)

    def _cut(self, element: bytes, timestamp: int, arrived_ns: int) -> list[AccessUnit]:
        """The frames of one element, each behind its length in steps of 255.

        An element that lost its beginning does not end where its lengths say, so it is refused.
        """
        frames = []
        at = 0
        for _ in range(self._frames):
            size = 0
            while at < len(element) and element[at] == 0xFF:
                size += 255
                at += 1
            if at >= len(element):
                self._refuse()
                return []
            size += element[at]
            frames.append(element[at + 1 : at + 1 + size])
            at += 1 + size
        if at != len(element):
            self._refuse()
            return []
        return [
            self._unit(frame, timestamp + index * self._frame_ticks, arrived_ns)
            for index, frame in enumerate(frames)
            if frame
        ]


def _stream_mux_config(format: TrackFormat) -> tuple[bytes, AacConfig, int]:
    """AudioSpecificConfig, what it says, and the frames per element (ISO 14496-3, table 1.42)."""
    refusal = UnsupportedFormat(
        "the AAC track's LATM config is not one program of one layer stated in the session "
        "description; set the sender to mpeg4-generic (RFC 3640)"
    )
    if format.number("cpresent", 1):
        raise refusal
    data = _hexadecimal(format.fmtp.get("config", ""))
    reader = BitReader(data)
    try:
        is_new = reader.bits(1)
        has_same_framing = reader.bits(1)
        frames = 1 + reader.bits(6)
        is_layered = reader.bits(4) or reader.bits(3)
    except OutOfBits:
        raise refusal from None
    if is_new or not has_same_framing or is_layered:
        raise refusal
    start = reader.position
    rest = int.from_bytes(data, "big") << start & ((1 << 8 * len(data)) - 1)
    extradata = rest.to_bytes(len(data), "big")
    config = parse_config(extradata)
    if config is None or not config.size_bits:
        raise refusal
    return extradata[: (config.size_bits + 7) // 8], config, frames


def _hexadecimal(text: str) -> bytes:
    return bytes.fromhex(text) if re.fullmatch(r"([0-9A-Fa-f]{2}){1,512}", text) else b""
