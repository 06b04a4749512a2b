"""TensorRT where there is none: a double, whose every call is held against the real bindings."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING

import pytest

from tests.streamer.infer.tensorrt_stub import load_bindings

if TYPE_CHECKING:
    from tests.streamer.infer.tensorrt_double import World


@pytest.fixture(scope="session")
def bindings(tmp_path_factory: pytest.TempPathFactory) -> ModuleType:
    return load_bindings(tmp_path_factory.mktemp("tensorrt"))


@pytest.fixture
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """``import tensorrt`` gives the double, and what it was asked for is told."""
    # Not where only tests on a device are run, with fewer packages.
    pytest.importorskip("onnx")
    from tests.streamer.infer.host_stream import HostStream
    from tests.streamer.infer.tensorrt_double import DoubleApi, World

    world = World()
    bindings = request.getfixturevalue("bindings")
    monkeypatch.setitem(sys.modules, "tensorrt", DoubleApi(bindings, world))
    yield world
    HostStream.by_handle.clear()


@pytest.fixture
def device(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """As if this computer had a GPU besides."""
    from streamer.infer import tensorrt
    from tests.streamer.infer.host_stream import HostStream

    monkeypatch.setattr(tensorrt, "DriverStream", HostStream)
    monkeypatch.setattr(tensorrt, "has_device", lambda: True)
    return world
