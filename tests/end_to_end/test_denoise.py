"""``streamer run --denoise``, over a clip whose undamaged pictures are known."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from streamer.frame import Planes
from tests.command import RunHere
from tests.measure import as_planes
from tests.streamer.noisy_pictures import HEIGHT, WIDTH, noisy, panned, psnr

PICTURES = 24


def written(path: Path, *, deviation: float) -> list[Planes]:
    """A pan with white noise, as an old camera sends it; the undamaged pictures."""
    # Slow, and with room at the sides: what is taken for noise must be.
    drawn = [panned(number, (1.0, 0.5)) for number in range(PICTURES)]
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=Fraction(25))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        stream.codec_context.flags |= 2  # AV_CODEC_FLAG_QSCALE
        stream.codec_context.global_quality = 3 * 118  # FF_QP2LAMBDA
        for number, planes in enumerate(drawn):
            y, u, v = noisy(planes, deviation, seed=number) if deviation else planes
            rows = np.concatenate([plane.reshape(-1, WIDTH) for plane in (y, u, v)])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rows), format="yuvj420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return drawn


def made(streamer: RunHere, clip: Path, out: Path, denoise: str) -> list[Planes]:
    """What is made of the clip, every picture of it."""
    options = ("--scale", 1, "--crf", 4, "--denoise", denoise)
    assert streamer("run", clip, "--to", out, *options).code == 0
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
    return [as_planes(data, width=WIDTH, height=HEIGHT) for data in frames]


def test_noise_is_taken_away_and_calm_pictures_are_left(streamer: RunHere, tmp_path: Path) -> None:
    clip, calm = tmp_path / "noisy.avi", tmp_path / "calm.avi"
    drawn = written(clip, deviation=6)
    ways = {
        way: made(streamer, clip, tmp_path / f"{way}.mkv", way) for way in ("on", "auto", "off")
    }
    assert {len(pictures) for pictures in ways.values()} == {PICTURES}
    late = range(PICTURES // 2, PICTURES)
    near = {
        way: float(np.mean([psnr(pictures[n][0], drawn[n][0]) for n in late]))
        for way, pictures in ways.items()
    }
    assert near["on"] > near["off"] + 1
    assert near["auto"] > near["off"] + 1
    written(calm, deviation=0)
    left = [made(streamer, calm, tmp_path / f"calm-{way}.mkv", way) for way in ("auto", "off")]
    for ours, theirs in zip(*left, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("way", ["maybe", "ON"])
def test_another_way_is_refused(way: str, streamer: RunHere, tmp_path: Path) -> None:
    done = streamer("run", "synthetic:", "--to", tmp_path / "o.mp4", "--denoise", way)
    assert done.code == 2
    assert f"--denoise {way!r} is not possible; use auto, on, off" in done.err
