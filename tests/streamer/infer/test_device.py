"""The driver as it is called: by a program of its own, over a libcuda that works on host memory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from streamer.errors import EngineError
from streamer.infer import device
from streamer.infer.device import DriverStream, has_device
from tests.kernels.conftest import why_no_device
from tests.kernels.host_build import HOST
from tests.kernels.stand_ins import failing_driver

SOURCE = HOST / "cuda.cpp"

PROGRAM = """
from threading import Thread

import numpy as np

from streamer.errors import EngineError
from streamer.infer.device import DriverStream, has_device

assert has_device()
stream = DriverStream()
facts = stream.facts
assert (facts.name, facts.capability, facts.cuda) == ("Device of a test", (9, 0), "13.2"), facts
assert stream.handle != 0

# As engines are: opened in one thread, run in another.
def work():
    stream.enter()
    inside, outside, size = stream.lock(100), stream.lock(100), 100
    address = stream.allocate(size)

    def queue():
        stream.upload(address, inside)
        stream.download(outside, address)

    inside[:], outside[:] = np.arange(100), 0
    queue()
    assert not outside.any()
    stream.wait()
    assert (outside == inside).all()

    graph = stream.capture(queue)
    inside[:] = 7
    stream.wait()
    assert outside[5] == 5
    stream.replay(graph)
    stream.wait()
    assert (outside == 7).all()

    def fails():
        raise EngineError("in the middle")

    try:
        stream.capture(fails)
    except EngineError as error:
        assert str(error) == "in the middle"
    # The stream can be used after that.
    inside[:] = 9
    queue()
    stream.wait()
    assert (outside == 9).all()

    try:
        stream.allocate(1 << 40)
    except EngineError as error:
        assert "CUDA_ERROR_OUT_OF_MEMORY" in str(error), error
    stream.drop(graph)
    stream.free(address)
    stream.unlock(inside)
    stream.unlock(outside)
    stream.close()
    # Whose handle it is by then, nobody knows.
    stream.close()
    print("done")

thread = Thread(target=work)
thread.start()
thread.join()
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: apt-get install g++")
def test_copies_graphs_and_memory_are_asked_of_the_driver_in_the_right_way(tmp_path: Path) -> None:
    library = tmp_path / "libcuda.so.1"
    flags = ("-std=c++17", "-O1", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")
    subprocess.run(
        ["g++", *flags, "-o", str(library), str(SOURCE), "-ldl"], check=True, timeout=120
    )
    environment = {
        **os.environ,
        "LD_LIBRARY_PATH": str(tmp_path),
        "PYTHONPATH": ":".join(sys.path),
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        timeout=60,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("done\n", "")


@pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++: apt-get install g++")
@pytest.mark.parametrize(
    ("status", "name", "level"),
    [
        (803, "CUDA_ERROR_SYSTEM_DRIVER_MISMATCH", "WARNING"),
        (100, "CUDA_ERROR_NO_DEVICE", "INFO"),
    ],
)
def test_a_driver_that_is_there_and_fails_is_told(
    status: int, name: str, level: str, tmp_path: Path
) -> None:
    failing_driver(tmp_path / "libcuda.so.1", status=status, name=name)
    program = """
import logging
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from streamer.infer.device import has_device
assert not has_device()
assert not has_device()
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "LD_LIBRARY_PATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        timeout=60,
        text=True,
        check=True,
    )
    (said,) = done.stderr.splitlines()
    assert said.startswith(f"{level} the GPU is not used: cuInit failed with {name}; ")


@pytest.mark.skipif(why_no_device() is None, reason="there is a device")
def test_without_a_device_there_is_a_sentence_that_says_what_is_needed() -> None:
    assert not has_device()
    with pytest.raises(EngineError, match=r"NVIDIA device only; install its driver|nvidia-smi"):
        DriverStream()


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul 27\n", "580.65.06"),
        (
            "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release",
            "575.57.08",
        ),
        ("", ""),
        (None, ""),
    ],
)
def test_the_driver_is_known_by_its_version(
    text: str | None, version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "version"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(device, "_DRIVER_TEXT", path)
    assert device._driver_version() == version
