"""FFmpeg's filters through the ``ffmpeg`` program, as baselines."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from io import BytesIO

import av
import numpy as np

from export.data.planes import from_i420
from streamer.clock import Clock
from streamer.errors import ConfigError
from streamer.frame import Planes

LIMIT_S = 1800

NOTHING = "null"
"""A filter that changes nothing: what the program takes without one."""


def version() -> str | None:
    """What ffmpeg calls itself; ``None`` without one."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    said = subprocess.run([ffmpeg, "-version"], capture_output=True, check=False)
    return said.stdout.decode(errors="replace").partition(" Copyright")[0] or None


def why_missing(name: str) -> str:
    """A sentence where the filter cannot be had here, else nothing."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return f"{name}: the program ffmpeg is not on PATH"
    listed = subprocess.run([ffmpeg, "-v", "quiet", "-filters"], capture_output=True, check=False)
    if f" {name} ".encode() not in listed.stdout:
        return f"{name}: this ffmpeg is built without the filter"
    return ""


def filtered(stream: bytes, filters: str, *, clock: Clock) -> tuple[bytes, float]:
    """What ffmpeg makes of a Y4M stream, as NUT with raw pictures, and its milliseconds."""
    command = [
        *(shutil.which("ffmpeg") or "ffmpeg", "-v", "error", "-f", "yuv4mpegpipe", "-i", "pipe:0"),
        *("-vf", filters, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p"),
        *("-c:v", "rawvideo", "-f", "nut", "pipe:1"),
    ]
    began_ns = clock.now_ns()
    try:
        done = subprocess.run(
            command, input=stream, capture_output=True, check=False, timeout=LIMIT_S
        )
    except subprocess.TimeoutExpired as error:
        raise ConfigError(
            f"ffmpeg was not done with {filters} after {LIMIT_S} s; judge fewer frames with --frames"
        ) from error
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ConfigError(f"ffmpeg refused {filters} and said: {said[-1]}")
    return done.stdout, (clock.now_ns() - began_ns) / 1e6


def pictures(nut: bytes) -> Iterator[tuple[Fraction, Planes]]:
    """With the media time of each, in seconds."""
    if not nut:
        return
    with av.open(BytesIO(nut), "r", format="nut") as container:
        for frame in container.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                raise ConfigError("ffmpeg gave a filtered frame without a time stamp")
            planes = from_i420(np.asarray(frame.to_ndarray(format="yuv420p"), dtype=np.uint8))
            yield Fraction(frame.pts) * frame.time_base, (planes.y, planes.u, planes.v)
