"""AudioSpecificConfig (ISO 14496-3, section 1.6.2.1): what AAC has to be told out of band; and ADTS, the
header that says it before each access unit."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.rtp.bits import BitReader, OutOfBits

RATES_HZ = (
    96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000,
    7_350,
)  # fmt: skip
_AAC_LC, _SBR, _PS = 2, 5, 29
_GENERAL = (1, 2, 3, 4, 6, 7, 17, 19, 20, 21, 22, 23)
"""Object types that GASpecificConfig describes."""
_LOW_DELAY = (23, 39)
_CHANNELS = (0, 1, 2, 3, 4, 5, 6, 8)
_ESCAPE = 31
_ADTS_BYTES, _ADTS_BYTES_WITH_CRC = 7, 9


@dataclass(frozen=True, slots=True, kw_only=True)
class AacConfig:
    """What the sound is, as the config says."""

    rate_hz: int
    """As it is played: twice the core's with spectral band replication."""
    channels: int
    """0 where a program config element says it in the stream."""
    frame_samples: int
    """Of one access unit, at ``core_rate_hz``."""
    core_rate_hz: int
    size_bits: int
    """How long the config is; 0 where that is not known."""

    def frame_ticks(self, clock_rate: int) -> int:
        """How long one access unit lasts on a track's clock."""
        return self.frame_samples * clock_rate // self.core_rate_hz


def parse_config(data: bytes) -> AacConfig | None:
    """What an AudioSpecificConfig says; ``None`` where it makes no sense."""
    try:
        return _parse(BitReader(data))
    except OutOfBits:
        return None


def specific_config(*, rate_hz: int, channels: int) -> bytes:
    """The AudioSpecificConfig of AAC-LC; empty where it has no number for so many channels."""
    if channels not in _CHANNELS[1:]:
        return b""
    configuration = _CHANNELS.index(channels)
    if rate_hz in RATES_HZ:
        index = RATES_HZ.index(rate_hz)
        return (_AAC_LC << 11 | index << 7 | configuration << 3).to_bytes(2, "big")
    return (_AAC_LC << 35 | 15 << 31 | rate_hz << 7 | configuration << 3).to_bytes(5, "big")


def adts_sizes(data: bytes) -> tuple[int, int]:
    """How many bytes the ADTS header has that ``data`` begins with, and the frame together with it; twice
    0 where there is none."""
    if len(data) < _ADTS_BYTES or data[0] != 0xFF or data[1] & 0xF6 != 0xF0:
        return 0, 0
    frame_bytes = (data[3] & 3) << 11 | data[4] << 3 | data[5] >> 5
    return _ADTS_BYTES if data[1] & 1 else _ADTS_BYTES_WITH_CRC, frame_bytes


def adts_header_bytes(data: bytes) -> int:
    """The length of the ADTS header that ``data``, one frame, begins with; 0 where there is none."""
    header_bytes, frame_bytes = adts_sizes(data)
    # An access unit may begin with the same twelve bits; its length then fits by chance only.
    return header_bytes if frame_bytes == len(data) else 0


def adts_config(data: bytes) -> bytes:
    """The AudioSpecificConfig that an ADTS header amounts to."""
    object_type = (data[2] >> 6) + 1
    rate_index = data[2] >> 2 & 0xF
    channels = (data[2] & 1) << 2 | data[3] >> 6
    if rate_index >= len(RATES_HZ):
        return b""
    return (object_type << 11 | rate_index << 7 | channels << 3).to_bytes(2, "big")


def _parse(reader: BitReader) -> AacConfig | None:
    kind = _object_type(reader)
    core_rate_hz = rate_hz = _rate(reader)
    channels = reader.bits(4)
    if kind in (_SBR, _PS):
        # Parametric stereo makes two channels of one.
        channels = 2 if kind == _PS and channels == 1 else channels
        rate_hz = _rate(reader)
        kind = _object_type(reader)
    if not core_rate_hz or not rate_hz or channels >= len(_CHANNELS):
        return None
    samples = 512 if kind in _LOW_DELAY else 1024
    size_bits = 0
    if reader.left and (kind in _GENERAL or kind in _LOW_DELAY):
        if reader.bits(1):
            samples = 480 if kind in _LOW_DELAY else 960
        size_bits = _size_bits(reader) if kind == _AAC_LC and channels else 0
    return AacConfig(
        rate_hz=rate_hz,
        channels=_CHANNELS[channels],
        frame_samples=samples,
        core_rate_hz=core_rate_hz,
        size_bits=size_bits,
    )


def _object_type(reader: BitReader) -> int:
    kind = reader.bits(5)
    return 32 + reader.bits(6) if kind == _ESCAPE else kind


def _rate(reader: BitReader) -> int:
    """A sampling frequency in Hz; 0 for a reserved index."""
    index = reader.bits(4)
    if index == 15:
        return reader.bits(24)
    return RATES_HZ[index] if index < len(RATES_HZ) else 0


def _size_bits(reader: BitReader) -> int:
    """Where the rest of GASpecificConfig of AAC-LC ends; 0 where it ends early."""
    try:
        if reader.bits(1):
            reader.bits(14)
        reader.bits(1)
    except OutOfBits:
        return 0
    return reader.position
