"""Doors to devices for tests: this computer as one, by another CUDA driver, and the real one.

The driver is ``tests/kernels/host/cuda.cpp``, the kernels are those of ``kernels/cu`` compiled by g++;
all above them, from ctypes upwards, is what runs on a device.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

from kernels.driver import Device
from kernels.units import Unit
from streamer.gpu.door import Gpu, compiled_for
from streamer.metrics import Metrics
from tests.kernels.host_build import HOST, HostKernels, compile_for_host

OUT_OF_MEMORY, ILLEGAL_ADDRESS, LAUNCH_FAILED = 2, 700, 719


class Emulated:
    """A driver over host memory, compiled once; what it holds is the whole process's."""

    def __init__(self, kernels: HostKernels) -> None:
        self.path = kernels.folder / "libcuda_host.so"
        self._kernels = kernels
        if not self.path.exists():
            compile_for_host("-shared", "-o", str(self.path), str(HOST / "cuda.cpp"), "-ldl")
        self._library = ctypes.CDLL(str(self.path))
        self._library.emulated_count.restype = ctypes.c_size_t

    def image(self, unit: Unit) -> bytes:
        """What it loads in place of machine code."""
        return f"HOST {self._kernels.compiled(unit)}".encode()

    def gpu(self, metrics: Metrics | None = None) -> Gpu:
        return Gpu(metrics or Metrics(), device=self.device(), images=self.image)

    def device(self) -> Device:
        return Device(str(self.path))

    def fail(self, function: str, status: int, *, after: int = 0) -> None:
        """The call after so many of that function fails; from 700 on the device is lost with it."""
        name = ctypes.c_char_p(function.encode())
        self._library.emulated_fail(name, ctypes.c_int(status), ctypes.c_long(after))

    def limit(self, size_bytes: int) -> None:
        """That much device memory there is, until ``reset``."""
        self._library.emulated_capacity(ctypes.c_size_t(size_bytes))

    def run_all(self) -> None:
        """All that is queued is done."""
        self._library.emulated_run_all()

    def reset(self) -> None:
        self._library.emulated_reset()

    def count(self, what: str) -> int:
        """Of allocations and launches ever; of complaints, streams, events, modules, graphs and
        memory now; of work that waits."""
        return int(self._library.emulated_count(ctypes.c_char_p(what.encode())))


class RealDoor:
    """Opens the real device, its kernels compiled into a folder of the tests."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache

    def gpu(self, metrics: Metrics | None = None) -> Gpu:
        device = Device()
        return Gpu(metrics or Metrics(), device=device, images=compiled_for(device, self._cache))
