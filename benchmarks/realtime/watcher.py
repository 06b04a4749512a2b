"""A WHEP viewer that tells of each picture when it came, when it was meant for, and what it reads.

With ``--judge`` it also draws what the camera drew, from the same seed, and compares: at each of the
camera's moments, the picture that is on the screen for that moment with the one that was drawn.
"""

from __future__ import annotations

import argparse
import asyncio
from fractions import Fraction
from itertools import count

import av
import numpy as np
from aiortc.jitterbuffer import JitterFrame
from aiortc.rtp import RtpPacket

from benchmarks.latency.camera import Pictures
from benchmarks.latency.observer import luma_of, say
from benchmarks.latency.viewer import MarkerBuffer, Viewer
from benchmarks.realtime.screen import Compared, Screen
from streamer.clock import Clock, MonotonicClock
from streamer.frame import Plane
from streamer.sources import counter

SAMPLED = 8
"""Of the picture every n-th row and column says whether it differs from the one before."""
_TELL_S = 0.5
_WRAP = 1 << 32


class StampedBuffer(MarkerBuffer):
    """Notes when each picture was complete."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._first_ticks: int | None = None
        self._arrived_ns: dict[int, int] = {}

    def arrived_ns(self, ticks: int) -> int | None:
        """When the picture of this pts was complete, asked once. aiortc counts from the first one."""
        return self._arrived_ns.pop(ticks % _WRAP, None)

    def _taken(self, packets: list[RtpPacket]) -> JitterFrame:
        ticks = packets[0].timestamp
        if self._first_ticks is None:
            self._first_ticks = ticks
        self._arrived_ns[(ticks - self._first_ticks) % _WRAP] = self._clock.now_ns()
        return super()._taken(packets)


class Watcher:
    """What is told of the pictures, and the pictures that are compared."""

    def __init__(self, buffer: StampedBuffer, *, clock: Clock, screen: Screen | None) -> None:
        self._buffer = buffer
        self._clock = clock
        self._screen = screen
        self._last: Plane | None = None
        self._rows: list[tuple[float, ...]] = []
        self._compared: list[tuple[int, Compared]] = []
        """When it was known, and what."""

    def see(self, picture: av.VideoFrame) -> None:
        """A decoded picture."""
        seen_ns = self._clock.now_ns()
        luma = luma_of(picture)
        ticks = picture.pts
        assert ticks is not None
        arrived_ns = self._buffer.arrived_ns(ticks) or seen_ns
        reading = counter.read(luma)
        read = (-1, 0) if reading is None else (reading.frame_number, reading.milliseconds)
        self._rows.append((ticks, arrived_ns, seen_ns, *read, self._change(luma)))
        if self._screen is not None:
            found = self._screen.see(luma, ticks=ticks, number=read[0])
            self._compared += [(seen_ns, one) for one in found]

    def tell(self) -> None:
        """All since the last time."""
        rows, self._rows = self._rows, []
        compared, self._compared = self._compared, []
        say("shown", rows=rows, compared=compared)

    def _change(self, luma: Plane) -> float:
        sampled = luma[::SAMPLED, ::SAMPLED].copy()
        last, self._last = self._last, sampled
        if last is None or last.shape != sampled.shape:
            return 255.0
        return round(float(np.abs(sampled.astype(np.int16) - last).mean()), 3)


async def watch(url: str, *, clock: Clock, screen: Screen | None) -> None:
    """Watch until stopped."""
    buffer = StampedBuffer(clock)
    watcher = Watcher(buffer, clock=clock, screen=screen)
    viewer = Viewer(buffer, watcher.see)
    await viewer.join(url)
    for _ in count():
        await asyncio.sleep(_TELL_S)
        watcher.tell()


def main() -> None:
    """Watch until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the WHEP endpoint")
    parser.add_argument("--judge", action="store_true", help="compare with what was drawn")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    options = parser.parse_args()
    screen = None
    if options.judge:
        pictures = Pictures(width=options.width, height=options.height, fps=options.fps)
        screen = Screen(
            pictures, width=options.width, height=options.height, interval=1 / options.fps
        )
    asyncio.run(watch(options.url, clock=MonotonicClock(), screen=screen))


if __name__ == "__main__":
    main()
