"""Pictures that are decoded on the device, and arrays of others there."""

from __future__ import annotations

import logging
from dataclasses import fields
from fractions import Fraction
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from kernels import reference
from kernels.arguments import Layout
from streamer.errors import EngineError
from streamer.frame import Frame, Planes
from streamer.gpu import hardware
from streamer.gpu.arrays import CPU, DeviceArray, device_array, picture_of
from streamer.gpu.door import Gpu
from streamer.gpu.hardware import Intake, encoder_on_device, open_decoder
from streamer.gpu.pictures import DeviceFrame, DevicePlanes
from streamer.gpu.super_resolution import DeviceSuperResolution
from streamer.media import Color, VideoInfo
from tests.kernels.conftest import why_no_device
from tests.kernels.pictures import noise
from tests.streamer.gpu.emulated import ILLEGAL_ADDRESS, Emulated, RealDoor
from tests.streamer.gpu.engines import QueuedEngine
from tests.streamer.gpu.test_super_resolution import shipped
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
    with pytest.raises(EngineError, match="cuMemcpyDtoHAsync_v2 failed"):
        planes[0].any()
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


def video(codec: str, **more: Any) -> VideoInfo:
    return VideoInfo(
        codec=codec,
        width=320,
        height=192,
        fps=Fraction(30),
        time_base=Fraction(1, 30),
        color=Color.untagged(192),
        **more,
    )


@pytest.mark.skipif(why_no_device() is None, reason="there is a device")
def test_without_a_device_pictures_are_decoded_on_the_cpu_and_that_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    hardware._said.clear()
    encoder_on_device.cache_clear()
    with caplog.at_level(logging.INFO):
        for _ in range(3):
            assert open_decoder(video("h264")) is None
            assert open_decoder(video("vp8")) is None
            assert encoder_on_device("h264") is None
    assert caplog.text.count("h264 is decoded on the CPU: the device does not do it (") == 1
    assert caplog.text.count("vp8 is decoded on the CPU: the device does not do it (") == 1
    assert caplog.text.count("h264 is encoded on the CPU: the device does not do it (") == 1
    assert encoder_on_device("vp9") is None


@pytest.mark.needs_cuda
def test_the_device_decodes_what_the_cpu_does(real_door: RealDoor) -> None:
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 320, 192, "yuv420p"
    encoder.time_base, encoder.options = (
        Fraction(1, 30),
        {"preset": "ultrafast", "tune": "zerolatency"},
    )
    packets: list[Any] = []
    for number in range(12):
        picture = np.random.default_rng(number).integers(0, 256, (288, 320), np.uint8)
        native = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        native.pts = number
        packets += encoder.encode(native)
    packets += encoder.encode(None)
    context = open_decoder(video("h264", extradata=encoder.extradata or b""))
    if context is None:
        pytest.skip("this card does not decode H.264")
    exact = av.CodecContext.create("h264", "r")
    gpu = real_door.gpu()
    intake = Intake(gpu)
    seen, expected = [], []
    for packet in [*packets, None]:
        for picture in context.decode(packet):
            planes = intake.planes(picture)
            seen += [[plane.copy() for plane in planes]]
        expected += [picture.to_ndarray() for picture in exact.decode(packet)]
    assert len(seen) == len(expected) == 12
    for (y, u, v), whole in zip(seen, expected, strict=True):
        assert np.array_equal(y, whole[:192])
        assert np.array_equal(np.concatenate((u, v)).reshape(-1), whole[192:].reshape(-1))
    intake.close()
