"""Pictures of a device on their way to its encoder.

Where there is no device, libx264 stands in for NVENC: it takes luma and pairs from memory of this
computer, which is the device's.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from fractions import Fraction
from functools import partial
from threading import Thread
from typing import Any
from weakref import ref

import av
import numpy as np
import pytest

from streamer.clock import ManualClock
from streamer.config import EncodeSettings
from streamer.encode import Encoder
from streamer.frame import Frame, Packet
from streamer.gpu import encoding
from streamer.gpu.arrays import CPU, Exported
from streamer.gpu.encoding import (
    PROBED,
    Outlet,
    encoder_on_device,
    file_options,
    live_options,
)
from streamer.gpu.pictures import DevicePlanes
from streamer.infer.reference import PLAIN
from streamer.metrics import Metrics
from tests.kernels.conftest import why_no_device
from tests.streamer.gpu.emulated import LAUNCH_FAILED, Emulated, RealDoor
from tests.streamer.gpu.test_made_frames import at
from tests.streamer.gpu.test_super_resolution import Way
from tests.streamer.models import shipped
from tests.streamer.motion import psnr
from tests.streamer.pictures import frame_of, plain

WITHOUT_LOSS = EncodeSettings(crf=0)


def encoder_of(metrics: Metrics, *, is_live: bool = False) -> Encoder:
    return Encoder(
        "enhanced",
        WITHOUT_LOSS,
        fps=Fraction(30),
        is_live=is_live,
        clock=ManualClock(),
        metrics=metrics,
    )


def decoded(packets: list[Packet]) -> list[np.ndarray[Any, Any]]:
    context = av.CodecContext.create("h264", "r")
    frames = [f for p in packets for f in context.decode(av.Packet(p.payload))]
    return [frame.to_ndarray() for frame in [*frames, *context.decode(None)]]


def flat(frame: Frame) -> np.ndarray[Any, Any]:
    y, u, v = frame.planes
    return np.concatenate((y.reshape(-1), u.reshape(-1), v.reshape(-1))).reshape(-1, frame.width)


@pytest.fixture
def way(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> Iterator[Way]:
    """A stage whose pictures stay on the device, and an encoder there."""
    monkeypatch.setattr(encoding, "encoder_on_device", lambda: "libx264")
    monkeypatch.setattr(encoding, "Outlet", partial(Outlet, kind=CPU))
    monkeypatch.setattr(Outlet, "encoder", "libx264")
    for name in ("live_options", "file_options"):
        monkeypatch.setattr(encoding, name, lambda _: {"preset": "ultrafast", "qp": "0"})
    way = Way(emulated.gpu(), shipped("fp32"), lands_at_once=False)
    yield way
    way.close()
    gc.collect()


def frames_of(way: Way, count: int, *, first: int = 0) -> list[Frame]:
    return [way.send(frame_of(at(n), pts=n)) for n in range(first, first + count)]


def encoded(encoder: Encoder, frames: list[Frame]) -> list[Packet]:
    """On a thread of its own, as a stream does it."""
    packets: list[Packet] = []

    def run() -> None:
        for frame in frames:
            packets.extend(encoder.encode(frame, frame.planes))

    thread = Thread(target=run)
    thread.start()
    thread.join()
    return packets


def test_what_is_encoded_is_what_a_host_sees_and_nobody_copies_it(way: Way) -> None:
    encoder = encoder_of(way.gpu.metrics)
    frames = frames_of(way, 6)
    packets = encoded(encoder, frames) + encoder.flush()
    assert way.gpu.metrics.counts("copied.") == {"to_device": 6}
    seen = decoded(packets)
    assert len(seen) == 6
    for picture, frame in zip(seen, frames, strict=True):
        assert np.array_equal(picture, flat(frame))
    assert way.gpu.metrics.counted("copied.shown") == 6
    assert Exported._held == {}


def test_memory_is_used_again_and_not_before_the_encoder_let_go(way: Way) -> None:
    encoder, packets, wanted = encoder_of(way.gpu.metrics), [], []
    for number in range(12):
        (frame,) = frames_of(way, 1, first=number)
        packets += encoded(encoder, [frame])
        wanted.append(flat(frame))
        del frame
    for seen, picture in zip(decoded(packets + encoder.flush()), wanted, strict=True):
        assert np.array_equal(seen, picture)


def test_an_encoder_that_fails_gives_way_to_the_hosts_and_no_picture_is_missing(
    way: Way, emulated: Emulated, caplog: pytest.LogCaptureFixture
) -> None:
    encoder, frames = encoder_of(way.gpu.metrics), frames_of(way, 6)
    emulated.run_all()
    wanted = [plain(at(number)) for number in range(6)]
    packets = encoded(encoder, frames[:2])
    emulated.fail("cuLaunchKernel", LAUNCH_FAILED)
    with caplog.at_level(logging.WARNING):
        packets += encoded(encoder, frames[2:]) + encoder.flush()
    assert caplog.text.count("pictures are encoded on the CPU from here on: ") == 1
    assert way.gpu.metrics.counted("gpu.encoder_lost") == 1
    assert [packet.pts for packet in packets] == [3000 * n for n in range(6)]
    assert packets[2].is_keyframe
    for seen, picture in zip(decoded(packets), wanted, strict=True):
        assert psnr(seen[: len(picture[0])], picture[0]) > 28


def test_a_residual_that_cannot_be_is_not_encoded(way: Way) -> None:
    way.engine.value = -200.0
    encoder = encoder_of(way.gpu.metrics)
    (frame,) = frames_of(way, 1)
    packets = encoded(encoder, [frame]) + encoder.flush()
    (seen,) = decoded(packets)
    assert np.array_equal(seen[: frame.height], plain(at(0))[0])


def test_pictures_of_the_host_are_encoded_among_those_of_the_device(way: Way) -> None:
    encoder = encoder_of(way.gpu.metrics)
    first, third = (frames_of(way, 1, first=n)[0] for n in (0, 2))
    second = frame_of(plain(at(1)), pts=1)
    packets = encoded(encoder, [first, second, third]) + encoder.flush()
    seen = decoded(packets)
    for picture, frame in zip(seen, (first, second, third), strict=True):
        assert np.array_equal(picture, flat(frame))


def test_a_made_frame_that_the_host_filled_is_what_is_encoded(way: Way) -> None:
    frames_of(way, 1)
    planes, _ = way.stage.lend(with_comparison=False)
    assert isinstance(planes, DevicePlanes)
    planes.made_on_host()
    for plane, value in zip(planes, plain(at(3)), strict=True):
        plane[:] = value
    made = frame_of(planes)
    encoder = encoder_of(way.gpu.metrics)
    (seen,) = decoded(encoded(encoder, [made]) + encoder.flush())
    assert np.array_equal(seen[: planes.size[1]], plain(at(3))[0])


def test_a_frame_that_is_still_being_made_is_encoded_once_it_is(way: Way) -> None:
    """Nobody waits for it on the host: the encoder's stream does."""
    frames_of(way, 1)
    planes, _ = way.stage.lend(with_comparison=False)
    assert isinstance(planes, DevicePlanes)
    assert planes.canvas is not None
    compute, there = way.gpu.compute, planes.canvas.picture
    width, height = there.size
    with there.memory.writing(compute):
        compute.fill(there.at.luma, 77, width * height * 3 // 2)
    encoder = encoder_of(way.gpu.metrics)
    (seen,) = decoded(encoded(encoder, [frame_of(planes)]) + encoder.flush())
    assert (seen == 77).all()


def test_memory_that_libav_holds_is_not_given_back() -> None:
    class Owner:
        pass

    values = np.arange(64 * 72, dtype=np.uint32).astype(np.uint8)
    owner = Owner()
    held = ref(owner)
    planes = (
        Exported(values.ctypes.data, (48, 64), 64, owner, kind=CPU),
        Exported(values.ctypes.data + 48 * 64, (24, 32, 2), 64, owner, kind=CPU),
    )
    picture: av.VideoFrame | None = av.VideoFrame.from_dlpack(planes, format="nv12")
    del planes, owner
    gc.collect()
    assert held() is not None
    assert picture is not None
    assert np.array_equal(picture.to_ndarray().reshape(-1), values)
    picture = None
    gc.collect()
    assert held() is None
    assert Exported._held == {}


def test_a_preset_is_libx264s(way: Way) -> None:
    assert encoding.encodes(EncodeSettings())
    assert not encoding.encodes(EncodeSettings(preset="fast"))


@pytest.mark.parametrize(
    "options",
    [
        PROBED,
        live_options(5_000_000),
        file_options(EncodeSettings()),
        file_options(EncodeSettings(bitrate_kbps=800)),
    ],
)
def test_libav_has_every_option_and_value_that_is_asked_for(options: dict[str, str]) -> None:
    """Of the encoder that is installed, which a device is not needed to ask."""
    told = av.CodecContext.create("h264_nvenc", "w").supported_options
    known = {option.name: option for option in (*told.generic, *told.private)}
    for name, value in options.items():
        choices = {choice.name for choice in known[name].choices}
        assert value in choices or value.lstrip("-").isdigit(), (name, value)


@pytest.mark.skipif(why_no_device() is None, reason="there is a device")
def test_without_a_device_pictures_are_encoded_on_the_cpu_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    encoder_on_device.cache_clear()
    with caplog.at_level(logging.INFO):
        assert [encoder_on_device() for _ in range(3)] == [None] * 3
    assert caplog.text.count("H.264 is encoded on the CPU: the device does not do it (") == 1


@pytest.mark.needs_cuda
@pytest.mark.parametrize("is_live", [True, False])
def test_the_device_encodes_what_the_host_would(real_door: RealDoor, *, is_live: bool) -> None:
    if encoder_on_device() is None:
        pytest.skip("this card has no encoder, as A100, H100 and H200")
    gpu = real_door.gpu()
    way = Way(gpu, shipped("fp32"), lands_at_once=False)
    encoder = encoder_of(gpu.metrics, is_live=is_live)
    large = [
        frame_of(tuple(np.tile(plane, (8, 8)) for plane in at(n)), pts=n)  # type: ignore[arg-type]
        for n in range(8)
    ]
    frames = [way.send(frame, tier=PLAIN) for frame in large]
    packets = encoded(encoder, frames) + encoder.flush()
    assert gpu.metrics.counts("copied.") == {"to_device": 8}
    seen = decoded(packets)
    assert len(seen) == 8
    assert packets[0].is_keyframe
    for picture, frame in zip(seen, frames, strict=True):
        assert psnr(picture[: frame.height], frame.planes[0]) > 30
    way.close()
