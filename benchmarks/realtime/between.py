"""Scenario ``minterpolate``: our frames in between beside FFmpeg's filter, on the same clips."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage
from statistics import fmean
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from benchmarks.goal import Goal
from benchmarks.quality import filters, minterpolate
from benchmarks.quality.extras import y4m, y4m_header
from benchmarks.quality.material import Kind, as_tuple, find_items, read_frames
from benchmarks.quality.metrics import psnr
from benchmarks.realtime.session import rounded
from benchmarks.realtime.settings import Outcome, Settings
from streamer.clock import Clock, MonotonicClock
from streamer.enhance.frame_maker import FrameMaker
from streamer.errors import ConfigError
from streamer.frame import Planes
from streamer.infer.backends import Use, choose_motion
from streamer.sources.scene import Scene

FASTER, ABOVE_DB = 15.0, 0.0
ROUNDS = 3
"""The fastest of so many counts on both sides, in turn."""

MOVING = 1.0
"""Code values, mean over the clip: below, both sides show the same still picture."""

MIDDLE = 0.5
VARIANT = "minterpolate bilat"
FILTER = "minterpolate=fps={fps}:mi_mode=mci"
"""Its other options are its own defaults, which ``VARIANT`` spells out."""


def against_minterpolate(settings: Settings) -> Outcome:
    """Speed and PSNR, clip by clip. Raises ``ConfigError``."""
    if reason := minterpolate.why_missing():
        raise ConfigError(f"{reason}; install ffmpeg, or leave this scenario out with --only")
    clock = MonotonicClock()
    live, of_files = (_as_shipped(settings, clock, is_live=is_live) for is_live in (True, False))
    clips = live["clips"]
    if not clips:
        raise ConfigError("nothing moves in these clips; name a folder with others by --data")
    return Outcome(
        claim="made frames cost a fraction of FFmpeg's motion interpolation, and are nearer to the "
        "frames that were left out",
        baseline="minterpolate with mi_mode=mci, from and to raw pictures, its time less that of the "
        "same program without the filter; it runs on one thread, ours as it is shipped, so what both "
        "take of processors is told as well",
        left_out="decoding and encoding on both sides; the first and the last interval, of which "
        "minterpolate makes nothing",
        goals=(
            Goal(
                what="faster than minterpolate, slowest clip",
                measured=min(one["faster"] for one in clips),
                at_least=FASTER,
            ),
            Goal(
                what="PSNR above minterpolate's, worst clip, dB",
                measured=min(one["gain_db"] for one in clips),
                at_least=ABOVE_DB,
            ),
        ),
        extra={
            "ffmpeg": filters.version(),
            "rounds": ROUNDS,
            **live,
            "of_files": of_files,
        },
    )


def _as_shipped(settings: Settings, clock: Clock, *, is_live: bool) -> dict[str, Any]:
    """All clips, as the streamer makes frames between those of a live stream, or of a file."""
    use = Use(clock=clock, is_live=is_live)
    choice = choose_motion(task="interpolation", backend="auto", use=use)
    engine = choice.engines[0]
    maker = FrameMaker(engine, in_full=not is_live)
    clips = [
        compared(name, frames, maker, clock)
        for name, frames in _clips(settings)
        if change_of(frames) >= MOVING
    ]
    for one in choice.engines:
        one.close()
    means = ("faster", "cheaper", "gain_db") if clips else ()
    return {
        "model": engine.manifest.name,
        "backend": engine.backend,
        "mean": {key: rounded(fmean(one[key] for one in clips)) for key in means},
        "clips": clips,
    }


def change_of(frames: Sequence[Planes]) -> float:
    """Mean absolute difference between neighbours' luma, in code values."""
    return fmean(
        float(np.abs(one[0].astype(np.int16) - other[0]).mean()) for one, other in pairwise(frames)
    )


def _clips(settings: Settings) -> Iterator[tuple[str, list[Planes]]]:
    """Those of the data folders, or the three shots of the drawn scene; odd numbers of frames."""
    for folder in settings.data:
        for item in find_items(folder, kinds=(Kind.CLIP,), prefixes=(), limit=None):
            frames = [as_tuple(one) for one in read_frames(item, limit=settings.frames)]
            if len(frames) >= 9:
                yield item.name, frames[: (len(frames) - 1) // 2 * 2 + 1]
    if not settings.data:
        seconds = 4
        scene = Scene(seed=1, width=640, height=360, cut_s=Fraction(seconds))
        number = min(settings.frames, 30 * seconds) // 2 * 2 - 1
        for shot in range(3):
            yield (
                f"drawn-{shot + 1}",
                [scene.draw(shot * seconds + Fraction(index, 30)) for index in range(number)],
            )


def compared(
    name: str, frames: Sequence[Planes], maker: FrameMaker, clock: Clock
) -> dict[str, Any]:
    """One clip, of which every second frame is left out."""
    kept = frames[::2]
    made, _ = minterpolate.fill(kept, VARIANT, clock=clock)
    maker.reset()
    ours_db, theirs_db = [], []
    for index in range(1, len(frames), 2):
        between = maker.between(frames[index - 1], frames[index + 1], MIDDLE)
        if index in made:
            ours_db.append(psnr(between[0], frames[index][0]))
            theirs_db.append(psnr(made[index][0], frames[index][0]))
    ours, theirs = _speeds(kept, maker, clock)
    height, width = frames[0][0].shape
    return {
        "clip": name,
        "size": f"{width}x{height}",
        "judged": len(ours_db),
        "change": rounded(change_of(frames)),
        "ms": {"ours": rounded(ours.ms), "minterpolate": rounded(theirs.ms)},
        "cpu_ms": {"ours": rounded(ours.cpu_ms), "minterpolate": rounded(theirs.cpu_ms)},
        "faster": round(theirs.ms / ours.ms, 2),
        "cheaper": round(theirs.cpu_ms / ours.cpu_ms, 2),
        "psnr_y": {"ours": rounded(fmean(ours_db)), "minterpolate": rounded(fmean(theirs_db))},
        "gain_db": round(fmean(ours_db) - fmean(theirs_db), 3),
    }


@dataclass(frozen=True, slots=True)
class _Took:
    """For each frame between two, the least of some rounds."""

    ms: float
    cpu_ms: float
    """User and system, of all threads."""


def _speeds(kept: Sequence[Planes], maker: FrameMaker, clock: Clock) -> tuple[_Took, _Took]:
    """Ours and theirs, in turn."""
    ours: list[tuple[float, float]] = []
    theirs: list[tuple[float, float]] = []
    pairs = len(kept) - 1
    with TemporaryDirectory() as folder:
        clip = Path(folder) / "clip.y4m"
        clip.write_bytes(y4m_header(kept[0], rate="15:1") + b"".join(y4m(one) for one in kept))
        for _ in range(ROUNDS):
            began_ns, cpu_s = clock.now_ns(), _cpu_s(RUSAGE_SELF)
            for before, after in pairwise(kept):
                maker.between(before, after, MIDDLE)
            took_ms = (clock.now_ns() - began_ns) / 1e6
            ours.append((took_ms, 1000 * (_cpu_s(RUSAGE_SELF) - cpu_s)))
            idle, busy = (_ffmpeg(clip, one, clock) for one in ("null", FILTER.format(fps=30)))
            theirs.append((busy[0] - idle[0], busy[1] - idle[1]))
    found = [
        _Took(*(min(values) / pairs for values in zip(*rounds, strict=True)))
        for rounds in (ours, theirs)
    ]
    return found[0], found[1]


def _cpu_s(who: int) -> float:
    """User and system; of children, those that have ended."""
    used = getrusage(who)
    return used.ru_utime + used.ru_stime


def _ffmpeg(clip: Path, filters: str, clock: Clock) -> tuple[float, float]:
    """The program's time and processor time over the clip, in ms, from raw pictures to nowhere."""
    command = [shutil.which("ffmpeg") or "ffmpeg", "-v", "error", "-i", str(clip)]
    began_ns, cpu_s = clock.now_ns(), _cpu_s(RUSAGE_CHILDREN)
    done = subprocess.run(
        [*command, "-vf", filters, "-f", "null", "-"], capture_output=True, check=False
    )
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ConfigError(f"ffmpeg refused {filters} and said: {said[-1]}")
    took_ms = (clock.now_ns() - began_ns) / 1e6
    return took_ms, 1000 * (_cpu_s(RUSAGE_CHILDREN) - cpu_s)
