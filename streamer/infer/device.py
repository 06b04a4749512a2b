"""What an engine needs of a CUDA device: memory on both sides, one stream, and its graphs."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from ctypes import CDLL, c_ubyte
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from kernels import stream as queued
from kernels.driver import Device
from kernels.errors import KernelError
from streamer.errors import EngineError
from streamer.model import ModelManifest

_log = logging.getLogger(__name__)

_DRIVER_TEXT = Path("/proc/driver/nvidia/version")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceFacts:
    """What tells one device and its driver from another."""

    name: str
    capability: tuple[int, int]
    cuda: str
    """The highest version that the driver serves, such as ``13.0``."""
    driver: str
    """Of the kernel module; empty where the system does not say."""


class Stream(Protocol):
    """A CUDA stream and what is done on it; addresses and handles are integers.

    Work is queued in order and done later; ``wait`` waits for it. All of it raises ``EngineError``.
    """

    @property
    def handle(self) -> int:
        """The ``CUstream``, which TensorRT and kernels take."""

    @property
    def facts(self) -> DeviceFacts: ...

    def enter(self) -> None:
        """Makes the device current in the calling thread; before anything else there."""

    def allocate(self, size_bytes: int) -> int:
        """Device memory, zeroed; never per frame."""

    def free(self, address: int) -> None: ...

    def lock(self, size_bytes: int) -> NDArray[np.uint8]:
        """Page-locked host memory, which copies run from and to without a stop in between."""

    def unlock(self, host: NDArray[np.uint8]) -> None: ...

    def upload(self, address: int, host: NDArray[np.uint8]) -> None:
        """Queues a copy of page-locked memory to the device."""

    def download(self, host: NDArray[np.uint8], address: int) -> None:
        """Queues a copy from the device to page-locked memory."""

    def wait(self) -> None:
        """Until all that was queued is done."""

    def capture(self, queue: Callable[[], None]) -> int:
        """A graph of what ``queue`` puts on the stream, which is not done now."""

    def replay(self, graph: int) -> None:
        """Queues all that a graph holds."""

    def drop(self, graph: int) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """An input or output in device memory, contiguous."""

    address: int
    shape: tuple[int, ...]
    dtype: str
    """As the manifest of the model says."""


class ResidentRun(Protocol):
    """An engine for one size, whose inputs and outputs stay in device memory at fixed places."""

    @property
    def inputs(self) -> Mapping[str, DeviceTensor]: ...

    @property
    def outputs(self) -> Mapping[str, DeviceTensor]: ...

    def queue(self) -> None:
        """Puts one run on the engine's stream and does not wait. Raises ``EngineError``."""


class ResidentEngine(Protocol):
    """A network on a device for pictures that are there; all it does is queued on one stream."""

    @property
    def manifest(self) -> ModelManifest: ...

    @property
    def backend(self) -> str: ...

    def resident(self, sizes: Mapping[str, int]) -> ResidentRun:
        """Ready to run at these sizes. The first time takes longer; later it is looked up, for it is
        asked for each picture: it may be another one between two. Raises ``EngineError``."""

    def close(self) -> None: ...


@contextmanager
def ours() -> Iterator[None]:
    """Errors of the driver leave as ``EngineError``."""
    try:
        yield
    except KernelError as error:
        raise EngineError(str(error)) from error


class DriverStream:
    """A stream of device 0, by the CUDA driver."""

    def __init__(self, stream: queued.Stream | None = None) -> None:
        """``stream`` stays its caller's to close; without one it opens device and stream itself."""
        self._owns = stream is None
        with ours():
            self._stream = stream or queued.Stream(Device())
        self._device = self._stream.device

    @property
    def handle(self) -> int:
        return self._stream.handle

    @property
    def facts(self) -> DeviceFacts:
        with ours():
            return DeviceFacts(
                name=self._device.name,
                capability=self._device.capability,
                cuda=self._device.cuda,
                driver=_driver_version(),
            )

    def enter(self) -> None:
        with ours():
            self._device.enter()

    def allocate(self, size_bytes: int) -> int:
        with ours():
            return self._device.allocate(size_bytes)

    def free(self, address: int) -> None:
        with ours():
            self._device.free(address)

    def lock(self, size_bytes: int) -> NDArray[np.uint8]:
        with ours():
            address = self._device.lock(size_bytes)
        return np.ctypeslib.as_array((c_ubyte * size_bytes).from_address(address))

    def unlock(self, host: NDArray[np.uint8]) -> None:
        with ours():
            self._device.unlock(int(host.ctypes.data))

    def upload(self, address: int, host: NDArray[np.uint8]) -> None:
        with ours():
            self._stream.upload(address, int(host.ctypes.data), host.nbytes)

    def download(self, host: NDArray[np.uint8], address: int) -> None:
        with ours():
            self._stream.download(int(host.ctypes.data), address, host.nbytes)

    def wait(self) -> None:
        with ours():
            self._stream.wait()

    def capture(self, queue: Callable[[], None]) -> int:
        with ours():
            return self._stream.capture(queue)

    def replay(self, graph: int) -> None:
        with ours():
            self._stream.replay(graph)

    def drop(self, graph: int) -> None:
        with ours():
            self._stream.drop(graph)

    def close(self) -> None:
        """Also a second time; its handle may be another stream's by then."""
        if self._owns:
            self._owns = False
            with ours():
                self._stream.close()
                self._device.close()


@cache
def has_device() -> bool:
    """Whether a CUDA device can be used here; without a driver that is known in microseconds.

    Of a driver that is there and fails, the log says why, once.
    """
    try:
        CDLL("libcuda.so.1")
    except OSError:
        return False
    try:
        with Device():
            return True
    except KernelError as error:
        # Images carry the driver's library to computers without a device too.
        level = logging.INFO if "CUDA_ERROR_NO_DEVICE" in str(error) else logging.WARNING
        _log.log(level, "the GPU is not used: %s", error)
        return False


def _driver_version() -> str:
    """``580.65.06`` out of "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  …"."""
    try:
        words = _DRIVER_TEXT.read_text(encoding="utf-8").split()
    except OSError:
        return ""
    return next((word for word in words if word[:1].isdigit() and "." in word), "")
