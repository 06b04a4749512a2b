"""Makes frames between two when standard input asks for some, and says what each step took.

With ``opencv`` it is as on a machine without a C++ compiler: one line of the door to what is compiled is
changed, all else is the same.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from benchmarks.latency.observer import say
from benchmarks.quality.metrics import psnr
from kernels import native_build
from kernels.native import native
from streamer.enhance.frame_maker import FrameMaker
from streamer.errors import ConfigError
from streamer.frame import Planes
from streamer.infer.reference_motion import ReferenceMotionEngine
from streamer.ops.motion import Guide
from streamer.sources.scene import Scene

PAIRS = 8
"""Of the pictures that are looked at in turn."""
FPS = 30
MIDDLE = 0.5


class Maker:
    """Real pictures at 30 fps, enlarged, and those in the middle that nobody is given."""

    def __init__(self, width: int, height: int, scale: int) -> None:
        scene = Scene(seed=1, width=width, height=height, cut_s=Fraction(5))
        drawn = [scene.draw(Fraction(n, 2 * FPS)) for n in range(2 * PAIRS + 1)]
        self._small = drawn[::2]
        self._large = [_enlarged(one, scale) for one in self._small]
        self._wanted = [_enlarged(one, scale)[0] for one in drawn[1::2]]
        y, u, v = (np.empty_like(plane) for plane in self._large[0])
        self._out: Planes = (y, u, v)
        self._maker = FrameMaker(ReferenceMotionEngine())
        self._maker.warm_up(width, height, scale=scale)

    def turn(self) -> Iterator[tuple[list[tuple[float, float]], float]]:
        """For each pair the processor time (all threads) and the time of each step in ms, and the PSNR
        of the luma. The first pair, after which the caches are warm, is made once more before."""
        pairs = [0, *range(PAIRS)]
        self._maker.reset()
        for place, number in enumerate(pairs):
            found = self._made(number)
            if place:
                yield found, psnr(self._out[0], self._wanted[number])

    def _made(self, number: int) -> list[tuple[float, float]]:
        small, large = self._small[number : number + 2], self._large[number : number + 2]
        guides: list[Guide] = []
        return [
            _timed(lambda: self._maker.look(small[0][0], small[1][0])),
            _timed(lambda: guides.append(self._maker.guide(MIDDLE))),
            _timed(lambda: self._maker.make(large[0], large[1], guides[0], self._out)),
        ]


def _timed(step: Callable[[], None]) -> tuple[float, float]:
    cpu_ns, began_ns = time.process_time_ns(), time.monotonic_ns()
    step()
    took_ns = time.monotonic_ns() - began_ns
    return (time.process_time_ns() - cpu_ns) / 1e6, took_ns / 1e6


def _enlarged(planes: Planes, scale: int) -> Planes:
    if scale == 1:
        return planes
    y, u, v = (
        np.asarray(
            cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC), dtype=np.uint8
        )
        for one in planes
    )
    return y, u, v


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("way", choices=("compiled", "opencv"))
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--scale", type=int, default=2)
    options = parser.parse_args()
    if options.way == "opencv":
        native_build.SOURCES = Path("nowhere", "cpu")
    level = native()
    if options.way == "compiled" and level is None:
        raise ConfigError("nothing is compiled here; run: python -m kernels.native_build")
    maker = Maker(options.width, options.height, options.scale)
    say("ready", level=None if level is None else level.name)
    while line := sys.stdin.readline():
        found = list(maker.turn())
        say(
            "made",
            turn=json.loads(line)["turn"],
            steps=[steps for steps, _ in found],
            psnr_y=[db for _, db in found],
        )


if __name__ == "__main__":
    try:
        main()
    except ConfigError as error:
        sys.exit(str(error))
