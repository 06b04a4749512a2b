from __future__ import annotations

import ctypes.util

import numpy as np
import pytest

from kernels.driver import Device, Module
from kernels.errors import KernelError


def test_without_a_driver_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes.util, "find_library", lambda _: "libcuda-that-is-not-there.so")
    with pytest.raises(KernelError, match=r"libcuda-that-is-not-there.so cannot be loaded.*driver"):
        Device()


@pytest.mark.needs_cuda
def test_memory_goes_to_the_device_and_back() -> None:
    here, back = np.arange(1000, dtype=np.uint8), np.full(1000, 7, np.uint8)
    with Device() as device:
        there = device.allocate(here.nbytes)
        device.download(back.ctypes.data, there, back.nbytes)
        assert not back.any()
        device.upload(there, here.ctypes.data, here.nbytes)
        device.wait()
        device.download(back.ctypes.data, there, back.nbytes)
        device.free(there)
    np.testing.assert_array_equal(back, here)


@pytest.mark.needs_cuda
def test_a_module_that_is_none_is_refused_with_the_drivers_word() -> None:
    with Device() as device, pytest.raises(KernelError, match="CUDA_ERROR_"):
        Module(device, b"no module")
