"""One encode of the enhanced pictures, and everything that takes it."""

from __future__ import annotations

from dataclasses import dataclass

from streamer.encode import Encoder
from streamer.sinks.fanout import FanOut
from streamer.sinks.webrtc import WebRtcSink


@dataclass(slots=True)
class Rendition:
    """An encoder, its fan-out, and the sink among it that viewers join."""

    name: str
    encoder: Encoder
    fanout: FanOut
    webrtc: WebRtcSink | None
    is_for_viewers_only: bool
    """Whether nothing but WebRTC takes it."""

    @property
    def is_watched(self) -> bool:
        return self.webrtc is not None and self.webrtc.viewers > 0
