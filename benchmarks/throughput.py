"""Claim: the pipeline adds little to what decode, network and encode cost by themselves.

In one run, over the same clip: each part is timed alone, one after the other on the same frames,
and then the whole pipeline offline into ``null:``. The ratio is the pipeline's frames per second
over those that the parts reach when their times are added up. Left out: opening the clip, loading
the model and its first run. The pipeline overlaps its parts, so more than 1 is possible where
cores are left over; the network uses all of them, so not much more.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import av

from benchmarks.result import out_file, write
from streamer import report
from streamer.build import open_stream
from streamer.clock import MonotonicClock
from streamer.config import EncodeSettings, SinkSpec, StreamSettings
from streamer.decode import Decoder
from streamer.encode import Encoder
from streamer.enhance.super_resolution import SuperResolution
from streamer.frame import Frame, Packet
from streamer.infer.backends import Use, choose_super_resolution
from streamer.metrics import Metrics
from streamer.sources.demux import Demuxer, file_url
from streamer.sources.scene import Scene

T = TypeVar("T")


def main(arguments: list[str]) -> None:
    """Measure, print a table, and end with one line of JSON."""
    options = _parse(arguments)
    with tempfile.TemporaryDirectory() as folder:
        clip = options.clip or _drawn_clip(Path(folder) / "scene.mp4", options.frames)
        rounds = [_round(str(clip), options) for _ in range(options.rounds)]
    best = max(rounds, key=lambda r: float(r["ratio"]))
    # Of an even number of rounds the lower one in the middle.
    median = sorted(rounds, key=lambda r: float(r["ratio"]))[(len(rounds) - 1) // 2]
    for name in ("decode_ms", "enhance_ms", "encode_ms", "alone_fps", "pipeline_fps", "ratio"):
        print(f"{name:14} median {median[name]:9.3f}   best {best[name]:9.3f}")
    write(
        {
            "benchmark": "throughput",
            "clip": Path(clip).name,
            "scale": options.scale,
            "model": median["model"],
            "rounds": rounds,
            "median": median,
            "machine": report.machine(),
        },
        options.out,
    )


def _parse(arguments: list[str]) -> Any:
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput", description=__doc__)
    parser.add_argument("--clip", help="a video file; without one the project draws its own")
    parser.add_argument("--frames", type=int, default=240, help="frames of the drawn clip")
    parser.add_argument("--scale", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=out_file, help="also write the JSON to this file")
    return parser.parse_args(arguments)


def _round(clip: str, options: Any) -> dict[str, Any]:
    """Parts alone and the pipeline, one after the other, so that both see the same machine."""
    clock = MonotonicClock()
    packets, decoder, fps = _opened(clip, clock)
    decoded, decode_s = _timed(clock, partial(_decode, decoder, packets))
    choice = choose_super_resolution(scale=options.scale, backend="auto", use=Use(clock=clock))
    stage = SuperResolution(choice.engines)
    stage.warm_up(decoded[0].width, decoded[0].height)
    tier = stage.tiers[0]
    encoder = Encoder(
        "encode", EncodeSettings(), fps=fps, is_live=False, clock=clock, metrics=Metrics()
    )
    enhance_s = encode_s = 0.0
    # Frame by frame, as holding every enhanced picture would measure the memory instead.
    for frame in decoded:
        enhance = partial(stage.process, frame, tier=tier, with_comparison=False)
        enhanced, seconds = _timed(clock, enhance)
        enhance_s += seconds
        _, seconds = _timed(clock, partial(encoder.encode, enhanced, enhanced.planes))
        encode_s += seconds
    encode_s += _timed(clock, encoder.flush)[1]
    # The pipeline opens its own.
    stage.close()
    number = len(decoded)
    alone_fps = number / (decode_s + enhance_s + encode_s)
    pipeline_fps = asyncio.run(_pipeline_fps(clip, options.scale))
    return {
        "model": choice.engines[0].manifest.name,
        "frames": number,
        "decode_ms": 1000 * decode_s / number,
        "enhance_ms": 1000 * enhance_s / number,
        "encode_ms": 1000 * encode_s / number,
        "alone_fps": alone_fps,
        "pipeline_fps": pipeline_fps,
        "ratio": pipeline_fps / alone_fps,
    }


async def _pipeline_fps(clip: str, scale: int) -> float:
    clock = MonotonicClock()
    # With nothing that the parts alone do not do.
    settings = StreamSettings(
        source=clip, sinks=(SinkSpec(kind="null"),), scale=scale, denoise="off", steady=False
    )
    stream = await open_stream(settings, clock=clock)
    began_ns = clock.now_ns()
    await stream.run()
    seconds = (clock.now_ns() - began_ns) / 1e9
    return int(stream.report()["frames"]["sent"]) / seconds


def _opened(clip: str, clock: MonotonicClock) -> tuple[list[Packet], Decoder, Fraction | None]:
    demuxer = Demuxer(file_url(clip), name=clip, clock=clock, format=None, options={})
    packets = []
    while (packet := demuxer.next_packet()) is not None:
        if packet.stream == "video":
            packets.append(packet)
    decoder = Decoder(demuxer.video, low_delay=False, clock=clock, metrics=Metrics())
    return packets, decoder, demuxer.video.fps


def _decode(decoder: Decoder, packets: list[Packet]) -> list[Frame]:
    frames = [frame for packet in packets for frame in decoder.decode(packet)]
    frames += decoder.flush()
    decoder.close()
    return frames


def _timed(clock: MonotonicClock, call: Callable[[], T]) -> tuple[T, float]:
    began_ns = clock.now_ns()
    result = call()
    return result, (clock.now_ns() - began_ns) / 1e9


def _drawn_clip(path: Path, frames: int) -> Path:
    """The synthetic scene at 640x360, coded as a camera would."""
    scene = Scene(seed=1, width=640, height=360, cut_s=Fraction(5))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "26", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number in range(frames):
            picture = av.VideoFrame.from_dlpack(scene.draw(Fraction(number, 30)), format="yuv420p")
            picture.pts, picture.time_base = number, Fraction(1, 30)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path
