"""The kernels compiled for the host by g++: those for devices run there thread by thread."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from kernels import native_build
from kernels.launch import BLOCK, Call
from kernels.native import Native
from kernels.units import SOURCES, Unit

HOST = Path(__file__).parent / "host"

# As nvcc is told: no fused multiply-adds. Wide accesses look into arrays of narrow values. What the
# sanitizer finds ends the process: an access that is not aligned, a float that no integer can hold.
FLAGS = (
    *("-std=c++17", "-O1", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing"),
    *("-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"),
    *("-fsanitize=alignment,bounds,float-cast-overflow", "-fno-sanitize-recover"),
)


class Launch(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_uint)
        for name in ("blocks_x", "blocks_y", "threads_x", "threads_y", "waits")
    )


class HostKernels:
    """Runs calls with addresses of host memory; the same code, arguments and threads as on a device."""

    def __init__(self, folder: Path) -> None:
        """``folder`` keeps what was compiled; another process may use it again."""
        self.folder = folder
        self._libraries: dict[str, ctypes.CDLL] = {}

    def run(
        self,
        call: Call,
        *,
        blocks: tuple[int, int] | None = None,
        threads: tuple[int, int] = BLOCK,
    ) -> None:
        """The whole launch, block after block; ``blocks`` other than the call's own if given."""
        launch = Launch(*(blocks or call.blocks), *threads, _waits(call.unit))
        entry = self._library(call.unit)[f"run_{call.entry}"]
        entry(ctypes.byref(call.fields), ctypes.byref(launch))

    def _library(self, unit: Unit) -> ctypes.CDLL:
        """The unit's entries, compiled at the first call of one."""
        if unit.name not in self._libraries:
            self._libraries[unit.name] = ctypes.CDLL(str(self.compiled(unit)))
        return self._libraries[unit.name]

    def compiled(self, unit: Unit) -> Path:
        """The library of the unit's entries."""
        made = self.folder / f"{unit.name}.so"
        if not made.exists():
            self._compile(unit, made)
        return made

    def _compile(self, unit: Unit, made: Path) -> None:
        runners = "".join(f"RUN_ON_HOST({entry})\n" for entry in unit.entries)
        runners += f'extern "C" unsigned kernels_wait() {{ return {_waits(unit):d}; }}\n'
        source = made.with_suffix(".cpp")
        source.write_text(f'#include "{unit.file}.cu"\n#include "run.h"\n{runners}')
        compile_for_host(
            *("-shared", f"-I{HOST}", f"-I{SOURCES}", "-o", str(made)),
            *(f"-D{define}" for define in unit.defines),
            *(str(source), str(self._runner())),
        )

    def _runner(self) -> Path:
        """What calls the entries of every unit, compiled once."""
        made = self.folder / "run.o"
        if not made.exists():
            compile_for_host("-c", "-o", str(made), str(HOST / "run.cpp"))
        return made


def _waits(unit: Unit) -> bool:
    return "__syncthreads" in unit.source.read_text(encoding="utf-8")


def compile_for_host(*arguments: str) -> None:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.fail("needs g++: apt-get install g++")
    done = subprocess.run(
        [compiler, *FLAGS, *arguments], capture_output=True, text=True, timeout=300, check=False
    )
    if done.returncode:
        pytest.fail(f"g++ {' '.join(arguments)}: {done.stderr}")


class Sanitized(Native):
    """Compiled so that undefined arithmetic, or an access that is not aligned, ends the process."""

    def __init__(self, path: Path) -> None:
        self.level = 1
        self._library = ctypes.CDLL(str(path))


def sanitized(folder: Path, *sources: str) -> Sanitized:
    """What these files of ``kernels/cpu`` hold; the library is kept in ``folder``."""
    made = folder / "sanitized.so"
    checks = "signed-integer-overflow,shift-exponent,float-divide-by-zero,null,bounds-strict"
    paths = [str(native_build.SOURCES / name) for name in sources]
    # g++ warns of how it hands wide vectors over; nobody outside of the library does.
    compile_for_host(f"-fsanitize={checks}", "-Wno-psabi", "-shared", "-o", str(made), *paths)
    return Sanitized(made)
