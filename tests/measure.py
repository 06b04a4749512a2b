"""Looks at files and pictures with FFmpeg's own programs, for comparison with ours."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamer.frame import Planes
from tests.clips import ffmpeg
from tests.programs import output_of


def stream_of(path: Path, kind: str = "v") -> dict[str, Any]:
    """What ffprobe says of the first video (``v``) or audio (``a``) stream; empty without one."""
    streams = _probed(path, f"{kind}:0", "-show_streams")["streams"]
    return dict(streams[0]) if streams else {}


def tick_of(path: Path) -> Fraction:
    """The container's smallest step of time for video, in seconds."""
    return Fraction(stream_of(path)["time_base"])


def times_of(path: Path, kind: str = "v") -> list[Fraction]:
    """When each packet of a stream is shown, in seconds, in order of showing."""
    answer = _probed(path, f"{kind}:0", "-show_streams", "-show_packets")
    time_base = Fraction(answer["streams"][0]["time_base"])
    return sorted(int(p["pts"]) * time_base for p in answer["packets"])


def _probed(path: Path, stream: str, *shown: str) -> dict[str, Any]:
    """What ffprobe says of a stream; it takes a tenth of a second to start."""
    file = path.stat()
    return _answer(path, (file.st_mtime_ns, file.st_size), stream, shown)


@cache
def _answer(path: Path, _: tuple[int, int], stream: str, shown: tuple[str, ...]) -> dict[str, Any]:
    options = ("-v", "error", "-select_streams", stream, *shown, "-of", "json")
    answer: dict[str, Any] = json.loads(output_of("ffprobe", *options, str(path)))
    return answer


def pictures_of(path: Path, *options: str) -> list[Planes]:
    """Every picture as ffmpeg decodes it, 8-bit 4:2:0 (upright, as ffmpeg turns it)."""
    header, _, data = ffmpeg(
        *("-i", str(path), "-map", "0:v:0", *options, "-fps_mode", "passthrough"),
        *("-pix_fmt", "yuv420p", "-strict", "-1", "-f", "yuv4mpegpipe", "-"),
    ).partition(b"\n")
    size = re.match(rb"YUV4MPEG2 W(\d+) H(\d+) ", header)
    assert size is not None
    return split_pictures(data, width=int(size[1]), height=int(size[2]))


def split_pictures(data: bytes, *, width: int, height: int) -> list[Planes]:
    """The pictures of Y4M after its header line."""
    length = len(b"FRAME\n") + width * height * 3 // 2
    assert len(data) % length == 0
    return [
        as_planes(data[start + len(b"FRAME\n") : start + length], width=width, height=height)
        for start in range(0, len(data), length)
    ]


def as_planes(data: bytes, *, width: int, height: int) -> Planes:
    """Y, U and V of one picture of bytes."""
    luma, half = width * height, (height // 2, width // 2)
    flat = np.frombuffer(data, np.uint8)
    return (
        flat[:luma].reshape(height, width),
        flat[luma : luma * 5 // 4].reshape(half),
        flat[luma * 5 // 4 :].reshape(half),
    )


def psnr(ours: Planes, theirs: Planes) -> float:
    """The worst plane's peak signal-to-noise ratio in dB; 99 where nothing differs."""
    return min(plane_psnr(a, b) for a, b in zip(ours, theirs, strict=True))


def plane_psnr(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> float:
    assert ours.shape == theirs.shape
    error = float(np.mean((ours.astype(np.float64) - theirs) ** 2))
    return 99.0 if error == 0 else 10 * float(np.log10(255**2 / error))


def audio_bytes_of(path: Path) -> bytes:
    """AAC as it is in the file, each packet behind an ADTS header, so that containers compare."""
    return ffmpeg("-i", str(path), "-map", "0:a:0", "-c", "copy", "-f", "adts", "-")


def flash_and_beep_times(path: Path) -> tuple[list[float], list[float]]:
    """Seconds at which a picture turns bright, and at which the sound turns loud (to 1 ms)."""
    lines = ffmpeg(
        *("-i", str(path), "-filter_complex"),
        "[0:v]signalstats,metadata=print:key=lavfi.signalstats.YAVG:file=-[v];"
        "[0:a]asetnsamples=n=48,astats=metadata=1:reset=1,"
        "ametadata=print:key=lavfi.astats.Overall.RMS_level:file=-[a]",
        *("-map", "[v]", "-map", "[a]", "-f", "null", "-"),
    ).decode()
    found = re.findall(r"pts_time:(\S+)\s+lavfi\.(signalstats|astats)\.\S+?=(\S+)", lines)
    levels = [(float(at), kind, float(level)) for at, kind, level in found]
    bright = [(at, level > 100) for at, kind, level in levels if kind == "signalstats"]
    loud = [(at, level > -25) for at, kind, level in levels if kind == "astats"]
    return _onsets(bright), _onsets(loud)


def _onsets(states: list[tuple[float, bool]]) -> list[float]:
    was_on = False
    onsets = []
    for at, is_on in sorted(states):
        if is_on and not was_on:
            onsets.append(at)
        was_on = is_on
    return onsets
