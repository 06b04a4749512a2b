"""The numbers of a stream as JSON values: for ``--report``, the page and the status line."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from streamer.cores import processor_name, usable_cores
from streamer.frame import Frame
from streamer.gpu.choosing import DOORS
from streamer.infer.engine import Engine
from streamer.media import AudioInfo, VideoInfo
from streamer.metrics import Metrics
from streamer.tally import MADE

RECENT = 150
"""Samples behind the numbers of now: five seconds at 30 fps."""

PACKAGES = (
    "streamer",
    "av",
    "aiortc",
    "numpy",
    "onnxruntime",
    "openvino",
    "opencv-python-headless",
)


def statistics(
    metrics: Metrics,
    *,
    dropped: Mapping[str, int],
    source: VideoInfo,
    engines: Sequence[Engine],
    last_frame: Frame | None,
    out_fps: Fraction | None,
) -> dict[str, Any]:
    """What is true now; percentiles over the last few seconds. ``out_fps`` is the wanted rate."""
    return {
        "source": describe_source(source),
        "output": _output(last_frame, out_fps),
        "frames": _frames(metrics, dropped),
        "latency_ms": {k: v.as_dict() for k, v in metrics.timings(RECENT).items()},
        "tier": last_frame.tier if last_frame is not None else "",
        "tiers": metrics.counts("tier."),
        "stepped": metrics.counts("step."),
        "engines": [_engine(engine) for engine in engines],
    }


def final(
    metrics: Metrics,
    *,
    dropped: Mapping[str, int],
    source: VideoInfo,
    engines: Sequence[Engine],
    media_s: tuple[Fraction, Fraction],
) -> dict[str, Any]:
    """The whole run; ``media_s`` are the times of the first and the last frame sent.

    ``copied`` counts pictures that went to or from a device, by what for; empty without one.
    """
    sent = metrics.counted("sent")
    span_s = media_s[1] - media_s[0]
    out_fps = round(float((sent - 1) / span_s), 3) if span_s else None
    timings = {name: summary.as_dict() for name, summary in metrics.timings().items()}
    return {
        "frames": _frames(metrics, dropped),
        "fps": {"in": _rate(source.fps), "out": out_fps},
        "latency_ms": timings,
        "tiers": metrics.counts("tier."),
        "stepped": metrics.counts("step."),
        "copied": metrics.counts("copied."),
        "engines": [_engine(engine) for engine in engines],
        "source": {**describe_source(source), "loss_ratio": _loss_ratio(metrics)},
        "machine": machine(),
    }


@cache
def machine() -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "cpu": processor_name(),
        "cores": usable_cores(),
        "gpu": _gpu_name(),
        "versions": {"python": platform.python_version(), **_versions()},
    }


def _frames(metrics: Metrics, dropped: Mapping[str, int]) -> dict[str, Any]:
    return {
        "decoded": metrics.counted("decoded"),
        **{origin: metrics.counted(f"sent.{origin}") for origin in MADE},
        "sent": metrics.counted("sent"),
        "left_out": metrics.counted("left_out"),
        "cleaned": metrics.counted("cleaned"),
        "concealed": metrics.counts("concealed."),
        "dropped": dict(dropped),
    }


def describe_source(video: VideoInfo) -> dict[str, Any]:
    """What came in, as reports and the page say it."""
    return {
        "codec": video.codec,
        "width": video.width,
        "height": video.height,
        "fps": _rate(video.fps),
        "pix_fmt": video.pix_fmt,
        "color": {
            "matrix": video.color.matrix,
            "range": video.color.range,
            "primaries": video.color.primaries,
            "transfer": video.color.transfer,
        },
        "notes": list(video.notes),
    }


def describe_audio(audio: AudioInfo | None) -> dict[str, Any] | None:
    """What sounds beside the picture, as reports and the page say it; ``None`` where nothing does."""
    if audio is None:
        return None
    return {"codec": audio.codec, "rate_hz": audio.rate_hz, "channels": audio.channels}


def _output(frame: Frame | None, fps: Fraction | None) -> dict[str, Any]:
    if frame is None:
        return {}
    return {
        "width": frame.width,
        "height": frame.height,
        "fps": _rate(fps),
        "sample_aspect": float(frame.sample_aspect),
    }


def _engine(engine: Engine) -> dict[str, str]:
    return {
        "model": engine.manifest.name,
        "backend": engine.backend,
        "precision": engine.manifest.precision,
        "device": "cuda" if engine.backend in DOORS else "cpu",
    }


def _loss_ratio(metrics: Metrics) -> float:
    """Of the packets that arrived, the share that stood behind a gap."""
    read = metrics.counted("read")
    return round(metrics.counted("read.after_loss") / read, 6) if read else 0.0


def _rate(fps: Fraction | None) -> float | None:
    return round(float(fps), 3) if fps else None


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def _gpu_name() -> str | None:
    """Of the first NVIDIA GPU, as its Linux driver tells it; ``None`` without one."""
    for about in sorted(Path("/proc/driver/nvidia/gpus").glob("*/information")):
        for line in about.read_text(encoding="utf-8").splitlines():
            if line.startswith("Model:"):
                return line.partition(":")[2].strip()
    return None
