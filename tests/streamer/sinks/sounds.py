"""Sound and pictures for the sinks' tests, encoded."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import av
import numpy as np

from streamer.frame import Packet
from streamer.media import AudioInfo

RATE_HZ = 48_000
FRAME_SAMPLES = 960

OPUS = AudioInfo(codec="opus", rate_hz=RATE_HZ, channels=2, time_base=Fraction(1, RATE_HZ))


def opus_packet(pts: int, payload: bytes = b"\xfc\xff\xfe") -> Packet:
    """One packet of sound; by default three bytes of silence."""
    return Packet(
        payload=payload,
        pts=pts,
        dts=pts,
        time_base=Fraction(1, RATE_HZ),
        arrived_ns=0,
        is_keyframe=True,
        stream="audio",
    )


class Tone:
    """Opus packets of a sine in a little noise, so that no two are alike."""

    def __init__(self, pitch_hz: int = 1_000) -> None:
        self._pitch_hz = pitch_hz
        self._number = 0
        self._noise = np.random.default_rng(1)
        self._codec: Any = av.CodecContext.create("libopus", "w")
        self._codec.sample_rate = RATE_HZ
        self._codec.layout = "stereo"
        self._codec.format = "s16"
        self._codec.bit_rate = 96_000

    def packets(self) -> list[Packet]:
        """The packets of the next 20 ms; few at first, as an encoder looks ahead."""
        at = (self._number * FRAME_SAMPLES + np.arange(FRAME_SAMPLES)) / RATE_HZ
        noise = self._noise.normal(0, 200, FRAME_SAMPLES)
        tone = (8_000 * np.sin(2 * np.pi * self._pitch_hz * at) + noise).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.repeat(tone, 2)[None], format="s16", layout="stereo")
        frame.sample_rate = RATE_HZ
        frame.pts = self._number * FRAME_SAMPLES
        self._number += 1
        return [opus_packet(packet.pts or 0, bytes(packet)) for packet in self._codec.encode(frame)]
