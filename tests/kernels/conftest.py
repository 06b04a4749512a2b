from __future__ import annotations

import os
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from kernels.driver import Device
from kernels.errors import KernelError
from kernels.native import Native
from tests.kernels.cpu_warps import NOTHING_COMPILED, runnable
from tests.kernels.runners import DeviceKernels, Runner


@cache
def why_no_device() -> str | None:
    """What the driver says where there is no device; nothing where there is one."""
    try:
        Device().close()
    except KernelError as error:
        return str(error)
    return None


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips ``needs_cuda`` without a device; ``FAIL_WITHOUT_CUDA=1`` lets the test fail instead."""
    is_promised = os.environ.get("FAIL_WITHOUT_CUDA") == "1"
    if item.get_closest_marker("needs_cuda") and not is_promised and why_no_device():
        pytest.skip(f"needs a CUDA device: {why_no_device()}")


def kernel_cache(folders: pytest.TempPathFactory) -> Path:
    """Where what is compiled for a device is kept: ``KERNEL_CACHE`` where it was compiled before."""
    given = os.environ.get("KERNEL_CACHE")
    return Path(given) if given else folders.mktemp("device_kernels")


@pytest.fixture(scope="session")
def device_kernels(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DeviceKernels]:
    with Device() as device:
        yield DeviceKernels(device, kernel_cache(tmp_path_factory))


@pytest.fixture(params=["host", pytest.param("device", marks=pytest.mark.needs_cuda)])
def runner(request: pytest.FixtureRequest) -> Runner:
    """The same tests on both: what holds on the host must hold on a device, bit for bit."""
    chosen: Runner = request.getfixturevalue(f"{request.param}_kernels")
    return chosen


@pytest.fixture(scope="session")
def levels() -> list[Native]:
    """What is compiled for processors, at every level that this one runs."""
    found = runnable()
    if not found:
        pytest.skip(NOTHING_COMPILED)
    return found
