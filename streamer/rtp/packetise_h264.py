"""H.264 access units into RTP payloads (RFC 6184, packetization-mode 1)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from streamer.rtp.annex_b import nal_units
from streamer.rtp.packetise import MAX_PAYLOAD_BYTES, RtpPiece

NAL_SEI, NAL_SPS, NAL_PPS, NAL_AUD = 6, 7, 8, 9
STAP_A, FU_A = 24, 28

_AGGREGATED = frozenset({NAL_SEI, NAL_SPS, NAL_PPS, NAL_AUD})
"""Small units that announce a picture: one packet for all of them, so that none is lost alone."""

_START, _END = 0x80, 0x40


@dataclass(frozen=True, slots=True)
class H264Sets:
    """The first sequence and picture parameter sets of a keyframe, without start codes."""

    sps: bytes = field(repr=False)
    pps: tuple[bytes, ...] = field(repr=False)

    @property
    def profile_level_id(self) -> str:
        """Profile, constraints and level as SDP writes them, six hexadecimal digits."""
        return self.sps[1:4].hex().upper()


class H264Packetiser:
    """Takes access units in Annex B; every payload is at most ``max_payload_bytes`` long."""

    def __init__(self, *, max_payload_bytes: int = MAX_PAYLOAD_BYTES) -> None:
        if max_payload_bytes < 16:
            raise ValueError(f"no H.264 fits into payloads of {max_payload_bytes} bytes")
        self._limit = max_payload_bytes

    def split(self, data: bytes) -> list[RtpPiece]:
        """The packets of one access unit; the last one is marked."""
        payloads: list[bytes] = []
        small: list[bytes] = []
        for unit in nal_units(data):
            is_small = unit[0] & 0x1F in _AGGREGATED and len(unit) + 3 <= self._limit
            if not is_small or self._aggregate_bytes([*small, unit]) > self._limit:
                payloads += _aggregate(small)
                small = []
            if is_small:
                small.append(unit)
            elif len(unit) <= self._limit:
                payloads.append(unit)
            else:
                payloads += self._fragments(unit)
        payloads += _aggregate(small)
        last = len(payloads) - 1
        return [RtpPiece(payload, number == last) for number, payload in enumerate(payloads)]

    @staticmethod
    def _aggregate_bytes(units: Sequence[bytes]) -> int:
        return 1 + sum(2 + len(unit) for unit in units)

    def _fragments(self, unit: bytes) -> Iterator[bytes]:
        """A unit too long for one packet, as FU-A; its own header byte is not repeated."""
        indicator = unit[0] & 0xE0 | FU_A
        kind = unit[0] & 0x1F
        step = self._limit - 2
        for begin in range(1, len(unit), step):
            flags = (_START if begin == 1 else 0) | (_END if begin + step >= len(unit) else 0)
            yield bytes((indicator, flags | kind)) + unit[begin : begin + step]


def parameter_sets(units: Sequence[bytes]) -> H264Sets | None:
    """The sets among ``units``; ``None`` unless both kinds are there."""
    sps = [unit for unit in units if unit[0] & 0x1F == NAL_SPS and len(unit) >= 4]
    pps = [unit for unit in units if unit[0] & 0x1F == NAL_PPS]
    return H264Sets(sps[0], tuple(pps)) if sps and pps else None


def _aggregate(units: Sequence[bytes]) -> list[bytes]:
    """``units`` as one STAP-A; a single one travels as it is."""
    if len(units) < 2:
        return list(units)
    forbidden = max(unit[0] & 0x80 for unit in units)
    importance = max(unit[0] & 0x60 for unit in units)
    parts = [bytes((forbidden | importance | STAP_A,))]
    for unit in units:
        parts += (len(unit).to_bytes(2, "big"), unit)
    return [b"".join(parts)]
