"""How a program of the measurement tells what it sees: batches of JSON on standard output."""

from __future__ import annotations

import json
import sys
from typing import Any

import av
import numpy as np

from streamer.clock import Clock
from streamer.decode import Decoder
from streamer.frame import Plane
from streamer.metrics import Metrics
from streamer.sources import counter
from streamer.sources.base import PacketSource
from streamer.worker import Worker

_BATCH_NS = 500_000_000
"""One line a picture would wake the listener as often as the camera does."""


def say(event: str, **values: Any) -> None:
    """One message, at once."""
    _write({"event": event, **values})


class Observer:
    """Reads counters and reports them, twice a second."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._rows: list[tuple[int, int, int]] = []
        self._sent_ns = clock.now_ns()

    def see(self, luma: Plane, at_ns: int) -> None:
        """A picture that was there at ``at_ns``; its luma is (height, width) uint8."""
        reading = counter.read(luma)
        if reading is None:
            self._rows.append((-1, 0, at_ns))
        else:
            self._rows.append((reading.frame_number, reading.milliseconds, at_ns))
        if self._clock.now_ns() - self._sent_ns > _BATCH_NS:
            self.flush()

    def flush(self) -> None:
        """Report what was seen since the last time."""
        _write({"seen": self._rows})
        self._rows = []
        self._sent_ns = self._clock.now_ns()


async def observe(source: PacketSource, clock: Clock) -> None:
    """Read, decode and report as the pipeline does: the decoder on a thread of its own."""
    decoder = Decoder(source.video, low_delay=True, clock=clock, metrics=Metrics())
    observer = Observer(clock)
    async with Worker("decode") as worker:
        async for packet in source.packets():
            if packet.stream != "video":
                continue
            for frame in await worker.call(decoder.decode, packet):
                observer.see(frame.planes[0], clock.now_ns())


def luma_of(picture: av.VideoFrame) -> Plane:
    """The picture's luma (height, width) uint8, without copying it."""
    plane = picture.planes[0]
    rows = np.frombuffer(plane, np.uint8)  # type: ignore[call-overload]
    stride = plane.line_size
    luma: Plane = rows[: stride * picture.height].reshape(picture.height, stride)
    return luma[:, : picture.width]


def _write(message: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(message, separators=(",", ":")) + "\n")
    sys.stdout.flush()
