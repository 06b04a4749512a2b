"""What one stream has moved so far: counts, rates of now, and the span of media time."""

from __future__ import annotations

from fractions import Fraction

from streamer.clock import Clock
from streamer.frame import Frame, Origin, Packet
from streamer.metrics import Metrics, Rate

MADE = tuple(origin.value for origin in Origin if origin is not Origin.DECODED)
"""How frames that no source sent came to be, as counts and reports name it."""


class Tally:
    """Told of everything that passes; all on the event loop."""

    def __init__(self, metrics: Metrics, clock: Clock) -> None:
        self.media_s = (Fraction(0), Fraction(0))
        """Times of the first and of the last frame sent."""
        self._metrics = metrics
        self._clock = clock
        self._began_ns = clock.now_ns()
        self._in = Rate()
        self._out = Rate()
        self._bits_out = Rate()

    def read(self, packet: Packet) -> None:
        self._metrics.count("read")
        self._metrics.count("read.after_loss", packet.follows_loss)

    def decoded(self) -> None:
        self._metrics.count("decoded")
        self._in.tick(self._clock.now_ns())

    def coded(self, packet: Packet) -> None:
        """A packet of any rendition left the encoder."""
        self._bits_out.tick(self._clock.now_ns(), 8 * len(packet.payload))

    def sent(self, item: Packet | Frame) -> None:
        """A frame left, encoded or not; once for each, however many renditions there are."""
        first_s = self.media_s[0] if self._metrics.counted("sent") else item.time_s
        self.media_s = (first_s, item.time_s)
        now_ns = self._clock.now_ns()
        self._out.tick(now_ns)
        self._metrics.count("sent")
        self._metrics.count(f"sent.{item.origin.value}")
        is_real = item.origin is Origin.DECODED
        name = "arrived_to_sent" if is_real else f"{item.origin.value}_to_sent"
        self._metrics.time(name, (now_ns - item.arrived_ns) / 1e6)

    @property
    def fps(self) -> dict[str, float]:
        """Frames per second, in and out, over the last two seconds."""
        now_ns = self._clock.now_ns()
        return {
            "in": round(self._in.per_second(now_ns), 2),
            "out": round(self._out.per_second(now_ns), 2),
        }

    @property
    def bitrate_kbps(self) -> int:
        """Of all renditions together, over the last two seconds."""
        return round(self._bits_out.per_second(self._clock.now_ns()) / 1000)

    @property
    def uptime_s(self) -> float:
        return round((self._clock.now_ns() - self._began_ns) / 1e9, 1)
