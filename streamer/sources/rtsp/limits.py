"""How long each step of an RTSP session may take, and how often we report."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Seconds. Cameras wake from sleep and wait for radio links, so none is tight."""

    connect_s: float = 5.0
    answer_s: float = 5.0
    """For each request."""
    first_packet_s: float = 10.0
    """From PLAY to the first packet of the picture."""
    keyframe_s: float = 20.0
    """From the first packet to a picture that decodes; "smart" cameras send one in 10 s or more."""
    silence_s: float = 5.0
    """Without a packet of the picture after that, the stream is lost."""
    report_s: float = 5.0
    """Between two receiver reports; RFC 3550's interval."""

    def silent_after(self, fps: Fraction | None) -> float:
        """``silence_s``, or three intervals of a picture that comes more slowly, as ``Lasting``
        has it."""
        return max(self.silence_s, 3 / float(fps) if fps else 0.0)
