"""Pictures that are decoded on the device, and arrays of others there.

Where there is no device, libav's own decoder stands in for the one there: it gives luma and pairs in
memory of this computer, which is the device's.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Iterator
from dataclasses import fields
from fractions import Fraction
from functools import partial
from itertools import pairwise
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference
from kernels.arguments import Layout
from streamer import decode_context
from streamer.clock import ManualClock
from streamer.decode import Decoder
from streamer.errors import EngineError
from streamer.frame import Frame, Packet, Planes
from streamer.gpu.arrays import CPU, DeviceArray, device_array, picture_of
from streamer.gpu.door import Gpu
from streamer.gpu.hardware import Intake, open_decoder
from streamer.gpu.pictures import DeviceFrame, DevicePlanes, is_same, on_device
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.media import VideoInfo
from streamer.metrics import Metrics
from tests.kernels.conftest import why_no_device
from tests.kernels.pictures import noise
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.gpu.packets import taken, video
from tests.streamer.models import shipped
from tests.streamer.pictures import frame_of

WIDTH, HEIGHT = 64, 36


class Foreign:
    """An array as CuPy or PyTorch would offer it."""

    def __init__(self, gpu: Gpu, values: NDArray[Any], *, padding: int = 0) -> None:
        rows, row = len(values), values[0].nbytes
        self._gpu, stride = gpu, row + padding
        self.address = gpu.device.allocate(rows * stride)
        whole = np.zeros((rows, stride), np.uint8)
        whole[:, :row] = values.reshape(rows, -1).view(np.uint8)
        gpu.device.upload(self.address, whole.ctypes.data, whole.nbytes)
        self.__cuda_array_interface__ = {
            "shape": values.shape,
            "typestr": values.dtype.str,
            "data": (self.address, False),
            "strides": (stride, *values.strides[1:]) if padding else None,
            "version": 3,
        }

    def close(self) -> None:
        self._gpu.device.free(self.address)


def decoded_on(gpu: Gpu, layout: Layout) -> tuple[list[NDArray[Any]], list[Foreign]]:
    planes = noise(layout, width=WIDTH, height=HEIGHT)
    padding = 2 * 32 if layout is Layout.P010 else 0
    return planes, [Foreign(gpu, plane, padding=padding) for plane in planes]


def as_device_frame(planes: DevicePlanes, like: Frame) -> DeviceFrame:
    told = {field.name: getattr(like, field.name) for field in fields(Frame)}
    return DeviceFrame(**told | {"planes": planes})


@pytest.mark.parametrize("layout", [Layout.NV12, Layout.P010])
def test_a_picture_of_the_decoder_goes_through_without_the_host(
    door: Emulated | RealDoor, layout: Layout
) -> None:
    gpu, own = door.gpu(), door.gpu()
    intake = Intake(own)
    stage = DeviceSuperResolution(gpu, [QueuedEngine(gpu, shipped("fp32"))])
    samples, arrays = decoded_on(own, layout)
    there = picture_of([device_array(array) for array in arrays], layout)
    planes = intake.taken_over(there)
    # The decoder uses its surface again.
    for array, plane in zip(arrays, samples, strict=True):
        noise_of_others = np.zeros_like(plane)
        own.device.upload(array.address, noise_of_others.ctypes.data, noise_of_others.nbytes)
    y, u, v = reference.planar(samples)
    on_host: Planes = y, u, v
    frame = as_device_frame(planes, frame_of(on_host))
    assert (frame.width, frame.height) == (WIDTH, HEIGHT)
    seen = stage.process(frame, tier="nano", with_comparison=False)
    expected = stage.process(frame_of(on_host), tier="nano", with_comparison=False)
    for one, other in zip(seen.planes, expected.planes, strict=True):
        assert np.array_equal(one, other)
    # And whoever needs the pixels here finds them.
    for one, other in zip(frame.planes, on_host, strict=True):
        assert np.array_equal(one, other)
    for array in arrays:
        array.close()
    stage.close()
    intake.close()


def test_pixels_are_copied_to_the_host_only_when_somebody_looks(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    intake = Intake(gpu)
    samples, arrays = decoded_on(gpu, Layout.NV12)
    planes = intake.taken_over(picture_of([device_array(a) for a in arrays], Layout.NV12))
    emulated.run_all()
    assert planes.size == (WIDTH, HEIGHT)
    # A copy that is not there cannot fail; once asked for, it does.
    emulated.fail("cuMemcpyDtoHAsync_v2", ILLEGAL_ADDRESS)
    # What went with the device is grey; whoever looks goes on.
    assert all((plane == 128).all() for plane in planes)
    assert gpu.metrics.counts("") == {
        **{f"gpu.{name}": n for name, n in gpu.metrics.counts("gpu.").items()},
        "copied.decoded": 1,
    }
    assert gpu.metrics.counted("gpu.lost") == 1
    assert samples[0].any()


def test_a_second_look_does_not_copy_again(emulated: Emulated) -> None:
    gpu = emulated.gpu()
    intake = Intake(gpu)
    samples, arrays = decoded_on(gpu, Layout.NV12)
    planes = intake.taken_over(picture_of([device_array(a) for a in arrays], Layout.NV12))
    first = planes[0].copy()
    planes[0][:] = 7
    assert (planes[0] == 7).all()
    assert np.array_equal(first, samples[0])
    for array in arrays:
        array.close()
    intake.close()


def test_planes_of_libav_are_found_by_dlpack_where_they_are() -> None:
    native = av.VideoFrame(WIDTH, HEIGHT, "nv12")
    luma, pairs = (device_array(plane, kind=CPU) for plane in native.planes)
    assert (luma.shape, luma.sample_bytes) == ((HEIGHT, WIDTH), 1)
    assert pairs.shape == (HEIGHT // 2, WIDTH // 2, 2)
    assert luma.address == native.planes[0].buffer_ptr
    assert luma.strides == (native.planes[0].line_size, 1)
    at = picture_of([luma, pairs], Layout.NV12).at
    assert (at.luma, at.chroma) == tuple(plane.buffer_ptr for plane in native.planes)
    ten = av.VideoFrame(WIDTH, HEIGHT, "p010le")
    arrays = [device_array(plane, kind=CPU) for plane in ten.planes]
    assert picture_of(arrays, Layout.P010).at.luma_stride == ten.planes[0].line_size


def test_arrays_that_are_elsewhere_or_no_picture_are_refused() -> None:
    with pytest.raises(EngineError, match="the array is on device 1:0, pictures stay on 2:0"):
        device_array(np.zeros(4, np.uint8))
    with pytest.raises(EngineError, match=r"a list offers neither __cuda_array_interface__ nor DL"):
        device_array([1, 2])
    flat = DeviceArray(1, (4, 8), (8, 1), 1, None)
    for other in (
        DeviceArray(1, (2, 4), (8, 2), 1, None),
        DeviceArray(1, (2, 4, 2), (8, 4, 1), 1, 0),
    ):
        with pytest.raises(EngineError, match="are no nv12 picture"):
            picture_of([flat, other], Layout.NV12)


@pytest.mark.skipif(why_no_device() is None, reason="there is a device")
@pytest.mark.parametrize("codec", ["h264", "vp8", "hevc"])
def test_without_libavs_device_the_reason_is_an_error(emulated: Emulated, codec: str) -> None:
    gpu = emulated.gpu()
    with pytest.raises(EngineError, match=f"libav opens no {codec} decoder on the device"):
        open_decoder(video(codec), gpu, max_pixels=1 << 24)
    with pytest.raises(EngineError, match="no device decodes ffv1"):
        open_decoder(video("ffv1"), gpu, max_pixels=1 << 24)
    gpu.close()
    gpu.device.close()


class NextToHost:
    """libav's decoder on the processor, whose pictures lie as a device's do."""

    def __init__(self, context: Any, fate: Callable[[int], Exception | None]) -> None:
        self._context = context
        self._fate = fate
        self._number = 0

    has_b_frames = property(lambda self: self._context.has_b_frames)
    flush_buffers = property(lambda self: self._context.flush_buffers)

    def decode(self, packet: Any) -> list[av.VideoFrame]:
        self._number += 1
        wrong = self._fate(self._number)
        if wrong is not None:
            raise wrong
        return [picture.reformat(format="nv12") for picture in self._context.decode(packet)]


def coded(
    count: int, *, b_frames: int = 0, still: bool = False, how: str = "repeat-headers=1"
) -> list[Packet]:
    """As a source gives them; a keyframe in eight. ``how`` is for libx264."""
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 192, "yuv420p"
    encoder.time_base, encoder.gop_size, encoder.max_b_frames = Fraction(1, 30), 8, b_frames
    encoder.options = {"preset": "ultrafast", "x264-params": how}
    natives: list[Any] = []
    for number in range(count):
        picture = np.full((288, 320), 16 + (0 if still else 3 * number), np.uint8)
        picture[:192] += np.arange(320, dtype=np.uint8) // 4
        native = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        native.pts = number
        natives += encoder.encode(native)
    natives += encoder.encode(None)
    return taken(natives)


class Decoding:
    """A stream's decoder over the emulated device, and one on the host, of the same packets."""

    def __init__(self, emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> None:
        self.emulated = emulated
        self.gpu = emulated.gpu()
        self.metrics = self.gpu.metrics
        self.fate: Callable[[int], Exception | None] = lambda number: None
        monkeypatch.setattr(decode_context, "open_decoder", self._open)
        monkeypatch.setattr(decode_context, "Intake", partial(Intake, kind=CPU))

    def decoder(self, *, gpu: Gpu | None, low_delay: bool) -> Decoder:
        return Decoder(
            video("h264"), low_delay=low_delay, clock=ManualClock(), metrics=self.metrics, gpu=gpu
        )

    def both(
        self, packets: list[Packet], *, low_delay: bool = True
    ) -> tuple[Decoder, list[Frame], list[Frame]]:
        there = self.decoder(gpu=self.gpu, low_delay=low_delay)
        here = self.decoder(gpu=None, low_delay=low_delay)
        seen = [frame for packet in packets for frame in there.decode(packet)] + there.flush()
        wanted = [frame for packet in packets for frame in here.decode(packet)] + here.flush()
        return there, seen, wanted

    def close(self) -> None:
        gc.collect()
        self.gpu.close()
        self.gpu.device.close()

    def _open(self, video: VideoInfo, gpu: Gpu, *, max_pixels: int) -> Any:
        context = av.CodecContext.create(video.codec, "r")
        context.copy_opaque = True
        return NextToHost(context, lambda n: self.fate(n))


@pytest.fixture
def decoding(emulated: Emulated, monkeypatch: pytest.MonkeyPatch) -> Iterator[Decoding]:
    decoding = Decoding(emulated, monkeypatch)
    configured = decode_context._configured

    def on_host(context: Any, video: VideoInfo, *, low_delay: bool) -> Any:
        # What stands in for a device's decoder is no context of PyAV.
        is_there = isinstance(context, NextToHost)
        return context if is_there else configured(context, video, low_delay=low_delay)

    monkeypatch.setattr(decode_context, "_configured", on_host)
    yield decoding
    decoding.close()


def same(seen: list[Frame], wanted: list[Frame]) -> None:
    assert [(f.pts, f.arrived_ns, f.color) for f in seen] == [
        (f.pts, f.arrived_ns, f.color) for f in wanted
    ]
    for one, other in zip(seen, wanted, strict=True):
        for plane, expected in zip(one.planes, other.planes, strict=True):
            assert np.array_equal(plane, expected)


@pytest.mark.parametrize("low_delay", [True, False])
def test_a_stream_that_is_decoded_on_the_device_is_not_copied(
    decoding: Decoding, *, low_delay: bool
) -> None:
    there, seen, wanted = decoding.both(coded(20), low_delay=low_delay)
    assert there.notice == ""
    assert len(seen) == 20
    assert all(on_device(frame.planes) is not None for frame in seen)
    assert all((frame.width, frame.height) == (320, 192) for frame in seen)
    assert decoding.metrics.counts("copied.") == {}
    same(seen, wanted)
    assert decoding.metrics.counts("copied.") == {"decoded": 20}


@pytest.mark.parametrize("b_frames", [0, 2])
@pytest.mark.parametrize("after", [1, 6, 9, 13])
def test_no_picture_is_lost_or_comes_twice_when_the_device_stops_decoding(
    decoding: Decoding, b_frames: int, after: int
) -> None:
    def fate(number: int) -> Exception | None:
        return av.error.ExternalError(0, "the device is gone") if number >= after else None

    decoding.fate = fate
    there, seen, wanted = decoding.both(coded(20, b_frames=b_frames), low_delay=not b_frames)
    assert "pictures are decoded on the CPU: " in there.notice
    assert "the device is gone" in there.notice
    assert there.refused == 0
    same(seen, wanted)
    assert on_device(seen[-1].planes) is None


def test_a_damaged_packet_does_not_cost_the_device(decoding: Decoding) -> None:
    def fate(number: int) -> Exception | None:
        return av.error.InvalidDataError(0, "no picture") if number == 5 else None

    decoding.fate = fate
    there, seen, _ = decoding.both(coded(12))
    assert there.notice == ""
    assert there.refused == 1
    assert len(seen) == 11
    assert all(on_device(frame.planes) is not None for frame in seen)


def test_interlaced_pictures_are_worked_on_where_rows_are(decoding: Decoding) -> None:
    packets = coded(12, how="repeat-headers=1:interlaced=1")
    there, seen, wanted = decoding.both(packets)
    assert there.notice == ""
    same(seen, wanted)
    assert decoding.metrics.counts("copied.") == {"rows": 12}


def test_where_libav_opens_no_decoder_that_is_said_and_the_cpu_does_it(
    decoding: Decoding, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decode_context, "open_decoder", open_decoder)
    with caplog.at_level(logging.WARNING):
        there, seen, wanted = decoding.both(coded(4))
    assert there.notice.startswith("pictures are decoded on the CPU: libav opens no h264 decoder")
    assert caplog.text.count("pictures are decoded on the CPU") == 1
    same(seen, wanted)


def test_duplicates_are_told_on_the_device(decoding: Decoding) -> None:
    _, seen, _ = decoding.both(coded(8, still=True))
    # A keyframe is coded anew; what follows skips every block.
    after = seen[1:]
    assert all(is_same(one.planes, other.planes) for one, other in pairwise(after))
    assert decoding.metrics.counts("copied.") == {}
    for one, other in pairwise(after):
        assert np.array_equal(one.planes[0], other.planes[0])
    _, moving, _ = decoding.both(coded(8))
    assert not any(is_same(one.planes, other.planes) for one, other in pairwise(moving))
    assert not is_same(seen[-1].planes, moving[0].planes)
    assert not is_same(seen[0].planes, (moving[0].planes[0],) * 3)


@pytest.mark.needs_cuda
def test_the_device_decodes_what_the_cpu_does(real_door: RealDoor) -> None:
    gpu, metrics = real_door.gpu(), Metrics()
    packets = coded(20)
    seen, wanted = (
        [frame for packet in packets for frame in decoder.decode(packet)] + decoder.flush()
        for decoder in (
            Decoder(video("h264"), low_delay=True, clock=ManualClock(), metrics=metrics, gpu=door)
            for door in (gpu, None)
        )
    )
    if any(on_device(frame.planes) is None for frame in seen):
        pytest.skip("this card does not decode H.264")
    assert gpu.metrics.counts("copied.") == {}
    same(seen, wanted)
    del seen, wanted
    gc.collect()
    gpu.close()
    gpu.device.close()
