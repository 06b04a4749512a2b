"""Pictures between libav and a device, by libav's own code for CUDA.

libav finds the driver of the tests where it looks for CUDA's, so its contexts, frames and copies are
real, also where there is no device. It proves that libav takes what we give it and we what it gives.
NVDEC and NVENC are libraries of their own, in whose place are such that draw pictures and give pictures
back: what they make of packets and pictures, and which options they refuse, is not seen here.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av  # noqa: F401, its libraries are looked into
import pytest

from kernels import units
from streamer.gpu.memory import DEPTH
from tests.command import ROOT
from tests.kernels.conftest import why_no_device
from tests.kernels.host_build import HOST, HostKernels, compile_for_host

HERE = Path(__file__).parent

Ask = Callable[..., dict[str, Any]]

needs_no_driver = pytest.mark.skipif(
    why_no_device() is None, reason="there is a device, whose libraries libav would find"
)


def not_called(*sources: Path, of: str) -> str:
    """What libav looks for in a library and does not call here: it takes none that lacks any of it."""
    # There may be two of it in this process: OpenCV brings its own.
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    libraries = [Path(one).read_bytes() for one in set(re.findall(r"\S+/libavcodec\S*", maps))]
    name = re.compile(rb"\0(" + of.encode() + rb"[A-Z]\w+)(?=\0)")
    names = {found for library in libraries for found in name.findall(library)}
    there = "".join(source.read_text(encoding="utf-8") for source in sources)
    missing = {found.decode() for found in names} - set(re.findall(r"\b(cu\w+)\(", there))
    return "".join(f'extern "C" int {name}() {{ return 801; }}\n' for name in sorted(missing))


@pytest.fixture(scope="session")
def ask(host_kernels: HostKernels, tmp_path_factory: pytest.TempPathFactory) -> Ask:
    """What the program says, in a process whose CUDA driver is the one of the tests."""
    folder = tmp_path_factory.mktemp("libav_driver")
    for unit in (units.PLANAR, units.INTERLEAVE, units.DIFFERENCE):
        made = host_kernels.compiled(unit)
        (folder / made.name).symlink_to(made)
    cuda, more, rest = HOST / "cuda.cpp", HERE / "libav_driver.cpp", folder / "rest.cpp"
    rest.write_text(not_called(cuda, more, of="cu"), encoding="utf-8")
    nvdec, nvenc = HERE / "nvdec.cpp", HERE / "nvenc.cpp"
    driver, part = folder / "libcuda_host.so", folder / "cuda.o"
    compile_for_host("-c", "-DcuDeviceGetAttribute=emulated_attribute", "-o", str(part), str(cuda))
    named = ("-shared", "-Wl,-soname,libcuda.so.1", "-o", str(driver))
    compile_for_host(*named, str(part), str(more), str(rest), "-ldl")
    (folder / "libcuda.so.1").symlink_to(driver)
    for source, name in ((nvdec, "libnvcuvid.so.1"), (nvenc, "libnvidia-encode.so.1")):
        library = folder / source.stem / name
        library.parent.mkdir()
        rest = folder / f"rest_of_{source.name}"
        rest.write_text(not_called(nvdec, of="cuvid"), encoding="utf-8")
        compile_for_host("-shared", "-o", str(library), str(source), str(rest), str(driver))

    def run(verb: str, *libraries: str) -> dict[str, Any]:
        found = [folder, *(folder / library for library in libraries)]
        found += [
            Path(one) for one in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if one
        ]
        done = subprocess.run(
            [sys.executable, "-m", "tests.streamer.gpu.libav_program", str(folder), verb],
            env={**os.environ, "LD_LIBRARY_PATH": os.pathsep.join(map(str, found))},
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        left = told.pop("left")
        assert not any(left.values()), left
        return told

    return run


def test_libav_takes_our_pictures_and_we_take_its_own(ask: Ask) -> None:
    for told in ask("passes")["pictures"]:
        assert told == {
            "format": "cuda",
            "known": True,
            "same": True,
            "downloaded": "nv12",
            "same_rows": True,
        }


@pytest.mark.parametrize("verb", ["encodes", "encodes_live"])
def test_an_encoder_of_the_device_is_given_each_picture_as_it_is(ask: Ask, verb: str) -> None:
    told = ask(verb, "nvenc")
    assert told["same"] == 12 * [True], told["logs"]
    assert told["keyframes"] == [0, 5]
    assert told["lost"] == 0
    # Only for the bitrate that a viewer asked for: each time it begins anew, with a keyframe.
    assert told["nvenc"]["reconfigured"] == (1 if verb == "encodes_live" else 0)
    # Memory is used again: it is told of few pieces.
    assert 0 < told["nvenc"]["registered"] <= DEPTH + 1


@needs_no_driver
@pytest.mark.parametrize("verb", ["encodes", "encodes_live"])
def test_a_driver_without_an_encoders_library_costs_no_picture(ask: Ask, verb: str) -> None:
    told = ask(verb)
    assert any("libnvidia-encode" in line for line in told["logs"]), told["logs"]
    assert told["packets"] == 12
    assert told["lost"] == 1


@needs_no_driver
def test_a_driver_without_a_decoders_library_is_told(ask: Ask) -> None:
    told = ask("decodes")
    assert told["before"] == ""
    assert "libnvcuvid" in told["notice"]
    assert told["there"] == 24 * [False]


def test_what_a_decoder_gives_is_taken_over_on_the_device(ask: Ask) -> None:
    told = ask("decodes", "nvdec")
    assert told["notice"] == ""
    assert told["sizes"] == [[320, 180]]
    assert told["there"] == 24 * [True]
    assert told["times"] == [[pytest.approx(n / 30), n] for n in range(24)]
    assert told["same"] == 24 * [True]
    assert told["copied"] == {"decoded": 24}
