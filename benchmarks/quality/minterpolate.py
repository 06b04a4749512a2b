"""FFmpeg's motion interpolation filter through the ``ffmpeg`` program, told apart by time stamps."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from fractions import Fraction
from io import BytesIO

import av
import numpy as np

from benchmarks.quality.extras import y4m, y4m_header
from export.data.planes import from_i420
from streamer.clock import Clock
from streamer.errors import ConfigError
from streamer.frame import Planes

VARIANTS: Mapping[str, str] = {
    "minterpolate bidir": "me_mode=bidir:mc_mode=obmc",
    "minterpolate bilat": "me_mode=bilat:mc_mode=obmc",
    "minterpolate bilat aobmc vsbmc": "me_mode=bilat:mc_mode=aobmc:vsbmc=1",
}
"""All with mi_mode=mci. With me_mode=bidir the filter never looks at mc_mode and vsbmc (FFmpeg 5.1
gives the same bytes), so those two are varied where they count; bilat with obmc is the default."""

RATE = 30
"""Frames per second of the full clip; only the order of the time stamps matters."""


def version() -> str | None:
    """What ffmpeg calls itself; ``None`` without one."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return None
    said = subprocess.run([ffmpeg, "-version"], capture_output=True, check=False)
    return said.stdout.decode(errors="replace").partition(" Copyright")[0] or None


def why_missing() -> str:
    """A sentence where the filter cannot be had here, else nothing."""
    ffmpeg = shutil.which("ffmpeg")
    if ffmpeg is None:
        return "minterpolate: the program ffmpeg is not on PATH"
    listed = subprocess.run([ffmpeg, "-v", "quiet", "-filters"], capture_output=True, check=False)
    if b" minterpolate " not in listed.stdout:
        return "minterpolate: this ffmpeg is built without the filter"
    return ""


def fill(kept: Sequence[Planes], variant: str, *, clock: Clock) -> tuple[dict[int, Planes], float]:
    """The frames between ``kept``, by index of the full clip, and milliseconds per made frame.

    ``kept`` are the frames 0, 2, 4, ... of the full clip, of one size; so the keys are odd. The
    filter looks at four frames, so it moves nothing in the first interval (where it gives the
    first frame again) and gives nothing in the last: both are left out here. How many frames come
    out differs between versions, hence the filter's own time stamps say which is which. The time
    is that of the whole program less that of the same program without the filter.
    """
    options = f"minterpolate=fps={RATE}:mi_mode=mci:{VARIANTS[variant]}"
    stream = y4m_header(kept[0], rate=f"{RATE}:2") + b"".join(y4m(planes) for planes in kept)
    _, idle_ms = _run(stream, "null", clock)
    answer, busy_ms = _run(stream, options, clock)
    between = {index: planes for index, planes in _frames(answer) if index % 2 and index > 1}
    return between, max(busy_ms - idle_ms, 0.0) / max(len(between), 1)


def _run(stream: bytes, filters: str, clock: Clock) -> tuple[bytes, float]:
    """What ffmpeg makes of a Y4M stream, as NUT with raw pictures, and its milliseconds."""
    command = [
        *(shutil.which("ffmpeg") or "ffmpeg", "-v", "error", "-f", "yuv4mpegpipe", "-i", "pipe:0"),
        *("-vf", filters, "-fps_mode", "passthrough", "-pix_fmt", "yuv420p"),
        *("-c:v", "rawvideo", "-f", "nut", "pipe:1"),
    ]
    began_ns = clock.now_ns()
    done = subprocess.run(command, input=stream, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise ConfigError(f"ffmpeg refused {filters} and said: {said[-1]}")
    return done.stdout, (clock.now_ns() - began_ns) / 1e6


def _frames(nut: bytes) -> list[tuple[int, Planes]]:
    """Pictures with their index of the full clip, from their time stamps."""
    if not nut:
        return []
    found = []
    with av.open(BytesIO(nut), "r", format="nut") as container:
        for frame in container.decode(video=0):
            if frame.pts is None or frame.time_base is None:
                raise ConfigError("ffmpeg gave an interpolated frame without a time stamp")
            index = Fraction(frame.pts) * frame.time_base * RATE
            if index.denominator != 1:
                raise ConfigError(f"ffmpeg gave a frame for the moment {index}, between two frames")
            planes = from_i420(np.asarray(frame.to_ndarray(format="yuv420p"), dtype=np.uint8))
            found.append((int(index), (planes.y, planes.u, planes.v)))
    return found
