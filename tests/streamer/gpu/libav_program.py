"""What ``test_libav.py`` runs with a CUDA driver that libav finds: it prints what became of one thing."""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np

from kernels.arguments import Layout
from streamer.clock import ManualClock
from streamer.config import EncodeSettings
from streamer.decode import Decoder
from streamer.encode import Encoder
from streamer.frame import Frame, Packet, Planes
from streamer.gpu import encoding
from streamer.gpu.door import Gpu
from streamer.gpu.encoding import NVENC, Outlet
from streamer.gpu.hardware import Intake
from streamer.gpu.pictures import DevicePlanes, Landing, host_planes, lent, size_bytes
from streamer.gpu.pictures import on_device as on_device_of
from tests.kernels.host_build import HostKernels
from tests.streamer.gpu.emulated import Emulated
from tests.streamer.gpu.packets import taken, video
from tests.streamer.pictures import frame_of, noise

WIDTH, HEIGHT = 320, 192
CUT = 180
"""Rows that are shown of what is decoded."""


def on_device(gpu: Gpu, *, seed: int) -> DevicePlanes:
    """A picture of noise there, and the same one here."""
    picture = lent(gpu, Layout.YUV420P, WIDTH, HEIGHT, stream=gpu.compute)
    values = np.concatenate([p.ravel() for p in noise(width=WIDTH, height=HEIGHT, seed=seed)])
    gpu.compute.wait()
    gpu.device.upload(picture.at.luma, values.ctypes.data, values.nbytes)
    landed = gpu.pinned.lease_for_host(size_bytes(Layout.YUV420P, WIDTH, HEIGHT))
    np.asarray(landed)[: values.size] = values
    landing = Landing(gpu.device, [landed.ready], lambda failure: None)
    return DevicePlanes(host_planes(landed, WIDTH, HEIGHT), landing, picture, gpu=gpu)


def passes(gpu: Gpu) -> dict[str, Any]:
    """A picture to libav and back."""
    outlet, intake = Outlet(gpu.another()), Intake(gpu.another())
    told = []
    for seed in range(4):
        planes = on_device(gpu, seed=seed)
        native = outlet.picture(planes)
        assert native is not None
        # libav copies in the order of the stream that it was told, and so behind what made the picture.
        rows = intake.downloaded(native)
        back = intake.planes(native)
        luma = rows.to_ndarray()[:HEIGHT]
        told.append(
            {
                "format": native.format.name,
                "known": intake.knows(native),
                "same": all(np.array_equal(a, b) for a, b in zip(planes, back, strict=True)),
                "downloaded": rows.format.name,
                "same_rows": bool(np.array_equal(planes[0], luma)),
            }
        )
    return {"pictures": told}


def encodes(gpu: Gpu, *, is_live: bool) -> dict[str, Any]:
    """Pictures to NVENC, if libav finds its library; one of them is on the host."""
    encoding.encoder_on_device = lambda: NVENC  # type: ignore[assignment]
    # Before libav does, which would take what is counted with it.
    nvenc = nvenc_library()
    encoder = Encoder(
        "enhanced",
        EncodeSettings(),
        fps=Fraction(30),
        is_live=is_live,
        clock=ManualClock(),
        metrics=gpu.metrics,
    )
    packets: list[Packet] = []
    expected = []
    with av.logging.Capture() as logs:
        for number in range(12):
            planes: Planes = on_device(gpu, seed=number)
            y, u, v = (plane.copy() for plane in planes)
            if number == 3:
                planes = y, u, v
            if number == 5:
                encoder.request_keyframe()
            if number == 7:
                encoder.set_target_bitrate(300_000)
            # Cameras send a little early or late.
            time = 1000 * number + 150 * (number % 3)
            frame = replace(frame_of(planes, pts=time), time_base=Fraction(1, 30_000))
            packets += encoder.encode(frame, planes)
            # What is encoded is let go of, so that its memory is used again.
            expected.append(b"".join((y.tobytes(), np.stack((u, v), axis=-1).tobytes())))
        packets += encoder.flush()
    return {
        "logs": [text for _, _, text in logs],
        "packets": len(packets),
        "keyframes": [n for n, packet in enumerate(packets) if packet.is_keyframe],
        "same": [packet.payload == whole for packet, whole in zip(packets, expected, strict=True)],
        "lost": gpu.metrics.counted("gpu.encoder_lost"),
        "nvenc": {name: counted(nvenc, name) for name in ("reconfigured", "registered")},
    }


def nvenc_library() -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL("libnvidia-encode.so.1")
    except OSError:
        return None


def counted(nvenc: ctypes.CDLL | None, name: str) -> int:
    """How often it was told another bitrate, and of how many pieces of memory."""
    return 0 if nvenc is None else ctypes.c_int.in_dll(nvenc, f"nvenc_{name}").value


def recorded(count: int) -> list[Packet]:
    """H.264 whose last rows of blocks are cut, as those of 1080p."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = WIDTH, CUT, "yuv420p"
    encoder.time_base = Fraction(1, 30)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    natives: list[Any] = []
    for number in range(count):
        native = av.VideoFrame(WIDTH, CUT, "yuv420p")
        native.pts = number
        natives += encoder.encode(native)
    return taken(natives)


def drawn(number: int) -> tuple[Any, ...]:
    """What ``nvdec.cpp`` gives of a packet."""
    y, x = np.indices((CUT, WIDTH))
    rows, columns = np.indices((CUT // 2, WIDTH // 2))
    planes = 16 * number + x + 3 * y, number + 5 * columns + rows, number + columns + 7 * rows
    return tuple(plane.astype(np.uint8) for plane in planes)


def decodes(gpu: Gpu) -> dict[str, Any]:
    """Packets to NVDEC, if libav finds its library."""
    decoder = Decoder(
        video("h264"), low_delay=True, clock=ManualClock(), metrics=gpu.metrics, gpu=gpu
    )
    before, frames, same = decoder.notice, deque[Frame](), list[bool]()
    sizes, there, times = set(), [], []
    for packet in [*recorded(24), None]:
        frames += decoder.flush() if packet is None else decoder.decode(packet)
        # Looked at late, when the decoder's memory is used again, and let go of, so that ours is.
        while frames and (packet is None or len(frames) > 3):
            frame = frames.popleft()
            sizes.add((frame.width, frame.height))
            times.append((float(frame.pts * frame.time_base), frame.arrived_ns))
            there.append(on_device_of(frame.planes) is not None)
            expected = drawn(len(same))
            same.append(all(map(np.array_equal, frame.planes, expected)))
    return {
        "before": before,
        "notice": decoder.notice,
        "sizes": sorted(sizes),
        "there": there,
        "times": times,
        "same": same,
        "copied": gpu.metrics.counts("copied."),
    }


VERBS: dict[str, Callable[[Gpu], dict[str, Any]]] = {
    "passes": passes,
    "encodes": partial(encodes, is_live=False),
    "encodes_live": partial(encodes, is_live=True),
    "decodes": decodes,
}


def main(folder: str, verb: str) -> None:
    emulated = Emulated(HostKernels(Path(folder)))
    gpu = emulated.gpu()
    told = VERBS[verb](gpu)
    gc.collect()
    gpu.close()
    gpu.device.close()
    kinds = ("streams", "memory", "events", "modules", "complaints")
    told["left"] = {kind: emulated.count(kind) for kind in kinds}
    sys.stdout.write(json.dumps(told) + "\n")


if __name__ == "__main__":
    av.logging.set_level(av.logging.VERBOSE)
    main(*sys.argv[1:])
