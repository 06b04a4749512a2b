"""``streamer run --steady``, over a coded clip whose undamaged pictures are known."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from streamer.frame import Planes
from tests.command import RunHere
from tests.measure import as_planes
from tests.streamer.noisy_pictures import HEIGHT, WIDTH, panned, psnr

PICTURES = 24


def written(path: Path) -> list[Planes]:
    """A slow pan at half the size, as a camera codes it that has few bits for it; what it was."""
    drawn = [panned(number, (1.0, 0.5)) for number in range(PICTURES)]
    with av.open(str(path), "w") as container:
        options = {"crf": "28", "preset": "veryfast", "tune": "zerolatency"}
        stream: Any = container.add_stream("libx264", rate=Fraction(25), options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH // 2, HEIGHT // 2, "yuv420p"
        for number, planes in enumerate(drawn):
            small = [
                cv2.resize(plane, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
                for plane in planes
            ]
            rows = np.concatenate([np.asarray(one).reshape(-1, WIDTH // 2) for one in small])
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rows), format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return drawn


def made(streamer: RunHere, clip: Path, out: Path, *options: object) -> list[Planes]:
    """What is made of the clip, every picture of it."""
    command = ("run", clip, "--to", out, "--tier", "lite", "--crf", 4, "--denoise", "off", *options)
    assert streamer(*command).code == 0
    with av.open(str(out)) as container:
        frames = [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]
    return [as_planes(data, width=WIDTH, height=HEIGHT) for data in frames]


def test_in_a_file_pictures_gain_by_those_before_and_the_report_names_the_network(
    streamer: RunHere, tmp_path: Path
) -> None:
    clip, report = tmp_path / "clip.mkv", tmp_path / "report.json"
    drawn = written(clip)
    alone = made(streamer, clip, tmp_path / "off.mkv", "--no-steady")
    steadied = made(streamer, clip, tmp_path / "on.mkv", "--report", report)
    assert len(alone) == len(steadied) == PICTURES
    near = [
        float(np.mean([psnr(one[0], was[0]) for one, was in zip(pictures, drawn, strict=True)]))
        for pictures in (alone, steadied)
    ]
    assert near[1] > near[0] + 0.02
    engines = json.loads(report.read_text(encoding="utf-8"))["engines"]
    assert any("steady-lite" in json.dumps(engine) for engine in engines)


def test_at_the_same_size_it_is_refused(streamer: RunHere, tmp_path: Path) -> None:
    done = streamer("run", "clip.mp4", "--to", tmp_path / "o.mp4", "--scale", 1, "--steady")
    assert done.code == 2
    assert "steadying is for enlarged pictures, --scale is 1; use 2, 3 or 4" in done.err
