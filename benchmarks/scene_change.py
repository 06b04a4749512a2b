"""Claim: cuts are told from motion, whatever a codec or a dark room did to the picture.

Each clip holds one shot: every cut seen inside is false, frames left out (``--every 2``) make it
harder. True cuts lead from a run of frames of one clip to a frame of another whose name begins with
another word. All is scaled to 640x360, so that size never gives a cut away, and may be damaged
first: by libx264 at ``--crf``, or as in the dark, a tenth as bright with the noise of a sensor. Left
out: cuts between shots of one place, which no threshold separates from a person who jumps.
"""

from __future__ import annotations

import argparse
import random
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from benchmarks.result import out_file, write
from streamer import report
from streamer.clock import MonotonicClock
from streamer.enhance.scene_change import COURSE, Change, SceneWatch
from streamer.frame import Plane
from streamer.metrics import percentile

WIDTH, HEIGHT = 640, 360
RUNS = 8
"""Per clip: places at which it is cut off, each followed by a frame of every kind of other clip."""


def main(arguments: list[str]) -> None:
    """Measure, print what was misjudged, and end with one line of JSON."""
    options = _parse(arguments)
    numbers, spent_ms = random.Random(1), list[float]()
    seen: Counter[Change] = Counter()
    runs: list[tuple[str, list[Plane]]] = []
    for clip in sorted(options.clips.glob("*.mp4")):
        frames = list(_damaged(_decoded(clip), options))[:: options.every]
        for number, change in enumerate(_watched(frames, spent_ms)):
            seen[change] += 1
            if change is Change.CUT:
                print(f"false cut: {clip.stem} at {number * options.every}")
        for _ in range(RUNS):
            end = numbers.randrange(COURSE, len(frames))
            runs.append((clip.stem, frames[end - COURSE : end + 1]))
    missed, cuts = _missed(runs, numbers)
    pairs = sum(seen.values()) - seen[Change.FIRST]
    write(
        {
            "benchmark": "scene_change",
            "damage": {"crf": options.crf, "dark": options.dark, "every": options.every},
            "pairs": pairs,
            "false_cuts": seen[Change.CUT],
            "still": seen[Change.STILL],
            "false_per_10000": round(10_000 * seen[Change.CUT] / pairs, 2),
            "cuts": cuts,
            "missed_cuts": missed,
            "see_ms": {q: round(percentile(sorted(spent_ms), q), 3) for q in (0.5, 0.95, 0.99)},
            "machine": report.machine(),
        },
        options.out,
    )


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks scene_change", description=__doc__)
    parser.add_argument("clips", type=Path, help="a folder of .mp4 files of one shot each")
    parser.add_argument("--every", type=int, default=1, help="take every so many frames")
    parser.add_argument("--crf", type=int, help="code all with libx264 first")
    parser.add_argument("--dark", action="store_true", help="a tenth as bright, with noise")
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser.parse_args(arguments)


def _watched(frames: list[Plane], spent_ms: list[float]) -> Iterator[Change]:
    watch, clock = SceneWatch(), MonotonicClock()
    for frame in frames:
        began_ns = clock.now_ns()
        change = watch.see(frame)
        spent_ms.append((clock.now_ns() - began_ns) / 1e6)
        yield change


def _missed(runs: list[tuple[str, list[Plane]]], numbers: random.Random) -> tuple[int, int]:
    """How many true cuts were not seen, and how many there were."""
    missed = cuts = 0
    for name, frames in runs:
        others = [run for run in runs if run[0].split("_")[0] != name.split("_")[0]]
        for other, after in numbers.sample(others, min(len(others), RUNS)):
            *_, change = _watched([*frames[:-1], after[-1]], [])
            cuts += 1
            if change is not Change.CUT:
                missed += 1
                print(f"missed cut: {name} to {other}")
    return missed, cuts


def _decoded(clip: Path) -> Iterator[Plane]:
    with av.open(str(clip)) as container:
        for frame in container.decode(video=0):
            scaled = frame.reformat(width=WIDTH, height=HEIGHT, format="gray")
            yield np.array(scaled.to_ndarray(), dtype=np.uint8)


def _damaged(frames: Iterator[Plane], options: Any) -> Iterator[Plane]:
    if options.dark:
        frames = map(_darkened(np.random.default_rng(1)), frames)
    return frames if options.crf is None else coded(frames, options.crf)


def _darkened(numbers: np.random.Generator) -> Callable[[Plane], Plane]:
    def darken(frame: Plane) -> Plane:
        noise = numbers.normal(0, 5, frame.shape).astype(np.float32)
        return np.asarray((16 + 0.1 * frame + noise).clip(0, 255), dtype=np.uint8)

    return darken


def coded(frames: Iterator[Plane], crf: int) -> Iterator[Plane]:
    """The same pictures as a live encoder leaves them."""
    encoder = av.VideoCodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, HEIGHT, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": str(crf)}
    decoder = av.VideoCodecContext.create("h264", "r")
    for pts, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="gray").reformat(format="yuv420p")
        picture.pts, picture.time_base = pts, encoder.time_base
        for packet in encoder.encode(picture):
            for decoded in decoder.decode(packet):
                yield np.array(decoded.reformat(format="gray").to_ndarray(), dtype=np.uint8)
