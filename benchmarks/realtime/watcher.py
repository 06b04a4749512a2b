"""A WHEP viewer that tells of each picture when it came, when it was meant for, and what it reads.

It decodes when all is over: what the measured program runs on is not to be shared with a decoder
that stands elsewhere for any real viewer, and no picture counts as late because it had to wait for
a core that the program has. With ``--judge`` it also draws what the camera drew, from the same
seed, and compares: at each of the camera's moments, the picture that is on the screen for that
moment with the one that was drawn.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from typing import IO

import av
import numpy as np
from aiortc.rtp import RtpPacket

from benchmarks.latency.camera import Pictures
from benchmarks.latency.observer import luma_of, say
from benchmarks.latency.viewer import MarkerBuffer, Viewer
from benchmarks.realtime.screen import Compared, Screen
from streamer.clock import Clock, MonotonicClock
from streamer.frame import Plane
from streamer.sources import counter
from streamer.timers import be_prompt

SAMPLED = 8
"""Of the picture every n-th row and column says whether it differs from the one before."""
_BATCH = 60
"""Pictures that are told of at once."""


class Recorder(MarkerBuffer):
    """Keeps each picture as it came, undecoded, and notes when it was complete."""

    def __init__(self, clock: Clock, file: IO[bytes]) -> None:
        super().__init__()
        self._clock = clock
        self._file = file
        self._came: list[tuple[int, int, int]] = []
        """Time stamp, when the last packet was there, bytes."""

    def pictures(self) -> Iterator[tuple[int, int, av.VideoFrame]]:
        """All that came, decoded now, with their time stamps and instants."""
        decoder = av.CodecContext.create("h264", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        self._file.seek(0)
        known = {number: (ticks, at_ns) for number, (ticks, at_ns, _) in enumerate(self._came)}
        for number, (_, _, size) in enumerate(self._came):
            packet = av.Packet(self._file.read(size))
            packet.pts = number
            for picture in decoder.decode(packet):
                assert picture.pts is not None
                yield *known[picture.pts], picture

    def _taken(self, packets: list[RtpPacket]) -> None:
        at_ns = self._clock.now_ns()
        picture = super()._taken(packets)
        assert picture is not None
        self._file.write(picture.data)
        if not self._came:
            say("receives")
        self._came.append((picture.timestamp, at_ns, len(picture.data)))


class Watcher:
    """What is told of the pictures."""

    def __init__(self, screen: Screen | None) -> None:
        self._screen = screen
        self._last: Plane | None = None

    def see(
        self, picture: av.VideoFrame, *, ticks: int, at_ns: int
    ) -> tuple[tuple[float, ...], list[tuple[int, Compared]]]:
        """A picture that was there at ``at_ns``: its row, and what is known by it of the screen."""
        luma = luma_of(picture)
        reading = counter.read(luma)
        read = (-1, 0) if reading is None else (reading.frame_number, reading.milliseconds)
        row = (ticks, at_ns, *read, self._change(luma))
        if self._screen is None:
            return row, []
        found = self._screen.see(luma, ticks=ticks, number=read[0])
        return row, [(at_ns, one) for one in found]

    def _change(self, luma: Plane) -> float:
        sampled = luma[::SAMPLED, ::SAMPLED].copy()
        last, self._last = self._last, sampled
        if last is None or last.shape != sampled.shape:
            return 255.0
        return round(float(np.abs(sampled.astype(np.int16) - last).mean()), 3)


async def watch(url: str, recorder: Recorder) -> None:
    """Receive until standard input says anything."""
    viewer = Viewer(recorder, lambda _: None)
    await viewer.join(url)
    await asyncio.to_thread(sys.stdin.readline)


def tell(recorder: Recorder, screen: Screen | None) -> None:
    """Of everything that came, some pictures a line."""
    watcher = Watcher(screen)
    seen = (watcher.see(one, ticks=ticks, at_ns=at) for ticks, at, one in recorder.pictures())
    while batch := list(islice(seen, _BATCH)):
        say("shown", rows=[row for row, _ in batch], compared=[one for _, c in batch for one in c])
    say("told")


def main() -> None:
    """Record until told to stop; then tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="the WHEP endpoint")
    parser.add_argument("--judge", action="store_true", help="compare with what was drawn")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    options = parser.parse_args()
    be_prompt()
    screen = None
    if options.judge:
        pictures = Pictures(width=options.width, height=options.height, fps=options.fps)
        screen = Screen(
            pictures, width=options.width, height=options.height, interval=1 / options.fps
        )
    with tempfile.TemporaryFile() as file:
        recorder = Recorder(MonotonicClock(), file)
        asyncio.run(watch(options.url, recorder))
        tell(recorder, screen)


if __name__ == "__main__":
    main()
