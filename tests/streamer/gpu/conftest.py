from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from tests.kernels.conftest import kernel_cache, pytest_runtest_setup  # noqa: F401, needs_cuda is known by it
from tests.kernels.host_build import HostKernels
from tests.streamer.gpu.emulated import Emulated, RealDoor


@pytest.fixture(scope="session")
def compiled_driver(host_kernels: HostKernels) -> Emulated:
    return Emulated(host_kernels)


@pytest.fixture
def emulated(compiled_driver: Emulated) -> Iterator[Emulated]:
    """This computer as a device; whatever a test opens on it has to be given back."""
    compiled_driver.reset()
    yield compiled_driver
    compiled_driver.reset()
    # Errors that were caught hold frames, and these what they were called with.
    gc.collect()
    left = {
        name: compiled_driver.count(name) for name in ("streams", "memory", "graphs", "modules")
    }
    assert not any(left.values()), left


@pytest.fixture(scope="session")
def real_door(tmp_path_factory: pytest.TempPathFactory) -> RealDoor:
    return RealDoor(kernel_cache(tmp_path_factory))


@pytest.fixture(params=["emulated", pytest.param("real", marks=pytest.mark.needs_cuda)])
def door(request: pytest.FixtureRequest) -> Emulated | RealDoor:
    """The same tests on both."""
    name = {"emulated": "emulated", "real": "real_door"}[request.param]
    chosen: Emulated | RealDoor = request.getfixturevalue(name)
    return chosen
