"""The camera: moving pictures with the time burnt in, as raw I420 on standard output.

Each picture follows a head of 16 bytes: when it was drawn in ns of the monotonic clock (8), its
number (4), and nothing (4). Numbers count what was drawn; a picture whose time passed before it
could be drawn has none.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import struct
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from streamer.clock import Clock, MonotonicClock
from streamer.frame import Planes
from streamer.ops.memory import planes_in
from streamer.sources import counter
from streamer.sources.scene import Scene

HEAD = struct.Struct("<QII")
DRAWN = 60
"""Pictures made before it begins: a real camera takes no processor time from its viewers."""
_PIPE_BYTES = 1 << 20


class Pictures:
    """A loop of drawn pictures, forwards and back, so that it has no jump."""

    def __init__(self, *, width: int, height: int, fps: Fraction, drawn: int = DRAWN) -> None:
        scene = Scene(seed=1, width=width, height=height, cut_s=Fraction(86_400))
        self._buffers = [
            _joined(scene.draw(number / fps), width, height) for number in range(drawn)
        ]
        self._width, self._height = width, height

    def picture(self, number: int, now_ns: int) -> NDArray[np.uint8]:
        """The I420 bytes of picture ``number``, behind room for a head; valid until it is due again."""
        period = 2 * len(self._buffers) - 2
        place = number % period
        data = self._buffers[place if place < len(self._buffers) else period - place]
        counter.burn(
            planes_in(data[HEAD.size :], self._width, self._height),
            milliseconds=now_ns // 1_000_000,
            frame_number=number,
        )
        return data


def due_times(clock: Clock, fps: Fraction) -> Iterator[int]:
    """Sleeps until the next picture is due, again and again; gives the instant in ns.

    Times come from the first one, so they do not drift; a time that has passed is left out.
    """
    start_ns, number = clock.now_ns(), 0
    while True:
        due_ns = start_ns + number * 1_000_000_000 * fps.denominator // fps.numerator
        if (left_ns := due_ns - clock.now_ns()) > 0:
            time.sleep(left_ns / 1e9)
        yield due_ns
        passed = (clock.now_ns() - start_ns) * fps.numerator
        number = max(number + 1, passed // (1_000_000_000 * fps.denominator))


def main() -> None:
    """Write pictures until nobody reads them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--fps", type=Fraction, default=Fraction(30))
    options = parser.parse_args()
    clock = MonotonicClock()
    out = sys.stdout.fileno()
    with suppress(OSError):  # a file, or a machine that allows less
        fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    pictures = Pictures(width=options.width, height=options.height, fps=options.fps)
    with suppress(BrokenPipeError):
        for number, _ in enumerate(due_times(clock, options.fps)):
            now_ns = clock.now_ns()
            data = pictures.picture(number, now_ns)
            picture = memoryview(data)  # type: ignore[arg-type]
            HEAD.pack_into(picture, 0, now_ns, number, 0)
            _write_all(out, picture)


def _joined(planes: Planes, width: int, height: int) -> NDArray[np.uint8]:
    data = np.zeros(HEAD.size + width * height * 3 // 2, np.uint8)
    for target, plane in zip(planes_in(data[HEAD.size :], width, height), planes, strict=True):
        target[:] = plane
    return data


def _write_all(out: int, data: memoryview) -> None:
    while data:
        data = data[os.write(out, data) :]


if __name__ == "__main__":
    main()
