"""Silence where PCM has holes, for MP4: it keeps one sample behind another, whatever their times."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from math import floor

from streamer.frame import Packet
from streamer.media import AudioInfo

HOLE_S = Fraction(1, 50)
"""Times in whole milliseconds, and those of a jittering clock, are off by less."""

SAMPLE_BYTES = 2
"""``pcm_s16be`` and ``pcm_s16le``: what MP4 takes as it is."""


class Holes:
    """Of one track of PCM; what was lost of it on the way would else let all that follows play early."""

    def __init__(self, audio: AudioInfo) -> None:
        self._rate_hz = audio.rate_hz
        self._sample_bytes = SAMPLE_BYTES * audio.channels
        self._end_s: Fraction | None = None
        """Where a player of what was given so far is."""

    def filled(self, packet: Packet) -> Iterator[Packet]:
        """``packet`` with silence for what is missing before it."""
        end_s = packet.time_s if self._end_s is None else self._end_s
        payload = bytes(packet.payload)
        missing = 0
        if packet.time_s - end_s > HOLE_S:
            missing = floor((packet.time_s - end_s) * self._rate_hz)
        samples = missing + len(payload) // self._sample_bytes
        self._end_s = end_s + Fraction(samples, self._rate_hz)
        while missing > self._rate_hz:
            # A second at a time: an hour has half a gigabyte.
            missing -= self._rate_hz
            yield self._silence(packet, until_s=packet.time_s - Fraction(missing, self._rate_hz))
        if missing:
            packet = replace(packet, payload=bytes(missing * self._sample_bytes) + payload)
        yield packet

    def _silence(self, packet: Packet, *, until_s: Fraction) -> Packet:
        """A second of it. It has the time of its end: it may begin before the packet that was given
        last."""
        pts = floor(until_s / packet.time_base)
        return replace(
            packet,
            payload=bytes(self._rate_hz * self._sample_bytes),
            pts=pts,
            dts=pts,
            duration=round(1 / packet.time_base),
        )
