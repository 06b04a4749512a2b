"""FFmpeg's motion interpolation filter through the ``ffmpeg`` program, told apart by time stamps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.quality import filters
from benchmarks.quality.extras import y4m, y4m_header
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


def why_missing() -> str:
    """A sentence where the filter cannot be had here, else nothing."""
    return filters.why_missing("minterpolate")


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
    _, idle_ms = filters.filtered(stream, filters.NOTHING, clock=clock)
    answer, busy_ms = filters.filtered(stream, options, clock=clock)
    between = {index: planes for index, planes in _frames(answer) if index % 2 and index > 1}
    return between, max(busy_ms - idle_ms, 0.0) / max(len(between), 1)


def _frames(nut: bytes) -> list[tuple[int, Planes]]:
    """Pictures with their index of the full clip, from their time stamps."""
    found = []
    for time_s, planes in filters.pictures(nut):
        index = time_s * RATE
        if index.denominator != 1:
            raise ConfigError(f"ffmpeg gave a frame for the moment {index}, between two frames")
        found.append((int(index), planes))
    return found
